//! The log's directory on a disk: its files, its lock, and the order in which bytes become durable.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::ahead::{Ahead, Place};
use super::error::RecordError;

/// The write-ahead log.
pub(super) const WAL: &str = "wal";
/// The latest checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// The key that signs entries and checkpoints.
pub(super) const KEY: &str = "log.pub";
/// Who holds the lock on this file is the log's only writer.
pub(super) const LOCK: &str = "lock";

/// What the writer asks of the disk. A seam, so that tests can let each step fail, with and without effect.
pub(super) trait Storage: Send {
    /// Writes bytes at the end of the log. They are not durable yet.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Replaces the checkpoint, durably and at once.
    fn publish(&mut self, note: &[u8]) -> io::Result<()>;
    /// Gives back the space that the log does not use. Nothing is written after that.
    fn close(&mut self) -> io::Result<()>;
}

/// The log's directory, locked for this process.
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
    /// Held, never read: the lock goes when the file is closed.
    _lock: File,
}

impl Directory {
    /// Opens the directory for writing, making it if need be (mode 0700).
    pub(super) fn open(path: &Path) -> Result<Self, RecordError> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(RecordError::io(path))?;
            // Without this, a power failure could take the new directory with everything in it.
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(RecordError::io(parent))?;
            }
        }
        let lock_path = path.join(LOCK);
        let lock = options().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(RecordError::io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(RecordError::Locked(path.to_owned())),
            Err(std::fs::TryLockError::Error(error)) => return Err(RecordError::io(&lock_path)(error)),
        }
        let handle = File::open(path).map_err(RecordError::io(path))?;
        Ok(Self { path: path.to_owned(), handle, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The log file, for reading and writing; made when it is missing.
    pub(super) fn open_wal(&self) -> Result<File, RecordError> {
        let path = self.file(WAL);
        let wal = options().read(true).write(true).create(true).truncate(false).open(&path);
        wal.map_err(RecordError::io(&path))
    }

    /// Makes the names in the directory durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Replaces a file: after a crash it is the old one or the new one, never a mixture.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.file(&format!("{name}.tmp"));
        let mut file = options().write(true).create(true).truncate(true).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, self.file(name))?;
        self.sync()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// The disk as the writer uses it.
pub(super) struct Disk<P: Place = File> {
    wal: Ahead<P>,
    directory: Directory,
}

impl Disk {
    /// A disk whose log file ends with its last frame, at `end`.
    pub(super) const fn new(directory: Directory, wal: File, end: u64) -> Self {
        Self { wal: Ahead::new(wal, end), directory }
    }
}

#[cfg(test)]
impl<P: Place> Disk<P> {
    /// The same disk with its log file behind another seam.
    pub(super) fn on<Q: Place>(self, wrap: impl FnOnce(P) -> Q) -> Disk<Q> {
        Disk { wal: self.wal.on(wrap), directory: self.directory }
    }
}

impl<P: Place> Storage for Disk<P> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wal.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.wal.sync()
    }

    fn publish(&mut self, note: &[u8]) -> io::Result<()> {
        self.directory.replace(CHECKPOINT, note)
    }

    fn close(&mut self) -> io::Result<()> {
        self.wal.close()
    }
}
