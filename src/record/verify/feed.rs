//! Reads a log's entries in runs: from the bundles as far as the checkpoint goes, then from the write-ahead log.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::VerifyError;
use super::judge::{FULL, Lot};
use super::notes::read_checkpoint;
use super::report::Findings;
use super::source::Source;
use crate::record::frame::{Fault, Frames};
use crate::record::store::{CHECKPOINT, LOCK, WAL};
use crate::record::tiles::{BundleId, FULL as FULL_WIDTH, HASH, MAX_BUNDLE, TileId, width_at};

/// Bytes of entries from the write-ahead log that are judged at once.
const MOST_RUN: usize = 1 << 20;

/// Where the next run comes from.
enum Phase {
    Bundles,
    Wal,
    Done,
}

/// Reads entries in order.
pub(super) struct Feed<'a> {
    source: &'a dyn Source,
    /// Entries under the checkpoint.
    size: u64,
    /// The next entry.
    pub(super) next: u64,
    phase: Phase,
    wal: Option<Frames<File>>,
    /// The next frame's index.
    frame: Option<u64>,
    /// The entries are not for us; the tiles are.
    pub(super) private: bool,
    /// A run could not be read, so what follows is not known to be all.
    pub(super) broken: bool,
    /// The write-ahead log was renewed meanwhile: entries beyond the checkpoint exist that are not read.
    pub(super) renewed: bool,
    /// Bytes of the write-ahead log that were read.
    pub(super) wal_bytes: u64,
    /// Entries of the write-ahead log.
    pub(super) wal_entries: u64,
    pub(super) bundles: Findings,
    pub(super) frames: Findings,
    pub(super) indices: Findings,
}

impl<'a> Feed<'a> {
    pub(super) fn new(source: &'a dyn Source, size: u64) -> Self {
        Self {
            source,
            size,
            next: 0,
            phase: Phase::Bundles,
            wal: None,
            frame: None,
            private: false,
            broken: false,
            renewed: false,
            wal_bytes: 0,
            wal_entries: 0,
            bundles: Findings::default(),
            frames: Findings::default(),
            indices: Findings::default(),
        }
    }

    /// The next run.
    pub(super) fn read(&mut self) -> Result<Option<Lot>, VerifyError> {
        loop {
            match self.phase {
                Phase::Bundles if self.next < self.size => match self.bundle()? {
                    Some(lot) => return Ok(Some(lot)),
                    None => {
                        self.broken = true;
                        self.phase = Phase::Done;
                    }
                },
                Phase::Bundles => self.open_wal()?,
                Phase::Wal => match self.run()? {
                    Some(lot) => return Ok(Some(lot)),
                    None => self.phase = Phase::Done,
                },
                Phase::Done => return Ok(None),
            }
        }
    }

    fn bundle(&mut self) -> Result<Option<Lot>, VerifyError> {
        let index = self.next / u64::from(FULL_WIDTH);
        let id = BundleId { index, width: width_at(0, index, self.size) };
        let (first, width) = (self.next, usize::from(id.width));
        self.next += u64::from(id.width);
        if !self.private {
            let path = id.path();
            let mut read = self.source.whole(&path, MAX_BUNDLE as u64);
            if id.width < FULL_WIDTH && is(&read, io::ErrorKind::NotFound) {
                // A wider one may have taken its place.
                read = self.source.read(&path);
            }
            match read {
                Ok(bytes) => return Ok(Some(Lot::Entries { first, bytes, width })),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && first == 0 => self.private = true,
                Err(error) => self.bundles.add(Some(first), format!("{path} cannot be read: {error}")),
            }
        }
        let tile = TileId { level: 0, index, width: id.width }.path();
        match self.source.read(&tile) {
            Ok(bytes) if bytes.len() == width * HASH => {
                let (leaves, _) = bytes.as_chunks::<HASH>();
                Ok(Some(Lot::Hashes { first, leaves: leaves.to_vec() }))
            }
            Ok(_) => Ok(None),
            Err(error) if self.private && error.kind() != io::ErrorKind::NotFound => {
                Err(VerifyError::Io { path: self.source.name().into(), source: error })
            }
            Err(_) => Ok(None),
        }
    }

