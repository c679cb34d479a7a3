//! A request's life, top to bottom. The only file that names all six rooms, and the only one that calls them in turn.
//!
//! ```text
//! accept -> authenticate -> decide -> enforce -> (the decision is durable) -> forward -> (the outcome is recorded)
//! ```
//!
//! `Gateway::cross` is that walk, the same in all directions. Whatever ends it early is a [`Refusal`], and
//! `Gateway::refuse` is the one way out for all of them: it records first and answers then.

mod journal;
mod logs;
mod places;
mod push;
mod setup;
mod sides;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::authenticate::{AuthenticateError, Partner, Partners, PassMinter, PassVerifier, Statements, Tls};
use crate::decide::{
    Agreement, Agreements, Approvals, Dataset, DecideError, Direction, InForce, Permit, PolicySet, Question, Ruling,
    rule,
};
use crate::enforce::{BodyError as PayloadError, Cleared, Context, EnforceError, Filter, FilteredBody, PseudonymKeys};
use crate::forward::{BodyError, Client, Patient, reply_headers, request_headers};
use crate::record::{Declaration, Ended, InputStore, Log, RecordError, SubjectStore};
use crate::refusal::Refusal;
use crate::types::{Clock, DatasetId, ExchangeId, Facts, PartyId};

use journal::{Closing, Story};
pub use logs::{LogReader, Witnessing, below_prefix, refused};
use places::{Place, Places};
pub use setup::{DatasetSetup, Setup, SetupError};
use setup::{ExchangeIds, HandshakeRecords};
pub use sides::{LocalSide, PartnerSession, PartnerSide};

/// The exchange's id, on requests and answers between gateways and to applications.
pub static EXCHANGE: HeaderName = HeaderName::from_static("sekisho-exchange");
/// The obligations that accompany a payload, as a JSON array.
pub static OBLIGATIONS: HeaderName = HeaderName::from_static("sekisho-obligations");

/// How long we go on reading the payload of a request that was answered without it. A connection that is closed while
/// more comes in is reset, and the answer may be lost with it.
const LINGER: Duration = Duration::from_secs(5);

/// The largest answer of a partner that carries no data, such as a refusal or the receipt of a push.
const NOTICE_BYTES: usize = 64 * 1024;

/// An answer's payload.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

/// One organisation's gateway.
pub struct Gateway {
    us: PartyId,
    our_facts: Facts,
    tls: Tls,
    admin_anchors: Vec<CertificateDer<'static>>,
    partners: Arc<Partners>,
    passes: PassVerifier,
    minter: PassMinter,
    subject: String,
    policies: InForce,
    statements: Statements,
    approvals: Approvals,
    agreements: Agreements,
    routes: HashMap<DatasetId, Arc<Route>>,
    gateways: HashMap<PartyId, Client>,
    log: Log,
    inputs: Option<InputStore>,
    subjects: Option<SubjectStore>,
    pseudonyms: Option<Arc<PseudonymKeys>>,
    places: Places,
    /// Room for payloads that have to be held whole.
    whole_payloads: Arc<Semaphore>,
    /// Turns to evaluate the policy.
    evaluations: Arc<Semaphore>,
    exchange_ids: ExchangeIds,
    handshakes: HandshakeRecords,
    idle: Duration,
    clock: Arc<dyn Clock>,
    jwks: Bytes,
    witnessing: Witnessing,
    /// Turns to read files of the log for others.
    log_reads: Arc<Semaphore>,
}

/// A dataset of ours in service.
struct Route {
    dataset: Dataset,
    client: Client,
    pull: bool,
    push: bool,
    single_use: bool,
}

/// What both listeners know of a request before the walk begins.
struct Arrival<'a> {
    direction: Direction,
    partner: &'a Arc<Partner>,
    dataset: &'a Dataset,
    agreement: Option<&'a Agreement>,
    client: &'a Client,
    /// Path and query as the other side will get them.
    path: String,
    /// Headers that go on beside those of the request.
    headers: HeaderMap,
    /// Whether the payload is in the request (a push) or in the answer (a pull).
    push: bool,
}

