//! Signatures on messages between gateways: one profile of RFC 9421 over the digests of RFC 9530, and nothing beside it.
//!
//! A party signs with the Ed25519 key of its passes. [`Covered`] lists what a signature is put under, in the order that
//! the profile fixes, with values taken from the message as it was received; [`Signature::make`] signs that and
//! [`Signature::check`] verifies it. A signature that covers anything else, or says more about itself than the profile
//! knows, is refused: what a verifier does not understand might be what the signer meant.
//!
//! A request covers the digests of its pass (`sekisho-pass`) and of its query (`sekisho-query`), and neither of the two:
//! the text that was signed goes on record, a pass names a person, and a query may.

mod covered;
mod fields;
#[cfg(test)]
mod tests;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderName;

pub use covered::{Bound, Covered, Digested, answer, receipt, request};
pub use fields::{Fields, announces, asks_for_answer, content_digest, read_content_digest};

use super::keys::PassKeys;
use super::pass::{CLOCK_SKEW, PASS_LIFETIME};
use super::{AuthenticateError, Partner, PassMinter};
use crate::types::Timestamp;

/// `Content-Digest` (RFC 9530).
pub static CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// `Signature-Input` (RFC 9421).
pub static SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
/// `Signature` (RFC 9421).
pub static SIGNATURE: HeaderName = HeaderName::from_static("signature");
/// `Accept-Signature` (RFC 9421, section 5.1): asks for a signed answer.
pub static ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");
/// The digest of the pass that a signed request shows, as `Content-Digest` writes one.
pub static PASS_DIGEST: HeaderName = HeaderName::from_static("sekisho-pass");
/// The digest of the query of a signed request that has one, written alike.
pub static QUERY_DIGEST: HeaderName = HeaderName::from_static("sekisho-query");

/// The label of our signatures among others on the same message.
const LABEL: &str = "sekisho";
/// The most that one signature may cover, in bytes of its base. Two of them fit an entry of the log beside all else, even if
/// every character is one that JSON writes as two.
pub const BASE_BYTES: usize = 8 * 1024;
/// The most bytes of a signature's field.
const FIELD_BYTES: usize = 4 * 1024;

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A request, by who asks.
    Request,
    /// An answer, by who answers.
    Answer,
    /// The receipt for an answer, by who asked.
    Receipt,
}

impl Purpose {
    /// The `tag` parameter.
    const fn tag(self) -> &'static str {
        match self {
            Self::Request => "sekisho-request",
            Self::Answer => "sekisho-answer",
            Self::Receipt => "sekisho-receipt",
        }
    }

    /// No signature where one is demanded.
    pub const fn missing(self) -> AuthenticateError {
        match self {
            Self::Request => AuthenticateError::RequestUnsigned,
            Self::Answer | Self::Receipt => AuthenticateError::AnswerUnsigned,
        }
    }

    /// A signature that does not hold.
    pub const fn invalid(self, why: &'static str) -> AuthenticateError {
        match self {
            Self::Request => AuthenticateError::RequestSignature(why),
            Self::Answer => AuthenticateError::AnswerSignature(why),
            Self::Receipt => AuthenticateError::ReceiptSignature(why),
        }
    }

    const fn stale(self) -> AuthenticateError {
        match self {
            Self::Request => AuthenticateError::RequestStale,
            Self::Answer => AuthenticateError::AnswerStale,
            Self::Receipt => AuthenticateError::ReceiptSignature("is dated in the future"),
        }
    }

    /// A payload that is not the one that its digest is of.
    pub const fn other_payload(self) -> AuthenticateError {
        match self {
            Self::Request => AuthenticateError::DigestMismatch,
            Self::Answer | Self::Receipt => AuthenticateError::AnswerDigest,
        }
    }
}

/// A signature that holds, ours or a partner's, with all that checking it again takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key: String,
    public: [u8; 32],
    base: String,
    bytes: [u8; 64],
    /// What the signature says of itself, which is the member of `Signature-Input`.
    parameters: String,
}

impl Signature {
    /// Signs what is covered with the key of our passes.
    ///
    /// # Errors
    /// [`AuthenticateError`] when more is covered than goes on record, or when the provider fails to sign.
    pub fn make(
        minter: &PassMinter,
        purpose: Purpose,
        covered: &Covered,
        now: Timestamp,
    ) -> Result<Self, AuthenticateError> {
        let parameters = fields::parameters(covered, now, minter.kid(), purpose.tag());
        let base = covered.base(&parameters).ok_or(purpose.invalid("covers more than 8 KiB"))?;
        let bytes = minter.sign(base.as_bytes())?;
        Ok(Self { key: minter.kid().to_owned(), public: *minter.public_key(), base, bytes, parameters })
    }

    /// Checks a partner's signature over what is covered, which the caller took from the message as it came. A receipt
    /// may come late; of a message the signature is as fresh as a pass has to be.
    ///
    /// # Errors
    /// One variant of [`AuthenticateError`] per reason.
    pub fn check(
        partner: &Partner,
        purpose: Purpose,
        covered: &Covered,
        fields: &Fields<'_>,
        now: Timestamp,
    ) -> Result<Self, AuthenticateError> {
        Self::check_with(partner.keys(), purpose, covered, fields, now)
    }

    fn check_with(
        keys: &PassKeys,
        purpose: Purpose,
        covered: &Covered,
        fields: &Fields<'_>,
        now: Timestamp,
    ) -> Result<Self, AuthenticateError> {
        let given = fields.read(purpose)?;
        if given.tag != purpose.tag() {
            return Err(purpose.invalid("has another tag"));
        }
        if !covered.is_listed_by(&given.components) {
            return Err(purpose.invalid("covers other components than the profile asks for"));
        }
        let created = Timestamp::from_seconds(given.created);
        let late = purpose != Purpose::Receipt && now.since(created) > PASS_LIFETIME;
        if late || created > now.plus(CLOCK_SKEW) {
            return Err(purpose.stale());
        }
        let public = keys.get(&given.key, now).and_then(|key| key.ed25519);
        let public = public.ok_or(purpose.invalid("names no Ed25519 key that its party signs with"))?;
        let base = covered.base(&given.parameters).ok_or(purpose.invalid("covers more than 8 KiB"))?;
        UnparsedPublicKey::new(&ED25519, &public)
            .verify(base.as_bytes(), &given.signature)
            .map_err(|_| purpose.invalid("does not verify"))?;
        let bytes = given.signature;
        Ok(Self { key: given.key, public, base, bytes, parameters: given.parameters })
    }

    /// The id of the key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The raw public key, base64url.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.public)
    }

    /// The text that was signed.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The raw signature, base64url.
    pub fn encoded(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes)
    }

    /// The value of `Signature-Input`.
    pub fn input_field(&self) -> String {
        format!("{LABEL}={}", self.parameters)
    }

    /// The value of `Signature`.
    pub fn field(&self) -> String {
        format!("{LABEL}={}", self.member())
    }

    /// Our member of `Signature`, as another signature covers it.
    pub fn member(&self) -> String {
        member(&self.bytes)
    }
}

/// The member of `Signature` that a signature in base64url makes.
pub fn member_of(encoded: &str) -> Option<String> {
    URL_SAFE_NO_PAD.decode(encoded).ok().filter(|bytes| bytes.len() == 64).map(|bytes| member(&bytes))
}

fn member(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}
