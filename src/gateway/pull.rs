//! A fetch: the payload comes with the answer, from a data service of ours or from a partner.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::checked::{Check, Checked, Trailed};
use super::journal::{Closing, Story};
use super::signed::Sending;
use super::{Arrival, Body, Gateway, NOTICE_BYTES, OBLIGATIONS, cut, faulty, whole};
use crate::decide::Direction;
use crate::enforce::{Cleared, FilteredBody};
use crate::forward::{Patient, reply_headers, request_headers};
use crate::record::Ended;
use crate::refusal::Refusal;

impl Gateway {
    /// The payload comes with the answer.
    pub(super) async fn pull(
        &self,
        story: &Story,
        arrival: &Arrival<'_>,
        cleared: &Cleared,
        request: &HeaderMap,
        closing: &Arc<Closing>,
    ) -> Result<Response<Body>, Refusal> {
        let plan = cleared.plan();
        let untouched = plan.is_pass_through();
        let mut headers = request_headers(request, untouched);
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_ENCODING);
        headers.extend(arrival.headers.clone());
        if arrival.direction == Direction::Request {
            self.sign_request(story, arrival, &mut headers, Sending::Nothing, closing)?;
        }
        let answer = arrival.client.send(cleared, story.method.clone(), &arrival.path, headers).await?;
        closing.upstream(answer.status());
        let status = answer.status();
        let (head, payload) = answer.into_parts();
        let mut check = None;
        if arrival.direction == Direction::Request {
            let refused = !status.is_success() && status != StatusCode::NOT_MODIFIED;
            check = self.answer_check(story, arrival.partner, &head, !refused, closing)?;
            if refused {
                let notice = Box::pin(self.notice(head, payload, check)).await?;
                self.partner_refused(story, status, closing);
                return Ok(notice);
            }
        }
        match status {
            StatusCode::OK => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED if untouched => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Refusal::new("upstream_not_found")),
            status if status.is_server_error() => return Err(Refusal::new("upstream_failed")),
            _ => return Err(Refusal::new("upstream_refused")),
        }
        // An answer to HEAD has no payload to carry anything out on, and its headers tell nothing of the original.
        let (filter, room) = match story.method {
            Method::HEAD => (None, None),
            _ => self.filter(cleared, &head.headers)?,
        };
        let on_end = {
            let closing = Arc::clone(closing);
            move |summary| {
                drop(room);
                closing.streamed(&summary);
            }
        };
        let mut payload = FilteredBody::new(Patient::new(Checked::new(payload, check), self.idle), filter, on_end);
        if story.version == Version::HTTP_2 {
            payload = payload.ending_when_asked();
        }
        // A payload that is not what it says is refused with a proper status while nothing of it has left.
        payload.prime().await.map_err(|error| faulty(error, "upstream_broken"))?;
        let mut headers = reply_headers(&head.headers, untouched);
        if let Some(conveyed) = plan.conveyed().and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(OBLIGATIONS.clone(), conveyed);
        } else if let Some(conveyed) =
            head.headers.get(&OBLIGATIONS).filter(|_| arrival.direction == Direction::Request)
        {
            headers.insert(OBLIGATIONS.clone(), conveyed.clone());
        }
        let trailed = self.seal_answer(story, status, &mut headers, payload.whole(), closing)?;
        if trailed {
            // Without its trailers an answer is not complete, whatever became of its last byte.
            payload = payload.ending_when_asked();
        }
        let trailed = trailed.then(|| Arc::clone(closing));
        let mut response = Response::new(Trailed::new(payload.map_err(cut), trailed).boxed_unsync());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        closing.answering(status);
        Ok(response)
    }

    /// A partner's refusal, which goes to our application as it came.
    pub(super) async fn notice(
        &self,
        head: http::response::Parts,
        body: Incoming,
        check: Option<Check>,
    ) -> Result<Response<Body>, Refusal> {
        let body = self.gathered(body, check).await?;
        let mut response = Response::new(whole(body));
        *response.status_mut() = head.status;
        *response.headers_mut() = reply_headers(&head.headers, false);
        Ok(response)
    }

    /// An answer of a partner that carries no data, checked.
    pub(super) async fn gathered(&self, body: Incoming, check: Option<Check>) -> Result<Bytes, Refusal> {
        let body = tokio::time::timeout(self.idle, Limited::new(body, NOTICE_BYTES).collect()).await;
        let body = body.ok().and_then(Result::ok).ok_or_else(|| Refusal::new("upstream_broken"))?;
        let trailers = body.trailers().cloned();
        let body = body.to_bytes();
        if let Some(check) = check {
            check.judge(trailers.as_ref(), &body)?;
        }
        Ok(body)
    }

    /// Closes an exchange that the partner refused.
    pub(super) fn partner_refused(&self, story: &Story, status: StatusCode, closing: &Closing) {
        tracing::info!(exchange = %story.exchange, status = status.as_u16(), "the partner refused");
        closing.close(Ended::Refused, Some(status.as_u16()), Some("partner_refused"), None);
    }
}
