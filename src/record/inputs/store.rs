//! The store as the gateway holds it: keep and forget.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde::Serialize;

use super::line::Declaration;
use super::{MOST_INPUT, writer};
use crate::record::error::RecordError;
use crate::record::shelf::{Shelf, append_to};
use crate::types::{Clock, Digest, Timestamp};

/// Inputs that wait for the writer: a second's worth, at more cold decisions a second than two cores make.
pub(super) const QUEUED: usize = 4096;
/// And no more than this many bytes of them.
pub(super) const QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// Where inputs are kept, for how long, and how much of them.
#[derive(Debug, Clone)]
pub struct InputConfig {
    /// The directory, made with mode 0700 when it is missing.
    pub directory: PathBuf,
    /// Days that an input is kept beyond the one on which it was first decided.
    pub retention_days: u32,
    /// Bytes of all files together. The oldest day goes when they would be more.
    pub bytes: u64,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputHealth {
    /// Inputs written since the gateway started.
    pub kept: u64,
    /// Inputs that stood in the day's file already.
    pub repeated: u64,
    /// Inputs that were lost: the queue was full, the disk failed, the cap was reached, or they were too large.
    pub lost: u64,
    /// Bytes of all days.
    pub bytes: u64,
    /// Why the last write failed; absent when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// A store that is open for writing. Cheap to clone. When the last clone goes, what is queued is still written, but only
/// [`InputStore::close`] waits for that.
#[derive(Clone)]
pub struct InputStore(Arc<Owner>);

struct Owner {
    queue: SyncSender<Work>,
    tally: Arc<Tally>,
    /// The declaration of the policies that asked last. They change when somebody puts others in force.
    declared: Mutex<Option<Arc<Declaration>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer is asked to do.
pub(super) enum Work {
    Keep(Kept),
    /// Write out what was kept before, and say so.
    Flush(SyncSender<()>),
    Finish,
}

/// One input on its way.
pub(super) struct Kept {
    pub(super) at: Timestamp,
    pub(super) digest: Digest,
    pub(super) input: Vec<u8>,
    pub(super) declared: Arc<Declaration>,
}

/// What both sides of the queue count.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) queued_bytes: AtomicUsize,
    pub(super) kept: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) failing: Mutex<Option<String>>,
    lost: AtomicU64,
}

impl Tally {
    /// Counts inputs that were lost, and warns now and then: of the 1st, the 2nd, the 4th, the 8th, ...
    pub(super) fn lose(&self, count: u64, why: &str) {
        let before = self.lost.fetch_add(count, Ordering::Relaxed);
        if (before + count).checked_ilog2() != before.checked_ilog2() {
            tracing::warn!(lost = before + count, why, "inputs were not stored; they cannot be replayed");
        }
    }
}

impl InputStore {
    /// Opens the store, or founds it. Days past their retention go at once.
    ///
    /// # Errors
    /// [`RecordError::Locked`] while another process writes; [`RecordError::Io`].
    pub fn open(config: InputConfig, clock: Arc<dyn Clock>) -> Result<Self, RecordError> {
        Self::open_on(config, clock, append_to)
    }

    /// Opens the store with days' files of the caller's making.
    pub(super) fn open_on(
        config: InputConfig,
        clock: Arc<dyn Clock>,
        open: impl FnMut(&Path) -> io::Result<File> + Send + 'static,
    ) -> Result<Self, RecordError> {
        let shelf = Shelf::open(&config.directory, "stored inputs")?;
        let tally = Arc::new(Tally::default());
        let (queue, work) = sync_channel(QUEUED);
        let path = config.directory.clone();
        let writer = writer::Writer::new(config, shelf, Box::new(open), clock, Arc::clone(&tally));
        let thread = std::thread::Builder::new().name("input-store".into()).spawn(move || writer.run(&work));
        let writer = Mutex::new(Some(thread.map_err(RecordError::io(&path))?));
        Ok(Self(Arc::new(Owner { queue, tally, declared: Mutex::default(), writer })))
    }

    /// Keeps an input that was decided on at `at` under the policies with the digest `policy`; `declare` tells what they
    /// read, and is asked when they are not those of the call before. Never waits.
    pub fn keep(
        &self,
        at: Timestamp,
        digest: Digest,
        input: Vec<u8>,
        policy: Digest,
        declare: impl FnOnce() -> Declaration,
    ) {
        let Owner { queue, tally, declared, .. } = &*self.0;
        let length = input.len();
        // A line feed would make two lines of one, and no input of ours has any.
        if length > MOST_INPUT || memchr::memchr(b'\n', &input).is_some() {
            return tally.lose(1, "the input is too large or holds a line feed");
        }
        let declared = {
            let mut last = declared.lock().unwrap_or_else(PoisonError::into_inner);
            match &*last {
                Some(declared) if declared.policy == policy => Arc::clone(declared),
                _ => Arc::clone(last.insert(Arc::new(declare()))),
            }
        };
        if tally.queued_bytes.fetch_add(length, Ordering::Relaxed) + length > QUEUED_BYTES {
            tally.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            return tally.lose(1, "the queue is full");
        }
        if let Err(error) = queue.try_send(Work::Keep(Kept { at, digest, input, declared })) {
            tally.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            tally.lose(
                1,
                match error {
                    TrySendError::Full(_) => "the queue is full",
                    TrySendError::Disconnected(_) => "the store is closed",
                },
            );
        }
    }

    /// Waits until everything kept so far is with the operating system, or lost.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.0.queue.send(Work::Flush(done)).is_ok() {
            // An error says that the writer ended, and so has nothing left to write.
            let _ = wait.recv();
        }
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
    pub fn health(&self) -> InputHealth {
        let tally = &self.0.tally;
        InputHealth {
            kept: tally.kept.load(Ordering::Relaxed),
            repeated: tally.repeated.load(Ordering::Relaxed),
            lost: tally.lost.load(Ordering::Relaxed),
            bytes: tally.bytes.load(Ordering::Relaxed),
            failing: tally.failing.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
