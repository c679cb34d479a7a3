//! Each step of a write fails, with and without effect: nobody is told that an entry stands unless it does.

use std::io;
use std::sync::Mutex;

use super::*;
use crate::record::store::{Disk, Storage};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Append,
    Sync,
    Publish,
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The step did nothing.
    Failed,
    /// Half of it was done. Means something for bytes only.
    Half,
    /// The step was done, and then reported as failed.
    Persisted,
}

/// A disk whose next step of a kind fails once it is armed, and which must not be touched after that.
struct Faulty {
    disk: Disk,
    armed: Arc<Mutex<Option<(Step, Effect)>>>,
    failed: bool,
}

impl Faulty {
    fn take(&mut self, step: Step, act: impl FnOnce(&mut Disk, Option<Effect>) -> io::Result<()>) -> io::Result<()> {
        assert!(!self.failed, "the disk was used after it failed");
        let effect = self.armed.lock().unwrap().take_if(|(armed, _)| *armed == step).map(|(_, effect)| effect);
        act(&mut self.disk, effect)?;
        self.failed = effect.is_some();
        if self.failed { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

impl Storage for Faulty {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.take(Step::Append, |disk, effect| match effect {
            Some(Effect::Failed) => Ok(()),
            Some(Effect::Half) => disk.append(&bytes[..bytes.len() / 2]),
            Some(Effect::Persisted) | None => disk.append(bytes),
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.take(Step::Sync, |disk, effect| if effect == Some(Effect::Failed) { Ok(()) } else { disk.sync() })
    }

    fn publish(&mut self, note: &[u8]) -> io::Result<()> {
        self.take(Step::Publish, |disk, effect| match effect {
            Some(Effect::Failed | Effect::Half) => Ok(()),
            Some(Effect::Persisted) | None => disk.publish(note),
        })
    }

    fn close(&mut self) -> io::Result<()> {
        self.take(Step::Close, |disk, effect| match effect {
            Some(Effect::Failed | Effect::Half) => Ok(()),
            Some(Effect::Persisted) | None => disk.close(),
        })
    }
}

/// Lets one step fail under four waiting appenders, and opens the log again.
async fn check(step: Step, effect: Effect) {
    let world = World::new();
    let armed = Arc::new(Mutex::new(None));
    let fault = Arc::clone(&armed);
    let config = LogConfig { checkpoint_every: Duration::from_millis(1), ..world.config() };
    let wrap = |disk| Box::new(Faulty { disk, armed: fault, failed: false }) as Box<dyn Storage>;
    let log = Log::open_on(config, world.signer.clone(), &ManualClock::new(NOW), wrap).unwrap();
    fill(&log, 2).await;
    *armed.lock().unwrap() = Some((step, effect));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let log = log.clone();
        tasks.spawn(async move {
            let mut acknowledged = 0;
            loop {
                let entry = log.seal(&decision(ExchangeId::new(NOW), Verdict::Deny)).unwrap();
                match log.append(entry).await {
                    Ok(_) => acknowledged += 1,
                    Err(error) => return (acknowledged, error.code()),
                }
            }
        });
    }
    let ends = tasks.join_all().await;
    assert!(ends.iter().all(|(_, code)| *code == "record_unavailable"), "{ends:?}");
    let acknowledged = 4 + ends.iter().map(|(count, _)| count).sum::<u64>();

    assert!(matches!(log.health(), Health::Failed(why) if why.contains("injected")));
    let late = log.seal(&outcome(ExchangeId::new(NOW))).unwrap();
    assert_eq!(log.append(late.clone()).await.unwrap_err().code(), "record_unavailable");
    assert_eq!(log.append_soon(late).unwrap_err().code(), "record_unavailable");
    assert_eq!(log.close().await.unwrap_err().code(), "record_unavailable");
    assert_eq!(log.size(), acknowledged);

    // The failed log tells of its failure before its writer has let go of the lock; a copy needs none.
    let again = world.crashed(&world.wal());
    let reopened = again.open().unwrap();
    assert!(reopened.size() >= acknowledged, "{} of {acknowledged} entries", reopened.size());
    fill(&reopened, 1).await;
    reopened.close().await.unwrap();
    let report = again.verify();
    assert!(report.verified, "{}", report.render());
}

#[tokio::test]
async fn a_step_that_fails_is_fatal_and_loses_nothing_that_was_acknowledged() {
    for step in [Step::Append, Step::Sync, Step::Publish] {
        for effect in [Effect::Failed, Effect::Half, Effect::Persisted] {
            check(step, effect).await;
        }
    }
}

#[tokio::test]
async fn a_close_that_fails_loses_nothing() {
    for effect in [Effect::Failed, Effect::Persisted] {
        let world = World::new();
        let armed = Arc::new(Mutex::new(Some((Step::Close, effect))));
        let wrap = |disk| Box::new(Faulty { disk, armed, failed: false }) as Box<dyn Storage>;
        let log = Log::open_on(world.config(), world.signer.clone(), &ManualClock::new(NOW), wrap).unwrap();
        fill(&log, 2).await;
        assert_eq!(log.close().await.unwrap_err().code(), "record_unavailable");
        let again = world.crashed(&world.wal());
        assert!(again.verify().verified);
        let reopened = again.open().unwrap();
        assert_eq!(reopened.size(), 4);
        reopened.close().await.unwrap();
        assert_eq!(again.wal(), world.written());
    }
}
