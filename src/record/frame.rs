//! Frames of the write-ahead log: one writer of them and one reader, for recovery, reading and verifying alike.

use std::io::{self, BufRead as _, BufReader, Read, Seek, SeekFrom};

use super::ahead::written;
use super::entry::MAX_ENTRY;
use super::head::Head;
use super::queue::BATCH_ENTRIES;

/// Bytes of a frame before its data.
pub(super) const FRAME_HEADER: usize = 16;

/// Bytes of the largest frame.
const LARGEST: u64 = (FRAME_HEADER + MAX_ENTRY) as u64;

/// Large enough that reading is not bound by system calls.
const READ_BUFFER: usize = 256 * 1024;

/// Appends the frame of one entry to `out`. The data must have 1 to [`MAX_ENTRY`] bytes, as every sealed entry has.
/// `place` counts the entries before it in its batch.
pub(super) fn encode(out: &mut Vec<u8>, place: u16, index: u64, data: &[u8]) {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut head = [0u8; FRAME_HEADER];
    head[..2].copy_from_slice(&place.to_be_bytes());
    head[2..4].copy_from_slice(&length.to_be_bytes());
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
    /// What is written ends inside the frame that starts at this offset.
    Unfinished(u64),
    /// The frame that starts at this offset has an impossible header or a wrong checksum, or there is none and
    /// something other than zeros follows.
    Bad(u64),
    /// Reading failed.
    Io(io::Error),
}

/// Reads frames one after another, holding one at a time.
pub(super) struct Frames<R> {
    source: BufReader<R>,
    head: Head,
    /// Frames read so far.
    count: u64,
    data: Vec<u8>,
    offset: u64,
}

/// What stands at an offset.
enum Found {
    /// A whole frame with this index; its data has been read.
    Frame(u64),
    /// Zeros to the end of the file, or nothing.
    End,
    /// Anything else.
    Loose {
        /// What is written ends inside the frame.
        unfinished: bool,
        /// Where what is written ends, as far as it matters: zeros follow, or it is further than any frame here goes.
        written: u64,
    },
}

impl<R: Read + Seek> Frames<R> {
    /// Starts at the beginning of a log file.
    pub(super) fn open(source: R) -> Result<Self, Fault> {
        let mut source = BufReader::with_capacity(READ_BUFFER, source);
        let head = Head::read(&mut source)?;
        let offset = head.length();
        Ok(Self { source, head, count: 0, data: Vec::new(), offset })
    }

    /// The index that the next frame should have.
    pub(super) const fn place(&self) -> u64 {
        self.head.base.saturating_add(self.count)
    }

    /// What the file says of itself.
    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Where the next frame starts, in bytes from the beginning of the file.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame; `None` at a clean end: nothing but zeros follows. Not to be called again after that.
    ///
    /// The log may be in use: what was read is then a mixture of what stood there before and after a write, with the
    /// later bytes of a batch and not yet the earlier ones. A writer writes from front to back, so whatever stood
    /// before a byte that was seen is there when it is read again. What remains after that is no mixture.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, Fault> {
        let start = self.offset;
        let mut seen = start;
        loop {
            match self.look()? {
                Found::Frame(index) => {
                    self.offset += (FRAME_HEADER + self.data.len()) as u64;
                    self.count += 1;
                    return Ok(Some(Frame { index, data: &self.data }));
                }
                Found::End => return Ok(None),
                Found::Loose { unfinished, written } if written <= seen || seen - start >= LARGEST => {
                    return Err(if unfinished { Fault::Unfinished(start) } else { Fault::Bad(start) });
                }
                Found::Loose { written, .. } => {
                    seen = written;
                    self.source.seek(SeekFrom::Start(start)).map_err(Fault::Io)?;
                }
            }
        }
    }

    fn look(&mut self) -> Result<Found, Fault> {
        let mut head = [0u8; FRAME_HEADER];
        let mut read = read_up_to(&mut self.source, &mut head)?;
        let length = data_length(&head).filter(|_| read == FRAME_HEADER).unwrap_or(0);
        self.data.resize(length, 0);
        let data = read_up_to(&mut self.source, &mut self.data)?;
        if length > 0
            && data == length
            && let Some(index) = checked_index(&head, &self.data)
        {
            return Ok(Found::Frame(index));
        }
        read += data;
        let mut end = match written(&self.data[..data]) {
            0 => written(&head),
            count => FRAME_HEADER + count,
        } as u64;
        let mut place = read as u64;
        while end < LARGEST {
            let bytes = match self.source.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Io(error)),
            };
            let (length, count) = (bytes.len(), written(bytes) as u64);
            end = if count > 0 { place + count } else { end };
            place += length as u64;
            self.source.consume(length);
        }
        // An entry is text, so no frame ends with a zero: where the zeros start, what is written ends.
        let unfinished = end < (FRAME_HEADER + length) as u64;
        Ok(if end == 0 { Found::End } else { Found::Loose { unfinished, written: self.offset + end } })
    }
}

/// A whole frame that was found among other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stray {
    /// Where it starts in these bytes.
    pub(super) start: usize,
    /// The index it claims.
    pub(super) index: u64,
    /// The index of the first entry in its batch: everything before that was durable before this frame was written.
    pub(super) batch: u64,
}

/// Every whole frame with this index or a later one that starts anywhere in `bytes`, whatever surrounds it.
pub(super) fn strays(bytes: &[u8], least: u64) -> impl Iterator<Item = Stray> {
    (0..bytes.len()).filter_map(move |start| {
        let (head, rest) = bytes[start..].split_first_chunk::<FRAME_HEADER>()?;
        // What costs little comes first: hardly anything but a frame gets as far as its checksum.
        let data = rest.get(..data_length(head)?)?;
        let [place @ .., _, _, i0, i1, i2, i3, i4, i5, i6, i7, _, _, _, _] = *head;
        let index = u64::from_be_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
        if index < least {
            return None;
        }
        checked_index(head, data)?;
        Some(Stray { start, index, batch: index.saturating_sub(u16::from_be_bytes(place).into()) })
    })
}

/// `None` when it is zero, or the place is none that a batch has: then it is no frame's.
fn data_length(head: &[u8; FRAME_HEADER]) -> Option<usize> {
    let [place @ .., l0, l1, _, _, _, _, _, _, _, _, _, _, _, _] = *head;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    (length > 0 && usize::from(u16::from_be_bytes(place)) < BATCH_ENTRIES).then_some(length)
}

fn checked_index(head: &[u8; FRAME_HEADER], data: &[u8]) -> Option<u64> {
    let [_, _, _, _, index @ .., a, b, c, d] = *head;
    (checksum(head, data) == u32::from_be_bytes([a, b, c, d])).then(|| u64::from_be_bytes(index))
}

/// Fills as much of `buffer` as the source has.
pub(super) fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Fault> {
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
