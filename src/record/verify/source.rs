//! Where a log that is to be verified lies: a directory, or anything else that gives its files by path.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use crate::record::tiles::{LogDirectory, TileSource};

/// A log as somebody holds it. [`TileSource::read`] may cut a partial tile from a wider one; the rest of this may not.
pub trait Source: TileSource + Sync {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// A file exactly as it is, of at most `most` bytes.
    ///
    /// # Errors
    /// `NotFound` when there is none, `PermissionDenied` when it is not for us, `InvalidData` when it is longer.
    fn whole(&self, path: &str, most: u64) -> io::Result<Vec<u8>>;

    /// A file of lines, however long.
    ///
    /// # Errors
    /// As [`Source::whole`].
    fn lines(&self, path: &str) -> io::Result<Box<dyn BufRead + '_>>;

    /// The directory, where it is one: then it can be listed, and holds what is not served.
    fn directory(&self) -> Option<&Path>;
}

/// A log's directory, read without its lock.
#[derive(Debug, Clone)]
pub struct Directory(LogDirectory);

impl Directory {
    /// The log in this directory.
    pub fn new(path: &Path) -> Self {
        Self(LogDirectory::new(path))
    }
}

impl TileSource for Directory {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.read(path)
    }
}

impl Source for Directory {
    fn name(&self) -> String {
        self.0.path().display().to_string()
    }

    fn whole(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.0.path().join(path))?.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} has more than {most} bytes")));
        }
        Ok(bytes)
    }

    fn lines(&self, path: &str) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(BufReader::new(File::open(self.0.path().join(path))?)))
    }

    fn directory(&self) -> Option<&Path> {
        Some(self.0.path())
    }
}
