//! A payload that may pause, but not for ever.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::BodyError;

/// The other side sent nothing for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side sent nothing for too long")]
pub struct Stalled;

/// The other side sent too little for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side sent too little for too long")]
pub struct TooSlow;

/// The least that a side has to send. Time counts only while it is waited for, so that nobody is blamed for what others
/// are slow to take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Bytes in each [`Pace::within`].
    pub bytes: u64,
    /// How much waiting these bytes may cost.
    pub within: Duration,
}

impl Pace {
    /// 500 bytes a second on the whole, which the worst of lines gives: who sends a byte now and then holds a place
    /// that others need.
    pub const UPLOAD: Self = Self { bytes: 30_000, within: Duration::from_secs(60) };
}

/// A body that fails with [`Stalled`] when no frame comes for `limit`. The timer exists only while one is waited for.
pub struct Patient<B> {
    body: B,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    pace: Option<Kept>,
}

/// A pace, and how it is kept.
struct Kept {
    pace: Pace,
    bytes: u64,
    waited: Duration,
}

impl Kept {
    /// Takes in what came after waiting since `began`, if it had to be waited for.
    fn came(&mut self, bytes: usize, began: Option<Instant>) -> Result<(), TooSlow> {
        self.bytes += bytes as u64;
        self.waited += began.map_or(Duration::ZERO, |began| began.elapsed());
        if self.waited < self.pace.within {
            return Ok(());
        }
        let enough = self.bytes >= self.pace.bytes;
        (self.bytes, self.waited) = (0, Duration::ZERO);
        if enough { Ok(()) } else { Err(TooSlow) }
    }
}

impl<B> Patient<B> {
    /// Wraps `body`.
    pub fn new(body: B, limit: Duration) -> Self {
        Self { body, limit, waiting: None, pace: None }
    }

    /// Fails with [`TooSlow`], too, when less comes than `pace` demands.
    #[must_use]
    pub fn at(mut self, pace: Pace) -> Self {
        self.pace = Some(Kept { pace, bytes: 0, waited: Duration::ZERO });
        self
    }
}

impl<B> Body for Patient<B>
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
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let (waiting, limit) = (self.waiting.take(), self.limit);
            if let (Some(Ok(frame)), Some(pace)) = (&frame, &mut self.pace) {
                let began = waiting.and_then(|waiting| waiting.deadline().checked_sub(limit));
                if let Err(slow) = pace.came(frame.data_ref().map_or(0, Bytes::len), began) {
                    return Poll::Ready(Some(Err(slow.into())));
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Stalled.into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// A source that gives a few bytes every now and then: time itself is what is looked at here.
    struct Drip {
        pause: Pin<Box<Sleep>>,
        bytes: &'static [u8],
    }

    const NOW_AND_THEN: Duration = Duration::from_millis(4);

    fn drip(bytes: &'static [u8]) -> Drip {
        Drip { pause: Box::pin(tokio::time::sleep(NOW_AND_THEN)), bytes }
    }

    impl Body for Drip {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            std::task::ready!(self.pause.as_mut().poll(context));
            self.pause = Box::pin(tokio::time::sleep(NOW_AND_THEN));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.bytes)))))
        }
    }

    #[tokio::test]
    async fn a_trickle_is_cut_and_a_slow_line_is_not() {
        let patience = Duration::from_secs(60);
        let pace = Pace { bytes: 50, within: NOW_AND_THEN * 5 };
        let mut trickle = Patient::new(drip(b"x"), patience).at(pace);
        let error = loop {
            match trickle.frame().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(error.is::<TooSlow>(), "{error}");
        let mut slow = Patient::new(drip(&[0; 200]), patience).at(pace);
        for _ in 0..20 {
            slow.frame().await.unwrap().unwrap();
        }
        // Without a pace a trickle may go on.
        let mut free = Patient::new(drip(b"x"), patience);
        for _ in 0..20 {
            free.frame().await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn silence_is_cut() {
        let mut silent = drip(b"x");
        silent.pause = Box::pin(tokio::time::sleep(Duration::from_secs(60)));
        let error = Patient::new(silent, NOW_AND_THEN).frame().await.unwrap().unwrap_err();
        assert!(error.is::<Stalled>(), "{error}");
    }
}
