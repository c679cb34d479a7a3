//! Keys that are no certificates': for passes, for the log, for pseudonyms.

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::types::Digest;

/// A new Ed25519 private key as PKCS#8 PEM, in version 1 (RFC 5958 without the public key): the form that OpenSSL reads
/// too.
///
/// # Errors
/// When the random source fails.
pub fn ed25519_key_pem() -> anyhow::Result<String> {
    let key = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).ok().context("cannot make an Ed25519 key")?;
    // 48 bytes are 64 characters: one line of PEM (RFC 7468, section 2).
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key.as_ref())))
}

/// The 32 bytes of the public key that belongs to an Ed25519 private key in PKCS#8 PEM.
///
/// # Errors
/// When the text is no such key. The text is not repeated.
pub fn ed25519_public_key(pem: &str) -> anyhow::Result<[u8; 32]> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok().context("not a PKCS#8 PEM private key")?;
    let pair = Ed25519KeyPair::from_pkcs8(key.secret_pkcs8_der()).ok().context("not an Ed25519 private key")?;
    pair.public_key().as_ref().try_into().context("an Ed25519 public key has 32 bytes")
}

/// The thumbprint of an Ed25519 public key (RFC 7638, with the members that RFC 8037 names), base64url: our `kid`.
pub fn thumbprint(public_key: &[u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public_key);
    // Members in lexicographic order and no spaces, as RFC 7638, section 3 demands.
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Digest::of(canonical.as_bytes()).as_bytes())
}

/// The key set (RFC 7517) that lets partners verify passes signed with this Ed25519 key.
pub fn jwks(public_key: &[u8; 32]) -> Value {
    json!({
        "keys": [{
            "kty": "OKP",
            "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(public_key),
            "kid": thumbprint(public_key),
            "alg": "EdDSA",
            "use": "sig",
        }]
    })
}

/// 32 random bytes as 64 lower-case hexadecimal digits and a line break.
///
/// # Errors
/// When the random source fails.
pub fn pseudonym_key_hex() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("cannot draw a pseudonym key")?;
    // The same hexadecimal writing as a digest's; nothing is hashed.
    Ok(format!("{}\n", Digest::from_bytes(bytes).hex()))
}
