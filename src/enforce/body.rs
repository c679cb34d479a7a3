//! A body on its way through: pulled, digested before and after, filtered between, and accounted for at its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::{CarriedOut, EnforceError, Filter};
use crate::types::{Digest, Hasher};

/// The most bytes in one frame of a filtered body, and the most that [`FilteredBody::prime`] looks ahead.
pub const CHUNK: usize = 64 * 1024;

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything was taken in, and everything that may leave was handed on: given to the connection, which is not yet
    /// to say that it arrived.
    Complete,
    /// The source failed, or whoever was to take the body let go of it.
    Broken,
    /// The payload could not be enforced.
    Failed(EnforceError),
}

/// What passed, for the outcome entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Bytes taken in.
    pub bytes_in: u64,
    /// Bytes handed on.
    pub bytes_out: u64,
    /// Digest of the bytes taken in.
    pub digest_before: Digest,
    /// Digest of the bytes handed on.
    pub digest_after: Digest,
    /// What the filter did; empty without one.
    pub carried: Vec<CarriedOut>,
    /// How it ended.
    pub ended: Ended,
}

/// Why a filtered body fails.
#[derive(Debug, thiserror::Error)]
pub enum BodyError<E> {
    /// The body that is filtered failed.
    #[error("the source of the payload failed")]
    Source(#[source] E),
    /// An obligation could not be carried out.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
}

/// Filters a body and reports once, whatever happens to it.
///
/// Without a filter, frames pass as they came, uncopied, and a known length stays known. With one, the length is
/// unknown, frames have at most [`CHUNK`] bytes, and any failure is a body error: the connection is cut, so that a
/// part can never be taken for the whole. Trailers do not pass, since they may speak of bytes that did not leave.
pub struct FilteredBody<B> {
    source: B,
    filter: Option<Filter>,
    /// Bytes of the source that the filter has not seen.
    unread: Bytes,
    /// What may be handed on.
    ready: BytesMut,
    /// The same, without a filter.
    passed: Bytes,
    stage: Stage,
    bytes_in: u64,
    bytes_out: u64,
    /// Of what came in; without a filter it is not kept, since what leaves is the same.
    before: Option<Hasher>,
    after: Hasher,
    /// See [`FilteredBody::ending_when_asked`].
    ends_when_asked: bool,
    report: Option<Report>,
}

type Report = Box<dyn FnOnce(Summary) + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The source may have more.
    Reading,
    /// The source has ended and the filter has finished; what is ready may still be handed on.
    Drained,
    /// An error was given: there is nothing more.
    Failed,
}

