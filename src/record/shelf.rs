//! A directory with a file for each day: which days there are, how large they are, and which have to go.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::day::Day;
use crate::record::error::RecordError;

const LOCK: &str = "lock";

/// A store's directory, locked for this process.
pub(super) struct Shelf {
    /// What lies in it, as messages call it: `stored inputs`.
    what: &'static str,
    directory: PathBuf,
    /// Bytes of each day's file.
    days: BTreeMap<Day, u64>,
    /// Held, never read: the lock goes when the file is closed.
    _lock: File,
}

impl Shelf {
    /// Opens the directory for writing, making it if need be (mode 0700).
    pub(super) fn open(directory: &Path, what: &'static str) -> Result<Self, RecordError> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(RecordError::io(directory))?;
        let mode = std::fs::metadata(directory).map_err(RecordError::io(directory))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            // Not an error: an operator may let a group of auditors in. The files stay the owner's.
            let directory = directory.display();
            tracing::warn!(%directory, "the directory of {what} has mode {mode:04o}; run chmod 700 on it");
        }
        let path = directory.join(LOCK);
        let lock = options().write(true).create(true).truncate(false).open(&path).map_err(RecordError::io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(RecordError::Locked(directory.to_owned())),
            Err(std::fs::TryLockError::Error(error)) => return Err(RecordError::io(&path)(error)),
        }
        let days = days(directory)?.into_iter().collect();
        Ok(Self { what, directory: directory.to_owned(), days, _lock: lock })
    }

    /// The file of a day.
    pub(super) fn file(&self, day: Day) -> PathBuf {
        day.file(&self.directory)
    }

    /// The days, oldest first.
    pub(super) fn days(&self) -> Vec<Day> {
        self.days.keys().copied().collect()
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bytes of all days.
    pub(super) fn bytes(&self) -> u64 {
        self.days.values().sum()
    }

    /// Notes how large a day's file is now.
    pub(super) fn note(&mut self, day: Day, bytes: u64) {
        self.days.insert(day, bytes);
    }

    /// Removes the days that are past their retention.
    pub(super) fn retire(&mut self, retention_days: u32, today: Day) {
        let past: Vec<Day> = self.days.keys().copied().filter(|day| day.is_past(retention_days, today)).collect();
        for day in past {
            if self.remove(day) {
                tracing::info!(%day, "{} are past their retention and were removed", self.what);
            }
        }
    }

    /// Makes room for more bytes under the cap by removing the oldest days, but not `today`; whether there is room then.
    pub(super) fn make_room(&mut self, more: u64, cap: u64, today: Day) -> bool {
        while self.bytes().saturating_add(more) > cap {
            let Some(oldest) = self.days.keys().copied().find(|day| *day != today) else { return false };
            if !self.remove(oldest) {
                return false;
            }
            tracing::warn!(day = %oldest, cap, "{} outgrew their cap; the oldest day was removed before its time", self.what);
        }
        true
    }

    fn remove(&mut self, day: Day) -> bool {
        let path = self.file(day);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file of {} could not be removed", self.what);
                return false;
            }
        }
        self.days.remove(&day);
        true
    }
}

/// Every day's file in a directory with its size, oldest first.
pub(super) fn days(directory: &Path) -> Result<Vec<(Day, u64)>, RecordError> {
    let mut days = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(RecordError::io(directory))? {
        let entry = entry.map_err(RecordError::io(directory))?;
        let metadata = entry.metadata().map_err(RecordError::io(directory))?;
        if let Some(day) = entry.file_name().to_str().and_then(Day::named).filter(|_| metadata.is_file()) {
            days.push((day, metadata.len()));
        }
    }
    days.sort_unstable();
    Ok(days)
}

/// Opens a day's file to append to, making it if need be (mode 0600).
pub(super) fn append_to(path: &Path) -> io::Result<File> {
    options().read(true).append(true).create(true).open(path)
}

/// Opens a file that takes a day's file's place once it is whole (mode 0600); what lay there is gone.
pub(super) fn aside(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
