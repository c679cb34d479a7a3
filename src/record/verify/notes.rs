//! Whose signature stands under a note: keys as C2SP vkeys, signatures of a log (type 0x01) and cosignatures (0x04).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::crypto::{sha256, verifies};
use crate::record::note::{Checkpoint, Note, is_key_name};

/// An Ed25519 key that signs a note's text.
pub(super) const LOG: u8 = 0x01;
/// An Ed25519 key that cosigns a checkpoint with a time.
pub(super) const COSIGNER: u8 = 0x04;

/// The largest note that is read: many more signatures than a log has witnesses.
pub(super) const MOST_NOTE: u64 = 64 * 1024;

/// What a key in a note is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It signs the text.
    Log,
    /// It cosigns a checkpoint.
    Witness,
}

/// An Ed25519 key under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoteKey {
    pub(super) name: String,
    pub(super) id: [u8; 4],
    pub(super) role: Role,
    pub(super) public: [u8; 32],
}

impl NoteKey {
    /// Reads a vkey; `None` when it has another shape, another type of key, or an id that is not its own.
    pub(super) fn parse(vkey: &str) -> Option<Self> {
        let (name, rest) = vkey.split_once('+')?;
        let (id, encoded) = rest.split_once('+')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (&kind, public) = bytes.split_first()?;
        let role = match kind {
            LOG => Role::Log,
            COSIGNER => Role::Witness,
            _ => return None,
        };
        let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &bytes].concat());
        let own = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
        if !is_key_name(name) || own != id {
            return None;
        }
        Some(Self { name: name.to_owned(), id: [a, b, c, d], role, public: public.try_into().ok()? })
    }
}

impl std::fmt::Display for NoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d] = self.id;
        let kind = if self.role == Role::Log { LOG } else { COSIGNER };
        let key = STANDARD.encode([&[kind][..], &self.public].concat());
        write!(f, "{}+{a:02x}{b:02x}{c:02x}{d:02x}+{key}", self.name)
    }
}

/// What one key's signature under a note is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    /// The key did not sign.
    No,
    /// It did. A witness says when, in seconds since 1970.
    Yes(Option<u64>),
    /// There is a signature under the key's name and id that is not of the key.
    Forged,
}

/// Looks for a key's signature under a note. Every signature that claims to be of the key has to be.
pub(super) fn signed_by(note: &Note<'_>, key: &NoteKey) -> Signed {
    let claims = note.signatures.iter().filter(|signature| signature.name == key.name && signature.key_id == key.id);
    let mut found = Signed::No;
    for claim in claims {
        let signed = match key.role {
            Role::Log if verifies(&key.public, note.text.as_bytes(), &claim.signature) => Signed::Yes(None),
            Role::Log => Signed::Forged,
            Role::Witness => cosigned(note.text, key, &claim.signature),
        };
        match (found, signed) {
            (_, Signed::Forged) => return Signed::Forged,
            // Of several times the last: a witness may cosign the same tree again.
            (Signed::Yes(Some(earlier)), Signed::Yes(Some(later))) => found = Signed::Yes(Some(earlier.max(later))),
            (_, signed) => found = signed,
        }
    }
    found
}

fn cosigned(text: &str, key: &NoteKey, signature: &[u8]) -> Signed {
    let Some((time, signature)) = signature.split_first_chunk::<8>() else { return Signed::Forged };
    let time = u64::from_be_bytes(*time);
    let message = format!("cosignature/v1\ntime {time}\n{text}");
    // Times have 63 bits (tlog-cosignature).
    if i64::try_from(time).is_ok() && verifies(&key.public, message.as_bytes(), signature) {
        Signed::Yes(Some(time))
    } else {
        Signed::Forged
    }
}

/// A checkpoint with the note that holds it.
pub(super) fn read_checkpoint(note: &str) -> Option<(Note<'_>, Checkpoint)> {
    let note = Note::parse(note)?;
    let checkpoint = Checkpoint::parse(note.text)?;
    Some((note, checkpoint))
}
