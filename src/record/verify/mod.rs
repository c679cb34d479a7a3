//! Checks a log for someone who trusts nobody: no gateway, no signer, no lock, and nothing of the cryptography that made
//! it. Hashes and signatures are ring's; the gateway's are aws-lc-rs's.
//!
//! The log is read once, front to back, in runs of entries. It may be in use: the checkpoint is read first, so the
//! entries can only be ahead of it. Memory is bounded, however long the log is.

mod bundle;
mod compare;
mod cose;
mod cosigned;
mod crypto;
mod feed;
mod grid;
mod judge;
mod notes;
mod pairing;
mod pipeline;
mod policy;
mod proof;
mod proof_file;
mod receipts;
mod report;
mod signing;
mod source;
mod story;
#[cfg(test)]
mod tests;
mod times;
mod timestamps;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use super::keys::KEYS;
use super::store::{CHECKPOINT, KEY};
use crate::types::{Blame, Clock as _, SystemClock, Timestamp};
pub use bundle::{FORMAT as BUNDLE_FORMAT, verify_bundle};
use compare::MOST_EXCHANGES;
pub use compare::{Beside, Other, verify_with};
pub use cose::{is_cose, verify_cose};
use cosigned::Cosigned;
use feed::Feed;
use judge::Judge;
use notes::{MOST_NOTE, NoteKey, Role, read_checkpoint};
pub use policy::{MOST_POLICY, Policy, PolicyError};
pub use proof_file::{MOST_PROOF_FILE, is_proof_file, verify_proof_file};
pub use receipts::Parties;
use report::Findings;
pub use report::{Check, Finding, Report};
use signing::Signing;
pub use source::{Directory, Source};
pub use times::TOLERANCE;
use timestamps::Stamps;
pub use timestamps::{MOST_TOKEN, TimestampAnchors};
use walk::{Books, Listener, walk};

#[cfg(test)]
pub(in crate::record) use crypto::Tree;

/// Makes a consistency proof between two sizes of a log's tree, out of its tiles. Given by the caller, so that what makes
/// proofs shares no code with what checks them.
pub type Prove<'a> = &'a dyn Fn(u64, u64) -> io::Result<Vec<[u8; 32]>>;

/// What is checked, and against what.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The log's key as its owner gave it: a C2SP vkey, or the path of a file that holds one. Without it the log's own is
    /// used, and the report says so.
    pub key: Option<&'a str>,
    /// The witnesses to believe.
    pub policy: Option<&'a Policy>,
    /// The time-stamping authorities to believe.
    pub timestamp_anchors: Option<&'a TimestampAnchors>,
    /// Whose keys are whose.
    pub parties: Option<&'a Parties>,
    /// Whether entries' signatures are checked.
    pub signatures: bool,
    /// Threads that check entries, beside the one that reads.
    pub threads: usize,
    /// Makes proofs to check.
    pub prove: Option<Prove<'a>>,
    /// The present, as far as it is needed: to know up to which day a log can have files.
    pub now: Timestamp,
}

impl Default for Options<'_> {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (key, policy, timestamp_anchors, parties, prove) = (None, None, None, None, None);
        Self { key, policy, timestamp_anchors, parties, signatures: true, threads, prove, now: SystemClock.now() }
    }
}

