//! The log as the rest of the gateway holds it: append, wait, close.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{oneshot, watch};

use super::entry::{Ended, Entry, OutcomeEntry};
use super::error::RecordError;
use super::handover::{End, Handover};
use super::ledger::Ledger;
use super::note;
use super::publisher::Publisher;
use super::queue::{Fate, Full, Queue, Stage};
use super::recover::{Recovered, recover};
use super::signer::{Sealed, Signer};
use super::store::{Directory, Disk, RealDisk, Trouble};
use super::writer::{self, Rhythm};
use crate::types::Clock;

/// How long an entry that nobody waits for may wait for company before it is synced on its own.
const LINGER: Duration = Duration::from_millis(20);
/// How long entries may be durable before a signed checkpoint over them is begun: it is out within the second.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(750);
/// Reading so much at opening takes no longer than a second; renewing it costs a moment every so many entries.
const ROTATE_AFTER: u64 = 64 * 1024 * 1024;
/// Twice what the queue holds of entries that somebody waits for: they may all be in it when the disk fills up.
const RESERVE: u64 = 8 * 1024 * 1024;
/// Open exchanges that recovery closes in one batch: far below what a batch may have in bytes.
const CLOSED_AT_ONCE: usize = 256;

/// Where a log lies and what it is called.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Its directory, made with mode 0700 when it is missing.
    pub directory: PathBuf,
    /// Its name in checkpoints, such as `kansai.example/log`: no white space, no '+'.
    pub origin: String,
    /// How long an entry of [`Log::append_soon`] may wait before it is synced on its own. 20 ms.
    pub linger: Duration,
    /// How long entries may be durable before a checkpoint over them is begun. Three quarters of a second.
    pub checkpoint_every: Duration,
    /// How many bytes of the write-ahead log tiles make superfluous before it is renewed. 64 MiB.
    pub rotate_after: u64,
    /// Zeros that the write-ahead log has before they are needed, for outcomes when the disk is full. 8 MiB.
    pub reserve: u64,
}

impl LogConfig {
    /// A log with the default times.
    pub fn new(directory: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        let (directory, origin) = (directory.into(), origin.into());
        Self {
            directory,
            origin,
            linger: LINGER,
            checkpoint_every: CHECKPOINT_EVERY,
            rotate_after: ROTATE_AFTER,
            reserve: RESERVE,
        }
    }
}

/// The place of an entry in the log, from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EntryIndex(pub u64);

impl std::fmt::Display for EntryIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a log takes entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Accepting,
    /// Not now: the disk has no room. Outcomes of exchanges under way are still taken, and everything else again as
    /// soon as there is room.
    Full,
    /// It was closed.
    Closed,
    /// Its disk failed; only opening it again helps.
    Failed(Arc<str>),
}

/// The latest checkpoint that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Entries that it covers.
    pub size: u64,
    /// Root of the tree over them.
    pub root: [u8; 32],
    /// The checkpoint as a note that the log alone signed.
    pub note: String,
}

/// An entry that is queued. Dropping this does not take it back.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Fate>);

impl Pending {
    /// Resolves when the entry is durable.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`] when it will never be known to be.
    pub async fn durable(self) -> Result<EntryIndex, RecordError> {
        let fate = self.0.await.unwrap_or_else(|_| Err("the writer stopped".into()));
        fate.map(EntryIndex).map_err(RecordError::Unavailable)
    }
}

/// A log that is open for writing. Cheap to clone; works from any runtime. When the last clone goes, what is queued is
/// still written and a final checkpoint signed, but only [`Log::close`] tells when that is done.
#[derive(Clone)]
pub struct Log(Arc<Owner>);

struct Owner {
    queue: Arc<Queue>,
    handover: Arc<Handover>,
    signer: Signer,
    directory: PathBuf,
    origin: String,
    published: watch::Receiver<Arc<Published>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.queue.close();
    }
}

impl Log {
    /// Opens the log, or founds it in an empty directory. Blocks while it reads what is there.
    ///
    /// A tail that a crash tore off is cut; permitted exchanges without an outcome are closed with one that says
    /// `unknown`, dated by `clock`.
    ///
    /// # Errors
    /// [`RecordError::Locked`] while another process writes; [`RecordError::Corrupt`], [`RecordError::RolledBack`] and
    /// [`RecordError::Foreign`] when the log is not what its key last signed; [`RecordError::Origin`];
    /// [`RecordError::Io`].
    pub fn open(config: LogConfig, signer: Signer, clock: Arc<dyn Clock>) -> Result<Self, RecordError> {
        Self::open_on(config, signer, &*clock, Arc::new(RealDisk))
    }

