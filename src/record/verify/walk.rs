//! One pass over the entries: frames, indices, signatures, tree and pairing.

use std::fs::{File, TryLockError};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::VerifyError;
use super::crypto::{Tree, sha256, verifies};
use super::pairing::Pairing;
use super::report::{Findings, Report};
use crate::record::entry::{Outline, Step};
use crate::record::frame::{Fault, Frames};
use crate::record::jws::{self, Compact};
use crate::record::note::{Checkpoint, VerifierKey};
use crate::record::store::LOCK;
use crate::types::ExchangeId;

/// Entries between two calls of the progress callback.
const PROGRESS_EVERY: u64 = 1024;

/// The protected header of an entry: these members and no others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// Checks entries' signatures against one key.
struct Signatures {
    public: [u8; 32],
    kid: String,
    /// The last header that was found good, encoded: nearly always the next one too.
    good_header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Signatures {
    fn new(key: &VerifierKey) -> Self {
        let kid = URL_SAFE_NO_PAD.encode(sha256(jws::canonical_jwk(&key.public).as_bytes()));
        Self { public: key.public, kid, good_header: Vec::new(), payload: Vec::new(), signature: Vec::new() }
    }

    /// Checks one entry and leaves its payload decoded.
    fn check(&mut self, entry: &[u8]) -> Result<(), &'static str> {
        let jws = Compact::split(entry).ok_or("is not a compact JWS")?;
        jws::decode_into(jws.payload, &mut self.payload).ok_or("has a payload that is not base64url")?;
        jws::decode_into(jws.signature, &mut self.signature).ok_or("has a signature that is not base64url")?;
        if self.good_header != jws.header {
            let header = jws::decode(jws.header).and_then(|json| serde_json::from_slice::<Header>(&json).ok());
            let header = header.ok_or("has a header with other members than alg, kid and typ")?;
            if header.alg != "EdDSA" || header.typ != jws::TYPE {
                return Err("is not signed as a record is: EdDSA over sekisho-record+jws");
            }
            if header.kid != self.kid {
                return Err("is signed by another key");
            }
            jws.header.clone_into(&mut self.good_header);
        }
        if verifies(&self.public, jws.signed, &self.signature) {
            Ok(())
        } else {
            Err("has a signature that does not fit what it says")
        }
    }

    /// What the entry that was just checked means for the pairing.
    fn outline(&self) -> Option<(ExchangeId, Step)> {
        Outline::read(&self.payload)
    }
}

/// Reads the log and adds its checks to the report.
pub(super) fn walk(
    wal: File,
    path: &Path,
    key: &VerifierKey,
    checkpoint: Option<&Checkpoint>,
    report: &mut Report,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), VerifyError> {
    let total = wal.metadata().map_err(VerifyError::io(path))?.len();
    let (mut frames, mut indices, mut signed) = (Findings::default(), Findings::default(), Findings::default());
    let (mut tree_findings, mut paired) = (Findings::default(), Findings::default());
    let mut signatures = Signatures::new(key);
    let mut pairing = Pairing::default();
    let mut tree = Tree::default();
    let mut size = 0;
    let mut read_to = 0;
    match Frames::open(wal) {
        Err(Fault::Io(error)) => return Err(VerifyError::io(path)(error)),
        Err(_) => frames.add(None, "the file does not start as a log of this version".into()),
        Ok(mut reader) => loop {
            if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.size == size) {
                compare_roots(checkpoint, &tree, &mut tree_findings);
            }
            read_to = reader.offset();
            if size % PROGRESS_EVERY == 0 {
                progress(read_to.min(total), total);
            }
            let frame = match reader.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(fault) => {
                    judge_fault(fault, path, size, &mut frames)?;
                    break;
                }
            };
            if frame.index != size {
                indices.add(Some(size), format!("the entry at place {size} says that it is entry {}", frame.index));
            }
            tree.push_full(0, super::crypto::leaf_hash(frame.data), |_, _| {});
            match signatures.check(frame.data) {
                Err(what) => signed.add(Some(size), format!("entry {size} {what}")),
                Ok(()) => match signatures.outline() {
                    Some((exchange, step)) => pairing.take(size, exchange, step, &mut paired),
                    None => paired.add(Some(size), format!("entry {size} is neither a decision nor an outcome")),
                },
            }
            size += 1;
        },
    }
    let whole = frames.is_empty();
    // Zeros may follow the last frame; they were read, too.
    progress(if whole { total } else { read_to.min(total) }, total);

    report.conclude(
        "frames",
        size,
        format!("{read_to} bytes, each frame with its checksum, and nothing but zeros behind them"),
        frames,
    );
    report.conclude("indices", size, "0, 1, 2, ... without a gap".into(), indices);
    report.conclude(
        "signatures",
        size,
        "each entry a JWS of the log's key, with the header a record has".into(),
        signed,
    );
    conclude_tree(checkpoint, &tree, size, tree_findings, report);
    // Until an entry is covered by a checkpoint, its exchange may be under way.
    let recent = if whole { checkpoint.map_or(size, |checkpoint| checkpoint.size) } else { 0 };
    let (pairs, detail) = pairing.finish(recent, &mut paired);
    report.conclude("pairing", pairs, if whole { detail } else { "as far as the log could be read".into() }, paired);
    if !whole {
        report.not_checked.push("which exchanges have no outcome: the log could not be read to its end".into());
    }
    Ok(())
}

