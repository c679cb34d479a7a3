//! Days of the calendar, UTC, and the names of their files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::macros::format_description;

use crate::types::Timestamp;

/// What a day's file ends with.
const EXTENSION: &str = ".ndjson";
const SECONDS: u64 = 24 * 60 * 60;

/// A day, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(u64);

impl Day {
    /// The day of an instant.
    pub(super) const fn of(at: Timestamp) -> Self {
        Self(at.seconds() / SECONDS)
    }

    /// The day that a file name stands for; `None` for any other file.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::parse(name.strip_suffix(EXTENSION)?)
    }

    /// A day as `YYYY-MM-DD`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let date = time::Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        let seconds = u64::try_from(date.midnight().assume_utc().unix_timestamp()).ok()?;
        // One day has one name, so that no two files are one day's.
        Some(Self(seconds / SECONDS)).filter(|day| day.to_string() == text)
    }

    /// Its file.
    pub(super) fn file(self, directory: &Path) -> PathBuf {
        directory.join(format!("{self}{EXTENSION}"))
    }

    /// The instant at which it is over.
    pub(super) const fn end(self) -> Timestamp {
        Timestamp::from_seconds((self.0 + 1).saturating_mul(SECONDS))
    }

    /// Whether what it holds is past its retention on another day: kept on the day itself and so many days after it.
    pub(super) const fn is_past(self, retention_days: u32, today: Self) -> bool {
        today.0.saturating_sub(self.0) > retention_days as u64
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Timestamp::default().plus(Duration::from_secs(self.0.saturating_mul(SECONDS))).date())
    }
}
