//! The log as others read it, and checkpoints of partners' logs that come to be cosigned: everything under `/log/`.
//!
//! None of this is an exchange and none of it leaves an entry. Hashes, checkpoints and cosignatures go to any partner that
//! is not suspended: they tell how much is on record, and nothing of what. Entries name other partners and their business,
//! and go to our own people, and to partners that the registry lets read them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::places::Place;
use super::sides::PartnerSession;
use super::{Body, Gateway, whole};
use crate::authenticate::Partner;
use crate::forward::BodyError;
use crate::record::tiles::{BundleId, FULL, LogDirectory, TileId, TileSource as _};
use crate::record::witness::{SUBMISSION_BYTES, Witness, WitnessError};
use crate::record::{COSIGNED, Standing, end_of_lines, is_day, listed_keys};
use crate::refusal::Refusal;
use crate::types::PartyId;

/// Where the log lies on our listeners.
pub(super) const PREFIX: &str = "/log";
/// How long the body of `add-checkpoint` may take to arrive: it fits a few packets.
const SUBMISSION_TIME: Duration = Duration::from_secs(10);
/// Files of the log that are read at once. A bundle takes 16 MiB at most, so all of them take 128 MiB.
pub(super) const LOG_READS: usize = 8;
/// What is read from a long file at once.
const PIECE: usize = 64 * 1024;

/// Who witnesses us, whom we witness, and who may read what we record.
pub struct Witnessing {
    /// What makes us a witness; absent when we are none.
    pub witness: Option<Arc<Witness>>,
    /// How our own log stands with its witnesses.
    pub standing: Standing,
    /// Partners that may read entries.
    pub readers: HashSet<PartyId>,
}

impl Default for Witnessing {
    /// Nobody witnesses anybody, and nobody reads entries.
    fn default() -> Self {
        Self { witness: None, standing: Standing::alone(), readers: HashSet::new() }
    }
}

/// Who reads the log.
pub enum LogReader<'a> {
    /// Our own people.
    Own,
    /// A partner.
    Partner(&'a Partner),
}

impl Gateway {
    /// How our log stands with its witnesses, and what we are to others.
    pub fn witnessing(&self) -> &Witnessing {
        &self.witnessing
    }

    /// Anything under `/log/` for a partner that may ask for it; `None` for everything and everybody else, who go the way
    /// of all requests.
    pub(super) async fn serve_log(
        &self,
        session: &PartnerSession,
        head: &http::request::Parts,
        body: &mut Option<Incoming>,
    ) -> Option<Response<Body>> {
        let path = below_prefix(head.uri.path())?;
        let (certificate, partner) = session.known()?;
        if self.clock.now() > certificate.validity().1 || partner.is_suspended() {
            return None;
        }
        let Some(place) = self.places.take(partner.id()) else { return Some(refused(&Refusal::new("overloaded"))) };
        let answer = match (&head.method, path) {
            (&Method::POST, "add-checkpoint") => self.add_checkpoint(body).await,
            (&Method::GET, path) => self.read_log(path, &LogReader::Partner(partner)).await,
            _ => Err(Refusal::new("method_not_allowed")),
        };
        Some(match answer {
            Ok(answer) => answer.map(|body| Holding { body, _held: place }.boxed_unsync()),
            Err(refusal) => refused(&refusal),
        })
    }

    /// `GET /log/...`, for whoever may read it.
    ///
    /// # Errors
    /// The refusal of who may not, or of what is not there.
    pub async fn read_log(&self, path: &str, reader: &LogReader<'_>) -> Result<Response<Body>, Refusal> {
        if path == "checkpoint" {
            return Ok(document(self.checkpoint(), "text/plain; charset=utf-8", "no-store"));
        }
        if let Some(hash) = path.strip_prefix("witness/").and_then(|rest| rest.strip_suffix("/checkpoint")) {
            let witness = self.witnessing.witness.clone().ok_or_else(nothing)?;
            let hash = hash.to_owned();
            // It may wait for a checkpoint that is just being written.
            let note = tokio::task::spawn_blocking(move || witness.latest(&hash)).await.ok().flatten();
            return Ok(document(note.ok_or_else(nothing)?, "text/plain; charset=utf-8", "no-store"));
        }
        let bundle = BundleId::parse(path);
        if bundle.is_some() && !self.may_read(reader) {
            return Err(Refusal::new("log_entries_private"));
        }
        let turn = Arc::clone(&self.log_reads).try_acquire_owned().map_err(|_| Refusal::new("overloaded"))?;
        if let Some(day) = path.strip_prefix(COSIGNED).and_then(|rest| rest.strip_prefix('/')).filter(|day| is_day(day))
        {
            let file = self.log.directory().join(COSIGNED).join(day);
            let (file, length) = off_worker(move || whole_lines(&file)).await?;
            let body = Reading { state: State::Idle(file), left: length };
            let body = Holding { body, _held: turn }.boxed_unsync();
            return Ok(answer(body, "application/jsonl", "no-cache"));
        }
        if path == "keys" {
            let directory = self.log.directory().to_owned();
            let keys = off_worker(move || listed_keys(&directory).map_err(io::Error::other)).await?;
            return Ok(document(format!("{keys}\n"), "application/json", "no-cache"));
        }
        let full =
            bundle.map(|bundle| bundle.width).or_else(|| TileId::parse(path).map(|tile| tile.width)) == Some(FULL);
        // What is full never changes; what is partial may be asked for again under another name.
        let keeping = if full { "private, max-age=31536000, immutable" } else { "no-cache" };
        let kind = match path {
            "log.pub" => "text/plain; charset=utf-8",
            _ if path.starts_with("tile/") || path.starts_with("timestamps/") => "application/octet-stream",
            _ => return Err(nothing()),
        };
        let (directory, path) = (LogDirectory::new(self.log.directory()), path.to_owned());
        let bytes = off_worker(move || directory.read(&path)).await?;
        let body = Holding { body: whole(bytes.into()), _held: turn }.boxed_unsync();
        Ok(answer(body, kind, keeping))
    }

