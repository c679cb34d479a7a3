//! What stands behind the last whole frame: the end, a write that a crash cut short, or damage.
//!
//! A batch is written only after the one before it was synced, and an entry is acknowledged only after its own batch
//! was. So a crash can harm the last batch alone, and nobody was told that an entry of it stands. But it can harm it
//! anywhere: the disk takes sectors in the order it likes, and where it did not take one, the zeros stand that were
//! there before. Whole frames may follow a torn one.
//!
//! What an interrupted write explains is therefore narrow, and everything else is damage. From the first frame that is
//! not whole:
//!
//! 1. no frame follows of a batch that starts after it: that one was written after this one was durable;
//! 2. nothing but zeros stands further away than the longest batch reaches;
//! 3. if any whole frame follows, a sector before it is missing: it holds nothing but zeros, as no frame ever does.
//!
//! An acknowledged entry is thus dropped only if something other than a crash destroyed it, in the last batch and
//! before a checkpoint covered it. That is at most a second's worth, and no log can tell it from a torn batch by
//! itself: who destroys the last bytes of a file leaves what a crash leaves.
//!
//! A file system that shows old blocks where a sector was not written (ext4 with `data=writeback`) breaks the third
//! rule: the log then refuses to open, and a person has to look.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::ahead::written;
use super::frame;
use super::queue::BATCH_LIMIT;

/// The least that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The bytes behind the last whole frame.
pub(super) struct Tail {
    /// Those that the batch could have, without the zeros at the end.
    bytes: Vec<u8>,
    /// Where they start within a sector.
    in_sector: usize,
    /// Whether anything but zeros follows them.
    overlong: bool,
}

impl Tail {
    /// Reads a log file from `end` on.
    pub(super) fn read(wal: &mut File, end: u64) -> io::Result<Self> {
        wal.seek(SeekFrom::Start(end))?;
        let mut bytes = Vec::new();
        wal.by_ref().take(BATCH_LIMIT as u64).read_to_end(&mut bytes)?;
        bytes.truncate(written(&bytes));
        let mut rest = [0; 64 * 1024];
        let overlong = loop {
            match wal.read(&mut rest) {
                Ok(0) => break false,
                Ok(count) if written(&rest[..count]) > 0 => break true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let in_sector = usize::try_from(end % SECTOR as u64).unwrap_or(0);
        Ok(Self { bytes, in_sector, overlong })
    }

    /// Whether an interrupted write explains it. `size` is the index of the entry that should stand here.
    pub(super) fn is_torn(&self, size: u64) -> bool {
        // A frame with an earlier index is no entry of this place; it proves nothing.
        let mut strays = frame::strays(&self.bytes, size).peekable();
        let explained = strays.peek().is_none_or(|first| self.lacks_a_sector(first.start));
        explained && !self.overlong && strays.all(|stray| stray.batch <= size && stray.index > size)
    }

    /// Whether a sector that starts before `limit` is missing. Of the first one only the part behind the last frame
    /// counts: before that it holds what it held already. If it is missing, a batch starts in it, and the first two
    /// bytes of that are zeros anyway.
    fn lacks_a_sector(&self, limit: usize) -> bool {
        let mut start = 0;
        while start < limit {
            let end = (start + SECTOR - (self.in_sector + start) % SECTOR).min(self.bytes.len());
            if written(&self.bytes[start..end]) == 0 && end - start > 2 {
                return true;
            }
            start = end;
        }
        false
    }
}
