//! Taking one subject out of every day's file.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use serde::Serialize;

use super::{Line, MOST_LINE};
use crate::record::error::RecordError;
use crate::record::shelf::{Shelf, aside};

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Passes of the subject.
    pub passes: u64,
    /// Lines that could not be read, and so might have been the subject's.
    pub unreadable: u64,
    /// Days whose files were written anew.
    pub days: u64,
}

/// Writes every day's file anew that holds a line of `subject`. After a crash each is the old one or the new one.
pub(super) fn forget(shelf: &mut Shelf, subject: &str) -> Result<Forgotten, RecordError> {
    let mut forgotten = Forgotten::default();
    for day in shelf.days() {
        let path = shelf.file(day);
        let before = forgotten;
        let kept = match rewrite(&path, subject, &mut forgotten) {
            Ok(kept) => kept,
            // A day may go by hand at any time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(RecordError::io(&path)(error)),
        };
        if let Some(bytes) = kept {
            forgotten.days += 1;
            shelf.note(day, bytes);
        } else {
            forgotten = before;
        }
    }
    // Also when nothing was found: a rename before this one may have been cut off from its sync.
    let directory = shelf.directory();
    File::open(directory).and_then(|handle| handle.sync_all()).map_err(RecordError::io(directory))?;
    Ok(forgotten)
}

/// The bytes that are left, when there was something to forget.
fn rewrite(path: &Path, subject: &str, forgotten: &mut Forgotten) -> io::Result<Option<u64>> {
    let mut lines = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let draft = path.with_extension("ndjson.tmp");
    let mut out = BufWriter::with_capacity(256 * 1024, aside(&draft)?);
    let (mut line, mut bytes, mut found) = (Vec::new(), 0, false);
    loop {
        line.clear();
        (&mut lines).take(MOST_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        match line.strip_suffix(b"\n").and_then(Line::read) {
            Some(read) if read.sub == subject => forgotten.passes += 1,
            Some(_) => {
                out.write_all(&line)?;
                bytes += line.len() as u64;
                continue;
            }
            None => {
                if line.last() != Some(&b'\n') {
                    lines.skip_until(b'\n')?;
                }
                forgotten.unreadable += 1;
            }
        }
        found = true;
    }
    if !found {
        drop(out);
        std::fs::remove_file(&draft)?;
        return Ok(None);
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    Ok(Some(bytes))
}
