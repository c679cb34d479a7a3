//! The log's checkpoints go round: one at a time to all witnesses, and with what they signed onto the disk.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Own;
use super::asker::{Asker, Failed, Said};
use crate::gateway::Gateway;
use crate::record::tiles::{LogDirectory, TileReader};
use crate::record::witness::{Cosignatures, read_signed};
use crate::record::{CosignedFiles, Published, RecordError, Standing, proof};
use crate::shell::peer::PATIENCE;
use crate::types::Timestamp;

/// Between the first failure and the next attempt; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause: a witness that comes back is asked within half a minute.
const MOST_PAUSE: Duration = Duration::from_secs(30);
/// Attempts within one: the first may learn what the witness has, the second uses it.
const ATTEMPTS: usize = 3;

/// The code of a witness that we suspended ourselves.
const SUSPENDED: &str = "witness_suspended";

/// What all tasks share.
pub(super) struct Shared {
    pub(super) gateway: Arc<Gateway>,
    pub(super) standing: Standing,
    pub(super) own: Own,
    pub(super) tiles: Arc<TileReader<LogDirectory>>,
}

/// Why an attempt brought no cosignature.
enum Stop {
    /// It may work later.
    Failed(Failed),
    /// The witness shows a checkpoint that our key signed and our log does not continue.
    Contradicted(String),
}

impl<F: Into<Failed>> From<F> for Stop {
    fn from(failed: F) -> Self {
        Self::Failed(failed.into())
    }
}

/// What became of one witness's turn.
struct Turn {
    asker: usize,
    size: u64,
    cosignatures: Option<Cosignatures>,
}

/// One checkpoint on its way round.
struct Round {
    published: Arc<Published>,
    begun: Instant,
    /// The note with all that was collected.
    note: String,
    cosigned: HashSet<usize>,
    tried: HashSet<usize>,
    /// How many had cosigned when it was last written down.
    written: usize,
}

/// Takes checkpoints round until `stop` says so.
pub(super) async fn run(
    shared: Arc<Shared>,
    askers: Vec<Arc<Asker>>,
    mut files: CosignedFiles,
    interval: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let quorum = shared.standing.quorum();
    let (rounds, asked) = watch::channel(None::<Arc<Published>>);
    let (told, mut turns) = mpsc::channel(askers.len().max(1));
    let mut tasks = JoinSet::new();
    for (place, asker) in askers.iter().enumerate() {
        tasks.spawn(ask(Arc::clone(&shared), place, Arc::clone(asker), asked.clone(), told.clone()));
    }
    let mut published = shared.gateway.log().published();
    let mut round: Option<Round> = None;
    let mut waits = Waits::default();
    loop {
        let newest = Arc::clone(&published.borrow_and_update());
        waits.newest(&newest, shared.gateway.clock().now());
        if round.as_ref().is_none_or(|round| round.is_over(&newest, quorum, askers.len(), interval)) {
            rounds.send_replace(Some(Arc::clone(&newest)));
            round = Some(Round::new(newest));
        }
        if let Some(round) = round.as_ref().filter(|round| round.cosigned.len() >= quorum) {
            waits.covered(round.published.size);
        }
        if quorum > 0 {
            waits.tell(&shared.standing);
        }
        if let Some(round) = round.as_mut().filter(|round| round.is_due(quorum, askers.len(), interval)) {
            files = write(&shared, files, round).await;
        }
        let wake = round.as_ref().map_or_else(Instant::now, |round| round.next_look(interval));
        tokio::select! {
            _ = stop.changed() => break,
            turn = turns.recv() => if let (Some(turn), Some(round)) = (turn, round.as_mut()) {
                round.take(turn);
            },
            changed = published.changed() => if changed.is_err() { break },
            () = tokio::time::sleep_until(wake) => {}
        }
    }
    tasks.shutdown().await;
}

impl Round {
    fn new(published: Arc<Published>) -> Self {
        let note = published.note.clone();
        Self { published, begun: Instant::now(), note, cosigned: HashSet::new(), tried: HashSet::new(), written: 0 }
    }

