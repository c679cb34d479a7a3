//! Carries out a plan on JSON and NDJSON as a stream: a reader of tokens here, the plan's view of them in `verdict`.
//!
//! Nothing of the document is kept but the open containers, at most [`MAX_DEPTH`], and one name or one value that is to
//! be replaced, at most [`MAX_RECORD`] bytes. Removed parts are read with the same care as the rest: what is not JSON
//! is refused even where nobody would have seen it.

mod text;
mod verdict;

use std::sync::Arc;

use bytes::BytesMut;

#[cfg(test)]
pub(super) use self::text::unescape;
use self::text::{Text, Utf8};
use self::verdict::Walk;
use super::csv::append;
use super::plan::Steps;
use super::select::Selections;
use super::{ByteOrderMark, CarriedOut, EnforceError, MAX_DEPTH, MAX_RECORD, Position};

/// A JSON or NDJSON payload on its way through.
#[derive(Debug)]
pub(super) struct JsonFilter {
    mark: ByteOrderMark,
    utf8: Utf8,
    state: State,
    /// Whether each line is a document of its own.
    lines: bool,
    /// The string that is being read.
    text: Text,
    /// A name, number, literal or a string to be replaced, as far as it was read; with its quotes.
    held: Vec<u8>,
    /// Bytes of the payload before the present piece.
    offset: u64,
    /// Bytes of the present step before the place that a fault is laid to, so that it does not depend on the cuts.
    within: usize,
    walk: Walk,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value; after `[`, also the end.
    Value {
        or_end: bool,
    },
    /// A member's name; after `{`, also the end.
    Name {
        or_end: bool,
    },
    /// The rest of a member's name.
    InName,
    Colon,
    /// The rest of a string; whether it is held back to be replaced.
    InText {
        held: bool,
    },
    /// The rest of a number or a literal.
    InScalar,
    /// A comma or the end of the container.
    After,
    /// The document is complete.
    Done,
}

