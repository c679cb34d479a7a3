//! Checkpoints and keys as text: C2SP tlog-checkpoint inside C2SP signed-note. No cryptography is done here; who calls
//! brings the hash, so that who signs and who verifies share none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The signature type of Ed25519 over a note's text, as a log signs (C2SP signed-note).
const LOG: u8 = 0x01;
/// The signature type of a timestamped Ed25519 cosignature, as a witness signs (C2SP tlog-cosignature).
const WITNESS: u8 = 0x04;
/// Signatures that a note is read with: a log's keys in a rotation and every witness it could have, with room to spare.
const MOST_SIGNATURES: usize = 64;
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
        let signature = NoteSignature { name: name.to_owned(), key_id, signature: signature.to_owned() };
        format!("{text}\n{}", signature.line())
    }

    /// Takes a note apart; `None` when any line is not as the format demands.
    pub(super) fn parse(note: &'a str) -> Option<Self> {
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return None;
        }
        let end = note.rfind("\n\n")?;
        let (text, rest) = (&note[..=end], &note[end + 2..]);
        let signatures = read_lines(rest)?;
        Some(Self { text, signatures })
    }

    /// The signature that claims to be of this key.
    pub(super) fn signature_by(&self, key: &VerifierKey) -> Option<&NoteSignature> {
        self.signatures_by(key).next()
    }

    /// All signatures that claim to be of this key: a witness may have signed one text at several times.
    pub(super) fn signatures_by(&self, key: &VerifierKey) -> impl Iterator<Item = &NoteSignature> {
        self.signatures.iter().filter(|signature| signature.name == key.name && signature.key_id == key.key_id)
    }

    /// The note as text, without signatures that stand under it twice.
    pub(super) fn with(&self, more: &[NoteSignature]) -> String {
        let mut note = format!("{}\n", self.text);
        let mut written: Vec<&NoteSignature> = Vec::new();
        for signature in self.signatures.iter().chain(more) {
            if !written.contains(&signature) {
                written.push(signature);
                note.push_str(&signature.line());
            }
        }
        note
    }
}

/// Reads signature lines as they stand under a note, and as a witness answers with them.
pub(super) fn read_lines(lines: &str) -> Option<Vec<NoteSignature>> {
    let lines = lines.strip_suffix('\n')?.split('\n');
    let signatures = lines.map(parse_signature).take(MOST_SIGNATURES + 1).collect::<Option<Vec<_>>>()?;
    (signatures.len() <= MOST_SIGNATURES).then_some(signatures)
}

impl NoteSignature {
    /// The line under a note, with its line feed.
    pub(super) fn line(&self) -> String {
        let encoded = STANDARD.encode([&self.key_id, self.signature.as_slice()].concat());
        format!("{SIGNATURE_MARK}{} {encoded}\n", self.name)
    }
}

/// What a witness signs with Ed25519: that this text is of the largest consistent tree that it had seen at that time, in
/// seconds since 1970 (C2SP tlog-cosignature).
pub(super) fn cosignature_message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// A cosignature as it stands in a signature line: the time, and the signature over [`cosignature_message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cosignature {
    pub(super) time: u64,
    pub(super) signature: [u8; 64],
}

impl Cosignature {
    /// Time and signature as the bytes behind the key id.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.time.to_be_bytes()[..], &self.signature].concat()
    }

    /// Takes the bytes behind the key id apart; `None` when they are no timestamped Ed25519 signature.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (time, signature) = bytes.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        // A time of zero would say nothing of when; one beyond 2^63 - 1 is none.
        let sound = time != 0 && i64::try_from(time).is_ok();
        Some(Self { time, signature: signature.try_into().ok()? }).filter(|_| sound)
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

/// An Ed25519 key under a name, as signed-note's vkey: of a log or of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerifierKey {
    pub(super) name: String,
    pub(super) key_id: [u8; 4],
    pub(super) public: [u8; 32],
    /// Its signature type: what it signs is another text for a log than for a witness.
    kind: u8,
}

impl VerifierKey {
    /// Names a log's key. Its id is the first four bytes of SHA-256(name || 0x0A || 0x01 || public key).
    pub(super) fn new(name: &str, public: [u8; 32], sha256: impl Fn(&[u8]) -> [u8; 32]) -> Self {
        Self::of_kind(LOG, name, public, sha256)
    }

