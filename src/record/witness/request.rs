//! The body of `add-checkpoint` (C2SP tlog-witness): an old size, a proof and a checkpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::WitnessError;
use crate::record::note::{Checkpoint, Note};

/// The most lines that a consistency proof has: one for each level of a tree of 2^63 leaves.
const MOST_PROOF: usize = 63;
/// The largest request. Proof and checkpoint take 4 KiB; the rest is for sixteen post-quantum signatures of 5 kB, which a
/// reader of notes has to make room for.
pub const SUBMISSION_BYTES: usize = 128 * 1024;

/// A request, taken apart. Nothing in it is believed yet.
#[derive(Debug)]
pub(super) struct Submission<'a> {
    pub(super) old: u64,
    pub(super) proof: Vec<[u8; 32]>,
    pub(super) note: Note<'a>,
    pub(super) checkpoint: Checkpoint,
}

impl<'a> Submission<'a> {
    /// Takes a body apart.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, WitnessError> {
        use WitnessError::Malformed;
        if body.len() > SUBMISSION_BYTES {
            return Err(Malformed("it is too large"));
        }
        let body = std::str::from_utf8(body).map_err(|_| Malformed("it is not UTF-8"))?;
        let (head, note) = body.split_once("\n\n").ok_or(Malformed("no empty line ends the proof"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(Malformed("the first line is not an old size"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MOST_PROOF {
                return Err(Malformed("the proof has more than 63 lines"));
            }
            let hash = STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok());
            proof.push(hash.ok_or(Malformed("a line of the proof is no hash"))?);
        }
        let note = Note::parse(note).ok_or(Malformed("the checkpoint is no signed note"))?;
        let checkpoint = Checkpoint::parse(note.text).ok_or(Malformed("the note is no checkpoint"))?;
        Ok(Self { old, proof, note, checkpoint })
    }
}

/// The body of a request, as a log sends it.
pub fn submission(old: u64, proof: &[[u8; 32]], note: &str) -> String {
    let mut body = format!("old {old}\n");
    for hash in proof {
        STANDARD.encode_string(hash, &mut body);
        body.push('\n');
    }
    body + "\n" + note
}

/// A decimal number as it has to be spelt: digits alone, and no zero before others.
pub(super) fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}