    fn may_read(&self, reader: &LogReader<'_>) -> bool {
        match reader {
            LogReader::Own => true,
            LogReader::Partner(partner) => self.witnessing.readers.contains(partner.id()),
        }
    }

    /// The latest checkpoint, with the cosignatures that are known for it.
    fn checkpoint(&self) -> String {
        let published = Arc::clone(&self.log.published().borrow());
        let cosigned = self.witnessing.standing.latest().filter(|cosigned| {
            // The log's own note is the beginning of every cosigned one.
            cosigned.size == published.size && cosigned.note.starts_with(&published.note)
        });
        cosigned.map_or_else(|| published.note.clone(), |cosigned| cosigned.note.clone())
    }

    /// `POST /log/add-checkpoint` (C2SP tlog-witness).
    async fn add_checkpoint(&self, body: &mut Option<Incoming>) -> Result<Response<Body>, Refusal> {
        let witness = self.witnessing.witness.clone().ok_or_else(nothing)?;
        let malformed = || Refusal::new("witness_request_malformed");
        let read = Limited::new(body.take().ok_or_else(malformed)?, SUBMISSION_BYTES).collect();
        let read = tokio::time::timeout(SUBMISSION_TIME, read).await.ok().and_then(Result::ok);
        let request = read.ok_or_else(malformed)?.to_bytes();
        let judged = tokio::task::spawn_blocking(move || witness.add_checkpoint(&request)).await;
        match judged {
            Ok(Ok(lines)) => Ok(document(lines, "text/plain; charset=utf-8", "no-store")),
            Ok(Err(WitnessError::OtherSize(size))) => {
                let mut answer = document(format!("{size}\n"), "text/x.tlog.size", "no-store");
                *answer.status_mut() = StatusCode::CONFLICT;
                Ok(answer)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(lost) => Err(WitnessError::Unkept(lost.to_string()).into()),
        }
    }
}

/// What comes after `/log/`.
pub fn below_prefix(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX)?.strip_prefix('/')
}

/// An answer that leaves no entry, and so has no exchange.
pub fn refused(refusal: &Refusal) -> Response<Body> {
    refusal.answer(None).map(whole)
}

fn nothing() -> Refusal {
    Refusal::new("path_unknown")
}

/// Reads files where that keeps nobody waiting.
async fn off_worker<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(read).await.unwrap_or_else(|lost| Err(io::Error::other(lost))) {
        Ok(read) => Ok(read),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(nothing()),
        Err(error) => {
            tracing::error!(%error, "a file of the log cannot be read");
            Err(Refusal::new("log_io"))
        }
    }
}

/// A file of lines that grows, as far as its last whole line.
fn whole_lines(path: &Path) -> io::Result<(File, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let length = end_of_lines(&mut file, length)?;
    file.seek(SeekFrom::Start(0))?;
    Ok((file, length))
}

fn document(text: String, kind: &'static str, keeping: &'static str) -> Response<Body> {
    answer(whole(Bytes::from(text)), kind, keeping)
}

fn answer(body: Body, kind: &'static str, keeping: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keeping));
    response
}

/// A payload that holds something as long as it is not gone: a place, or the memory that it stands for.
struct Holding<B, H> {
    body: B,
    _held: H,
}

/// What may be held.
trait Held: Send + Unpin {}
impl Held for Place {}
impl Held for OwnedSemaphorePermit {}

impl<B, H> HttpBody for Holding<B, H>
where
    B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
    H: Held,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A file as a payload, of which no more than a piece is in memory.
struct Reading {
    state: State,
    left: u64,
}

enum State {
    Idle(File),
    Busy(JoinHandle<io::Result<(File, Vec<u8>)>>),
    Done,
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Done) {
                State::Idle(file) if this.left > 0 => {
                    let most = this.left.min(PIECE as u64);
                    this.state = State::Busy(tokio::task::spawn_blocking(move || {
                        let mut piece = Vec::new();
                        let mut part = file.take(most);
                        part.read_to_end(&mut piece)?;
                        Ok((part.into_inner(), piece))
                    }));
                }
                State::Busy(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        this.state = State::Busy(reading);
                        return Poll::Pending;
                    };
                    let (file, piece) = match read.unwrap_or_else(|lost| Err(io::Error::other(lost))) {
                        Ok(read) => read,
                        Err(error) => return Poll::Ready(Some(Err(error.into()))),
                    };
                    if piece.is_empty() {
                        let short = io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was");
                        return Poll::Ready(Some(Err(short.into())));
                    }
                    this.left = this.left.saturating_sub(piece.len() as u64);
                    this.state = State::Idle(file);
                    return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
                }
                State::Idle(_) | State::Done => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}
