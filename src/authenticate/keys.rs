//! A partner's keys for passes and messages: each with the one algorithm it is for, and with an end if it has one.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use crate::types::Timestamp;

/// A key set (RFC 7517) as parties publish it.
#[derive(Debug, Clone, Deserialize)]
pub struct KeySet {
    /// Its keys.
    pub keys: Vec<PublishedKey>,
}

/// One key of a set.
#[derive(Debug, Clone, Deserialize)]
pub struct PublishedKey {
    /// The key.
    #[serde(flatten)]
    pub jwk: Jwk,
    /// Seconds since 1970. From then on the key signs nothing more; it is still its party's, for what it signed before.
    pub exp: Option<u64>,
}

/// One key of a partner's.
pub(super) struct PassKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// Raw, of an Ed25519 key: those sign messages, too.
    pub(super) ed25519: Option<[u8; 32]>,
    pub(super) until: Option<Timestamp>,
}

/// A partner's keys, by their ids.
pub(super) struct PassKeys(HashMap<String, PassKey>);

impl fmt::Debug for PassKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PassKeys").field(&self.0.len()).finish()
    }
}

impl PassKeys {
    /// Reads a key set. Only Ed25519 and P-256 keys with a `kid` are taken; the algorithm follows from the key and never
    /// from a token.
    pub(super) fn read(set: &KeySet) -> Result<Self, String> {
        let mut keys = HashMap::new();
        for (place, PublishedKey { jwk, exp }) in set.keys.iter().enumerate() {
            let kid = jwk.common.key_id.clone().ok_or_else(|| format!("key {place} of its JWKS has no kid"))?;
            let mut ed25519 = None;
            let algorithm = match &jwk.algorithm {
                AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                    let mut public = [0; 32];
                    if !matches!(URL_SAFE_NO_PAD.decode_slice(&pair.x, &mut public), Ok(32)) {
                        return Err(format!("key {kid} of its JWKS is no Ed25519 public key"));
                    }
                    ed25519 = Some(public);
                    Algorithm::EdDSA
                }
                AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
                _ => return Err(format!("key {kid} of its JWKS is neither Ed25519 nor P-256")),
            };
            let key = DecodingKey::from_jwk(jwk).map_err(|error| format!("key {kid} of its JWKS: {error}"))?;
            let key = PassKey { algorithm, key, ed25519, until: exp.map(Timestamp::from_seconds) };
            if keys.insert(kid.clone(), key).is_some() {
                return Err(format!("two keys of its JWKS have the kid {kid}"));
            }
        }
        Ok(Self(keys))
    }

    /// The key with this id, if it may sign at this time.
    pub(super) fn get(&self, kid: &str, now: Timestamp) -> Option<&PassKey> {
        self.0.get(kid).filter(|key| key.until.is_none_or(|until| now < until))
    }
}
