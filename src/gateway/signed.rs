//! Signatures on the way: what a request says of them, what answers get, and what is demanded of a partner.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};

use super::checked::Check;
use super::journal::{Closing, Story};
use super::receipts::{Receipt, Sent, Then};
use super::{Arrival, EXCHANGE, Gateway, OBLIGATIONS, is_push};
use crate::authenticate::signature::{
    self, Bound, CONTENT_DIGEST, Digested, Fields, PASS_DIGEST, Purpose, QUERY_DIGEST, SIGNATURE, SIGNATURE_INPUT,
    Signature, announces, asks_for_answer, content_digest, read_content_digest,
};
use crate::authenticate::{AuthenticateError, Partner, Requester, Signatures};
use crate::record::{SignatureRef, Signed};
use crate::refusal::Refusal;
use crate::types::{Digest, ExchangeId, PartyId};

/// The trailers of a signed payload.
const TRAILERS: HeaderValue = HeaderValue::from_static("content-digest, signature-input, signature");

/// A signature for the record.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    of: Signed,
    party: PartyId,
    key: String,
    public: String,
    base: String,
    signature: String,
}

impl Proof {
    fn new(of: Signed, party: &PartyId, signature: &Signature) -> Self {
        Self {
            of,
            party: party.clone(),
            key: signature.key().to_owned(),
            public: signature.public(),
            base: signature.base().to_owned(),
            signature: signature.encoded(),
        }
    }

    pub(super) fn entry(&self) -> SignatureRef<'_> {
        let Self { of, party, key, public, base, signature } = self;
        SignatureRef { of: *of, party, key, public, base, signature }
    }

    /// One for a receipt that a partner posted.
    pub(super) fn receipt(party: &PartyId, signature: &Signature) -> Self {
        Self::new(Signed::Receipt, party, signature)
    }
}

/// What a request of a partner says of signatures.
pub(super) struct Seal {
    /// The signature of the request's head, which verified.
    pub(super) proof: Option<Proof>,
    pub(super) bound: Option<Bound>,
    /// The answer is to be signed.
    asked: bool,
    /// The answer may have trailers.
    trailers: bool,
    payload: Payload,
}

/// How the payload of a request is to be checked.
enum Payload {
    Unchecked,
    /// Its digest stands in the head.
    Digest(Digest),
    /// Digest and signature are to follow; this is what the signature covers of the head.
    Trailers {
        path: String,
        told: Told,
    },
}

/// A message of ours, signed: its fields, and what is kept of it.
pub(super) struct Sealed {
    pub(super) fields: HeaderMap,
    pub(super) proof: Option<Proof>,
    pub(super) bound: Option<Bound>,
    pub(super) then: Option<Then>,
}

/// Signs a payload whose digest is known at last.
pub(super) type Sealer = Box<dyn FnOnce(Digest) -> Result<Sealed, AuthenticateError> + Send>;

impl Gateway {
    /// Looks at what a partner's request says of signatures, and verifies what its head carries.
    pub(super) fn seal(
        &self,
        story: &Story,
        partner: &Arc<Partner>,
        requester: &Requester,
        head: &Parts,
    ) -> Result<Option<Box<Seal>>, AuthenticateError> {
        let headers = &head.headers;
        let push = is_push(&head.method) == Some(true);
        let fields = Fields::of(headers, Purpose::Request)?;
        let announced = push && announces(headers);
        let digest = if push { field(headers, &CONTENT_DIGEST, Purpose::Request)? } else { None };
        let asked = fields.is_some() || announced || asks_for_answer(headers);
        if fields.is_none() && !announced && partner.signatures() == Signatures::All {
            return Err(AuthenticateError::RequestUnsigned);
        }
        if !asked && digest.is_none() {
            return Ok(None);
        }
        let trailers = match head.version {
            Version::HTTP_11 => takes_trailers(headers),
            version => version == Version::HTTP_2,
        };
        let mut seal = Seal { proof: None, bound: None, asked, trailers, payload: Payload::Unchecked };
        let path = head.uri.path();
        if announced {
            if fields.is_some() || digest.is_some() {
                return Err(Purpose::Request.invalid("stands in head and trailers"));
            }
            seal.payload = Payload::Trailers { path: path.to_owned(), told: Told::of(head, requester)? };
            return Ok(Some(Box::new(seal)));
        }
        if let Some(digest) = digest {
            let read = read_content_digest(digest).ok_or(Purpose::Request.invalid("has an unreadable digest"))?;
            seal.payload = Payload::Digest(read);
        }
        if let Some(fields) = fields {
            let digest = digest.map(|field| Digested { field: field.to_owned(), trailer: false });
            if push && digest.is_none() {
                return Err(Purpose::Request.invalid("covers no digest of the payload"));
            }
            let told = Told::of(head, requester)?;
            let (query, exchange, pass) = told.of_this(story.exchange)?;
            let covered = signature::request(&head.method, path, query, exchange, pass, digest.as_ref());
            let signature = Signature::check(partner, Purpose::Request, &covered, &fields, story.at)?;
            seal.proof = Some(Proof::new(Signed::Request, partner.id(), &signature));
            seal.bound = Some(Bound { member: signature.member(), trailer: false, digest });
        }
        Ok(Some(Box::new(seal)))
    }

