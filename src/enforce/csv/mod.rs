//! Carries out a plan on CSV, one record at a time.

mod scan;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::BytesMut;

use self::scan::{ScanError, Scanner};
use super::carried::{Replacer, Tally};
use super::k_anonymity::Groups;
use super::plan::{Action, Steps};
use super::select::{SelectionId, Selections, fold};
use super::{ByteOrderMark, CarriedOut, EnforceError, MARK, MAX_COLUMNS, MAX_RECORD, Position};

/// A CSV payload on its way through.
#[derive(Debug)]
pub(super) struct CsvFilter {
    mark: ByteOrderMark,
    scanner: Scanner,
    /// The start of a record whose end has not come.
    carry: Vec<u8>,
    rows: Rows,
}

impl CsvFilter {
    pub(super) fn new(steps: Arc<Steps>, selections: Selections) -> Self {
        let rows = Rows {
            tally: Tally::new(&steps),
            groups: steps.grouping.map(Groups::new),
            steps,
            selections,
            layout: None,
            row: 0,
            records: 0,
            replacer: Replacer::default(),
            text: Vec::new(),
            key: Vec::new(),
        };
        Self { mark: ByteOrderMark::default(), scanner: Scanner::new(), carry: Vec::new(), rows }
    }

    pub(super) fn push(&mut self, input: &[u8], output: &mut BytesMut) -> Result<(), EnforceError> {
        let (before, input) = self.mark.strip(input);
        self.read(before, output)?;
        self.read(input, output)
    }

    fn read(&mut self, mut input: &[u8], output: &mut BytesMut) -> Result<(), EnforceError> {
        while !input.is_empty() {
            let found = self.scanner.scan(input, self.carry.len()).map_err(|error| self.rows.refuse(error))?;
            let length = found.unwrap_or(input.len());
            if self.carry.len() + length > MAX_RECORD {
                return Err(self.rows.limit("bytes in a record", MAX_RECORD));
            }
            let (piece, rest) = input.split_at(length);
            if found.is_some() && self.carry.is_empty() {
                self.rows.take(piece, &self.scanner.ends, output)?;
                self.scanner.ends.clear();
            } else {
                self.carry.extend_from_slice(piece);
                if found.is_some() {
                    self.rows.take(&self.carry, &self.scanner.ends, output)?;
                    self.scanner.ends.clear();
                    self.carry.clear();
                }
            }
            input = rest;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, output: &mut BytesMut) -> Result<(), EnforceError> {
        let before = self.mark.finish();
        self.read(before, output)?;
        if self.scanner.is_amid() {
            self.scanner.finish(self.carry.len()).map_err(|error| self.rows.refuse(error))?;
            self.rows.take(&self.carry, &self.scanner.ends, output)?;
            self.scanner.ends.clear();
            self.carry.clear();
        }
        self.rows.finish(output)
    }

    pub(super) fn carried(&self) -> Vec<CarriedOut> {
        self.rows.tally.carried(&self.rows.steps)
    }

    pub(super) fn buffered(&self) -> usize {
        self.carry.len() + self.rows.groups.as_ref().map_or(0, Groups::held)
    }
}

/// What happens to records.
#[derive(Debug)]
struct Rows {
    steps: Arc<Steps>,
    selections: Selections,
    tally: Tally,
    groups: Option<Groups>,
    /// Known once the header was read.
    layout: Option<Layout>,
    /// Records read, blank lines and the header included.
    row: u64,
    /// Data records that were written.
    records: u64,
    replacer: Replacer,
    text: Vec<u8>,
    key: Vec<u8>,
}

/// What a header row makes of the plan.
#[derive(Debug)]
struct Layout {
    /// Columns that came.
    width: usize,
    /// What leaves of them, from left to right.
    pieces: Vec<Piece>,
    /// For each demand, how many columns it takes away.
    removed: Vec<(usize, u64)>,
}

#[derive(Debug)]
struct Piece {
    first: usize,
    /// The last column of a run that leaves as it is; the only column otherwise.
    last: usize,
    /// By what its values are replaced.
    change: Vec<SelectionId>,
    /// Whether records are grouped by it.
    quasi: bool,
}

impl Rows {
    /// Takes one record with its line end; `ends` says where its fields end.
    fn take(&mut self, record: &[u8], ends: &[usize], output: &mut BytesMut) -> Result<(), EnforceError> {
        self.row += 1;
        if ends == [0] {
            // A blank line is no record to any reader.
            return Ok(());
        }
        let mut groups = self.groups.take();
        let target = match &mut groups {
            Some(groups) => &mut groups.waiting,
            None => output,
        };
        match &self.layout {
            None => {
                let layout = self.lay_out(record, ends)?;
                write_header(&layout, self.steps.mark.is_some(), record, ends, target);
                self.layout = Some(layout);
                if let Some(groups) = &mut groups {
                    groups.end_head(groups.waiting.len());
                }
            }
            Some(layout) => {
                if ends.len() != layout.width {
                    return Err(self.malformed("a row has not as many fields as the header"));
                }
                self.key.clear();
                let mut writer = Writer {
                    steps: &self.steps,
                    selections: &self.selections,
                    tally: &mut self.tally,
                    replacer: &mut self.replacer,
                    text: &mut self.text,
                    key: &mut self.key,
                };
                writer.write(layout, record, ends, target)?;
                self.records += 1;
                if let Some(groups) = &mut groups {
                    groups.end_record(groups.waiting.len(), &self.key)?;
                }
            }
        }
        self.groups = groups;
        Ok(())
    }

