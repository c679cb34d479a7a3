//! Statements that a person of ours signs with the key of their certificate: a JWS (RFC 7515) that carries its
//! certificate (`x5c`, section 4.1.6), so that it can be verified long after it was made by whoever holds our anchors.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use serde::Serialize;
use serde::de::DeserializeOwned;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::mint::ed25519_encoding_key;
use super::{AuthenticateError, Certificate, Person};
use crate::types::{PartyId, Timestamp};

/// The longest statement, in bytes: a small document and a chain of a few certificates.
pub const STATEMENT_BYTES: usize = 32 * 1024;
/// The most certificates that a statement carries.
const CHAIN: usize = 4;

/// Verifies statements of our own people.
#[derive(Clone)]
pub struct Statements {
    us: PartyId,
    /// Absent when nobody may operate us: then no statement is believed.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").field("us", &self.us).finish_non_exhaustive()
    }
}

/// When a statement was made, as it says itself.
pub trait Dated {
    /// `iat`.
    fn issued(&self) -> Timestamp;
}

/// Signs `claims` as a statement of type `kind` with a certificate (chain, leaf first) and its private key (PKCS#8 PEM,
/// ECDSA P-256 or Ed25519).
///
/// # Errors
/// [`AuthenticateError::Statement`] when the key is of another kind or does not work.
pub fn sign_statement(
    kind: &str,
    claims: &impl Serialize,
    chain: &[CertificateDer<'_>],
    key: &[u8],
) -> Result<String, AuthenticateError> {
    let leaf = chain.first().ok_or(AuthenticateError::Statement("carries no certificate"))?;
    let (algorithm, _) = public_key(leaf)?;
    let wrong = |_| AuthenticateError::Statement("cannot be signed with this private key");
    let key = match algorithm {
        Algorithm::EdDSA => {
            ed25519_encoding_key(key).map_err(|_| AuthenticateError::Statement("has an unusable key"))?
        }
        _ => EncodingKey::from_ec_pem(key).map_err(wrong)?,
    };
    let mut header = Header::new(algorithm);
    header.typ = Some(kind.to_owned());
    header.x5c = Some(chain.iter().map(|certificate| STANDARD.encode(certificate)).collect());
    jsonwebtoken::encode(&header, claims, &key).map_err(wrong)
}

impl Statements {
    /// Believes people of `us` whose certificates `anchors` vouch for.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] when an anchor is unusable.
    pub fn new(us: PartyId, anchors: &[CertificateDer<'static>]) -> Result<Self, AuthenticateError> {
        if anchors.is_empty() {
            return Ok(Self { us, verifier: None });
        }
        let unusable =
            |error: &dyn fmt::Display| AuthenticateError::Configuration(format!("admin trust anchors: {error}"));
        let mut roots = RootCertStore::empty();
        for anchor in anchors {
            roots.add(anchor.clone()).map_err(|error| unusable(&error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { us, verifier: Some(verifier.map_err(|error| unusable(&error))?) })
    }

    /// Who we are: whom a statement has to be made for.
    pub fn us(&self) -> &PartyId {
        &self.us
    }

    /// Reads a statement of type `kind`: its signature is by the key of the certificate that it carries, and one of our
    /// anchors vouched for that certificate at the time that the statement says it was made.
    ///
    /// The algorithm follows from the certificate's key; what the header says has to agree.
    ///
    /// # Errors
    /// [`AuthenticateError::Statement`] in all other cases.
    pub fn verify<T: DeserializeOwned + Dated>(
        &self,
        kind: &str,
        text: &str,
    ) -> Result<(Person, T), AuthenticateError> {
        use AuthenticateError::Statement;
        let verifier = self.verifier.as_ref().ok_or(Statement("cannot be verified: there is no admin.anchors"))?;
        if text.len() > STATEMENT_BYTES {
            return Err(Statement("is too large"));
        }
        let malformed = Statement("is not a compact JWS with the certificate of its signer (x5c)");
        let header = jsonwebtoken::decode_header(text).map_err(|_| malformed.clone())?;
        if header.typ.as_deref() != Some(kind) {
            return Err(Statement("is of another type"));
        }
        let chain =
            header.x5c.as_deref().filter(|chain| (1..=CHAIN).contains(&chain.len())).ok_or(malformed.clone())?;
        let chain: Vec<CertificateDer<'static>> = chain
            .iter()
            .map(|text| STANDARD.decode(text).map(CertificateDer::from))
            .collect::<Result<_, _>>()
            .map_err(|_| malformed.clone())?;
        let (algorithm, key) = public_key(&chain[0])?;
        let mut validation = Validation::new(algorithm);
        // Audience and times are the statement's own matter; its kind looks at them.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<T>(text, &key, &validation).map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::Json(_) => Statement("does not say what a statement of its type says"),
            _ => Statement("has a signature that its certificate's key did not make"),
        })?;
        let issued = claims.claims.issued();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(issued.seconds()));
        verifier
            .verify_client_cert(&chain[0], &chain[1..], at)
            .map_err(|_| Statement("is by a certificate that no anchor of ours vouched for when it was made"))?;
        let person = Person::of(&Certificate::read(&chain[0])?, &self.us);
        Ok((person.ok_or(Statement("is by a certificate that gives no role among our people"))?, claims.claims))
    }
}

/// The public key of a certificate and the one algorithm that goes with it.
fn public_key(certificate: &CertificateDer<'_>) -> Result<(Algorithm, DecodingKey), AuthenticateError> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|_| AuthenticateError::Certificate("is not readable as X.509"))?;
    let key = certificate.public_key();
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let point = &key.subject_public_key.data;
    if key.algorithm.algorithm == OID_SIG_ED25519 {
        Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(point)))
    } else if key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve.as_ref() == Some(&OID_EC_P256) {
        Ok((Algorithm::ES256, DecodingKey::from_ec_der(point)))
    } else {
        Err(AuthenticateError::Statement("is by a key that is neither ECDSA P-256 nor Ed25519"))
    }
}
