//! Who the commitments in the log stand for, kept beside it so that it can be forgotten.
//!
//! A decision entry names the person or service behind a pass only as HMAC-SHA256 of its `sub`, under a salt that was made
//! for that pass. The salt and the `sub` lie here. Whoever holds both can open the commitment; once they are forgotten
//! nobody can, not even who guesses the name, and the log verifies as before.
//!
//! # What lies in the directory
//!
//! | file | what |
//! |---|---|
//! | `YYYY-MM-DD.ndjson` | the passes that were first shown on that day, UTC; mode 0600 |
//! | `YYYY-MM-DD.ndjson.tmp` | what is left of a day while somebody is being forgotten; a crash may leave one, and the next writer removes it |
//! | `lock` | empty; whoever writes holds an exclusive lock on it |
//!
//! A line is `{"subject":"hmac-sha256:...","salt":"...","sub":"..."}`. A last line without its line feed is what a crash tore.
//!
//! # What holds
//!
//! - [`SubjectStore::keep`] never waits. What does not fit is lost and counted: that commitment can never be opened.
//! - [`SubjectStore::forget`] returns once no day's file holds a line of that subject, durably. What was kept before it
//!   was called is forgotten with the rest. A day whose lines cannot all be read loses those that cannot, too.
//! - Whole days go when they are past their retention, and the oldest before that when the store would outgrow its cap.
//! - A disk keeps what it overwrote for a while, and so do backups: those are the operator's to think of.

mod forget;
mod read;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use forget::Forgotten;
pub use read::Subjects;
pub use store::{SubjectConfig, SubjectHealth, SubjectStore};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::types::{Commitment, Salt};

/// The longest line: a `sub` has 256 bytes, of which JSON makes twice as many at most, and the rest has 150.
const MOST_LINE: usize = 1024;

/// One pass.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    subject: Commitment,
    #[serde(borrow)]
    salt: Cow<'a, str>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
}

impl<'a> Line<'a> {
    /// Reads a line without its line feed; `None` when it is none of ours, or its commitment is to something else.
    fn read(line: &'a [u8]) -> Option<Self> {
        let line: Self = serde_json::from_slice(line).ok()?;
        (Salt::parse(&line.salt)?.commit(&line.sub) == line.subject).then_some(line)
    }
}
