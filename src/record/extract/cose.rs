//! A COSE receipt of inclusion (RFC 9942), which only the log's owner can make: the root of the tree is its payload, and
//! is left out, since the entry and its path lead there.

use std::io;
use std::sync::Arc;

use coset::cbor::value::Value;
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _, iana};

use super::Extract;
use crate::record::key::SigningKey;
use crate::record::signer::Signer;

/// The header parameter that names the verifiable data structure, and the tree of RFC 9162 over SHA-256.
const STRUCTURE: (i64, i64) = (395, 1);
/// The header parameter that holds its proofs, and proofs of inclusion among them.
const PROOFS: (i64, i64) = (396, -1);

impl Extract<'_> {
    /// Makes a receipt for the entry, signed with the log's key.
    ///
    /// # Errors
    /// As reading, and what the key gives; `InvalidInput` for a key that is not the log's, `Unsupported` as for
    /// [`Extract::proof_file`].
    pub fn cose(&self, index: u64, key: &Arc<dyn SigningKey>) -> io::Result<Vec<u8>> {
        let signer = Signer::new(Arc::clone(key));
        let current = self.keys.as_ref().map(|keys| keys.current().to_string());
        if current.is_some_and(|current| current != signer.verifier_key(&self.origin)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not the key that signs the log"));
        }
        self.one_key(index)?;
        let other = |error: coset::CoseError| io::Error::other(error.to_string());
        let path = self.path(index)?.iter().map(|hash| Value::Bytes(hash.to_vec())).collect();
        let proof = Value::Array(vec![Value::from(self.size), Value::from(index), Value::Array(path)]);
        let mut inclusion = Vec::new();
        coset::cbor::ser::into_writer(&proof, &mut inclusion).map_err(io::Error::other)?;
        let proofs = Value::Map(vec![(Value::from(PROOFS.1), Value::Array(vec![Value::Bytes(inclusion)]))]);
        let protected = HeaderBuilder::new()
            .algorithm(iana::Algorithm::EdDSA)
            .key_id(signer.kid().as_bytes().to_vec())
            .value(STRUCTURE.0, Value::from(STRUCTURE.1))
            .build();
        let unprotected = HeaderBuilder::new().value(PROOFS.0, proofs).build();
        let sign = |message: &[u8]| key.sign(message).map(|signature| signature.to_vec());
        let receipt = CoseSign1Builder::new()
            .protected(protected)
            .unprotected(unprotected)
            .try_create_detached_signature(&self.root, b"", sign)
            .map_err(io::Error::other)?
            .build();
        receipt.to_tagged_vec().map_err(other)
    }
}
