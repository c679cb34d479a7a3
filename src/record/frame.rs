//! Frames of the write-ahead log: one writer of them and one reader, for recovery, reading and verifying alike.

use std::io::{self, BufReader, Read};

use super::entry::MAX_ENTRY;

/// The first bytes of the file: name and version.
pub(super) const FILE_HEADER: [u8; 16] = *b"sekisho-wal\n\0\0\0\x01";
/// Bytes of a frame before its data.
pub(super) const FRAME_HEADER: usize = 16;

/// Large enough that reading is not bound by system calls.
const READ_BUFFER: usize = 256 * 1024;

/// Appends the frame of one entry to `out`. The data must have 1 to [`MAX_ENTRY`] bytes, as every sealed entry has.
pub(super) fn encode(out: &mut Vec<u8>, index: u64, data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut head = [0u8; FRAME_HEADER];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4..12].copy_from_slice(&index.to_be_bytes());
    let sum = checksum(&head, data);
    head[12..].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(data);
}

fn checksum(head: &[u8; FRAME_HEADER], data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[..12]), data)
}

/// One whole frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The index it claims; the reader does not compare it with its place.
    pub(super) index: u64,
    /// The entry.
    pub(super) data: &'a [u8],
}

/// Why there is no further frame to be had.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file does not start as a log of this version does.
    Header,
    /// The file ends inside the frame that starts at this offset.
    Unfinished(u64),
    /// The frame that starts at this offset has an impossible length or a wrong checksum.
    Bad(u64),
    /// Reading failed.
    Io(io::Error),
}

/// Reads frames one after another, holding one at a time.
pub(super) struct Frames<R> {
    source: BufReader<R>,
    data: Vec<u8>,
    offset: u64,
}

impl<R: Read> Frames<R> {
    /// Starts at the beginning of a log file.
    pub(super) fn open(source: R) -> Result<Self, Fault> {
        let mut source = BufReader::with_capacity(READ_BUFFER, source);
        let mut header = [0u8; FILE_HEADER.len()];
        if read_up_to(&mut source, &mut header)? != header.len() || header != FILE_HEADER {
            return Err(Fault::Header);
        }
        Ok(Self { source, data: Vec::new(), offset: FILE_HEADER.len() as u64 })
    }

    /// Where the next frame starts, in bytes from the beginning of the file.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame; `None` at a clean end.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, Fault> {
        let mut head = [0u8; FRAME_HEADER];
        match read_up_to(&mut self.source, &mut head)? {
            0 => return Ok(None),
            FRAME_HEADER => {}
            _ => return Err(Fault::Unfinished(self.offset)),
        }
        let Some(length) = data_length(&head) else { return Err(Fault::Bad(self.offset)) };
        self.data.resize(length, 0);
        if read_up_to(&mut self.source, &mut self.data)? != length {
            return Err(Fault::Unfinished(self.offset));
        }
        let Some(index) = checked_index(&head, &self.data) else { return Err(Fault::Bad(self.offset)) };
        self.offset += (FRAME_HEADER + length) as u64;
        Ok(Some(Frame { index, data: &self.data }))
    }
}

/// Whether a whole frame starts anywhere in `bytes` whose index is `least` or more: proof that what stands before it
/// is damage, and not the end of an interrupted write.
pub(super) fn holds_frame(bytes: &[u8], least: u64) -> bool {
    (0..bytes.len()).any(|start| {
        let rest = &bytes[start..];
        let Some((head, rest)) = rest.split_first_chunk::<FRAME_HEADER>() else { return false };
        let Some(data) = data_length(head).and_then(|length| rest.get(..length)) else { return false };
        checked_index(head, data).is_some_and(|index| index >= least)
    })
}

fn data_length(head: &[u8; FRAME_HEADER]) -> Option<usize> {
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    (1..=MAX_ENTRY).contains(&length).then_some(length)
}

fn checked_index(head: &[u8; FRAME_HEADER], data: &[u8]) -> Option<u64> {
    let [_, _, _, _, index @ .., a, b, c, d] = *head;
    (checksum(head, data) == u32::from_be_bytes([a, b, c, d])).then(|| u64::from_be_bytes(index))
}

/// Fills as much of `buffer` as the source has.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Fault> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Io(error)),
        }
    }
    Ok(filled)
}
