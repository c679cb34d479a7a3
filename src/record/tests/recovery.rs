//! What a crash leaves behind is mended; what a crash cannot explain is refused.

use super::*;
use crate::record::queue::BATCH_LIMIT;
use crate::record::tail::Tail;

/// The state of a small log that was never closed: three entries, durable, with the checkpoint of none.
async fn three() -> (World, Log) {
    let world = World::new();
    let log = world.open().unwrap();
    for _ in 0..3 {
        log.append(log.seal(&decision(ExchangeId::new(NOW), Verdict::Deny)).unwrap()).await.unwrap();
    }
    (world, log)
}

/// Where each frame starts, and where the file ends.
fn bounds(wal: &[u8]) -> Vec<usize> {
    let mut frames = Frames::open(Cursor::new(wal)).unwrap();
    let mut bounds = vec![usize::try_from(frames.offset()).unwrap()];
    while frames.next().unwrap().is_some() {
        bounds.push(usize::try_from(frames.offset()).unwrap());
    }
    bounds
}

/// Opens logs that were cut at any byte, each as `tear` leaves it, and expects the whole frames before the cut.
async fn check_torn(tear: impl Fn(&[u8]) -> Vec<u8>) {
    let (world, _log) = three().await;
    let wal = world.written();
    let bounds = bounds(&wal);
    for length in bounds[0]..=wal.len() {
        let crashed = world.crashed(&tear(&wal[..length]));
        let whole = bounds[1..].iter().filter(|end| **end <= length).count();
        let log = crashed.open().unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        assert_eq!(log.size(), whole as u64, "cut at {length}");
        log.close().await.unwrap();
        assert_eq!(crashed.wal(), wal[..bounds[whole]], "cut at {length}");
        let report = crashed.verify();
        assert!(report.verified && report.entries == whole as u64, "cut at {length}: {}", report.render());
    }
    for length in 0..bounds[0] {
        assert_eq!(world.crashed(&tear(&wal[..length])).open().err().unwrap().code(), "log_corrupt", "cut at {length}");
    }
}

