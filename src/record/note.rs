//! Checkpoints and keys as text: C2SP tlog-checkpoint inside C2SP signed-note. No cryptography is done here; who calls
//! brings the hash, so that signer and verifier share none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The signature type of Ed25519 in a signed note.
const ED25519: u8 = 0x01;
/// The first characters of a signature line: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Size and root of a log's tree, under the log's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) root: [u8; 32],
}

impl Checkpoint {
    /// The text that is signed: origin, size and root, each on its line.
    pub(super) fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads a checkpoint's text. Lines after the third are extensions and say nothing to us.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty())?.to_owned();
        let number = lines.next()?;
        let size: u64 = number.parse().ok()?;
        if size.to_string() != number {
            return None;
        }
        let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        if lines.any(str::is_empty) {
            return None;
        }
        Some(Self { origin, size, root })
    }
}

/// One signature under a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoteSignature {
    pub(super) name: String,
    pub(super) key_id: [u8; 4],
    pub(super) signature: Vec<u8>,
}

/// A text and the signatures under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note<'a> {
    /// The signed text, with its last line feed.
    pub(super) text: &'a str,
    pub(super) signatures: Vec<NoteSignature>,
}

impl<'a> Note<'a> {
    /// Writes a note with one signature.
    pub(super) fn write(text: &str, name: &str, key_id: [u8; 4], signature: &[u8]) -> String {
        format!("{text}\n{SIGNATURE_MARK}{name} {}\n", STANDARD.encode([&key_id, signature].concat()))
    }

    /// Takes a note apart; `None` when any line is not as the format demands.
    pub(super) fn parse(note: &'a str) -> Option<Self> {
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return None;
        }
        let end = note.rfind("\n\n")?;
        let (text, rest) = (&note[..=end], &note[end + 2..]);
        let lines = rest.strip_suffix('\n')?.split('\n');
        let signatures = lines.map(parse_signature).collect::<Option<Vec<_>>>()?;
        Some(Self { text, signatures })
    }

    /// The signature that claims to be of this key.
    pub(super) fn signature_by(&self, key: &VerifierKey) -> Option<&NoteSignature> {
        self.signatures.iter().find(|signature| signature.name == key.name && signature.key_id == key.key_id)
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (key_id, signature) = bytes.split_first_chunk::<4>()?;
    if !is_key_name(name) || signature.is_empty() {
        return None;
    }
    Some(NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_owned() })
}

/// Whether a text may name a key, and so a log: not empty, no white space, no plus, no control characters.
pub(super) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// An Ed25519 key under a name, as signed-note's vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerifierKey {
    pub(super) name: String,
    pub(super) key_id: [u8; 4],
    pub(super) public: [u8; 32],
}

impl VerifierKey {
    /// Names a key. Its id is the first four bytes of SHA-256(name || 0x0A || 0x01 || public key).
    pub(super) fn new(name: &str, public: [u8; 32], sha256: impl Fn(&[u8]) -> [u8; 32]) -> Self {
        let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &[ED25519], &public].concat());
        Self { name: name.to_owned(), key_id: [a, b, c, d], public }
    }

    /// Reads `name+hexkeyid+base64(0x01 || public key)`; `None` when it has another shape or its id is not its own.
    pub(super) fn parse(vkey: &str, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Option<Self> {
        let (name, rest) = vkey.split_once('+')?;
        let (_, encoded) = rest.split_once('+')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (&ED25519, public) = bytes.split_first()? else { return None };
        let key = Self::new(name, public.try_into().ok()?, sha256);
        (is_key_name(name) && key.to_string() == vkey).then_some(key)
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d] = self.key_id;
        let key = STANDARD.encode([&[ED25519][..], &self.public].concat());
        write!(f, "{}+{a:02x}{b:02x}{c:02x}{d:02x}+{key}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_has_one_spelling() {
        let checkpoint = Checkpoint { origin: "a.example/log".into(), size: 7, root: [9; 32] };
        let text = checkpoint.text();
        assert_eq!(Checkpoint::parse(&text), Some(checkpoint));
        assert!(Checkpoint::parse(&format!("{text}extension\n")).is_some());
        for bad in ["", "a\n7\n", &text.replace("\n7\n", "\n07\n"), &text.replace("\n7\n", "\n+7\n"), text.trim_end()] {
            assert_eq!(Checkpoint::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_published_note_is_read_and_its_key_has_its_published_id() {
        // The example of Go's golang.org/x/mod/sumdb/note.
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let sha256 = |bytes: &[u8]| *crate::types::Digest::of(bytes).as_bytes();
        let key = VerifierKey::parse(vkey, sha256).expect("the key is well formed");
        let note = format!("{text}\n{line}");
        let note = Note::parse(&note).expect("the note is well formed");
        assert_eq!(note.text, text);
        let signature = note.signature_by(&key).expect("signed by the key");
        let ring = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.public);
        assert!(ring.verify(note.text.as_bytes(), &signature.signature).is_ok());
        assert_eq!(VerifierKey::parse(&vkey.replace("c74f20a3", "c74f20a4"), sha256), None);
    }
}
