//! Keys for the signatures of bundles, each with the one algorithm that it is for.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use x509_parser::oid_registry;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::decide::DecideError;

/// Algorithms of RSA keys. The first is what OPA takes when none is named.
const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// A public key of somebody who signs bundles.
#[derive(Clone)]
pub struct BundleKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    pub(super) scope: String,
}

impl fmt::Debug for BundleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl BundleKey {
    /// Reads a public key (PEM, `PUBLIC KEY`): Ed25519, P-256, P-384 or RSA. `id` is the key id that signatures name;
    /// without one, the key is asked whatever they name. `algorithm` (such as `PS256`) is needed only for RSA keys that
    /// are not for RS256.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] `bundle_key_unusable`.
    pub fn new(id: Option<String>, pem: &str, algorithm: Option<&str>) -> Result<Self, DecideError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            unusable("no PEM public key (BEGIN PUBLIC KEY): write one with `openssl pkey -in KEY.pem -pubout`")
        })?;
        let fitting =
            algorithms(&der).ok_or_else(|| unusable("neither Ed25519, P-256, P-384 nor RSA: use one of these"))?;
        let algorithm = match algorithm {
            None => fitting[0],
            Some(name) => *fitting.iter().find(|fits| format!("{fits:?}") == name).ok_or_else(|| {
                unusable(&format!("{name} is no algorithm for this key: leave it out, or choose among {fitting:?}"))
            })?,
        };
        let key = match algorithm {
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem.as_bytes()),
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem.as_bytes()),
            _ => DecodingKey::from_rsa_pem(pem.as_bytes()),
        };
        let key = key.map_err(|error| unusable(&error.to_string()))?;
        Ok(Self { id, algorithm, key, scope: String::new() })
    }

    /// The same key for signatures with this `scope` and no others; without, for those that have none.
    #[must_use]
    pub fn with_scope(self, scope: String) -> Self {
        Self { scope, ..self }
    }
}

/// The algorithms that a public key may be used with.
fn algorithms(der: &SubjectPublicKeyInfoDer<'_>) -> Option<&'static [Algorithm]> {
    let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    let kind = &info.algorithm;
    if kind.algorithm == oid_registry::OID_SIG_ED25519 {
        return Some(&[Algorithm::EdDSA]);
    }
    if kind.algorithm == oid_registry::OID_PKCS1_RSAENCRYPTION {
        return Some(&RSA);
    }
    if kind.algorithm != oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY {
        return None;
    }
    let curve = kind.parameters.as_ref()?.as_oid().ok()?;
    if curve == oid_registry::OID_EC_P256 {
        return Some(&[Algorithm::ES256]);
    }
    (curve == oid_registry::OID_NIST_EC_P384).then_some(&[Algorithm::ES384])
}

/// The keys of one source of policies.
#[derive(Debug, Clone)]
pub struct BundleKeys(Vec<BundleKey>);

impl BundleKeys {
    /// A set of keys in which every id stands once, and at most one key has none.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] `bundle_key_unusable`.
    pub fn new(keys: Vec<BundleKey>) -> Result<Self, DecideError> {
        if keys.is_empty() {
            return Err(unusable("there is no key: name the public key of whoever signs the bundles"));
        }
        for (place, key) in keys.iter().enumerate() {
            if keys[..place].iter().any(|other| other.id == key.id) {
                let id = key.id.as_deref().unwrap_or("(none)");
                return Err(unusable(&format!("two keys have the id {id}: give each its own")));
            }
        }
        Ok(Self(keys))
    }

    /// The key for a signature that names `id`, or none.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&BundleKey> {
        match (id, &self.0[..]) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (id, keys) => keys.iter().find(|key| key.id.as_deref() == id).or(keys.iter().find(|key| key.id.is_none())),
        }
    }
}

/// A private key that signs bundles.
pub struct BundleSigner {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

impl fmt::Debug for BundleSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleSigner").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl BundleSigner {
    /// Reads a private key (PEM, PKCS#8): Ed25519, P-256 or P-384. Signatures name it `id`.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] `bundle_key_unusable`. The text is not repeated.
    pub fn new(id: String, pem: &str) -> Result<Self, DecideError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            unusable("no PEM private key in PKCS#8 (BEGIN PRIVATE KEY): make one with `openssl genpkey -algorithm ed25519`, or bring one over with `openssl pkcs8 -topk8 -nocrypt`")
        })?;
        let der = der.secret_pkcs8_der();
        let fits = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der).is_ok();
        let (algorithm, key) = if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            // The form without the public half, which is the one that jsonwebtoken knows.
            let der = pair.to_pkcs8v1().map_err(|_| unusable("the key has no PKCS#8 form"))?;
            (Algorithm::EdDSA, EncodingKey::from_ed_der(der.as_ref()))
        } else if fits(&ECDSA_P256_SHA256_FIXED_SIGNING) {
            (Algorithm::ES256, EncodingKey::from_ec_der(der))
        } else if fits(&ECDSA_P384_SHA384_FIXED_SIGNING) {
            (Algorithm::ES384, EncodingKey::from_ec_der(der))
        } else {
            return Err(unusable(
                "neither Ed25519, P-256 nor P-384: make one with `openssl genpkey -algorithm ed25519`",
            ));
        };
        Ok(Self { id, algorithm, key })
    }

    /// The algorithm of its signatures, such as `EdDSA`.
    pub fn algorithm(&self) -> String {
        format!("{:?}", self.algorithm)
    }
}

fn unusable(why: &str) -> DecideError {
    DecideError::Bundle { code: "bundle_key_unusable", why: format!("the key for signatures of bundles: {why}") }
}
