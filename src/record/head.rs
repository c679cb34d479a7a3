//! The beginning of a write-ahead log file: where it starts in the log, and what was open when it was made.

use std::io::Read;

use super::frame::{Fault, read_up_to};
use crate::types::ExchangeId;

/// The first bytes of the file: name and version.
const MAGIC: [u8; 16] = *b"sekisho-wal\n\0\0\0\x02";
/// Bytes before the exchanges: name and version, two indices and a count.
const FIXED: usize = 16 + 8 + 8 + 4;
/// Bytes of an exchange's id.
const ID: usize = 26;
/// Bytes of the checksum at the end.
const SUM: usize = 4;
/// Open exchanges that a file can name: far more than are ever in progress, few enough to read at once.
const MOST_OPEN: u32 = 1024 * 1024;

/// What a write-ahead log file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// The index of its first entry.
    pub(super) base: u64,
    /// The size of the log when it was made: it held the entries from `base` to here from its first moment.
    pub(super) upto: u64,
    /// The permitted exchanges that were without an outcome at that size, oldest first.
    pub(super) open: Vec<ExchangeId>,
}

impl Head {
    /// Its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.base.to_be_bytes());
        bytes.extend_from_slice(&self.upto.to_be_bytes());
        let count = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_be_bytes());
        for exchange in &self.open {
            bytes.extend_from_slice(exchange.to_string().as_bytes());
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// How many bytes it has.
    pub(super) const fn length(&self) -> u64 {
        (FIXED + self.open.len() * ID + SUM) as u64
    }

    /// Reads it from the beginning of a file.
    pub(super) fn read(source: &mut impl Read) -> Result<Self, Fault> {
        let mut fixed = [0; FIXED];
        fill(source, &mut fixed)?;
        let (magic, rest) = fixed.split_at(MAGIC.len());
        let number = |at: usize| rest[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let (base, upto) = (number(0), number(8));
        let count = rest[16..].iter().fold(0, |count: u32, byte| count << 8 | u32::from(*byte));
        if magic != MAGIC || base > upto || count > MOST_OPEN || u64::from(count) > upto {
            return Err(Fault::Header);
        }
        let mut ids = vec![0; count as usize * ID];
        fill(source, &mut ids)?;
        let mut sum = [0; SUM];
        fill(source, &mut sum)?;
        if crc32c::crc32c_append(crc32c::crc32c(&fixed), &ids) != u32::from_be_bytes(sum) {
            return Err(Fault::Header);
        }
        let id = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        let open = ids.chunks_exact(ID).map(id).collect::<Option<_>>().ok_or(Fault::Header)?;
        Ok(Self { base, upto, open })
    }
}

fn fill(source: &mut impl Read, bytes: &mut [u8]) -> Result<(), Fault> {
    if read_up_to(source, bytes)? == bytes.len() { Ok(()) } else { Err(Fault::Header) }
}
