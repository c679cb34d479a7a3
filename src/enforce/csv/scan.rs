//! Finds where CSV fields and records end (RFC 4180), without copying and however the input is cut.
//!
//! Stricter than readers usually are. A lenient reader finds some meaning in stray quotes, and another reader finds
//! another; between the two, a value moves from a column that was removed into one that was kept.

use memchr::memchr;

use crate::enforce::MAX_COLUMNS;

/// Why the input is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanError {
    /// It is not CSV.
    Malformed(&'static str),
    /// A record has more than [`MAX_COLUMNS`] fields.
    TooManyColumns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote inside a quoted field: the field ends, or the quote is the first of two.
    QuoteSeen,
    /// After a carriage return outside quotes: a line feed must follow.
    ReturnSeen,
}

/// Where the present record's fields end.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// End of each field, from the start of the record; the next field starts one byte later.
    pub(super) ends: Vec<usize>,
}

/// Bytes that end a run of plain text.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    table[b',' as usize] = true;
    table[b'\n' as usize] = true;
    table[b'\r' as usize] = true;
    table[b'"' as usize] = true;
    table
};

impl Scanner {
    pub(super) fn new() -> Self {
        Self { state: State::FieldStart, ends: Vec::new() }
    }

    /// Whether a record has begun and not ended.
    pub(super) fn is_amid(&self) -> bool {
        self.state != State::FieldStart || !self.ends.is_empty()
    }

    /// Reads on; `base` is how many bytes of the record came before `bytes`. Returns the bytes read when the record
    /// ends, its line end included.
    pub(super) fn scan(&mut self, bytes: &[u8], base: usize) -> Result<Option<usize>, ScanError> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::FieldStart if bytes[at] == b'"' => {
                    at += 1;
                    self.state = State::Quoted;
                }
                State::FieldStart | State::Plain => {
                    self.state = State::Plain;
                    while at < bytes.len() && !SPECIAL[usize::from(bytes[at])] {
                        at += 1;
                    }
                    if at < bytes.len() {
                        if bytes[at] == b'"' {
                            return Err(ScanError::Malformed("a quote stands inside an unquoted field"));
                        }
                        at += 1;
                        if self.end_field(bytes[at - 1], base + at - 1)? {
                            return Ok(Some(at));
                        }
                    }
                }
                State::Quoted => match memchr(b'"', &bytes[at..]) {
                    Some(length) => {
                        at += length + 1;
                        self.state = State::QuoteSeen;
                    }
                    None => at = bytes.len(),
                },
                State::QuoteSeen => {
                    let byte = bytes[at];
                    at += 1;
                    if byte == b'"' {
                        self.state = State::Quoted;
                    } else if !SPECIAL[usize::from(byte)] {
                        return Err(ScanError::Malformed("text follows a closing quote"));
                    } else if self.end_field(byte, base + at - 1)? {
                        return Ok(Some(at));
                    }
                }
                State::ReturnSeen => {
                    if bytes[at] != b'\n' {
                        return Err(ScanError::Malformed("a carriage return stands alone outside quotes"));
                    }
                    self.state = State::FieldStart;
                    return Ok(Some(at + 1));
                }
            }
        }
        Ok(None)
    }

    /// The input ended after `length` bytes of a record: its last field ends too.
    pub(super) fn finish(&mut self, length: usize) -> Result<(), ScanError> {
        match self.state {
            State::Quoted => return Err(ScanError::Malformed("a quoted field is not closed")),
            State::ReturnSeen => return Err(ScanError::Malformed("a carriage return stands alone outside quotes")),
            State::FieldStart | State::Plain | State::QuoteSeen => {}
        }
        self.push_end(length)?;
        self.state = State::FieldStart;
        Ok(())
    }

    /// A field ends before the special byte `by`; true when the record ends with it.
    fn end_field(&mut self, by: u8, end: usize) -> Result<bool, ScanError> {
        self.push_end(end)?;
        self.state = if by == b'\r' { State::ReturnSeen } else { State::FieldStart };
        Ok(by == b'\n')
    }

    fn push_end(&mut self, end: usize) -> Result<(), ScanError> {
        if self.ends.len() == MAX_COLUMNS {
            return Err(ScanError::TooManyColumns);
        }
        self.ends.push(end);
        Ok(())
    }
}

/// The text of a field: as it stands, or without its quotes, in `buffer` where quotes inside it were doubled.
pub(super) fn text<'a>(field: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let [b'"', inner @ .., b'"'] = field else { return field };
    let Some(first) = memchr(b'"', inner) else { return inner };
    buffer.clear();
    let mut rest = inner;
    let mut next = Some(first);
    while let Some(quote) = next {
        // The scanner has seen that quotes come in pairs: keep the first of them, skip the second.
        buffer.extend_from_slice(&rest[..=quote]);
        rest = rest.get(quote + 2..).unwrap_or_default();
        next = memchr(b'"', rest);
    }
    buffer.extend_from_slice(rest);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: Result<&[&[&str]], &'static str>) {
        for cut in 0..=input.len() {
            let (mut scanner, mut records) = (Scanner::new(), Vec::new());
            let mut record = Vec::new();
            let read = |scanner: &mut Scanner, record: &mut Vec<u8>| {
                let mut start = 0;
                let fields = scanner.ends.drain(..).map(|end| {
                    let field = text(&record[start..end], &mut Vec::new()).to_vec();
                    start = end + 1;
                    String::from_utf8(field).unwrap()
                });
                let fields: Vec<String> = fields.collect();
                record.clear();
                fields
            };
            let mut run = || {
                for mut piece in [&input.as_bytes()[..cut], &input.as_bytes()[cut..]] {
                    while let Some(length) = scanner.scan(piece, record.len())? {
                        record.extend_from_slice(&piece[..length]);
                        records.push(read(&mut scanner, &mut record));
                        piece = &piece[length..];
                    }
                    record.extend_from_slice(piece);
                }
                if scanner.is_amid() {
                    scanner.finish(record.len())?;
                    records.push(read(&mut scanner, &mut record));
                }
                Ok(())
            };
            let result = run().map(|()| records.clone());
            let expected = expected
                .map(|records| records.iter().map(|r| r.iter().map(|f| (*f).to_owned()).collect()).collect())
                .map_err(ScanError::Malformed);
            assert_eq!(result, expected, "{input:?} cut at {cut}");
        }
    }

    #[test]
    fn records_and_fields_are_found_across_cuts() {
        check("a,b\r\nc,\n", Ok(&[&["a", "b"], &["c", ""]]));
        check("a,\"b\"\"\n,c\"\n", Ok(&[&["a", "b\"\n,c"]]));
        check("\"\"\"\"", Ok(&[&["\""]]));
        check("\"\",x", Ok(&[&["", "x"]]));
        check("a\n\nb,", Ok(&[&["a"], &[""], &["b", ""]]));
        check("", Ok(&[]));
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        check("a\"b\n", Err("a quote stands inside an unquoted field"));
        check("\"a\"b\n", Err("text follows a closing quote"));
        check("\"a,b\n", Err("a quoted field is not closed"));
        check("a\rb\n", Err("a carriage return stands alone outside quotes"));
        check("a\r", Err("a carriage return stands alone outside quotes"));
    }
}
