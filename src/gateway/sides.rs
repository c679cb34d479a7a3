//! The two listeners that lead into the walk: partners on one side, our own applications on the other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use serde_json::json;

use super::journal::Story;
use super::setup::OpenId;
use super::{Arrival, Body, EXCHANGE, Gateway, Stopped, is_push, linger, logs, named, whole};
use crate::accept::{AcceptError, Accepted, Connection, Handler, PATH_BYTES, Target};
use crate::authenticate::{AuthenticateError, Certificate, Partner};
use crate::decide::{Dataset, Direction};
use crate::refusal::Refusal;
use crate::types::{DatasetId, PartyId, Purpose, Timestamp};

/// Why an application asks.
static PURPOSE: HeaderName = HeaderName::from_static("sekisho-purpose");
/// What it will do with the data; `transfer` when absent.
static ACTION: HeaderName = HeaderName::from_static("sekisho-action");
/// Under which agreement.
static AGREEMENT: HeaderName = HeaderName::from_static("sekisho-agreement");
/// The longest value of one of these, in bytes.
const VALUE_BYTES: usize = 256;

/// The partner listener's side.
pub struct PartnerSide(pub Arc<Gateway>);

/// Whom a connection on the partner listener speaks for.
pub struct PartnerSession(Result<(Certificate, Arc<Partner>), AuthenticateError>);

impl PartnerSession {
    /// The partner and its certificate, if it is one.
    pub(super) fn known(&self) -> Option<&(Certificate, Arc<Partner>)> {
        self.0.as_ref().ok()
    }
}

impl Handler for PartnerSide {
    type Session = PartnerSession;
    type Body = Body;

    fn open(&self, connection: Connection) -> PartnerSession {
        let identify = || {
            let leaf = connection.certificates.first().ok_or(AuthenticateError::Certificate("is missing"))?;
            let certificate = Certificate::read(leaf)?;
            let partner = Arc::clone(self.0.partners.named(&certificate)?);
            Ok((certificate, partner))
        };
        PartnerSession(identify())
    }

    fn refused(&self, address: SocketAddr, why: &AcceptError) {
        tracing::info!(%address, code = why.code(), "a connection was refused");
        let gateway = Arc::clone(&self.0);
        let now = gateway.clock.now();
        // A broken line or a port scan is nobody's request; a certificate that is not taken is somebody's.
        if !why.code().starts_with("certificate_") || !gateway.handshakes.allow(now) {
            return;
        }
        let code = why.code();
        tokio::spawn(async move {
            let open = gateway.exchange_ids.take(None, now);
            let story = Story {
                exchange: open.id(),
                open: Arc::new(open),
                at: now,
                direction: Direction::Export,
                counterparty: None,
                certificate: None,
                requester: None,
                dataset: None,
                tags: Arc::new([]),
                purpose: None,
                action: None,
                agreement: None,
                method: Method::CONNECT,
                version: Version::HTTP_11,
                path: None,
                seal: None,
            };
            // There is no request to answer: the peer saw a TLS alert, the record says why.
            drop(gateway.refuse(&story, Refusal::new(code).into()).await);
        });
    }

    async fn handle(self: Arc<Self>, session: Arc<PartnerSession>, accepted: Accepted) -> Response<Body> {
        let gateway = &self.0;
        let (head, body) = accepted.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/.well-known/sekisho") => return document(gateway.about()),
            (&Method::GET, "/.well-known/jwks.json") => return document(gateway.jwks.clone()),
            _ => {}
        }
        let mut body = Some(body);
        if let Some(answer) = gateway.take_receipts(&session, &head, &mut body).await {
            linger(body);
            return answer;
        }
        if let Some(answer) = gateway.serve_log(&session, &head, &mut body).await {
            linger(body);
            return answer;
        }
        let now = gateway.clock.now();
        let open = gateway.exchange_ids.take(head.headers.get(&EXCHANGE), now);
        let mut story = story(open, now, Direction::Export, &head);
        let answer = match gateway.serve_partner(&mut story, &session, &head, &mut body).await {
            Ok(answer) => answer,
            Err(stopped) => gateway.refuse(&story, stopped).await,
        };
        linger(body);
        named(answer, story.exchange)
    }
}

/// The local listener's side.
pub struct LocalSide(pub Arc<Gateway>);

impl Handler for LocalSide {
    type Session = ();
    type Body = Body;

    fn open(&self, _connection: Connection) {}

    fn refused(&self, address: SocketAddr, why: &AcceptError) {
        tracing::info!(%address, code = why.code(), "a local connection was refused");
    }

    async fn handle(self: Arc<Self>, _session: Arc<()>, accepted: Accepted) -> Response<Body> {
        let gateway = &self.0;
        let (head, body) = accepted.into_parts();
        let now = gateway.clock.now();
        let mut story = story(gateway.exchange_ids.take(None, now), now, Direction::Request, &head);
        let mut body = Some(body);
        let answer = match gateway.serve_application(&mut story, &head, &mut body).await {
            Ok(answer) => answer,
            Err(stopped) => gateway.refuse(&story, stopped).await,
        };
        linger(body);
        named(answer, story.exchange)
    }
}

