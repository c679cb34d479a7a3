//! What is wrong with an agreement in ODRL, and where.

use std::fmt;

use super::MAX_FINDINGS;
use crate::decide::DecideError;

/// One thing in a document that cannot be enforced or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermFinding {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for TermFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.what, self.fix)
    }
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<TermFinding>);

impl Findings {
    pub(super) fn add(&mut self, line: usize, what: impl Into<String>, fix: impl Into<String>) {
        if self.0.len() < MAX_FINDINGS {
            self.0.push(TermFinding { line, what: what.into(), fix: fix.into() });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The refusal that they make, in the order of lines.
    pub(super) fn refusal(mut self) -> DecideError {
        self.0.sort_by_key(|finding| finding.line);
        DecideError::Agreement(self.0)
    }
}

/// The longest piece of a document that a finding repeats, in characters.
const MOST_QUOTED: usize = 80;

/// A piece of a document in quotes, with control characters escaped and cut at a readable length.
pub(super) fn quote(text: &str) -> String {
    if text.chars().count() <= MOST_QUOTED {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(MOST_QUOTED).collect();
    format!("{head:?}...")
}
