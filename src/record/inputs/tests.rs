//! The store of inputs: what is kept comes back, what was changed does not, and nothing grows without end.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::line::MOST_LINE;
use super::read::OPEN_FILES;
use super::store::{QUEUED, QUEUED_BYTES};
use super::writer::{REMEMBERED, RESPITE};
use super::*;
use crate::record::RecordError;
use crate::record::shelf::append_to;
use crate::types::{Clock, Digest, ManualClock, Timestamp};

/// 2026-11-21T09:00:00Z.
const START: Timestamp = Timestamp::from_seconds(1_795_251_600);
const DAY: Duration = Duration::from_secs(86_400);
const ROOMY: u64 = 1 << 30;

struct World {
    home: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::new(START)) }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("inputs")
    }

    fn config(&self, retention_days: u32, bytes: u64) -> InputConfig {
        InputConfig { directory: self.directory(), retention_days, bytes }
    }

    fn open(&self) -> InputStore {
        InputStore::open(self.config(400, ROOMY), self.clock.clone()).unwrap()
    }

    /// Keeps an input now, and gives its digest.
    fn keep(&self, store: &InputStore, input: &str) -> Digest {
        let digest = Digest::of(input.as_bytes());
        store.keep(self.clock.now(), digest, input.into(), policy(), declaration);
        digest
    }

    fn read(&self) -> StoredInputs {
        StoredInputs::open(&self.directory(), None).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.directory()).unwrap();
        let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn today(&self) -> PathBuf {
        self.directory().join(format!("{}.ndjson", self.clock.now().date()))
    }
}

fn policy() -> Digest {
    Digest::of(b"a policy")
}

fn declaration() -> Declaration {
    Declaration {
        policy: policy(),
        id: "dfft".to_owned(),
        revision: "7".to_owned(),
        inputs: vec!["at".to_owned(), "recipient.country".to_owned()],
        time: "date".to_owned(),
    }
}

fn input(number: usize) -> String {
    format!(r#"{{"at":"2026-11-21","purpose":"dfft:Number{number}"}}"#)
}

fn found(stored: &StoredInputs, digest: &Digest) -> Option<String> {
    match stored.find(digest).unwrap() {
        Lookup::Found { number, input } => {
            assert!(number < stored.len());
            Some(input)
        }
        Lookup::Missing => None,
        Lookup::Damaged(place) => panic!("damaged at {place}"),
    }
}

#[test]
fn what_is_kept_comes_back_byte_for_byte_and_stands_once_a_day() {
    let world = World::new();
    let store = world.open();
    let digests: Vec<Digest> = (0..100).map(|number| world.keep(&store, &input(number))).collect();
    for number in 0..100 {
        world.keep(&store, &input(number));
    }
    store.flush();
    let stored = world.read();
    for (number, digest) in digests.iter().enumerate() {
        assert_eq!(found(&stored, digest), Some(input(number)));
    }
    assert_eq!(found(&stored, &Digest::of(b"another")), None);
    assert_eq!(stored.declared(&policy()), Some(&declaration()));
    assert_eq!(stored.declared(&Digest::of(b"another")), None);
    let health = store.health();
    assert_eq!((stored.len(), health.kept, health.repeated, health.lost), (100, 100, 100, 0));
    assert_eq!(health.bytes, std::fs::metadata(world.today()).unwrap().len());
    assert_eq!(health.failing, None);

    // The same question on another day is written into that day's file, so that the first day may go.
    world.clock.advance(DAY);
    world.keep(&store, &input(0));
    store.close();
    assert_eq!(world.files(), ["2026-11-21.ndjson", "2026-11-22.ndjson", "lock"]);
    assert_eq!(world.read().len(), 101);
    world.keep(&store, &input(1000));
    assert_eq!(store.health().lost, 1, "a closed store took an input and did not say that it is lost");
}

#[test]
fn files_are_for_their_owner_alone_and_one_process_writes() {
    let world = World::new();
    let store = world.open();
    world.keep(&store, &input(0));
    store.flush();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.directory()), 0o700);
    for file in world.files() {
        assert_eq!(mode(&world.directory().join(&file)), 0o600, "{file}");
    }
    let second = InputStore::open(world.config(400, ROOMY), world.clock.clone());
    assert!(matches!(second, Err(RecordError::Locked(_))));
    store.close();
    world.open();
}

