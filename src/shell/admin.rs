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
use crate::record::Health;
use crate::types::{ExchangeId, PartyId};

/// The largest request of an operator, in bytes.
const REQUEST_BYTES: usize = 64 * 1024;
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
    rules: Vec<String>,
    reason: String,
    days: u64,
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
        let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        let Some(person) = person else {
            return Err(Problem(
                StatusCode::FORBIDDEN,
                "role_missing",
                format!("the certificate names no role; it needs spiffe://{}/operator/<name>", self.gateway.us()),
            ));
        };
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
                self.state.set_suspended(&id, suspended).map_err(|error| not_kept(&error))?;
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
            Health::Accepting => Ok(json!({ "ready": true, "log": self.gateway.log().size() })),
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
        let body = Limited::new(body, REQUEST_BYTES).collect().await;
        let body = body.map_err(|_| invalid("the request is too large or broke off".to_owned()))?.to_bytes();
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
            rules: new.rules,
            approver: person.name.clone(),
            reason: new.reason,
            expires: now.plus(Duration::from_secs(new.days * 86_400)).seconds(),
        };
        tracing::warn!(approval = approval.id, by = approval.approver, party = approval.party, "approved");
        self.state.approve(approval.clone()).map_err(|error| not_kept(&error))?;
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
            (!person.is_empty()).then(|| Person { name: person.to_owned(), role })
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

fn not_kept(error: &anyhow::Error) -> Problem {
    tracing::error!(error = format!("{error:#}"), "the state cannot be kept");
    Problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "state_unavailable",
        "the change could not be made durable; see the gateway's own log".to_owned(),
    )
}
