//! Why an obligation could not be carried out: one closed list, in words that never hold a payload's values.

use std::fmt;

use crate::types::Blame;

/// A failure of this room. Every one of them ends the exchange; none lets a byte through that it should have changed.
///
/// Names of rules, obligations and columns come from the policy or from a header row; values never appear.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnforceError {
    /// The policy demands something that this room does not know or has not built.
    #[error("obligation {action:?} of rule {rule} cannot be carried out: {why}")]
    Unsupported {
        /// The rule that demands it.
        rule: String,
        /// The obligation, as the policy words it.
        action: String,
        /// What is unknown about it.
        why: String,
    },
    /// A rule demands pseudonyms and this gateway has no key for them.
    #[error("rule {rule} demands pseudonyms, and no pseudonym key is configured")]
    KeysMissing {
        /// The rule that demands them.
        rule: String,
    },
    /// A pseudonym key that must not be used.
    #[error("the pseudonym key is not usable: {0}")]
    KeyInvalid(&'static str),
    /// The obligation is known, and this payload's format, encoding or columns do not allow it.
    #[error("the obligation cannot be carried out on this payload: {0}")]
    NotPossible(String),
    /// The payload is not what its content type says.
    #[error("the payload is malformed at {at}: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: Position,
    },
    /// One part of the payload is larger than the room for it.
    #[error("the payload at {at} goes past the limit of {limit} {unit}")]
    PayloadLimit {
        /// What is counted, such as "bytes in a record".
        unit: &'static str,
        /// The most that is taken.
        limit: usize,
        /// Where the limit was passed.
        at: Position,
    },
    /// An obligation that needs the whole payload at once got more than it may hold.
    #[error("{action} may hold at most {limit} bytes, and the payload needs more")]
    TooLarge {
        /// The obligation.
        action: &'static str,
        /// The most bytes that it may hold.
        limit: usize,
    },
    /// Some records are alike to fewer than `k` others, and the policy says to deny rather than to leave them out.
    #[error("{records} records stand in groups smaller than {k}")]
    NotAnonymous {
        /// The size that every group must have.
        k: u32,
        /// How many records stand in smaller groups.
        records: u64,
    },
    /// A promise of this room is broken: a cryptographic primitive failed, or a filter was used after it failed.
    #[error("enforcement failed: {0}")]
    Internal(&'static str),
}

impl EnforceError {
    /// A stable code, for peers and as a metric label.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => "obligation_unsupported",
            Self::KeysMissing { .. } => "pseudonym_keys_missing",
            Self::KeyInvalid(_) => "pseudonym_key_invalid",
            Self::NotPossible(_) => "obligation_not_possible",
            Self::Malformed { .. } => "payload_malformed",
            Self::PayloadLimit { .. } => "payload_limit",
            Self::TooLarge { .. } => "obligation_limit",
            Self::NotAnonymous { .. } => "k_anonymity_not_met",
            Self::Internal(_) => "enforce_internal",
        }
    }

    /// Who has to act. A payload's faults are laid on the data service: whoever pushes a payload stands in for it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Unsupported { .. } | Self::KeysMissing { .. } | Self::KeyInvalid(_) => Blame::Operator,
            Self::NotPossible(_) | Self::TooLarge { .. } | Self::NotAnonymous { .. } => Blame::Operator,
            Self::Malformed { .. } | Self::PayloadLimit { .. } => Blame::Upstream,
            Self::Internal(_) => Blame::Us,
        }
    }
}

/// A place in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Bytes before the fault, from the start of the payload; near it where the fault spans several bytes.
    Byte(u64),
    /// A CSV record, counted from 1; the header row is 1.
    Row(u64),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(byte) => write!(f, "byte {byte}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}