    /// How the payload that a partner sends is to be checked.
    pub(super) fn payload_check(
        &self,
        story: &mut Story,
        partner: &Arc<Partner>,
        closing: &Arc<Closing>,
    ) -> Option<Check> {
        let payload = std::mem::replace(&mut story.seal.as_mut()?.payload, Payload::Unchecked);
        let closing = Arc::clone(closing);
        match payload {
            Payload::Unchecked => None,
            Payload::Digest(told) => Some(Check::new(
                false,
                Box::new(move |_, found| {
                    let same = told == found;
                    closing.blamed(if same { Ok(()) } else { Err(AuthenticateError::DigestMismatch) })
                }),
            )),
            Payload::Trailers { path, told } => {
                let (partner, clock, method) = (Arc::clone(partner), Arc::clone(&self.clock), story.method.clone());
                let open = story.exchange;
                let verdict = move |trailers: Option<&HeaderMap>, found: Digest| {
                    let missing = || Purpose::Request.missing();
                    let trailers = trailers.ok_or_else(missing)?;
                    let digest = trailer_digest(trailers, found, Purpose::Request)?;
                    let fields = Fields::of(trailers, Purpose::Request)?.ok_or_else(missing)?;
                    let (query, exchange, pass) = told.of_this(open)?;
                    let covered = signature::request(&method, &path, query, exchange, pass, Some(&digest));
                    let signature = Signature::check(&partner, Purpose::Request, &covered, &fields, clock.now())?;
                    Ok((
                        Proof::new(Signed::Request, partner.id(), &signature),
                        Bound { member: signature.member(), trailer: true, digest: Some(digest) },
                    ))
                };
                Some(Check::new(
                    true,
                    Box::new(move |trailers, found| {
                        let (proof, bound) = closing.blamed(verdict(trailers, found))?;
                        closing.prove(proof);
                        closing.bind(bound);
                        Ok(())
                    }),
                ))
            }
        }
    }

    /// Signs an answer to a partner once the digest of its content is known.
    fn answer_sealer(&self, story: &Story, head: &HeaderMap, status: StatusCode, how: Sealing) -> Sealer {
        let text = |name| head.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let (kind, obligations) = (text(header::CONTENT_TYPE), text(OBLIGATIONS.clone()));
        let (minter, clock, us) = (Arc::clone(&self.minter), Arc::clone(&self.clock), self.us.clone());
        let exchange = story.exchange;
        Box::new(move |digest| {
            let Sealing { trailer, bound, owed } = how;
            let digest = Digested { field: content_digest(&digest), trailer };
            let (kind, obligations) = (kind.as_deref(), obligations.as_deref());
            let covered = signature::answer(status, &exchange.to_string(), kind, obligations, &digest, bound.as_ref());
            let signature = Signature::make(&minter, Purpose::Answer, &covered, clock.now())?;
            let then = owed.filter(|_| bound.is_some()).map(|party| {
                let (member, digest) = (signature.member(), digest.clone());
                Then::Owe(party, exchange, Sent { at: clock.now(), status, digest, member })
            });
            let proof = Proof::new(Signed::Answer, &us, &signature);
            Ok(Sealed { fields: fields(&digest, &signature)?, proof: Some(proof), bound: None, then })
        })
    }

