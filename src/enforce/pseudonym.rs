//! Pseudonyms: the same person keeps one name per recipient, and two recipients' names cannot be joined.
//!
//! A pseudonym is the first 16 bytes of HMAC-SHA256 (RFC 2104) over the value's bytes, in base64url without padding
//! (RFC 4648, section 5): 22 characters. The key is derived for each recipient with HKDF-SHA256 (RFC 5869) from a
//! master secret that never leaves the gateway. Neither column nor dataset enters the computation: one person stays one
//! person across a recipient's datasets, which is what a pseudonym is for.

use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::EnforceError;
use crate::types::PartyId;

/// The shortest master secret, in bytes: as strong as the HMAC key that comes out of it.
pub const MIN_SECRET: usize = 32;

/// Characters of a pseudonym.
pub const PSEUDONYM_LENGTH: usize = 22;

/// Separates this use of the master secret from every other.
const CONTEXT: &[u8] = b"sekisho pseudonym v1";

/// The master secret from which each recipient's key is derived.
pub struct PseudonymKeys {
    id: String,
    master: hkdf::Prk,
}

impl PseudonymKeys {
    /// Takes a key id (1 to 64 ASCII letters, digits, `.`, `_` or `-`; it appears in records) and a master secret of at
    /// least [`MIN_SECRET`] random bytes.
    ///
    /// # Errors
    /// [`EnforceError::KeyInvalid`] when the id is not of that shape or the secret is too short.
    pub fn new(id: &str, secret: &[u8]) -> Result<Self, EnforceError> {
        let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=64).contains(&id.len()) || !id.bytes().all(letter) {
            return Err(EnforceError::KeyInvalid("its id is not 1 to 64 letters, digits, '.', '_' or '-'"));
        }
        if secret.len() < MIN_SECRET {
            return Err(EnforceError::KeyInvalid("its secret is shorter than 32 bytes"));
        }
        let master = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
        Ok(Self { id: id.to_owned(), master })
    }

    /// The id that records show.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key that only this recipient's pseudonyms are made with.
    pub(super) fn recipient(&self, recipient: &PartyId) -> Result<RecipientKey, EnforceError> {
        // The id is preceded by its length, so that no two pairs of id and recipient give one info.
        let length = u8::try_from(self.id.len()).map_err(|_| EnforceError::Internal("key id too long"))?;
        let info = [CONTEXT, &[length], self.id.as_bytes(), recipient.as_str().as_bytes()];
        let failed = |_| EnforceError::Internal("key derivation failed");
        let mut key = [0u8; 32];
        self.master.expand(&info, hkdf::HKDF_SHA256).map_err(failed)?.fill(&mut key).map_err(failed)?;
        Ok(RecipientKey { id: self.id.clone(), key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }
}

impl fmt::Debug for PseudonymKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudonymKeys({})", self.id)
    }
}

/// One recipient's key.
pub(super) struct RecipientKey {
    id: String,
    key: hmac::Key,
}

impl RecipientKey {
    /// The id of the master secret behind this key.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Replaces what `out` holds by the pseudonym of `value`.
    pub(super) fn pseudonym(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), EnforceError> {
        let tag = hmac::sign(&self.key, value);
        out.clear();
        out.resize(PSEUDONYM_LENGTH, 0);
        URL_SAFE_NO_PAD
            .encode_slice(&tag.as_ref()[..16], out)
            .map_err(|_| EnforceError::Internal("pseudonym encoding failed"))?;
        Ok(())
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonym(id: &str, recipient: &str, value: &str) -> String {
        let secret: Vec<u8> = (0..32).collect();
        let keys = PseudonymKeys::new(id, &secret).unwrap();
        let mut out = Vec::new();
        keys.recipient(&recipient.parse().unwrap()).unwrap().pseudonym(value.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pseudonym_is_what_an_independent_computation_says() {
        // Computed with Python's hmac module, HKDF written out after RFC 5869.
        assert_eq!(pseudonym("2026-a", "kansai.example", "1412"), "pFm8wZmLVUH8zC5zNETDOg");
    }

    #[test]
    fn one_person_has_one_name_per_recipient_and_key() {
        let name = pseudonym("2026-a", "kansai.example", "1412");
        assert_eq!(name.len(), PSEUDONYM_LENGTH);
        assert_eq!(name, pseudonym("2026-a", "kansai.example", "1412"));
        for other in [
            pseudonym("2026-a", "kanto.example", "1412"),
            pseudonym("2026-b", "kansai.example", "1412"),
            pseudonym("2026-a", "kansai.example", "1413"),
        ] {
            assert_ne!(name, other);
        }
    }

    #[test]
    fn weak_or_unnamed_keys_are_refused() {
        for (id, length) in [("a", 31), ("", 32), ("a b", 32), ("関", 32)] {
            let refused = PseudonymKeys::new(id, &vec![1; length]).unwrap_err();
            assert_eq!(refused.code(), "pseudonym_key_invalid", "{id:?} with {length} bytes");
        }
        assert_eq!(format!("{:?}", PseudonymKeys::new("a", &[7; 32]).unwrap()), "PseudonymKeys(a)");
    }
}
