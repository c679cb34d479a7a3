//! Who asked, so that the record can name them and still forget them: a salted commitment.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a commitment's text starts with.
const PREFIX: &str = "hmac-sha256:";
/// 32 bytes in base64url without padding.
const DIGITS: usize = 43;

/// 32 random bytes, without which nobody can tell whom a [`Commitment`] names: not even who guesses the name.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// A fresh one; `None` when the machine has no random bytes to give.
    pub fn fresh() -> Option<Self> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// From its 43 characters of base64url.
    pub fn parse(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }

    /// As base64url.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What the record says in place of a name: HMAC-SHA256 (RFC 2104) of the name, with the salt as the key.
    pub fn commit(&self, subject: &str) -> Commitment {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), subject.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Commitment(bytes)
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

/// A person or service that only who holds the salt can name; shown as `hmac-sha256:` and base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; 32]);

impl Commitment {
    /// The text, without allocating.
    fn write(self, text: &mut [u8; PREFIX.len() + DIGITS]) -> Option<&str> {
        text[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
        URL_SAFE_NO_PAD.encode_slice(self.0, &mut text[PREFIX.len()..]).ok()?;
        std::str::from_utf8(text).ok()
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; PREFIX.len() + DIGITS]).ok_or(fmt::Error)?)
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Commitment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; PREFIX.len() + DIGITS];
        let text = self.write(&mut text).ok_or_else(|| serde::ser::Error::custom("not text"))?;
        serializer.serialize_str(text)
    }
}

impl<'de> serde::Deserialize<'de> for Commitment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Commitment {
    type Err = InvalidCommitment;

    fn from_str(text: &str) -> Result<Self, InvalidCommitment> {
        text.strip_prefix(PREFIX).and_then(decode).map(Self).ok_or(InvalidCommitment)
    }
}

fn decode(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The text is not `hmac-sha256:` and 43 characters of base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a commitment: expected hmac-sha256: and 43 characters of base64url")]
pub struct InvalidCommitment;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_is_what_an_independent_computation_says() {
        let salt = Salt([7; 32]);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
        let tag = ring::hmac::sign(&key, "person:ada".as_bytes());
        let text = format!("hmac-sha256:{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(salt.commit("person:ada").to_string(), text);
        assert_eq!(text.parse(), Ok(salt.commit("person:ada")));
        assert_eq!(Salt::parse(&salt.text()), Some(salt));
        for bad in ["", "hmac-sha256:", &text[1..], &text[..54], &format!("{text}=")] {
            assert_eq!(bad.parse::<Commitment>(), Err(InvalidCommitment), "{bad:?}");
        }
    }

    #[test]
    fn two_salts_give_one_person_two_commitments() {
        let (one, other) = (Salt::fresh().unwrap(), Salt::fresh().unwrap());
        assert_ne!(one.commit("person:ada"), other.commit("person:ada"));
        assert_eq!(format!("{one:?}"), "Salt");
    }
}
