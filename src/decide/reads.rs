//! What the policies in force read of a question together, ready for the hot path.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Granularity, InputPaths};

/// What is kept of one section of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing, not even that it is there.
    Nothing,
    /// All of it.
    All,
    /// These members. The number stands for this choice of them, and facts remember their narrowed text by it.
    Members(u64, BTreeSet<Box<str>>),
}

/// What an input holds: the declared paths, and the time as exactly as it is read.
#[derive(Debug, Clone)]
pub struct Reads {
    paths: InputPaths,
    time: Granularity,
    action: bool,
    at: bool,
    purpose: bool,
    pub(super) channel: Kept,
    pub(super) dataset: Kept,
    pub(super) legal: Kept,
    pub(super) recipient: Kept,
    pub(super) request: Kept,
    pub(super) sender: Kept,
}

/// The next number of a choice of members.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Reads {
    /// Takes what is declared.
    pub fn new(paths: InputPaths, time: Granularity) -> Self {
        let kept = |section: &str| {
            if paths.covers(section, None) {
                return Kept::All;
            }
            let inside = paths.iter().filter_map(|path| path.strip_prefix(section)?.strip_prefix('.'));
            let members: BTreeSet<Box<str>> = inside.map(Box::from).collect();
            match members.is_empty() {
                true => Kept::Nothing,
                false => Kept::Members(NEXT.fetch_add(1, Ordering::Relaxed), members),
            }
        };
        Self {
            time,
            action: paths.covers("action", None),
            at: paths.covers("at", None),
            purpose: paths.covers("purpose", None),
            channel: kept("channel"),
            dataset: kept("dataset"),
            legal: kept("legal"),
            recipient: kept("recipient"),
            request: kept("request"),
            sender: kept("sender"),
            paths,
        }
    }

    /// Everything that a question holds, to the minute.
    pub fn everything() -> Self {
        Self::new(InputPaths::everything(), Granularity::Minute)
    }

    /// What both read, at the finer of their two times.
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.paths.union(&other.paths), self.time.max(other.time))
    }

    /// The paths.
    pub fn paths(&self) -> &InputPaths {
        &self.paths
    }

    /// How exactly the time is read.
    pub fn time(&self) -> Granularity {
        self.time
    }

    /// Whether both read the same.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.paths == other.paths && self.time == other.time
    }

    pub(super) fn action(&self) -> bool {
        self.action
    }

    pub(super) fn at(&self) -> bool {
        self.at
    }

    pub(super) fn purpose(&self) -> bool {
        self.purpose
    }
}

impl Kept {
    /// Whether a member is kept.
    pub(super) fn keeps(&self, member: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Members(_, members) => members.contains(member),
        }
    }
}

#[cfg(test)]
mod tests;
