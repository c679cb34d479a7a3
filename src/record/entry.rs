//! What an entry says: who asked whom for what, what was decided and why, and how it ended.
//!
//! The words are few and stable; absent values are left out. They stand for terms of W3C PROV-DM: the `exchange` is a
//! `prov:Activity` (`at` of the decision is `prov:startedAtTime`, of the outcome `prov:endedAtTime`); `dataset` is the
//! `prov:Entity` that it `prov:used`, and `digest_after` names the entity that it `prov:generated`, derived from the
//! one that `digest_before` names; `provider` and `consumer` are `prov:Agent`s, and `pass.subject` one that
//! `prov:actedOnBehalfOf` the consumer; `policy` and `agreement` are the `prov:Plan`s. An entry never holds payload,
//! and of a person nothing but `pass.subject`, a commitment that can be opened only until its salt is forgotten.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::types::{Commitment, DatasetId, Digest, ExchangeId, Obligation, PartyId, Purpose, Tag, Timestamp};

/// The largest entry a log takes, in bytes of its compact JWS: the limit of a C2SP tlog-tiles entry bundle.
pub const MAX_ENTRY: usize = 65_535;

/// Which way the exchange goes, seen from the gateway that records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Our data leaves to a partner that asked for it.
    Export,
    /// A partner's data enters our upstream: a push.
    Import,
    /// Our own application asks a partner.
    Request,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The policy permits it; obligations may hold.
    Permit,
    /// The policy holds it for a person's approval, and none is on file.
    Review,
    /// The policy denies it.
    Deny,
    /// It was refused before a policy was asked.
    Refused,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Every byte went through.
    Complete,
    /// Nothing of the payload left.
    Refused,
    /// It broke off on the way; `bytes_out` had left by then.
    Broken,
    /// The gateway stopped before it could tell. Written when the log is opened again.
    Unknown,
}

/// The pass that was presented.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PassRef<'a> {
    /// SHA-256 of the compact JWT.
    pub digest: Digest,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<&'a str>,
    /// The person or service it speaks for, as a commitment under a salt of this pass's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Commitment>,
}

/// The policy that decided.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PolicyRef<'a> {
    /// Its name.
    pub id: &'a str,
    /// Its revision, as its authors count.
    pub revision: &'a str,
    /// SHA-256 over its source or bundle.
    pub digest: Digest,
}

/// One rule's reason against the exchange.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Reason<'a> {
    /// The rule.
    pub rule: &'a str,
    /// Why it failed, as a sentence.
    pub why: &'a str,
    /// What would make it hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'a str>,
    /// The offices that may approve, of a review that asks for one.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub approvers: &'a [String],
    /// The policy that gives the reason, where several decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a str>,
}

/// An approval that lifted a review.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ApprovalRef<'a> {
    /// Its id.
    pub id: &'a str,
    /// SHA-256 of the approval as its officer signed it.
    pub digest: Digest,
    /// The offices that the approver held. Who that is stands in the approval itself.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub offices: &'a BTreeSet<String>,
}

/// The HTTP request behind the exchange.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RequestLine<'a> {
    /// Method.
    pub method: &'a str,
    /// Path as the peer wrote it, without the query; of one too long to be served, its beginning and `...`.
    pub path: &'a str,
}

/// What was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signed {
    /// What was asked for, by who asked.
    Request,
    /// What was answered, by who answered.
    Answer,
    /// That the answer arrived, by who asked.
    Receipt,
}

/// A signature as HTTP carried it (RFC 9421), with all that checking it takes: one Ed25519 verification.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SignatureRef<'a> {
    /// What it is put under.
    pub of: Signed,
    /// Who signed.
    pub party: &'a PartyId,
    /// The id of the key.
    pub key: &'a str,
    /// The raw Ed25519 public key, base64url.
    pub public: &'a str,
    /// The signature base, which is the text that was signed.
    pub base: &'a str,
    /// The signature, base64url.
    pub signature: &'a str,
}

/// The entry that must be durable before the first byte leaves: `"kind": "decision"`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename = "decision")]
pub struct DecisionEntry<'a> {
    /// The exchange.
    pub exchange: ExchangeId,
    /// When it was decided.
    pub at: Timestamp,
    /// Whose data it is; absent when the request did not get far enough to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'a PartyId>,
    /// Who asks; absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<&'a PartyId>,
    /// Which way it goes.
    pub direction: Direction,
    /// What is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<&'a DatasetId>,
    /// The dataset's tags.
    #[serde(skip_serializing_if = "<[Tag]>::is_empty")]
    pub tags: &'a [Tag],
    /// Why it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<&'a Purpose>,
    /// What will be done with it: `transfer`, `train`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'a str>,
    /// The agreement it is asked under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<&'a str>,
    /// The pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<PassRef<'a>>,
    /// SHA-256 of the client certificate's DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Digest>,
    /// SHA-256 of the policy input that was decided upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Digest>,
    /// The policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef<'a>>,
    /// The verdict.
    pub decision: Verdict,
    /// The stable code of the refusal; absent when permitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    /// Which rules spoke against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason<'a>>,
    /// What the policy demands of the payload.
    #[serde(skip_serializing_if = "<[Obligation]>::is_empty")]
    pub obligations: &'a [Obligation],
    /// The approvals that lifted a review.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRef<'a>>,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestLine<'a>>,
    /// The signatures that came with the request.
    #[serde(skip_serializing_if = "<[SignatureRef<'_>]>::is_empty")]
    pub signatures: &'a [SignatureRef<'a>],
}

