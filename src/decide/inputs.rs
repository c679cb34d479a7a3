//! What a policy reads of a question, as it declares it.
//!
//! A decision is remembered by the digest of its input, so the input holds nothing that no policy reads: two requests
//! that differ in the path alone are one question to a policy that does not look at the path.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The parts of an input document. `at`, `action` and `purpose` are plain values, the others are objects.
pub const SECTIONS: [&str; 9] =
    ["action", "at", "channel", "dataset", "legal", "purpose", "recipient", "request", "sender"];

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

    /// What of an input document is read. A section of which members alone are read stays, with those members, so that a
    /// policy still sees whether it is there; a section that is no object has no members to leave out and stays as it is.
    pub fn project(&self, input: &Value) -> Value {
        let Value::Object(sections) = input else { return input.clone() };
        let mut read = Map::new();
        for (section, content) in sections.iter().filter(|(section, _)| self.touches(section)) {
            let content = match content {
                Value::Object(members) => {
                    let members = members.iter().filter(|(member, _)| self.covers(section, Some(member)));
                    Value::Object(members.map(|(member, value)| (member.clone(), value.clone())).collect())
                }
                plain => plain.clone(),
            };
            read.insert(section.clone(), content);
        }
        Value::Object(read)
    }
}

impl TryFrom<BTreeSet<String>> for InputPaths {
    type Error = String;

    fn try_from(paths: BTreeSet<String>) -> Result<Self, String> {
        for path in &paths {
            let (section, member) = path.split_once('.').map_or((path.as_str(), None), |(one, two)| (one, Some(two)));
            let plain = matches!(section, "action" | "at" | "purpose");
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
