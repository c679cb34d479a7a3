//! Enforce: the payload that leaves is the payload the policy allowed.
//!
//! A [`Plan`] understands a decision's obligations; [`Plan::open`] gives a [`Filter`] that carries them out on a stream
//! of JSON, NDJSON or CSV; [`FilteredBody`] puts the filter into an HTTP body, digests what goes in and what comes out,
//! and says at the end what was done. An obligation that is unknown, or that cannot be carried out on a payload, is an
//! error: nothing passes that was not understood.
//!
//! What the formats mean:
//! - **JSON** (RFC 8259; also `+json`): a record is each element of the top-level array, or the top-level object. **NDJSON**:
//!   a record is each line. `keep_only` keeps the named members of each record, with all that they hold. A bare name in
//!   the other obligations matches a member at any depth; a JSON pointer matches a path from the document's root (in
//!   NDJSON, from the line's), and `*` in it any one step. Untouched values keep their exact bytes; insignificant white
//!   space goes. Text is UTF-8, and lone surrogates are refused (RFC 7493, section 2.1). In one object, a name that is
//!   kept, replaced or grouped by may stand once; of a name that is redacted, every member goes.
//! - **CSV** (RFC 4180, comma, a header row): untouched fields keep their exact bytes, line ends become LF, a byte-order
//!   mark and blank lines go. Quotes inside unquoted fields, text after a closing quote and lone carriage returns are
//!   refused rather than guessed at, since a guess may put one column's values into another.

mod body;
mod carried;
mod cleared;
mod csv;
mod error;
mod generalise;
mod json;
mod k_anonymity;
mod plan;
mod pseudonym;
mod select;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::BytesMut;

pub use body::{BodyError, CHUNK, Ended, FilteredBody, Summary};
pub use carried::CarriedOut;
pub use cleared::Cleared;
pub use error::{EnforceError, Position};
pub use plan::{Context, MARK, Plan};
pub use pseudonym::{MIN_SECRET, PSEUDONYM_LENGTH, PseudonymKeys};

use plan::Steps;
use select::Selections;

/// The most bytes of a CSV record, a JSON member's name, or a JSON value that is to be replaced: what must be held at
/// once. Real records are a thousand times smaller; a larger one is a fault or an attack on memory.
pub const MAX_RECORD: usize = 1 << 20;

/// The deepest nesting of JSON. Real documents stay under twenty.
pub const MAX_DEPTH: usize = 64;

/// The most columns of CSV.
pub const MAX_COLUMNS: usize = 4096;

/// The most bytes that k-anonymity may hold, since it must see the whole payload before any of it leaves.
pub const MAX_GROUPED: usize = 16 << 20;

/// The most fields that the obligations of one decision may name together.
pub const MAX_SELECTORS: usize = 4096;

/// The longest `Sekisho-Obligations` header, in bytes: well under the 8 KiB that HTTP servers commonly take in all.
pub const MAX_CONVEYED: usize = 4096;

/// A format that obligations can be carried out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    JsonLines,
    Csv,
}

impl Format {
    /// Chooses by media type (RFC 9110, section 8.3); the only encodings are none and `identity`.
    fn of(content_type: Option<&str>, content_encoding: Option<&str>) -> Result<Self, EnforceError> {
        let refuse = |why: &str| Err(EnforceError::NotPossible(why.into()));
        if content_encoding.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) {
            return refuse("it is encoded");
        }
        let Some(content_type) = content_type else { return refuse("it has no content type") };
        let mut parts = content_type.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        for parameter in parts.filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim_matches('"').to_ascii_lowercase();
            match name.to_ascii_lowercase().as_str() {
                "charset" if value != "utf-8" && value != "us-ascii" => return refuse("its charset is not UTF-8"),
                "header" if value != "present" => return refuse("its CSV has no header row"),
                _ => {}
            }
        }
        match media.as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::JsonLines),
            "text/csv" => Ok(Self::Csv),
            media if media.starts_with("application/") && media.ends_with("+json") => Ok(Self::Json),
            _ => refuse("its content type is neither JSON, NDJSON nor CSV"),
        }
    }
}

