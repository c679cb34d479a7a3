//! Reading a log's entries in order, for people and tools. Frames are checked, signatures are not: that is
//! [`verify`](super::verify)'s work.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::error::RecordError;
use super::frame::{Fault, Frames};
use super::jws::{self, Compact};
use super::log::EntryIndex;
use super::store::WAL;

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

/// The entries of a log, oldest first. Ends at the first entry that cannot be read, after saying why; an unfinished
/// frame at the end of what is written is not an entry yet, and ends it quietly. Takes no lock: the log may be in use.
pub struct Entries {
    frames: Option<Frames<File>>,
    path: PathBuf,
    next: u64,
    /// Bytes of the file when it was opened.
    size: u64,
}

impl Entries {
    /// Opens the log in a directory.
    ///
    /// # Errors
    /// [`RecordError::Io`] when it cannot be read, [`RecordError::Corrupt`] when it is not a log of this version.
    pub fn open(directory: &Path) -> Result<Self, RecordError> {
        let path = directory.join(WAL);
        let file = File::open(&path).map_err(RecordError::io(&path))?;
        let size = file.metadata().map_err(RecordError::io(&path))?.len();
        let frames = Frames::open(file).map_err(|fault| describe(fault, &path, 0))?;
        Ok(Self { frames: Some(frames), path, next: 0, size })
    }

    /// How many bytes of the log were read, and how many there were when it was opened.
    pub fn progress(&self) -> (u64, u64) {
        (self.frames.as_ref().map_or(self.size, |frames| frames.offset()), self.size)
    }

    fn read(&mut self) -> Result<Option<ReadEntry>, RecordError> {
        let Some(frames) = &mut self.frames else { return Ok(None) };
        let frame = match frames.next() {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(Fault::Unfinished(_)) => return Ok(None),
            Err(fault) => return Err(describe(fault, &self.path, self.next)),
        };
        if frame.index != self.next {
            return Err(RecordError::Corrupt(format!("entry {} stands at {}", frame.index, self.next)));
        }
        let entry = decode(frame.index, frame.data)
            .ok_or_else(|| RecordError::Corrupt(format!("entry {} is not a JWS over JSON", frame.index)))?;
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
