//! The tags a dataset carries: the closed vocabulary of privacy, intellectual property and security.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The three concerns of Data Free Flow with Trust; every dataset is tagged for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagFamily {
    /// `privacy:`
    Privacy,
    /// `ip:`
    IntellectualProperty,
    /// `security:`
    Security,
}

/// One tag of the vocabulary, such as `privacy:health` or `security:emerging=7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// A tag outside the vocabulary. An unknown tag denies, so it is refused where it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a tag of the privacy, ip or security vocabulary")]
pub struct InvalidTag(String);

const PRIVACY: [&str; 11] = [
    "none",
    "anonymised",
    "pseudonymised",
    "personal",
    "special",
    "health",
    "biometric",
    "genetic",
    "location",
    "financial",
    "child",
];
const INTELLECTUAL_PROPERTY: [&str; 8] = [
    "open",
    "licensed",
    "limited-provision",
    "trade-secret",
    "patent-secrecy",
    "unknown",
    "tdm-reserved",
    "no-derivatives",
];
const SECURITY: [&str; 6] = ["tlp-clear", "tlp-green", "tlp-amber", "tlp-amber-strict", "tlp-red", "cei"];
/// Security tags that carry a free value: an export-control row or ECCN, a sector, a product.
const SECURITY_VALUED: [&str; 3] = ["controlled", "critical-infra", "chokepoint"];

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The concern that the tag speaks to.
    pub fn family(&self) -> TagFamily {
        match self.0.split_once(':').map(|(family, _)| family) {
            Some("privacy") => TagFamily::Privacy,
            Some("ip") => TagFamily::IntellectualProperty,
            _ => TagFamily::Security,
        }
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let known = match text.split_once(':') {
            Some(("privacy", name)) => PRIVACY.contains(&name),
            Some(("ip", name)) => match name.split_once('=') {
                Some(("patent-field", number)) => is_number(number, 25),
                _ => INTELLECTUAL_PROPERTY.contains(&name),
            },
            Some(("security", name)) => match name.split_once('=') {
                Some(("emerging", number)) => is_number(number, 14),
                Some(("eo", kind)) => matches!(kind, "optical" | "sar"),
                Some((key, value)) => SECURITY_VALUED.contains(&key) && is_value(value),
                None => SECURITY.contains(&name),
            },
            _ => false,
        };
        if known { Ok(Self(text.into())) } else { Err(InvalidTag(text.chars().take(128).collect())) }
    }
}

/// A number from 1 to `most` without a leading zero.
fn is_number(text: &str, most: u8) -> bool {
    !text.starts_with(['0', '+']) && text.parse::<u8>().is_ok_and(|number| number <= most)
}

/// An identifier such as `3(1)`, `3A090`, `permanent-magnets`.
fn is_value(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'(' | b')' | b'.'))
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Tag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vocabulary_is_taken() {
        for tag in [
            "privacy:none",
            "ip:patent-field=25",
            "security:controlled=3(1)",
            "security:eo=sar",
            "security:emerging=14",
        ] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag} is refused");
        }
        for tag in [
            "",
            "privacy",
            "privacy:nothing",
            "ip:patent-field=26",
            "ip:patent-field=01",
            "security:emerging=0",
            "security:eo=radar",
            "security:chokepoint=",
            "security:controlled=a b",
            "colour:red",
        ] {
            assert!(tag.parse::<Tag>().is_err(), "{tag} is taken");
        }
    }
}