    /// Reads the header row: which columns leave, and how.
    fn lay_out(&self, record: &[u8], ends: &[usize]) -> Result<Layout, EnforceError> {
        let mut names = Vec::with_capacity(ends.len());
        let mut buffer = Vec::new();
        for column in 0..ends.len() {
            let text = scan::text(&record[span(ends, column, column)], &mut buffer);
            let name = std::str::from_utf8(text).map_err(|_| self.malformed("the header is not UTF-8"))?;
            names.push(name.to_owned());
        }
        if names.iter().collect::<HashSet<_>>().len() < names.len() {
            return Err(self.malformed("two columns have one name"));
        }
        let folded: Vec<String> = names.iter().map(|name| fold(name).into_owned()).collect();
        for (name, _) in self.selections.names() {
            if !folded.iter().any(|column| column == name) {
                return Err(EnforceError::NotPossible(format!("it has no column {name:?}")));
            }
        }
        let mut layout = Layout { width: names.len(), pieces: Vec::new(), removed: Vec::new() };
        for (column, (name, folded)) in names.iter().zip(&folded).enumerate() {
            let selection = self.selections.by_name(folded);
            let selected = selection.map(|id| self.selections.get(id));
            let mut removed_by: Vec<usize> = selected.map(|selected| selected.redact.clone()).unwrap_or_default();
            let leaves_out = self.steps.keepers().filter(|(_, demand)| !demand.keeps.contains(name));
            removed_by.extend(leaves_out.map(|(demand, _)| demand));
            // A mark that came with the payload gives way to ours.
            let marked = self.steps.mark.is_some() && folded == MARK;
            if !removed_by.is_empty() || marked {
                layout.remove(&removed_by);
                continue;
            }
            let quasi = selected.is_some_and(|selected| selected.quasi);
            let changes = selected.is_some_and(|selected| selected.changes());
            let change: Vec<SelectionId> = selection.into_iter().filter(|_| changes).collect();
            match layout.pieces.last_mut() {
                Some(run) if !quasi && !changes && !run.quasi && run.change.is_empty() && run.last + 1 == column => {
                    run.last = column;
                }
                _ => layout.pieces.push(Piece { first: column, last: column, change, quasi }),
            }
        }
        if layout.pieces.is_empty() {
            return Err(EnforceError::NotPossible("none of its columns may leave".into()));
        }
        Ok(layout)
    }

    fn finish(&mut self, output: &mut BytesMut) -> Result<(), EnforceError> {
        let Some(layout) = &self.layout else { return Err(self.malformed("there is no header row")) };
        for &(demand, columns) in &layout.removed {
            self.tally.add(demand, columns * self.records);
        }
        let mut left_out = 0;
        if let Some(mut groups) = self.groups.take() {
            left_out = groups.settle()?;
            self.tally.add_all(&self.steps, Action::KAnonymity, left_out);
            append(output, groups.waiting);
        }
        self.tally.add_all(&self.steps, Action::Watermark, self.records - left_out);
        Ok(())
    }

