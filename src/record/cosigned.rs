//! The log's checkpoints with the cosignatures they got: `cosigned/YYYY-MM-DD.jsonl`, one JSON object a line, append only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::Timestamp;

/// The directory within the log's.
pub const COSIGNED: &str = "cosigned";
/// The longest line that is read back: a note of sixteen large signatures, as JSON.
const MOST_LINE: u64 = 256 * 1024;

/// A checkpoint with the cosignatures that it got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosigned {
    /// When it was written down, RFC 3339.
    pub at: String,
    /// Entries that it covers.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// The files, open for writing. Its calls block on the disk.
pub struct CosignedFiles {
    directory: PathBuf,
    /// The file of the last line's day, and its length; none after a write that failed.
    open: Option<(String, File, u64)>,
}

impl CosignedFiles {
    /// Opens the files in a log's directory, and gives the last line. One that a crash tore is cut off.
    ///
    /// # Errors
    /// When a file cannot be read, made or cut.
    pub fn open(log: &Path) -> io::Result<(Self, Option<Arc<Cosigned>>)> {
        let directory = log.join(COSIGNED);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        File::open(log)?.sync_all()?;
        let mut days: Vec<String> = Vec::new();
        for name in std::fs::read_dir(&directory)? {
            days.extend(name?.file_name().into_string().ok().filter(|name| is_day(name)));
        }
        days.sort();
        let mut files = Self { directory, open: None };
        let mut last = None;
        // A day's first line may be the one that was torn: then the last is another day's.
        for day in days.iter().rev() {
            let (mut file, length) = files.day(day)?;
            last = last_line(&mut file, length)?.map(Arc::new);
            files.open.get_or_insert_with(|| (day.clone(), file, length));
            if last.is_some() {
                break;
            }
        }
        Ok((files, last))
    }

    /// Writes one line and makes it durable.
    ///
    /// # Errors
    /// When that fails; what a failed write left is cut off before the next.
    pub fn append(&mut self, at: Timestamp, size: u64, note: &str) -> io::Result<Arc<Cosigned>> {
        let day = format!("{}.jsonl", at.date());
        let line = Cosigned { at: at.to_string(), size, note: note.to_owned() };
        let text = serde_json::to_string(&line)? + "\n";
        let (file, length) = match self.open.take() {
            Some((open, file, length)) if open == day => (file, length),
            _ => self.day(&day)?,
        };
        let written = Self::write(file, length, text.as_bytes())?;
        self.open = Some((day, written, length + text.len() as u64));
        Ok(Arc::new(line))
    }

    fn write(mut file: File, length: u64, bytes: &[u8]) -> io::Result<File> {
        file.seek(SeekFrom::Start(length))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(file)
    }

    /// A day's file, made if need be, and how long it is once a torn line is cut off.
    fn day(&self, day: &str) -> io::Result<(File, u64)> {
        let path = self.directory.join(day);
        let is_new = !path.exists();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        if is_new {
            File::open(&self.directory)?.sync_all()?;
        }
        let found = file.metadata()?.len();
        let length = end_of_lines(&mut file, found)?;
        if length < found {
            tracing::warn!(file = %path.display(), bytes = found - length, "cut a torn line off");
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok((file, length))
    }
}

/// Whether a file is one of a day's: `YYYY-MM-DD.jsonl`.
pub fn is_day(name: &str) -> bool {
    let shape = |at: usize, byte: u8| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    name.strip_suffix(".jsonl")
        .is_some_and(|day| day.len() == 10 && day.bytes().enumerate().all(|(at, byte)| shape(at, byte)))
}

/// Where the last whole line of a file of `length` bytes ends.
pub fn end_of_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let start = length.saturating_sub(MOST_LINE);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(length - start).read_to_end(&mut tail)?;
    match memchr::memrchr(b'\n', &tail) {
        Some(at) => Ok(start + at as u64 + 1),
        None if start == 0 => Ok(0),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the end of the file is no line")),
    }
}

fn last_line(file: &mut File, length: u64) -> io::Result<Option<Cosigned>> {
    let Some(before) = length.checked_sub(1) else { return Ok(None) };
    let start = end_of_lines(file, before)?;
    let mut line = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(before - start).read_to_end(&mut line)?;
    let line = serde_json::from_slice(&line);
    line.map(Some).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the last line is no cosigned checkpoint"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_795_251_600 + seconds)
    }

    #[test]
    fn the_last_line_is_found_again_on_any_day() {
        let log = tempfile::tempdir().unwrap();
        let (mut files, last) = CosignedFiles::open(log.path()).unwrap();
        assert_eq!(last, None);
        let one = files.append(at(0), 3, "a\nb\n").unwrap();
        let two = files.append(at(86_400), 4, "c\n").unwrap();
        let (mut files, last) = CosignedFiles::open(log.path()).unwrap();
        assert_eq!(last, Some(Arc::clone(&two)));
        files.append(at(86_401), 5, "d\n").unwrap();
        let lines = |day: &str| std::fs::read_to_string(log.path().join(COSIGNED).join(day)).unwrap();
        assert_eq!(lines("2026-11-21.jsonl").lines().count(), 1);
        assert_eq!(lines("2026-11-22.jsonl").lines().count(), 2);
        assert_eq!(serde_json::from_str::<Cosigned>(&lines("2026-11-21.jsonl")).unwrap(), *one);
    }

    #[test]
    fn a_line_torn_at_any_byte_is_cut_off_and_nothing_else() {
        let log = tempfile::tempdir().unwrap();
        let (mut files, _) = CosignedFiles::open(log.path()).unwrap();
        let yesterday = files.append(at(0), 1, "a\n").unwrap();
        let path = log.path().join(COSIGNED).join("2026-11-22.jsonl");
        let first = files.append(at(86_400), 2, "b\n").unwrap();
        let whole = std::fs::read(&path).unwrap().len();
        let second = files.append(at(86_401), 3, "c\n").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for torn in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..torn]).unwrap();
            let (mut files, last) = CosignedFiles::open(log.path()).unwrap();
            let (kept, length) = match torn {
                torn if torn == bytes.len() => (&second, torn),
                torn if torn >= whole => (&first, whole),
                _ => (&yesterday, 0),
            };
            assert_eq!(last.as_ref(), Some(kept), "torn at {torn}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes[..length], "torn at {torn}");
            let next = files.append(at(86_402), 9, "d\n").unwrap();
            let (_, last) = CosignedFiles::open(log.path()).unwrap();
            assert_eq!(last, Some(next));
        }
    }

    #[test]
    fn only_days_are_names() {
        assert!(is_day("2026-11-21.jsonl"));
        for other in
            ["2026-11-21", "2026-11-21.json", "../2026-1.jsonl", "2026-11-2a.jsonl", ".jsonl", "2026/11/21.jsonl"]
        {
            assert!(!is_day(other), "{other}");
        }
    }
}
