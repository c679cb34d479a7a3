//! A log with several keys: it verifies by any of them, and by none when one of its changes is not what the key before said.

use serde_json::{Value, json};

use super::super::*;
use super::forge::{Forge, ORIGIN, START, id, put};
use super::key;
use crate::record::extract::{Extract, Selection, export};

/// Two exchanges under each key, with an entry between that hands over.
struct Rotated {
    forge: Forge,
    vkeys: Vec<String>,
    from: Vec<u64>,
}

impl Rotated {
    fn new(changes: u8) -> Self {
        let mut rotated = Self { forge: Forge::with(2), vkeys: vec![key(0, ORIGIN, Role::Log).1], from: vec![0] };
        for seed in 1..=changes {
            rotated.change(100 + seed, |_| {});
        }
        rotated
    }

    /// Hands over to the key of a seed, by an entry that may be spoilt first.
    fn change(&mut self, seed: u8, spoil: impl FnOnce(&mut Value)) {
        let (pair, vkey) = key(seed, ORIGIN, Role::Log);
        let at = self.forge.time();
        let mut entry = json!({ "kind": "key", "at": at, "key": vkey, "previous": self.forge.vkey });
        spoil(&mut entry);
        self.forge.entry(&entry);
        (self.forge.pair, self.forge.vkey) = (pair, vkey.clone());
        self.vkeys.push(vkey);
        self.from.push(self.forge.entries.len() as u64);
        let number = self.forge.entries.len() as u64;
        self.forge.exchange(number);
        self.forge.exchange(number + 1);
    }

    fn write(&self) {
        self.forge.write();
        // An entry is made a second after the one before, and hands over to the next.
        let at = |from: u64| crate::types::Timestamp::from_seconds(START + from - 1);
        let until = self.from.iter().skip(1).map(Some).chain([None]);
        let spans: Vec<Value> = self
            .vkeys
            .iter()
            .zip(&self.from)
            .zip(until)
            .map(|((key, from), until)| {
                let since = (*from > 0).then(|| at(*from));
                let end = until.map(|until| at(*until));
                json!({ "key": key, "from_index": from, "until_index": until, "from": since, "until": end })
            })
            .collect();
        put(&self.forge.path().join("keys"), json!(spans).to_string().as_bytes());
    }

    fn verify(&self, key: &str) -> Report {
        let options = Options { key: Some(key), threads: 2, ..Options::default() };
        verify_log(&Directory::new(&self.forge.path()), &options, |_, _| {}).unwrap()
    }
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect()
}

#[test]
fn a_log_verifies_by_any_key_that_it_had() {
    for changes in [1, 2, 5] {
        let rotated = Rotated::new(changes);
        rotated.write();
        for key in &rotated.vkeys {
            let report = rotated.verify(key);
            assert!(report.verified, "{}", report.render());
            let keys = report.checks.iter().find(|check| check.name == "keys").unwrap();
            assert_eq!(keys.count, u64::from(changes));
        }
        let (_, stranger) = key(99, ORIGIN, Role::Log);
        assert!(failed(&rotated.verify(&stranger)).contains(&"key"));
    }
}

#[test]
fn a_change_that_the_key_before_did_not_sign_is_found() {
    let (_, other) = key(99, ORIGIN, Role::Log);
    // The entry names another key, or comes from another; or it is missing, or is none that can be read.
    for member in ["key", "previous"] {
        let mut rotated = Rotated::new(0);
        rotated.change(101, |entry| entry[member] = json!(other));
        rotated.write();
        assert_eq!(failed(&rotated.verify(&rotated.vkeys[1])), ["keys"], "{member}");
    }
    let mut rotated = Rotated::new(0);
    rotated.change(101, |entry| entry["kind"] = json!("receipt"));
    rotated.write();
    assert!(failed(&rotated.verify(&rotated.vkeys[0])).contains(&"keys"));
    // The new key says of itself that it is the log's.
    let mut rotated = Rotated::new(0);
    (rotated.forge.pair, _) = key(101, ORIGIN, Role::Log);
    rotated.change(101, |_| {});
    rotated.write();
    assert_eq!(failed(&rotated.verify(&rotated.vkeys[0])), ["signatures", "keys"]);
}

#[test]
fn a_list_that_does_not_match_the_entries_is_found() {
    let mut late = Rotated::new(2);
    late.from[1] += 1;
    late.write();
    let found = failed(&late.verify(&late.vkeys[2]));
    assert!(found.contains(&"keys") && found.contains(&"signatures"), "{found:?}");
    // A change that is not listed: what follows is signed by nobody that is known.
    let mut unlisted = Rotated::new(2);
    unlisted.vkeys.remove(1);
    unlisted.from.remove(1);
    unlisted.write();
    let found = failed(&unlisted.verify(&unlisted.vkeys[1]));
    assert!(found.contains(&"keys") && found.contains(&"signatures"), "{found:?}");
    for list in ["", "[]", "{}", "[{\"key\":\"x\",\"from_index\":0}]"] {
        let rotated = Rotated::new(1);
        rotated.write();
        put(&rotated.forge.path().join("keys"), list.as_bytes());
        assert!(failed(&rotated.verify(&rotated.vkeys[1])).contains(&"key"), "{list}");
    }
}