/// Carries out a plan on one payload, piece by piece.
///
/// After an error the filter is spent: it gives nothing more, and every later call fails.
#[derive(Debug)]
pub struct Filter {
    reader: Reader,
    state: FilterState,
}

#[derive(Debug)]
enum Reader {
    Json(Box<json::JsonFilter>),
    Csv(Box<csv::CsvFilter>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterState {
    Open,
    Spent,
}

impl Filter {
    fn new(format: Format, steps: Arc<Steps>, selections: Selections) -> Self {
        let reader = match format {
            Format::Json => Reader::Json(Box::new(json::JsonFilter::new(steps, selections, false))),
            Format::JsonLines => Reader::Json(Box::new(json::JsonFilter::new(steps, selections, true))),
            Format::Csv => Reader::Csv(Box::new(csv::CsvFilter::new(steps, selections))),
        };
        Self { reader, state: FilterState::Open }
    }

    /// Takes the next bytes of the payload and appends to `output` what may leave of them.
    ///
    /// # Errors
    /// Any but [`EnforceError::Unsupported`]. What was appended by the failing call must not leave.
    pub fn push(&mut self, input: &[u8], output: &mut BytesMut) -> Result<(), EnforceError> {
        self.run(|reader| match reader {
            Reader::Json(json) => json.push(input, output),
            Reader::Csv(csv) => csv.push(input, output),
        })
    }

    /// The payload ended: appends what was still held. The filter is spent afterwards; [`Filter::carried`] remains.
    ///
    /// # Errors
    /// As for [`Filter::push`]; also when the payload ends in the middle.
    pub fn finish(&mut self, output: &mut BytesMut) -> Result<(), EnforceError> {
        self.run(|reader| match reader {
            Reader::Json(json) => json.finish(output),
            Reader::Csv(csv) => csv.finish(output),
        })?;
        self.state = FilterState::Spent;
        Ok(())
    }

    /// What was done so far: one entry for each obligation that changes the payload, in the order of their execution.
    pub fn carried(&self) -> Vec<CarriedOut> {
        match &self.reader {
            Reader::Json(json) => json.carried(),
            Reader::Csv(csv) => csv.carried(),
        }
    }

    /// Bytes of the payload that the filter holds back now. Bounded by a small multiple of [`MAX_RECORD`], or by
    /// [`MAX_GROUPED`] more where k-anonymity is demanded.
    pub fn buffered(&self) -> usize {
        match &self.reader {
            Reader::Json(json) => json.buffered(),
            Reader::Csv(csv) => csv.buffered(),
        }
    }

    fn run(&mut self, work: impl FnOnce(&mut Reader) -> Result<(), EnforceError>) -> Result<(), EnforceError> {
        if self.state == FilterState::Spent {
            return Err(EnforceError::Internal("a filter was used after its end"));
        }
        let result = work(&mut self.reader);
        if result.is_err() {
            self.state = FilterState::Spent;
        }
        result
    }
}

/// Takes a UTF-8 byte-order mark (EF BB BF) off the start of a payload, however it is cut.
#[derive(Debug, Default)]
struct ByteOrderMark {
    seen: usize,
    over: bool,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl ByteOrderMark {
    /// What to read: bytes that were taken for a mark and were none, then the rest of `input`.
    fn strip<'a>(&mut self, input: &'a [u8]) -> (&'static [u8], &'a [u8]) {
        if self.over || input.is_empty() {
            return (&[], input);
        }
        let due = &BYTE_ORDER_MARK[self.seen..];
        let same = due.iter().zip(input).take_while(|(a, b)| a == b).count();
        let before = self.seen;
        self.seen += same;
        if self.seen == BYTE_ORDER_MARK.len() {
            self.over = true;
            (&[], &input[same..])
        } else if same == input.len() {
            (&[], &[])
        } else {
            self.over = true;
            (&BYTE_ORDER_MARK[..before], input)
        }
    }

    /// Bytes taken for the start of a mark that never came.
    fn finish(&mut self) -> &'static [u8] {
        let over = std::mem::replace(&mut self.over, true);
        if over { &[] } else { &BYTE_ORDER_MARK[..self.seen] }
    }
}