/// A refused exchange on its way to [`Gateway::refuse`]: with the duty to close it, if its decision stands already.
struct Stopped {
    refusal: Refusal,
    closing: Option<Arc<Closing>>,
}

impl<E: Into<Refusal>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self { refusal: error.into(), closing: None }
    }
}

impl Gateway {
    /// Who we are.
    pub fn us(&self) -> &PartyId {
        &self.us
    }

    /// Our partners.
    pub fn partners(&self) -> &Arc<Partners> {
        &self.partners
    }

    /// The policies in force.
    pub fn policies(&self) -> &InForce {
        &self.policies
    }

    /// What believes statements that our own people signed.
    pub fn statements(&self) -> &Statements {
        &self.statements
    }

    /// The approvals on file.
    pub fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The store of what was decided on, if one is kept.
    pub fn inputs(&self) -> Option<&InputStore> {
        self.inputs.as_ref()
    }

    /// The store of whom the record's commitments name, if one is kept.
    pub fn subjects(&self) -> Option<&SubjectStore> {
        self.subjects.as_ref()
    }

    /// Returns once every exchange has ended and its outcome is queued for the log. Meant for the way down, when no more
    /// begin.
    pub async fn settled(&self) {
        self.exchange_ids.settled().await;
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// TLS for the partner listener.
    ///
    /// # Errors
    /// [`AuthenticateError`] when our key does not belong to our certificate.
    pub fn partner_tls(&self) -> Result<Arc<rustls::ServerConfig>, AuthenticateError> {
        self.tls.partner_server(Arc::clone(&self.partners))
    }

    /// TLS for the admin listener.
    ///
    /// # Errors
    /// [`AuthenticateError`] when an anchor is unusable.
    pub fn admin_tls(&self) -> Result<Arc<rustls::ServerConfig>, AuthenticateError> {
        self.tls.admin_server(&self.admin_anchors)
    }

    /// The walk through the rooms, for a request whose asker is known.
    async fn cross(
        &self,
        story: &mut Story,
        arrival: Arrival<'_>,
        request: &HeaderMap,
        body: &mut Option<Incoming>,
        place: Place,
    ) -> Result<Response<Body>, Stopped> {
        // A log that may be an older copy of itself, or that nobody vouches for, is none to build on.
        self.witnessing.standing.admit(story.at)?;
        let permit = self.decide(story, &arrival).await?;
        let context = Context {
            recipient: match arrival.direction {
                Direction::Export => arrival.partner.id().clone(),
                Direction::Import | Direction::Request => self.us.clone(),
            },
            exchange: story.exchange,
            pseudonym_keys: self.pseudonyms.clone(),
        };
        let cleared = Cleared::new(permit, &context)?;
        let accompanying = cleared.plan().accompanying().to_vec();
        let closing = Closing::new(self, story, accompanying, Some(place));
        if let Err(error) = story.permitted(self, cleared.permit(), &closing).await {
            return Err(Stopped { refusal: error.into(), closing: Some(closing) });
        }
        // From here the permission is on record, so every way out is an outcome.
        let walked = if arrival.push {
            // Boxed, so that the far more common pull does not carry the room that a push needs.
            Box::pin(self.push(story, &arrival, &cleared, request, body, &closing)).await
        } else {
            self.pull(story, &arrival, &cleared, request, &closing).await
        };
        walked.map_err(|refusal| Stopped { refusal, closing: Some(closing) })
    }

    /// Asks the policy: a lookup where it was asked the same before, else an evaluation off the worker.
    async fn decide(&self, story: &Story, arrival: &Arrival<'_>) -> Result<Permit, Refusal> {
        // Both listeners refuse a request without a purpose before they come here.
        let purpose = story.purpose.as_ref().ok_or_else(|| Refusal::new("purpose_missing"))?;
        let question = Question {
            at: story.at,
            direction: arrival.direction,
            dataset: arrival.dataset,
            purpose,
            action: story.action.as_deref().unwrap_or("transfer"),
            counterparty: arrival.partner.id(),
            counterparty_facts: arrival.partner.facts(),
            our_facts: &self.our_facts,
            agreement: arrival.agreement,
            person: story.requester.as_deref().map(|requester| requester.person()),
            method: story.method.as_str(),
            path: &arrival.path,
        };
        let policies = self.policies.current();
        let (input, digest) = question.input(policies.reads());
        let decision = match policies.recall(&digest) {
            Some(decision) => Ok(decision),
            None => {
                // As many at once as there are cores: more would only take from each other's budget, and a request that
                // is given up while it waits leaves nothing behind.
                let turn = Arc::clone(&self.evaluations).acquire_owned().await;
                let (inputs, at) = (self.inputs.clone(), story.at);
                tokio::task::spawn_blocking(move || {
                    let _turn = turn;
                    let decision = policies.decide(&String::from_utf8_lossy(&input), digest);
                    // Only what was not asked before is kept: the hot path writes no input.
                    if let Some(inputs) = inputs {
                        inputs.keep(at, digest, input, policies.identity().digest, || declaration(&policies));
                    }
                    decision
                })
                .await
                .unwrap_or_else(|error| Err(DecideError::Failed(format!("the evaluation was lost: {error}"))))
            }
        };
        match rule(&question, digest, decision, &self.approvals, story.at) {
            Ruling::Permitted(permit) => Ok(permit),
            Ruling::Refused(denial) => Err(denial.into()),
        }
    }

    /// The payload comes with the answer.
    async fn pull(
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
        let answer = arrival.client.send(cleared, story.method.clone(), &arrival.path, headers).await?;
        closing.upstream(answer.status());
        let status = answer.status();
        if arrival.direction == Direction::Request && !status.is_success() && status != StatusCode::NOT_MODIFIED {
            let notice = Box::pin(self.notice(answer)).await?;
            self.partner_refused(story, status, closing);
            return Ok(notice);
        }
        match status {
            StatusCode::OK => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED if untouched => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Refusal::new("upstream_not_found")),
            status if status.is_server_error() => return Err(Refusal::new("upstream_failed")),
            _ => return Err(Refusal::new("upstream_refused")),
        }
        let (head, payload) = answer.into_parts();
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
        let mut payload = FilteredBody::new(Patient::new(payload, self.idle), filter, on_end);
        if story.version == Version::HTTP_2 {
            payload = payload.ending_when_asked();
        }
        // A payload that is not what it says is refused with a proper status while nothing of it has left.
        payload.prime().await.map_err(|error| faulty(error, "upstream_broken"))?;
        let mut response = Response::new(payload.map_err(cut).boxed_unsync());
        *response.status_mut() = status;
        *response.headers_mut() = reply_headers(&head.headers, untouched);
        if let Some(conveyed) = plan.conveyed().and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(OBLIGATIONS.clone(), conveyed);
        } else if let Some(conveyed) =
            head.headers.get(&OBLIGATIONS).filter(|_| arrival.direction == Direction::Request)
        {
            response.headers_mut().insert(OBLIGATIONS.clone(), conveyed.clone());
        }
        closing.answering(status);
        Ok(response)
    }

    /// What changes a payload with these headers, and the room to hold the whole of it where that is needed.
    fn filter(
        &self,
        cleared: &Cleared,
        headers: &HeaderMap,
    ) -> Result<(Option<Filter>, Option<OwnedSemaphorePermit>), Refusal> {
        let plan = cleared.plan();
        if plan.is_pass_through() {
            return Ok((None, None));
        }
        let filter = plan.open(text(headers, header::CONTENT_TYPE)?, text(headers, header::CONTENT_ENCODING)?)?;
        let room = match plan.holds_whole_payload() {
            true => Some(Arc::clone(&self.whole_payloads).try_acquire_owned().map_err(|_| Refusal::new("overloaded"))?),
            false => None,
        };
        Ok((Some(filter), room))
    }

    /// A partner's refusal, which goes to our application as it came.
    async fn notice(&self, answer: Response<Incoming>) -> Result<Response<Body>, Refusal> {
        let (head, body) = answer.into_parts();
        let body = tokio::time::timeout(self.idle, Limited::new(body, NOTICE_BYTES).collect()).await;
        let body = body.ok().and_then(Result::ok).ok_or_else(|| Refusal::new("upstream_broken"))?.to_bytes();
        let mut response = Response::new(whole(body));
        *response.status_mut() = head.status;
        *response.headers_mut() = reply_headers(&head.headers, false);
        Ok(response)
    }

    /// Closes an exchange that the partner refused.
    fn partner_refused(&self, story: &Story, status: StatusCode, closing: &Closing) {
        tracing::info!(exchange = %story.exchange, status = status.as_u16(), "the partner refused");
        closing.close(Ended::Refused, Some(status.as_u16()), Some("partner_refused"), None);
    }

    /// The one way out for everything that is not permitted or did not work: on record first, then to the peer.
    async fn refuse(&self, story: &Story, stopped: Stopped) -> Response<Body> {
        let Stopped { mut refusal, closing } = stopped;
        let closing = closing.unwrap_or_else(|| Closing::new(self, story, Vec::new(), None));
        if !closing.is_decided()
            && let Err(error) = story.refused(self, &refusal, &closing).await
        {
            let too_large = matches!(error, RecordError::EntryTooLarge { .. });
            refusal = error.into();
            // What was too much for an entry were the policy's words. That it was too much fits.
            if too_large && let Err(error) = story.refused(self, &refusal, &closing).await {
                refusal = error.into();
            }
        }
        // Without a request there is no answer, and so no status that anybody saw.
        let status = story.path.is_some().then(|| refusal.status().as_u16());
        closing.close(Ended::Refused, status, Some(refusal.code()), None);
        refusal.answer(Some(story.exchange)).map(|body| body.map_err(|never| match never {}).boxed_unsync())
    }
}