/// One obligation as it was carried out.
#[derive(Debug, Clone, Serialize)]
pub struct Carried<'a> {
    /// What was done.
    #[serde(rename = "do")]
    pub action: &'a str,
    /// The rule that demanded it.
    pub rule: &'a str,
    /// By which method, such as `hmac-sha256`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<&'a str>,
    /// On which fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<&'a str>,
    /// How many values it touched.
    pub count: u64,
}

/// The entry that closes an exchange: `"kind": "outcome"`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename = "outcome")]
pub struct OutcomeEntry<'a> {
    /// The exchange.
    pub exchange: ExchangeId,
    /// When it ended.
    pub at: Timestamp,
    /// The HTTP status that the peer saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended.
    pub ended: Ended,
    /// The stable code of the refusal or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    /// Payload bytes that came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Payload bytes that went out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// SHA-256 of the payload before obligations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_before: Option<Digest>,
    /// SHA-256 of the payload after obligations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_after: Option<Digest>,
    /// What was done to the payload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub obligations_carried: Vec<Carried<'a>>,
    /// The HTTP status that the upstream or the other gateway gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// From the decision to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
    /// The signatures that came and left since the decision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<SignatureRef<'a>>,
}

impl OutcomeEntry<'_> {
    /// An outcome of which only how it ended is known; everything else is absent until it is set.
    pub const fn new(exchange: ExchangeId, at: Timestamp, ended: Ended) -> Self {
        Self {
            exchange,
            at,
            status: None,
            ended,
            code: None,
            bytes_in: None,
            bytes_out: None,
            digest_before: None,
            digest_after: None,
            obligations_carried: Vec::new(),
            upstream_status: None,
            milliseconds: None,
            signatures: Vec::new(),
        }
    }
}

/// The entry that keeps a receipt that came after its exchange: `"kind": "receipt"`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename = "receipt")]
pub struct ReceiptEntry<'a> {
    /// The exchange whose answer arrived.
    pub exchange: ExchangeId,
    /// When the receipt came.
    pub at: Timestamp,
    /// Who received.
    pub party: &'a PartyId,
    /// The receipt.
    pub signatures: [SignatureRef<'a>; 1],
}

/// What an entry means for the pairing of decisions and outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// From here on data may flow, and an outcome is owed.
    Opens(ExchangeId),
    /// The exchange is over.
    Ends(ExchangeId),
    /// Nothing opens or ends.
    Neither,
}

/// Whatever a log takes as an entry.
pub trait Entry: Serialize {
    /// What it means. The writer believes it, so that it need not read what it writes.
    fn means(&self) -> Means {
        Means::Neither
    }
}

impl Entry for DecisionEntry<'_> {
    fn means(&self) -> Means {
        if self.decision == Verdict::Permit { Means::Opens(self.exchange) } else { Means::Neither }
    }
}

impl Entry for OutcomeEntry<'_> {
    fn means(&self) -> Means {
        Means::Ends(self.exchange)
    }
}

impl Entry for ReceiptEntry<'_> {}

/// As much of a payload as pairing decisions with outcomes needs.
#[derive(Debug, Deserialize)]
pub(super) struct Outline<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    exchange: Cow<'a, str>,
    #[serde(borrow, default)]
    decision: Option<Cow<'a, str>>,
}

/// What an entry means for the pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An exchange opens; data may flow only when `permitted`.
    Decided { permitted: bool },
    /// An exchange ends.
    Ended,
    /// Something about an exchange that neither opens nor ends it.
    Noted,
}

impl Outline<'_> {
    /// Reads a payload; `None` when it is no entry of a known kind.
    pub(super) fn read(payload: &[u8]) -> Option<(ExchangeId, Step)> {
        let outline: Outline<'_> = serde_json::from_slice(payload).ok()?;
        let step = match (outline.kind.as_ref(), outline.decision.as_deref()) {
            ("decision", Some("permit")) => Step::Decided { permitted: true },
            ("decision", Some("review" | "deny" | "refused")) => Step::Decided { permitted: false },
            ("outcome", None) => Step::Ended,
            ("receipt", None) => Step::Noted,
            _ => return None,
        };
        Some((outline.exchange.parse().ok()?, step))
    }
}
