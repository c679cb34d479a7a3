//! Checks a log's directory for someone who trusts nobody: no gateway, no signer, no lock, and nothing of the
//! cryptography that made it. Hashes and signatures are ring's; the gateway's are aws-lc-rs's.
//!
//! The log is read once, front to back, one entry at a time. It may be in use: the checkpoint is read first, so the
//! entries can only be ahead of it.

mod crypto;
mod notes;
mod pairing;
mod policy;
mod proof;
mod report;
#[cfg(test)]
mod tests;
mod walk;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::note::{Checkpoint, Note, VerifierKey};
use super::store::{CHECKPOINT, KEY, WAL};
use crate::types::Blame;
use crypto::{sha256, verifies};
pub use policy::{MOST_POLICY, Policy, PolicyError};
use report::Findings;
pub use report::{Check, Finding, Report};

#[cfg(test)]
pub(in crate::record) use crypto::Tree;

/// Why nothing can be said about a log. What is wrong *with* a log is a [`Finding`].
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no log in the directory.
    #[error("{} holds no log", .0.display())]
    NoLog(PathBuf),
    /// No key was given and the directory holds none.
    #[error("no key was given, and {} holds none", .0.display())]
    NoKey(PathBuf),
    /// The key is not a C2SP vkey `name+hexkeyid+base64(0x01 || public key)`, nor a file that holds one.
    #[error("not an Ed25519 key of a log: {0}")]
    Key(String),
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

/// Verifies the log in a directory. `key` is the log's key as its owner gave it, as a C2SP vkey or as the path of a
/// file that holds one; without it the directory's own is used, and the report says so. `progress` hears how many
/// bytes of how many were read.
///
/// # Errors
/// [`VerifyError`] when the check could not be made. A log that fails it is a [`Report`] with findings.
pub fn verify_directory(
    directory: &Path,
    key: Option<&str>,
    progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let path = directory.join(WAL);
    let own_key = read_small(&directory.join(KEY))?;
    let note = read_small(&directory.join(CHECKPOINT))?;
    let wal = match File::open(&path) {
        Ok(wal) => Some(wal),
        Err(error) if error.kind() == io::ErrorKind::NotFound && note.is_some() => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VerifyError::NoLog(directory.to_owned())),
        Err(error) => return Err(VerifyError::io(&path)(error)),
    };
    let trusted = match (key, &own_key) {
        (Some(key), _) => given_key(key)?,
        (None, Some(own)) => {
            parse_key(own).ok_or_else(|| VerifyError::Key(directory.join(KEY).display().to_string()))?
        }
        (None, None) => return Err(VerifyError::NoKey(directory.to_owned())),
    };
    let mut report = Report::new(&trusted);
    report.check("key", 1, &trusted.to_string(), |findings| {
        if key.is_some() && own_key.as_deref().is_some_and(|own| parse_key(own).as_ref() != Some(&trusted)) {
            findings.add(None, format!("{KEY} holds another key than the one that was given"));
        }
    });
    let mut checkpoint = None;
    report.check("checkpoint", 1, "size and root of the tree, signed by the log's key", |findings| {
        checkpoint = judge_checkpoint(note.as_deref(), &trusted, findings);
    });
    match wal {
        Some(wal) => walk::walk(wal, &path, &trusted, checkpoint.as_ref(), &mut report, progress)?,
        None => report.check("frames", 0, "", |findings| findings.add(None, format!("{WAL} is missing"))),
    }
    report.leave_open(key.is_some());
    Ok(report)
}

/// Reads the checkpoint's note. What is returned need not be signed: its size and root still tell what to look for.
fn judge_checkpoint(note: Option<&str>, key: &VerifierKey, findings: &mut Findings) -> Option<Checkpoint> {
    let Some(text) = note else {
        findings.add(None, format!("{CHECKPOINT} is missing: nothing tells how many entries there should be"));
        return None;
    };
    let note = Note::parse(text);
    let Some((note, checkpoint)) = note.and_then(|note| Checkpoint::parse(note.text).map(|read| (note, read))) else {
        findings.add(None, format!("{CHECKPOINT} is not a checkpoint in a signed note"));
        return None;
    };
    if checkpoint.origin != key.name {
        findings.add(None, format!("the checkpoint is of {}, the key of {}", checkpoint.origin, key.name));
    }
    match note.signature_by(key) {
        Some(signature) if verifies(&key.public, note.text.as_bytes(), &signature.signature) => {}
        Some(_) => findings.add(None, "the checkpoint's signature does not fit its text".into()),
        None => findings.add(None, "the checkpoint is not signed by this key".into()),
    }
    Some(checkpoint)
}

fn given_key(key: &str) -> Result<VerifierKey, VerifyError> {
    if let Some(key) = parse_key(key) {
        return Ok(key);
    }
    let invalid = || VerifyError::Key(key.chars().take(200).collect());
    let file = read_small(Path::new(key)).map_err(|_| invalid())?;
    file.as_deref().and_then(parse_key).ok_or_else(invalid)
}

/// A vkey with or without a line feed.
fn parse_key(text: &str) -> Option<VerifierKey> {
    VerifierKey::parse(text.strip_suffix('\n').unwrap_or(text), sha256)
}

/// Reads a file of at most 64 KiB; `None` when it is not there. What is not UTF-8 reads as what no parser takes.
fn read_small(path: &Path) -> Result<Option<String>, VerifyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(VerifyError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(64 * 1024).read_to_end(&mut bytes).map_err(VerifyError::io(path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
