//! A witness of other logs (C2SP tlog-witness): it cosigns a checkpoint only if that continues the last one it cosigned.
//!
//! What it cosigned last is durable before the cosignature is given out, so that no restart makes it sign two stories.
//! Whatever a log's key signed that does not fit is kept, beside what it contradicts: `evidence/` in its directory.

mod consistency;
mod error;
mod evidence;
mod files;
mod keys;
mod request;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::RecordError;
use super::merkle::no_leaves;
use crate::types::{Clock, Digest};

pub use error::WitnessError;
use evidence::MOST_EVIDENCE;
pub use evidence::{Evidence, Finding};
use files::{Files, Seen};
use keys::signatures;
pub use keys::{Cosignatures, Cosigner, CosignerKey, LogKey, SignedCheckpoint, read_signed};
use request::Submission;
pub use request::{SUBMISSION_BYTES, submission};

/// Cosigns the checkpoints of the logs that it knows. Its calls block on the disk.
pub struct Witness {
    files: Files,
    cosigner: Cosigner,
    clock: Arc<dyn Clock>,
    logs: HashMap<String, Watched>,
    refused: AtomicU64,
}

/// A log that is witnessed. There are as many as are configured, whatever is submitted.
struct Watched {
    /// SHA-256 of the origin in hexadecimal: its name in files and paths.
    hash: String,
    keys: Vec<LogKey>,
    /// Locked from the look at what was seen until the new is durable.
    memory: Mutex<Memory>,
}

struct Memory {
    seen: Option<Seen>,
    evidence: Vec<Evidence>,
    /// Set once a write failed: what the disk then holds is for the next start to find out.
    broken: bool,
}

/// What is known of a log that is witnessed, for the people who run the witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessedLog {
    /// The log's name.
    pub origin: String,
    /// Entries of the last checkpoint that was cosigned; none yet when absent.
    pub size: Option<u64>,
    /// Pieces of evidence against it.
    pub evidence: usize,
}

impl Witness {
    /// Opens a witness of the logs that these keys sign, with what it remembers in `directory`.
    ///
    /// # Errors
    /// [`RecordError::Io`]; [`RecordError::Corrupt`] when a file is not what it wrote: a witness that forgot what it
    /// signed could sign the opposite.
    pub fn open(
        directory: &Path,
        cosigner: Cosigner,
        keys: impl IntoIterator<Item = LogKey>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RecordError> {
        let files = Files::open(directory)?;
        let mut by_origin: HashMap<String, Vec<LogKey>> = HashMap::new();
        for key in keys {
            by_origin.entry(key.origin().to_owned()).or_default().push(key);
        }
        let evidence = files.evidence()?;
        let mut logs = HashMap::new();
        for (origin, keys) in by_origin {
            let hash = Digest::of(origin.as_bytes()).hex();
            let evidence = evidence.iter().filter(|evidence| evidence.origin == origin).cloned().collect();
            let memory = Memory { seen: files.seen(&origin, &hash)?, evidence, broken: false };
            logs.insert(origin, Watched { hash, keys, memory: Mutex::new(memory) });
        }
        Ok(Self { files, cosigner, clock, logs, refused: AtomicU64::new(0) })
    }

    /// Our name and key as a witness.
    pub fn cosigner(&self) -> &Cosigner {
        &self.cosigner
    }

    /// `add-checkpoint`: cosigns the checkpoint in the request's body, and gives the lines to put under it.
    ///
    /// # Errors
    /// [`WitnessError`], and then nothing is cosigned and the last checkpoint stays what it was.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, WitnessError> {
        let answer = self.judge(body);
        if let Err(error) = &answer {
            self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(code = error.code(), %error, "a checkpoint was not cosigned");
        }
        answer
    }

