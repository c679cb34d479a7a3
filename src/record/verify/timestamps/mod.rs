//! Timestamps of outside authorities (RFC 3161): each is of a checkpoint of this log, and bounds the times of its entries
//! as a cosignature does.

#[cfg(test)]
mod tests;
mod token;

use std::collections::VecDeque;
use std::io;

use super::Options;
use super::notes::{MOST_NOTE, Signed, read_checkpoint};
use super::report::{Findings, Report};
use super::signing::Signing;
use super::source::Source;
use crate::record::stamped::{NOTE, TIMESTAMPS, TOKEN, is_aside, size_of_name, stem};
pub use token::{MOST_TOKEN, TimestampAnchors};

/// Timestamps that are looked at: one an hour for a hundred years, in 8 MB of names.
const MOST_TIMESTAMPS: usize = 1_000_000;

/// A checkpoint with its timestamp.
#[derive(Debug)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) root: [u8; 32],
    /// When the authority saw it, in seconds since 1970; `None` when its token was not checked.
    pub(super) at: Option<u64>,
    /// Where it was read.
    pub(super) place: String,
}

/// Reads timestamps one after another, in the order of size, and checks what each says by itself.
pub(super) struct Stamps<'a> {
    source: &'a dyn Source,
    keys: &'a Signing,
    origin: &'a str,
    anchors: Option<&'a TimestampAnchors>,
    sizes: VecDeque<u64>,
    next: Option<Stamp>,
    /// Tokens that were read.
    tokens: u64,
    /// Tokens that are good.
    good: u64,
    pub(super) findings: Findings,
}

impl<'a> Stamps<'a> {
    /// Finds the timestamps, where the log can be listed.
    pub(super) fn find(source: &'a dyn Source, keys: &'a Signing, origin: &'a str, options: &Options<'a>) -> Self {
        let (sizes, tokens, good, next) = (VecDeque::new(), 0, 0, None);
        let (anchors, findings) = (options.timestamp_anchors, Findings::default());
        let mut found = Self { source, keys, origin, anchors, sizes, next, tokens, good, findings };
        let Some(directory) = source.directory() else { return found };
        let names = match std::fs::read_dir(directory.join(TIMESTAMPS)) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return found,
            Err(error) => {
                found.findings.add(None, format!("{TIMESTAMPS} cannot be listed: {error}"));
                return found;
            }
        };
        let mut sizes = Vec::new();
        for name in names.flatten() {
            let name = name.file_name();
            match name.to_str().and_then(size_of_name) {
                // A note without a token is one that was not answered, or not yet.
                Some((size, TOKEN)) if sizes.len() < MOST_TIMESTAMPS => sizes.push(size),
                Some((_, TOKEN)) => {
                    let what = format!("{TIMESTAMPS} holds more than the {MOST_TIMESTAMPS} that are looked at");
                    found.findings.add(None, what);
                    break;
                }
                Some(_) => {}
                None if name.to_str().is_some_and(is_aside) => {}
                None => {
                    found.findings.add(None, format!("{TIMESTAMPS}/{} is no timestamp", name.to_string_lossy()));
                }
            }
        }
        sizes.sort_unstable();
        found.sizes = sizes.into();
        found
    }

    /// The next timestamped checkpoint by size.
    pub(super) fn peek(&mut self) -> Option<&Stamp> {
        while self.next.is_none() {
            let size = self.sizes.pop_front()?;
            self.tokens += 1;
            match self.read(size) {
                Ok(stamp) => self.next = Some(stamp),
                Err(what) => self.findings.add(None, format!("{}: {what}", place(size))),
            }
        }
        self.next.as_ref()
    }

    /// Takes the next timestamped checkpoint by size.
    pub(super) fn next(&mut self) -> Option<Stamp> {
        self.peek()?;
        self.next.take()
    }

    fn read(&mut self, size: u64) -> Result<Stamp, String> {
        let file = |kind: &str, most| {
            let path = format!("{TIMESTAMPS}/{}.{kind}", stem(size));
            self.source.whole(&path, most).map_err(|error| format!("{path} cannot be read: {error}"))
        };
        let note = file(NOTE, MOST_NOTE)?;
        let read = std::str::from_utf8(&note).ok().and_then(read_checkpoint);
        let (signed, checkpoint) = read.ok_or("its note is no checkpoint")?;
        if checkpoint.origin != self.origin || checkpoint.size != size {
            return Err("its checkpoint is of another log, or of another size than its name tells".into());
        }
        if !matches!(self.keys.signed(&signed).0, Signed::Yes(_)) {
            return Err("its checkpoint is not signed by the log's key".into());
        }
        let token = file(TOKEN, MOST_TOKEN)?;
        let at = match self.anchors {
            None => None,
            Some(anchors) => Some(anchors.check(&token, &note, None).map_err(|what| format!("its token {what}"))?),
        };
        self.good += u64::from(at.is_some());
        Ok(Stamp { size, root: checkpoint.root, at, place: place(size) })
    }

    /// Says what came of them, and how many of them bear witness to the time.
    pub(super) fn conclude(mut self, sizes: (u64, u64, u64), report: &mut Report) -> u64 {
        let (size, total, newer) = sizes;
        let mut later = 0;
        while let Some(stamp) = self.next() {
            if stamp.size > size && stamp.size <= newer {
                later += 1;
            } else if total >= size {
                let what = format!("{}: it is of {} entries, and the log has {total}", stamp.place, stamp.size);
                self.findings.add(None, what);
            }
        }
        if later > 0 {
            report.not_checked.push(format!("{later} timestamps that came while this check was made"));
        }
        if self.source.directory().is_none() {
            let what = "timestamps of outside authorities: only a log's directory lists them";
            report.not_checked.push(what.into());
            return 0;
        }
        if self.tokens == 0 && self.findings.is_empty() {
            if self.anchors.is_some() {
                report.not_checked.push("timestamps of outside authorities: the log has none".into());
            }
            return 0;
        }
        let detail = match self.anchors {
            Some(_) => "each is an authority's, of a checkpoint of this log over these entries",
            None => "each is kept with a checkpoint of this log over these entries",
        };
        if self.anchors.is_none() && self.tokens > 0 {
            let what = format!(
                "what {} timestamps of outside authorities say: give their certificates with --tsa-anchors",
                self.tokens
            );
            report.not_checked.push(what);
        }
        if self.good > 0 {
            let what = "whether a time-stamping authority's certificate was revoked: no list of revocations is read";
            report.not_checked.push(what.into());
        }
        report.conclude("timestamps", self.tokens, detail.into(), self.findings);
        self.good
    }
}

fn place(size: u64) -> String {
    format!("{TIMESTAMPS}/{}", stem(size))
}