#[test]
fn a_restart_remembers_the_day_and_cuts_off_what_a_crash_tore() {
    let world = World::new();
    let store = world.open();
    let first = world.keep(&store, &input(1));
    store.close();
    let whole = std::fs::read(world.today()).unwrap();
    // Wherever the last line is torn, the lines before it count, and it does not.
    let second = [whole.clone(), whole[whole.iter().position(|b| *b == b'\n').unwrap() + 1..].to_vec()].concat();
    for torn in [whole.len() + 1, whole.len() + 50, second.len() - 1] {
        std::fs::write(world.today(), &second[..torn]).unwrap();
        let stored = world.read();
        assert_eq!((stored.len(), stored.damaged().len()), (1, 0), "torn at {torn}");
        let store = world.open();
        world.keep(&store, &input(1));
        let digest = world.keep(&store, &input(2));
        store.close();
        assert_eq!(store.health().repeated, 1, "the restart forgot what stands in the day's file");
        let stored = world.read();
        assert_eq!(found(&stored, &first), Some(input(1)));
        assert_eq!(found(&stored, &digest), Some(input(2)));
        assert_eq!((stored.len(), stored.damaged().len()), (2, 0), "torn at {torn}");
    }
}

#[test]
fn a_line_that_was_changed_is_told_and_not_used() {
    let world = World::new();
    let store = world.open();
    let digests: Vec<Digest> = (0..4).map(|number| world.keep(&store, &input(number))).collect();
    store.close();
    let text = std::fs::read_to_string(world.today()).unwrap();
    let other = Digest::of(b"other");
    let changed = text
        .replace("Number1", "Numbr1")
        .replace(&digests[2].hex(), &other.hex())
        .replace(&format!("{{\"digest\":\"{}\"", digests[3]), "{\"digets\":\"");
    std::fs::write(world.today(), &changed).unwrap();
    let stored = world.read();
    assert_eq!(found(&stored, &digests[0]), Some(input(0)));
    let place = |digest: &Digest| match stored.find(digest).unwrap() {
        Lookup::Damaged(place) => place,
        lookup => panic!("{lookup:?}"),
    };
    let line = |digest: &Digest| changed.find(&format!("{{\"digest\":\"{digest}")).unwrap();
    assert_eq!(place(&digests[1]), format!("{}:{}", world.today().display(), line(&digests[1])));
    assert_eq!(place(&other), format!("{}:{}", world.today().display(), line(&other)));
    assert_eq!(stored.find(&digests[2]).unwrap(), Lookup::Missing);
    assert_eq!(stored.find(&digests[3]).unwrap(), Lookup::Missing);
    assert_eq!(stored.damaged(), [format!("{}:{}", world.today().display(), changed.find("{\"digets").unwrap())]);

    // An intact copy of another day is used in its place.
    world.clock.advance(DAY);
    let store = world.open();
    world.keep(&store, &input(1));
    store.close();
    assert_eq!(found(&world.read(), &digests[1]), Some(input(1)));
}

#[test]
fn days_go_when_their_retention_is_over_and_not_before() {
    let world = World::new();
    let open = || InputStore::open(world.config(2, ROOMY), world.clock.clone()).unwrap();
    let store = open();
    world.keep(&store, &input(0));
    store.flush();
    std::fs::write(world.directory().join("2020-01-01.txt"), "somebody else's").unwrap();
    std::fs::write(world.directory().join("2020-1-1.ndjson"), "no day's name").unwrap();
    let others = ["2020-01-01.txt", "2020-1-1.ndjson"];
    world.clock.advance(2 * DAY);
    world.keep(&store, &input(1));
    store.flush();
    assert_eq!(world.files(), [&others[..], &["2026-11-21.ndjson", "2026-11-23.ndjson", "lock"]].concat());
    world.clock.advance(DAY);
    world.keep(&store, &input(2));
    store.close();
    assert_eq!(world.files(), [&others[..], &["2026-11-23.ndjson", "2026-11-24.ndjson", "lock"]].concat());
    assert_eq!(store.health().bytes, {
        let size = |day: &str| std::fs::metadata(world.directory().join(day)).unwrap().len();
        size("2026-11-23.ndjson") + size("2026-11-24.ndjson")
    });
    // Nothing has to be written for a day to go: opening is enough.
    world.clock.advance(10 * DAY);
    open().close();
    assert_eq!(world.files(), [&others[..], &["lock"]].concat());
}

