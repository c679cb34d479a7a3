//! The name of one exchange, the same on both sides of the border.

use std::fmt;
use std::str::FromStr;

use super::Timestamp;

/// A ULID: 48 bits of time in milliseconds and 80 random bits, as 26 Crockford base-32 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(ulid::Ulid);

impl ExchangeId {
    /// A new id that sorts by `at`.
    pub fn new(at: Timestamp) -> Self {
        let mut random = [0u8; 16];
        // A failing random source leaves zeros: the id is then less unique, never secret, and nothing depends on it.
        let _ = aws_lc_rs::rand::fill(&mut random);
        Self(ulid::Ulid::from_parts(at.millis(), u128::from_be_bytes(random)))
    }

    /// The time in the id.
    pub fn at(self) -> Timestamp {
        Timestamp::from_millis(self.0.timestamp_ms())
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for ExchangeId {
    type Err = ulid::DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ulid::Ulid::from_string(text).map(Self)
    }
}

impl serde::Serialize for ExchangeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.array_to_str(&mut [0; ulid::ULID_LEN]))
    }
}

impl<'de> serde::Deserialize<'de> for ExchangeId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
