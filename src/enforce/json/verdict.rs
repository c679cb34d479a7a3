//! What the plan says of each part of a JSON document, while the reader walks through it.
//!
//! The walk writes what may leave, puts commas where they belong after others went, and stays silent inside what is
//! removed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;

use super::{Fault, text};
use crate::enforce::carried::{Replacer, Tally};
use crate::enforce::k_anonymity::Groups;
use crate::enforce::plan::{Action, Steps};
use crate::enforce::select::{PathStep, SelectionId, Selections, Way, fold};
use crate::enforce::{CarriedOut, EnforceError, MARK};

/// The walk through one payload.
#[derive(Debug)]
pub(super) struct Walk {
    steps: Arc<Steps>,
    selections: Selections,
    tally: Tally,
    lines: bool,
    by_record: bool,
    /// Names that every `keep_only` keeps, numbered; `None` when there is no such obligation.
    kept: Option<HashMap<String, Seen>>,
    pub(super) groups: Option<Groups>,
    frames: Vec<Frame>,
    /// Paths that lead into open containers, innermost last; each frame knows its own.
    paths: Vec<u16>,
    next: Next,
    /// Depth of the removed value that the walk is in.
    muted: Option<usize>,
    /// Depth and start of the value that records are grouped by and that the walk is in.
    capture: Option<(usize, usize)>,
    captured_by: Vec<SelectionId>,
    /// Values that the present record is grouped by: where they stand in the output.
    row: Vec<(SelectionId, Range<usize>)>,
    key: Vec<u8>,
    records: u64,
    replacer: Replacer,
    plain: Vec<u8>,
}

/// An open container.
#[derive(Debug)]
struct Frame {
    object: bool,
    /// Whether it is a record of which names are kept, or that gets a mark.
    record: bool,
    /// Whether something was written in it, so that a comma is due.
    written: bool,
    /// Elements begun.
    index: u64,
    paths: Range<usize>,
    /// What changes the elements of an array, since the array itself was selected.
    change: Vec<SelectionId>,
    /// Names that may stand once and did.
    seen: Vec<Seen>,
}

/// A name that may stand once in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Selected(SelectionId),
    Kept(usize),
}

/// What was found out about the value that comes next, or that is being read.
#[derive(Debug, Default)]
struct Next {
    change: Vec<SelectionId>,
    quasi: Vec<SelectionId>,
    /// Demands that remove it.
    redact: Vec<usize>,
    /// Where the paths that lead into it start.
    paths_from: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    Scalar,
}

impl Walk {
    pub(super) fn new(steps: Arc<Steps>, selections: Selections, lines: bool) -> Self {
        let kept = steps.keepers().next().map(|(_, first)| {
            let everywhere = |name: &&String| steps.keepers().all(|(_, demand)| demand.keeps.contains(*name));
            let names = first.keeps.iter().filter(everywhere).cloned();
            names.enumerate().map(|(number, name)| (name, Seen::Kept(number))).collect()
        });
        Self {
            tally: Tally::new(&steps),
            groups: steps.grouping.map(Groups::new),
            by_record: steps.by_record(),
            steps,
            selections,
            lines,
            kept,
            frames: Vec::new(),
            paths: Vec::new(),
            next: Next::default(),
            muted: None,
            capture: None,
            captured_by: Vec::new(),
            row: Vec::new(),
            key: Vec::new(),
            records: 0,
            replacer: Replacer::default(),
            plain: Vec::new(),
        }
    }

    /// Open containers.
    pub(super) fn depth(&self) -> usize {
        self.frames.len()
    }