    fn malformed(&self, what: &'static str) -> EnforceError {
        EnforceError::Malformed { what, at: Position::Row(self.row.max(1)) }
    }

    fn limit(&self, unit: &'static str, limit: usize) -> EnforceError {
        EnforceError::PayloadLimit { unit, limit, at: Position::Row(self.row + 1) }
    }

    /// A fault that the scanner found, in the record after the last one taken.
    fn refuse(&self, error: ScanError) -> EnforceError {
        match error {
            ScanError::Malformed(what) => EnforceError::Malformed { what, at: Position::Row(self.row + 1) },
            ScanError::TooManyColumns => self.limit("columns", MAX_COLUMNS),
        }
    }
}

impl Layout {
    fn remove(&mut self, by: &[usize]) {
        for &demand in by {
            match self.removed.iter_mut().find(|(known, _)| *known == demand) {
                Some((_, columns)) => *columns += 1,
                None => self.removed.push((demand, 1)),
            }
        }
    }
}

/// Adds a finished buffer to the output, without copying when there is nothing before it.
pub(super) fn append(output: &mut BytesMut, buffer: BytesMut) {
    if output.is_empty() {
        *output = buffer;
    } else {
        output.extend_from_slice(&buffer);
    }
}

/// The bytes of columns `first` to `last`, with the commas between them.
fn span(ends: &[usize], first: usize, last: usize) -> std::ops::Range<usize> {
    let start = if first == 0 { 0 } else { ends[first - 1] + 1 };
    start..ends[last]
}

fn write_header(layout: &Layout, marked: bool, record: &[u8], ends: &[usize], output: &mut BytesMut) {
    let start = output.len();
    for piece in &layout.pieces {
        if output.len() > start {
            output.extend_from_slice(b",");
        }
        output.extend_from_slice(&record[span(ends, piece.first, piece.last)]);
    }
    if marked {
        output.extend_from_slice(b",");
        output.extend_from_slice(MARK.as_bytes());
    }
    end_row(start, output);
}

/// Ends a row; one that is a single empty field gets quotes, since readers skip a blank line.
fn end_row(start: usize, output: &mut BytesMut) {
    if output.len() == start {
        output.extend_from_slice(b"\"\"");
    }
    output.extend_from_slice(b"\n");
}

/// Writes one data record.
struct Writer<'a> {
    steps: &'a Steps,
    selections: &'a Selections,
    tally: &'a mut Tally,
    replacer: &'a mut Replacer,
    text: &'a mut Vec<u8>,
    key: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn write(
        &mut self,
        layout: &Layout,
        record: &[u8],
        ends: &[usize],
        output: &mut BytesMut,
    ) -> Result<(), EnforceError> {
        let start = output.len();
        for (at, piece) in layout.pieces.iter().enumerate() {
            if at > 0 {
                output.extend_from_slice(b",");
            }
            let field_start = output.len();
            let field = &record[span(ends, piece.first, piece.last)];
            if piece.change.is_empty() {
                output.extend_from_slice(field);
            } else {
                self.replace(piece, field, output)?;
            }
            if piece.quasi {
                // Commas and quotes are escaped in a field, so that joined fields stay apart.
                self.key.extend_from_slice(&output[field_start..]);
                self.key.push(b',');
            }
        }
        if let Some(mark) = &self.steps.mark {
            output.extend_from_slice(b",");
            output.extend_from_slice(mark.as_bytes());
        }
        end_row(start, output);
        Ok(())
    }

    fn replace(&mut self, piece: &Piece, field: &[u8], output: &mut BytesMut) -> Result<(), EnforceError> {
        let text = scan::text(field, self.text);
        if text.is_empty() {
            // Nothing is known of nobody: an empty value stays empty.
            return Ok(());
        }
        self.replacer.load(text);
        let selected = piece.change.iter().map(|id| self.selections.get(*id));
        self.replacer.apply(self.steps, selected, self.tally)?;
        output.extend_from_slice(self.replacer.text());
        Ok(())
    }
}
