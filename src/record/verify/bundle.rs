//! A part of a log in one file that verifies offline: a head, entries with their proofs, and an end that counts them.
//!
//! Each line is a JSON object. The head has `format`, `origin`, `keys` (the log's list of keys), `checkpoint` (a signed
//! note, with the cosignatures that it has) and `selection`: what was chosen, with `first` and `next` where it is every
//! entry between two places. For each key after the first there is a `change`: the index of the entry by which the key
//! before handed the log over, with that `entry` and its `proof`. An entry has `index`, `entry` (the compact JWS) and
//! `proof` (the hashes of its inclusion path, base64). The end is `{"end": COUNT}`: a file that was cut off has none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::judge::{Judge, Judged, Lot};
use super::notes::read_checkpoint;
use super::pairing::Pairing;
use super::proof::{MOST_HASHES, includes};
use super::receipts::{Parties, Receipts};
use super::report::Findings;
use super::signing::{Handover, Listed, Signing};
use super::walk::Listener;
use super::{Options, Report, VerifyError, read_key, trusted_key_of};

/// What a file's head names as its format.
pub const FORMAT: &str = "sekisho-log-bundle/1";
/// The longest line: a head with all the keys that a log can have had; an entry, which JSON does not lengthen, has less.
const MOST_LINE: u64 = 256 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    origin: String,
    keys: Vec<Listed>,
    checkpoint: String,
    selection: Selection,
}

#[derive(Deserialize)]
struct Selection {
    first: Option<u64>,
    next: Option<u64>,
    #[serde(flatten)]
    words: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Entry { index: u64, entry: String, proof: Vec<String> },
    Change { change: u64, entry: String, proof: Vec<String> },
    End { end: u64 },
}

/// What is found on the way.
#[derive(Default)]
struct Found {
    lines: Findings,
    inclusion: Findings,
    signed: Findings,
    receipts: Receipts,
    paired: Findings,
    pairing: Pairing,
    /// The entries that the list of keys wants, by their place, and those of them that were shown.
    handovers: BTreeMap<u64, Handover>,
    changes: BTreeSet<u64>,
    handed: Findings,
    count: u64,
    last: Option<u64>,
    end: Option<u64>,
}

/// Verifies an exported bundle, read line by line.
///
/// # Errors
/// [`VerifyError`] when it is no bundle, cannot be read, or there is no key.
pub fn verify_bundle(
    name: &str,
    file: &mut dyn BufRead,
    options: &Options<'_>,
    progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    verify_bundle_heard(name, file, options, None, progress)
}

