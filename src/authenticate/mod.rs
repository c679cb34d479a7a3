//! Who is asking: a certificate names the partner, a pass names the person or service, and neither is believed beyond
//! what its issuer may assert.
//!
//! [`Partners`] holds the partners that we vetted, each with its own trust anchors: one partner's authority can never
//! vouch for another's name. [`PassVerifier`] turns a pass (JWT, RFC 7519) into a [`Requester`].

mod certificate;
mod keys;
mod memory;
mod mint;
mod partner;
mod pass;
mod person;
pub mod signature;
mod statement;
mod tls;

use std::sync::Arc;

pub use certificate::Certificate;
pub use keys::{KeySet, PublishedKey};
pub use mint::PassMinter;
pub use partner::{Partner, PartnerEntry, Partners, Signatures};
pub use pass::{PASS_LIFETIME, PERSON_ATTRIBUTES, PassVerifier, Requester};
pub use person::{Person, Role};
pub use statement::{Dated, STATEMENT_BYTES, Statements, sign_statement};
pub use tls::{Credentials, Tls, anonymous_client};

use crate::types::Blame;

/// A partner, proven by its certificate, that asks for someone, proven by a pass.
#[derive(Debug, Clone)]
pub struct Authenticated {
    partner: Arc<Partner>,
    requester: Arc<Requester>,
}

impl Authenticated {
    /// The organisation that asks.
    pub fn partner(&self) -> &Arc<Partner> {
        &self.partner
    }

    /// The person or service that asks, with purpose and action.
    pub fn requester(&self) -> &Arc<Requester> {
        &self.requester
    }
}

/// Why we do not believe that someone is who they say. Messages hold no token and no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticateError {
    /// A certificate, key or anchor of the configuration does not work.
    #[error("{0}")]
    Configuration(String),
    /// The certificate cannot be read, or lacks what a gateway's certificate must have.
    #[error("the certificate {0}")]
    Certificate(&'static str),
    /// The certificate was good when the connection was made, and is not any more.
    #[error("the certificate has expired")]
    CertificateExpired,
    /// No partner goes by a name in the certificate.
    #[error("no partner goes by a name in the certificate")]
    UnknownParty,
    /// The partner is suspended.
    #[error("the partner is suspended")]
    Suspended,
    /// No `Authorization: Bearer` header with a pass.
    #[error("a pass is missing: send `Authorization: Bearer <pass>`")]
    PassMissing,
    /// The pass is not a JWT of the shape that is asked for.
    #[error("the pass {0}")]
    PassMalformed(&'static str),
    /// The pass is signed with a key that the partner does not publish, or that is out of use.
    #[error("the pass names a key that the partner does not publish, or that is out of use")]
    PassUnknownKey,
    /// The signature of the pass is not by the key that it names.
    #[error("the signature of the pass does not verify")]
    PassSignature,
    /// The pass was issued by another party than the certificate's.
    #[error("the pass was issued by another party than the one that presents it")]
    PassWrongIssuer,
    /// The pass is meant for another party.
    #[error("the pass is meant for another party")]
    PassWrongAudience,
    /// The pass is bound to another certificate (RFC 8705).
    #[error("the pass is bound to another certificate")]
    PassWrongCertificate,
    /// The pass has expired.
    #[error("the pass has expired")]
    PassExpired,
    /// The pass is not valid yet, even with some allowance for clocks that differ.
    #[error("the pass is not valid yet: compare the clocks")]
    PassNotYetValid,
    /// The pass lives longer than ten minutes.
    #[error("the pass lives longer than ten minutes")]
    PassTooLong,
    /// A dataset that demands single use was asked for with a pass that was shown before.
    #[error("the dataset demands a pass that was never shown before")]
    PassUsed,
    /// A single-use pass was issued before this gateway started, which cannot know whether it was shown.
    #[error("the dataset demands a pass issued after this gateway started: make a new one")]
    PassStale,
    /// A statement of one of our own people does not hold.
    #[error("the statement {0}")]
    Statement(&'static str),
    /// A partner whose requests have to be signed sent one that is not.
    #[error("the request is not signed")]
    RequestUnsigned,
    /// The signature of a request does not hold.
    #[error("the signature of the request {0}")]
    RequestSignature(&'static str),
    /// The signature of a request is older than a pass may be, or from the future.
    #[error("the signature of the request is not of this time")]
    RequestStale,
    /// The payload of a request is not the one that its digest is of.
    #[error("the payload is not the one that its digest is of")]
    DigestMismatch,
    /// A partner whose answers have to be signed sent one that is not.
    #[error("the answer is not signed")]
    AnswerUnsigned,
    /// The signature of an answer does not hold.
    #[error("the signature of the answer {0}")]
    AnswerSignature(&'static str),
    /// The signature of an answer is older than a pass may be, or from the future.
    #[error("the signature of the answer is not of this time")]
    AnswerStale,
    /// The payload of an answer is not the one that its digest is of.
    #[error("the payload of the answer is not the one that its digest is of")]
    AnswerDigest,
    /// The signature of a receipt does not hold.
    #[error("the signature of the receipt {0}")]
    ReceiptSignature(&'static str),
    /// Too many single-use passes are remembered to take one more.
    #[error("too many single-use passes in a short time: try again in a minute")]
    PassMemoryFull,
}

impl AuthenticateError {
    /// A stable code, also a metric label.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "credentials_unusable",
            Self::Certificate(_) => "certificate_invalid",
            Self::CertificateExpired => "certificate_expired",
            Self::UnknownParty => "certificate_unknown_party",
            Self::Suspended => "partner_suspended",
            Self::PassMissing => "pass_missing",
            Self::PassMalformed(_) => "pass_malformed",
            Self::PassUnknownKey => "pass_unknown_key",
            Self::PassSignature => "pass_signature_invalid",
            Self::PassWrongIssuer => "pass_wrong_issuer",
            Self::PassWrongAudience => "pass_wrong_audience",
            Self::PassWrongCertificate => "pass_wrong_certificate",
            Self::PassExpired => "pass_expired",
            Self::PassNotYetValid => "pass_not_yet_valid",
            Self::PassTooLong => "pass_lifetime_too_long",
            Self::PassUsed => "pass_already_used",
            Self::PassStale => "pass_stale",
            Self::Statement(_) => "statement_invalid",
            Self::PassMemoryFull => "pass_memory_full",
            Self::RequestUnsigned => "request_unsigned",
            Self::RequestSignature(_) => "request_signature_invalid",
            Self::RequestStale => "request_signature_stale",
            Self::DigestMismatch => "digest_mismatch",
            Self::AnswerUnsigned => "answer_unsigned",
            Self::AnswerSignature(_) => "answer_signature_invalid",
            Self::AnswerStale => "answer_signature_stale",
            Self::AnswerDigest => "answer_digest_mismatch",
            Self::ReceiptSignature(_) => "receipt_signature_invalid",
        }
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Configuration(_) => Blame::Operator,
            Self::AnswerUnsigned | Self::AnswerSignature(_) | Self::AnswerStale | Self::AnswerDigest => Blame::Upstream,
            _ => Blame::Peer,
        }
    }
}
