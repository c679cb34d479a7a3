//! The keys of a log, one after the other: which of them signed which entries.
//!
//! A log changes its key by an entry: `{"kind":"key","at","key","previous"}`, signed by the old key, says that every entry
//! after it is signed by the new one. The file `keys` lists all of them, so that a reader knows where to look:
//! `[{"key","from_index","until_index","from","until"}]`, oldest first, the first from 0, each `until_index` (the first entry
//! that the key does not sign any more) the next one's `from_index`, the last without. No cryptography is done here.
//!
//! The list is written *before* the entry that it announces, so after a crash at any step exactly one key opens the log:
//! the one that is valid for the next entry. An announced key whose entry never came is taken off the list again.

use serde::{Deserialize, Serialize};

use super::note::{Note, VerifierKey};

/// The list of keys, in the log's directory.
pub(super) const KEYS: &str = "keys";
/// Keys that one log can have had: one a month for twenty years, in 64 KiB.
const MOST_KEYS: usize = 240;

/// One key with the entries that it signs, and since when; times are told, and proven by the entry at their turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    /// C2SP vkey.
    pub(super) key: String,
    pub(super) from_index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until_index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
}

/// Every key of a log. There is one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogKeys {
    spans: Vec<Span>,
    keys: Vec<VerifierKey>,
}

impl LogKeys {
    /// A log that never changed its key.
    pub(super) fn one(key: VerifierKey) -> Self {
        let span = Span { key: key.to_string(), from_index: 0, until_index: None, from: None, until: None };
        Self { spans: vec![span], keys: vec![key] }
    }

