//! What a witness remembers, on disk: for each log the last checkpoint that it cosigned, and the evidence against it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::evidence::Evidence;
use crate::record::RecordError;
use crate::record::note::{Checkpoint, Note};

/// The largest file that is read back: a checkpoint of 128 KiB, twice in evidence, and its proof.
const MOST_BYTES: u64 = 512 * 1024;

/// The witness's directory.
pub(super) struct Files {
    directory: PathBuf,
}

/// The last checkpoint that was cosigned for a log, with the signatures under it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) checkpoint: Checkpoint,
    pub(super) note: String,
}

impl Files {
    /// Opens the directory, making it if need be.
    pub(super) fn open(directory: &Path) -> Result<Self, RecordError> {
        let evidence = directory.join("evidence");
        DirBuilder::new().recursive(true).mode(0o700).create(&evidence).map_err(RecordError::io(&evidence))?;
        // A directory that a power failure takes would take what was remembered with it.
        let mut made = Some(directory);
        while let Some(path) = made.filter(|path| !path.as_os_str().is_empty()) {
            File::open(path).and_then(|path| path.sync_all()).map_err(RecordError::io(path))?;
            made = if made == Some(directory) { directory.parent() } else { None };
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// What was cosigned last for the log with this origin.
    pub(super) fn seen(&self, origin: &str, hash: &str) -> Result<Option<Seen>, RecordError> {
        let path = self.checkpoint(hash);
        let wrong = || RecordError::Corrupt(format!("{} is not a checkpoint of {origin}", path.display()));
        let Some(note) = read(&path).map_err(RecordError::io(&path))? else { return Ok(None) };
        let checkpoint = Note::parse(&note).and_then(|note| Checkpoint::parse(note.text)).ok_or_else(wrong)?;
        if checkpoint.origin != origin {
            return Err(wrong());
        }
        Ok(Some(Seen { checkpoint, note }))
    }

    /// Remembers a checkpoint, durably: after a crash it is this one or the one before.
    pub(super) fn remember(&self, hash: &str, note: &str) -> io::Result<()> {
        replace(&self.checkpoint(hash), note.as_bytes())
    }

    /// The evidence on file, oldest first.
    pub(super) fn evidence(&self) -> Result<Vec<Evidence>, RecordError> {
        let directory = self.directory.join("evidence");
        let names = std::fs::read_dir(&directory).map_err(RecordError::io(&directory))?;
        let mut found = Vec::new();
        for name in names {
            let path = name.map_err(RecordError::io(&directory))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = read(&path).map_err(RecordError::io(&path))?.unwrap_or_default();
            let evidence: Evidence = serde_json::from_str(&text)
                .map_err(|_| RecordError::Corrupt(format!("{} is not evidence", path.display())))?;
            found.push(evidence);
        }
        found.sort_by(|one, other| (&one.at, one.number).cmp(&(&other.at, other.number)));
        Ok(found)
    }

    /// Keeps evidence, durably.
    pub(super) fn keep(&self, hash: &str, evidence: &Evidence) -> io::Result<()> {
        let path = self.directory.join("evidence").join(format!("{hash}-{}.json", evidence.number));
        replace(&path, format!("{}\n", serde_json::to_string_pretty(evidence)?).as_bytes())
    }

    fn checkpoint(&self, hash: &str) -> PathBuf {
        self.directory.join(format!("{hash}.checkpoint"))
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(Some(text))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
