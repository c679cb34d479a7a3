//! Every step on the disk fails, with and without effect: nobody is told that an entry stands unless it does.

use std::collections::HashSet;
use std::io;

use super::disk::{Drive, Effect, Step};
use super::*;

/// What was acknowledged, by index.
type Acknowledged = Vec<(u64, Vec<u8>)>;

/// Opens a log, fills it past a full tile, renews its file, closes it. Says what was acknowledged until it failed.
pub(super) async fn work(world: &World, drive: &Drive) -> (Acknowledged, Result<(), RecordError>) {
    let mut acknowledged = Vec::new();
    let ended = steps(world, drive, &mut acknowledged).await;
    (acknowledged, ended)
}

async fn steps(world: &World, drive: &Drive, acknowledged: &mut Acknowledged) -> Result<(), RecordError> {
    let config = LogConfig { checkpoint_every: Duration::from_millis(1), rotate_after: 150_000, ..world.never_alone() };
    let disk = Arc::new(drive.clone());
    let log = Log::open_on(config, world.signer.clone(), &ManualClock::new(NOW), disk)?;
    let mut published = log.published();
    let mut failed = None;
    for count in [1, 3, 255, 1, 2] {
        let first = acknowledged.len() as u64;
        let (entries, fate) = batch(&log, &vec![0; count]).await;
        if let Err(error) = fate {
            failed = Some(error);
            break;
        }
        acknowledged.extend((first..).zip(entries.iter().map(|entry| entry.as_bytes().to_vec())));
        let size = acknowledged.len() as u64;
        if published.wait_for(|published| published.size == size).await.is_err() {
            break;
        }
    }
    let closed = log.close().await;
    // Once nobody can publish any more, nobody writes any more.
    while published.changed().await.is_ok() {}
    failed.map_or(closed, Err)
}

/// Opens what is left, and checks that everything that was acknowledged stands.
pub(super) async fn check_left(left: &World, acknowledged: &Acknowledged, what: &str) {
    let log = left.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    let size = log.size();
    assert!(size >= acknowledged.len() as u64, "{what}: {size} of {} entries", acknowledged.len());
    let entry = log.seal(&decision(ExchangeId::new(NOW), Verdict::Deny)).unwrap();
    assert_eq!(log.append(entry).await.unwrap().0, size, "{what}: an index is given twice");
    log.close().await.unwrap();
    let report = left.verify();
    assert!(report.verified && report.checkpointed == size + 1, "{what}: {}", report.render());
    let entries = tree::check(left);
    let place = |index: u64| &entries[usize::try_from(index).unwrap()];
    assert!(acknowledged.iter().all(|(index, entry)| place(*index) == entry), "{what}: an entry is another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_step_fails_everything_acknowledged_stands() {
    let drive = Drive::default();
    let (acknowledged, ended) = work(&World::new(), &drive).await;
    ended.unwrap();
    assert_eq!(acknowledged.len(), 262);
    let steps = drive.steps();
    // Zeros are written in many equal pieces: the first and the last of each stretch stand for all.
    let middle =
        |at: usize| at > 0 && at + 1 < steps.len() && steps[at - 1..=at + 1].iter().all(|step| *step == steps[at]);
    let kinds: HashSet<Step> = steps.iter().map(|(step, _)| *step).collect();
    assert_eq!(kinds.len(), 9, "{kinds:?}");
    for file in ["wal", "wal.tmp", "checkpoint", "checkpoint.tmp", "log.pub", "000", "000.tmp", "5.tmp"] {
        assert!(steps.iter().any(|(_, name)| name == file) || file == "5.tmp", "{file} is not written: {steps:?}");
    }
    for at in (0..steps.len()).filter(|at| !middle(*at)) {
        for effect in [Effect::Failed, Effect::Half, Effect::Persisted] {
            if effect == Effect::Half && steps[at].0 != Step::Write {
                continue;
            }
            let world = World::new();
            let (acknowledged, _) = work(&world, &Drive::failing(at, effect, io::ErrorKind::Other)).await;
            let left = World { home: tempfile::tempdir().unwrap(), signer: world.signer.clone() };
            if world.directory().exists() {
                copy_log(&world.directory(), &left.directory());
            }
            check_left(&left, &acknowledged, &format!("step {at} of {}, {:?}, {effect:?}", steps.len(), steps[at]))
                .await;
        }
    }
}

#[tokio::test]
async fn a_log_that_failed_refuses_whatever_comes() {
    let (world, drive) = (World::new(), Drive::default());
    let disk = Arc::new(drive.clone());
    let log = Log::open_on(world.config(), world.signer.clone(), &ManualClock::new(NOW), disk).unwrap();
    fill(&log, 2).await;
    // The write comes first, then the sync. Want of room is no excuse for a sync.
    drive.arm(Effect::Failed, io::ErrorKind::StorageFull, 1);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let log = log.clone();
        tasks.spawn(async move {
            loop {
                let entry = log.seal(&decision(ExchangeId::new(NOW), Verdict::Deny)).unwrap();
                if let Err(error) = log.append(entry).await {
                    return error.code();
                }
            }
        });
    }
    assert_eq!(tasks.join_all().await, ["record_unavailable"; 4]);
    assert!(matches!(log.health(), Health::Failed(why) if why.contains("a sync failed")));
    let late = log.seal(&outcome(ExchangeId::new(NOW))).unwrap();
    assert_eq!(log.append(late.clone()).await.unwrap_err().code(), "record_unavailable");
    assert_eq!(log.append_soon(late).unwrap_err().code(), "record_unavailable");
    assert_eq!(log.close().await.unwrap_err().code(), "record_unavailable");
    assert_eq!(log.size(), 4);
}
