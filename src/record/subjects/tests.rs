//! What is kept opens commitments, what is forgotten opens none, and neither crash nor noise brings anybody back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::record::RecordError;
use crate::types::{Clock as _, ManualClock, Timestamp};

const START: Timestamp = Timestamp::from_seconds(1_795_251_600);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct World {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::new(START)) }
    }

    fn config(&self) -> SubjectConfig {
        SubjectConfig { directory: self.directory.path().join("subjects"), retention_days: 30, bytes: 1024 * 1024 }
    }

    fn open(&self) -> SubjectStore {
        SubjectStore::open(self.config(), self.clock.clone()).unwrap()
    }

    fn keep(&self, store: &SubjectStore, sub: &str) -> Commitment {
        let salt = Salt::fresh().unwrap();
        store.keep(self.clock.now(), salt.clone(), sub.to_owned());
        salt.commit(sub)
    }

    fn read(&self) -> Subjects {
        Subjects::open(&self.config().directory).unwrap()
    }

    fn today(&self) -> PathBuf {
        self.config().directory.join(format!("{}.ndjson", self.clock.now().date()))
    }

    fn text(&self) -> String {
        let files = std::fs::read_dir(self.config().directory).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }
}

#[test]
fn who_is_forgotten_is_in_no_file_and_everybody_else_still_is() {
    let world = World::new();
    let store = world.open();
    let ada = [world.keep(&store, "person:ada"), world.keep(&store, "person:ada")];
    let eve = world.keep(&store, "person:eve");
    world.clock.advance(DAY);
    let ada_later = world.keep(&store, "person:ada");
    // One whose name holds the other's is somebody else.
    let adam = world.keep(&store, "person:adam");
    let forgotten = store.forget("person:ada").unwrap();
    assert_eq!(forgotten, Forgotten { passes: 3, unreadable: 0, days: 2 });
    assert_eq!(store.forget("person:ada").unwrap(), Forgotten::default());
    let bob = world.keep(&store, "person:bob");
    store.close();
    let subjects = world.read();
    for commitment in ada.iter().chain([&ada_later]) {
        assert_eq!(subjects.name(commitment), None);
    }
    for (commitment, name) in [(eve, "person:eve"), (adam, "person:adam"), (bob, "person:bob")] {
        assert_eq!(subjects.name(&commitment), Some(name));
    }
    assert!(!world.text().contains("person:ada\""), "{}", world.text());
    assert!(store.forget("person:eve").is_err_and(|error| error.code() == "record_unavailable"));
}

#[test]
fn a_new_pass_of_who_was_forgotten_is_a_new_subject() {
    let world = World::new();
    let store = world.open();
    let before = world.keep(&store, "person:ada");
    store.forget("person:ada").unwrap();
    let after = world.keep(&store, "person:ada");
    store.close();
    assert_eq!(world.read().name(&before), None);
    assert_eq!(world.read().name(&after), Some("person:ada"));
}

#[test]
fn one_process_writes_and_days_go_when_their_retention_is_over() {
    let world = World::new();
    let store = world.open();
    let old = world.keep(&store, "person:ada");
    assert!(matches!(SubjectStore::open(world.config(), world.clock.clone()), Err(RecordError::Locked(_))));
    store.close();
    assert_eq!(world.read().name(&old), Some("person:ada"));
    world.clock.advance(DAY * 30);
    world.open().close();
    assert_eq!(world.read().name(&old), Some("person:ada"));
    world.clock.advance(DAY);
    world.open().close();
    assert_eq!(world.read().name(&old), None);
    assert_eq!(world.text(), "");
}

#[test]
fn what_a_crash_left_is_cut_off_and_its_draft_is_removed() {
    let world = World::new();
    let store = world.open();
    let ada = world.keep(&store, "person:ada");
    store.close();
    let whole = std::fs::read(world.today()).unwrap();
    for torn in 1..whole.len() {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&whole[..whole.len() - torn]);
        std::fs::write(world.today(), bytes).unwrap();
        std::fs::write(world.today().with_extension("ndjson.tmp"), &whole).unwrap();
        let store = world.open();
        let eve = world.keep(&store, "person:eve");
        store.close();
        assert_eq!(world.read().name(&ada), Some("person:ada"));
        assert_eq!(world.read().name(&eve), Some("person:eve"));
        assert!(!world.today().with_extension("ndjson.tmp").exists());
        assert_eq!(std::fs::read(world.today()).unwrap()[..whole.len()], whole);
    }
}

#[test]
fn a_line_that_opens_another_commitment_names_nobody() {
    let world = World::new();
    let store = world.open();
    let ada = world.keep(&store, "person:ada");
    store.close();
    let changed = world.text().replace("person:ada", "person:eve");
    std::fs::write(world.today(), changed).unwrap();
    assert_eq!(world.read().name(&ada), None);
    // It may be somebody's who asks to be forgotten, so it goes with whoever does.
    let store = world.open();
    assert_eq!(store.forget("person:bob").unwrap(), Forgotten { passes: 0, unreadable: 1, days: 1 });
    store.close();
    assert_eq!(world.text(), "");
}

#[test]
fn a_single_day_stops_at_the_cap() {
    let world = World::new();
    let store = SubjectStore::open(SubjectConfig { bytes: 400, ..world.config() }, world.clock.clone()).unwrap();
    for _ in 0..10 {
        world.keep(&store, "person:ada");
        store.forget("nobody").unwrap();
    }
    assert!(store.health().lost > 0 && store.health().failing.is_some(), "{:?}", store.health());
    assert!(world.text().len() <= 400);
    store.close();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever names there are and whoever is forgotten: those names are gone, and no other is.
    #[test]
    fn exactly_the_forgotten_are_gone(
        subs in prop::collection::vec("[ -~]{1,12}|person:(ada|eve|adam)", 1..12),
        forgotten in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let world = World::new();
        let store = world.open();
        let kept: Vec<_> = subs.iter().map(|sub| (sub, world.keep(&store, sub))).collect();
        let forgotten: Vec<&String> = forgotten.iter().map(|index| &subs[index.index(subs.len())]).collect();
        for sub in &forgotten {
            store.forget(sub).unwrap();
        }
        store.close();
        let subjects = world.read();
        for (sub, commitment) in kept {
            let expected = (!forgotten.contains(&sub)).then_some(sub.as_str());
            prop_assert_eq!(subjects.name(&commitment), expected);
        }
    }
}