    /// Reads a list.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(json: &str, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Result<Self, &'static str> {
        let spans: Vec<Span> = serde_json::from_str(json).map_err(|_| "it is not a list of keys")?;
        if spans.is_empty() || spans.len() > MOST_KEYS {
            return Err("it lists no key, or more than a log can have had");
        }
        let keys: Option<Vec<_>> = spans.iter().map(|span| VerifierKey::parse(&span.key, &sha256)).collect();
        let keys = keys.ok_or("it lists what is no key of a log")?;
        let mut next = Some(0);
        for span in &spans {
            if next != Some(span.from_index) || span.until_index.is_some_and(|until| until <= span.from_index) {
                return Err("its keys leave a gap, or overlap");
            }
            next = span.until_index;
        }
        if next.is_some() {
            return Err("its last key is valid no more");
        }
        for (place, key) in keys.iter().enumerate() {
            if key.name != keys[0].name || keys[..place].iter().any(|other| other.public == key.public) {
                return Err("its keys are of two logs, or one stands twice");
            }
        }
        Ok(Self { spans, keys })
    }

    /// The list as it lies in the directory.
    pub(super) fn text(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string_pretty(&self.spans).unwrap_or_default() + "\n"
    }

    /// The key that signs the entry at an index.
    pub(super) fn at(&self, index: u64) -> &VerifierKey {
        &self.keys[self.place(index)]
    }

    /// The places of the entries by which one key hands over to the next.
    pub(super) fn changes(&self) -> impl Iterator<Item = u64> {
        self.spans.iter().filter_map(|span| span.from_index.checked_sub(1))
    }

    /// Which of the keys a note claims to be signed by, the youngest of them.
    pub(super) fn key_under(&self, note: &Note<'_>) -> Option<&VerifierKey> {
        self.keys.iter().rev().find(|key| note.signature_by(key).is_some())
    }

    /// The key that signs now.
    pub(super) fn current(&self) -> &VerifierKey {
        self.at(u64::MAX)
    }

    /// The key whose entries begin at this index, and the one before it: where an entry of kind `key` stands just before.
    pub(super) fn change_at(&self, index: u64) -> Option<(&VerifierKey, &VerifierKey)> {
        let place = self.spans.iter().position(|span| span.from_index == index)?;
        Some((self.keys.get(place.checked_sub(1)?)?, &self.keys[place]))
    }

    fn place(&self, index: u64) -> usize {
        self.spans.iter().rposition(|span| span.from_index <= index).unwrap_or(0)
    }

    /// Whether a key is or was the log's.
    pub(super) fn holds(&self, key: &VerifierKey) -> bool {
        self.keys.contains(key)
    }

    /// Without what was announced for later than the next entry, at `size`: that entry never came.
    pub(super) fn settled(mut self, size: u64) -> Self {
        let kept = self.place(size) + 1;
        self.spans.truncate(kept);
        self.keys.truncate(kept);
        if let Some(last) = self.spans.last_mut() {
            (last.until_index, last.until) = (None, None);
        }
        self
    }

    /// With a key that signs from `index` on, from the time `at`; `None` when it was the log's before, or there are too many.
    pub(super) fn announced(mut self, key: VerifierKey, index: u64, at: &str) -> Option<Self> {
        let used = self.keys.iter().any(|other| other.public == key.public);
        if used || self.keys.len() == MOST_KEYS {
            return None;
        }
        if let Some(last) = self.spans.last_mut() {
            (last.until_index, last.until) = (Some(index), Some(at.to_owned()));
        }
        self.spans.push(Span {
            key: key.to_string(),
            from_index: index,
            until_index: None,
            from: Some(at.to_owned()),
            until: None,
        });
        self.keys.push(key);
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Digest;

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        *Digest::of(bytes).as_bytes()
    }

    fn key(number: u8) -> VerifierKey {
        VerifierKey::new("a.example/log", [number; 32], sha256)
    }

    #[test]
    fn keys_follow_each_other_without_a_gap() {
        let keys = LogKeys::one(key(1)).announced(key(2), 5, "then").unwrap().announced(key(3), 9, "later").unwrap();
        for (index, number) in [(0, 1), (4, 1), (5, 2), (8, 2), (9, 3), (u64::MAX, 3)] {
            assert_eq!(keys.at(index), &key(number), "{index}");
        }
        assert_eq!(keys.change_at(5), Some((&key(1), &key(2))));
        assert_eq!((keys.change_at(0), keys.change_at(6)), (None, None));
        assert_eq!(LogKeys::parse(&keys.text(), sha256).as_ref(), Ok(&keys));
        assert_eq!(keys.clone().announced(key(1), 12, "again"), None, "a key that was retired comes back");
        // The entry that hands over stands at 8: a log of 8 entries does not hold it.
        assert_eq!(keys.clone().settled(9), keys);
        assert_eq!(keys.settled(8), LogKeys::one(key(1)).announced(key(2), 5, "then").unwrap());
        for (what, with) in [
            ("\"from_index\": 5", "\"from_index\": 6"),
            ("\"until_index\": 5", "\"until_index\": 0"),
            ("\"from_index\": 0", "\"from_index\": 1"),
            ("a.example/log", "b.example/log"),
            ("[", "[1,"),
        ] {
            let text = LogKeys::one(key(1)).announced(key(2), 5, "then").unwrap().text().replacen(what, with, 1);
            assert!(LogKeys::parse(&text, sha256).is_err(), "{text}");
        }
        assert!(LogKeys::parse("[]", sha256).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = LogKeys::parse(&text, sha256);
        }

        /// However often a log changes its key: each index has one key, and what was announced too early goes again.
        #[test]
        fn an_index_has_one_key(steps in prop::collection::vec(1u64..50, 0..20), size in 0u64..1000) {
            let mut keys = LogKeys::one(key(0));
            let mut from = vec![0];
            for (number, step) in (1..).zip(&steps) {
                let next = from.last().unwrap() + step;
                keys = keys.announced(key(number), next, "then").unwrap();
                from.push(next);
            }
            let expected = from.iter().rposition(|from| *from <= size).unwrap();
            prop_assert_eq!(keys.at(size), &key(u8::try_from(expected).unwrap()));
            let settled = keys.clone().settled(size);
            prop_assert_eq!(settled.at(u64::MAX), keys.at(size));
            prop_assert_eq!(LogKeys::parse(&settled.text(), sha256), Ok(settled));
        }
    }
}
