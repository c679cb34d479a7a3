//! The lines of a day's file.

use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};

use super::MOST_INPUT;
use crate::types::Digest;

/// What an input's line starts with, before the digits of its digest.
const HEAD: &[u8] = br#"{"digest":"sha256:"#;
/// What stands between the digest and the input.
const MIDDLE: &[u8] = br#"","input":"#;
/// What a line of an input is longer than the input, its line feed included.
const AROUND: usize = HEAD.len() + 64 + MIDDLE.len() + 2;
/// The longest line.
pub(super) const MOST_LINE: usize = MOST_INPUT + AROUND;

/// A policy, or several together, with what it reads of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The policy's digest, as decision entries name it.
    pub policy: Digest,
    /// Its id.
    pub id: String,
    /// Its revision.
    pub revision: String,
    /// The paths that it reads, such as `at` and `recipient.country`.
    pub inputs: Vec<String>,
    /// How exactly it sees the time: `date`, `hour` or `minute`.
    pub time: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared<D> {
    declared: D,
}

/// What a line says.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// Which policy the next inputs were asked under, or some of them.
    Declared(Declaration),
    /// An input, with the digest that it claims.
    Input { digest: Digest, input: &'a [u8] },
    /// It is no line of this store.
    Damaged,
}

impl<'a> Line<'a> {
    /// Reads a line without its line feed. Whether an input fits its digest is left open.
    pub(super) fn read(line: &'a [u8]) -> Self {
        Self::read_input(line)
            .or_else(|| {
                let declared: Declared<Declaration> = serde_json::from_slice(line).ok()?;
                Some(Self::Declared(declared.declared))
            })
            .unwrap_or(Self::Damaged)
    }

    fn read_input(line: &'a [u8]) -> Option<Self> {
        let (digits, rest) = line.strip_prefix(HEAD)?.split_at_checked(64)?;
        let input = rest.strip_prefix(MIDDLE)?.strip_suffix(b"}")?;
        let digest = format!("sha256:{}", std::str::from_utf8(digits).ok()?).parse().ok()?;
        Some(Self::Input { digest, input })
    }
}

/// Appends the line of an input.
pub(super) fn push_input(lines: &mut Vec<u8>, digest: &Digest, input: &[u8]) {
    lines.extend_from_slice(HEAD);
    lines.extend_from_slice(digest.hex().as_bytes());
    lines.extend_from_slice(MIDDLE);
    lines.extend_from_slice(input);
    lines.extend_from_slice(b"}\n");
}

/// Appends the line of a declaration.
pub(super) fn push_declaration(lines: &mut Vec<u8>, declaration: &Declaration) {
    // Writing strings to memory does not fail.
    let _ = serde_json::to_writer(&mut *lines, &Declared { declared: declaration });
    lines.push(b'\n');
}

/// Reads lines one after another, holding one at a time. Ends before a last line that has no line feed.
pub(super) struct Lines<R> {
    source: R,
    line: Vec<u8>,
    next: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(source: R) -> Self {
        Self { source, line: Vec::new(), next: 0 }
    }

    /// Where the next line starts; at the end, what is whole of the file.
    pub(super) const fn offset(&self) -> u64 {
        self.next
    }

    /// The next line with the offset at which it starts. One that is longer than any line may be is damaged.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        self.line.clear();
        let mut limited = (&mut self.source).take(MOST_LINE as u64 + 1);
        limited.read_until(b'\n', &mut self.line)?;
        let start = self.next;
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            self.next += self.line.len() as u64 + 1;
            return Ok(Some((start, Line::read(&self.line))));
        }
        if self.line.len() <= MOST_LINE {
            return Ok(None);
        }
        let skipped = self.source.skip_until(b'\n')?;
        self.next += (self.line.len() + skipped) as u64;
        Ok(Some((start, Line::Damaged)))
    }
}