    fn take(&mut self, turn: Turn) {
        if turn.size != self.published.size {
            return;
        }
        self.tried.insert(turn.asker);
        if let Some(cosignatures) = turn.cosignatures {
            self.note = cosignatures.under(&self.note);
            self.cosigned.insert(turn.asker);
        }
    }

    /// Whether the next checkpoint may start: this one went round, or waits in vain for who does not answer.
    fn is_over(&self, newest: &Published, quorum: usize, all: usize, interval: Duration) -> bool {
        let age = self.begun.elapsed();
        let round = self.tried.len() == all || quorum > 0 && self.cosigned.len() >= quorum;
        newest.size != self.published.size && age >= interval && (round || age >= PATIENCE)
    }

    /// Whether there is something to write down now.
    fn is_due(&self, quorum: usize, all: usize, interval: Duration) -> bool {
        let got = self.cosigned.len();
        let reached = quorum > 0 && got >= quorum && self.written < quorum;
        got > self.written && (reached || self.tried.len() == all || self.begun.elapsed() >= interval)
    }

    /// When to look again at the latest: what happens before wakes by itself.
    fn next_look(&self, interval: Duration) -> Instant {
        let now = Instant::now();
        [self.begun + interval, self.begun + PATIENCE].into_iter().find(|at| *at > now).unwrap_or(now + PATIENCE)
    }
}

/// Since when entries wait for the quorum.
#[derive(Default)]
struct Waits {
    size: Option<u64>,
    /// Checkpoints that no quorum covers, each with the time when it was first seen; the oldest and the newest are enough.
    oldest: Option<(u64, Timestamp)>,
    newest: Option<(u64, Timestamp)>,
}

impl Waits {
    fn newest(&mut self, published: &Published, now: Timestamp) {
        if self.size != Some(published.size) {
            self.size = Some(published.size);
            self.oldest.get_or_insert((published.size, now));
            self.newest = Some((published.size, now));
        }
    }

    fn covered(&mut self, size: u64) {
        if self.oldest.is_some_and(|(oldest, _)| oldest <= size) {
            self.oldest = self.newest.filter(|(newest, _)| *newest > size);
        }
    }

    fn tell(&self, standing: &Standing) {
        match self.oldest {
            Some((_, since)) => standing.waits(since),
            None => standing.met(),
        }
    }
}

/// Writes a round down, off the worker. What cannot be written is tried again with the next that is signed.
async fn write(shared: &Shared, mut files: CosignedFiles, round: &mut Round) -> CosignedFiles {
    let (at, size, note) = (shared.gateway.clock().now(), round.published.size, round.note.clone());
    let written = tokio::task::spawn_blocking(move || {
        let line = files.append(at, size, &note);
        (files, line)
    });
    match written.await {
        Ok((kept, line)) => {
            round.written = round.cosigned.len();
            match line {
                Ok(line) => shared.standing.kept(line),
                Err(error) => tracing::error!(%error, size, "a cosigned checkpoint cannot be written down"),
            }
            kept
        }
        // Only a panic or the end of the runtime leads here, and then there is nothing to write with.
        Err(lost) => std::panic::resume_unwind(Box::new(lost.to_string())),
    }
}

/// Asks one witness to cosign each round's checkpoint, for as long as there are rounds.
async fn ask(
    shared: Arc<Shared>,
    place: usize,
    asker: Arc<Asker>,
    mut rounds: watch::Receiver<Option<Arc<Published>>>,
    told: mpsc::Sender<Turn>,
) {
    let party = &asker.party;
    let mut seen = 0;
    let mut done = None;
    let mut failures = 0_u32;
    loop {
        let round = rounds.borrow_and_update().clone().filter(|round| done != Some(round.size));
        if let Some(round) = round {
            let size = round.size;
            let cosignatures = match attempt(&shared, &asker, &mut seen, &round).await {
                Ok(cosignatures) => {
                    shared.standing.answered(party);
                    shared.standing.cosigned(party, size, shared.gateway.clock().now());
                    (done, failures) = (Some(size), 0);
                    Some(cosignatures)
                }
                Err(Stop::Failed(Failed(code))) => {
                    if failures == 0 {
                        tracing::warn!(witness = %party, code, size, "a witness did not cosign");
                    }
                    shared.standing.failed(party, &code);
                    // Nothing goes over the network then, and a resumption should be felt.
                    failures = if code == SUSPENDED { 1 } else { failures.saturating_add(1) };
                    None
                }
                Err(Stop::Contradicted(what)) => {
                    shared.standing.failed(party, "log_rolled_back");
                    shared.gateway.log().fail(&RecordError::Contradicted(what));
                    return;
                }
            };
            if told.send(Turn { asker: place, size, cosignatures }).await.is_err() {
                return;
            }
        }
        if failures > 0 {
            tokio::time::sleep(pause(failures)).await;
        } else if rounds.changed().await.is_err() {
            return;
        }
    }
}

