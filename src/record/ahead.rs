//! The log file, written ahead into zeroed space.
//!
//! A sync of a file that grew costs a journal transaction of the file system on top of the data; a sync of bytes that
//! overwrite others does not. So the file is kept longer than the log by a stretch of zeros, which the next batches
//! overwrite. They are real zeros: a hole, or space that was only reserved, would cost at its first write what growing
//! costs.
//!
//! The zeros are also the reserve for a disk that fills up. No batch is ever written but into zeros, so that a batch
//! never lacks room: when the zeros cannot be renewed, the log takes no new exchanges, and what is left of the zeros
//! is for the outcomes of those under way.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::store::{Directory, Disk, Trouble, WAL};

/// The zeros that are written behind the reserve when it is touched. Large enough that few batches pay for growing,
/// small enough that the one that does is not held up for long.
pub(super) const STEP: u64 = 1024 * 1024;

/// Zeros, to write and to compare with.
pub(super) static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// How many of the bytes are left without the zeros at their end.
pub(super) fn written(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Whole stretches at once: mostly there is nothing but zeros.
    while let Some((front, last)) = rest.split_last_chunk::<4096>() {
        if last[..] != ZEROS[..last.len()] {
            break;
        }
        rest = front;
    }
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The log file as its only writer holds it.
pub(super) struct Ahead {
    disk: Arc<dyn Disk>,
    file: File,
    path: PathBuf,
    /// Where the next batch goes.
    end: u64,
    /// Where the file ends; from `end` to here it holds zeros.
    length: u64,
    /// Zeros that are there before they are needed.
    reserve: u64,
}

impl Ahead {
    /// A file with its log up to `end` and zeros up to `length`.
    pub(super) fn new(directory: &Directory, file: File, end: u64, length: u64, reserve: u64) -> Self {
        Self { disk: Arc::clone(&directory.disk), file, path: directory.file(WAL), end, length, reserve }
    }

    /// Where the log ends, in bytes.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Whether the zeros are to be renewed.
    pub(super) const fn is_low(&self) -> bool {
        self.length - self.end < self.reserve || self.length == self.end
    }

    /// Whether a batch of so many bytes fits in the zeros.
    pub(super) const fn fits(&self, bytes: usize) -> bool {
        bytes as u64 <= self.length - self.end
    }

    /// Writes a batch behind the last one, into zeros.
    pub(super) fn append(&mut self, batch: &[u8]) -> Result<(), Trouble> {
        // Room cannot be wanting here; a file system that says so is not one to write a log on.
        self.disk.write(&self.file, &self.path, batch, self.end).map_err(Trouble::fatal("a write failed"))?;
        self.end += batch.len() as u64;
        Ok(())
    }

    /// Writes zeros behind those there are, so that there is the reserve again and room for `bytes` more.
    pub(super) fn extend(&mut self, bytes: usize) -> Result<(), Trouble> {
        let target = self.end + self.reserve.max(bytes as u64) + STEP;
        let mut at = self.length;
        while at < target {
            let piece = usize::try_from(target - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            let zeroed = self.disk.write(&self.file, &self.path, &ZEROS[..piece], at);
            match zeroed.map_err(Trouble::of("the log could not be written ahead")) {
                Ok(()) => at += piece as u64,
                Err(Trouble::Room(error)) => {
                    // What zeros there are beyond go back: others may need the room more, the checkpoint among them.
                    self.cut(self.length)?;
                    return Err(Trouble::Room(error));
                }
                Err(fatal) => return Err(fatal),
            }
        }
        self.length = self.length.max(target);
        Ok(())
    }

    /// Makes everything that was written durable, zeros and all.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        self.disk.sync(&self.file, &self.path).map_err(Trouble::fatal("a sync failed"))
    }

    /// Cuts the zeros off: a log at rest takes no more room than its entries.
    pub(super) fn close(&mut self) -> Result<(), Trouble> {
        self.cut(self.end)?;
        self.length = self.end;
        self.sync()
    }

    /// The bytes from here to where the log ends.
    pub(super) fn read_from(&self, start: u64) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.end - start).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    fn cut(&self, length: u64) -> Result<(), Trouble> {
        self.disk.cut(&self.file, &self.path, length).map_err(Trouble::fatal("the log could not be cut to its length"))
    }
}