    /// Whether the innermost open container is an object.
    pub(super) fn in_object(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.object)
    }

    pub(super) fn carried(&self) -> Vec<CarriedOut> {
        self.tally.carried(&self.steps)
    }

    pub(super) fn buffered(&self) -> usize {
        self.groups.as_ref().map_or(0, Groups::held) + self.paths.len() * size_of::<u16>()
    }

    /// Writes bytes of a value that leaves as it is.
    pub(super) fn write(&self, bytes: &[u8], output: &mut BytesMut) {
        if self.muted.is_none() {
            output.extend_from_slice(bytes);
        }
    }

    /// A member's name, with its quotes; decides on the value that follows.
    pub(super) fn name(&mut self, raw: &[u8], escaped: bool, output: &mut BytesMut) -> Result<(), Fault> {
        self.clear_next();
        let depth = self.frames.len();
        let Some(frame) = self.frames.last_mut().filter(|_| self.muted.is_none()) else { return Ok(()) };
        let mut name = raw.get(1..raw.len() - 1).unwrap_or_default();
        if escaped {
            self.plain.clear();
            text::unescape(name, &mut self.plain);
            name = &self.plain;
        }
        // The reader has checked the bytes; the error cannot occur.
        let name = std::str::from_utf8(name).map_err(|_| EnforceError::Internal("a name is not UTF-8"))?;
        let mut once: Option<Seen> = None;
        let mut leaves = true;
        if let Some(kept) = self.kept.as_ref().filter(|_| frame.record) {
            once = kept.get(name).copied();
            leaves = once.is_some();
            for (demand, _) in self.steps.keepers().filter(|(_, demand)| !demand.keeps.contains(name)) {
                self.tally.add(demand, 1);
            }
        }
        let folded = fold(name);
        // A mark that came with the payload gives way to ours.
        leaves &= !(frame.record && self.steps.mark.is_some() && folded == MARK);
        let selected = self.selections.by_name(&folded);
        if let Some(id) = selected {
            self.next.select(id, &self.selections, &mut self.tally);
        }
        let paths = frame.paths.clone();
        self.next.follow(paths, depth - 1, Way::Name(&folded), &self.selections, &mut self.paths, &mut self.tally);
        if !leaves || !self.next.redact.is_empty() {
            self.muted = Some(depth);
            return Ok(());
        }
        let selected = selected.filter(|id| self.next.change.contains(id) || self.next.quasi.contains(id));
        for seen in once.into_iter().chain(selected.map(Seen::Selected)) {
            if frame.seen.contains(&seen) {
                return Err(Fault::Malformed("a name that an obligation speaks of stands twice in one object"));
            }
            frame.seen.push(seen);
        }
        if std::mem::replace(&mut frame.written, true) {
            output.extend_from_slice(b",");
        }
        output.extend_from_slice(raw);
        output.extend_from_slice(b":");
        Ok(())
    }

    /// A number, literal or string begins; true when it is a string that must be held back to be replaced.
    pub(super) fn begin_scalar(&mut self, is_text: bool, output: &mut BytesMut) -> Result<bool, Fault> {
        self.begin(Kind::Scalar, output)?;
        Ok(is_text && self.muted.is_none() && !self.next.change.is_empty())
    }

    /// A string ended; `held` is the whole of it, with its quotes, when it was held back.
    pub(super) fn end_string(
        &mut self,
        held: Option<&[u8]>,
        escaped: bool,
        output: &mut BytesMut,
    ) -> Result<(), Fault> {
        if let Some(raw) = held {
            let inner = raw.get(1..raw.len() - 1).unwrap_or_default();
            if escaped {
                self.plain.clear();
                text::unescape(inner, &mut self.plain);
                self.replacer.load(&self.plain);
            } else {
                self.replacer.load(inner);
            }
            if inner.is_empty() {
                // Nothing is known of nobody: an empty value stays empty.
                output.extend_from_slice(b"\"\"");
            } else {
                self.replace(output)?;
            }
        }
        self.end_scalar_value(output)
    }

    /// A number or a literal ended.
    pub(super) fn end_scalar(&mut self, raw: &[u8], output: &mut BytesMut) -> Result<(), Fault> {
        if self.muted.is_none() {
            if self.next.change.is_empty() || raw == b"null" {
                output.extend_from_slice(raw);
            } else {
                self.replacer.load(raw);
                self.replace(output)?;
            }
        }
        self.end_scalar_value(output)
    }

    /// Replaces the loaded value and writes it: a string, or `null` when it could not be read.
    fn replace(&mut self, output: &mut BytesMut) -> Result<(), Fault> {
        let selected = self.next.change.iter().map(|id| self.selections.get(*id));
        self.replacer.apply(&self.steps, selected, &mut self.tally)?;
        match self.replacer.text() {
            b"" => output.extend_from_slice(b"null"),
            text => {
                output.extend_from_slice(b"\"");
                output.extend_from_slice(text);
                output.extend_from_slice(b"\"");
            }
        }
        Ok(())
    }

    fn end_scalar_value(&mut self, output: &mut BytesMut) -> Result<(), Fault> {
        self.paths.truncate(self.next.paths_from);
        self.end(Kind::Scalar, output)
    }

    /// An object or an array begins.
    pub(super) fn open(&mut self, object: bool, output: &mut BytesMut) -> Result<(), Fault> {
        let kind = if object { Kind::Object } else { Kind::Array };
        self.begin(kind, output)?;
        if object && self.muted.is_none() && !self.next.change.is_empty() {
            // Names of members may be the very values to be replaced: {"patients": {"alice": 1}}.
            let why = "a value to be replaced is an object";
            return Err(EnforceError::NotPossible(why.into()).into());
        }
        self.write(if object { b"{" } else { b"[" }, output);
        let record = object && self.is_record(kind);
        self.frames.push(Frame {
            object,
            record,
            written: false,
            index: 0,
            paths: self.next.paths_from..self.paths.len(),
            change: self.next.change.clone(),
            seen: Vec::new(),
        });
        if !object
            && self.frames.len() == 1
            && !self.lines
            && let Some(groups) = &mut self.groups
        {
            groups.end_head(output.len());
        }
        Ok(())
    }

    /// An object or an array ends.
    pub(super) fn close(&mut self, object: bool, output: &mut BytesMut) -> Result<(), Fault> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        self.paths.truncate(frame.paths.start);
        if let Some(mark) = self.steps.mark.as_ref().filter(|_| frame.record && self.muted.is_none()) {
            let comma = if frame.written { "," } else { "" };
            output.extend_from_slice(format!("{comma}\"{MARK}\":\"{mark}\"").as_bytes());
        }
        // The end of grouped records is written when they are settled.
        let of_groups = self.groups.is_some() && !self.lines && self.frames.is_empty();
        if object || !of_groups {
            self.write(if object { b"}" } else { b"]" }, output);
        }
        self.end(if object { Kind::Object } else { Kind::Array }, output)
    }

    /// The payload ended: what still waited.
    pub(super) fn finish(&mut self) -> Result<Option<BytesMut>, EnforceError> {
        let mut left_out = 0;
        let mut waiting = None;
        if let Some(mut groups) = self.groups.take() {
            left_out = groups.settle()?;
            self.tally.add_all(&self.steps, Action::KAnonymity, left_out);
            let mut records = groups.waiting;
            if !self.lines {
                // Each record came with a comma; the last one becomes the end of the array.
                match records.last_mut() {
                    Some(last) if *last == b',' => *last = b']',
                    _ => records.extend_from_slice(b"]"),
                }
            }
            waiting = Some(records);
        }
        self.tally.add_all(&self.steps, Action::Watermark, self.records - left_out);
        Ok(waiting)
    }

    /// A value begins: the verdict on it, unless its name brought it, and the comma before it.
    fn begin(&mut self, kind: Kind, output: &mut BytesMut) -> Result<(), Fault> {
        let depth = self.frames.len();
        if !self.in_object() {
            self.clear_next();
        }
        if self.muted.is_some() {
            return Ok(());
        }
        let record = self.is_record(kind);
        match self.frames.last_mut() {
            None => self.paths.extend(0..u16::try_from(self.selections.paths()).unwrap_or(u16::MAX)),
            Some(frame) if !frame.object => {
                let way = Way::Index(frame.index);
                frame.index += 1;
                self.next.change.extend_from_slice(&frame.change);
                let paths = frame.paths.clone();
                self.next.follow(paths, depth - 1, way, &self.selections, &mut self.paths, &mut self.tally);
                if !self.next.redact.is_empty() {
                    self.muted = Some(depth);
                    return Ok(());
                }
                // A grouped record carries its comma behind it, since the one before it may not leave.
                let grouped = self.groups.is_some() && record;
                if std::mem::replace(&mut frame.written, true) && !grouped {
                    output.extend_from_slice(b",");
                }
            }
            Some(_) => {}
        }
        if self.by_record && kind != Kind::Object && (record || depth == 0 && kind == Kind::Scalar) {
            return Err(Fault::Malformed("a record is not an object"));
        }
        if self.groups.is_some() && depth == 0 && kind == Kind::Object && !self.lines {
            let why = "k_anonymity needs an array of records, and it is one object";
            return Err(EnforceError::NotPossible(why.into()).into());
        }
        if !self.next.quasi.is_empty() && self.capture.is_none() {
            self.capture = Some((depth, output.len()));
            self.captured_by.clone_from(&self.next.quasi);
        }
        Ok(())
    }

    /// A value ended.
    fn end(&mut self, kind: Kind, output: &mut BytesMut) -> Result<(), Fault> {
        let depth = self.frames.len();
        if self.muted.is_some() {
            self.muted = self.muted.filter(|muted| *muted != depth);
            return Ok(());
        }
        if let Some((_, start)) = self.capture.filter(|(captured, _)| *captured == depth) {
            self.row.extend(self.captured_by.drain(..).map(|id| (id, start..output.len())));
            self.capture = None;
        }
        if self.is_record(kind) {
            self.end_record(output)?;
        }
        Ok(())
    }

    fn end_record(&mut self, output: &mut BytesMut) -> Result<(), Fault> {
        self.records += 1;
        if self.lines {
            output.extend_from_slice(b"\n");
        }
        let Some(groups) = &mut self.groups else { return Ok(()) };
        if !self.lines {
            output.extend_from_slice(b",");
        }
        // The order of members makes no difference; a member that is absent counts as one value, null.
        self.row.sort_by_key(|(id, _)| *id);
        self.key.clear();
        for (id, range) in self.row.drain(..) {
            let value = output.get(range).unwrap_or_default();
            if value != b"null" {
                self.key.extend_from_slice(&id.to_le_bytes());
                self.key.extend_from_slice(&(value.len() as u64).to_le_bytes());
                self.key.extend_from_slice(value);
            }
        }
        groups.end_record(output.len(), &self.key)?;
        Ok(())
    }

    /// Whether a value at the present depth is a record.
    fn is_record(&self, kind: Kind) -> bool {
        match self.frames.len() {
            0 => self.lines || kind == Kind::Object,
            1 => !self.lines && !self.in_object(),
            _ => false,
        }
    }

    fn clear_next(&mut self) {
        self.next.change.clear();
        self.next.quasi.clear();
        self.next.redact.clear();
        self.next.paths_from = self.paths.len();
    }
}

impl Next {
    fn select(&mut self, id: SelectionId, selections: &Selections, tally: &mut Tally) {
        let selected = selections.get(id);
        for demand in &selected.redact {
            if !self.redact.contains(demand) {
                self.redact.push(*demand);
                tally.add(*demand, 1);
            }
        }
        if selected.changes() {
            self.change.push(id);
        }
        if selected.quasi {
            self.quasi.push(id);
        }
    }

    /// Takes every path of the container one step further.
    fn follow(
        &mut self,
        from: Range<usize>,
        step: usize,
        way: Way<'_>,
        selections: &Selections,
        paths: &mut Vec<u16>,
        tally: &mut Tally,
    ) {
        for at in from {
            let path = paths[at];
            match selections.step(path, step, way) {
                PathStep::Leaves => {}
                PathStep::Follows => paths.push(path),
                PathStep::Selects(id) => self.select(id, selections, tally),
            }
        }
    }
}