/// Why nothing can be said about a log. What is wrong *with* a log is a [`Finding`].
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no log in the directory.
    #[error("{0} holds no log")]
    NoLog(String),
    /// No key was given and the directory holds none.
    #[error("no key was given, and {0} holds none")]
    NoKey(String),
    /// The key is not a C2SP vkey `name+hexkeyid+base64(0x01 || public key)`, nor a file that holds one.
    #[error("not an Ed25519 key of a log: {0}")]
    Key(String),
    /// There are more exchanges than are compared.
    #[error("{0} tells of more than {MOST_EXCHANGES} exchanges, which is more than are compared at once")]
    TooMany(String),
    /// A file is not what it was taken for.
    #[error("{name}: {what}")]
    Form {
        /// Which file.
        name: String,
        /// What is wrong with its form.
        what: &'static str,
    },
    /// A file could not be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl VerifyError {
    /// The stable name of this failure.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoLog(_) => "verify_no_log",
            Self::NoKey(_) => "verify_no_key",
            Self::Key(_) => "verify_key_invalid",
            Self::TooMany(_) => "verify_too_many",
            Self::Form { .. } => "verify_form",
            Self::Io { .. } => "verify_io",
        }
    }

    /// Who has to act: whoever runs the check.
    pub const fn blame(&self) -> Blame {
        Blame::Operator
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Verifies the log in a directory. `key` is as in [`Options`]. `progress` hears how many entries of how many were read.
///
/// # Errors
/// As [`verify_log`].
pub fn verify_directory(
    directory: &Path,
    key: Option<&str>,
    progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    verify_log(&Directory::new(directory), &Options { key, ..Options::default() }, progress)
}

/// Verifies a log wherever it lies.
///
/// # Errors
/// [`VerifyError`] when the check could not be made. A log that fails it is a [`Report`] with findings.
pub fn verify_log(
    source: &dyn Source,
    options: &Options<'_>,
    progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    verify_heard(source, options, None, progress)
}

/// Verifies a log; `listener` hears what its entries tell.
fn verify_heard(
    source: &dyn Source,
    options: &Options<'_>,
    listener: Option<Listener<'_>>,
    progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let note = read_small(source, CHECKPOINT)?;
    let own_key = read_small(source, KEY)?;
    if note.is_none() && source.directory().is_none_or(|directory| !directory.join(super::store::WAL).exists()) {
        return Err(VerifyError::NoLog(source.name()));
    }
    let (trusted, vkey) = trusted_key(source, options.key, own_key.as_deref())?;
    let mut report = Report::new(&trusted.name, &vkey);
    let mut keys = Signing::one(trusted.clone());
    let mut handovers = Vec::new();
    let list = read_small(source, KEYS)?;
    report.check("key", 1, &vkey, |findings| {
        match list.as_deref().map(|list| Signing::listed(list, &trusted)) {
            None => {}
            Some(Ok(listed)) => (keys, handovers) = listed,
            Some(Err(what)) => findings.add(None, format!("{KEYS} {what}")),
        }
        if own_key.as_deref().is_some_and(|own| parse_key(own).is_none_or(|own| !keys.holds(&own))) {
            findings.add(None, format!("{KEY} holds another key than the one that was given, and none of its list"));
        }
        let listed = options.policy.map(Policy::logs).unwrap_or_default();
        if !listed.is_empty() && !listed.iter().any(|log| keys.holds(log)) {
            findings.add(None, "the policy lists logs, and not this one under this key".into());
        }
    });
    let mut points = Cosigned::new(source, &keys, &trusted.name, options.policy);
    let mut size = 0;
    report.check("checkpoint", 1, "size and root of the tree, signed by the log's key", |findings| {
        size = judge_checkpoint(note.as_deref(), &keys, &trusted, &mut points, findings);
    });
    let nobody = Parties::default();
    let judge = Judge {
        keys: &keys,
        parties: options.parties.unwrap_or(&nobody),
        signatures: options.signatures,
        stories: listener.is_some(),
    };
    points.find(first_at(source, size), options.now);
    let feed = Feed::new(source, size);
    let stamps = Stamps::find(source, &keys, &trusted.name, options);
    let books = Books::new(source, (points, stamps), size, handovers.into_iter().collect());
    let other = listener.is_some();
    walk(feed, books, &judge, options, &mut report, listener, progress)?;
    report.leave_open(options.key.is_some(), other);
    Ok(report)
}

/// When the first entry was made, if it is to be had: the log has no files of days before.
fn first_at(source: &dyn Source, size: u64) -> Option<u64> {
    use super::tiles::{BundleId, width_at};
    if source.directory().is_some() || size == 0 {
        return None;
    }
    let bundle = source.read(&BundleId { index: 0, width: width_at(0, 0, size) }.path()).ok()?;
    let (entry, _) = judge::split_entry(&bundle)?;
    let payload = super::jws::decode(super::jws::Compact::split(entry)?.payload)?;
    judge::millis(&serde_json::from_slice::<judge::Entry<'_>>(&payload).ok()?.at)
}

/// Reads the checkpoint's note, and gives the size that it states. It need not be signed: size and root still tell what
/// to look for.
fn judge_checkpoint(
    note: Option<&str>,
    keys: &Signing,
    trusted: &NoteKey,
    points: &mut Cosigned<'_>,
    findings: &mut Findings,
) -> u64 {
    let Some(text) = note else {
        findings.add(None, format!("{CHECKPOINT} is missing: nothing tells how many entries there should be"));
        return 0;
    };
    let Some((note, checkpoint)) = read_checkpoint(text) else {
        findings.add(None, format!("{CHECKPOINT} is not a checkpoint in a signed note"));
        return 0;
    };
    let origin = &trusted.name;
    if checkpoint.origin != *origin {
        findings.add(None, format!("the checkpoint is of {}, the key of {origin}", checkpoint.origin));
    }
    let (fault, log) = keys.judge(&note, trusted);
    fault.into_iter().for_each(|fault| findings.add(None, fault.into()));
    let point = points.point(&note, checkpoint.size, checkpoint.root, log, CHECKPOINT.to_owned());
    points.add(point);
    checkpoint.size
}

/// The key to believe, and how it is written.
fn trusted_key(source: &dyn Source, key: Option<&str>, own: Option<&str>) -> Result<(NoteKey, String), VerifyError> {
    match (key, own) {
        (Some(key), _) => trusted_key_of(key),
        (None, Some(own)) => read_key(own).ok_or_else(|| VerifyError::Key(format!("{} of {}", KEY, source.name()))),
        (None, None) => Err(VerifyError::NoKey(source.name())),
    }
}

/// A key as text, or in a file.
fn trusted_key_of(key: &str) -> Result<(NoteKey, String), VerifyError> {
    if let Some(key) = read_key(key) {
        return Ok(key);
    }
    let file = std::fs::metadata(key).ok().filter(|file| file.len() <= MOST_NOTE);
    let text = file.and_then(|_| std::fs::read_to_string(key).ok());
    text.as_deref().and_then(read_key).ok_or_else(|| VerifyError::Key(key.chars().take(200).collect()))
}

fn read_key(text: &str) -> Option<(NoteKey, String)> {
    parse_key(text).map(|key| (key, text.strip_suffix('\n').unwrap_or(text).to_owned()))
}

/// A log's vkey with or without a line feed.
fn parse_key(text: &str) -> Option<NoteKey> {
    NoteKey::parse(text.strip_suffix('\n').unwrap_or(text)).filter(|key| key.role == Role::Log)
}

/// Reads a small file; `None` when it is not there. What is not UTF-8 reads as what no parser takes.
fn read_small(source: &dyn Source, path: &str) -> Result<Option<String>, VerifyError> {
    match source.whole(path, MOST_NOTE) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(String::new())),
        Err(source_error) => {
            Err(VerifyError::Io { path: PathBuf::from(source.name()).join(path), source: source_error })
        }
    }
}