/// Grows with each failure, and is never the same for two who failed together.
fn pause(failures: u32) -> Duration {
    let grown = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(MOST_PAUSE);
    grown.mul_f64(0.5 + fastrand::f64() / 2.0)
}

async fn attempt(shared: &Arc<Shared>, asker: &Asker, seen: &mut u64, round: &Published) -> Result<Cosignatures, Stop> {
    if shared.gateway.partners().get(&asker.party).is_none_or(|partner| partner.is_suspended()) {
        return Err(SUSPENDED.into());
    }
    for _ in 0..ATTEMPTS {
        if *seen > round.size {
            return Err("witness_ahead".into());
        }
        let hashes = consistency(shared, *seen, round.size).await?;
        match asker.submit(*seen, &hashes, &round.note).await? {
            Said::Cosigned(cosignatures) => {
                *seen = round.size;
                return Ok(cosignatures);
            }
            Said::Has(size) if size <= round.size && size != *seen => *seen = size,
            Said::Has(_) | Said::Contradicts => return Err(judge(shared, asker, seen).await),
        }
    }
    Err("witness_unsettled".into())
}

async fn consistency(shared: &Arc<Shared>, old: u64, new: u64) -> Result<Vec<[u8; 32]>, Failed> {
    off_worker(shared, move |tiles| proof::consistency(old, new, |level, index| tiles.node(level, index, new))).await
}

/// Whether a witness that contradicts us can show why: a checkpoint that our own key signed, and that our log does not
/// contain. What it merely claims moves nothing, or each partner could end our log with a word.
async fn judge(shared: &Arc<Shared>, asker: &Asker, seen: &mut u64) -> Stop {
    let note = match asker.held(&shared.own.hash).await {
        Ok(note) => note,
        Err(failed) => return Stop::Failed(failed),
    };
    let Some(shown) = read_signed(&note, &shared.own.keys).filter(|shown| shown.origin == shared.own.origin) else {
        return Failed::from("witness_unproven").into();
    };
    let ours = shared.gateway.log().published().borrow().size;
    let party = &asker.party;
    if shown.size > ours {
        return Stop::Contradicted(format!("{party} has seen {} entries of it, and here are {ours}", shown.size));
    }
    let size = shown.size;
    match off_worker(shared, move |tiles| proof::root(size, |level, index| tiles.node(level, index, size))).await {
        Ok(root) if root != shown.root => {
            Stop::Contradicted(format!("its first {size} entries are not those that {party} has seen"))
        }
        Ok(_) => {
            *seen = size;
            Failed::from("witness_disagrees").into()
        }
        Err(failed) => Stop::Failed(failed),
    }
}

/// Reads the log's tiles where that keeps nobody waiting.
async fn off_worker<T: Send + 'static>(
    shared: &Arc<Shared>,
    read: impl FnOnce(&TileReader<LogDirectory>) -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failed> {
    let tiles = Arc::clone(&shared.tiles);
    let read =
        tokio::task::spawn_blocking(move || read(&tiles)).await.unwrap_or_else(|lost| Err(std::io::Error::other(lost)));
    read.map_err(|error| {
        tracing::error!(%error, "the tiles of the log cannot be read");
        Failed::from("log_io")
    })
}
