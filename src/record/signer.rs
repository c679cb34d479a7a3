//! What is signed with a [`SigningKey`]: entries and checkpoints.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::entry::{Entry, MAX_ENTRY, Means};
use super::error::RecordError;
use super::jws::{self, Compact};
use super::key::{FileKey, SigningKey};
use super::key_file::header_of;
use super::note::{Checkpoint, Note, VerifierKey};
use crate::types::Digest;

/// A dot and an Ed25519 signature in base64url.
const SIGNATURE_LENGTH: usize = 1 + 86;
/// A scratch buffer that grew beyond this is not kept.
const SCRATCH_KEPT: usize = 64 * 1024;

thread_local! {
    /// The JSON of the entry being sealed. One per thread, so that sealing allocates nothing but its result.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An entry that was signed and fits the log. Only [`Signer::seal`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    jws: Vec<u8>,
    means: Means,
}

impl Sealed {
    /// The compact JWS.
    pub fn as_bytes(&self) -> &[u8] {
        &self.jws
    }

    pub(super) const fn means(&self) -> Means {
        self.means
    }
}

/// Signs entries and checkpoints. Cheap to clone.
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    key: Arc<dyn SigningKey>,
    kid: String,
    /// The protected header in base64url with its dot: the same for every entry.
    head: String,
}

impl Signer {
    /// Signs with a key, wherever it lies.
    pub fn new(key: Arc<dyn SigningKey>) -> Self {
        let (kid, header) = header_of(key.public_key());
        let head = header + ".";
        Self(Arc::new(Inner { key, kid, head }))
    }

    /// Signs with a key from a file: an Ed25519 private key in PKCS#8 (RFC 5958, RFC 8410), as DER or as PEM.
    ///
    /// # Errors
    /// [`RecordError::Key`] when it is anything else.
    pub fn from_pkcs8(key: &[u8]) -> Result<Self, RecordError> {
        Ok(Self::new(Arc::new(FileKey::from_pkcs8(key)?)))
    }

    /// The key's id in entries: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// The raw public key (RFC 8032).
    pub fn public_key(&self) -> &[u8; 32] {
        self.0.key.public_key()
    }

    /// The key as a verifier of a log's checkpoints takes it: C2SP `origin+hexkeyid+base64(0x01 || public key)`.
    pub fn verifier_key(&self, origin: &str) -> String {
        self.key_named(origin).to_string()
    }

    /// Signs an entry: a compact JWS (RFC 7515) with `alg` `EdDSA` (RFC 8037) over its JSON.
    ///
    /// # Errors
    /// [`RecordError::EntryTooLarge`] when the JWS would not fit the log, [`RecordError::EntryEncoding`] when the
    /// entry is not representable as JSON, [`RecordError::Signing`] when the key does not sign.
    pub fn seal(&self, entry: &impl Entry) -> Result<Sealed, RecordError> {
        let mut json = SCRATCH.take();
        json.clear();
        let sealed = serde_json::to_writer(&mut json, entry)
            .map_err(RecordError::EntryEncoding)
            .and_then(|()| self.seal_json(&json, entry.means()));
        if json.capacity() <= SCRATCH_KEPT {
            SCRATCH.set(json);
        }
        sealed
    }

    fn seal_json(&self, json: &[u8], means: Means) -> Result<Sealed, RecordError> {
        let size = self.0.head.len() + (json.len() * 4).div_ceil(3) + SIGNATURE_LENGTH;
        if size > MAX_ENTRY {
            return Err(RecordError::EntryTooLarge { size });
        }
        let mut jws = String::with_capacity(size);
        jws.push_str(&self.0.head);
        URL_SAFE_NO_PAD.encode_string(json, &mut jws);
        let signature = self.sign(jws.as_bytes())?;
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
        Ok(Sealed { jws: jws.into_bytes(), means })
    }

    /// A checkpoint as a signed note.
    pub(super) fn note(&self, checkpoint: &Checkpoint) -> Result<String, RecordError> {
        let text = checkpoint.text();
        let key = self.key_named(&checkpoint.origin);
        Ok(Note::write(&text, &key.name, key.key_id, &self.sign(text.as_bytes())?))
    }

    pub(super) fn key_named(&self, origin: &str) -> VerifierKey {
        VerifierKey::new(origin, *self.public_key(), sha256)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], RecordError> {
        self.0.key.sign(message)
    }
}

/// Whether a key signed the note.
pub(super) fn wrote(note: &Note<'_>, key: &VerifierKey) -> bool {
    let signature = note.signature_by(key);
    signature.is_some_and(|signature| verifies(&key.public, note.text.as_bytes(), &signature.signature))
}

/// Whether a key sealed the entry.
pub(super) fn sealed_by(public: &[u8; 32], entry: &Compact<'_>) -> bool {
    let same_head = entry.header == header_of(public).1.as_bytes();
    same_head && jws::decode(entry.signature).is_some_and(|signature| verifies(public, entry.signed, &signature))
}

fn verifies(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.0.kid).finish_non_exhaustive()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    *Digest::of(bytes).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_the_published_one() {
        // RFC 8037, appendix A.3.
        let public = jws::decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap().try_into().unwrap();
        let kid = URL_SAFE_NO_PAD.encode(sha256(jws::canonical_jwk(&public).as_bytes()));
        assert_eq!(kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn der_and_pem_are_one_key_and_nothing_else_is() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let from_der = Signer::from_pkcs8(&key.serialize_der()).unwrap();
        let from_pem = Signer::from_pkcs8(key.serialize_pem().as_bytes()).unwrap();
        assert_eq!(from_der.public_key(), from_pem.public_key());
        assert_eq!(from_der.public_key().as_slice(), key.public_key_raw());
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_der();
        for bad in [&b""[..], b"-----BEGIN PRIVATE KEY-----\n", &other] {
            assert_eq!(Signer::from_pkcs8(bad).unwrap_err().code(), "record_key_invalid");
        }
    }
}
