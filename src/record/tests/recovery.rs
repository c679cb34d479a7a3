//! What a crash leaves behind is mended; what a crash cannot explain is refused.

use super::*;

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
    let mut frames = Frames::open(wal).unwrap();
    let mut bounds = vec![usize::try_from(frames.offset()).unwrap()];
    while frames.next().unwrap().is_some() {
        bounds.push(usize::try_from(frames.offset()).unwrap());
    }
    bounds
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_and_the_rest_stands() {
    let (world, _log) = three().await;
    let wal = world.wal();
    let bounds = bounds(&wal);
    for length in bounds[0]..=wal.len() {
        let crashed = world.crashed(&wal[..length]);
        let whole = bounds[1..].iter().filter(|end| **end <= length).count();
        let log = crashed.open().unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        assert_eq!(log.size(), whole as u64, "cut at {length}");
        log.close().await.unwrap();
        assert_eq!(crashed.wal(), wal[..bounds[whole]], "cut at {length}");
        let report = crashed.verify();
        assert!(report.verified && report.entries == whole as u64, "cut at {length}: {}", report.render());
    }
    for length in 0..bounds[0] {
        assert_eq!(world.crashed(&wal[..length]).open().err().unwrap().code(), "log_corrupt", "cut at {length}");
    }
}

#[tokio::test]
async fn a_last_frame_damaged_at_any_byte_is_cut_and_any_other_refused() {
    let (world, _log) = three().await;
    let wal = world.wal();
    let bounds = bounds(&wal);
    for place in 0..wal.len() {
        let mut damaged = wal.clone();
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
async fn a_tail_of_zeros_is_torn_and_one_longer_than_a_batch_is_not() {
    let (world, _log) = three().await;
    let mut wal = world.wal();
    let length = wal.len();
    wal.resize(length + 5000, 0);
    let crashed = world.crashed(&wal);
    crashed.open().unwrap().close().await.unwrap();
    assert_eq!(crashed.wal(), wal[..length]);
    wal.resize(length + super::super::queue::BATCH_LIMIT + 1, 0);
    assert_eq!(world.crashed(&wal).open().err().unwrap().code(), "log_corrupt");
}

#[tokio::test]
async fn a_founding_that_a_crash_cut_short_starts_again() {
    for length in 0..=FILE_HEADER.len() {
        let world = World::new();
        std::fs::create_dir(world.directory()).unwrap();
        std::fs::write(world.directory().join(WAL), &FILE_HEADER[..length]).unwrap();
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
    assert_eq!(code(&FILE_HEADER), Some("log_rolled_back"));
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
