//! The keys of a log as its directory tells them, and which of them may go on writing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::error::RecordError;
use super::jws::{self, Compact};
use super::keys::{KEYS, LogKeys};
use super::note::{Note, VerifierKey};
use super::signer::{Signer, sealed_by, wrote};
use super::store::KEY;
use crate::types::Digest;

/// The largest list of keys.
const MOST_BYTES: u64 = 128 * 1024;

/// The keys that a directory lists; of one that lists none, the one in `log.pub`; `None` in an empty one.
pub(super) fn known_keys(directory: &Path) -> Result<Option<LogKeys>, RecordError> {
    let parse = |text: &str| VerifierKey::parse(text.strip_suffix('\n').unwrap_or(text), sha256);
    let current = match read(&directory.join(KEY))? {
        Some(text) => Some(parse(&text).ok_or_else(|| RecordError::Corrupt(format!("{KEY} is no key of a log")))?),
        None => None,
    };
    let Some(listed) = read(&directory.join(KEYS))? else { return Ok(current.map(LogKeys::one)) };
    let keys = LogKeys::parse(&listed, sha256).map_err(|wrong| RecordError::Corrupt(format!("{KEYS}: {wrong}")))?;
    // A change of key may have been cut short before it came to log.pub; that is put right when the log is opened.
    if current.is_some_and(|current| !keys.holds(&current)) {
        return Err(RecordError::Foreign(format!("{KEY} names another origin or key than {KEYS}")));
    }
    Ok(Some(keys))
}

/// The keys of the log in a directory, as it lists them for others.
///
/// # Errors
/// [`RecordError::Io`] and [`RecordError::Corrupt`] when they cannot be read.
pub fn listed_keys(directory: &Path) -> Result<serde_json::Value, RecordError> {
    let keys = known_keys(directory)?.map(|keys| serde_json::from_str(&keys.text()));
    keys.transpose().map(Option::unwrap_or_default).map_err(RecordError::EntryEncoding)
}

/// Writes the list of keys.
pub(super) fn announce(directory: &Path, keys: &LogKeys) -> Result<(), RecordError> {
    put(&directory.join(KEYS), &keys.text())
}

/// The keys that a log is recovered with.
pub(super) struct Recovering {
    keys: LogKeys,
    ours: VerifierKey,
}

impl Recovering {
    /// The keys of the log in `directory`, of which ours must be one.
    pub(super) fn read(directory: &Path, origin: &str, signer: &Signer) -> Result<Self, RecordError> {
        let ours = signer.key_named(origin);
        let keys = known_keys(directory)?.unwrap_or_else(|| LogKeys::one(ours.clone()));
        if !keys.holds(&ours) {
            return Err(RecordError::Foreign(format!("its key is {}", keys.at(u64::MAX))));
        }
        Ok(Self { keys, ours })
    }

    /// Whether the checkpoint of so many entries is signed as it must be: by the key of the entry to come. Right after a
    /// change the old key has signed it, before the new one did.
    pub(super) fn wrote_note(&self, note: &Note<'_>, size: u64) -> bool {
        let before = self.keys.change_at(size).map(|(before, _)| before);
        wrote(note, self.keys.at(size)) || before.is_some_and(|before| wrote(note, before))
    }

    /// Whether the key of this index sealed the entry.
    pub(super) fn sealed(&self, index: u64, entry: &Compact<'_>) -> bool {
        sealed_by(&self.keys.at(index).public, entry)
    }

    /// Makes sure that the next entry is ours to sign, and that the directory says so.
    pub(super) fn settle(self, directory: &Path, size: u64) -> Result<(), RecordError> {
        let current = self.keys.at(size);
        if *current != self.ours {
            let still = "the change to another key was cut short before it took effect: it is still";
            let since = "its key was changed, and is now";
            let why = if self.keys.at(u64::MAX) == &self.ours { still } else { since };
            return Err(RecordError::Foreign(format!("{why} {current}; name that key, or rotate again")));
        }
        let settled = self.keys.settled(size);
        if read(&directory.join(KEYS))?.as_deref() != Some(&settled.text()) {
            announce(directory, &settled)?;
        }
        let current = format!("{}\n", self.ours);
        if read(&directory.join(KEY))?.as_ref() != Some(&current) {
            put(&directory.join(KEY), &current)?;
        }
        Ok(())
    }
}

/// Whether an entry says that the key changes. It belongs to no exchange.
pub(super) fn is_key_entry(payload: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    serde_json::from_slice::<Kind<'_>>(payload).is_ok_and(|entry| entry.kind == "key")
}

/// The JWS header of a key's entries, encoded.
pub(super) fn header_of(public: &[u8; 32]) -> (String, String) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let kid = URL_SAFE_NO_PAD.encode(sha256(jws::canonical_jwk(public).as_bytes()));
    let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{}"}}"#, jws::TYPE);
    let encoded = URL_SAFE_NO_PAD.encode(header);
    (kid, encoded)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    *Digest::of(bytes).as_bytes()
}

/// Reads a small file; `None` when it is not there.
fn read(path: &Path) -> Result<Option<String>, RecordError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RecordError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(RecordError::io(path))?;
    String::from_utf8(bytes).map(Some).map_err(|_| RecordError::Corrupt(format!("{} is not text", path.display())))
}

/// Replaces a small file: after a crash it is the old one or the new one.
fn put(path: &Path, text: &str) -> Result<(), RecordError> {
    let draft = path.with_extension("tmp");
    let write = || {
        let mut file = OpenOptions::new().mode(0o600).write(true).create(true).truncate(true).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(RecordError::io(path))
}