#[test]
fn the_oldest_day_makes_room_and_a_single_day_stops_at_the_cap() {
    let world = World::new();
    let store = world.open();
    world.keep(&store, &input(0));
    store.close();
    let day = std::fs::metadata(world.today()).unwrap().len();
    let line = (input(1).len() + 94) as u64;

    // Room for two days to the byte, and for one line more than a day on the second.
    let open = |bytes| InputStore::open(world.config(400, bytes), world.clock.clone()).unwrap();
    world.clock.advance(DAY);
    let store = open(2 * day);
    world.keep(&store, &input(1));
    store.flush();
    assert_eq!(world.files(), ["2026-11-21.ndjson", "2026-11-22.ndjson", "lock"]);
    assert_eq!(store.health().bytes, 2 * day);
    world.keep(&store, &input(2));
    store.close();
    assert_eq!(world.files(), ["2026-11-22.ndjson", "lock"], "the oldest day did not make room");
    assert_eq!(store.health().bytes, day + line);

    let store = open(day + line);
    world.keep(&store, &input(3));
    store.flush();
    let health = store.health();
    assert_eq!((health.kept, health.lost, health.bytes), (0, 1, day + line));
    assert!(health.failing.unwrap().contains("cap"));
    world.clock.advance(DAY);
    let next = world.keep(&store, &input(3));
    store.close();
    assert_eq!(world.files(), ["2026-11-23.ndjson", "lock"]);
    assert_eq!(found(&world.read(), &next), Some(input(3)));
    assert_eq!(store.health().failing, None);
}

#[test]
fn a_full_disk_loses_inputs_and_nothing_else() {
    let world = World::new();
    let full = Arc::new(AtomicBool::new(true));
    let open = {
        let full = Arc::clone(&full);
        move |path: &Path| match full.load(Ordering::SeqCst) {
            // A file that cannot be written to any more, as on a disk that is full.
            true => append_to(path).and_then(|_| File::open(path)),
            false => append_to(path),
        }
    };
    let store = InputStore::open_on(world.config(400, ROOMY), world.clock.clone(), open).unwrap();
    world.keep(&store, &input(0));
    store.flush();
    let health = store.health();
    assert_eq!((health.kept, health.lost), (0, 1));
    assert!(health.failing.is_some());
    // It is left alone for a while, and what comes meanwhile is counted.
    full.store(false, Ordering::SeqCst);
    world.clock.advance(RESPITE - Duration::from_millis(1));
    world.keep(&store, &input(0));
    store.flush();
    assert_eq!(store.health().lost, 2);
    world.clock.advance(Duration::from_millis(1));
    let digest = world.keep(&store, &input(0));
    store.close();
    let health = store.health();
    assert_eq!((health.kept, health.lost, health.failing), (1, 2, None));
    assert_eq!(found(&world.read(), &digest), Some(input(0)));
}

#[test]
fn what_is_too_large_or_no_line_is_lost_at_once() {
    let world = World::new();
    let store = world.open();
    let most = world.keep(&store, &"x".repeat(MOST_INPUT));
    store.flush();
    world.keep(&store, &"x".repeat(MOST_INPUT + 1));
    world.keep(&store, "{\n}");
    store.close();
    assert_eq!((store.health().kept, store.health().lost), (1, 2));
    assert_eq!(found(&world.read(), &most), Some("x".repeat(MOST_INPUT)));
    // A line longer than any is damage, and what follows it is read.
    let mut file = append_to(&world.today()).unwrap();
    file.write_all(&vec![b'y'; MOST_LINE + 10]).unwrap();
    file.write_all(b"\n").unwrap();
    let store = world.open();
    let after = world.keep(&store, &input(0));
    store.close();
    let stored = world.read();
    assert_eq!(stored.damaged().len(), 1);
    assert_eq!(found(&stored, &after), Some(input(0)));
}

