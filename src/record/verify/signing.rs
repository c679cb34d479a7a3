//! Which key signs what of a log: entries by their index, checkpoints as a whole.

use serde::Deserialize;

use super::notes::{NoteKey, Role, Signed, signed_by};
use crate::record::note::{Checkpoint, Note};

/// Keys that one log can have had.
const MOST_KEYS: usize = 1000;

/// A key as the log's list of keys tells of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    pub(super) key: String,
    from_index: u64,
    until_index: Option<u64>,
    from: Option<String>,
    until: Option<String>,
}

/// An entry that hands the log over from one key to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handover {
    pub(super) key: String,
    pub(super) previous: String,
    pub(super) at: String,
}

/// The entries that have to hand over, by their place.
pub(super) type Handovers = Vec<(u64, Handover)>;

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

    /// The keys of a log's list, of which `trusted` must be one, with the entries that have to hand over and where: what
    /// the list says is believed only as far as they do.
    pub(super) fn listed(json: &str, trusted: &NoteKey) -> Result<(Self, Handovers), &'static str> {
        Self::of(&serde_json::from_str::<Vec<Listed>>(json).map_err(|_| "is not a list of keys")?, trusted)
    }

    /// The same for a list that was read.
    pub(super) fn of(list: &[Listed], trusted: &NoteKey) -> Result<(Self, Handovers), &'static str> {
        if list.is_empty() || list.len() > MOST_KEYS {
            return Err("lists no key, or more than a log can have had");
        }
        let (mut keys, mut handovers) = (Vec::<Valid>::new(), Vec::new());
        for (place, listed) in list.iter().enumerate() {
            let key = NoteKey::parse(&listed.key).filter(|key| key.role == Role::Log && key.name == trusted.name);
            let key = key.ok_or("lists what is no key of this log")?;
            if keys.iter().any(|valid| valid.key.public == key.public) {
                return Err("lists one key twice");
            }
            let before = place.checked_sub(1).map(|place| &list[place]);
            if before.map_or(Some(0), |before| before.until_index) != Some(listed.from_index)
                || before.is_some_and(|before| before.from_index >= listed.from_index)
            {
                return Err("leaves a gap between two keys, or lets them overlap");
            }
            match before {
                None if listed.from.is_some() => {
                    return Err("says since when the first key is valid, which no entry does");
                }
                None => {}
                Some(before) => {
                    let at = listed.from.clone().filter(|_| before.until == listed.from);
                    let at = at.ok_or("does not say when one key followed the other")?;
                    let handover = Handover { key: listed.key.clone(), previous: before.key.clone(), at };
                    handovers.push((listed.from_index - 1, handover));
                }
            }
            keys.push(Valid { key, from: listed.from_index, until: listed.until_index });
        }
        if list.last().is_some_and(|last| last.until_index.is_some() || last.until.is_some()) {
            return Err("has a last key that is valid no more");
        }
        if !keys.iter().any(|valid| valid.key == *trusted) {
            return Err("does not list the key that was given");
        }
        Ok((Self(keys), handovers))
    }

    /// The public key that signs the entry at this index.
    pub(super) fn at(&self, index: u64) -> Option<&[u8; 32]> {
        let valid = self.0.iter().rev().find(|valid| valid.from <= index && valid.until.is_none_or(|end| index < end));
        valid.map(|valid| &valid.key.public)
    }

    /// Whether a key is or was the log's.
    pub(super) fn holds(&self, key: &NoteKey) -> bool {
        self.0.iter().any(|valid| valid.key == *key)
    }

    /// The key that signs now.
    pub(super) fn current(&self) -> Option<&NoteKey> {
        self.0.last().map(|valid| &valid.key)
    }

    /// Whether a key was given up before another came.
    fn is_before(&self, key: &NoteKey, other: &NoteKey) -> bool {
        let place = |key: &NoteKey| self.0.iter().position(|valid| valid.key == *key);
        place(key) < place(other)
    }

    /// Whose signature stands under a checkpoint, and what keeps it from being believed by who believes `trusted`.
    pub(super) fn judge(&self, note: &Note<'_>, trusted: &NoteKey) -> (Option<&'static str>, Option<&NoteKey>) {
        let (signed, log) = self.signed(note);
        let fault = match signed {
            // Whoever holds a key that was given up could sign another tree: the key that is believed did not see this one.
            Signed::Yes(_) if log.is_some_and(|log| self.is_before(log, trusted)) => {
                Some("the checkpoint is signed by a key that was given up for the one that is believed")
            }
            Signed::Yes(_) => None,
            Signed::Forged => Some("the checkpoint's signature does not fit its text"),
            Signed::No => Some("the checkpoint is not signed by this key"),
        };
        (fault, log)
    }

    /// What the signature under a checkpoint is worth: of whichever of the keys has signed it. A key that was given up
    /// signs none of a log that has grown since.
    pub(super) fn signed(&self, note: &Note<'_>) -> (Signed, Option<&NoteKey>) {
        let mut best = (Signed::No, self.current());
        let size = Checkpoint::parse(note.text).map_or(u64::MAX, |checkpoint| checkpoint.size);
        let around = |valid: &&Valid| valid.from <= size && valid.until.is_none_or(|until| size <= until);
        for Valid { key, .. } in self.0.iter().filter(around) {
            match signed_by(note, key) {
                Signed::No => {}
                Signed::Forged => return (Signed::Forged, Some(key)),
                yes @ Signed::Yes(_) => best = (yes, Some(key)),
            }
        }
        best
    }
}
