//! The pass: a JWT (RFC 7519) that says who asks, why, and under which agreement, bound to a certificate (RFC 8705).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::memory::{ShownPasses, VerifiedPasses};
use super::{AuthenticateError, Authenticated, Certificate, Partner};
use crate::types::{Clock, Commitment, Digest, PartyId, Purpose, Salt, Timestamp};

/// The `typ` of a pass, so that no other JWT of the same issuer can serve as one (RFC 8725, section 3.11).
pub(super) const PASS_TYPE: &str = "sekisho-pass+jwt";
/// The longest life of a pass.
pub const PASS_LIFETIME: Duration = Duration::from_secs(600);
/// How far a partner's clock may run ahead of ours.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// The longest pass, in bytes: what is left of the head's limit after a long path.
const PASS_BYTES: usize = 8 * 1024;
/// The longest `jti`, `sub` and agreement id, in bytes.
const TEXT_BYTES: usize = 256;

/// The person or service that asks, as its own organisation vouches.
#[derive(Debug)]
pub struct Requester {
    party: PartyId,
    subject: String,
    salt: Salt,
    commitment: Commitment,
    used: AtomicBool,
    purpose: Purpose,
    action: String,
    agreement: Option<String>,
    person: Map<String, Value>,
    jti: String,
    pass: Digest,
    certificate: Digest,
    issued: Timestamp,
    not_before: Timestamp,
    expires: Timestamp,
}

impl Requester {
    /// The organisation that issued the pass.
    pub fn party(&self) -> &PartyId {
        &self.party
    }
    /// The person or service (`sub`).
    pub fn subject(&self) -> &str {
        &self.subject
    }
    /// The person or service as the record names it: committed to under a salt that was made when the pass was verified.
    pub fn commitment(&self) -> Commitment {
        self.commitment
    }
    /// The salt of the commitment, for whoever keeps it; given out once, so that each pass is kept once.
    pub fn first_use(&self) -> Option<Salt> {
        (!self.used.swap(true, Ordering::Relaxed)).then(|| self.salt.clone())
    }
    /// Why the data is asked for.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }
    /// What will be done with it: `transfer`, `train`, `derive`, `publish`, `file_abroad`, `read`.
    pub fn action(&self) -> &str {
        &self.action
    }
    /// The id of an agreement that the provider holds.
    pub fn agreement(&self) -> Option<&str> {
        self.agreement.as_deref()
    }
    /// Attributes that the asking party vouches for, of those in [`PERSON_ATTRIBUTES`].
    pub fn person(&self) -> &Map<String, Value> {
        &self.person
    }
    /// The id of the pass.
    pub fn jti(&self) -> &str {
        &self.jti
    }
    /// SHA-256 of the pass as it was shown.
    pub fn pass(&self) -> Digest {
        self.pass
    }
    /// When the pass expires.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// The claims of a pass. Unknown claims are ignored, as RFC 7519, section 4 asks; nothing is believed of them.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    #[serde(default)]
    nbf: Option<u64>,
    exp: u64,
    jti: String,
    cnf: Confirmation,
    purpose: String,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    agreement: Option<String>,
    #[serde(default)]
    person: Map<String, Value>,
}

#[derive(Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate: String,
}

/// The attributes of a person that are believed when the person's own organisation vouches for them.
pub const PERSON_ATTRIBUTES: [&str; 2] = ["clearance", "specific_category"];
/// The longest of them, in bytes of JSON: a clearance with its dates takes a hundred.
const ATTRIBUTE_BYTES: usize = 1024;

/// What is kept of `person`: what may be believed, and no more than it may take.
fn person(mut claimed: Map<String, Value>) -> Result<Map<String, Value>, AuthenticateError> {
    claimed.retain(|name, _| PERSON_ATTRIBUTES.contains(&name.as_str()));
    if claimed.values().any(|value| value.to_string().len() > ATTRIBUTE_BYTES) {
        return Err(AuthenticateError::PassMalformed("has an attribute of the person that is longer than 1 KiB"));
    }
    Ok(claimed)
}

/// Verifies passes that are meant for us, each once, and remembers them until they expire.
pub struct PassVerifier {
    audience: PartyId,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    verified: VerifiedPasses,
    shown: ShownPasses,
}

impl PassVerifier {
    /// A verifier for passes to `audience`, which is us.
    pub fn new(audience: PartyId, clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self { audience, clock, started, verified: VerifiedPasses::new(), shown: ShownPasses::default() }
    }