    fn open_wal(&mut self) -> Result<(), VerifyError> {
        self.phase = Phase::Done;
        let Some(directory) = self.source.directory() else { return Ok(()) };
        let path = directory.join(WAL);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.frames.add(None, format!("{WAL} is missing"));
                return Ok(());
            }
            Err(error) => return Err(VerifyError::io(&path)(error)),
        };
        match Frames::open(file) {
            // It was renewed since the checkpoint was read: all that it holds lies beyond, and so does what it left out.
            Ok(frames) if frames.head().base > self.next && self.is_covered(frames.head().base) => self.renewed = true,
            Ok(frames) => {
                self.wal_bytes = frames.offset();
                self.wal = Some(frames);
                self.phase = Phase::Wal;
            }
            Err(Fault::Io(error)) => return Err(VerifyError::io(&path)(error)),
            Err(_) => {
                self.broken = true;
                self.frames.add(None, format!("{WAL} does not start as a log of this version"));
            }
        }
        Ok(())
    }

    /// Whether the checkpoint that lies there now covers so many entries.
    fn is_covered(&self, size: u64) -> bool {
        let note = self.source.read(CHECKPOINT).ok().and_then(|note| String::from_utf8(note).ok());
        note.as_deref().and_then(read_checkpoint).is_some_and(|(_, checkpoint)| checkpoint.size >= size)
    }

    /// Entries of the write-ahead log up to the next full bundle, to the checkpoint, or to a bound on bytes.
    fn run(&mut self) -> Result<Option<Lot>, VerifyError> {
        let Some(frames) = &mut self.wal else { return Ok(None) };
        let mut bytes = Vec::new();
        let mut first = None;
        let mut width = 0;
        let mut fault = None;
        loop {
            match frames.next() {
                Ok(Some(frame)) => {
                    let index = *self.frame.get_or_insert(frame.index);
                    if index != frame.index || (first.is_none() && index > self.next) {
                        let what = format!("the entry at place {index} says that it is entry {}", frame.index);
                        self.indices.add(Some(index), what);
                        // Whatever follows is counted on from what is known, so that the tree shows the harm, too.
                    }
                    first.get_or_insert(index);
                    self.frame = Some(index + 1);
                    self.wal_entries += 1;
                    let length = u16::try_from(frame.data.len()).unwrap_or(u16::MAX);
                    bytes.extend_from_slice(&length.to_be_bytes());
                    bytes.extend_from_slice(frame.data);
                    width += 1;
                    let end = index + 1;
                    if end.is_multiple_of(FULL as u64) || end == self.next || bytes.len() >= MOST_RUN {
                        break;
                    }
                }
                Ok(None) => break,
                Err(found) => {
                    fault = Some(found);
                    break;
                }
            }
        }
        self.wal_bytes = frames.offset();
        if let Some(fault) = fault {
            self.wal = None;
            self.judge_fault(fault)?;
        }
        let Some(first) = first else { return Ok(None) };
        if first < self.next {
            Ok(Some(Lot::Again { first, bytes, width }))
        } else {
            let first = self.next;
            self.next += width as u64;
            Ok(Some(Lot::Entries { first, bytes, width }))
        }
    }

    /// Says why reading stopped. An unfinished frame at the end is no finding while a gateway is writing it.
    fn judge_fault(&mut self, fault: Fault) -> Result<(), VerifyError> {
        let Some(directory) = self.source.directory() else { return Ok(()) };
        let at_entry = self.frame.unwrap_or(self.next);
        match fault {
            Fault::Io(error) => return Err(VerifyError::io(&directory.join(WAL))(error)),
            Fault::Unfinished(_) if is_in_use(directory) => return Ok(()),
            Fault::Unfinished(at) => {
                let what = format!("what is written ends inside the frame of entry {at_entry}, at byte {at}");
                self.frames.add(Some(at_entry), what);
            }
            Fault::Bad(at) => {
                let what =
                    format!("the frame of entry {at_entry}, at byte {at}, is damaged; nothing after it was read");
                self.frames.add(Some(at_entry), what);
            }
            Fault::Header => self.frames.add(None, format!("{WAL} does not start as a log of this version")),
        }
        self.broken = true;
        Ok(())
    }
}

fn is<T>(read: &io::Result<T>, kind: io::ErrorKind) -> bool {
    matches!(read, Err(error) if error.kind() == kind)
}

/// Whether a writer holds the log's lock. Asked only about a log with a loose end, since the asking itself holds the
/// lock for a moment when nobody else does.
fn is_in_use(directory: &Path) -> bool {
    let lock = File::open(directory.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
