//! What is remembered of policy sources across restarts: which revision was taken last, and the last good archive.
//!
//! The two are kept apart. `accepted.json` says what was taken, so that an older bundle cannot be played back; losing the
//! archives loses nothing but the ability to start while a source is away. An archive is trusted no more than one that
//! just came: it is verified whole when it is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::decide::{ARCHIVE_BYTES, Accepted, private_directory};
use crate::shell::state::write;
use crate::types::{Digest, Timestamp};

/// The version of both files' format.
const VERSION: u32 = 1;
/// The most that a file of ours holds, in bytes; what is larger is none.
const NOTES_BYTES: u64 = 1024 * 1024;

/// The private directory of policies, locked for as long as this lives.
pub(super) struct Store {
    directory: PathBuf,
    accepted: Mutex<BTreeMap<String, Accepted>>,
    _lock: File,
}

/// An archive that was accepted.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    /// The archive.
    pub(super) bytes: Bytes,
    /// Its entity tag on the bundle server, if it has one.
    pub(super) etag: Option<String>,
}

/// `accepted.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptedFile {
    version: u32,
    accepted: BTreeMap<String, Accepted>,
}

/// `copies/<source>/copy.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CopyNote {
    version: u32,
    /// SHA-256 of the archive, which also names its file.
    archive: Digest,
    revision: String,
    digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// When it was accepted, RFC 3339; for people.
    at: String,
}

impl Store {
    /// Opens the directory, makes it when it is not there, and takes its lock.
    ///
    /// # Errors
    /// When another process has it, or it cannot be told what was accepted: then an older bundle could be played back.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        private(directory)?;
        let lock = directory.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .with_context(|| format!("opening {}", lock.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                bail!("{} is in use by another gateway: stop it first", directory.display())
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", directory.display()));
            }
        }
        let path = directory.join("accepted.json");
        let accepted = match read(&path, NOTES_BYTES)? {
            Some(bytes) => {
                let file: AcceptedFile = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} does not say which policies were accepted", path.display()))?;
                if file.version != VERSION {
                    bail!("{} has version {}, this program reads {VERSION}", path.display(), file.version);
                }
                file.accepted
            }
            None => BTreeMap::new(),
        };
        Ok(Self { directory: directory.to_owned(), accepted: Mutex::new(accepted), _lock: lock })
    }

    /// A private directory below, made when it is not there.
    pub(super) fn place(&self, name: &str) -> Result<PathBuf> {
        let place = self.directory.join(name);
        private(&place)?;
        Ok(place)
    }

    /// What was accepted last from a source.
    pub(super) fn accepted(&self, source: &str) -> Option<Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).get(source).cloned()
    }

    /// The last good archive of a source.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is not what it was.
    pub(super) fn copy(&self, source: &str) -> Result<Option<Copy>> {
        let directory = self.copies(source);
        let path = directory.join("copy.json");
        let Some(note) = read(&path, NOTES_BYTES)? else { return Ok(None) };
        let note: CopyNote =
            serde_json::from_slice(&note).with_context(|| format!("{} is not ours", path.display()))?;
        if note.version != VERSION {
            bail!("{} has version {}, this program reads {VERSION}", path.display(), note.version);
        }
        let path = directory.join(archive_name(&note.archive));
        let Some(bytes) = read(&path, ARCHIVE_BYTES as u64)? else { bail!("{} is missing", path.display()) };
        if Digest::of(&bytes) != note.archive {
            bail!("{} is not what was accepted: its digest differs", path.display());
        }
        Ok(Some(Copy { bytes: bytes.into(), etag: note.etag }))
    }

    /// Whether this very archive, with its entity tag, is the last good one.
    pub(super) fn has(&self, source: &str, copy: &Copy) -> bool {
        let kept = self.copy(source).ok().flatten();
        kept.is_some_and(|kept| kept.bytes == copy.bytes && kept.etag == copy.etag)
    }

    /// Remembers what is accepted: the archive first, then the fact. Were it the other way round, a crash between the two
    /// would leave an archive that is older than what was accepted, and with the source away no start.
    ///
    /// # Errors
    /// When it cannot be made durable; nothing is accepted then.
    pub(super) fn keep(&self, source: &str, copy: &Copy, accepted: Accepted, at: Timestamp) -> Result<()> {
        let directory = self.copies(source);
        private(&directory)?;
        let archive = Digest::of(&copy.bytes);
        let path = directory.join(archive_name(&archive));
        write(&path, &copy.bytes).with_context(|| format!("writing {}", path.display()))?;
        let note = CopyNote {
            version: VERSION,
            archive,
            revision: accepted.revision.clone(),
            digest: accepted.digest,
            etag: copy.etag.clone(),
            at: at.to_string(),
        };
        let note_path = directory.join("copy.json");
        write(&note_path, &serde_json::to_vec_pretty(&note)?)
            .with_context(|| format!("writing {}", note_path.display()))?;
        self.change(|all| drop(all.insert(source.to_owned(), accepted)))?;
        // Older archives serve nobody any more. One that stays behind costs its space until the next is accepted.
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let other = entry.path();
            if other != path && other != note_path {
                let _ = std::fs::remove_file(other);
            }
        }
        Ok(())
    }

    /// Forgets a source: what was accepted from it, and its archive. The next start takes whatever the source offers.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub(super) fn forget(&self, source: &str) -> Result<Option<Accepted>> {
        let copies = self.copies(source);
        // The archive first: alone it would be taken at the next start as the last good one.
        match std::fs::remove_dir_all(&copies) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", copies.display()));
            }
            _ => {}
        }
        let forgotten = self.accepted(source);
        self.change(|all| drop(all.remove(source)))?;
        Ok(forgotten)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Accepted>)) -> Result<()> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = accepted.clone();
        change(&mut changed);
        let path = self.directory.join("accepted.json");
        let file = AcceptedFile { version: VERSION, accepted: changed };
        write(&path, &serde_json::to_vec_pretty(&file)?).with_context(|| format!("writing {}", path.display()))?;
        *accepted = file.accepted;
        Ok(())
    }

    fn copies(&self, source: &str) -> PathBuf {
        self.directory.join("copies").join(source)
    }
}

fn archive_name(archive: &Digest) -> String {
    format!("{}.tar.gz", archive.hex())
}

/// Makes a directory for nobody but us, durably; one that is there is ours, or is not used.
fn private(directory: &Path) -> Result<()> {
    let is_new = !directory.exists();
    private_directory(directory).with_context(|| directory.display().to_string())?;
    if !is_new {
        return Ok(());
    }
    // Its name, too, must outlive a power cut; those above it may be as new.
    for above in directory.ancestors().skip(1).take(3).filter(|above| !above.as_os_str().is_empty()) {
        if let Ok(above) = File::open(above) {
            let _ = above.sync_all();
        }
    }
    Ok(())
}

/// A file of bounded size, or `None` when there is none.
fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    if bytes.len() as u64 > most {
        bail!("{} is larger than {most} bytes", path.display());
    }
    Ok(Some(bytes))
}