#[test]
fn a_key_that_was_given_up_signs_no_later_tree() {
    let rotated = Rotated::new(1);
    rotated.write();
    let (old, vkey) = key(0, ORIGIN, Role::Log);
    // Whoever stole the old key signs the whole log with it, or cuts the log back to where it was valid.
    let forged = |size: usize| {
        let text = rotated.forge.text(size);
        format!("{text}\n{}", super::sign(&old, &vkey, &text))
    };
    let size = rotated.forge.entries.len();
    put(&rotated.forge.path().join("checkpoint"), forged(size).as_bytes());
    assert!(failed(&rotated.verify(&rotated.vkeys[1])).contains(&"checkpoint"));
    assert!(failed(&rotated.verify(&rotated.vkeys[0])).contains(&"checkpoint"));
    put(&rotated.forge.path().join("checkpoint"), forged(5).as_bytes());
    assert!(failed(&rotated.verify(&rotated.vkeys[1])).contains(&"checkpoint"));
}

#[test]
fn a_change_that_was_announced_and_never_came_is_none() {
    let mut rotated = Rotated::new(1);
    rotated.vkeys.push(key(98, ORIGIN, Role::Log).1);
    rotated.from.push(rotated.forge.entries.len() as u64 + 1);
    rotated.write();
    let report = rotated.verify(&rotated.vkeys[1]);
    assert!(report.verified, "{}", report.render());
}

/// A bundle of the log, under its latest checkpoint.
fn bundle(rotated: &Rotated, selection: &Selection) -> Vec<u8> {
    let source = Directory::new(&rotated.forge.path());
    let mut out = Vec::new();
    export(&Extract::open(&source, 0).unwrap(), selection, &mut out).unwrap();
    out
}

fn verify_it(bytes: &[u8], key: &str) -> Report {
    let options = Options { key: Some(key), ..Options::default() };
    verify_bundle("b", &mut &bytes[..], &options, |_, _| {}).unwrap()
}

#[test]
fn a_bundle_holds_the_keys_of_its_entries_and_how_one_followed_the_other() {
    let rotated = Rotated::new(2);
    rotated.write();
    let early = Selection { exchange: Some(id(1)), ..Selection::default() };
    for selection in [Selection::default(), early] {
        let file = bundle(&rotated, &selection);
        for vkey in &rotated.vkeys {
            let report = verify_it(&file, vkey);
            assert!(report.verified, "{}", report.render());
        }
        let stranger = key(99, ORIGIN, Role::Log).1;
        assert!(!verify_it(&file, &stranger).verified);
        let lines: Vec<_> = file.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(lines[1].starts_with(b"{\"change\"") && lines[2].starts_with(b"{\"change\""));
        let without = [&lines[..1], &lines[2..]].concat().concat();
        assert_eq!(failed(&verify_it(&without, &rotated.vkeys[2])), ["keys"]);
        let twice = [&lines[..2], &lines[1..]].concat().concat();
        assert_eq!(failed(&verify_it(&twice, &rotated.vkeys[2])), ["keys"]);
        // Another entry in its place, and another place for it.
        let text = String::from_utf8(file.clone()).unwrap();
        let moved = text.replacen("{\"change\":4", "{\"change\":3", 1);
        assert_ne!(moved, text);
        assert!(failed(&verify_it(moved.as_bytes(), &rotated.vkeys[2])).contains(&"keys"));
        // Whoever has the first key alone cannot put one of his own in the second's place.
        let other = key(98, ORIGIN, Role::Log).1;
        let listed = text.replacen(&rotated.vkeys[1], &other, 2);
        assert!(failed(&verify_it(listed.as_bytes(), &rotated.vkeys[0])).contains(&"keys"));
    }
}

#[test]
fn what_shows_one_key_alone_is_not_made_for_an_entry_under_another() {
    let rotated = Rotated::new(1);
    rotated.write();
    let source = Directory::new(&rotated.forge.path());
    let log = Extract::open(&source, 0).unwrap();
    for index in 0..log.size() {
        match log.proof_file(index) {
            Ok(file) => {
                assert!(index >= rotated.from[1], "{index}");
                let options = Options { key: Some(&rotated.vkeys[1]), ..Options::default() };
                assert!(verify_proof_file("p", file.as_bytes(), &options).unwrap().verified);
                let options = Options { key: Some(&rotated.vkeys[0]), ..options };
                assert!(!verify_proof_file("p", file.as_bytes(), &options).unwrap().verified);
            }
            Err(error) => {
                assert!(index < rotated.from[1], "{index}: {error}");
                assert!(error.to_string().contains("earlier key"), "{error}");
            }
        }
    }
    // Under the checkpoint that witnesses saw last, if that is of today's key.
    rotated.forge.cosigned(&[rotated.forge.note(6, &[])]);
    assert_eq!(Extract::open(&source, 0).unwrap().size(), 6);
    let (pair, vkey) = key(0, ORIGIN, Role::Log);
    let text = rotated.forge.text(4);
    rotated.forge.cosigned(&[format!("{text}\n{}", super::sign(&pair, &vkey, &text))]);
    assert_eq!(Extract::open(&source, 0).unwrap().size(), log.size());
}
