//! The only place where an error or a denial turns into what a peer sees: a status and a problem document (RFC 9457).
//!
//! A peer gets the stable code, the exchange and a plain sentence; causes stay in our own log.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::accept::BadTarget;
use crate::authenticate::AuthenticateError;
use crate::decide::{Denial, Reason, Verdict};
use crate::enforce::EnforceError;
use crate::forward::ForwardError;
use crate::record::{RecordError, WitnessError};
use crate::types::{Digest, ExchangeId};

/// Why an exchange does not take place, in the words of the record and of the peer.
#[derive(Debug, Clone)]
pub struct Refusal {
    code: &'static str,
    denial: Option<Denial>,
}

/// A problem document.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<ExchangeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Decider<'a>>,
    #[serde(skip_serializing_if = "<[Reason]>::is_empty")]
    reasons: &'a [Reason],
}

/// The policy behind a refusal, as the record names it, so that whoever is refused can hold it against the record.
#[derive(Serialize)]
struct Decider<'a> {
    id: &'a str,
    revision: &'a str,
    digest: Digest,
}

impl Refusal {
    /// A refusal that is no room's error, by its code.
    pub fn new(code: &'static str) -> Self {
        Self { code, denial: None }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The policy's denial, if it was the policy that refused.
    pub fn denial(&self) -> Option<&Denial> {
        self.denial.as_ref()
    }

    /// What the decision entry says: `deny` and `review` are the policy's words.
    pub fn verdict(&self) -> Option<Verdict> {
        self.denial.as_ref().map(|denial| denial.decision.as_ref().map_or(Verdict::Deny, |decision| decision.verdict()))
    }

    /// The HTTP status of this code.
    pub fn status(&self) -> StatusCode {
        explain(self.code).0
    }

    /// The answer that a peer sees.
    pub fn answer(&self, exchange: Option<ExchangeId>) -> Response<Bytes> {
        let (status, title) = explain(self.code);
        let decided = self.denial.as_ref().and_then(|denial| denial.decision.as_ref());
        let problem = Problem {
            kind: format!("urn:sekisho:problem:{}", self.code),
            title,
            status: status.as_u16(),
            code: self.code,
            exchange,
            policy: decided.map(|decision| {
                let policy = decision.policy();
                Decider { id: &policy.id, revision: &policy.revision, digest: policy.digest }
            }),
            reasons: decided.map(|decision| decision.reasons()).unwrap_or_default(),
        };
        // A struct of strings and numbers always has a JSON form.
        let mut text = serde_json::to_vec(&problem).unwrap_or_default();
        text.push(b'\n');
        let mut answer = Response::new(Bytes::from(text));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sekisho\""));
        }
        answer
    }
}

impl From<AuthenticateError> for Refusal {
    fn from(error: AuthenticateError) -> Self {
        Self::new(error.code())
    }
}

impl From<BadTarget> for Refusal {
    fn from(_: BadTarget) -> Self {
        Self::new("target_invalid")
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        if let Some(error) = &denial.error {
            tracing::error!(%error, "the policy did not decide");
        }
        Self { code: denial.code, denial: Some(denial) }
    }
}

impl From<EnforceError> for Refusal {
    fn from(error: EnforceError) -> Self {
        tracing::warn!(%error, "an obligation cannot be carried out");
        Self::new(error.code())
    }
}

impl From<ForwardError> for Refusal {
    fn from(error: ForwardError) -> Self {
        tracing::warn!(%error, "no answer from the other side");
        Self::new(error.code())
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        tracing::error!(%error, "the record cannot be kept");
        Self::new(error.code())
    }
}

impl From<WitnessError> for Refusal {
    fn from(error: WitnessError) -> Self {
        Self::new(error.code())
    }
}

/// All that a peer learns of a fault that is not its own.
const OUR_FAULT: &str = "The gateway could not serve this.";

