//! Every checkpoint on file, in the order of size: the latest one, and those in `cosigned/` with their cosignatures.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, BufRead, Read as _};

use serde::Deserialize;

use super::judge::millis;
use super::notes::{MOST_NOTE, NoteKey, Signed, read_checkpoint};
use super::policy::{Policy, Witnessed};
use super::report::Findings;
use super::signing::Signing;
use super::source::Source;
use crate::record::note::Note;
use crate::types::Timestamp;

/// The directory of the checkpoints with the cosignatures that they got.
const COSIGNED: &str = "cosigned";
/// Checkpoints that are read ahead: so far from their order may they stand in a file.
const AHEAD: usize = 4096;
/// Bytes of a line: a note in JSON.
const MOST_LINE: u64 = 2 * MOST_NOTE;
/// Days that are looked for where a log cannot be listed.
const MOST_DAYS: u64 = 4000;
/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// A checkpoint on file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    pub(super) size: u64,
    pub(super) root: [u8; 32],
    /// The earliest and the latest time at which a witness of the policy cosigned it, in seconds since 1970.
    pub(super) times: Option<(u64, u64)>,
    /// Whether it has the policy's quorum.
    pub(super) quorum: bool,
    /// Where it was read.
    pub(super) place: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: String,
    note: String,
    size: Option<u64>,
}

/// Reads checkpoints one after another and checks what each says by itself.
pub(super) struct Cosigned<'a> {
    source: &'a dyn Source,
    keys: &'a Signing,
    origin: &'a str,
    policy: Option<&'a Policy>,
    files: VecDeque<String>,
    open: Option<(String, u64, Box<dyn BufRead + 'a>)>,
    ahead: BinaryHeap<Reverse<Point>>,
    /// The size of the last one that was given.
    given: u64,
    pub(super) lines: u64,
    pub(super) cosignatures: u64,
    pub(super) unknown: u64,
    pub(super) with_quorum: u64,
    pub(super) findings: Findings,
    pub(super) witnesses: Findings,
}

impl<'a> Cosigned<'a> {
    pub(super) fn new(source: &'a dyn Source, keys: &'a Signing, origin: &'a str, policy: Option<&'a Policy>) -> Self {
        Self {
            source,
            keys,
            origin,
            policy,
            files: VecDeque::new(),
            open: None,
            ahead: BinaryHeap::new(),
            given: 0,
            lines: 0,
            cosignatures: 0,
            unknown: 0,
            with_quorum: 0,
            findings: Findings::default(),
            witnesses: Findings::default(),
        }
    }

    /// Finds the files: by listing, or by asking for each day of the log.
    pub(super) fn find(&mut self, since: Option<u64>, now: Timestamp) {
        if let Some(directory) = self.source.directory() {
            let names = match std::fs::read_dir(directory.join(COSIGNED)) {
                Ok(names) => names,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(error) => return self.findings.add(None, format!("{COSIGNED} cannot be listed: {error}")),
            };
            let mut days: Vec<_> =
                names.flatten().map(|name| name.file_name().to_string_lossy().into_owned()).collect();
            days.sort_unstable();
            for name in days {
                if name.ends_with(".jsonl") {
                    self.files.push_back(format!("{COSIGNED}/{name}"));
                } else {
                    self.findings.add(None, format!("{COSIGNED}/{name} is not a day's checkpoints"));
                }
            }
            return;
        }
        let last = now.millis() / DAY + 1;
        let first = since.unwrap_or(now.millis()) / DAY;
        for day in first.max(last.saturating_sub(MOST_DAYS))..=last {
            self.files.push_back(format!("{COSIGNED}/{}.jsonl", Timestamp::from_millis(day * DAY).date()));
        }
    }

    /// Adds a checkpoint that lies elsewhere.
    pub(super) fn add(&mut self, point: Point) {
        self.ahead.push(Reverse(point));
    }

