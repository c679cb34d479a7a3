//! A log changes its key, and a crash at any step leaves it with exactly one key that opens it.

use super::*;
use crate::record::key_file::{announce, known_keys};
use crate::record::keys::{KEYS, LogKeys};
use crate::record::note::VerifierKey;
use crate::record::rotate::KeyEntry;
use crate::types::Digest;

fn everything(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            everything(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

/// The log as it lies now, in a directory of its own.
fn copy(world: &World) -> World {
    let copy = World { home: tempfile::tempdir().unwrap(), signer: world.signer.clone() };
    everything(&world.directory(), &copy.directory());
    copy
}

async fn rotate(world: &World, new: &Signer) -> Result<Rotated, RecordError> {
    let clock = Arc::new(ManualClock::new(NOW));
    rotate_key(world.config(), world.signer.clone(), new.clone(), clock).await
}

async fn append(world: &World, signer: &Signer, pairs: u64) {
    let log = open(world.config(), signer).unwrap();
    for _ in 0..pairs {
        let exchange = ExchangeId::new(NOW);
        log.append(log.seal(&decision(exchange, Verdict::Permit)).unwrap()).await.unwrap();
        log.append(log.seal(&outcome(exchange)).unwrap()).await.unwrap();
    }
    log.close().await.unwrap();
}

fn kids(world: &World) -> Vec<String> {
    let entries = Entries::open(&world.directory()).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.header["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_rotated_log_goes_on_under_its_new_key_and_under_no_other() {
    let world = World::new();
    append(&world, &world.signer, 2).await;
    let (second, third) = (signer(), signer());
    let rotated = rotate(&world, &second).await.unwrap();
    assert_eq!(rotated.entry, Some(EntryIndex(4)));
    assert_eq!((rotated.previous, rotated.key.clone()), (world.vkey(), second.verifier_key(ORIGIN)));
    let refused = open(world.config(), &world.signer).err().unwrap();
    assert_eq!(refused.code(), "log_foreign");
    assert!(refused.to_string().contains(&rotated.key), "{refused}");
    append(&world, &second, 1).await;
    // Another change, and a gap in which nothing but the changes stands.
    let now = World { home: world.home, signer: second.clone() };
    rotate(&now, &third).await.unwrap();
    append(&now, &third, 1).await;
    let (one, two, three) = (world.signer.kid(), second.kid(), third.kid());
    assert_eq!(kids(&now), [one, one, one, one, one, two, two, two, three, three]);
    let keys = std::fs::read_to_string(now.directory().join(KEYS)).unwrap();
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    let spans: Vec<_> = keys.as_array().unwrap().iter().map(|key| (&key["from_index"], &key["until_index"])).collect();
    assert_eq!(format!("{spans:?}"), "[(Number(0), Number(5)), (Number(5), Number(8)), (Number(8), Null)]");
    assert_eq!(keys[1]["from"], "2026-11-21T00:00:00Z");
    let current = std::fs::read_to_string(now.directory().join(KEY)).unwrap();
    assert_eq!(current.trim(), third.verifier_key(ORIGIN));
    // A key that was retired is not taken again: what it signs could be of any time.
    let now = World { home: now.home, signer: third };
    for retired in [&world.signer, &second, &now.signer] {
        assert!(rotate(&now, retired).await.is_err());
    }
    append(&now, &now.signer, 1).await;
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_one_key_that_opens_the_log() {
    let world = World::new();
    append(&world, &world.signer, 1).await;
    let new = signer();
    let (old_key, new_key) = (world.vkey(), new.verifier_key(ORIGIN));
    let vkey = |key: &str| VerifierKey::parse(key, |bytes| *Digest::of(bytes).as_bytes()).unwrap();
    // The steps of a rotation, one by one, each with the key that opens what a crash after it leaves.
    let mut steps: Vec<(&str, World, bool)> = vec![("before", copy(&world), false)];
    let log = world.open().unwrap();
    let keys = LogKeys::one(vkey(&old_key)).announced(vkey(&new_key), 3, "2026-11-21T00:00:00Z").unwrap();
    announce(&world.directory(), &keys).unwrap();
    steps.push(("announced", copy(&world), false));
    let entry = KeyEntry { at: NOW, key: new_key.clone(), previous: old_key.clone() };
    log.append(log.seal(&entry).unwrap()).await.unwrap();
    steps.push(("handed over", copy(&world), true));
    log.close().await.unwrap();
    steps.push(("under a checkpoint of the old key", copy(&world), true));
    let (checkpoint, public) = (world.directory().join(CHECKPOINT), world.directory().join(KEY));
    let before = [std::fs::read(&checkpoint).unwrap(), std::fs::read(&public).unwrap()];
    open(world.config(), &new).unwrap().close().await.unwrap();
    steps.push(("done", copy(&world), true));
    for (what, path, bytes) in [("old checkpoint", &checkpoint, &before[0]), ("old log.pub", &public, &before[1])] {
        let after = std::fs::read(path).unwrap();
        assert_ne!(&after, bytes);
        std::fs::write(path, bytes).unwrap();
        steps.push((what, copy(&world), true));
        std::fs::write(path, after).unwrap();
    }
    for (what, crashed, over) in steps {
        let (right, wrong) = if over { (&new, &crashed.signer) } else { (&crashed.signer, &new) };
        let refused =
            open(copy(&crashed).config(), wrong).err().unwrap_or_else(|| panic!("{what}: the other key, too"));
        assert_eq!(refused.code(), "log_foreign", "{what}: {refused}");
        assert!(refused.to_string().contains(&right.verifier_key(ORIGIN)), "{what}: {refused}");
        // It goes on, and what it leaves is settled.
        let opened = copy(&crashed);
        append(&opened, right, 1).await;
        let keys = known_keys(&opened.directory()).unwrap().unwrap();
        assert_eq!(keys.at(u64::MAX).to_string(), right.verifier_key(ORIGIN), "{what}");
        let public = std::fs::read_to_string(opened.directory().join(KEY)).unwrap();
        assert_eq!(public.trim(), right.verifier_key(ORIGIN), "{what}");
        // Rotating again from here ends in the same place, whatever was done already.
        let again = rotate(&crashed, &new).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((again.key, again.entry), (new_key.clone(), (!over).then_some(EntryIndex(2))), "{what}");
        append(&crashed, &new, 1).await;
        assert_eq!(kids(&crashed).len(), 5, "{what}");
    }
}

#[tokio::test]
async fn a_list_of_keys_that_was_tampered_with_opens_nothing() {
    let world = World::new();
    append(&world, &world.signer, 1).await;
    let new = signer();
    rotate(&world, &new).await.unwrap();
    append(&world, &new, 1).await;
    let path = world.directory().join(KEYS);
    let sound = std::fs::read_to_string(&path).unwrap();
    for (what, with) in [("\"from_index\": 3", "\"from_index\": 4"), ("kansai", "wessex"), ("[", ""), ("null", "7")] {
        let changed = sound.replacen(what, with, 1);
        if changed != sound {
            std::fs::write(&path, changed).unwrap();
            assert!(open(world.config(), &new).is_err(), "{what} -> {with}");
        }
    }
    // Without the list the old key is not known, and the new one never signed what came before: but the checkpoint is its.
    std::fs::write(&path, &sound).unwrap();
    // A stranger's key in the place of the current one.
    let other = signer();
    std::fs::write(&path, sound.replace(&new.verifier_key(ORIGIN), &other.verifier_key(ORIGIN))).unwrap();
    assert!(open(world.config(), &other).is_err());
    assert_eq!(open(world.config(), &new).err().unwrap().code(), "log_foreign");
    std::fs::write(&path, &sound).unwrap();
    append(&world, &new, 1).await;
}