fn compare_roots(checkpoint: &Checkpoint, tree: &Tree, findings: &mut Findings) {
    if tree.root() != checkpoint.root {
        let what = "the first {} entries are not those that the checkpoint signs: some were changed, removed, added \
                    or put in another order";
        findings.add(None, what.replace("{}", &checkpoint.size.to_string()));
    }
}

fn conclude_tree(checkpoint: Option<&Checkpoint>, tree: &Tree, size: u64, mut findings: Findings, report: &mut Report) {
    let Some(checkpoint) = checkpoint else {
        findings.add(None, "there is no checkpoint to compare the tree with".into());
        report.conclude("tree", 0, String::new(), findings);
        return;
    };
    if size < checkpoint.size {
        let what = format!("the checkpoint signs {} entries, and only {size} can be read", checkpoint.size);
        findings.add(None, what);
    }
    report.entries = size;
    report.checkpointed = checkpoint.size;
    report.root = STANDARD.encode(tree.root());
    let beyond = size.saturating_sub(checkpoint.size);
    let detail = match beyond {
        0 => "the root over all entries is the one that the checkpoint signs".to_owned(),
        1 => format!("the root is the one that the checkpoint signs; entry {} lies beyond it", checkpoint.size),
        _ => format!(
            "the root is the one that the checkpoint signs; {beyond} entries lie beyond it, {} to {}",
            checkpoint.size,
            size - 1
        ),
    };
    if beyond > 0 {
        report.not_checked.push("that no entry was cut off beyond the checkpoint: only the next one covers it".into());
    }
    report.conclude("tree", checkpoint.size.min(size), detail, findings);
}

/// Says why reading stopped. An unfinished frame at the end is no finding while a gateway is writing it.
fn judge_fault(fault: Fault, path: &Path, size: u64, findings: &mut Findings) -> Result<(), VerifyError> {
    match fault {
        Fault::Io(error) => return Err(VerifyError::io(path)(error)),
        Fault::Unfinished(_) if is_in_use(path) => {}
        Fault::Unfinished(at) => {
            findings.add(Some(size), format!("what is written ends inside the frame of entry {size}, at byte {at}"));
        }
        Fault::Bad(at) => {
            let what = format!("the frame of entry {size}, at byte {at}, is damaged; nothing after it was read");
            findings.add(Some(size), what);
        }
        Fault::Header => findings.add(None, "the file does not start as a log of this version".into()),
    }
    Ok(())
}

/// Whether a writer holds the log's lock. Asked only about a log with a loose end, since the asking itself holds the
/// lock for a moment when nobody else does.
fn is_in_use(wal: &Path) -> bool {
    let lock = File::open(wal.with_file_name(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
