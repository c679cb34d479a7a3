//! A push: the payload comes with the request, and what left is on record however the exchange ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

use super::checked::{Checked, Trailed};
use super::journal::{Closing, Story};
use super::signed::Sending;
use super::{Arrival, Body, Gateway, OBLIGATIONS, cut, faulty, linger, whole};
use crate::decide::Direction;
use crate::enforce::{Cleared, Ended as StreamEnded, FilteredBody};
use crate::forward::{Pace, Patient, Upload, request_headers};
use crate::record::Ended;
use crate::refusal::Refusal;

/// How long to wait for the account of a payload that was given up. It is there when its connection had one more turn.
const ACCOUNT: Duration = Duration::from_secs(1);

impl Gateway {
    /// Sends the payload of a request on, and answers once the other side took it whole.
    pub(super) async fn push(
        &self,
        story: &mut Story,
        arrival: &Arrival<'_>,
        cleared: &Cleared,
        request: &HeaderMap,
        body: &mut Option<Incoming>,
        closing: &Arc<Closing>,
    ) -> Result<Response<Body>, Refusal> {
        let plan = cleared.plan();
        let (filter, room) = self.filter(cleared, request)?;
        let body = body.take().ok_or_else(|| Refusal::new("upload_broken"))?;
        let (told, mut over) = oneshot::channel();
        let on_end = {
            let closing = Arc::clone(closing);
            move |summary| {
                drop(room);
                closing.pushed(summary);
                // Nobody listens only when the exchange was dropped, and then `Closing` tells its end.
                let _ = told.send(());
            }
        };
        let check = match arrival.direction {
            Direction::Import => self.payload_check(story, arrival.partner, closing),
            Direction::Export | Direction::Request => None,
        };
        let source = Patient::new(Checked::new(Sent::new(body), check), self.idle).at(Pace::UPLOAD);
        let mut payload = FilteredBody::new(source, filter, on_end);
        payload.prime().await.map_err(|error| faulty(error, "upload_broken"))?;
        let mut headers = request_headers(request, false);
        headers.extend(arrival.headers.clone());
        if let Some(conveyed) = plan.conveyed().and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(OBLIGATIONS.clone(), conveyed);
        }
        let mut trailed = false;
        if arrival.direction == Direction::Export {
            let sending = payload.whole().map_or(Sending::Streamed, Sending::Whole);
            trailed = self.sign_request(story, arrival, &mut headers, sending, closing)?;
        }
        let upload = Upload::new(Trailed::new(payload.map_err(cut), trailed.then(|| Arc::clone(closing))));
        let answer = arrival.client.upload(cleared, story.method.clone(), &arrival.path, headers, &upload).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                account(&mut over).await;
                // When the payload itself was at fault, that is the reason to tell.
                return Err(payloads_fault(closing, &upload).unwrap_or_else(|| error.into()));
            }
        };
        let status = answer.status();
        closing.upstream(status);
        if !status.is_success() {
            // The other side may refuse before it has read everything: what it does not want does not leave any more.
            // A partner's reasons are worth more than the rest of the payload, and come over the same connection.
            upload.halt();
            let notice = match arrival.direction {
                Direction::Export => Some(self.checked_notice(story, arrival, answer, closing).await),
                Direction::Import | Direction::Request => None,
            };
            upload.abort();
            account(&mut over).await;
            return match notice {
                Some(notice) => {
                    let notice = notice?;
                    self.partner_refused(story, status, closing);
                    Ok(notice)
                }
                None => Err(payloads_fault(closing, &upload).unwrap_or_else(|| {
                    Refusal::new(if status.is_server_error() { "upstream_failed" } else { "upstream_refused" })
                })),
            };
        }
        // An answer may begin before the payload has ended, and whoever wrote it may read no further.
        let stalled = tokio::select! {
            biased;
            _ = &mut over => false,
            () = arrival.client.stalled(&upload) => true,
        };
        if stalled {
            upload.abort();
            account(&mut over).await;
        }
        let Some(summary) = closing.sent().filter(|summary| summary.ended == StreamEnded::Complete) else {
            let others = if stalled { "upstream_timeout" } else { "upstream_broken" };
            return Err(payloads_fault(closing, &upload).unwrap_or_else(|| Refusal::new(others)));
        };
        if arrival.direction == Direction::Export {
            let (head, body) = answer.into_parts();
            let check = self.answer_check(story, arrival.partner, &head, false, closing)?;
            self.gathered(body, check).await?;
        }
        let receipt = serde_json::json!({
            "exchange": story.exchange,
            "bytes": summary.bytes_out,
            "digest": summary.digest_after,
        });
        let mut response = Response::new(Bytes::from(format!("{receipt}\n")));
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.seal_whole(story, &mut response, closing);
        closing.close(Ended::Complete, Some(StatusCode::CREATED.as_u16()), None, Some(summary));
        Ok(response.map(whole))
    }

    /// A partner's refusal of what we send.
    async fn checked_notice(
        &self,
        story: &Story,
        arrival: &Arrival<'_>,
        answer: Response<Incoming>,
        closing: &Arc<Closing>,
    ) -> Result<Response<Body>, Refusal> {
        let (head, body) = answer.into_parts();
        let check = self.answer_check(story, arrival.partner, &head, false, closing)?;
        self.notice(head, body, check).await
    }
}

/// The refusal for a payload that failed by itself or with its sender, rather than on the other side.
fn payloads_fault(closing: &Closing, upload: &Upload) -> Option<Refusal> {
    match closing.sent().map(|summary| &summary.ended) {
        Some(StreamEnded::Failed(fault)) => Some(fault.clone().into()),
        _ => upload.failed().then(|| Refusal::new(closing.blame().unwrap_or("upload_broken"))),
    }
}

/// Waits for the account of a payload that was given up.
async fn account(over: &mut oneshot::Receiver<()>) {
    if tokio::time::timeout(ACCOUNT, over).await.is_err() {
        tracing::warn!("a payload that was given up is still held");
    }
}

/// What a sender sends. Where it is let go of midway, the rest is still read for a while, so that the answer arrives.
struct Sent {
    body: Option<Incoming>,
}

impl Sent {
    fn new(body: Incoming) -> Self {
        Self { body: Some(body) }
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        linger(self.body.take());
    }
}
