//! Looking inputs up by digest, while the store may be in use or long after.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::line::{Declaration, Line, Lines, MOST_LINE};
use crate::record::day::Day;
use crate::record::error::RecordError;
use crate::record::shelf::days;
use crate::types::Digest;

/// Inputs that are indexed, at 16 bytes each 256 MiB: more than a store of 8 GiB holds.
const MOST_INDEXED: usize = 16 * 1024 * 1024;
/// Days' files that are held open: far below what a process may have.
pub(super) const OPEN_FILES: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// Bytes of a line that are read at first: most inputs fit.
const FIRST_READ: usize = 4096;
/// Bits of a place that are an offset: a file may have 256 TiB.
const OFFSET_BITS: u32 = 48;

/// A store's inputs, indexed by digest. Takes no lock.
pub struct StoredInputs {
    files: Vec<PathBuf>,
    /// The first eight bytes of a digest, and the place of its line: the file above the offset. Sorted.
    index: Vec<(u64, u64)>,
    declarations: HashMap<Digest, Declaration>,
    damaged: Vec<String>,
    open: Mutex<LruCache<usize, Arc<File>>>,
}

/// What looking for an input gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It is there, and it fits its digest.
    Found {
        /// A number of its own among the inputs of the store, below [`StoredInputs::len`].
        number: usize,
        /// Its text.
        input: String,
    },
    /// The store does not hold it.
    Missing,
    /// What the store holds under the digest is something else; `file:byte`.
    Damaged(String),
}

impl StoredInputs {
    /// Reads through the store in a directory; of the days up to and including `last`, `YYYY-MM-DD`, where one is given.
    ///
    /// # Errors
    /// [`RecordError::Io`]; [`RecordError::Corrupt`] when it holds more than can be indexed.
    pub fn open(directory: &Path, last: Option<&str>) -> Result<Self, RecordError> {
        let last = last.and_then(Day::parse);
        let days = days(directory)?.into_iter().map(|(day, _)| day);
        let files: Vec<PathBuf> =
            days.filter(|day| last.is_none_or(|last| *day <= last)).map(|day| day.file(directory)).collect();
        let open = Mutex::new(LruCache::new(OPEN_FILES));
        let mut stored = Self { files, index: Vec::new(), declarations: HashMap::new(), damaged: Vec::new(), open };
        for place in 0..stored.files.len() {
            let path = stored.files[place].clone();
            stored.scan(place as u64, &path)?;
        }
        stored.index.sort_unstable();
        Ok(stored)
    }

    fn scan(&mut self, place: u64, path: &Path) -> Result<(), RecordError> {
        let file = match File::open(path) {
            Ok(file) => file,
            // Its retention ended since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(RecordError::io(path)(error)),
        };
        let mut lines = Lines::new(BufReader::with_capacity(256 * 1024, file));
        while let Some((offset, line)) = lines.next().map_err(RecordError::io(path))? {
            match line {
                Line::Input { digest, .. } => self.index.push((prefix(&digest), place << OFFSET_BITS | offset)),
                Line::Declared(declaration) => {
                    self.declarations.insert(declaration.policy, declaration);
                }
                Line::Damaged => self.damaged.push(format!("{}:{offset}", path.display())),
            }
            if self.index.len() > MOST_INDEXED || self.damaged.len() > MOST_INDEXED / 64 {
                return Err(RecordError::Corrupt(format!(
                    "{} and the days before hold more inputs or damaged lines than can be indexed; choose an earlier end",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// How many inputs it holds, counted once a day.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What a policy read, as far as the store was told.
    pub fn declared(&self, policy: &Digest) -> Option<&Declaration> {
        self.declarations.get(policy)
    }

    /// The lines that are none of this store, as `file:byte`.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// The input with this digest.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn find(&self, digest: &Digest) -> Result<Lookup, RecordError> {
        let prefix = prefix(digest);
        let first = self.index.partition_point(|(other, _)| *other < prefix);
        let mut damaged = None;
        for (_, place) in self.index[first..].iter().take_while(|(other, _)| *other == prefix) {
            let (number, offset) = ((place >> OFFSET_BITS) as usize, place & ((1 << OFFSET_BITS) - 1));
            let path = &self.files[number];
            let Some(line) = self.line(number, offset).map_err(RecordError::io(path))? else { continue };
            let Line::Input { digest: claimed, input } = Line::read(&line) else { continue };
            if claimed != *digest {
                continue;
            }
            match std::str::from_utf8(input) {
                Ok(input) if Digest::of(input.as_bytes()) == *digest => {
                    return Ok(Lookup::Found { number: first, input: input.to_owned() });
                }
                _ => damaged = Some(format!("{}:{offset}", path.display())),
            }
        }
        Ok(damaged.map_or(Lookup::Missing, Lookup::Damaged))
    }

    /// The line at a place, without its line feed; `None` when the file went or was cut since it was indexed.
    fn line(&self, number: usize, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let file = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            match open.get(&number) {
                Some(file) => Arc::clone(file),
                None => match File::open(&self.files[number]) {
                    Ok(file) => Arc::clone(open.get_or_insert(number, || Arc::new(file))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                },
            }
        };
        let mut line = Vec::new();
        let mut size = FIRST_READ;
        loop {
            let had = line.len();
            line.resize(size, 0);
            let read = file.read_at(&mut line[had..], offset + had as u64)?;
            line.truncate(had + read);
            if let Some(end) = memchr::memchr(b'\n', &line[had..]) {
                line.truncate(had + end);
                return Ok(Some(line));
            }
            if read == 0 || line.len() > MOST_LINE {
                return Ok(None);
            }
            if line.len() == size {
                size *= 4;
            }
        }
    }
}

fn prefix(digest: &Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