    /// Signs the answer to a fetch if that was asked for. Whether its payload is to end with trailers; `whole` is the
    /// payload if it is there whole.
    pub(super) fn seal_answer(
        &self,
        story: &Story,
        status: StatusCode,
        headers: &mut HeaderMap,
        whole: Option<&[u8]>,
        closing: &Closing,
    ) -> Result<bool, Refusal> {
        let Some(seal) = story.seal.as_deref().filter(|seal| seal.asked) else { return Ok(false) };
        let how = Sealing { trailer: whole.is_none(), bound: seal.bound.clone(), owed: story.counterparty.clone() };
        match whole {
            Some(whole) => {
                let sealed = self.answer_sealer(story, headers, status, how)(Digest::of(whole))?;
                headers.extend(closing.sealed(sealed));
                Ok(false)
            }
            None if seal.trailers => {
                closing.seal_at_end(self.answer_sealer(story, headers, status, how));
                headers.remove(header::CONTENT_LENGTH);
                headers.insert(header::TRAILER, TRAILERS);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Signs an answer whose content is there whole: the receipt of a push where that is asked for, and every refusal to
    /// a partner that is known, so that it holds proof of it.
    pub(super) fn seal_whole(&self, story: &Story, response: &mut Response<Bytes>, closing: &Closing) {
        let asked = story.seal.as_deref().is_some_and(|seal| seal.asked);
        let refused = !response.status().is_success() && story.certificate.is_some() && story.counterparty.is_some();
        if !asked && !refused {
            return;
        }
        let bound = closing.bound().or_else(|| story.seal.as_deref().and_then(|seal| seal.bound.clone()));
        let how = Sealing { trailer: false, bound, owed: None };
        let content: &[u8] = if story.method == http::Method::HEAD { b"" } else { response.body() };
        let digest = Digest::of(content);
        match self.answer_sealer(story, response.headers(), response.status(), how)(digest) {
            Ok(sealed) => response.headers_mut().extend(closing.sealed(sealed)),
            Err(error) => tracing::error!(%error, exchange = %story.exchange, "an answer could not be signed"),
        }
    }

    /// Signs a request to a partner's gateway. Without `digest` it has no payload, or the payload is to end with
    /// trailers that sign it.
    pub(super) fn sign_request(
        &self,
        story: &Story,
        arrival: &Arrival<'_>,
        headers: &mut HeaderMap,
        payload: Sending<'_>,
        closing: &Closing,
    ) -> Result<bool, Refusal> {
        let pass = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let pass = content_digest(&Digest::of(pass.unwrap_or_default()));
        headers.insert(PASS_DIGEST.clone(), value(&pass)?);
        // So that the answer may be signed as it streams; such a field is for this connection alone (RFC 9110, 10.1.4).
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        let (path, query) = arrival.path.split_once('?').unwrap_or((&arrival.path, ""));
        let (path, query) = (path.to_owned(), query_digest(query).map(|digest| content_digest(&digest)));
        if let Some(query) = &query {
            headers.insert(QUERY_DIGEST.clone(), value(query)?);
        }
        let (minter, clock, method) = (Arc::clone(&self.minter), Arc::clone(&self.clock), story.method.clone());
        let exchange = story.exchange.to_string();
        let seal = move |digest: Option<Digested>| {
            let covered = signature::request(&method, &path, query.as_deref(), &exchange, &pass, digest.as_ref());
            let signature = Signature::make(&minter, Purpose::Request, &covered, clock.now())?;
            let mut fields = signature_fields(&signature)?;
            if let Some(digest) = &digest {
                fields.insert(CONTENT_DIGEST.clone(), value(&digest.field)?);
            }
            let trailer = digest.as_ref().is_some_and(|digest| digest.trailer);
            let bound = Bound { member: signature.member(), trailer, digest };
            Ok::<_, AuthenticateError>(Sealed { fields, proof: None, bound: Some(bound), then: None })
        };
        let digested = |digest: &Digest, trailer| Some(Digested { field: content_digest(digest), trailer });
        match payload {
            Sending::Nothing => headers.extend(closing.sealed(seal(None)?)),
            Sending::Whole(whole) => headers.extend(closing.sealed(seal(digested(&Digest::of(whole), false))?)),
            Sending::Streamed => {
                closing.seal_at_end(Box::new(move |digest| seal(digested(&digest, true))));
                headers.insert(header::TRAILER, TRAILERS);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How a partner's answer is to be checked. What stands in its head is verified here already; `receipt` says that
    /// its payload gets a receipt once it came whole.
    pub(super) fn answer_check(
        &self,
        story: &Story,
        partner: &Arc<Partner>,
        head: &http::response::Parts,
        receipt: bool,
        closing: &Arc<Closing>,
    ) -> Result<Option<Check>, AuthenticateError> {
        let of = Purpose::Answer;
        let headers = &head.headers;
        let fields = Fields::of(headers, of)?;
        let announced = announces(headers);
        if fields.is_none() && !announced {
            return match partner.signatures() {
                Signatures::None => Ok(None),
                Signatures::Answers | Signatures::All => Err(of.missing()),
            };
        }
        let text = |name| field(headers, name, of).map(|value| value.map(str::to_owned));
        let (exchange, kind, obligations) = (text(&EXCHANGE)?, text(&header::CONTENT_TYPE)?, text(&OBLIGATIONS)?);
        let exchange = exchange.filter(|exchange| *exchange == story.exchange.to_string());
        let exchange = exchange.ok_or(of.invalid("names another exchange"))?;
        let status = head.status;
        // Who refuses before it looked at the request's signature, or before that came, cannot answer for it.
        let may_be_loose = !status.is_success() && status != StatusCode::NOT_MODIFIED;
        let (signer, clock, state) = (Arc::clone(partner), Arc::clone(&self.clock), Arc::clone(closing));
        let check = {
            let exchange = exchange.clone();
            move |fields: &Fields<'_>, digest: &Digested| {
                let (kind, obligations) = (kind.as_deref(), obligations.as_deref());
                let bound = state.bound();
                let verify = |bound: Option<&Bound>| {
                    let covered = signature::answer(status, &exchange, kind, obligations, digest, bound);
                    Signature::check(&signer, of, &covered, fields, clock.now())
                };
                verify(bound.as_ref()).or_else(|error| if may_be_loose { verify(None) } else { Err(error) })
            }
        };
        let known = match fields {
            Some(fields) => {
                let digest = field(headers, &CONTENT_DIGEST, of)?.ok_or(of.invalid("covers no digest"))?;
                let told = read_content_digest(digest).ok_or(of.invalid("has an unreadable digest"))?;
                let digest = Digested { field: digest.to_owned(), trailer: false };
                Some((check(&fields, &digest)?, digest, told))
            }
            None => None,
        };
        let (minter, clock, us, them) =
            (Arc::clone(&self.minter), Arc::clone(&self.clock), self.us.clone(), partner.id().clone());
        let (closing, open) = (Arc::clone(closing), story.exchange);
        let judge = move |trailers: Option<&HeaderMap>, found: Digest| {
            let (signature, digest) = match known {
                Some((signature, digest, told)) if told == found => (signature, digest),
                Some(_) => return Err(of.other_payload()),
                None => {
                    let trailers = trailers.ok_or(of.missing())?;
                    let digest = trailer_digest(trailers, found, of)?;
                    let fields = Fields::of(trailers, of)?.ok_or(of.missing())?;
                    (check(&fields, &digest)?, digest)
                }
            };
            let mut proofs = vec![Proof::new(Signed::Answer, &them, &signature)];
            let then = if receipt {
                let covered = signature::receipt(status, &exchange, &digest, &signature.member());
                let ours = Signature::make(&minter, Purpose::Receipt, &covered, clock.now())?;
                proofs.push(Proof::new(Signed::Receipt, &us, &ours));
                let (signature_input, signature) = (ours.input_field(), ours.field());
                Some(Then::Post(them, Receipt { exchange: open, signature_input, signature }))
            } else {
                None
            };
            Ok((proofs, then))
        };
        let verdict = move |trailers: Option<&HeaderMap>, found: Digest| {
            let (proofs, then) = closing.blamed(judge(trailers, found))?;
            proofs.into_iter().for_each(|proof| closing.prove(proof));
            if let Some(then) = then {
                closing.then(then);
            }
            Ok(())
        };
        Ok(Some(Check::new(announced, Box::new(verdict))))
    }
}

/// How an answer is signed.
struct Sealing {
    trailer: bool,
    bound: Option<Bound>,
    /// Who owes a receipt for it.
    owed: Option<PartyId>,
}

/// What a request of ours sends.
#[derive(Clone, Copy)]
pub(super) enum Sending<'a> {
    /// Nothing.
    Nothing,
    /// A payload that is there whole.
    Whole(&'a [u8]),
    /// A payload that streams.
    Streamed,
}

/// What the head of a request says of itself, as its fields came, and what it is in fact.
struct Told {
    query: Option<String>,
    exchange: Option<String>,
    pass: Option<String>,
    asked: Option<Digest>,
    shown: Digest,
}

impl Told {
    fn of(head: &Parts, requester: &Requester) -> Result<Self, AuthenticateError> {
        let told = |name| field(&head.headers, name, Purpose::Request).map(|value| value.map(str::to_owned));
        let (query, exchange, pass) = (told(&QUERY_DIGEST)?, told(&EXCHANGE)?, told(&PASS_DIGEST)?);
        let asked = query_digest(head.uri.query().unwrap_or_default());
        Ok(Self { query, exchange, pass, asked, shown: requester.pass() })
    }

    /// Query digest, exchange and pass digest, which must be those that the request is about.
    fn of_this(&self, open: ExchangeId) -> Result<(Option<&str>, &str, &str), AuthenticateError> {
        let wrong = |why| Purpose::Request.invalid(why);
        // One that we did not take was used before, or is not of this time: the same request, sent again by somebody.
        let exchange = self.exchange.as_deref().filter(|exchange| *exchange == open.to_string());
        let exchange = exchange.ok_or(wrong("names no exchange that is new and of this time"))?;
        let pass = self.pass.as_deref().filter(|pass| read_content_digest(pass) == Some(self.shown));
        let pass = pass.ok_or(wrong("is not about the pass that is shown"))?;
        let query = self.query.as_deref();
        match (query, self.asked) {
            (None, None) => {}
            (Some(query), Some(asked)) if read_content_digest(query) == Some(asked) => {}
            _ => return Err(wrong("is not about the query that is asked")),
        }
        Ok((query, exchange, pass))
    }
}

/// The digest of a query, without its question mark; an empty query is none.
fn query_digest(query: &str) -> Option<Digest> {
    (!query.is_empty()).then(|| Digest::of(query.as_bytes()))
}

/// A field that stands once and is plain text, or does not stand at all.
fn field<'a>(headers: &'a HeaderMap, name: &HeaderName, of: Purpose) -> Result<Option<&'a str>, AuthenticateError> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(of.invalid("covers a field that stands twice or is no plain text")),
    }
}

/// The digest in the trailers, which must be that of the payload.
fn trailer_digest(trailers: &HeaderMap, found: Digest, of: Purpose) -> Result<Digested, AuthenticateError> {
    let digest = field(trailers, &CONTENT_DIGEST, of)?.ok_or(of.missing())?;
    if read_content_digest(digest) != Some(found) {
        return Err(of.other_payload());
    }
    Ok(Digested { field: digest.to_owned(), trailer: true })
}

/// Whether a client takes trailers (RFC 9110, section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case("trailers"))
}

fn fields(digest: &Digested, signature: &Signature) -> Result<HeaderMap, AuthenticateError> {
    let mut fields = signature_fields(signature)?;
    fields.insert(CONTENT_DIGEST.clone(), value(&digest.field)?);
    Ok(fields)
}

fn signature_fields(signature: &Signature) -> Result<HeaderMap, AuthenticateError> {
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(SIGNATURE_INPUT.clone(), value(&signature.input_field())?);
    fields.insert(SIGNATURE.clone(), value(&signature.field())?);
    Ok(fields)
}

fn value(text: &str) -> Result<HeaderValue, AuthenticateError> {
    HeaderValue::try_from(text).map_err(|_| AuthenticateError::Configuration("a field cannot be written".to_owned()))
}
