//! The log's directory on a disk: its files, its lock, and the order in which bytes become durable.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::RecordError;

/// The write-ahead log.
pub(super) const WAL: &str = "wal";
/// The latest checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// The key that signs entries and checkpoints.
pub(super) const KEY: &str = "log.pub";
/// Who holds the lock on this file is the log's only writer.
pub(super) const LOCK: &str = "lock";

/// Everything that the log does to a file system. A seam, so that tests can let each step fail, with and without
/// effect, and cut the power between any two.
pub(super) trait Disk: Send + Sync {
    /// Makes one directory, for its owner alone.
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    /// Makes an empty file, for its owner alone, in place of any that is there.
    fn create(&self, path: &Path) -> io::Result<File> {
        options().read(true).write(true).create(true).truncate(true).open(path)
    }

    /// Writes all bytes, the first of them at `offset`.
    fn write(&self, file: &File, _: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    /// Cuts a file to this length.
    fn cut(&self, file: &File, _: &Path, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    /// Makes a file's bytes and length durable.
    fn sync(&self, file: &File, _: &Path) -> io::Result<()> {
        // fdatasync: it carries the file's new length when there is one, which is all that reading back needs.
        file.sync_data()
    }

    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Puts a file in the place of another: after a crash it is the old one or the new one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    /// Removes an empty directory.
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }
}

/// The file system as it is.
pub(super) struct RealDisk;

impl Disk for RealDisk {}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no room. Nothing that stood before was touched, and it may be tried again.
    Room(io::Error),
    /// Anything else. What the disk holds is not known, and nothing may be tried again.
    Fatal(RecordError),
}

impl Trouble {
    /// The trouble with a step that may be tried again when it only wanted room.
    pub(super) fn of(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| if is_want_of_room(&error) { Self::Room(error) } else { Self::fatal(what)(error) }
    }

    /// The trouble with a step that is never tried again, such as a sync.
    pub(super) fn fatal(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Fatal(RecordError::Unavailable(format!("{what}: {error}").into()))
    }

    /// The error for a caller that will not wait for room.
    pub(super) fn into_error(self, path: &Path) -> RecordError {
        match self {
            Self::Room(error) => RecordError::io(path)(error),
            Self::Fatal(error) => error,
        }
    }
}

pub(super) fn is_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The log's directory, locked for this process.
pub(super) struct Directory {
    path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// Held, never read: the lock goes when the file is closed.
    _lock: File,
}

impl Directory {
    /// Opens the directory for writing, making it if need be (mode 0700).
    pub(super) fn open(path: &Path, disk: Arc<dyn Disk>) -> Result<Self, RecordError> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(RecordError::io(path))?;
            // Without this, a power failure could take the new directory with everything in it.
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                disk.sync_directory(parent).map_err(RecordError::io(parent))?;
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
        Ok(Self { path: path.to_owned(), disk, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The log file, for reading and writing; `None` when there is none.
    pub(super) fn open_wal(&self) -> Result<Option<File>, RecordError> {
        let path = self.file(WAL);
        match options().read(true).write(true).open(&path) {
            Ok(wal) => Ok(Some(wal)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RecordError::io(&path)(error)),
        }
    }

    /// Makes the names in the directory durable.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        self.disk.sync_directory(&self.path).map_err(Trouble::fatal("a directory could not be synced"))
    }

    /// Puts a file in place of another, with its bytes durable before its name is: after a crash it is the old one or
    /// the new one, never a mixture. The name is durable only once the directory is synced.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Trouble> {
        self.put_pieces(name, &[bytes]).map(drop)
    }

    /// As [`Directory::put`], in pieces; gives the open file.
    pub(super) fn put_pieces(&self, name: &str, pieces: &[&[u8]]) -> Result<File, Trouble> {
        let draft = self.file(&format!("{name}.tmp"));
        let written = self.draft(&draft, pieces);
        if written.is_err() {
            // What there is of it takes room that is wanted. That it cannot be removed changes nothing.
            let _ = self.disk.remove(&draft);
        }
        let file = written?;
        self.disk.sync(&file, &draft).map_err(Trouble::fatal("a file could not be synced"))?;
        self.disk.rename(&draft, &self.file(name)).map_err(Trouble::of("a file could not be put in place"))?;
        Ok(file)
    }

    fn draft(&self, draft: &Path, pieces: &[&[u8]]) -> Result<File, Trouble> {
        let file = self.disk.create(draft).map_err(Trouble::of("a file could not be made"))?;
        let mut at = 0;
        for piece in pieces {
            self.disk.write(&file, draft, piece, at).map_err(Trouble::of("a file could not be written"))?;
            at += piece.len() as u64;
        }
        Ok(file)
    }

    /// Replaces a file durably.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Trouble> {
        self.put(name, bytes)?;
        self.sync()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
