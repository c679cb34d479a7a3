//! What a policy reads of a question, as it declares it.
//!
//! A decision is remembered by the digest of its input, so the input holds nothing that no policy reads: two requests
//! that differ in the path alone are one question to a policy that does not look at the path.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The parts of an input document. `action`, `at`, `eu_market` and `purpose` are plain values, the others are objects.
/// `eu_market`, whether a use is meant for the market of the EU, is for callers that ask a policy without a gateway; a
/// gateway says it of a party, a dataset or an agreement.
pub const SECTIONS: [&str; 10] =
    ["action", "at", "channel", "dataset", "eu_market", "legal", "purpose", "recipient", "request", "sender"];

/// Paths into an input document: a section such as `at`, or a member of one such as `recipient.country`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<String>", into = "BTreeSet<String>")]
pub struct InputPaths(BTreeSet<String>);

impl InputPaths {
    /// Everything that a question holds.
    pub fn everything() -> Self {
        Self(SECTIONS.iter().map(|section| (*section).to_owned()).collect())
    }

    /// The paths, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// What both read.
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The part of an input that these paths reach. A section that is no object stays what it is where one of its members
    /// is read, since a policy can see that too; everything else is left out.
    pub fn project(&self, input: &Value) -> Value {
        let Value::Object(sections) = input else { return input.clone() };
        let mut kept = Map::new();
        for (section, value) in sections {
            let reads_members = || {
                self.0.iter().any(|path| path.strip_prefix(section.as_str()).is_some_and(|rest| rest.starts_with('.')))
            };
            match value {
                _ if self.0.contains(section) => {
                    kept.insert(section.clone(), value.clone());
                }
                Value::Object(members) if reads_members() => {
                    let members = members.iter().filter(|(member, _)| self.covers(section, Some(member)));
                    let members = members.map(|(member, value)| (member.clone(), value.clone())).collect();
                    kept.insert(section.clone(), Value::Object(members));
                }
                _ if reads_members() => {
                    kept.insert(section.clone(), value.clone());
                }
                _ => {}
            }
        }
        Value::Object(kept)
    }

    /// Whether a member of a section is among what is read; of a plain section, whether it is.
    pub fn covers(&self, section: &str, member: Option<&str>) -> bool {
        self.0.contains(section) || member.is_some_and(|member| self.0.contains(&format!("{section}.{member}")))
    }

    /// Whether anything of a section is read.
    pub fn touches(&self, section: &str) -> bool {
        let member = |path: &String| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        self.0.contains(section)
            || self.0.range(section.to_owned()..).take_while(|path| path.starts_with(section)).any(member)
    }
}

impl TryFrom<BTreeSet<String>> for InputPaths {
    type Error = String;

    fn try_from(paths: BTreeSet<String>) -> Result<Self, String> {
        for path in &paths {
            let (section, member) = path.split_once('.').map_or((path.as_str(), None), |(one, two)| (one, Some(two)));
            let plain = matches!(section, "action" | "at" | "eu_market" | "purpose");
            let known = SECTIONS.contains(&section);
            let right = match member {
                None => true,
                Some(member) => !plain && !member.is_empty() && !member.contains('.'),
            };
            if !known || !right {
                return Err(format!(
                    "{path:?} is no part of an input: write a section ({}) or a member of one, such as recipient.country",
                    SECTIONS.join(", ")
                ));
            }
        }
        Ok(Self(paths))
    }
}

impl From<InputPaths> for BTreeSet<String> {
    fn from(paths: InputPaths) -> Self {
        paths.0
    }
}

/// How exactly a policy sees the time. A coarser time makes more questions the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// `YYYY-MM-DD`, UTC.
    #[default]
    Date,
    /// `YYYY-MM-DDThh:00:00Z`.
    Hour,
    /// `YYYY-MM-DDThh:mm:00Z`.
    Minute,
}

impl Granularity {
    /// The word in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Hour => "hour",
            Self::Minute => "minute",
        }
    }

    /// A time in UTC (RFC 3339, to the minute or a date) as it looks at this granularity. What is no longer than a date, or
    /// no time at all, stays what it is: the policy judges it.
    pub fn coarsen(self, at: &str) -> String {
        let to =
            |length: usize, rest: &str| at.get(..length).map_or_else(|| at.to_owned(), |head| format!("{head}{rest}"));
        if at.as_bytes().get("YYYY-MM-DD".len()) != Some(&b'T') || at.len() < "YYYY-MM-DDThh:mm".len() {
            return at.to_owned();
        }
        match self {
            Self::Date => to("YYYY-MM-DD".len(), ""),
            Self::Hour => to("YYYY-MM-DDThh".len(), ":00:00Z"),
            Self::Minute => to("YYYY-MM-DDThh:mm".len(), ":00Z"),
        }
    }
}
