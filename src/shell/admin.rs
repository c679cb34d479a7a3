//! The admin listener: health, partners and approvals, for people with a certificate of our own authority.
//!
//! A certificate's name says the role: `spiffe://<party>/operator/<name>`, `.../officer/...`, `.../regulator/...`.
//! Everyone may read; operators suspend partners; officers approve reviews.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::State;
use crate::accept::{AcceptError, Accepted, Connection, Drain, Handler};
use crate::authenticate::Certificate;
use crate::decide::Approval;
use crate::gateway::Gateway;
use crate::record::{Health, InputStore};
use crate::types::{ExchangeId, PartyId, Timestamp};

/// The largest request of an operator, in bytes.
const REQUEST_BYTES: usize = 64 * 1024;
/// The longest time that it may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// The longest life of an approval.
const APPROVAL_DAYS: u64 = 366;

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Operator,
    Officer,
    Regulator,
}

/// A person with a role.
#[derive(Debug, Clone)]
pub struct Person {
    name: String,
    role: Role,
    expires: Timestamp,
}

/// The admin listener's side.
pub struct AdminSide {
    gateway: Arc<Gateway>,
    state: Arc<State>,
    drain: Drain,
}

/// An answer that is no success.
struct Problem(StatusCode, &'static str, String);

/// What an officer sends to approve a review.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewApproval {
    party: String,
    dataset: String,
    purpose: String,
    #[serde(default = "transfer")]
    action: String,
    #[serde(default = "export")]
    direction: String,
    rules: Vec<String>,
    reason: String,
    days: u64,
}

fn export() -> String {
    "export".to_owned()
}

fn transfer() -> String {
    "transfer".to_owned()
}

impl AdminSide {
    /// Serves for `gateway`; `drain` decides whether it is ready.
    pub fn new(gateway: Arc<Gateway>, state: Arc<State>, drain: Drain) -> Self {
        Self { gateway, state, drain }
    }

    async fn route(
        &self,
        person: Option<&Person>,
        head: &http::request::Parts,
        body: Incoming,
    ) -> Result<Value, Problem> {
        if from_another_page(&head.headers) {
            let why = "requests of other pages are not taken".to_owned();
            return Err(Problem(StatusCode::FORBIDDEN, "cross_site", why));
        }
        let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
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
            (&Method::GET, ["api", "approvals"]) => Ok(json!({ "approvals": self.gateway.approvals().all() })),
            (&Method::POST, ["api", "approvals"]) => {
                require(person, Role::Officer)?;
                self.approve(person, body).await
            }
            _ => Err(Problem(StatusCode::NOT_FOUND, "path_unknown", "there is nothing at this path".to_owned())),
        }
    }

    fn ready(&self) -> Result<Value, Problem> {
        if self.drain.begun() {
            return Err(Problem(StatusCode::SERVICE_UNAVAILABLE, "draining", "the gateway is draining".to_owned()));
        }
        match self.gateway.log().health() {
            // A store that fails keeps nobody from being served, so it is told and no more.
            Health::Accepting => Ok(json!({
                "ready": true,
                "log": self.gateway.log().size(),
                "inputs": self.gateway.inputs().map(InputStore::health),
            })),
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
                })
            })
            .collect();
        partners.sort_by_key(|partner| partner["party"].to_string());
        json!({ "partners": partners })
    }

    async fn approve(&self, person: &Person, body: Incoming) -> Result<Value, Problem> {
        let invalid = |what: String| Problem(StatusCode::BAD_REQUEST, "approval_invalid", what);
        let body = tokio::time::timeout(REQUEST_TIME, Limited::new(body, REQUEST_BYTES).collect()).await;
        let body = body.ok().and_then(Result::ok);
        let body =
            body.ok_or_else(|| invalid("the request is too large, too slow or broke off".to_owned()))?.to_bytes();
        let new: NewApproval = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
        if new.rules.is_empty() || new.reason.trim().is_empty() {
            return Err(invalid("name the rules that are lifted, and the reason".to_owned()));
        }
        if !(1..=APPROVAL_DAYS).contains(&new.days) {
            return Err(invalid(format!("days must be 1 to {APPROVAL_DAYS}")));
        }
        let now = self.gateway.clock().now();
        let approval = Approval {
            id: ExchangeId::new(now).to_string(),
            party: new.party,
            dataset: new.dataset,
            purpose: new.purpose,
            action: new.action,
            direction: new.direction,
            rules: new.rules,
            approver: person.name.clone(),
            reason: new.reason,
            expires: now.plus(Duration::from_secs(new.days * 86_400)).seconds(),
        };
        tracing::warn!(approval = approval.id, by = approval.approver, party = approval.party, "approved");
        let (state, approved) = (Arc::clone(&self.state), approval.clone());
        kept(tokio::task::spawn_blocking(move || state.approve(approved)).await)?;
        Ok(json!(approval))
    }
}

impl Handler for AdminSide {
    type Session = Option<Person>;
    type Body = Full<Bytes>;

    fn open(&self, connection: Connection) -> Option<Person> {
        let certificate = Certificate::read(connection.certificates.first()?).ok()?;
        if !certificate.for_client() {
            return None;
        }
        let base = format!("spiffe://{}/", self.gateway.us());
        certificate.names().iter().find_map(|name| {
            let (role, person) = name.strip_prefix(&base)?.split_once('/')?;
            let role = match role {
                "operator" => Role::Operator,
                "officer" => Role::Officer,
                "regulator" => Role::Regulator,
                _ => return None,
            };
            let expires = certificate.validity().1;
            (!person.is_empty()).then(|| Person { name: person.to_owned(), role, expires })
        })
    }

    fn refused(&self, address: SocketAddr, why: &AcceptError) {
        tracing::info!(%address, code = why.code(), "an admin connection was refused");
    }

    async fn handle(self: Arc<Self>, session: Arc<Option<Person>>, accepted: Accepted) -> Response<Full<Bytes>> {
        let (head, body) = accepted.into_parts();
        let (status, content_type, value) = match self.route(session.as_ref().as_ref(), &head, body).await {
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
        let mut response = Response::new(Full::new(Bytes::from(format!("{value}\n"))));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn require(person: &Person, role: Role) -> Result<(), Problem> {
    if person.role == role {
        return Ok(());
    }
    let role = match role {
        Role::Operator => "operator",
        Role::Officer => "officer",
        Role::Regulator => "regulator",
    };
    Err(Problem(StatusCode::FORBIDDEN, "role_insufficient", format!("this takes the {role} role")))
}

/// Whether a change of the state was made durable.
fn kept(changed: Result<anyhow::Result<()>, tokio::task::JoinError>) -> Result<(), Problem> {
    let error = match changed {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("{error:#}"),
        Err(error) => error.to_string(),
    };
    tracing::error!(error, "the state cannot be kept");
    Err(Problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "state_unavailable",
        "the change could not be made durable; see the gateway's own log".to_owned(),
    ))
}

/// Whether a browser sent a request on behalf of a page that is not ours. A browser shows its certificate for whoever
/// asks it to; what it says of the page cannot be forged from within one.
fn from_another_page(headers: &http::HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    headers.contains_key(header::ORIGIN) || site.is_some_and(|site| site != b"none" && site != b"same-origin")
}
