//! A proof that one entry is in a log, in a file of its own: C2SP tlog-proof, with the entry as its extra data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::crypto::leaf_hash;
use super::judge::{Judge, Lot};
use super::notes::read_checkpoint;
use super::proof::{MOST_HASHES, includes};
use super::receipts::{Parties, Receipts};
use super::report::Findings;
use super::signing::Signing;
use super::{Options, Policy, Report, VerifyError, trusted_key_of};

/// The first line of a file.
const HEAD: &str = "c2sp.org/tlog-proof@v1";
/// The largest file: an entry, a path and a note with many cosignatures.
pub const MOST_PROOF_FILE: u64 = 512 * 1024;

/// Whether bytes begin as a proof file does.
pub fn is_proof_file(bytes: &[u8]) -> bool {
    bytes.strip_prefix(HEAD.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'\n'))
}

/// A proof file in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProofFile<'a> {
    pub(super) extra: Option<Vec<u8>>,
    pub(super) index: u64,
    pub(super) path: Vec<[u8; 32]>,
    pub(super) note: &'a str,
}

impl<'a> ProofFile<'a> {
    /// Takes a file apart; `None` when any line is not as the format demands.
    pub(super) fn parse(file: &'a str) -> Option<Self> {
        let (proof, note) = file.split_once("\n\n")?;
        let mut lines = proof.split('\n').peekable();
        if lines.next() != Some(HEAD) {
            return None;
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(encoded) => {
                lines.next();
                Some(STANDARD.decode(encoded).ok()?)
            }
            None => None,
        };
        let number = lines.next()?.strip_prefix("index ")?;
        let index: u64 = number.parse().ok().filter(|index: &u64| index.to_string() == number)?;
        let hash = |line| STANDARD.decode(line).ok()?.try_into().ok();
        let path = lines.map(hash).take(MOST_HASHES + 1).collect::<Option<Vec<_>>>()?;
        (path.len() <= MOST_HASHES).then_some(Self { extra, index, path, note })
    }
}

/// Verifies a proof file. The log's key must come from somewhere else: from `options.key`, or from a policy that lists it.
///
/// # Errors
/// [`VerifyError`] when it is no proof file, or no key was given.
pub fn verify_proof_file(name: &str, file: &[u8], options: &Options<'_>) -> Result<Report, VerifyError> {
    let form = |what| VerifyError::Form { name: name.to_owned(), what };
    let text = std::str::from_utf8(file).map_err(|_| form("it is not text"))?;
    let proof = ProofFile::parse(text).ok_or_else(|| form("it is not a tlog-proof"))?;
    let (note, checkpoint) = read_checkpoint(proof.note).ok_or_else(|| form("it ends with no checkpoint"))?;
    let listed = options.policy.map(Policy::logs).unwrap_or_default();
    let (key, vkey) = match (options.key, listed.iter().find(|log| log.name == checkpoint.origin)) {
        (Some(key), _) => trusted_key_of(key)?,
        (None, Some(log)) => (log.clone(), log.to_string()),
        (None, None) => return Err(VerifyError::NoKey(name.to_owned())),
    };
    let keys = Signing::one(key.clone());
    let mut report = Report::new(&checkpoint.origin, &vkey);
    report.entries = 1;
    report.checkpointed = checkpoint.size;
    report.root = STANDARD.encode(checkpoint.root);
    report.check("checkpoint", 1, "size and root of the tree, signed by the log's key", |findings| {
        if checkpoint.origin != key.name {
            findings.add(None, format!("the checkpoint is of {}, the key of {}", checkpoint.origin, key.name));
        }
        keys.judge(&note, &key).0.into_iter().for_each(|fault| findings.add(None, fault.into()));
    });
    let nobody = Parties::default();
    let parties = options.parties.unwrap_or(&nobody);
    let judge = Judge { keys: &keys, parties, signatures: options.signatures, stories: false };
    match &proof.extra {
        None => {
            report.not_checked.push("which entry it is about: the file does not hold it".into());
        }
        Some(entry) => {
            let leaf = leaf_hash(entry);
            report.check("inclusion", 1, "the entry stands at its place of the signed tree", |findings| {
                if !includes(proof.index, &leaf, checkpoint.size, &checkpoint.root, &proof.path) {
                    let what = format!("the path does not lead from the entry at {} to the signed root", proof.index);
                    findings.add(Some(proof.index), what);
                }
            });
            judge_entry(&judge, proof.index, entry, &mut report);
        }
    }
    match options.policy {
        Some(policy) => {
            let witnessed = policy.judge(&note, &key);
            let detail = format!("the policy's quorum cosigned the checkpoint: {}", names(&witnessed.by));
            report.check("witnesses", witnessed.by.len() as u64, &detail, |findings| {
                if !witnessed.quorum {
                    findings.add(None, format!("the policy's quorum did not cosign: {}", names(&witnessed.by)));
                }
                for name in &witnessed.forged {
                    findings.add(None, format!("the cosignature of {name} is not its own"));
                }
            });
        }
        None => {
            let count = note.signatures.len().saturating_sub(1);
            report.not_checked.push(format!("whose the {count} cosignatures are: give --policy"));
        }
    }
    report.not_checked.push("the rest of the log: this is about one entry".into());
    Ok(report)
}

fn names(by: &[(String, u64)]) -> String {
    by.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Checks one entry that stands alone.
pub(super) fn judge_entry(judge: &Judge<'_>, index: u64, entry: &[u8], report: &mut Report) {
    let mut bytes = u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    bytes.extend_from_slice(entry);
    let lot = judge.lot(Lot::Entries { first: index, bytes, width: 1 });
    let mut receipts = Receipts::default();
    let mut findings = Findings::default();
    for judged in lot.entries {
        match (judged.fault, judged.says) {
            (Some(fault), _) => findings.add(Some(index), format!("the entry {fault}")),
            (None, None) => findings.add(Some(index), "the entry is of no known kind".into()),
            (None, Some(says)) => {
                says.worth.into_iter().for_each(|worth| receipts.take(index, worth));
                if let Some((exchange, _)) = says.step {
                    receipts.tied(index, exchange, &says.ties);
                }
            }
        }
    }
    report.conclude("signatures", 1, "the entry is a JWS of the log's key".into(), findings);
    report.not_checked.extend(receipts.gaps());
    let what = "each signature that the entry keeps fits its text, and its text the exchange";
    report.conclude("receipts", receipts.count, what.into(), receipts.findings);
}
