//! The seam behind which a private key lies: a file today, a token or a key service when somebody needs one.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::error::RecordError;

/// An Ed25519 key (RFC 8032) that signs for the record room: entries, checkpoints, cosignatures.
///
/// Whoever holds the key may be slow or fail, as a PKCS#11 token or a key service does, and then:
/// - An entry that is not signed does not exist. A decision that cannot be signed refuses its exchange; an outcome that
///   cannot be signed leaves its exchange open, and the next opening of the log closes it as `unknown`.
/// - A checkpoint that cannot be signed ends the log's writer, as a write that fails does: nobody is told of entries
///   that no checkpoint will ever cover.
/// - `sign` is called on a worker of the runtime for entries, and on the log's own threads for checkpoints. It blocks
///   its caller, so an implementation over a wire has a limit on its waiting of some tens of milliseconds, and errs
///   after it. It does not try again: the exchange may.
/// - What comes back is not checked here: recovery, the witnesses and `record::verify` do that.
pub trait SigningKey: Send + Sync {
    /// The raw public key. It never changes during the life of a value.
    fn public_key(&self) -> &[u8; 32];

    /// Signs a message, which is not hashed before (PureEdDSA).
    ///
    /// # Errors
    /// [`RecordError::Signing`] when the key's holder gave no signature.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], RecordError>;
}

/// A key that was read from a file and lies in this process's memory; signs through aws-lc-rs.
pub struct FileKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl FileKey {
    /// From an Ed25519 private key in PKCS#8 (RFC 5958, RFC 8410), as DER or as PEM.
    ///
    /// # Errors
    /// [`RecordError::Key`] when it is anything else.
    pub fn from_pkcs8(key: &[u8]) -> Result<Self, RecordError> {
        const REFUSED: RecordError = RecordError::Key("expected an Ed25519 private key in PKCS#8, DER or PEM");
        let from_pem = PrivatePkcs8KeyDer::from_pem_slice(key).ok();
        let der = from_pem.as_ref().map_or(key, |der| der.secret_pkcs8_der());
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| REFUSED)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| REFUSED)?;
        Ok(Self { pair, public })
    }
}

impl SigningKey for FileKey {
    fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], RecordError> {
        let signature = self.pair.try_sign(message).map_err(|_| RecordError::Signing("the provider refused".into()))?;
        signature.as_ref().try_into().map_err(|_| RecordError::Signing("the signature has another length".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::record::Signer;
    use crate::record::{Ended, OutcomeEntry};

    /// A token that was pulled out.
    struct Gone;

    impl SigningKey for Gone {
        fn public_key(&self) -> &[u8; 32] {
            &[7; 32]
        }

        fn sign(&self, _: &[u8]) -> Result<[u8; 64], RecordError> {
            Err(RecordError::Signing("the token is gone".into()))
        }
    }

    #[test]
    fn a_key_that_does_not_sign_seals_nothing() {
        let signer = Signer::new(Arc::new(Gone));
        let now = crate::types::Timestamp::from_seconds(1);
        let closing = OutcomeEntry::new(crate::types::ExchangeId::new(now), now, Ended::Unknown);
        let refused = signer.seal(&closing).unwrap_err();
        assert_eq!(refused.code(), "record_signing_failed");
        assert_eq!(signer.public_key(), &[7; 32]);
    }
}
