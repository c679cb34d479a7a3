//! What is wrong with a configuration: where, what, and how to put it right.

use std::fmt;
use std::sync::Arc;

/// One mistake in a configuration, worded for the person who has to correct it. Never holds key material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file as it was named to us, an agreement in ODRL that it names, or `environment`.
    pub file: Arc<str>,
    /// The line, counted from 1; 0 when the problem is not about one line.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// How to correct it.
    pub fix: String,
}

impl fmt::Display for Problem {
    /// `file:line: what; fix`, without the line when there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}; {}", self.what, self.fix)
    }
}

/// Puts problems into the order in which a reader meets them: by line, and those without a line last.
pub(super) fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| (problem.line == 0, problem.line));
}

/// What is wrong with one value, before it is known where the value stands.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) what: String,
    pub(super) fix: String,
}

impl Complaint {
    pub(super) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// The longest piece of a wrong value that a message repeats, in characters.
const MOST_QUOTED: usize = 60;

/// A wrong value in quotes, with control characters escaped and cut at a readable length.
pub(super) fn quote(text: &str) -> String {
    if text.chars().count() <= MOST_QUOTED {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(MOST_QUOTED).collect();
    format!("{head:?}...")
}