/// Status and plain sentence of every code.
fn explain(code: &str) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match code {
        "target_invalid" => {
            (S::BAD_REQUEST, "The path or query can be read in more than one way, or is too long; it is not taken.")
        }
        "path_unknown" => (S::NOT_FOUND, "There is nothing at this path; data is at /data/{dataset}/{path}."),
        "dataset_unknown" => (S::NOT_FOUND, "There is no such dataset."),
        "party_unknown" => (S::NOT_FOUND, "There is no such partner, or it has no gateway."),
        "host_not_local" => (
            S::FORBIDDEN,
            "Only applications of this machine are served here: say localhost as Host, without a page's Origin.",
        ),
        "method_not_allowed" => (S::METHOD_NOT_ALLOWED, "The dataset is not offered for this method."),
        "purpose_missing" => {
            (S::BAD_REQUEST, "Say why: send Sekisho-Purpose with a term such as dpv:ScientificResearch.")
        }
        "header_invalid" => (S::BAD_REQUEST, "A Sekisho- header has a value that cannot be taken."),
        "agreement_not_on_file" => {
            (S::FORBIDDEN, "The agreement named is not on file for this partner, dataset, purpose and date.")
        }
        "agreement_not_named" => {
            (S::FORBIDDEN, "An agreement governs this dataset for this partner; name it in the pass.")
        }
        "overloaded" => (S::SERVICE_UNAVAILABLE, "Too many exchanges are in progress; try again shortly."),
        "certificate_invalid" => (S::FORBIDDEN, "The certificate cannot be accepted."),
        // Handshakes: the peer meets a TLS alert, and the code is for the record.
        "certificate_required" => (S::FORBIDDEN, "No certificate was shown."),
        "certificate_unknown_issuer" => (S::FORBIDDEN, "No authority of the partner vouches for the certificate."),
        "certificate_expired" => (S::FORBIDDEN, "The certificate has expired."),
        "certificate_not_yet_valid" => (S::FORBIDDEN, "The certificate is not valid yet; compare the clocks."),
        "certificate_revoked" => (S::FORBIDDEN, "The certificate was revoked."),
        "certificate_wrong_purpose" => (S::FORBIDDEN, "The certificate is not for clients."),
        "handshake_timeout" | "handshake_broken" | "handshake_failed" => {
            (S::BAD_REQUEST, "The TLS handshake did not come to its end.")
        }
        "certificate_unknown_party" => (S::FORBIDDEN, "No partner goes by a name in the certificate."),
        "partner_suspended" => (S::FORBIDDEN, "The partner is suspended."),
        "pass_missing" => (S::UNAUTHORIZED, "A pass is missing: send Authorization: Bearer with a pass."),
        "pass_malformed" => (S::UNAUTHORIZED, "The pass is not a signed JWT with the claims of a pass."),
        "pass_unknown_key" => (S::UNAUTHORIZED, "The pass names a key that its issuer does not publish."),
        "pass_signature_invalid" => (S::UNAUTHORIZED, "The signature of the pass does not verify."),
        "pass_wrong_issuer" => (S::UNAUTHORIZED, "The pass was issued by another party than the one that shows it."),
        "pass_wrong_audience" => (S::UNAUTHORIZED, "The pass is meant for another party."),
        "pass_wrong_certificate" => (S::UNAUTHORIZED, "The pass is bound to another certificate."),
        "pass_expired" => (S::UNAUTHORIZED, "The pass has expired."),
        "pass_not_yet_valid" => (S::UNAUTHORIZED, "The pass is not valid yet; compare the clocks."),
        "pass_lifetime_too_long" => (S::UNAUTHORIZED, "The pass lives longer than ten minutes."),
        "pass_already_used" => (S::UNAUTHORIZED, "The dataset demands a pass that was never shown before."),
        "pass_stale" => (S::UNAUTHORIZED, "The dataset demands a pass that is newer; make a new one."),
        "pass_memory_full" => (S::SERVICE_UNAVAILABLE, "Too many single-use passes in a short time."),
        "request_unsigned" => (S::UNAUTHORIZED, "Requests of this partner have to be signed."),
        "request_signature_invalid" => (S::BAD_REQUEST, "The signature of the request does not hold."),
        "request_signature_stale" => (S::BAD_REQUEST, "The signature of the request is not of this time."),
        "digest_mismatch" => (S::BAD_REQUEST, "The payload is not the one that its digest is of."),
        "answer_unsigned" => (S::BAD_GATEWAY, "The partner did not sign its answer."),
        "answer_signature_invalid" | "answer_signature_stale" | "answer_digest_mismatch" => {
            (S::BAD_GATEWAY, "The signature of the partner's answer does not hold.")
        }
        "receipts_owed" => (S::FORBIDDEN, "Receipts for earlier answers are owed; send them first, to /receipts."),
        "receipts_broken" => (S::BAD_REQUEST, "The receipts broke off, or came too slowly."),
        "receipts_too_many" => (S::PAYLOAD_TOO_LARGE, "No more than 100 receipts, of 4 KiB each, go at once."),
        "receipt_malformed" => (S::BAD_REQUEST, "The line is no receipt."),
        "receipt_unknown" => (S::NOT_FOUND, "No answer to this party waits for this receipt."),
        "receipt_signature_invalid" => (S::BAD_REQUEST, "The signature of the receipt does not hold."),
        "approval_invalid" => (S::BAD_REQUEST, "The approval is not one that an officer signed."),
        "policy_denied" => (S::FORBIDDEN, "The policy denies this; the reasons say why and what would permit it."),
        "review_required" => (S::FORBIDDEN, "A person has to approve this first; the reasons say why."),
        "policy_undefined" | "policy_failed" | "policy_overrun" | "policy_malformed" | "engines_disagree" => {
            (S::FORBIDDEN, "The policy gave no decision, so the answer is no.")
        }
        "obligation_unsupported" | "obligation_not_possible" | "pseudonym_keys_missing" | "k_anonymity_not_met" => {
            (S::FORBIDDEN, "The policy permits this only with obligations that cannot be carried out on this payload.")
        }
        "obligation_limit" => (S::FORBIDDEN, "The payload is larger than an obligation can be carried out on."),
        "payload_malformed" | "payload_limit" => (S::UNPROCESSABLE_ENTITY, "The payload is not what its type says."),
        "upload_broken" => (S::BAD_REQUEST, "The payload broke off before its end."),
        "upstream_not_found" => (S::NOT_FOUND, "The data service has nothing at this path."),
        "upstream_refused" | "upstream_failed" | "upstream_broken" | "upstream_unreachable" => {
            (S::BAD_GATEWAY, "The data service did not give the data.")
        }
        "upstream_timeout" | "upstream_connect_timeout" => {
            (S::GATEWAY_TIMEOUT, "The data service did not answer in time.")
        }
        "record_unavailable" | "record_busy" | "record_full" | "record_signing_failed" | "entry_too_large" => {
            (S::SERVICE_UNAVAILABLE, "The exchange cannot be recorded, so nothing is exchanged.")
        }
        "log_entries_private" => {
            (S::FORBIDDEN, "Entries of this log are shown to partners that are meant to audit it.")
        }
        "witness_request_malformed" => (S::BAD_REQUEST, "The request is not as C2SP tlog-witness demands."),
        "witness_origin_unknown" => (S::NOT_FOUND, "No log of this origin is witnessed here."),
        "witness_signature_invalid" => (S::FORBIDDEN, "The checkpoint is not signed by a key on file for its origin."),
        "witness_size_differs" => (S::CONFLICT, "The last checkpoint cosigned here has another size."),
        "witness_inconsistent" => {
            (S::UNPROCESSABLE_ENTITY, "The checkpoint is not consistent with the last one cosigned here.")
        }
        "witness_unavailable" => (S::SERVICE_UNAVAILABLE, "What was seen cannot be kept, so nothing is cosigned."),
        "witnesses_unasked" => (
            S::SERVICE_UNAVAILABLE,
            "Too few witnesses of the log were reached since the start, so nothing is exchanged.",
        ),
        "witnesses_overdue" => {
            (S::SERVICE_UNAVAILABLE, "The witnesses of the log are overdue, so nothing is exchanged.")
        }
        // Faults of ours or of our configuration. Most keep a gateway from starting; a peer needs to know no more.
        "agreement_unusable"
        | "bundle_builtin_refused"
        | "bundle_cases_fail"
        | "bundle_decision_malformed"
        | "bundle_delta"
        | "bundle_duplicate"
        | "bundle_engines_disagree"
        | "bundle_entrypoint_missing"
        | "bundle_file_missing"
        | "bundle_file_refused"
        | "bundle_file_unlisted"
        | "bundle_hash_wrong"
        | "bundle_inputs_undeclared"
        | "bundle_interpreter_died"
        | "bundle_key_unknown"
        | "bundle_key_unusable"
        | "bundle_module_refused"
        | "bundle_obligation_unknown"
        | "bundle_older"
        | "bundle_outside_roots"
        | "bundle_path_refused"
        | "bundle_revision_reused"
        | "bundle_revision_unordered"
        | "bundle_signature_expired"
        | "bundle_signature_invalid"
        | "bundle_sourceless"
        | "bundle_too_large"
        | "bundle_uncompiled"
        | "bundle_unconfinable"
        | "bundle_unreadable"
        | "bundle_unsigned"
        | "bundle_untried"
        | "credentials_unusable"
        | "destination_unusable"
        | "enforce_internal"
        | "entry_encoding"
        | "listen_failed"
        | "log_corrupt"
        | "log_foreign"
        | "log_io"
        | "log_locked"
        | "log_origin_invalid"
        | "log_rolled_back"
        | "policy_id_taken"
        | "policy_refused"
        | "policy_unexpected"
        | "policy_unusable"
        | "pseudonym_key_invalid"
        | "record_key_invalid"
        | "source_refused"
        | "source_timeout"
        | "source_too_large"
        | "source_unreachable"
        | "source_unreadable"
        | "source_unusable"
        | "statement_invalid" => (S::INTERNAL_SERVER_ERROR, OUR_FAULT),
        _ => (S::INTERNAL_SERVER_ERROR, OUR_FAULT),
    }
}