    /// Names a witness's key; as [`VerifierKey::new`] with 0x04.
    pub(super) fn of_witness(name: &str, public: [u8; 32], sha256: impl Fn(&[u8]) -> [u8; 32]) -> Self {
        Self::of_kind(WITNESS, name, public, sha256)
    }

    fn of_kind(kind: u8, name: &str, public: [u8; 32], sha256: impl Fn(&[u8]) -> [u8; 32]) -> Self {
        let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &[kind], &public].concat());
        Self { name: name.to_owned(), key_id: [a, b, c, d], public, kind }
    }

    /// Reads a log's `name+hexkeyid+base64(0x01 || public key)`; `None` when it has another shape or its id is not its
    /// own.
    pub(super) fn parse(vkey: &str, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Option<Self> {
        Self::parse_kind(LOG, vkey, sha256)
    }

    /// Reads a witness's `name+hexkeyid+base64(0x04 || public key)`.
    pub(super) fn parse_witness(vkey: &str, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Option<Self> {
        Self::parse_kind(WITNESS, vkey, sha256)
    }

    fn parse_kind(kind: u8, vkey: &str, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Option<Self> {
        let (name, rest) = vkey.split_once('+')?;
        let (_, encoded) = rest.split_once('+')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (found, public) = bytes.split_first()?;
        let key = Self::of_kind(kind, name, public.try_into().ok()?, sha256);
        (*found == kind && is_key_name(name) && key.to_string() == vkey).then_some(key)
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d] = self.key_id;
        let key = STANDARD.encode([&[self.kind][..], &self.public].concat());
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

    #[test]
    fn a_cosignature_is_its_time_and_signature_and_signs_with_a_header_of_its_own() {
        // The example of tlog-cosignature: a log's line, and a cosignature of time 1679315147.
        let log = "example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=";
        let witness = "witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==";
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let written = format!("{text}\n\u{2014} {log}\n\u{2014} {witness}\n");
        let note = Note::parse(&written).expect("a note");
        assert_eq!(note.text, text);
        let cosignature = Cosignature::parse(&note.signatures[1].signature).expect("a cosignature");
        assert_eq!(cosignature.time, 1_679_315_147);
        assert_eq!(cosignature.bytes(), note.signatures[1].signature);
        assert_eq!(Cosignature::parse(&note.signatures[0].signature), None, "a log's signature has no time");
        assert_eq!(cosignature_message(7, text), format!("cosignature/v1\ntime 7\n{text}"));
        let bare = Note { text, signatures: vec![note.signatures[0].clone()] };
        assert_eq!(bare.with(&note.signatures), written, "nothing stands twice");
        assert_eq!(read_lines(&format!("\u{2014} {witness}\n")).as_deref(), Some(&note.signatures[1..]));
        let timeless = Cosignature { time: 0, ..cosignature };
        assert_eq!(Cosignature::parse(&timeless.bytes()), None);
        assert_eq!(Cosignature::parse(&Cosignature { time: 1 << 63, ..cosignature }.bytes()), None);
    }

    #[test]
    fn a_key_of_one_kind_is_not_taken_for_the_other() {
        let sha256 = |bytes: &[u8]| *crate::types::Digest::of(bytes).as_bytes();
        let (log, witness) =
            (VerifierKey::new("a.example", [7; 32], sha256), VerifierKey::of_witness("a.example", [7; 32], sha256));
        assert_ne!(log.key_id, witness.key_id);
        assert_eq!(VerifierKey::parse(&log.to_string(), sha256).as_ref(), Some(&log));
        assert_eq!(VerifierKey::parse_witness(&witness.to_string(), sha256).as_ref(), Some(&witness));
        assert_eq!(VerifierKey::parse(&witness.to_string(), sha256), None);
        assert_eq!(VerifierKey::parse_witness(&log.to_string(), sha256), None);
    }

    #[test]
    fn more_signatures_than_a_note_may_have_are_refused() {
        let line = NoteSignature { name: "a".into(), key_id: [1; 4], signature: vec![1] }.line();
        assert!(read_lines(&line.repeat(MOST_SIGNATURES)).is_some());
        assert!(read_lines(&line.repeat(MOST_SIGNATURES + 1)).is_none());
    }
}