impl<B> FilteredBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Puts `filter` before `source`. `report` is called exactly once: at the end, at a failure, or when this value is
    /// dropped before either.
    pub fn new(source: B, filter: Option<Filter>, report: impl FnOnce(Summary) + Send + 'static) -> Self {
        Self {
            source,
            before: filter.is_some().then(Hasher::new),
            filter,
            unread: Bytes::new(),
            ready: BytesMut::new(),
            passed: Bytes::new(),
            stage: Stage::Reading,
            bytes_in: 0,
            bytes_out: 0,
            after: Hasher::new(),
            ends_when_asked: false,
            report: Some(Box::new(report)),
        }
    }

    /// Holds the end back until it is asked for. Over HTTP/2 a frame is taken before there is room for it on its stream,
    /// and only when there was is the next one asked for; so an answer whose last frame is refused room is broken, not
    /// complete. Not for HTTP/1.1, which takes a frame when it can send it and asks no further once the length is met.
    #[must_use]
    pub fn ending_when_asked(mut self) -> Self {
        self.ends_when_asked = true;
        self
    }

    /// Looks ahead, so that a payload that is refused at its head is refused before anything is sent: waits for the
    /// first byte that may leave, the end, or a failure; then goes on as far as the source does not make it wait, to
    /// at most [`CHUNK`] bytes. Nothing is lost; what was found is handed on afterwards.
    ///
    /// # Errors
    /// As the body itself would; the body is over then, and has reported.
    pub async fn prime(&mut self) -> Result<(), BodyError<B::Error>> {
        poll_fn(|context| {
            while self.stage == Stage::Reading && self.waiting() < CHUNK {
                match self.advance(context) {
                    Poll::Ready(Ok(())) if self.filter.is_none() && self.waiting() > 0 => break,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending if self.waiting() > 0 => break,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// All that is handed on, if that is known already and nothing of it has left yet.
    pub fn whole(&self) -> Option<&[u8]> {
        let whole = if self.filter.is_none() { &self.passed[..] } else { &self.ready[..] };
        (self.stage == Stage::Drained && self.bytes_out == 0 && whole.len() <= CHUNK).then_some(whole)
    }

    /// Bytes that may be handed on.
    fn waiting(&self) -> usize {
        self.ready.len() + self.passed.len()
    }

    /// Takes one step: one frame of the source, or one piece of it into the filter.
    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BodyError<B::Error>>> {
        if self.unread.is_empty() {
            let data = match ready!(Pin::new(&mut self.source).poll_frame(context)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    self.fail(Ended::Broken);
                    return Poll::Ready(Err(BodyError::Source(error)));
                }
                None => return Poll::Ready(self.end_source()),
            };
            self.bytes_in += data.len() as u64;
            if self.filter.is_none() {
                self.passed = data;
            } else {
                self.unread = data;
            }
        }
        if let Some(filter) = &mut self.filter
            && !self.unread.is_empty()
        {
            let piece = self.unread.split_to(self.unread.len().min(CHUNK));
            if let Some(before) = &mut self.before {
                before.update(&piece);
            }
            let held = self.ready.len();
            if let Err(error) = filter.push(&piece, &mut self.ready) {
                self.ready.truncate(held);
                return Poll::Ready(Err(self.refuse(error)));
            }
        }
        // A server may stop asking when the length it knows has come, without waiting for the end.
        let over = self.source.is_end_stream() || self.source.size_hint().exact() == Some(0);
        if self.unread.is_empty() && over {
            return Poll::Ready(self.end_source());
        }
        Poll::Ready(Ok(()))
    }

    fn end_source(&mut self) -> Result<(), BodyError<B::Error>> {
        if let Some(filter) = &mut self.filter {
            let held = self.ready.len();
            if let Err(error) = filter.finish(&mut self.ready) {
                self.ready.truncate(held);
                return Err(self.refuse(error));
            }
        }
        self.stage = Stage::Drained;
        Ok(())
    }

    fn refuse(&mut self, error: EnforceError) -> BodyError<B::Error> {
        self.fail(Ended::Failed(error.clone()));
        BodyError::Enforce(error)
    }

    fn fail(&mut self, ended: Ended) {
        self.stage = Stage::Failed;
        self.ready.clear();
        self.passed.clear();
        self.unread.clear();
        self.account(ended);
    }
}

impl<B> FilteredBody<B> {
    fn account(&mut self, ended: Ended) {
        let Some(report) = self.report.take() else { return };
        let digest_after = self.after.clone().finish();
        // Bytes that were taken in and never handed on belong to `before` alone; without a filter they never count.
        let digest_before = self.before.clone().map_or(digest_after, Hasher::finish);
        report(Summary {
            bytes_in: if self.before.is_some() { self.bytes_in } else { self.bytes_out },
            bytes_out: self.bytes_out,
            digest_before,
            digest_after,
            carried: self.filter.as_ref().map(Filter::carried).unwrap_or_default(),
            ended,
        });
    }

    fn is_over(&self) -> bool {
        let told = !self.ends_when_asked || self.bytes_out == 0 || self.report.is_none();
        told && self.stage == Stage::Drained && self.ready.is_empty() && self.passed.is_empty()
    }
}

impl<B> Body for FilteredBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        while this.stage == Stage::Reading && this.waiting() == 0 {
            if let Err(error) = ready!(this.advance(context)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
        let chunk = if this.filter.is_none() {
            std::mem::take(&mut this.passed)
        } else {
            this.ready.split_to(this.ready.len().min(CHUNK)).freeze()
        };
        if chunk.is_empty() {
            if this.stage == Stage::Drained {
                this.account(Ended::Complete);
            }
            return Poll::Ready(None);
        }
        this.bytes_out += chunk.len() as u64;
        this.after.update(&chunk);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.waiting() as u64;
        match (self.stage, self.filter.is_some()) {
            (Stage::Failed, _) => SizeHint::new(),
            (Stage::Drained, _) => SizeHint::with_exact(waiting),
            (Stage::Reading, true) => SizeHint::new(),
            (Stage::Reading, false) => {
                let source = self.source.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(source.lower().saturating_add(waiting));
                if let Some(upper) = source.upper().and_then(|upper| upper.checked_add(waiting)) {
                    hint.set_upper(upper);
                }
                hint
            }
        }
    }
}

impl<B> Drop for FilteredBody<B> {
    fn drop(&mut self) {
        let ended = if self.is_over() { Ended::Complete } else { Ended::Broken };
        self.account(ended);
    }
}
