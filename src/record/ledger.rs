//! Entries become durable in the write-ahead log, and the log is renewed when the tiles hold what it holds.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ahead::{Ahead, ZEROS};
use super::entry::Means;
use super::error::RecordError;
use super::frame;
use super::head::Head;
use super::signer::Sealed;
use super::store::{Directory, Trouble, WAL};
use crate::types::ExchangeId;

/// The write-ahead log as its only writer holds it. After a fatal error it must not be used again: what the disk holds
/// is then unknown.
pub(super) struct Ledger {
    pub(super) directory: Arc<Directory>,
    pub(super) wal: Ahead,
    /// The index that the next entry gets.
    pub(super) next: u64,
    /// Permitted exchanges without an outcome, with the order in which they were decided.
    pub(super) open: HashMap<ExchangeId, u64>,
    /// The end of a batch that a checkpoint covers: the index behind it, and the byte.
    pub(super) covered: (u64, u64),
    /// The ends of the batches behind that.
    pub(super) ends: VecDeque<(u64, u64)>,
    /// The frames of a batch, so that a batch is one write.
    pub(super) frames: Vec<u8>,
    /// How many bytes of the file are to be superfluous before it is renewed.
    pub(super) rotate_after: u64,
    /// Where the file's first frame starts.
    pub(super) start: u64,
    /// Zeros that a file has before they are needed.
    pub(super) reserve: u64,
}

impl Ledger {
    /// Makes the frames of a batch. Says how many bytes they have.
    pub(super) fn encode<'a>(&mut self, entries: impl Iterator<Item = &'a [u8]>) -> usize {
        self.frames.clear();
        for (place, (index, entry)) in (0..).zip((self.next..).zip(entries)) {
            frame::encode(&mut self.frames, place, index, entry);
        }
        self.frames.len()
    }

    /// Sees to it that the encoded batch fits in the zeros.
    pub(super) fn make_room(&mut self) -> Result<(), Trouble> {
        if self.wal.fits(self.frames.len()) { Ok(()) } else { self.wal.extend(self.frames.len()) }
    }

    /// Writes the encoded batch, which must fit, and makes it durable: one write, one sync. When `renew` is set and the
    /// zeros run low, they are renewed between the two, and a want of room for that is told; the batch is durable then
    /// all the same.
    pub(super) fn write(&mut self, renew: bool) -> Result<Option<std::io::Error>, RecordError> {
        let fatal = |trouble: Trouble| trouble.into_error(std::path::Path::new(WAL));
        self.wal.append(&self.frames).map_err(fatal)?;
        let wanting = match if renew && self.wal.is_low() { self.wal.extend(0) } else { Ok(()) } {
            Ok(()) => None,
            Err(Trouble::Room(error)) => Some(error),
            Err(Trouble::Fatal(error)) => return Err(error),
        };
        self.wal.sync().map_err(fatal)?;
        Ok(wanting)
    }

    /// Takes note of the batch that was just written.
    pub(super) fn wrote<'a>(&mut self, entries: impl Iterator<Item = &'a Sealed>) {
        for entry in entries {
            match entry.means() {
                Means::Opens(exchange) => drop(self.open.insert(exchange, self.next)),
                Means::Ends(exchange) => drop(self.open.remove(&exchange)),
                Means::Neither => {}
            }
            self.next += 1;
        }
        self.ends.push_back((self.next, self.wal.end()));
    }

    /// Renews the file when enough of it is superfluous, now that a checkpoint covers `published` entries.
    ///
    /// The new one starts with the first entry that the checkpoint does not cover, holds from its first moment all that
    /// the old one held from there on, and takes its place at once. Without room for it the old one stays.
    pub(super) fn rotate(&mut self, published: u64) -> Result<(), RecordError> {
        while let Some(end) = self.ends.front().filter(|(index, _)| *index <= published) {
            self.covered = *end;
            self.ends.pop_front();
        }
        let (base, from) = self.covered;
        if from - self.start < self.rotate_after {
            return Ok(());
        }
        let carried = self.wal.read_from(from).map_err(RecordError::io(&self.directory.file(WAL)))?;
        let mut open: Vec<_> = self.open.iter().map(|(exchange, order)| (*order, *exchange)).collect();
        open.sort_unstable();
        let open = open.into_iter().map(|(_, exchange)| exchange).collect();
        let head = Head { base, upto: self.next, open };
        match renew(&self.directory, &head, &carried, self.reserve) {
            Ok(wal) => {
                let moved = |(index, end): &(u64, u64)| (*index, head.length() + (end - from));
                self.ends = self.ends.iter().map(moved).collect();
                self.start = head.length();
                self.covered = (base, head.length());
                self.wal = wal;
                tracing::debug!(base, carried = carried.len(), "the write-ahead log was renewed");
            }
            Err(Trouble::Room(error)) => {
                // The next batches go on in the old file; another try comes when as much again is superfluous.
                self.start = from;
                tracing::warn!(error = %error, "no room to renew the write-ahead log");
            }
            Err(Trouble::Fatal(error)) => return Err(error),
        }
        Ok(())
    }

    /// Leaves the log in no more space than it needs.
    pub(super) fn close(&mut self) -> Result<(), RecordError> {
        self.wal.close().map_err(|trouble| trouble.into_error(&self.directory.file(WAL)))
    }
}

/// Puts a new write-ahead log in place: with this head, these frames, and zeros.
pub(super) fn renew(directory: &Directory, head: &Head, frames: &[u8], reserve: u64) -> Result<Ahead, Trouble> {
    let bytes = head.bytes();
    let zeros = usize::try_from(reserve).unwrap_or(usize::MAX).div_ceil(ZEROS.len());
    let mut pieces = vec![bytes.as_slice(), frames];
    pieces.resize(2 + zeros, ZEROS.as_slice());
    let file = directory.put_pieces(WAL, &pieces)?;
    directory.sync()?;
    let end = (bytes.len() + frames.len()) as u64;
    Ok(Ahead::new(directory, file, end, end + (zeros * ZEROS.len()) as u64, reserve))
}
