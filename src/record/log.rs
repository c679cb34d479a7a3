//! The log as the rest of the gateway holds it: append, wait, close.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{oneshot, watch};

use super::entry::{Ended, OutcomeEntry};
use super::error::RecordError;
use super::ledger::Ledger;
use super::note;
use super::queue::{Fate, Queue, Stage};
use super::recover::{Recovered, recover};
use super::signer::{Sealed, Signer};
use super::store::{Directory, Disk, Storage};
use super::writer;
use crate::types::Clock;

/// How long an entry that nobody waits for may wait for company before it is synced on its own.
const LINGER: Duration = Duration::from_millis(20);
/// How long entries may be durable before a signed checkpoint covers them.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
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
    /// How long entries may be durable before a checkpoint covers them. One second.
    pub checkpoint_every: Duration,
}

impl LogConfig {
    /// A log with the default times.
    pub fn new(directory: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        let (directory, origin) = (directory.into(), origin.into());
        Self { directory, origin, linger: LINGER, checkpoint_every: CHECKPOINT_EVERY }
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
        Self::open_on(config, signer, &*clock, |disk| Box::new(disk))
    }

    /// Opens the log with a storage of the caller's making around the disk.
    pub(super) fn open_on(
        config: LogConfig,
        signer: Signer,
        clock: &dyn Clock,
        wrap: impl FnOnce(Disk) -> Box<dyn Storage>,
    ) -> Result<Self, RecordError> {
        let LogConfig { directory: path, origin, linger, checkpoint_every } = config;
        if !note::is_key_name(&origin) {
            return Err(RecordError::Origin(origin));
        }
        let directory = Directory::open(&path)?;
        let Recovered { tree, published, open, wal, end } = recover(&directory, &origin, &signer)?;
        let storage = wrap(Disk::new(directory, wal, end));
        let (published, receiver) = watch::channel(Arc::new(published));
        let mut ledger =
            Ledger { storage, signer: signer.clone(), origin: origin.clone(), tree, published, frames: Vec::new() };
        for exchanges in open.chunks(CLOSED_AT_ONCE) {
            let close = |exchange| signer.seal(&OutcomeEntry::new(exchange, clock.now(), Ended::Unknown));
            let outcomes = exchanges.iter().copied().map(close).collect::<Result<Vec<_>, _>>()?;
            ledger.write(outcomes.iter().map(Sealed::as_bytes))?;
            ledger.grow(outcomes.iter().map(Sealed::as_bytes));
        }
        if !open.is_empty() {
            tracing::warn!(exchanges = open.len(), "closed exchanges whose outcome is unknown");
        }
        if ledger.has_grown() {
            ledger.checkpoint()?;
        }
        let queue = Arc::new(Queue::new(ledger.next_index()));
        writer::start(ledger, &queue, linger, checkpoint_every).map_err(RecordError::io(&path))?;
        Ok(Self(Arc::new(Owner { queue, signer, directory: path, origin, published: receiver })))
    }

    /// Signs an entry with the log's key.
    ///
    /// # Errors
    /// As [`Signer::seal`].
    pub fn seal(&self, entry: &impl Serialize) -> Result<Sealed, RecordError> {
        self.0.signer.seal(entry)
    }

    /// Appends an entry and waits until it is durable. Waits for room first when the queue is full.
    ///
    /// A caller that gives up waiting may leave the entry in the log.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`] when the log takes no entries or the disk failed; whether the entry stands is then
    /// for the next opening to find out.
    pub async fn append(&self, entry: Sealed) -> Result<EntryIndex, RecordError> {
        self.queue(entry).await?.durable().await
    }

    /// The first half of [`Log::append`], for a caller that has to know, whatever happens while it waits, whether its
    /// entry is in the queue: once this returns it is, and entries that are queued later follow it.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`] when the log takes no entries.
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
    }

    /// Whether it takes entries.
    pub fn health(&self) -> Health {
        match self.0.queue.stage() {
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