fn story(open: OpenId, at: Timestamp, direction: Direction, head: &http::request::Parts) -> Story {
    Story {
        exchange: open.id(),
        open: Arc::new(open),
        at,
        direction,
        counterparty: None,
        certificate: None,
        requester: None,
        dataset: None,
        tags: Arc::new([]),
        purpose: None,
        action: None,
        agreement: None,
        method: head.method.clone(),
        version: head.version,
        path: Some(recorded(head.uri.path())),
        seal: None,
    }
}

/// A path as the record tells it: whole if it can be served at all, else its beginning and `...`.
fn recorded(path: &str) -> String {
    if path.len() <= PATH_BYTES {
        return path.to_owned();
    }
    let cut = path.char_indices().map(|(at, _)| at).take_while(|at| *at <= PATH_BYTES).last();
    format!("{}...", &path[..cut.unwrap_or_default()])
}

impl Gateway {
    /// `GET /.well-known/sekisho`: who we are, and what decides now.
    fn about(&self) -> Bytes {
        let mut about = json!({
            "party": self.us,
            "policy": self.policies.current().identity().as_ref(),
            "log": {
                "origin": self.log.origin(),
                "key": self.log.signer().verifier_key(self.log.origin()),
                "keys": self.log_keys,
                "prefix": logs::PREFIX,
            },
            "jwks_uri": "/.well-known/jwks.json",
        });
        if let Some(witness) = &self.witnessing.witness {
            let cosigner = witness.cosigner();
            about["witness"] = json!({ "name": cosigner.name(), "key": cosigner.verifier_key() });
        }
        Bytes::from(about.to_string())
    }

