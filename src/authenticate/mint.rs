//! Passes for our own applications, so that they need no keys and no JWT library.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use super::pass::PASS_TYPE;
use super::{AuthenticateError, PASS_LIFETIME};
use crate::types::{Clock, Digest, ExchangeId, PartyId, Purpose};

/// Signs passes in our name, bound to our gateway's certificate.
pub struct PassMinter {
    issuer: PartyId,
    kid: String,
    key: EncodingKey,
    /// The same key, for messages.
    pair: Ed25519KeyPair,
    public: [u8; 32],
    certificate: String,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for PassMinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassMinter").field("issuer", &self.issuer).field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl PassMinter {
    /// `pem` is an Ed25519 private key (PKCS#8); passes live for `lifetime`, ten minutes at most, and are bound to
    /// the certificate with digest `certificate`.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] when the key cannot be used.
    pub fn new(
        issuer: PartyId,
        pem: &[u8],
        certificate: Digest,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthenticateError> {
        let unusable = |error: &dyn fmt::Display| AuthenticateError::Configuration(format!("the pass key: {error}"));
        let pair = ed25519_pair(pem).map_err(|error| unusable(&error))?;
        let public = pair.public_key().as_ref().try_into().map_err(|error| unusable(&error))?;
        let key = ed25519_encoding_key(pem).map_err(|error| unusable(&error))?;
        let jwk =
            jsonwebtoken::jwk::Jwk::from_encoding_key(&key, Algorithm::EdDSA).map_err(|error| unusable(&error))?;
        let kid = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).map_err(|error| unusable(&error))?;
        Ok(Self {
            issuer,
            kid,
            key,
            pair,
            public,
            certificate: URL_SAFE_NO_PAD.encode(certificate.as_bytes()),
            lifetime: lifetime.min(PASS_LIFETIME),
            clock,
        })
    }

    /// Our key set as partners need it (RFC 7517): the key that signs, then those that signed before it.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] when the key has no public form.
    pub fn jwks(&self, retired: &[serde_json::Value]) -> Result<serde_json::Value, AuthenticateError> {
        let unusable = |error: &dyn fmt::Display| AuthenticateError::Configuration(format!("the pass key: {error}"));
        let mut jwk =
            jsonwebtoken::jwk::Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).map_err(|error| unusable(&error))?;
        jwk.common.key_id = Some(self.kid.clone());
        jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
        let jwk = serde_json::to_value(jwk).map_err(|error| unusable(&error))?;
        let keys: Vec<_> = std::iter::once(&jwk).chain(retired).collect();
        Ok(json!({ "keys": keys }))
    }

    /// The id of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The raw public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// Signs a message with the key of our passes. A pass begins with base64url and a message's base with a quotation
    /// mark, so the one is never taken for the other.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] when the provider fails to sign.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], AuthenticateError> {
        let failed = || AuthenticateError::Configuration("a message cannot be signed".to_owned());
        let signature = self.pair.try_sign(message).map_err(|_| failed())?;
        signature.as_ref().try_into().map_err(|_| failed())
    }

    /// A new pass to `audience`, never shown before.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] when signing fails.
    pub fn mint(
        &self,
        audience: &PartyId,
        subject: &str,
        purpose: &Purpose,
        action: &str,
        agreement: Option<&str>,
    ) -> Result<String, AuthenticateError> {
        let now = self.clock.now();
        let mut claims = json!({
            "iss": self.issuer,
            "aud": audience,
            "sub": subject,
            "iat": now.seconds(),
            "nbf": now.seconds(),
            "exp": now.plus(self.lifetime).seconds(),
            // 80 random bits beside the time: no two passes of ours share an id.
            "jti": ExchangeId::new(now),
            "cnf": { "x5t#S256": self.certificate },
            "purpose": purpose,
            "action": action,
        });
        if let Some(agreement) = agreement {
            claims["agreement"] = agreement.into();
        }
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(PASS_TYPE.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|error| AuthenticateError::Configuration(format!("a pass cannot be signed: {error}")))
    }
}

/// An Ed25519 private key (PKCS#8 PEM) for signing JWTs. The error is words for a message.
pub(super) fn ed25519_encoding_key(pem: &[u8]) -> Result<EncodingKey, String> {
    let pair = ed25519_pair(pem)?;
    // jsonwebtoken tells the curve by the length of the shorter of PKCS#8's two forms (RFC 8410, section 7), and some
    // tools write the longer one, with the public half: so the key is brought to the form it knows.
    Ok(EncodingKey::from_ed_der(pair.to_pkcs8v1().map_err(|error| error.to_string())?.as_ref()))
}

fn ed25519_pair(pem: &[u8]) -> Result<Ed25519KeyPair, String> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
    Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SystemClock;

    #[test]
    fn keys_of_other_tools_sign_passes() {
        // rcgen writes PKCS#8 version 2, with the public half; `openssl genpkey` and our own keys are version 1.
        let version_2 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let minter = PassMinter::new(
            "kansai.example".parse().unwrap(),
            version_2.as_bytes(),
            Digest::of(b"a certificate"),
            PASS_LIFETIME,
            Arc::new(SystemClock),
        )
        .unwrap();
        let pass = minter
            .mint(
                &"wessex.example".parse().unwrap(),
                "service:test",
                &"dpv:Marketing".parse().unwrap(),
                "transfer",
                None,
            )
            .unwrap();
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(minter.jwks(&[]).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["wessex.example"]);
        let key = jsonwebtoken::DecodingKey::from_jwk(&set.keys[0]).unwrap();
        let read = jsonwebtoken::decode::<serde_json::Value>(&pass, &key, &validation).unwrap();
        assert_eq!(read.claims["iss"], "kansai.example");
        assert_eq!(read.header.kid, set.keys[0].common.key_id);
    }
}
