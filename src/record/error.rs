//! Why the record room could not do what it was asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::MAX_ENTRY;
use crate::types::Blame;

/// Every failure of signing, appending, opening and reading a log.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The sealed entry would be larger than [`MAX_ENTRY`]. It is never shortened.
    #[error("an entry of {size} bytes is larger than the {MAX_ENTRY} that a log takes")]
    EntryTooLarge {
        /// Its size as a compact JWS, in bytes.
        size: usize,
    },
    /// The entry's values cannot be written as JSON.
    #[error("an entry cannot be written as JSON: {0}")]
    EntryEncoding(#[source] serde_json::Error),
    /// The private key is not an Ed25519 key in PKCS#8.
    #[error("the signing key is of no use: {0}")]
    Key(&'static str),
    /// Whoever holds the signing key gave no signature.
    #[error("the signing key did not sign: {0}")]
    Signing(Arc<str>),
    /// The log's origin is not a key name of the C2SP signed-note format.
    #[error("{0:?} is not a log origin: it must not be empty nor hold white space, '+' or control characters")]
    Origin(String),
    /// The log takes no entries: it was closed, or its disk failed. Not worth another try.
    #[error("the log takes no entries: {0}")]
    Unavailable(Arc<str>),
    /// More entries that nobody waits for are queued than the log keeps in memory.
    #[error("the log's queue is full")]
    Busy,
    /// The disk has no room for more exchanges. It takes some again as soon as there is.
    #[error("there is no room on the disk for the log")]
    Full,
    /// Another process has this log, or this store of inputs, open.
    #[error("another process writes in {}", .0.display())]
    Locked(PathBuf),
    /// The directory holds the log of another origin or key.
    #[error("this is another log: {0}")]
    Foreign(String),
    /// The log was changed or damaged: more than a write that a crash cut short.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// The log is shorter than its own checkpoint.
    #[error("the log was rolled back: its checkpoint covers {checkpoint} entries, the file holds {entries}")]
    RolledBack {
        /// Entries that the checkpoint signs.
        checkpoint: u64,
        /// Whole entries in the file.
        entries: u64,
    },
    /// A witness shows a checkpoint that the log's key signed and that is not in the log.
    #[error("the log is an older copy of itself or a fork: {0}")]
    Contradicted(String),
    /// A file of the log could not be read, made or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl RecordError {
    /// The stable name of this failure; also the metric label.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EntryTooLarge { .. } => "entry_too_large",
            Self::EntryEncoding(_) => "entry_encoding",
            Self::Key(_) => "record_key_invalid",
            Self::Signing(_) => "record_signing_failed",
            Self::Origin(_) => "log_origin_invalid",
            Self::Unavailable(_) => "record_unavailable",
            Self::Busy => "record_busy",
            Self::Full => "record_full",
            Self::Locked(_) => "log_locked",
            Self::Foreign(_) => "log_foreign",
            Self::Corrupt(_) => "log_corrupt",
            Self::RolledBack { .. } | Self::Contradicted(_) => "log_rolled_back",
            Self::Io { .. } => "log_io",
        }
    }

    /// Who has to act.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::EntryTooLarge { .. } | Self::EntryEncoding(_) => Blame::Us,
            _ => Blame::Operator,
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
