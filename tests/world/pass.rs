//! Passes as partners make them: right ones, and wrong ones in every way that a test can think of.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sekisho::shell::certs::{Leaf, ed25519_public_key, thumbprint};
use sekisho::types::Clock;
use serde_json::{Value, json};

/// A pass that is not signed yet.
#[derive(Clone)]
pub struct Pass {
    header: Header,
    claims: Value,
    key_pem: String,
}

impl Pass {
    /// Five minutes of life from now, bound to `leaf`.
    pub fn new(party: &str, provider: &str, leaf: &Leaf, key_pem: &str, clock: &dyn Clock) -> Self {
        let now = clock.now().seconds();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("sekisho-pass+jwt".to_owned());
        header.kid = Some(thumbprint(&ed25519_public_key(key_pem).unwrap()));
        let mut random = [0; 12];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let claims = json!({
            "iss": party,
            "aud": provider,
            "sub": "person:ada",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": URL_SAFE_NO_PAD.encode(random),
            "cnf": { "x5t#S256": fingerprint(leaf) },
            "purpose": "dpv:ScientificResearch",
            "action": "transfer",
        });
        Self { header, claims, key_pem: key_pem.to_owned() }
    }

    pub fn purpose(self, purpose: &str) -> Self {
        self.claim("purpose", purpose)
    }

    pub fn agreement(self, agreement: &str) -> Self {
        self.claim("agreement", agreement)
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    /// Binds it to a certificate.
    pub fn bound_to(self, leaf: &Leaf) -> Self {
        self.claim("cnf", json!({ "x5t#S256": fingerprint(leaf) }))
    }

    /// Sets the `exp` so that it lives this long.
    pub fn living(self, seconds: u64) -> Self {
        let issued = self.claims["iat"].as_u64().unwrap();
        self.claim("exp", issued + seconds)
    }

    /// Changes the header.
    pub fn header(mut self, change: impl FnOnce(&mut Header)) -> Self {
        change(&mut self.header);
        self
    }

    pub fn sign(&self) -> String {
        let key = EncodingKey::from_ed_pem(self.key_pem.as_bytes()).unwrap();
        jsonwebtoken::encode(&self.header, &self.claims, &key).unwrap()
    }

    /// Under a header of the caller's making, with these bytes for a signature.
    pub fn forged(&self, header: &Value, signature: &[u8]) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(header), part(&self.claims), URL_SAFE_NO_PAD.encode(signature))
    }

    /// The id of the key that signs it.
    pub fn kid(&self) -> &str {
        self.header.kid.as_deref().unwrap()
    }
}

/// RFC 8705, section 3.1, computed with the library that verifies rather than the one that the gateway uses.
fn fingerprint(leaf: &Leaf) -> String {
    let der = CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).unwrap();
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, &der))
}