    /// Verifies the pass in an `Authorization` header, shown by `partner` over a connection with `certificate`.
    ///
    /// # Errors
    /// One variant of [`AuthenticateError`] per reason; the first that applies.
    pub fn verify(
        &self,
        authorization: Option<&http::HeaderValue>,
        partner: &Arc<Partner>,
        certificate: &Certificate,
    ) -> Result<Authenticated, AuthenticateError> {
        let pass = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, pass)| pass.trim())
            .ok_or(AuthenticateError::PassMissing)?;
        if pass.len() > PASS_BYTES {
            return Err(AuthenticateError::PassMalformed("is longer than 8 KiB"));
        }
        let digest = Digest::of(pass.as_bytes());
        let requester = match self.verified.get(&digest) {
            Some(requester) => requester,
            None => {
                let requester = Arc::new(self.read(pass, digest, partner)?);
                self.verified.put(digest, Arc::clone(&requester));
                requester
            }
        };
        self.applies(&requester, partner, certificate)?;
        Ok(Authenticated { partner: Arc::clone(partner), requester })
    }

    /// Notes that a pass is used for a dataset that demands single use.
    ///
    /// # Errors
    /// [`AuthenticateError::PassUsed`], [`AuthenticateError::PassStale`] or [`AuthenticateError::PassMemoryFull`].
    pub fn use_once(&self, requester: &Requester) -> Result<(), AuthenticateError> {
        let now = self.clock.now();
        // What was shown before a restart is not remembered, so nothing that may be older than the start counts as new:
        // neither a pass of the start's own second nor one that claims to be from the future.
        if requester.issued.seconds() <= self.started.seconds() {
            return Err(AuthenticateError::PassStale);
        }
        if requester.issued > now {
            return Err(AuthenticateError::PassNotYetValid);
        }
        self.shown.show(requester, now)
    }

    /// What must hold each time a pass is shown.
    fn applies(
        &self,
        requester: &Requester,
        partner: &Partner,
        certificate: &Certificate,
    ) -> Result<(), AuthenticateError> {
        let now = self.clock.now();
        if requester.party != *partner.id() {
            return Err(AuthenticateError::PassWrongIssuer);
        }
        if now >= requester.expires {
            return Err(AuthenticateError::PassExpired);
        }
        if now.plus(CLOCK_SKEW) < requester.not_before {
            return Err(AuthenticateError::PassNotYetValid);
        }
        if requester.certificate != certificate.digest() {
            return Err(AuthenticateError::PassWrongCertificate);
        }
        Ok(())
    }

    /// Checks header and signature, and takes the claims in.
    fn read(&self, pass: &str, digest: Digest, partner: &Partner) -> Result<Requester, AuthenticateError> {
        use AuthenticateError::PassMalformed;
        let header = jsonwebtoken::decode_header(pass).map_err(|_| PassMalformed("is not a signed JWT"))?;
        if header.typ.as_deref() != Some(PASS_TYPE) {
            return Err(PassMalformed("must have typ sekisho-pass+jwt"));
        }
        let carries_key = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if carries_key || header.crit.is_some() {
            return Err(PassMalformed("must not carry a key, a key's address or critical extensions"));
        }
        let kid = header.kid.ok_or(PassMalformed("must name its key (kid)"))?;
        let key = partner.keys().get(&kid, self.clock.now()).ok_or(AuthenticateError::PassUnknownKey)?;
        if header.alg != key.algorithm {
            return Err(PassMalformed("must use the algorithm of its key"));
        }
        let mut validation = Validation::new(key.algorithm);
        // Times and audience are checked here, against our own clock and with a code for each.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims =
            jsonwebtoken::decode::<Claims>(pass, &key.key, &validation).map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => AuthenticateError::PassSignature,
                _ => PassMalformed("lacks a claim or has one of the wrong type (see the pass in the wire reference)"),
            })?;
        self.take(claims.claims, digest, partner, key.until)
    }

    fn take(
        &self,
        claims: Claims,
        pass: Digest,
        partner: &Partner,
        until: Option<Timestamp>,
    ) -> Result<Requester, AuthenticateError> {
        use AuthenticateError::PassMalformed;
        let party = claims.iss.parse::<PartyId>().map_err(|_| PassMalformed("has an iss that is not a party id"))?;
        // Before the pass is remembered: what one partner's key signed must never be found under another's name.
        if party != *partner.id() {
            return Err(AuthenticateError::PassWrongIssuer);
        }
        if claims.aud != self.audience.as_str() {
            return Err(AuthenticateError::PassWrongAudience);
        }
        let (issued, expires) = (Timestamp::from_seconds(claims.iat), Timestamp::from_seconds(claims.exp));
        if expires.since(issued) > PASS_LIFETIME || expires <= issued {
            return Err(AuthenticateError::PassTooLong);
        }
        if issued > self.clock.now().plus(CLOCK_SKEW) {
            return Err(AuthenticateError::PassNotYetValid);
        }
        let texts = [Some(&claims.sub), Some(&claims.jti), claims.action.as_ref(), claims.agreement.as_ref()];
        let fits = |text: &&String| (1..=TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        if !texts.iter().flatten().all(fits) {
            return Err(PassMalformed("has a sub, jti, action or agreement that is empty, too long or not plain text"));
        }
        let mut certificate = [0u8; 32];
        match URL_SAFE_NO_PAD.decode_slice(&claims.cnf.certificate, &mut certificate) {
            Ok(32) => {}
            _ => return Err(PassMalformed("has a cnf.x5t#S256 that is not a SHA-256 digest")),
        }
        let purpose = claims.purpose.parse().map_err(|_| PassMalformed("has a purpose that is not a term"))?;
        let salt = Salt::fresh()
            .ok_or_else(|| AuthenticateError::Configuration("the machine has no random bytes to give".to_owned()))?;
        Ok(Requester {
            party,
            commitment: salt.commit(&claims.sub),
            salt,
            used: AtomicBool::new(false),
            subject: claims.sub,
            purpose,
            action: claims.action.unwrap_or_else(|| "transfer".to_owned()),
            agreement: claims.agreement,
            person: person(claims.person)?,
            jti: claims.jti,
            pass,
            certificate: Digest::from_bytes(certificate),
            issued,
            not_before: Timestamp::from_seconds(claims.nbf.unwrap_or(claims.iat)),
            // Remembered or not, it is worth nothing once its key is not.
            expires: until.map_or(expires, |until| until.min(expires)),
        })
    }
}
