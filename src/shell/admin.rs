//! The admin listener: health, partners and approvals, for people with a certificate of our own authority.
//!
//! A certificate's name says the role ([`Person`]). Everyone may read; operators suspend partners; officers deliver
//! approvals that an officer signed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::policies::Kept;
use super::state::{NotApproved, State};
use super::timestamps::Board;
use crate::accept::{AcceptError, Accepted, Connection, Drain, Handler};
use crate::authenticate::{Certificate, Person, Role};
use crate::gateway::{Body, Gateway, LogReader, below_prefix, refused};
use crate::record::{Health, InputStore, SubjectStore};
use crate::types::PartyId;

/// The largest request of an operator, in bytes.
const REQUEST_BYTES: usize = 64 * 1024;
/// The longest time that it may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// The admin listener's side.
pub struct AdminSide {
    gateway: Arc<Gateway>,
    state: Arc<State>,
    policies: Arc<Kept>,
    timestamps: Board,
    drain: Drain,
}

/// An answer that is no success.
struct Problem(StatusCode, &'static str, String);

impl AdminSide {
    /// Serves for `gateway`; `drain` decides whether it is ready.
    pub fn new(gateway: Arc<Gateway>, state: Arc<State>, policies: Arc<Kept>, timestamps: Board, drain: Drain) -> Self {
        Self { gateway, state, policies, timestamps, drain }
    }

    /// The person who asks, if anybody of ours does.
    fn admit<'p>(&self, person: Option<&'p Person>, head: &http::request::Parts) -> Result<&'p Person, Problem> {
        if from_another_page(&head.headers) {
            let why = "requests of other pages are not taken".to_owned();
            return Err(Problem(StatusCode::FORBIDDEN, "cross_site", why));
        }
        let Some(person) = person else {
            return Err(Problem(
                StatusCode::FORBIDDEN,
                "role_missing",
                format!("the certificate names no role; it needs spiffe://{}/operator/<name>", self.gateway.us()),
            ));
        };
        if self.gateway.clock().now() > person.expires {
            let why = "the certificate expired while its connection was open".to_owned();
            return Err(Problem(StatusCode::FORBIDDEN, "certificate_expired", why));
        }
        Ok(person)
    }

    async fn route(&self, person: &Person, head: &http::request::Parts, body: Incoming) -> Result<Value, Problem> {
        let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        match (&head.method, path.as_slice()) {
            (&Method::GET, ["livez"]) => Ok(json!({ "live": true })),
            (&Method::GET, ["readyz"]) => self.ready(),
            (&Method::GET, ["api", "partners"]) => Ok(self.partners()),
            (&Method::POST, ["api", "partners", id, verb @ ("suspend" | "resume")]) => {
                require(person, Role::Operator)?;
                let id = id.parse::<PartyId>().ok().filter(|id| self.gateway.partners().get(id).is_some());
                let id = id.ok_or_else(|| {
                    Problem(StatusCode::NOT_FOUND, "party_unknown", "there is no such partner".to_owned())
                })?;
                let suspended = *verb == "suspend";
                tracing::warn!(partner = %id, suspended, by = person.name, "suspension changed");
                let (state, party) = (Arc::clone(&self.state), id.clone());
                kept(tokio::task::spawn_blocking(move || state.set_suspended(&party, suspended)).await)?;
                Ok(json!({ "party": id, "suspended": suspended }))
            }
            (&Method::GET, ["api", "witnesses"]) => {
                let gateway = Arc::clone(&self.gateway);
                // It may wait for a checkpoint that is just being written.
                let shown = tokio::task::spawn_blocking(move || witnessing(&gateway)).await;
                shown.map_err(|lost| unkept(&lost.to_string()))
            }
            (&Method::GET, ["api", "timestamps"]) => Ok(json!({ "timestamps": self.timestamps.standing() })),
            (&Method::GET, ["api", "receipts"]) => Ok(json!({ "receipts": self.gateway.receipts().shown() })),
            (&Method::GET, ["api", "approvals"]) => Ok(json!({ "approvals": self.gateway.approvals().all() })),
            (&Method::POST, ["api", "approvals"]) => {
                require(person, Role::Officer)?;
                self.approve(body).await
            }
            (&Method::POST, ["api", "subjects", "forget"]) => {
                require(person, Role::Operator)?;
                self.forget(person, body).await
            }
            (&Method::GET, ["api", "policies"]) => Ok(self.policies.shown(&self.gateway)),
            (&Method::POST, ["api", "policies", "poll"]) => {
                require(person, Role::Operator)?;
                tracing::info!(by = person.name, "policy sources are looked at on request");
                let looked = self.policies.poll().await;
                let mut shown = self.policies.shown(&self.gateway);
                shown["looked"] = looked.into();
                Ok(shown)
            }
            _ => Err(Problem(StatusCode::NOT_FOUND, "path_unknown", "there is nothing at this path".to_owned())),
        }
    }

    fn ready(&self) -> Result<Value, Problem> {
        if self.drain.begun() {
            return Err(Problem(StatusCode::SERVICE_UNAVAILABLE, "draining", "the gateway is draining".to_owned()));
        }
        let standing = &self.gateway.witnessing().standing;
        match self.gateway.log().health() {
            Health::Accepting => {
                if let Err(error) = standing.admit(self.gateway.clock().now()) {
                    return Err(Problem(
                        StatusCode::SERVICE_UNAVAILABLE,
                        error.code(),
                        format!("{error}: no exchange begins"),
                    ));
                }
                let mut ready = json!({
                    "ready": true,
                    "log": self.gateway.log().size(),
                    // A store that fails keeps nobody from being served, so it is told and no more.
                    "inputs": self.gateway.inputs().map(InputStore::health),
                    "subjects": self.gateway.subjects().map(SubjectStore::health),
                });
                if !standing.witnesses().is_empty() {
                    ready["witnesses"] = json!(standing.witnesses());
                }
                // Nobody waits for a timestamp, so that none came is told and no more.
                if let Some(timestamps) = self.timestamps.standing() {
                    ready["timestamps"] = json!(timestamps);
                }
                // It goes on deciding with what it has, so it is ready; but somebody should look.
                let stale = self.policies.stale();
                if !stale.is_empty() {
                    (ready["degraded"], ready["stale_policies"]) = (true.into(), stale.into());
                }
                Ok(ready)
            }
            Health::Full => Err(Problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "record_full",
                "the disk has no room for the log: make room, and the gateway goes on by itself".to_owned(),
            )),
            Health::Closed | Health::Failed(_) => Err(Problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "record_unavailable",
                "the log takes no entries: see the gateway's own log, repair the disk, restart".to_owned(),
            )),
        }
    }

    fn partners(&self) -> Value {
        let mut partners: Vec<Value> = self
            .gateway
            .partners()
            .iter()
            .map(|partner| {
                json!({
                    "party": partner.id(),
                    "endpoint": partner.endpoint(),
                    "names": partner.names(),
                    "facts": partner.facts().map(),
                    "suspended": partner.is_suspended(),
                    "receipts_owed": self.gateway.receipts().owed(partner.id()),
                    "receipts_owed_at_most": partner.owed_at_most(),
                    "refused_for_receipts": self.gateway.owes_too_many(partner),
                })
            })
            .collect();
        partners.sort_by_key(|partner| partner["party"].to_string());
        json!({ "partners": partners })
    }

    /// Forgets a person: the name comes in the body, so that it stands in no log of addresses.
    async fn forget(&self, person: &Person, body: Incoming) -> Result<Value, Problem> {
        let invalid = |what: &str| Problem(StatusCode::BAD_REQUEST, "subject_invalid", what.to_owned());
        let body = whole(body).await.ok_or_else(|| invalid(BROKEN_OFF))?;
        let Forget { subject } = serde_json::from_slice(&body)
            .map_err(|_| invalid("a subject to forget is {\"subject\": \"...\"}, the sub of its passes"))?;
        let unavailable = |what: String| Problem(StatusCode::SERVICE_UNAVAILABLE, "subjects_unavailable", what);
        let subjects = self.gateway.subjects().cloned();
        let subjects = subjects.ok_or_else(|| unavailable("no subjects are kept: see [subjects]".to_owned()))?;
        match tokio::task::spawn_blocking(move || subjects.forget(&subject)).await {
            Ok(Ok(forgotten)) => {
                tracing::warn!(by = person.name, passes = forgotten.passes, "a subject was forgotten");
                Ok(json!(forgotten))
            }
            failed => {
                let error = failed.map_or_else(
                    |error| error.to_string(),
                    |done| done.err().map_or_else(String::new, |error| error.to_string()),
                );
                tracing::error!(error, "a subject could not be forgotten");
                Err(unavailable(
                    "some days may hold the subject still: see the gateway's own log, and try again".to_owned(),
                ))
            }
        }
    }

    async fn approve(&self, body: Incoming) -> Result<Value, Problem> {
        let invalid = |what: String| Problem(StatusCode::BAD_REQUEST, "approval_invalid", what);
        let body = whole(body).await.ok_or_else(|| invalid(BROKEN_OFF.to_owned()))?;
        let text = std::str::from_utf8(&body).unwrap_or_default().trim().to_owned();
        if text.starts_with('{') {
            return Err(invalid(
                "an approval is signed: make it with `sekisho approve`, and post what it prints".to_owned(),
            ));
        }
        let state = Arc::clone(&self.state);
        let approved = tokio::task::spawn_blocking(move || state.approve(&text)).await;
        let approval = match approved {
            Ok(Ok(approval)) => approval,
            Ok(Err(NotApproved::Invalid(error))) => return Err(invalid(error.to_string())),
            Ok(Err(NotApproved::Unkept(error))) => return Err(unkept(&format!("{error:#}"))),
            Err(error) => return Err(unkept(&error.to_string())),
        };
        tracing::warn!(approval = approval.id, by = approval.approver, party = approval.grant.party, "approved");
        Ok(json!(approval))
    }
}

