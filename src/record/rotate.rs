//! A log changes its key while no gateway writes in it.

use std::sync::Arc;

use serde::Serialize;

use super::entry::Entry;
use super::error::RecordError;
use super::key_file::{announce, known_keys};
use super::keys::LogKeys;
use super::log::{EntryIndex, Log, LogConfig};
use super::note::VerifierKey;
use super::signer::Signer;
use crate::types::{Clock, Digest, Timestamp};

/// The entry that hands a log over: `"kind": "key"`. The old key signs it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename = "key")]
pub(super) struct KeyEntry {
    pub(super) at: Timestamp,
    /// The key of every entry after this one.
    pub(super) key: String,
    /// The key of this entry and those before it.
    pub(super) previous: String,
}

impl Entry for KeyEntry {}

/// A log that has a new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// The key that signs now, as a C2SP vkey.
    pub key: String,
    /// The key before it.
    pub previous: String,
    /// The entry that says so; absent when it was there already, from a run that was cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryIndex>,
}

/// Hands the log of `config` over from one key to another. Run again after it was cut short, it goes on where it was.
///
/// 1. The list of keys announces the new one for the entry after the next.
/// 2. The next entry hands over, and a checkpoint over it, both signed by the old key.
/// 3. The log is opened with the new key, which signs the checkpoint and puts itself into `log.pub`.
///
/// # Errors
/// As [`Log::open`]; [`RecordError::Key`] when the new key was the log's before.
pub async fn rotate_key(
    config: LogConfig,
    old: Signer,
    new: Signer,
    clock: Arc<dyn Clock>,
) -> Result<Rotated, RecordError> {
    let (key, previous) = (new.verifier_key(&config.origin), old.verifier_key(&config.origin));
    let (entry, log) = match Log::open(config.clone(), old, Arc::clone(&clock)) {
        Ok(log) => {
            let entry = hand_over(&log, &key, &previous, clock.now()).await?;
            (Some(entry), Log::open(config, new, clock)?)
        }
        // The entry stands already when the new key opens the log.
        Err(foreign @ RecordError::Foreign(_)) => (None, Log::open(config, new, clock).map_err(|_| foreign)?),
        Err(error) => return Err(error),
    };
    log.close().await?;
    Ok(Rotated { key, previous, entry })
}

async fn hand_over(log: &Log, key: &str, previous: &str, at: Timestamp) -> Result<EntryIndex, RecordError> {
    let sha256 = |bytes: &[u8]| *Digest::of(bytes).as_bytes();
    let handed = async {
        let next = log.size();
        let new = VerifierKey::parse(key, sha256).ok_or(RecordError::Key("the new key has no name"))?;
        let keys = known_keys(log.directory())?.unwrap_or_else(|| LogKeys::one(log.signer().key_named(log.origin())));
        let keys = keys.announced(new, next + 1, &at.to_string());
        let keys = keys.ok_or(RecordError::Key("the new key was this log's before: make another"))?;
        announce(log.directory(), &keys)?;
        let entry = KeyEntry { at, key: key.to_owned(), previous: previous.to_owned() };
        let index = log.append(log.seal(&entry)?).await?;
        if index.0 == next {
            Ok(index)
        } else {
            Err(RecordError::Corrupt(format!("the key changed at {index}, not at {next}")))
        }
    }
    .await;
    // Closed in any case: the new key opens it next, or somebody looks why it failed.
    let closed = log.close().await;
    let index = handed?;
    closed?;
    Ok(index)
}
