//! The log file, written ahead into zeroed space.
//!
//! A sync of a file that grew costs a journal transaction of the file system on top of the data; a sync of bytes that
//! overwrite others does not. So the file is kept longer than the log by a stretch of zeros, which the next batches
//! overwrite. They are real zeros: a hole, or space that was only reserved, would cost at its first write what growing
//! costs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The zeros that are written behind a batch that no longer fits in those there are. Large enough that few batches pay
/// for growing, small enough that the one that does is not held up for long.
pub(super) const STEP: u64 = 1024 * 1024;

/// Zeros, to write and to compare with.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

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

/// What the log file asks of the file system. A seam, so that tests can have little room and cut the power.
pub(super) trait Place: Send {
    /// Writes all bytes, the first of them at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file to this length.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;
}

impl Place for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        // fdatasync: it carries the file's new length when there is one, which is all that reading back needs.
        Self::sync_data(self)
    }
}

/// The log file as its only writer holds it.
pub(super) struct Ahead<P = File> {
    place: P,
    /// Where the next batch goes.
    end: u64,
    /// Where the file ends; from `end` to here it holds zeros.
    length: u64,
    /// Zeros are not tried before the log has grown to here.
    next_try: u64,
}

impl<P: Place> Ahead<P> {
    /// A file that ends with its log, at `end`.
    pub(super) const fn new(place: P, end: u64) -> Self {
        Self { place, end, length: end, next_try: 0 }
    }

    /// Writes a batch behind the last one, and zeros behind it when it used up those there were.
    ///
    /// The zeros come last, so that a batch never lacks the room they took; and without room for them the log goes on
    /// as long as there is room for its batches.
    pub(super) fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        self.place.write_all_at(batch, self.end)?;
        self.end += batch.len() as u64;
        if self.end <= self.length {
            return Ok(());
        }
        self.length = self.end;
        if self.end < self.next_try {
            return Ok(());
        }
        match self.zero(self.end, self.end + STEP) {
            Ok(()) => self.length = self.end + STEP,
            Err(error) if is_want_of_room(&error) => {
                // What zeros there are go back: others may need the room more, the next checkpoint among them.
                self.place.set_len(self.end)?;
                self.next_try = self.end + STEP;
                tracing::warn!(error = %error, "no room to write the record log ahead; it goes on, slower");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let piece = usize::try_from(to - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.place.write_all_at(&ZEROS[..piece], at)?;
            at += piece as u64;
        }
        Ok(())
    }

    /// Makes everything that was written durable, zeros and all.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.place.sync_data()
    }

    /// Cuts the zeros off: a log at rest takes no more room than its entries.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.place.set_len(self.end)?;
        self.length = self.end;
        self.place.sync_data()
    }

    /// The same file behind another seam.
    #[cfg(test)]
    pub(super) fn on<Q: Place>(self, wrap: impl FnOnce(P) -> Q) -> Ahead<Q> {
        Ahead { place: wrap(self.place), end: self.end, length: self.length, next_try: self.next_try }
    }
}

fn is_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