/// Verifies a bundle; `listener` hears what its entries tell.
pub(super) fn verify_bundle_heard(
    name: &str,
    file: &mut dyn BufRead,
    options: &Options<'_>,
    mut listener: Option<Listener<'_>>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let form = |what| VerifyError::Form { name: name.to_owned(), what };
    let head = read_line(name, file)?.ok_or_else(|| form("it is empty"))?;
    let head: Head = serde_json::from_slice(&head).map_err(|_| form("its first line is not the head of a bundle"))?;
    if head.format != FORMAT {
        return Err(form("it is a bundle of another format"));
    }
    let (note, checkpoint) = read_checkpoint(&head.checkpoint).ok_or_else(|| form("its head holds no checkpoint"))?;
    let (key, vkey) = match options.key {
        Some(key) => trusted_key_of(key)?,
        None => {
            head.keys.last().and_then(|last| read_key(&last.key)).ok_or_else(|| VerifyError::NoKey(name.to_owned()))?
        }
    };
    let mut keys = Signing::one(key.clone());
    let mut found = Found::default();
    let mut report = Report::new(&key.name, &vkey);
    report.checkpointed = checkpoint.size;
    report.root = STANDARD.encode(checkpoint.root);
    report.check("key", 1, &vkey, |findings| match Signing::of(&head.keys, &key) {
        Ok((listed, handovers)) => {
            keys = listed;
            found.handovers = handovers.into_iter().filter(|(index, _)| *index < checkpoint.size).collect();
        }
        Err(what) => findings.add(None, format!("its list of keys {what}")),
    });
    let (fault, log) = keys.judge(&note, &key);
    report.check("checkpoint", 1, "size and root of the tree, signed by the log's key", |findings| {
        if checkpoint.origin != key.name || head.origin != key.name {
            findings.add(None, format!("the bundle is of {}, the key of {}", head.origin, key.name));
        }
        fault.into_iter().for_each(|fault| findings.add(None, fault.into()));
    });
    if let Some(policy) = options.policy {
        let witnessed = policy.judge(&note, log.unwrap_or(&key));
        report.check(
            "witnesses",
            witnessed.by.len() as u64,
            "the policy's quorum cosigned the checkpoint",
            |findings| {
                if !witnessed.quorum {
                    findings.add(None, "the policy's quorum did not cosign the checkpoint".into());
                }
                for name in &witnessed.forged {
                    findings.add(None, format!("the cosignature of {name} is not its own"));
                }
            },
        );
    } else {
        let count = note.signatures.len().saturating_sub(1);
        report.not_checked.push(format!("whose the {count} cosignatures are: give --policy"));
    }
    let nobody = Parties::default();
    let parties = options.parties.unwrap_or(&nobody);
    let judge = Judge { keys: &keys, parties, signatures: options.signatures, stories: listener.is_some() };
    let total = head.selection.next.zip(head.selection.first).map_or(0, |(next, first)| next.saturating_sub(first));
    while let Some(line) = read_line(name, file)? {
        if found.end.is_some() {
            found.lines.add(None, "something stands behind the end".into());
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(Line::End { end }) => found.end = Some(end),
            Ok(Line::Entry { index, entry, proof }) => {
                let path = (checkpoint.size, &checkpoint.root, proof.as_slice());
                found.take(&judge, index, entry.as_bytes(), path, &mut listener);
            }
            Ok(Line::Change { change, entry, proof }) => {
                let path = (checkpoint.size, &checkpoint.root, proof.as_slice());
                found.change(&judge, change, entry.as_bytes(), path);
            }
            Err(_) => {
                let line = found.count + found.changes.len() as u64 + 2;
                found.lines.add(None, format!("line {line} is neither an entry, a change of keys, nor the end"));
            }
        }
        progress(found.count, total.max(found.count));
    }
    conclude(found, &head.selection, &judge, options, &mut report);
    Ok(report)
}

impl Found {
    /// Judges one entry and its proof; its form is wrong where there is nothing.
    fn judged(
        &mut self,
        judge: &Judge<'_>,
        index: u64,
        entry: &[u8],
        (size, root, proof): (u64, &[u8; 32], &[String]),
    ) -> Option<Judged> {
        let Ok(length) = u16::try_from(entry.len()) else {
            self.lines.add(Some(index), format!("entry {index} is longer than an entry can be"));
            return None;
        };
        let bytes = [&length.to_be_bytes()[..], entry].concat();
        let judged = judge.lot(Lot::Entries { first: index, bytes, width: 1 }).entries.pop()?;
        let hash = |line: &String| STANDARD.decode(line).ok()?.try_into().ok();
        let path = proof.iter().take(MOST_HASHES + 1).map(hash).collect::<Option<Vec<_>>>();
        if !path.is_some_and(|path| includes(index, &judged.leaf, size, root, &path)) {
            let what = format!("the proof of entry {index} does not lead to the signed root");
            self.inclusion.add(Some(index), what);
        }
        if let Some(fault) = judged.fault {
            self.signed.add(Some(index), format!("entry {index} {fault}"));
        }
        Some(judged)
    }

    /// Takes an entry by which one key hands the log over to the next.
    fn change(&mut self, judge: &Judge<'_>, index: u64, entry: &[u8], path: (u64, &[u8; 32], &[String])) {
        let Some(judged) = self.judged(judge, index, entry, path) else { return };
        let handover = judged.says.and_then(|says| says.handover);
        if handover.is_none() || self.handovers.get(&index) != handover.as_deref() || !self.changes.insert(index) {
            let what = format!("entry {index} does not hand the log over as the list of keys says");
            self.handed.add(Some(index), what);
        }
    }

