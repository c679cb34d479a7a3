//! The smallest HTTP/1.1 client that can be trusted with a benchmark: one keep-alive connection, answers read to their
//! last byte (RFC 9112, sections 6 and 7).

use std::io;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Room for a whole head, and for 16 TLS records of a streamed body at a time.
const BUFFER: usize = 256 * 1024;

/// One answer, its body already consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Bytes of body.
    pub length: u64,
    /// Whether another request may follow on this connection.
    pub reusable: bool,
}

/// A connection and the bytes read from it that nobody has consumed yet.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
    unread: Range<usize>,
}

/// How the end of a body is known.
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection on which nothing has been said.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; BUFFER], unread: 0..0 }
    }

    /// Sends `request`, which has no body or carries it along, and reads the answer; `body` is shown every piece of it.
    pub async fn exchange(&mut self, request: &[u8], mut body: impl FnMut(&[u8])) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let (status, framing, reusable) = self.head().await?;
        let (length, reusable) = match framing {
            Framing::Length(length) => (self.pass_on(length, &mut body).await?, reusable),
            Framing::Chunked => (self.chunks(&mut body).await?, reusable),
            Framing::UntilClose => (self.rest(&mut body).await?, false),
        };
        Ok(Answer { status, length, reusable })
    }

    async fn head(&mut self) -> io::Result<(u16, Framing, bool)> {
        let line = self.line().await?;
        let status = status(&self.buffer[line])?;
        let (mut framing, mut reusable) = (Framing::UntilClose, true);
        loop {
            let line = self.line().await?;
            let line = &self.buffer[line];
            if line.is_empty() {
                break;
            }
            let (name, value) = field(line)?;
            if name.eq_ignore_ascii_case("content-length") {
                framing = Framing::Length(value.parse().map_err(|_| wrong("a content-length that is no number"))?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case("connection") {
                reusable = !value.eq_ignore_ascii_case("close");
            }
        }
        if matches!(status, 204 | 304) {
            framing = Framing::Length(0);
        }
        Ok((status, framing, reusable))
    }

    async fn chunks(&mut self, body: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let size = chunk_size(&self.buffer[line])?;
            total += self.pass_on(size, body).await?;
            if size == 0 {
                // The trailer section ends at an empty line.
                while !self.line().await?.is_empty() {}
                return Ok(total);
            }
            if !self.line().await?.is_empty() {
                return Err(wrong("a chunk longer than it said"));
            }
        }
    }

    async fn rest(&mut self, body: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut total = 0;
        loop {
            total += self.pass_on(self.unread.len() as u64, body).await?;
            match self.fill().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(total),
                filled => filled?,
            }
        }
    }

    /// Shows the next `length` bytes to `body`.
    async fn pass_on(&mut self, length: u64, body: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut left = length;
        while left > 0 {
            if self.unread.is_empty() {
                self.fill().await?;
            }
            let piece = self.unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let end = self.unread.start + piece;
            body(&self.buffer[self.unread.start..end]);
            self.unread.start = end;
            left -= piece as u64;
        }
        Ok(length)
    }

    /// The next line without its line break.
    async fn line(&mut self) -> io::Result<Range<usize>> {
        loop {
            let start = self.unread.start;
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.unread.clone()]) {
                let end = start + length;
                self.unread.start = end + 1;
                let returned = end > start && self.buffer[end - 1] == b'\r';
                return Ok(start..end - usize::from(returned));
            }
            self.fill().await?;
        }
    }

    /// Reads more behind the unread bytes, moving them to the front when the buffer's end is reached.
    async fn fill(&mut self) -> io::Result<()> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.buffer.len() {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.buffer.len() {
            return Err(wrong("a line longer than the buffer"));
        }
        let read = self.stream.read(&mut self.buffer[self.unread.end..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread.end += read;
        Ok(())
    }
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The code of a status line such as `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> io::Result<u16> {
    let code = line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let code = code.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    code.ok_or_else(|| wrong("an answer that is not HTTP/1.1"))
}

fn field(line: &[u8]) -> io::Result<(&str, &str)> {
    let text = str::from_utf8(line).map_err(|_| wrong("a header that is not text"))?;
    let (name, value) = text.split_once(':').ok_or_else(|| wrong("a header without a colon"))?;
    Ok((name, value.trim_matches([' ', '\t'])))
}

/// The size of a chunk; extensions after a semicolon are ignored (RFC 9112, section 7.1.1).
fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let size = str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or_else(|| wrong("a chunk without a size"))
}
