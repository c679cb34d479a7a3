//! Payloads whose digests and signatures are looked at as they stream: checked before their end is believed, and sent
//! with trailers that say what they were.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use super::journal::Closing;
use crate::authenticate::AuthenticateError;
use crate::forward::BodyError;
use crate::types::{Digest, Hasher};

/// What judges a payload once all of it came: by its trailers, if there are any, and its digest.
pub(super) type Verdict = Box<dyn FnOnce(Option<&HeaderMap>, Digest) -> Result<(), AuthenticateError> + Send>;

/// How a payload is to be checked.
pub(super) struct Check {
    hasher: Hasher,
    verdict: Verdict,
    /// Signature or digest come as trailers, so that the end of the data is not yet the end.
    trailers: bool,
}

impl Check {
    pub(super) fn new(trailers: bool, verdict: Verdict) -> Self {
        Self { hasher: Hasher::new(), verdict, trailers }
    }

    /// Judges a payload that is there whole.
    pub(super) fn judge(mut self, trailers: Option<&HeaderMap>, content: &[u8]) -> Result<(), AuthenticateError> {
        self.hasher.update(content);
        (self.verdict)(trailers, self.hasher.finish())
    }
}

/// A payload as it comes in. Its last bytes are handed on only after all of it was found to be what it should, so that
/// whoever takes it can never take it for whole before; without a check it passes as it is.
pub(super) struct Checked<B> {
    body: B,
    check: Option<Check>,
    failed: bool,
}

impl<B> Checked<B> {
    pub(super) fn new(body: B, check: Option<Check>) -> Self {
        Self { body, check, failed: false }
    }

    fn judge(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BodyError> {
        let Some(Check { hasher, verdict, .. }) = self.check.take() else { return Ok(()) };
        let judged = verdict(trailers, hasher.finish());
        self.failed = judged.is_err();
        judged.map_err(Into::into)
    }
}

impl<B> Body for Checked<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(check) = &mut self.check else {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(self.judge(None).err().map(Err)),
        };
        match frame.into_data() {
            Ok(data) => {
                check.hasher.update(&data);
                // Where the length is known, nobody may ask for more than that.
                let last = self.body.is_end_stream() || self.body.size_hint().exact() == Some(0);
                if last && !self.check.as_ref().is_some_and(|check| check.trailers) {
                    self.judge(None)?;
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                Poll::Ready(self.judge(Some(&trailers)).err().map(Err))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || (self.check.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.check {
            // Who knew the length could take the payload for whole before its trailers came.
            Some(check) if check.trailers => SizeHint::new(),
            _ => self.body.size_hint(),
        }
    }
}

/// A payload on its way out that ends with the trailers that its exchange has by then; as it is where there are none to
/// come.
pub(super) struct Trailed<B> {
    body: B,
    /// Where the trailers come from, until they left.
    signing: Option<Arc<Closing>>,
}

impl<B> Trailed<B> {
    pub(super) fn new(body: B, signing: Option<Arc<Closing>>) -> Self {
        Self { body, signing }
    }
}

impl<B> Body for Trailed<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match (frame, &self.signing) {
            (None, Some(signing)) => {
                let trailers = signing.trailers();
                self.signing = None;
                // Without them the payload would look whole and unsigned, so the connection is cut.
                let trailers = trailers.ok_or_else(|| BodyError::from("the payload could not be signed"));
                Poll::Ready(Some(trailers.map(Frame::trailers)))
            }
            (frame, _) => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.signing.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.signing {
            // A known length would leave no room for trailers.
            Some(_) => SizeHint::new(),
            None => self.body.size_hint(),
        }
    }
}
