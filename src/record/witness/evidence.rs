//! Checkpoints that a log signed and that do not fit together.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Evidence of each finding that is kept for one log: the first proves as much as the hundredth, and whoever makes them
/// shall not fill the disk.
pub(super) const MOST_EVIDENCE: usize = 16;

/// What a pair of checkpoints shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Two trees of one size, both signed: the log told two stories. Conclusive by itself.
    Fork,
    /// The proof that came with the checkpoint does not lead from the other to it. The log may be forked, or whoever
    /// submitted its checkpoint sent a wrong proof.
    Unproven,
}

/// A checkpoint that a log signed, with the one that it does not continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its number among those of its log.
    pub number: usize,
    /// When it was submitted, RFC 3339.
    pub at: String,
    /// The log.
    pub origin: String,
    /// What it shows.
    pub finding: Finding,
    /// The checkpoint that we had cosigned, with the signatures under it.
    pub held: String,
    /// The checkpoint that was offered, with the signatures under it.
    pub offered: String,
    /// The size from which the proof was to lead.
    pub old: u64,
    /// The proof that came with it, base64.
    pub proof: Vec<String>,
}

impl Evidence {
    /// The proof as it is kept.
    pub(super) fn proof(hashes: &[[u8; 32]]) -> Vec<String> {
        hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
    }
}