    /// Opens the log on a disk of the caller's making.
    pub(super) fn open_on(
        config: LogConfig,
        signer: Signer,
        clock: &dyn Clock,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, RecordError> {
        let LogConfig { directory: path, origin, linger, checkpoint_every, rotate_after, reserve } = config;
        if !note::is_key_name(&origin) {
            return Err(RecordError::Origin(origin));
        }
        let directory = Arc::new(Directory::open(&path, disk)?);
        let Recovered { edge, published, beyond, open, wal, base } = recover(&directory, &origin, &signer, reserve)?;
        let next = published.size + beyond.len() as u64;
        let mut ledger = Ledger {
            directory: Arc::clone(&directory),
            wal,
            next,
            open,
            covered: base,
            ends: VecDeque::new(),
            frames: Vec::new(),
            rotate_after,
            start: base.1,
            reserve,
        };
        let (published, receiver) = watch::channel(Arc::new(published));
        let mut publisher = Publisher::new(directory, signer.clone(), origin.clone(), edge, published);
        beyond.iter().for_each(|entry| publisher.take(entry));
        drop(beyond);
        close_open(&mut ledger, &mut publisher, &signer, clock).map_err(|trouble| trouble.into_error(&path))?;
        let handover = Arc::new(Handover::default());
        publisher.publish(&handover).map_err(|trouble| trouble.into_error(&path))?;
        publisher.sweep(base.0);
        handover.publish(publisher.size());
        // Everything there is is covered now.
        (ledger.covered, ledger.ends) = ((ledger.next, ledger.wal.end()), VecDeque::new());
        let queue = Arc::new(Queue::new(ledger.next));
        writer::start(ledger, publisher, &queue, &handover, Rhythm { linger, checkpoint_every })
            .map_err(RecordError::io(&path))?;
        Ok(Self(Arc::new(Owner { queue, handover, signer, directory: path, origin, published: receiver })))
    }

    /// Signs an entry with the log's key.
    ///
    /// # Errors
    /// As [`Signer::seal`].
    pub fn seal(&self, entry: &impl Entry) -> Result<Sealed, RecordError> {
        self.0.signer.seal(entry)
    }

    /// Appends an entry and waits until it is durable. Waits for room first when the queue is full.
    ///
    /// A caller that gives up waiting may leave the entry in the log.
    ///
    /// # Errors
    /// [`RecordError::Full`] while the disk has no room; [`RecordError::Unavailable`] when the log takes no entries or the
    /// disk failed; whether the entry stands is then
    /// for the next opening to find out.
    pub async fn append(&self, entry: Sealed) -> Result<EntryIndex, RecordError> {
        self.queue(entry).await?.durable().await
    }

    /// The first half of [`Log::append`], for a caller that has to know, whatever happens while it waits, whether its
    /// entry is in the queue: once this returns it is, and entries that are queued later follow it.
    ///
    /// # Errors
    /// [`RecordError::Full`] while the disk has no room, [`RecordError::Unavailable`] when the log takes no entries.
    pub async fn queue(&self, entry: Sealed) -> Result<Pending, RecordError> {
        self.0.queue.push_waiting(entry).await.map(Pending)
    }

    /// Appends an entry that nobody needs to wait for: it becomes durable with the next one that somebody waits for,
    /// or within 20 ms on its own.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`] when the log takes no entries; [`RecordError::Busy`] when 4 MiB of such entries
    /// are queued, which takes a disk that stands still: [`Log::append`] waits instead.
    pub fn append_soon(&self, entry: Sealed) -> Result<Pending, RecordError> {
        self.0.queue.push_soon(entry).map(Pending)
    }

    /// Takes no more entries, writes what is queued, signs a final checkpoint and gives up the lock. Every clone is
    /// closed with it.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`] when the log failed before or while closing.
    pub async fn close(&self) -> Result<(), RecordError> {
        if let Some(done) = self.0.queue.close() {
            let _ = done.await;
        }
        match self.0.queue.stage() {
            Stage::Failed(why) => Err(RecordError::Unavailable(why)),
            Stage::Open | Stage::Closing | Stage::Closed => Ok(()),
        }
    }

    /// The latest checkpoint: signed, durable, and over durable entries alone. Changes with each new one.
    pub fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.0.published.clone()
    }

    /// Takes no more entries, for good, and writes nothing more: the log was found to be one that must not go on, such
    /// as an older copy of itself. Who waits is told that the log failed.
    pub fn fail(&self, why: &RecordError) {
        tracing::error!(code = why.code(), error = %why, "the record log takes no more entries");
        self.0.queue.end(Stage::Failed(why.to_string().into()));
        self.0.handover.end(End::Abort);
    }

    /// Whether it takes entries.
    pub fn health(&self) -> Health {
        match self.0.queue.stage() {
            Stage::Open if self.0.queue.is_full(Full::Ahead) || self.0.queue.is_full(Full::Tiles) => Health::Full,
            Stage::Open => Health::Accepting,
            Stage::Closing | Stage::Closed => Health::Closed,
            Stage::Failed(why) => Health::Failed(why),
        }
    }

    /// How many entries are durable.
    pub fn size(&self) -> u64 {
        self.0.queue.durable()
    }

    /// The key that signs it.
    pub fn signer(&self) -> &Signer {
        &self.0.signer
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// What it is called in its checkpoints.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }
}

/// Closes the exchanges that were open when the log was last written.
fn close_open(
    ledger: &mut Ledger,
    publisher: &mut Publisher,
    signer: &Signer,
    clock: &dyn Clock,
) -> Result<(), Trouble> {
    let mut open: Vec<_> = ledger.open.iter().map(|(exchange, order)| (*order, *exchange)).collect();
    open.sort_unstable();
    for exchanges in open.chunks(CLOSED_AT_ONCE) {
        let close = |(_, exchange): &_| signer.seal(&OutcomeEntry::new(*exchange, clock.now(), Ended::Unknown));
        let outcomes = exchanges.iter().map(close).collect::<Result<Vec<_>, _>>().map_err(Trouble::Fatal)?;
        ledger.encode(outcomes.iter().map(Sealed::as_bytes));
        ledger.make_room()?;
        ledger.write(false).map_err(Trouble::Fatal)?;
        ledger.wrote(outcomes.iter());
        outcomes.iter().for_each(|outcome| publisher.take(outcome.as_bytes()));
    }
    if !open.is_empty() {
        tracing::warn!(exchanges = open.len(), "closed exchanges whose outcome is unknown");
    }
    Ok(())
}