#[tokio::test]
async fn a_file_torn_at_any_byte_is_cut_and_the_rest_stands() {
    check_torn(<[u8]>::to_vec).await;
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_of_zeroed_space_is_cut_and_the_rest_stands() {
    check_torn(|wal| with_zeros(wal, 2000)).await;
}

#[tokio::test]
async fn a_last_frame_damaged_at_any_byte_is_cut_and_any_other_refused() {
    let (world, _log) = three().await;
    let wal = world.written();
    let bounds = bounds(&wal);
    for place in 0..wal.len() {
        // Zeros or none make no difference.
        let mut damaged = with_zeros(&wal, place % 2 * 1000);
        damaged[place] ^= 0x01;
        let opened = world.crashed(&damaged).open();
        if place >= bounds[2] {
            let log = opened.unwrap_or_else(|error| panic!("damaged at {place}: {error}"));
            assert_eq!(log.size(), 2, "damaged at {place}");
            log.close().await.unwrap();
        } else {
            assert_eq!(opened.err().map(|error| error.code()), Some("log_corrupt"), "damaged at {place}");
        }
    }
}

#[tokio::test]
async fn a_byte_changed_within_the_last_batch_is_no_torn_write() {
    let world = World::new();
    let log = open(world.never_alone(), &world.signer).unwrap();
    let (_, fate) = batch(&log, &[0, 0, 0]).await;
    fate.unwrap();
    let wal = world.written();
    let bounds = bounds(&wal);
    for place in bounds[0]..bounds[2] {
        let mut damaged = wal.clone();
        damaged[place] ^= 0x01;
        let code = world.crashed(&damaged).open().err().map(|error| error.code());
        assert_eq!(code, Some("log_corrupt"), "damaged at {place}");
    }
}

#[tokio::test]
async fn a_sector_missing_from_the_last_batch_is_torn_and_from_any_other_damage() {
    let world = World::new();
    let log = open(world.never_alone(), &world.signer).unwrap();
    for padding in [[0, 100, 3000], [700, 0, 200]] {
        batch(&log, &padding).await.1.unwrap();
    }
    let wal = world.written();
    let bounds = bounds(&wal);
    for start in (0..wal.len()).step_by(512) {
        // What the sector held before the last batch stands; what a crash cannot take is taken for the other case.
        for from in [start.max(bounds[0]), start.max(bounds[3])] {
            let to = (start + 512).min(wal.len());
            if from >= to {
                continue;
            }
            let mut damaged = wal.clone();
            damaged[from..to].fill(0);
            let opened = world.crashed(&damaged).open();
            if from < bounds[3] {
                let code = opened.err().map(|error| error.code());
                assert_eq!(code, Some("log_corrupt"), "{from} to {to} is missing");
            } else {
                let log = opened.unwrap_or_else(|error| panic!("{from} to {to} is missing: {error}"));
                let whole = bounds[1..].iter().filter(|end| **end <= from).count();
                assert_eq!(log.size(), whole as u64, "{from} to {to} is missing");
                log.close().await.unwrap();
            }
        }
    }
    // Nor is it torn when whole frames follow that stand elsewhere in the log.
    for index in [3, 9] {
        let mut damaged = wal[..bounds[3]].to_vec();
        damaged.resize(bounds[3] + 1024, 0);
        encode(&mut damaged, 1, index, b"data");
        let code = world.crashed(&damaged).open().err().map(|error| error.code());
        assert_eq!(code, Some("log_corrupt"), "entry {index} stands behind a gap");
    }
    // Nor when a checkpoint covers it.
    log.close().await.unwrap();
    let mut damaged = wal.clone();
    damaged[bounds[3]..bounds[4]].fill(0);
    assert_eq!(world.crashed(&damaged).open().err().unwrap().code(), "log_corrupt");
    damaged.truncate(bounds[4]);
    assert_eq!(world.crashed(&damaged).open().err().unwrap().code(), "log_rolled_back");
}

#[tokio::test]
async fn zeros_end_a_log_and_what_stands_behind_them_is_torn_within_a_batch_alone() {
    let (world, _log) = three().await;
    let wal = world.written();
    for zeros in [1, 15, 16, 17, 5000, 3 * BATCH_LIMIT] {
        let crashed = world.crashed(&with_zeros(&wal, zeros));
        crashed.open().unwrap().close().await.unwrap();
        assert_eq!(crashed.wal(), wal);
    }
    let code = |at: usize| {
        let mut changed = with_zeros(&wal, 2 * BATCH_LIMIT);
        changed[wal.len() + at] = 1;
        world.crashed(&changed).open().err().map(|error| error.code())
    };
    assert_eq!(code(0), None);
    assert_eq!(code(BATCH_LIMIT - 1), None);
    assert_eq!(code(BATCH_LIMIT), Some("log_corrupt"));
    assert_eq!(code(2 * BATCH_LIMIT - 1), Some("log_corrupt"));
}

#[tokio::test]
async fn a_founding_that_a_crash_cut_short_starts_again() {
    for length in 0..=Head::default().bytes().len() {
        let world = World::new();
        std::fs::create_dir(world.directory()).unwrap();
        std::fs::write(world.directory().join(WAL), &Head::default().bytes()[..length]).unwrap();
        let log = world.open().unwrap();
        fill(&log, 1).await;
        log.close().await.unwrap();
        assert!(world.verify().verified);
    }
}

#[tokio::test]
async fn a_log_that_contradicts_its_checkpoint_is_refused() {
    let world = closed(2).await;
    let wal = world.wal();
    let mut entries = entries(&wal);
    let code = |wal: &[u8]| world.crashed(wal).open().err().map(|error| error.code());
    assert_eq!(code(&wal), None);
    assert_eq!(code(&forge(&entries[..3])), Some("log_rolled_back"));
    assert_eq!(code(&wal[..wal.len() - 1]), Some("log_rolled_back"));
    assert_eq!(code(&Head::default().bytes()), Some("log_rolled_back"));
    let mut damaged = wal.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(code(&damaged), Some("log_corrupt"));
    entries.swap(0, 1);
    assert_eq!(code(&forge(&entries)), Some("log_corrupt"));

    let files = world.crashed(&wal);
    std::fs::remove_file(files.directory().join(CHECKPOINT)).unwrap();
    assert_eq!(files.open().err().unwrap().code(), "log_corrupt");
    let other = closed(2).await;
    std::fs::copy(other.directory().join(CHECKPOINT), files.directory().join(CHECKPOINT)).unwrap();
    assert_eq!(files.open().err().unwrap().code(), "log_corrupt");
}

#[tokio::test]
async fn an_entry_that_someone_added_while_the_log_was_down_is_refused() {
    let world = closed(1).await;
    let mut entries = entries(&world.wal());
    let forged = signer().seal(&decision(ExchangeId::new(NOW), Verdict::Permit)).unwrap();
    entries.push(forged.as_bytes().to_vec());
    let crashed = world.crashed(&forge(&entries));
    assert_eq!(crashed.open().err().unwrap().code(), "log_corrupt");
}

#[tokio::test]
async fn open_exchanges_are_closed_as_unknown() {
    let world = World::new();
    let log = world.open().unwrap();
    fill(&log, 1).await;
    let (open, refused) = (ExchangeId::new(NOW), ExchangeId::new(NOW));
    log.append(log.seal(&decision(open, Verdict::Permit)).unwrap()).await.unwrap();
    log.append(log.seal(&decision(refused, Verdict::Review)).unwrap()).await.unwrap();
    let crashed = world.crashed(&world.wal());
    let log = crashed.open().unwrap();
    assert_eq!(log.size(), 5);
    // Durable and covered by a checkpoint before the first new entry is taken.
    assert_eq!(crashed.verify().checkpointed, 5);
    log.close().await.unwrap();
    let last = Entries::open(&crashed.directory()).unwrap().last().unwrap().unwrap();
    let expected = serde_json::json!({
        "kind": "outcome", "exchange": open.to_string(), "at": NOW.to_string(), "ended": "unknown",
    });
    assert_eq!(last.payload, expected);
    assert!(crashed.verify().verified);
    crashed.open().unwrap().close().await.unwrap();
    assert_eq!(crashed.verify().entries, 5);
}

#[test]
fn wherever_a_batch_starts_in_a_sector_a_changed_byte_is_no_missing_sector() {
    use std::io::Write as _;
    let check = |start: usize, change: &dyn Fn(&mut [u8]), torn: bool| {
        let mut wal = vec![b'x'; start];
        for place in 0..3 {
            encode(&mut wal, place, 7 + u64::from(place), &[b'a'; 600]);
        }
        change(&mut wal);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&wal).unwrap();
        let tail = Tail::read(&mut file, start as u64).unwrap();
        assert_eq!(tail.is_torn(7), torn, "a batch that starts at {start}");
    };
    for start in 512..1024 {
        check(start, &|wal| wal[start + 20] ^= 1, false);
        check(start, &|wal| wal[1024..1536].fill(0), true);
        // Of less than three bytes nothing can be missing.
        check(start, &|wal| wal[start..1024].fill(0), start < 1022);
    }
}