    fn take(
        &mut self,
        judge: &Judge<'_>,
        index: u64,
        entry: &[u8],
        path: (u64, &[u8; 32], &[String]),
        listener: &mut Option<Listener<'_>>,
    ) {
        self.count += 1;
        if self.last.is_some_and(|last| index <= last) {
            self.lines.add(Some(index), format!("entry {index} stands behind a later one"));
        }
        self.last = Some(index);
        let Some(judged) = self.judged(judge, index, entry, path) else { return };
        match judged.says {
            None if judged.fault.is_some() => {}
            None => self.signed.add(Some(index), format!("entry {index} is of no known kind")),
            Some(says) => {
                if says.handover.is_some() && self.handovers.get(&index) != says.handover.as_deref() {
                    let what = format!("entry {index} hands the log over to a key that the list of keys does not name");
                    self.handed.add(Some(index), what);
                }
                says.worth.into_iter().for_each(|worth| self.receipts.take(index, worth));
                if let Some((exchange, step)) = says.step {
                    self.receipts.tied(index, exchange, &says.ties);
                    self.pairing.take(index, exchange, step, &mut self.paired);
                    if let (Some(listener), Some(story)) = (listener.as_mut(), says.story) {
                        listener(index, exchange, *story);
                    }
                }
            }
        }
    }
}

fn conclude(mut found: Found, selection: &Selection, judge: &Judge<'_>, options: &Options<'_>, report: &mut Report) {
    report.entries = found.count;
    match found.end {
        None => found.lines.add(None, "it has no end: it was cut off".into()),
        Some(end) if end != found.count => {
            found.lines.add(None, format!("its end counts {end} entries, and it holds {}", found.count));
        }
        Some(_) => {}
    }
    report.conclude("lines", found.count, "in order, to the end, and as many as it says".into(), found.lines);
    report.conclude(
        "inclusion",
        found.count,
        "each entry stands at its place of the signed tree".into(),
        found.inclusion,
    );
    for index in found.handovers.keys().filter(|index| !found.changes.contains(index)) {
        found.handed.add(Some(*index), format!("the entry {index} is left out, which hands the log over"));
    }
    if !found.handovers.is_empty() || !found.handed.is_empty() {
        let detail = "each key but the first was put in place by an entry under the one before";
        report.conclude("keys", found.changes.len() as u64, detail.into(), found.handed);
    }
    let what = if judge.signatures { "signatures" } else { "entries" };
    if !judge.signatures {
        report.not_checked.push("the signatures of entries and what they keep of others': not asked for".into());
    }
    report.conclude(what, found.count, "each entry has the form of one, and its signature".into(), found.signed);
    match (selection.first, selection.next) {
        (Some(first), Some(next)) => {
            let detail = format!("every entry from {first} to before {next} is here");
            report.check("completeness", next.saturating_sub(first), &detail, |findings| {
                let held = found.last.map_or(first, |last| last + 1);
                if next < first || found.count != next - first || (found.count > 0 && held != next) {
                    findings.add(None, format!("entries between {first} and {next} are left out"));
                }
            });
            report.not_checked.push("what the log holds outside of these entries".into());
        }
        _ => {
            let words = serde_json::to_string(&selection.words).unwrap_or_default();
            report.not_checked.push(format!("that the log holds no further entries of this selection: {words}"));
        }
    }
    report.not_checked.push("which exchanges have no outcome: it may stand outside of the bundle".into());
    if judge.signatures {
        report.not_checked.extend(found.receipts.gaps());
        let what = "each signature that an entry keeps fits its text, and its text the exchange";
        report.conclude("receipts", found.receipts.count, what.into(), found.receipts.findings);
    }
    report.leave_open(options.key.is_some(), judge.stories);
}

fn read_line(name: &str, file: &mut dyn BufRead) -> Result<Option<Vec<u8>>, VerifyError> {
    let mut line = Vec::new();
    let read = file.take(MOST_LINE).read_until(b'\n', &mut line);
    read.map_err(|source| VerifyError::Io { path: name.into(), source })?;
    Ok(if line.is_empty() { None } else { Some(line) })
}
