//! Reading a log's entries in order, for people and tools. Their places are checked, signatures are not: that is
//! [`verify`](super::verify)'s work.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::error::RecordError;
use super::frame::{Fault, Frames};
use super::jws::{self, Compact};
use super::log::EntryIndex;
use super::note::{Checkpoint, Note};
use super::store::{CHECKPOINT, WAL};
use super::tiles::{FULL, LogDirectory, TileReader, TileSource as _};

/// One entry as it stands in the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadEntry {
    /// Its place.
    pub index: EntryIndex,
    /// The protected header of its JWS.
    pub header: Value,
    /// What it says.
    pub payload: Value,
}

/// The entries of a log, oldest first: out of its bundles as far as the checkpoint goes, and out of the write-ahead
/// log from there on.
///
/// Ends at the first entry that cannot be read, after saying why; an unfinished frame at the end of what is written is
/// not an entry yet, and ends it quietly. Takes no lock: the log may be in use, and what comes later may not be read.
pub struct Entries {
    tiles: TileReader<LogDirectory>,
    /// Entries that the checkpoint covers.
    covered: u64,
    /// The entries of the bundle that is being read, the next one last.
    bundle: Vec<Vec<u8>>,
    /// `None` at the end.
    frames: Option<Frames<File>>,
    path: PathBuf,
    next: u64,
}

impl Entries {
    /// Opens the log in a directory.
    ///
    /// # Errors
    /// [`RecordError::Io`] when it cannot be read, [`RecordError::Corrupt`] when it is not a log of this version.
    pub fn open(directory: &Path) -> Result<Self, RecordError> {
        Self::from(directory, 0)
    }

    /// Opens the log in a directory at an entry. What is before it is not read.
    ///
    /// # Errors
    /// As [`Entries::open`].
    pub fn from(directory: &Path, index: u64) -> Result<Self, RecordError> {
        let path = directory.join(WAL);
        // The log first and the checkpoint then: it covers whatever an older log file no longer holds.
        let file = File::open(&path).map_err(RecordError::io(&path))?;
        let frames = Frames::open(file).map_err(|fault| describe(fault, &path, index))?;
        let tiles = TileReader::new(LogDirectory::new(directory));
        let note = tiles.source().read(CHECKPOINT).map_err(RecordError::io(&directory.join(CHECKPOINT)))?;
        let note = std::str::from_utf8(&note).ok().and_then(Note::parse);
        let checkpoint = note.and_then(|note| Checkpoint::parse(note.text));
        let checkpoint = checkpoint.ok_or_else(|| RecordError::Corrupt(format!("{CHECKPOINT} is not a checkpoint")))?;
        let covered = checkpoint.size;
        if covered < frames.head().base {
            return Err(RecordError::Corrupt(format!("{CHECKPOINT} is older than {WAL}")));
        }
        Ok(Self { tiles, covered, bundle: Vec::new(), frames: Some(frames), path, next: index })
    }

    /// How many entries were read or passed over, and how many there were at least when the log was opened.
    pub fn progress(&self) -> (u64, u64) {
        (self.next, self.covered.max(self.next))
    }

    fn read(&mut self) -> Result<Option<ReadEntry>, RecordError> {
        let index = self.next;
        let not_json = || RecordError::Corrupt(format!("entry {index} is not a JWS over JSON"));
        let entry = if index < self.covered {
            if self.frames.is_none() {
                return Ok(None);
            }
            if self.bundle.is_empty() {
                let bundle = self.tiles.entries(index / u64::from(FULL), self.covered);
                let mut bundle = bundle.map_err(RecordError::io(self.tiles.source().path()))?;
                // The part of it that is before the first entry to read.
                bundle.drain(..usize::try_from(index % u64::from(FULL)).unwrap_or(0).min(bundle.len()));
                bundle.reverse();
                self.bundle = bundle;
            }
            let data = self.bundle.pop().ok_or_else(not_json)?;
            decode(index, &data).ok_or_else(not_json)?
        } else {
            let Some(frames) = &mut self.frames else { return Ok(None) };
            loop {
                let place = frames.place();
                let frame = match frames.next() {
                    Ok(Some(frame)) => frame,
                    Ok(None) | Err(Fault::Unfinished(_)) => return Ok(None),
                    Err(fault) => return Err(describe(fault, &self.path, place)),
                };
                if frame.index != place {
                    return Err(RecordError::Corrupt(format!("entry {} stands at {place}", frame.index)));
                }
                if frame.index == index {
                    break decode(index, frame.data).ok_or_else(not_json)?;
                }
            }
        };
        self.next += 1;
        Ok(Some(entry))
    }
}

impl Iterator for Entries {
    type Item = Result<ReadEntry, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read().transpose();
        if !matches!(read, Some(Ok(_))) {
            self.frames = None;
        }
        read
    }
}

fn decode(index: u64, data: &[u8]) -> Option<ReadEntry> {
    let jws = Compact::split(data)?;
    let json = |part| serde_json::from_slice(&jws::decode(part)?).ok();
    Some(ReadEntry { index: EntryIndex(index), header: json(jws.header)?, payload: json(jws.payload)? })
}

fn describe(fault: Fault, path: &Path, next: u64) -> RecordError {
    match fault {
        Fault::Io(error) => RecordError::io(path)(error),
        Fault::Header => RecordError::Corrupt(format!("{WAL} does not start as a log of this version")),
        Fault::Unfinished(at) | Fault::Bad(at) => {
            RecordError::Corrupt(format!("the frame of entry {next}, at byte {at}, is damaged"))
        }
    }
}
