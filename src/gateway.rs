//! A request's life, top to bottom. The only file that names all six rooms, and the only one that calls them in turn.
//!
//! ```text
//! accept -> authenticate -> decide -> enforce -> (the decision is durable) -> forward -> (the outcome is recorded)
//! ```
//!
//! `Gateway::cross` is that walk, the same in all directions. Whatever ends it early is a [`Refusal`], and
//! `Gateway::refuse` is the one way out for all of them: it records first and answers then.

mod checked;
mod journal;
mod logs;
mod places;
mod postbox;
mod pull;
mod push;
mod receipts;
mod setup;
mod sides;
mod signed;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::authenticate::{AuthenticateError, Partner, Partners, PassMinter, PassVerifier, Statements, Tls};
use crate::decide::{
    Agreement, Agreements, Approvals, Dataset, DecideError, Direction, InForce, Permit, PolicySet, Question, Ruling,
    rule,
};
use crate::enforce::{BodyError as PayloadError, Cleared, Context, EnforceError, Filter, PseudonymKeys};
use crate::forward::{BodyError, Client};
use crate::record::{Declaration, Ended, InputStore, Log, RecordError, SubjectStore};
use crate::refusal::Refusal;
use crate::types::{Clock, DatasetId, ExchangeId, Facts, PartyId};

use journal::{Closing, Story};
pub use logs::{LogReader, Witnessing, below_prefix, refused};
use places::{Place, Places};
pub use receipts::{Recall, Receipt, Receipts};
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
    /// Signs passes, and messages between gateways.
    minter: Arc<PassMinter>,
    subject: String,
    policies: InForce,
    statements: Statements,
    approvals: Approvals,
    agreements: Agreements,
    routes: HashMap<DatasetId, Arc<Route>>,
    gateways: HashMap<PartyId, Client>,
    log: Log,
    receipts: Arc<Receipts>,
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
    /// The keys that our log had and has, each with the entries that it signs.
    log_keys: serde_json::Value,
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

    /// Receipts, owed to us and by us.
    pub fn receipts(&self) -> &Receipts {
        &self.receipts
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
        let mut answer = refusal.answer(Some(story.exchange));
        self.seal_whole(story, &mut answer, &closing);
        closing.close(Ended::Refused, status, Some(refusal.code()), None);
        answer.map(whole)
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
            match error.downcast_ref::<AuthenticateError>() {
                Some(error) => Refusal::new(error.code()),
                None => Refusal::new(broken),
            }
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