    /// `ANY /data/{dataset}/{path}` on the partner listener.
    async fn serve_partner(
        &self,
        story: &mut Story,
        session: &PartnerSession,
        head: &http::request::Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Response<Body>, Stopped> {
        let (certificate, partner) = session.0.as_ref().map_err(|error| Refusal::from(error.clone()))?;
        story.counterparty = Some(partner.id().clone());
        story.certificate = Some(certificate.digest());
        let place = self.places.take(partner.id()).ok_or_else(|| Refusal::new("overloaded"))?;
        // The handshake looked at the dates, and a connection may last.
        if story.at > certificate.validity().1 {
            return Err(AuthenticateError::CertificateExpired.into());
        }
        if partner.is_suspended() {
            return Err(AuthenticateError::Suspended.into());
        }
        let authenticated = self.passes.verify(head.headers.get(header::AUTHORIZATION), partner, certificate)?;
        let requester = Arc::clone(authenticated.requester());
        story.purpose = Some(requester.purpose().clone());
        story.action = Some(requester.action().to_owned());
        story.agreement = requester.agreement().map(str::to_owned);
        story.requester = Some(Arc::clone(&requester));
        if let Some(subjects) = &self.subjects
            && let Some(salt) = requester.first_use()
        {
            subjects.keep(story.at, salt, requester.subject().to_owned());
        }
        let target = Target::parse(&head.uri)?;
        story.seal = self.seal(story, partner, &requester, head)?;
        let mut segments = target.segments();
        if segments.next() != Some("data") {
            return Err(Refusal::new("path_unknown").into());
        }
        let dataset = segments.next().and_then(|id| id.parse::<DatasetId>().ok());
        let route = dataset.and_then(|id| self.routes.get(&id)).ok_or_else(|| Refusal::new("dataset_unknown"))?;
        story.dataset = Some(route.dataset.id().clone());
        story.tags = Arc::clone(route.dataset.tags());
        let push = is_push(&head.method).filter(|push| if *push { route.push } else { route.pull });
        let push = push.ok_or_else(|| Refusal::new("method_not_allowed"))?;
        if push {
            story.direction = Direction::Import;
        }
        if !push && self.owes_too_many(partner) {
            return Err(Refusal::new("receipts_owed").into());
        }
        if route.single_use {
            self.passes.use_once(&requester)?;
        }
        let agreement = requester.agreement().and_then(|id| self.agreements.get(id)).filter(|agreement| {
            // Terms in ODRL say what a partner may do with data of ours, and nothing of data that it sends.
            let speaks = !push || agreement.terms.is_none();
            speaks && agreement.covers(partner.id(), route.dataset.id(), requester.purpose(), &story.at.date())
        });
        // What leaves us does so under our own papers. What comes in stands under the sender's, which we need not hold.
        if agreement.is_none() && !push {
            self.without_agreement(requester.agreement(), partner.id(), route.dataset.id(), story.at)?;
        }
        let arrival = Arrival {
            direction: story.direction,
            partner,
            dataset: &route.dataset,
            agreement,
            client: &route.client,
            path: target.below(2),
            headers: HeaderMap::new(),
            push,
        };
        self.cross(story, arrival, &head.headers, body, place).await
    }

    /// Whether data of ours may leave under no agreement: none was named, and none with terms governs it.
    fn without_agreement(
        &self,
        named: Option<&str>,
        party: &PartyId,
        dataset: &DatasetId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if named.is_some() {
            return Err(Refusal::new("agreement_not_on_file"));
        }
        if self.agreements.bind(party, dataset, &now.date()) {
            return Err(Refusal::new("agreement_not_named"));
        }
        Ok(())
    }

    /// `ANY /partners/{party}/data/{dataset}/{path}` on the local listener.
    async fn serve_application(
        &self,
        story: &mut Story,
        head: &http::request::Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Response<Body>, Stopped> {
        if !is_local(head) {
            return Err(Refusal::new("host_not_local").into());
        }
        let target = Target::parse(&head.uri)?;
        let mut segments = target.segments();
        let (Some("partners"), Some(party), Some("data"), Some(dataset)) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(Refusal::new("path_unknown").into());
        };
        let party = party.parse::<PartyId>().map_err(|_| Refusal::new("party_unknown"))?;
        let partner = self.partners.get(&party).ok_or_else(|| Refusal::new("party_unknown"))?;
        story.counterparty = Some(partner.id().clone());
        let place = self.places.take(partner.id()).ok_or_else(|| Refusal::new("overloaded"))?;
        let client = self.gateways.get(&party).ok_or_else(|| Refusal::new("party_unknown"))?;
        let id = dataset.parse::<DatasetId>().map_err(|_| Refusal::new("dataset_unknown"))?;
        story.dataset = Some(id.clone());
        let push = is_push(&head.method).ok_or_else(|| Refusal::new("method_not_allowed"))?;
        let purpose = value(&head.headers, &PURPOSE)?.ok_or_else(|| Refusal::new("purpose_missing"))?;
        let purpose = purpose.parse::<Purpose>().map_err(|_| Refusal::new("header_invalid"))?;
        let action = value(&head.headers, &ACTION)?.unwrap_or("transfer");
        let agreement_id = value(&head.headers, &AGREEMENT)?;
        story.purpose = Some(purpose.clone());
        story.action = Some(action.to_owned());
        story.agreement = agreement_id.map(str::to_owned);
        if partner.is_suspended() {
            return Err(AuthenticateError::Suspended.into());
        }
        let foreign;
        let (dataset, agreement) = if push {
            // Our data leaves: it must be a dataset of ours, and our own policy decides on it first.
            story.direction = Direction::Export;
            let route = self.routes.get(&id).ok_or_else(|| Refusal::new("dataset_unknown"))?;
            story.tags = Arc::clone(route.dataset.tags());
            let agreement = agreement_id
                .and_then(|id| self.agreements.get(id))
                .filter(|agreement| agreement.covers(partner.id(), route.dataset.id(), &purpose, &story.at.date()));
            if agreement.is_none() {
                self.without_agreement(agreement_id, partner.id(), route.dataset.id(), story.at)?;
            }
            (&route.dataset, agreement)
        } else {
            foreign = Dataset::foreign(id.clone());
            (&foreign, None)
        };
        let pass = self.minter.mint(partner.id(), &self.subject, &purpose, action, agreement_id)?;
        let mut headers = HeaderMap::new();
        let invalid = |_| Refusal::new("header_invalid");
        let mut bearer = HeaderValue::try_from(format!("Bearer {pass}")).map_err(invalid)?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert(EXCHANGE.clone(), HeaderValue::try_from(story.exchange.to_string()).map_err(invalid)?);
        let arrival = Arrival {
            direction: story.direction,
            partner,
            dataset,
            agreement,
            client,
            path: format!("/data/{id}{}", target.below(4)),
            headers,
            push,
        };
        self.cross(story, arrival, &head.headers, body, place).await
    }
}

/// Whether a request on the local listener comes from an application that means this machine. A web page can be made to
/// reach a loopback address by a name of its own (DNS rebinding), and then its browser says so.
fn is_local(head: &http::request::Parts) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let authority = host.and_then(|host| host.to_str().ok()).and_then(|host| host.parse::<Authority>().ok());
    let names_us = authority.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    let from_a_page = head.headers.contains_key(header::ORIGIN) || head.headers.contains_key("sec-fetch-site");
    names_us && second.is_none() && !from_a_page
}

/// One `Sekisho-` header: absent, or one plain value.
fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let text = first.to_str().ok().filter(|text| (1..=VALUE_BYTES).contains(&text.len()));
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text)),
        _ => Err(Refusal::new("header_invalid")),
    }
}

/// A small public document of ours.
fn document(bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(whole(bytes));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
