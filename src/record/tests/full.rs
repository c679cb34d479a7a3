//! The disk fills up: exchanges are refused, those under way end on record, and service resumes with nothing lost.

use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};

use super::disk::Drive;
use super::*;

/// Long enough for the two tries that it takes, each a second after the last.
const PATIENCE: Duration = Duration::from_secs(20);

fn on(drive: &Drive, world: &World, reserve: u64) -> Log {
    let config =
        LogConfig { checkpoint_every: Duration::from_millis(1), linger: Duration::ZERO, reserve, ..world.config() };
    Log::open_on(config, world.signer.clone(), &ManualClock::new(NOW), Arc::new(drive.clone())).unwrap()
}

fn deny(log: &Log, padding: usize) -> Sealed {
    let path = "p".repeat(padding);
    let request = Some(RequestLine { method: "GET", path: &path });
    log.seal(&DecisionEntry { request, ..decision(ExchangeId::new(NOW), Verdict::Deny) }).unwrap()
}

/// Waits until the log is in this health.
async fn until(log: &Log, health: &Health) {
    let reached = async {
        while log.health() != *health {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{:?}", log.health()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_for_tiles_refuses_and_comes_back() {
    for why in [StorageFull, QuotaExceeded, FileTooLarge] {
        let (world, drive) = (World::new(), Drive::default());
        let log = on(&drive, &world, 0);
        let exchanges: Vec<_> = (0..40).map(|_| ExchangeId::new(NOW)).collect();
        for exchange in &exchanges {
            log.append(log.seal(&decision(*exchange, Verdict::Permit)).unwrap()).await.unwrap();
        }
        drive.fill(Some(why));
        let mut size = 40;
        // Whoever asks before the disk is found full is still taken.
        let refused = loop {
            match log.append(deny(&log, 0)).await {
                Ok(index) => assert_eq!(index.0, size),
                Err(error) => break error,
            }
            size += 1;
        };
        assert_eq!((refused.code(), log.health()), ("record_full", Health::Full));
        for exchange in &exchanges {
            let ended = log.append_soon(log.seal(&outcome(*exchange)).unwrap()).unwrap();
            assert_eq!(ended.durable().await.unwrap().0, size);
            size += 1;
        }
        assert!(log.published().borrow().size < size && log.health() == Health::Full);
        drive.fill(None);
        let mut published = log.published();
        let reached = published.wait_for(|published| published.size == size);
        tokio::time::timeout(PATIENCE, reached).await.unwrap().unwrap();
        until(&log, &Health::Accepting).await;
        assert_eq!(log.append(deny(&log, 0)).await.unwrap().0, size);
        log.close().await.unwrap();
        assert_eq!(tree::check(&world).len() as u64, size + 1);
        assert!(world.verify().verified);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_runs_low_on_zeros_keeps_them_for_outcomes() {
    let (world, drive) = (World::new(), Drive::default());
    let log = on(&drive, &world, 512 * 1024);
    let exchange = ExchangeId::new(NOW);
    log.append(log.seal(&decision(exchange, Verdict::Permit)).unwrap()).await.unwrap();
    drive.fill(Some(StorageFull));
    let mut bytes = 0;
    while let Ok(index) = log.append(deny(&log, 30_000)).await {
        bytes = index.0 * 40_000;
    }
    assert!(bytes < 1200 * 1024, "the reserve was touched: {bytes} bytes");
    let ended = log.append_soon(log.seal(&outcome(exchange)).unwrap()).unwrap();
    let last = ended.durable().await.unwrap().0;
    // A crash in this state loses nothing either.
    let crashed = world.crashed(&world.wal());
    assert_eq!(crashed.open().unwrap().size(), last + 1);
    drive.fill(None);
    until(&log, &Health::Accepting).await;
    log.close().await.unwrap();
    assert_eq!(tree::check(&world).len() as u64, last + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_were_taken_wait_for_room_and_keep_their_order() {
    let (world, drive) = (World::new(), Drive::default());
    let log = on(&drive, &world, 0);
    drive.fill(Some(StorageFull));
    // More than the zeros there are, and entries that nobody waits for are never refused for want of room.
    let pending: Vec<_> = (0..60).map(|_| log.append_soon(deny(&log, 30_000)).unwrap()).collect();
    until(&log, &Health::Full).await;
    assert!(log.size() < 60);
    assert_eq!(log.append(deny(&log, 0)).await.unwrap_err().code(), "record_full");
    drive.fill(None);
    for (index, pending) in (0..).zip(pending) {
        assert_eq!(tokio::time::timeout(PATIENCE, pending.durable()).await.unwrap().unwrap().0, index);
    }
    log.close().await.unwrap();
    assert_eq!(tree::check(&world).len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_without_room_says_so_and_the_next_opening_makes_up_for_it() {
    let (world, drive) = (World::new(), Drive::default());
    let log = on(&drive, &world, 0);
    log.append(deny(&log, 0)).await.unwrap();
    drive.fill(Some(StorageFull));
    log.append(deny(&log, 0)).await.unwrap();
    until(&log, &Health::Full).await;
    assert_eq!(log.close().await.unwrap_err().code(), "record_unavailable");
    let left = world.crashed(&world.wal());
    left.open().unwrap().close().await.unwrap();
    assert_eq!(tree::check(&left).len(), 2);
}