/// What policies read of a question, for whoever decides it again later.
fn declaration(policies: &PolicySet) -> Declaration {
    let identity = policies.identity();
    Declaration {
        policy: identity.digest,
        id: identity.id.clone(),
        revision: identity.revision.clone(),
        inputs: policies.reads().paths().iter().map(str::to_owned).collect(),
        time: policies.reads().time().as_str().to_owned(),
    }
}

/// Reads what is left of a payload that nobody wants, for a while.
fn linger(body: Option<Incoming>) {
    let Some(mut body) = body.filter(|body| !body.is_end_stream()) else { return };
    // Without a runtime the process is about to end, and the connection with it.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(tokio::time::timeout(LINGER, async move { while let Some(Ok(_)) = body.frame().await {} }));
}

/// A payload that failed at its head: its own fault, or that of its source, which `broken` names.
fn faulty(error: PayloadError<BodyError>, broken: &'static str) -> Refusal {
    match error {
        PayloadError::Enforce(error) => error.into(),
        PayloadError::Source(error) => {
            tracing::info!(%error, "a payload broke off");
            Refusal::new(broken)
        }
    }
}

/// A payload that fails on its way cuts the connection, so that a part is never taken for the whole.
fn cut(error: PayloadError<BodyError>) -> BodyError {
    match error {
        PayloadError::Enforce(error) => error.into(),
        PayloadError::Source(error) => error,
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A header as text. One that stands twice or is no plain text could be read in another way than ours by whoever gets the
/// payload.
fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, EnforceError> {
    let mut values = headers.get_all(&name).iter();
    let (first, second) = (values.next(), values.next());
    match (first.map(HeaderValue::to_str), second) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(EnforceError::NotPossible(format!("its {name} stands twice or is no plain text"))),
    }
}

/// Whether a method fetches (`Some(false)`) or sends (`Some(true)`).
fn is_push(method: &Method) -> Option<bool> {
    match *method {
        Method::GET | Method::HEAD => Some(false),
        Method::PUT | Method::POST => Some(true),
        _ => None,
    }
}

/// Puts the exchange's id on an answer.
fn named(mut response: Response<Body>, exchange: ExchangeId) -> Response<Body> {
    if let Ok(value) = HeaderValue::try_from(exchange.to_string()) {
        response.headers_mut().insert(EXCHANGE.clone(), value);
    }
    response
}
