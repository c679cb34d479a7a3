//! Names that travel in URLs, certificates and records, checked once where they enter.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A name that does not have the shape its kind demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    rule: &'static str,
    text: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $check(text) {
                    return Ok(Self(text.into()));
                }
                let text = text.chars().take(MAX_NAME).collect();
                Err(InvalidName { kind: $kind, rule: $rule, text })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

/// The longest name of any kind, in bytes: a DNS name's limit (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

name!(
    /// An organisation, by a domain-like id such as `kansai.example`.
    PartyId,
    "party id",
    "two or more labels of lower-case letters, digits and inner hyphens, joined by dots",
    is_party
);
name!(
    /// A dataset of one party, by the id under which it stands in a path.
    DatasetId,
    "dataset id",
    "1 to 253 lower-case letters, digits, '.', '_' or '-', starting with a letter or digit",
    is_dataset
);
name!(
    /// Why data is asked for: a term such as `dpv:ScientificResearch`.
    Purpose,
    "purpose",
    "a vocabulary prefix and a term of letters and digits, such as dpv:ScientificResearch",
    is_purpose
);

fn is_party(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= MAX_NAME && text.contains('.') && text.split('.').all(label)
}

fn is_dataset(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= MAX_NAME
        && text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().all(|b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn is_purpose(text: &str) -> bool {
    let term = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.len() <= MAX_NAME && text.split_once(':').is_some_and(|(prefix, name)| term(prefix) && term(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text} is refused");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text} is taken");
        }
    }

    #[test]
    fn names_have_one_spelling() {
        check::<PartyId>(
            &["kansai.example", "a-1.b.example"],
            &["", "kansai", "Kansai.example", "a..b", "-a.b", "a-.b", "a.b/", "a.b\n", "関所.example"],
        );
        check::<DatasetId>(&["usgs-earthquakes", "a.b_c"], &["", ".a", "..", "a/b", "A", "a%2f"]);
        check::<Purpose>(&["dpv:Marketing", "dpv-ai:ModelTraining"], &["", "dpv", ":x", "dpv:", "a:b:c", "a:b c"]);
    }
}