/// A fault, before it is given its place.
#[derive(Debug)]
enum Fault {
    Malformed(&'static str),
    Limit(&'static str, usize),
    Other(EnforceError),
}

impl From<EnforceError> for Fault {
    fn from(error: EnforceError) -> Self {
        Self::Other(error)
    }
}

impl JsonFilter {
    pub(super) fn new(steps: Arc<Steps>, selections: Selections, lines: bool) -> Self {
        Self {
            mark: ByteOrderMark::default(),
            utf8: Utf8::default(),
            state: State::Value { or_end: false },
            lines,
            text: Text::START,
            held: Vec::new(),
            offset: 0,
            within: 0,
            walk: Walk::new(steps, selections, lines),
        }
    }

    pub(super) fn push(&mut self, input: &[u8], output: &mut BytesMut) -> Result<(), EnforceError> {
        let (before, rest) = self.mark.strip(input);
        // Where the records are grouped, they wait; otherwise they leave as they are read.
        let mut waiting = self.walk.groups.as_mut().map(|groups| std::mem::take(&mut groups.waiting));
        let target = waiting.as_mut().unwrap_or(output);
        // What was taken for a mark was counted then, and is counted again as it is read.
        self.offset -= before.len() as u64;
        self.read(before, target)?;
        self.offset += (input.len() - rest.len()) as u64;
        self.read(rest, target)?;
        if let (Some(groups), Some(waiting)) = (&mut self.walk.groups, waiting) {
            groups.check(waiting.len())?;
            groups.waiting = waiting;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, output: &mut BytesMut) -> Result<(), EnforceError> {
        let early = EnforceError::Malformed { what: "it ends too early", at: Position::Byte(self.offset) };
        if !self.mark.finish().is_empty() || !self.utf8.is_whole() {
            return Err(early);
        }
        if self.state == State::InScalar {
            // Only the end of the payload can end a number that is the whole document.
            self.push(b"\n", output)?;
        }
        if self.state != State::Done && !(self.lines && self.walk.depth() == 0 && self.expects_value()) {
            return Err(early);
        }
        if let Some(waiting) = self.walk.finish()? {
            append(output, waiting);
        }
        Ok(())
    }

    pub(super) fn carried(&self) -> Vec<CarriedOut> {
        self.walk.carried()
    }

    pub(super) fn buffered(&self) -> usize {
        self.held.len() + self.walk.buffered()
    }

    fn expects_value(&self) -> bool {
        matches!(self.state, State::Value { .. })
    }

    fn read(&mut self, input: &[u8], output: &mut BytesMut) -> Result<(), EnforceError> {
        let good = self.utf8.check(input).err();
        let text = &input[..good.unwrap_or(input.len())];
        let mut at = 0;
        while at < text.len() {
            self.within = 0;
            match self.step(&text[at..], output) {
                Ok(read) => at += read,
                Err(fault) => return Err(self.place(fault, at + self.within)),
            }
        }
        if good.is_some() {
            return Err(self.place(Fault::Malformed("it is not UTF-8"), at));
        }
        self.offset += input.len() as u64;
        Ok(())
    }

    fn place(&self, fault: Fault, at: usize) -> EnforceError {
        let at = Position::Byte(self.offset + at as u64);
        match fault {
            Fault::Malformed(what) => EnforceError::Malformed { what, at },
            Fault::Limit(unit, limit) => EnforceError::PayloadLimit { unit, limit, at },
            Fault::Other(error) => error,
        }
    }

    /// Reads one token or a part of one; `input` is not empty. Returns the bytes read.
    fn step(&mut self, input: &[u8], output: &mut BytesMut) -> Result<usize, Fault> {
        match self.state {
            State::InName => return self.name(input, output),
            State::InText { held } => return self.string(input, held, output),
            State::InScalar => return self.scalar(input, output),
            _ => {}
        }
        let byte = input[0];
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            self.white_space(byte)?;
            return Ok(1);
        }
        match (self.state, byte) {
            (State::Value { .. }, b'{') => self.open(true, output)?,
            (State::Value { .. }, b'[') => self.open(false, output)?,
            (State::Value { or_end: true }, b']') | (State::Name { or_end: true }, b'}') => {
                self.close(byte == b'}', output)?;
            }
            (State::Value { .. }, b'"') => {
                let held = self.walk.begin_scalar(true, output)?;
                self.keep_text(b"\"", held, output)?;
                self.text = Text::START;
                self.state = State::InText { held };
            }
            (State::Value { .. }, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.walk.begin_scalar(false, output)?;
                self.held.push(byte);
                self.state = State::InScalar;
            }
            (State::Name { .. }, b'"') => {
                self.held.push(byte);
                self.text = Text::START;
                self.state = State::InName;
            }
            (State::Colon, b':') => self.state = State::Value { or_end: false },
            (State::After, b',') => {
                let object = self.walk.in_object();
                self.state = if object { State::Name { or_end: false } } else { State::Value { or_end: false } };
            }
            (State::After, b'}' | b']') if self.walk.in_object() == (byte == b'}') => {
                self.close(byte == b'}', output)?;
            }
            (State::Done, _) => return Err(Fault::Malformed("something follows the end")),
            _ => return Err(Fault::Malformed("it is not JSON")),
        }
        Ok(1)
    }

    /// In NDJSON a line feed ends the line, and may stand nowhere inside its value.
    fn white_space(&mut self, byte: u8) -> Result<(), Fault> {
        if self.lines && byte == b'\n' {
            if self.walk.depth() > 0 {
                return Err(Fault::Malformed("a line ends inside a value"));
            }
            self.state = State::Value { or_end: false };
        }
        Ok(())
    }

    fn open(&mut self, object: bool, output: &mut BytesMut) -> Result<(), Fault> {
        if self.walk.depth() == MAX_DEPTH {
            return Err(Fault::Limit("levels of nesting", MAX_DEPTH));
        }
        self.walk.open(object, output)?;
        self.state = if object { State::Name { or_end: true } } else { State::Value { or_end: true } };
        Ok(())
    }

    fn close(&mut self, object: bool, output: &mut BytesMut) -> Result<(), Fault> {
        self.walk.close(object, output)?;
        self.end_value();
        Ok(())
    }

    fn end_value(&mut self) {
        self.state = if self.walk.depth() == 0 { State::Done } else { State::After };
    }

    fn name(&mut self, input: &[u8], output: &mut BytesMut) -> Result<usize, Fault> {
        let (read, closed) = self.scan(input)?;
        self.hold(&input[..read])?;
        if closed {
            self.within = read - 1;
            self.walk.name(&self.held, self.text.escaped, output)?;
            self.held.clear();
            self.state = State::Colon;
        }
        Ok(read)
    }

    fn string(&mut self, input: &[u8], held: bool, output: &mut BytesMut) -> Result<usize, Fault> {
        let (read, closed) = self.scan(input)?;
        self.keep_text(&input[..read], held, output)?;
        if closed {
            self.within = read - 1;
            let replace = held.then_some(&self.held[..]);
            self.walk.end_string(replace, self.text.escaped, output)?;
            self.held.clear();
            self.end_value();
        }
        Ok(read)
    }

    fn scan(&mut self, input: &[u8]) -> Result<(usize, bool), Fault> {
        self.text.scan(input).map_err(|(at, what)| {
            self.within = at;
            Fault::Malformed(what)
        })
    }

    fn keep_text(&mut self, bytes: &[u8], held: bool, output: &mut BytesMut) -> Result<(), Fault> {
        if held {
            return self.hold(bytes);
        }
        self.walk.write(bytes, output);
        Ok(())
    }

    fn scalar(&mut self, input: &[u8], output: &mut BytesMut) -> Result<usize, Fault> {
        let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
        let read = input.iter().take_while(|b| part(b)).count();
        self.hold(&input[..read])?;
        if read < input.len() {
            self.within = read;
            if !text::is_scalar(&self.held) {
                return Err(Fault::Malformed("it is not JSON"));
            }
            self.walk.end_scalar(&self.held, output)?;
            self.held.clear();
            self.end_value();
        }
        Ok(read)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.held.len() + bytes.len() > MAX_RECORD {
            self.within = MAX_RECORD - self.held.len();
            return Err(Fault::Limit("bytes in a name or a value", MAX_RECORD));
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}
