//! Opening commitments, while the store may be in use or long after.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::{Line, MOST_LINE};
use crate::record::error::RecordError;
use crate::record::shelf::days;
use crate::types::Commitment;

/// Passes that are held at once, at some 150 bytes each 600 MiB: more than a store of 1 GiB holds.
const MOST_HELD: usize = 4 * 1024 * 1024;

/// The subjects of a store, by commitment. Takes no lock.
pub struct Subjects(HashMap<Commitment, Box<str>>);

impl Subjects {
    /// Reads through the store in a directory.
    ///
    /// # Errors
    /// [`RecordError::Io`]; [`RecordError::Corrupt`] when it holds more than can be held.
    pub fn open(directory: &Path) -> Result<Self, RecordError> {
        let mut subjects = HashMap::new();
        for (day, _) in days(directory)? {
            let path = day.file(directory);
            let file = match File::open(&path) {
                Ok(file) => file,
                // Its retention ended since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(RecordError::io(&path)(error)),
            };
            let mut lines = BufReader::with_capacity(256 * 1024, file);
            let mut line = Vec::new();
            loop {
                line.clear();
                (&mut lines).take(MOST_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(RecordError::io(&path))?;
                if line.is_empty() {
                    break;
                }
                // A line that does not open its own commitment names nobody.
                if let Some(read) = line.strip_suffix(b"\n").and_then(Line::read) {
                    subjects.insert(read.subject, read.sub.into());
                }
                if subjects.len() > MOST_HELD {
                    let what = format!("{} and the days before hold more passes than can be held", path.display());
                    return Err(RecordError::Corrupt(what));
                }
            }
        }
        Ok(Self(subjects))
    }

    /// Whom a commitment names; `None` when that was forgotten, or never kept.
    pub fn name(&self, commitment: &Commitment) -> Option<&str> {
        self.0.get(commitment).map(Box::as_ref)
    }
}
