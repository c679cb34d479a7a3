//! Our log before an outside clock: its checkpoints get timestamps (RFC 3161) of an authority, in the background. What
//! fails is told and tried again; no exchange waits for it.

mod exchange;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::config::AuthorityUrl;
use crate::gateway::Gateway;
use crate::record::verify::{TOLERANCE, TimestampAnchors};
use crate::record::{Published, keep_timestamp, kept_timestamps};
use crate::types::{Digest, Timestamp};

/// Between the first failure and the next attempt; doubled with each further one, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Who stamps our checkpoints, and how often.
#[derive(Debug, Clone)]
pub struct TimestampsSetup {
    /// Where the authority takes requests.
    pub url: AuthorityUrl,
    /// Between two timestamps.
    pub interval: Duration,
    /// Who may vouch for it.
    pub anchors: TimestampAnchors,
}

/// How our log stands with its time-stamping authority.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// Where it is asked.
    pub url: String,
    /// Timestamps that lie beside the log.
    pub kept: u64,
    /// Entries that the last one covers.
    pub size: Option<u64>,
    /// The time that it states, of those since the start.
    pub at: Option<String>,
    /// How often none was to be had since the start.
    pub failures: u64,
    /// Why, if the last attempt was in vain.
    pub error: Option<String>,
}

/// Where it is told, for whoever asks; empty where no authority is.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Option<Standing>>>);

impl Board {
    /// How it stands now.
    pub fn standing(&self) -> Option<Standing> {
        self.locked().clone()
    }

    fn tell(&self, change: impl FnOnce(&mut Standing)) {
        self.locked().as_mut().map(change);
    }

    fn locked(&self) -> MutexGuard<'_, Option<Standing>> {
        // Whole values are put in, so what a thread left that died is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no timestamp: a stable code, and words.
#[derive(Debug)]
struct Failed {
    code: &'static str,
    what: String,
}

impl Failed {
    fn new(code: &'static str, what: String) -> Self {
        Self { code, what }
    }
}

/// An authority that is being asked.
pub struct Stamper {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Stamper {
    /// Of a log that nobody stamps.
    pub fn none() -> Self {
        Self { stop: watch::channel(false).0, task: None }
    }

    /// Has the checkpoints of the gateway's log stamped from now on.
    ///
    /// # Errors
    /// When the timestamps that are kept already cannot be listed.
    pub fn start(gateway: &Arc<Gateway>, setup: TimestampsSetup, board: Board) -> Result<Self> {
        let (size, kept) = kept_timestamps(gateway.log().directory()).context("listing the log's timestamps")?;
        let url = setup.url.to_string();
        *board.locked() = Some(Standing { url, kept, size, at: None, failures: 0, error: None });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(Arc::clone(gateway), setup, board, size.unwrap_or(0), stopped));
        Ok(Self { stop, task: Some(task) })
    }

    /// Asks no more, and returns once nothing is being written any more.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the asking for timestamps ended badly");
        }
    }
}

async fn run(
    gateway: Arc<Gateway>,
    setup: TimestampsSetup,
    board: Board,
    mut last: u64,
    mut stop: watch::Receiver<bool>,
) {
    let mut published = gateway.log().published();
    let mut pause = FIRST_PAUSE;
    loop {
        let newest = Arc::clone(&published.borrow_and_update());
        if newest.size <= last {
            tokio::select! {
                _ = stop.changed() => return,
                changed = published.changed() => if changed.is_err() { return } else { continue },
            }
        }
        let stamped = tokio::select! {
            _ = stop.changed() => return,
            token = fetch(&setup, &newest) => token,
        };
        // Not given up half-way: a file is written whole before the log's directory is anybody else's.
        let stamped = match stamped {
            Ok((token, nonce)) => keep(&gateway, &setup, &newest, token, nonce).await,
            Err(failed) => Err(failed),
        };
        let wait = match stamped {
            Ok(at) => {
                (last, pause) = (newest.size, FIRST_PAUSE);
                board.tell(|standing| {
                    (standing.size, standing.at) = (Some(last), Some(Timestamp::from_seconds(at).to_string()));
                    standing.kept += 1;
                    standing.error = None;
                });
                setup.interval
            }
            Err(Failed { code, what }) => {
                tracing::warn!(code, what, size = newest.size, "no timestamp for the log");
                board.tell(|standing| {
                    standing.failures += 1;
                    standing.error = Some(format!("{code}: {what}"));
                });
                let wait = pause.min(setup.interval);
                pause = pause.saturating_mul(2).min(setup.interval);
                wait
            }
        };
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Asks for a token for a checkpoint; gives it with the nonce of the request.
async fn fetch(setup: &TimestampsSetup, published: &Published) -> Result<(Vec<u8>, u64), Failed> {
    let mut nonce = [0; 8];
    aws_lc_rs::rand::fill(&mut nonce)
        .map_err(|_| Failed::new("timestamp_unmade", "there are no random bytes".into()))?;
    let nonce = u64::from_be_bytes(nonce);
    let digest = Digest::of(published.note.as_bytes());
    Ok((exchange::ask(&setup.url, digest.as_bytes(), nonce).await?, nonce))
}

/// Checks a token as `log verify` will, and keeps it; gives the time that it states.
async fn keep(
    gateway: &Arc<Gateway>,
    setup: &TimestampsSetup,
    published: &Arc<Published>,
    token: Vec<u8>,
    nonce: u64,
) -> Result<u64, Failed> {
    let (gateway, anchors, published) = (Arc::clone(gateway), setup.anchors.clone(), Arc::clone(published));
    let unusable = |what: String| Failed::new("timestamp_unusable", what);
    let kept = tokio::task::spawn_blocking(move || {
        let at = anchors.check(&token, published.note.as_bytes(), Some(nonce));
        let at = at.map_err(|what| unusable(format!("the token {what}")))?;
        // Kept, it would speak against every entry of ours for ever.
        let apart = gateway.clock().now().seconds().abs_diff(at);
        if apart > TOLERANCE {
            return Err(unusable(format!("the authority's clock and ours are {apart} s apart")));
        }
        let kept = keep_timestamp(gateway.log().directory(), published.size, &published.note, &token);
        kept.map_err(|error| Failed::new("timestamp_unkept", error.to_string()))?;
        Ok(at)
    });
    kept.await.unwrap_or_else(|lost| Err(Failed::new("timestamp_unkept", lost.to_string())))
}
