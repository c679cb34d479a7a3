//! `POST /receipts`: takes the receipts that a partner sends, and sends ours.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::receipts::{Receipt, Standing};
use super::sides::PartnerSession;
use super::signed::Proof;
use super::{Body, Gateway, refused, whole};
use crate::authenticate::Partner;
use crate::authenticate::signature::{Fields, Purpose, Signature, receipt};
use crate::record::{Pending, ReceiptEntry};
use crate::refusal::Refusal;
use crate::types::{ExchangeId, PartyId};

/// The most receipts in one request.
pub const AT_ONCE: usize = 100;
/// The most bytes of such a request: a receipt has well under a kilobyte.
const REQUEST_BYTES: usize = AT_ONCE * 4 * 1024;

/// What became of one receipt: one line of the answer.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exchange: Option<ExchangeId>,
    result: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// A receipt that was looked at.
enum Judged {
    Recorded(Pending),
    Known,
    Refused(&'static str),
}

impl Gateway {
    /// Whether a partner is refused until it sends receipts that it owes.
    pub fn owes_too_many(&self, partner: &Partner) -> bool {
        self.receipts.is_past(partner.id(), partner.owed_at_most(), self.clock.now())
    }

    /// `POST /receipts` on the partner listener. Each receipt stands alone: a wrong one keeps no right one out.
    /// `None` for everything and everybody else, who go the way of all requests.
    pub(super) async fn take_receipts(
        &self,
        session: &PartnerSession,
        head: &http::request::Parts,
        body: &mut Option<Incoming>,
    ) -> Option<Response<Body>> {
        if head.method != Method::POST || head.uri.path() != "/receipts" {
            return None;
        }
        let (certificate, partner) = session.known()?;
        if self.clock.now() > certificate.validity().1 || partner.is_suspended() {
            return None;
        }
        let body = body.take()?;
        Some(match Box::pin(self.read_receipts(partner, body)).await {
            Ok(lines) => {
                let mut response = Response::new(whole(Bytes::from(lines)));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
                response
            }
            Err(refusal) => {
                tracing::info!(code = refusal.code(), "receipts were refused");
                refused(&refusal)
            }
        })
    }

    async fn read_receipts(&self, partner: &Partner, body: Incoming) -> Result<String, Refusal> {
        let _place = self.places.take(partner.id()).ok_or_else(|| Refusal::new("overloaded"))?;
        let body = tokio::time::timeout(self.idle, Limited::new(body, REQUEST_BYTES).collect()).await;
        let refused = |code| {
            self.receipts.refused(partner.id(), code);
            Refusal::new(code)
        };
        let body = body.map_err(|_| refused("receipts_broken"))?.map_err(|error| {
            refused(if error.is::<http_body_util::LengthLimitError>() {
                "receipts_too_many"
            } else {
                "receipts_broken"
            })
        })?;
        let body = body.to_bytes();
        let lines: Vec<&[u8]> =
            body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
        if lines.len() > AT_ONCE {
            return Err(refused("receipts_too_many"));
        }
        let mut judged = Vec::with_capacity(lines.len());
        for line in lines {
            let Ok(given) = serde_json::from_slice::<Receipt>(line) else {
                judged.push((None, Judged::Refused("receipt_malformed")));
                continue;
            };
            let fate = match self.judge(partner, &given) {
                Ok(fate) => fate,
                Err(refusal) => Judged::Refused(refusal.code()),
            };
            judged.push((Some(given.exchange), fate));
        }
        let mut answer = String::new();
        for (exchange, fate) in judged {
            let (result, code) = match fate {
                // Acknowledged only once it is durable: the partner forgets it then.
                Judged::Recorded(pending) => match pending.durable().await {
                    Ok(_) => {
                        exchange.iter().for_each(|exchange| self.receipts.received(partner.id(), *exchange));
                        ("recorded", None)
                    }
                    Err(error) => return Err(error.into()),
                },
                Judged::Known => ("known", None),
                Judged::Refused(code) => {
                    self.receipts.refused(partner.id(), code);
                    tracing::warn!(partner = %partner.id(), code, "a receipt was refused");
                    ("refused", Some(code.to_owned()))
                }
            };
            let line = Outcome { exchange, result: result.to_owned(), code };
            answer.push_str(&serde_json::to_string(&line).unwrap_or_default());
            answer.push('\n');
        }
        Ok(answer)
    }

    /// Holds a receipt against what was sent. An exchange of somebody else is as unknown as one that never was.
    fn judge(&self, partner: &Partner, given: &Receipt) -> Result<Judged, Refusal> {
        let sent = match self.receipts.standing(partner.id(), &given.exchange) {
            Standing::Owed(sent) => sent,
            Standing::Known => return Ok(Judged::Known),
            Standing::Unknown => return Err(Refusal::new("receipt_unknown")),
        };
        let covered = receipt(sent.status, &given.exchange.to_string(), &sent.digest, &sent.member);
        let fields = Fields::new(&given.signature_input, &given.signature);
        let now = self.clock.now();
        let signature = Signature::check(partner, Purpose::Receipt, &covered, &fields, now)?;
        let proof = Proof::receipt(partner.id(), &signature);
        let entry =
            ReceiptEntry { exchange: given.exchange, at: now, party: partner.id(), signatures: [proof.entry()] };
        Ok(Judged::Recorded(self.log.append_soon(self.log.seal(&entry)?)?))
    }

    /// Posts the receipts that a partner is to get, as many as go at once. Whether there are more.
    ///
    /// # Errors
    /// The refusal that an exchange would have met: the receipts are kept, to be posted again.
    pub async fn post_receipts(&self, partner: &PartyId) -> Result<bool, Refusal> {
        let receipts = self.receipts.unposted(partner, AT_ONCE);
        let client = self.gateways.get(partner).ok_or_else(|| Refusal::new("party_unknown"))?;
        if receipts.is_empty() {
            return Ok(false);
        }
        let lines = receipts.iter().filter_map(|receipt| serde_json::to_string(receipt).ok());
        let body: String = lines.map(|line| line + "\n").collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        let answer = client.word(Method::POST, "/receipts", headers, Bytes::from(body)).await?;
        let status = answer.status();
        let answer = tokio::time::timeout(self.idle, Limited::new(answer.into_body(), REQUEST_BYTES).collect()).await;
        let answer = answer.ok().and_then(Result::ok).ok_or_else(|| Refusal::new("upstream_broken"))?.to_bytes();
        if status != StatusCode::OK {
            tracing::info!(%partner, status = status.as_u16(), "receipts were not taken");
            return Err(Refusal::new("upstream_refused"));
        }
        let mut over = Vec::with_capacity(receipts.len());
        for line in answer.split(|byte| *byte == b'\n') {
            let Ok(outcome) = serde_json::from_slice::<Outcome>(line) else { continue };
            let Some(exchange) = outcome.exchange else { continue };
            if outcome.result == "refused" {
                // It is on record with us; that the partner does not take it is for people to look at.
                tracing::warn!(%partner, %exchange, code = outcome.code, "the partner refused a receipt");
            }
            over.push(exchange);
        }
        if over.is_empty() {
            return Err(Refusal::new("upstream_refused"));
        }
        self.receipts.posted(partner, &over);
        Ok(!self.receipts.unposted(partner, 1).is_empty())
    }
}