    /// The next checkpoint by size.
    pub(super) fn peek(&mut self) -> Option<&Point> {
        while self.ahead.len() < AHEAD {
            match self.read() {
                Some(point) if point.size < self.given => {
                    let what = format!("{}: its checkpoint stands behind much larger ones", point.place);
                    self.findings.add(None, what);
                }
                Some(point) => self.ahead.push(Reverse(point)),
                None => break,
            }
        }
        self.ahead.peek().map(|point| &point.0)
    }

    /// Takes the next checkpoint by size.
    pub(super) fn next(&mut self) -> Option<Point> {
        self.peek()?;
        let point = self.ahead.pop()?.0;
        self.given = point.size;
        Some(point)
    }

    fn read(&mut self) -> Option<Point> {
        loop {
            if self.open.is_none() {
                let path = self.files.pop_front()?;
                match self.source.lines(&path) {
                    Ok(lines) => self.open = Some((path, 0, lines)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => {
                        self.findings.add(None, format!("{path} cannot be read: {error}"));
                        continue;
                    }
                }
            }
            let (path, number, lines) = self.open.as_mut()?;
            let mut line = Vec::new();
            *number += 1;
            let place = format!("{path}, line {number}");
            match lines.take(MOST_LINE).read_until(b'\n', &mut line) {
                Ok(0) => {
                    self.open = None;
                    continue;
                }
                Ok(_) if line.last() == Some(&b'\n') => {}
                // The writer may be in the middle of it; at its next start it cuts such a line off.
                Ok(_) if (line.len() as u64) < MOST_LINE && self.files.is_empty() => {
                    self.open = None;
                    continue;
                }
                Ok(_) | Err(_) => {
                    self.findings.add(None, format!("{place}: it cannot be read to its end"));
                    self.open = None;
                    continue;
                }
            }
            self.lines += 1;
            if let Some(point) = self.judge(&line, place) {
                return Some(point);
            }
        }
    }

    fn judge(&mut self, line: &[u8], place: String) -> Option<Point> {
        let parsed = serde_json::from_slice::<Line>(line).ok();
        let parsed = parsed.filter(|parsed| millis(&parsed.at).is_some());
        let read = parsed.as_ref().and_then(|parsed| Some((parsed, read_checkpoint(&parsed.note)?)));
        let Some((parsed, (note, checkpoint))) = read else {
            self.findings.add(None, format!("{place}: it is no checkpoint with its time"));
            return None;
        };
        if checkpoint.origin != self.origin {
            self.findings.add(None, format!("{place}: its checkpoint is of {}", checkpoint.origin));
            return None;
        }
        if parsed.size.is_some_and(|size| size != checkpoint.size) {
            self.findings.add(None, format!("{place}: it states another size than its checkpoint"));
        }
        let (signed, log) = self.keys.signed(&note);
        if !matches!(signed, Signed::Yes(_)) {
            self.findings.add(None, format!("{place}: its checkpoint is not signed by the log's key"));
            return None;
        }
        Some(self.point(&note, checkpoint.size, checkpoint.root, log, place))
    }

    /// A checkpoint that the log's key signed, with what witnesses say of it.
    pub(super) fn point(
        &mut self,
        note: &Note<'_>,
        size: u64,
        root: [u8; 32],
        log: Option<&NoteKey>,
        place: String,
    ) -> Point {
        let mut point = Point { size, root, times: None, quorum: false, place };
        if let (Some(policy), Some(log)) = (self.policy, log) {
            let witnessed = policy.judge(note, log);
            point.times = self.witnessed(&witnessed, &point.place);
            point.quorum = witnessed.quorum;
        } else {
            self.unknown += note.signatures.len().saturating_sub(1) as u64;
        }
        point
    }

    /// Counts what witnesses say; the earliest and the latest of their times.
    fn witnessed(&mut self, witnessed: &Witnessed, place: &str) -> Option<(u64, u64)> {
        self.cosignatures += witnessed.by.len() as u64;
        self.unknown += witnessed.unknown as u64;
        self.with_quorum += u64::from(witnessed.quorum);
        for name in &witnessed.forged {
            self.witnesses.add(None, format!("{place}: the cosignature of {name} is not its own"));
        }
        let times = witnessed.by.iter().map(|(_, time)| *time);
        Some((times.clone().min()?, times.max()?))
    }
}
