//! The store as the gateway holds it: keep and forget.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde::Serialize;

use super::forget::Forgotten;
use super::writer::Writer;
use crate::record::error::RecordError;
use crate::record::shelf::Shelf;
use crate::types::{Clock, Salt, Timestamp};

/// Passes that wait for the writer, at half a KiB each: new ones come with new people or every few minutes of a service.
const QUEUED: usize = 4096;

/// Where subjects are kept, for how long, and how much of them.
#[derive(Debug, Clone)]
pub struct SubjectConfig {
    /// The directory, made with mode 0700 when it is missing.
    pub directory: PathBuf,
    /// Days that a subject is kept beyond the one on which its pass was first shown.
    pub retention_days: u32,
    /// Bytes of all files together. The oldest day goes when they would be more.
    pub bytes: u64,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubjectHealth {
    /// Passes written since the gateway started.
    pub kept: u64,
    /// Passes that were lost: the queue was full, the disk failed, or the cap was reached.
    pub lost: u64,
    /// Why the last write failed; absent when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// A store that is open for writing. Cheap to clone. When the last clone goes, what is queued is still written, but only
/// [`SubjectStore::close`] waits for that.
#[derive(Clone)]
pub struct SubjectStore(Arc<Owner>);

struct Owner {
    queue: SyncSender<Work>,
    tally: Arc<Tally>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer is asked to do.
pub(super) enum Work {
    Keep(Kept),
    Forget(String, SyncSender<Result<Forgotten, RecordError>>),
    Finish,
}

/// One pass on its way.
pub(super) struct Kept {
    pub(super) at: Timestamp,
    pub(super) salt: Salt,
    pub(super) sub: String,
}

/// What both sides of the queue count.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) kept: AtomicU64,
    pub(super) failing: Mutex<Option<String>>,
    lost: AtomicU64,
}

impl Tally {
    /// Counts passes that were lost, and warns now and then: of the 1st, the 2nd, the 4th, the 8th, ...
    pub(super) fn lose(&self, count: u64, why: &str) {
        let before = self.lost.fetch_add(count, Ordering::Relaxed);
        if (before + count).checked_ilog2() != before.checked_ilog2() {
            tracing::warn!(
                lost = before + count,
                why,
                "subjects were not stored; nobody can tell them from the record"
            );
        }
    }
}

impl SubjectStore {
    /// Opens the store, or founds it. Days past their retention go at once.
    ///
    /// # Errors
    /// [`RecordError::Locked`] while another process writes; [`RecordError::Io`].
    pub fn open(config: SubjectConfig, clock: Arc<dyn Clock>) -> Result<Self, RecordError> {
        let shelf = Shelf::open(&config.directory, "subjects")?;
        let tally = Arc::new(Tally::default());
        let (queue, work) = sync_channel(QUEUED);
        let path = config.directory.clone();
        let writer = Writer::new(config, shelf, clock, Arc::clone(&tally))?;
        let thread = std::thread::Builder::new().name("subject-store".into()).spawn(move || writer.run(&work));
        let writer = Mutex::new(Some(thread.map_err(RecordError::io(&path))?));
        Ok(Self(Arc::new(Owner { queue, tally, writer })))
    }

    /// Keeps the subject of a pass that was first shown at `at`, with the salt of its commitment. Never waits.
    pub fn keep(&self, at: Timestamp, salt: Salt, sub: String) {
        let Owner { queue, tally, .. } = &*self.0;
        if let Err(error) = queue.try_send(Work::Keep(Kept { at, salt, sub })) {
            let full = matches!(error, TrySendError::Full(_));
            tally.lose(1, if full { "the queue is full" } else { "the store is closed" });
        }
    }

    /// Forgets a subject: every pass of it that was kept before this call. Blocks until that is durable.
    ///
    /// # Errors
    /// [`RecordError::Io`] when a day's file could not be written anew: some days may hold the subject still, so it has to
    /// be done again. [`RecordError::Unavailable`] when the store is closed.
    pub fn forget(&self, subject: &str) -> Result<Forgotten, RecordError> {
        let closed = || RecordError::Unavailable("the store of subjects is closed".into());
        let (done, wait) = sync_channel(1);
        self.0.queue.send(Work::Forget(subject.to_owned(), done)).map_err(|_| closed())?;
        wait.recv().map_err(|_| closed())?
    }

    /// Writes out and syncs what is queued and gives up the lock; what is kept after that is lost. Blocks. Every clone is
    /// closed with it.
    pub fn close(&self) {
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // Both fail only when the writer ended before, and said why.
            let _ = self.0.queue.send(Work::Finish);
            let _ = writer.join();
        }
    }

    /// How it is.
    pub fn health(&self) -> SubjectHealth {
        let tally = &self.0.tally;
        SubjectHealth {
            kept: tally.kept.load(Ordering::Relaxed),
            lost: tally.lost.load(Ordering::Relaxed),
            failing: tally.failing.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
