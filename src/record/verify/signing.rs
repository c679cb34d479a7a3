//! Which key signs what of a log: entries by their index, checkpoints as a whole.

use super::notes::{NoteKey, Signed, signed_by};
use crate::record::note::Note;

/// A log's keys, oldest first, each with the entries that it signs.
#[derive(Debug, Clone)]
pub(super) struct Signing(Vec<Valid>);

#[derive(Debug, Clone)]
pub(super) struct Valid {
    pub(super) key: NoteKey,
    /// The first entry that it signs.
    pub(super) from: u64,
    /// The first that it does not sign any more.
    pub(super) until: Option<u64>,
}

impl Signing {
    /// One key for all of a log.
    pub(super) fn one(key: NoteKey) -> Self {
        Self(vec![Valid { key, from: 0, until: None }])
    }

    /// The public key that signs the entry at this index.
    pub(super) fn at(&self, index: u64) -> Option<&[u8; 32]> {
        let valid = self.0.iter().rev().find(|valid| valid.from <= index && valid.until.is_none_or(|end| index < end));
        valid.map(|valid| &valid.key.public)
    }

    /// The key that signs now.
    pub(super) fn current(&self) -> Option<&NoteKey> {
        self.0.last().map(|valid| &valid.key)
    }

    /// What the signature under a checkpoint is worth: of whichever of the keys has signed it.
    pub(super) fn signed(&self, note: &Note<'_>) -> (Signed, Option<&NoteKey>) {
        let mut best = (Signed::No, self.current());
        for Valid { key, .. } in &self.0 {
            match signed_by(note, key) {
                Signed::No => {}
                Signed::Forged => return (Signed::Forged, Some(key)),
                yes @ Signed::Yes(_) => best = (yes, Some(key)),
            }
        }
        best
    }
}