#[test]
fn a_disk_that_stands_still_costs_no_caller_a_wait() {
    let world = World::new();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let mut first = true;
    let open = move |path: &Path| {
        if std::mem::take(&mut first) {
            wait.recv().unwrap();
        }
        append_to(path)
    };
    let store = InputStore::open_on(world.config(400, ROOMY), world.clock.clone(), open).unwrap();
    for number in 0..QUEUED + 100 {
        world.keep(&store, &input(number));
    }
    // One may be in the writer's hands, and nothing else left the queue.
    let lost = store.health().lost;
    assert!((99..=100).contains(&lost), "{lost}");
    go.send(()).unwrap();
    store.flush();
    let large = "x".repeat(MOST_INPUT);
    assert_eq!(QUEUED_BYTES / large.len(), 4, "four of the largest fit the queue");
    store.close();
    assert_eq!(store.health().kept, (QUEUED + 100) as u64 - lost);
}

#[test]
fn the_queue_is_bounded_in_bytes() {
    let world = World::new();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (told, opened) = std::sync::mpsc::channel::<()>();
    let open = move |path: &Path| {
        told.send(()).unwrap();
        wait.recv().unwrap();
        append_to(path)
    };
    let store = InputStore::open_on(world.config(400, ROOMY), world.clock.clone(), open).unwrap();
    world.keep(&store, &input(0));
    // From here the writer holds one input and takes no other.
    opened.recv().unwrap();
    let large = QUEUED_BYTES / 4;
    for number in 0..4 {
        world.keep(&store, &format!("{number}{}", "x".repeat(large - 1)));
    }
    assert_eq!(store.health().lost, 0, "what fits to the byte was lost");
    world.keep(&store, "x");
    assert_eq!(store.health().lost, 1);
    go.send(()).unwrap();
    store.close();
    assert_eq!((store.health().kept, store.health().lost), (5, 1));
}

#[test]
fn what_was_forgotten_is_written_again_and_read_once() {
    let world = World::new();
    let store = world.open();
    let first = world.keep(&store, &input(0));
    for number in 1..=REMEMBERED.get() {
        world.keep(&store, &input(number));
        // The queue is not what is tried here.
        if number % 1000 == 0 {
            store.flush();
        }
    }
    store.flush();
    world.keep(&store, &input(0));
    store.close();
    let health = store.health();
    assert_eq!((health.kept, health.repeated, health.lost), (REMEMBERED.get() as u64 + 2, 0, 0));
    assert_eq!(found(&world.read(), &first), Some(input(0)));
}

#[test]
fn more_days_are_read_than_files_are_held_open() {
    let world = World::new();
    let store = world.open();
    let mut digests = Vec::new();
    for day in 0..=OPEN_FILES.get() {
        digests.push(world.keep(&store, &input(day)));
        world.clock.advance(DAY);
    }
    store.close();
    let stored = world.read();
    for _ in 0..2 {
        for (day, digest) in digests.iter().enumerate() {
            assert_eq!(found(&stored, digest), Some(input(day)));
        }
    }
}

#[test]
fn only_days_up_to_the_last_are_read() {
    let world = World::new();
    let store = world.open();
    let first = world.keep(&store, &input(0));
    world.clock.advance(DAY);
    let second = world.keep(&store, &input(1));
    store.close();
    let stored = StoredInputs::open(&world.directory(), Some("2026-11-21")).unwrap();
    assert_eq!(found(&stored, &first), Some(input(0)));
    assert_eq!(found(&stored, &second), None);
    assert!(StoredInputs::open(&world.home.path().join("nothing"), None).is_err());
}
