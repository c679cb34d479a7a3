//! A payload on its way to the other side, watched: who keeps it waiting, how long that is borne, and how it is given up.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::task::AbortHandle;

use super::{BodyError, Payload};

/// A request's payload and what has become of it. Dropped before its payload has ended, it gives the payload up: else a
/// connection that the other side does not read would hold it, and the exchange behind it, for ever.
pub struct Upload {
    progress: Arc<Progress>,
    payload: Mutex<Option<Payload>>,
    /// The connection that the payload is sent over.
    connection: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Progress {
    /// How often the other side was given something, the end included.
    given: AtomicU64,
    /// The source has nothing at the moment, so nobody waits for the other side.
    dry: AtomicBool,
    /// The source failed.
    failed: AtomicBool,
    /// Nothing more may leave.
    halted: AtomicBool,
    /// The payload was let go of, at its end or before.
    over: AtomicBool,
}

impl Upload {
    /// A payload that is yet to be sent.
    pub fn new<B>(payload: B) -> Self
    where
        B: Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
    {
        let progress = Arc::new(Progress::default());
        let payload = Watched { body: payload, progress: Arc::clone(&progress) }.boxed_unsync();
        Self { progress, payload: Mutex::new(Some(payload)), connection: Mutex::default() }
    }

    /// The payload, for the one request that carries it.
    pub(super) fn take(&self) -> Option<Payload> {
        self.payload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes the connection that the payload is about to be sent over.
    pub(super) fn goes_over(&self, connection: AbortHandle) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    /// Returns once the other side took nothing for `limit`, or for up to twice that. A source that has nothing to give
    /// is not the other side's silence.
    pub async fn stalled(&self, limit: Duration) {
        loop {
            let before = self.progress.given.load(Ordering::Relaxed);
            tokio::time::sleep(limit).await;
            let dry = self.progress.dry.load(Ordering::Relaxed);
            if !dry && self.progress.given.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    /// Whether it was the payload's source that failed, rather than the other side.
    pub fn failed(&self) -> bool {
        self.progress.failed.load(Ordering::Relaxed)
    }

    /// Gives the other side nothing more; its answer may still be read.
    pub fn halt(&self) {
        self.progress.halted.store(true, Ordering::Relaxed);
    }

    /// Gives the payload up, and its connection with it. The payload is dropped soon after; without effect once it is.
    pub fn abort(&self) {
        self.halt();
        drop(self.take());
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A connection whose payload has ended may serve another exchange already.
        if let Some(connection) = connection.filter(|_| !self.progress.over.load(Ordering::Acquire)) {
            connection.abort();
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.abort();
    }
}

struct Watched<B> {
    body: B,
    progress: Arc<Progress>,
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.progress.halted.load(Ordering::Relaxed) {
            // Nothing will wake this: whoever halts gives the connection up.
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let progress = &self.progress;
        match &polled {
            Poll::Pending => progress.dry.store(true, Ordering::Relaxed),
            Poll::Ready(given) => {
                progress.failed.fetch_or(matches!(given, Some(Err(_))), Ordering::Relaxed);
                progress.given.fetch_add(1, Ordering::Relaxed);
                progress.dry.store(false, Ordering::Relaxed);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        self.progress.dry.store(false, Ordering::Relaxed);
        self.progress.over.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    /// A source that gives what it is fed.
    struct Fed(mpsc::UnboundedReceiver<Bytes>);

    impl Body for Fed {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[tokio::test]
    async fn a_source_that_pauses_is_not_the_other_sides_silence() {
        let (feeder, pieces) = mpsc::unbounded_channel();
        let upload = Upload::new(Fed(pieces));
        let mut payload = upload.take().unwrap();
        feeder.send(Bytes::from_static(b"a")).unwrap();
        assert_eq!(payload.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        // The other side asks for more, and there is nothing: however long that takes, it is not stalled.
        let stalled = tokio::time::timeout(LIMIT * 5, upload.stalled(LIMIT));
        tokio::select! {
            biased;
            given = payload.frame() => panic!("{given:?}"),
            stalled = stalled => assert!(stalled.is_err(), "the source's pause was held against the other side"),
        }
        // Now there is more, and the other side does not ask.
        feeder.send(Bytes::from_static(b"b")).unwrap();
        payload.frame().await.unwrap().unwrap();
        upload.stalled(LIMIT).await;
    }

    #[tokio::test]
    async fn what_is_given_up_is_let_go_of() {
        let (feeder, pieces) = mpsc::unbounded_channel();
        let upload = Upload::new(Fed(pieces));
        let mut payload = upload.take().unwrap();
        feeder.send(Bytes::from_static(b"a")).unwrap();
        upload.halt();
        let given = tokio::time::timeout(LIMIT, payload.frame()).await;
        assert!(given.is_err(), "something left after the halt");
        let connection = tokio::spawn(async move { payload.frame().await.is_some() });
        upload.goes_over(connection.abort_handle());
        drop(upload);
        assert!(connection.await.unwrap_err().is_cancelled());
        assert!(feeder.is_closed());
    }

    #[tokio::test]
    async fn a_connection_whose_payload_ended_is_left_alone() {
        let (_, pieces) = mpsc::unbounded_channel();
        let upload = Upload::new(Fed(pieces));
        let mut payload = upload.take().unwrap();
        assert!(payload.frame().await.is_none());
        drop(payload);
        let (go_on, gone_on) = tokio::sync::oneshot::channel::<()>();
        let connection = tokio::spawn(gone_on);
        upload.goes_over(connection.abort_handle());
        drop(upload);
        go_on.send(()).unwrap();
        connection.await.unwrap().unwrap();
    }
}