impl Handler for AdminSide {
    type Session = Option<Person>;
    type Body = Body;

    fn open(&self, connection: Connection) -> Option<Person> {
        let certificate = Certificate::read(connection.certificates.first()?).ok()?;
        Person::of(&certificate, self.gateway.us())
    }

    fn refused(&self, address: SocketAddr, why: &AcceptError) {
        tracing::info!(%address, code = why.code(), "an admin connection was refused");
    }

    async fn handle(self: Arc<Self>, session: Arc<Option<Person>>, accepted: Accepted) -> Response<Body> {
        let (head, body) = accepted.into_parts();
        let answer = match self.admit(session.as_ref().as_ref(), &head) {
            Err(problem) => Err(problem),
            Ok(person) => match below_prefix(head.uri.path()).filter(|_| head.method == Method::GET) {
                Some(path) => {
                    let read = self.gateway.read_log(path, &LogReader::Own).await;
                    return read.unwrap_or_else(|refusal| refused(&refusal));
                }
                None => self.route(person, &head, body).await,
            },
        };
        let (status, content_type, value) = match answer {
            Ok(value) => (StatusCode::OK, "application/json", value),
            Err(Problem(status, code, detail)) => (
                status,
                "application/problem+json",
                json!({
                    "type": format!("urn:sekisho:problem:{code}"),
                    "status": status.as_u16(),
                    "code": code,
                    "detail": detail,
                }),
            ),
        };
        let body = Full::new(Bytes::from(format!("{value}\n")));
        let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Who witnesses us and how that stands; whom we witness, and what speaks against them.
fn witnessing(gateway: &Gateway) -> Value {
    let ours = gateway.witnessing();
    let latest = ours.standing.latest();
    let mut shown = json!({
        "quorum": ours.standing.quorum(),
        "witnesses": ours.standing.witnesses(),
        "cosigned": latest.map(|latest| json!({ "size": latest.size, "at": latest.at })),
    });
    if let Some(witness) = &ours.witness {
        shown["witnessing"] = json!({
            "name": witness.cosigner().name(),
            "logs": witness.logs(),
            "refused": witness.refused(),
            "evidence": witness.evidence(),
        });
    }
    shown
}

/// What a request that did not arrive whole is told.
const BROKEN_OFF: &str = "the request is too large, too slow or broke off";

/// `POST /api/subjects/forget`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    subject: String,
}

/// A request's body; `None` when it is too large, too slow or breaks off.
async fn whole(body: Incoming) -> Option<Bytes> {
    let body = tokio::time::timeout(REQUEST_TIME, Limited::new(body, REQUEST_BYTES).collect()).await;
    Some(body.ok()?.ok()?.to_bytes())
}

fn require(person: &Person, role: Role) -> Result<(), Problem> {
    if person.role == role {
        return Ok(());
    }
    Err(Problem(StatusCode::FORBIDDEN, "role_insufficient", format!("this takes the {} role", role.as_str())))
}

/// Whether a change of the state was made durable.
fn kept(changed: Result<anyhow::Result<()>, tokio::task::JoinError>) -> Result<(), Problem> {
    match changed {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(unkept(&format!("{error:#}"))),
        Err(error) => Err(unkept(&error.to_string())),
    }
}

fn unkept(error: &str) -> Problem {
    tracing::error!(error, "the state cannot be kept");
    Problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "state_unavailable",
        "the change could not be made durable; see the gateway's own log".to_owned(),
    )
}

/// Whether a browser sent a request on behalf of a page that is not ours. A browser shows its certificate for whoever
/// asks it to; what it says of the page cannot be forged from within one.
fn from_another_page(headers: &http::HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    headers.contains_key(header::ORIGIN) || site.is_some_and(|site| site != b"none" && site != b"same-origin")
}