    fn judge(&self, body: &[u8]) -> Result<String, WitnessError> {
        let Submission { old, proof, note, checkpoint } = Submission::parse(body)?;
        let watched = self.logs.get(&checkpoint.origin).ok_or(WitnessError::UnknownOrigin)?;
        let signed = signatures(&note, watched.keys.iter()).ok_or(WitnessError::Unsigned)?;
        if old > checkpoint.size {
            return Err(WitnessError::Malformed("the old size is larger than the checkpoint's"));
        }
        let mut memory = watched.memory();
        if memory.broken {
            return Err(WitnessError::Unkept("an earlier write failed".to_owned()));
        }
        // Only what the log itself signed is kept, whatever else was put under it.
        let bare = super::note::Note { text: note.text, signatures: Vec::new() };
        let offered = bare.with(&signed);
        let known = memory.seen.as_ref().map_or(0, |seen| seen.checkpoint.size);
        if let Some(seen) = &memory.seen
            && seen.checkpoint.size == checkpoint.size
            && seen.checkpoint.root != checkpoint.root
        {
            // Told whatever the proof starts at: two signed trees of one size need no proof.
            self.note_evidence(watched, &mut memory, Finding::Fork, &offered, old, &proof);
        }
        if old != known {
            return Err(WitnessError::OtherSize(known));
        }
        if checkpoint.size == 0 && checkpoint.root != no_leaves() {
            return Err(WitnessError::Inconsistent);
        }
        let known_root = memory.seen.as_ref().map_or_else(no_leaves, |seen| seen.checkpoint.root);
        if !consistency::continues(old, checkpoint.size, &known_root, &checkpoint.root, &proof) {
            if checkpoint.size > known && known > 0 {
                self.note_evidence(watched, &mut memory, Finding::Unproven, &offered, old, &proof);
            }
            return Err(WitnessError::Inconsistent);
        }
        let unkept = |error: &dyn std::fmt::Display| WitnessError::Unkept(error.to_string());
        let line = self.cosigner.cosign(note.text, self.clock.now()).map_err(|error| unkept(&error))?;
        let kept = bare.with(&[signed, vec![line.clone()]].concat());
        if let Err(error) = self.files.remember(&watched.hash, &kept) {
            tracing::error!(%error, origin = checkpoint.origin, "what was witnessed cannot be kept");
            memory.broken = true;
            return Err(unkept(&error));
        }
        memory.seen = Some(Seen { checkpoint, note: kept });
        Ok(line.line())
    }

    /// Keeps evidence unless it is there already, or as much as is kept.
    fn note_evidence(
        &self,
        watched: &Watched,
        memory: &mut Memory,
        finding: Finding,
        offered: &str,
        old: u64,
        proof: &[[u8; 32]],
    ) {
        let Some(seen) = &memory.seen else { return };
        let origin = &seen.checkpoint.origin;
        tracing::error!(%origin, ?finding, size = seen.checkpoint.size, "a log signed a checkpoint that does not fit");
        let known = memory.evidence.iter().filter(|evidence| evidence.finding == finding);
        if known.clone().count() >= MOST_EVIDENCE || known.clone().any(|evidence| evidence.offered == offered) {
            return;
        }
        let evidence = Evidence {
            number: memory.evidence.iter().map(|evidence| evidence.number + 1).max().unwrap_or(0),
            at: self.clock.now().to_string(),
            origin: origin.clone(),
            finding,
            held: seen.note.clone(),
            offered: offered.to_owned(),
            old,
            proof: Evidence::proof(proof),
        };
        if let Err(error) = self.files.keep(&watched.hash, &evidence) {
            tracing::error!(%error, %origin, "evidence against a log cannot be kept; it is listed until the next start");
        }
        memory.evidence.push(evidence);
    }

    /// The last checkpoint that was cosigned for the log whose origin has this SHA-256, in lower-case hexadecimal.
    pub fn latest(&self, hash: &str) -> Option<String> {
        let watched = self.logs.values().find(|watched| watched.hash == hash)?;
        watched.memory().seen.as_ref().map(|seen| seen.note.clone())
    }

    /// Every log that is witnessed, by origin.
    pub fn logs(&self) -> Vec<WitnessedLog> {
        let mut logs: Vec<_> = self
            .logs
            .iter()
            .map(|(origin, watched)| {
                let memory = watched.memory();
                let size = memory.seen.as_ref().map(|seen| seen.checkpoint.size);
                WitnessedLog { origin: origin.clone(), size, evidence: memory.evidence.len() }
            })
            .collect();
        logs.sort_by(|one, other| one.origin.cmp(&other.origin));
        logs
    }

    /// The evidence against the logs that are witnessed, oldest first.
    pub fn evidence(&self) -> Vec<Evidence> {
        let mut all: Vec<_> = self.logs.values().flat_map(|watched| watched.memory().evidence.clone()).collect();
        all.sort_by(|one, other| (&one.at, &one.origin, one.number).cmp(&(&other.at, &other.origin, other.number)));
        all
    }

    /// Requests that were not answered with a cosignature since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Watched {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
