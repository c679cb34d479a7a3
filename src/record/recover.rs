//! Opening a log: what the last run left is checked, a torn tail is cut, and open exchanges are closed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use super::entry::{Outline, Step};
use super::error::RecordError;
use super::frame::{FILE_HEADER, Fault, Frames};
use super::jws::{self, Compact};
use super::key_file::{Recovering, is_key_entry};
use super::log::Published;
use super::merkle::{Frontier, leaf_hash};
use super::note::{Checkpoint, Note};
use super::queue::BATCH_LIMIT;
use super::signer::Signer;
use super::store::{CHECKPOINT, Directory, KEY, WAL};
use super::tail::Tail;
use crate::types::ExchangeId;

/// A log that was found sound.
pub(super) struct Recovered {
    pub(super) tree: Frontier,
    /// The checkpoint on disk.
    pub(super) published: Published,
    /// Permitted exchanges without an outcome, oldest first.
    pub(super) open: Vec<ExchangeId>,
    /// The log file.
    pub(super) wal: File,
    /// Where it ends, in bytes: with its last frame.
    pub(super) end: u64,
}

/// Checks the log in `directory` and makes it ready for writing; an empty directory becomes an empty log.
pub(super) fn recover(directory: &Directory, origin: &str, signer: &Signer) -> Result<Recovered, RecordError> {
    let key = signer.verifier_key(origin) + "\n";
    let keys = Recovering::read(directory.path(), origin, signer)?;
    let path = directory.file(WAL);
    let mut wal = directory.open_wal()?;
    let length = wal.metadata().map_err(RecordError::io(&path))?.len();
    let (checkpoint, note) = match read_small(directory, CHECKPOINT)? {
        Some(note) => (read_checkpoint(&note, origin, &keys)?, note),
        // The checkpoint is made right after the file's header: without one, nothing was ever acknowledged.
        None if length <= FILE_HEADER.len() as u64 => {
            let empty = Checkpoint { origin: origin.to_owned(), size: 0, root: Frontier::default().root() };
            let note = found(directory, &mut wal, &key, &empty, signer)?;
            (empty, note)
        }
        None => return Err(RecordError::Corrupt(format!("{CHECKPOINT} is missing"))),
    };
    let mut scan = Scan { tree: Frontier::default(), open: HashMap::new(), payload: Vec::new() };
    wal.rewind().map_err(RecordError::io(&path))?;
    let end = scan.read(&mut wal, &checkpoint, &keys, directory)?;
    // Before anything is mended: a log of another key is none of ours to mend.
    keys.settle(directory.path(), scan.tree.size())?;
    settle_tail(&mut wal, end).map_err(RecordError::io(&path))?;
    let mut open: Vec<_> = scan.open.into_iter().collect();
    open.sort_by_key(|(_, index)| *index);
    let open = open.into_iter().map(|(exchange, _)| exchange).collect();
    // Right after a change of key the checkpoint is the old one's; nobody hears of it before the new one has signed it.
    let note = signer.note(&checkpoint).and_then(|ours| {
        if ours != note {
            let path = directory.file(CHECKPOINT);
            directory.replace(CHECKPOINT, ours.as_bytes()).map_err(RecordError::io(&path))?;
        }
        Ok(ours)
    })?;
    let published = Published { size: checkpoint.size, root: checkpoint.root, note };
    Ok(Recovered { tree: scan.tree, published, open, wal, end })
}

/// Makes an empty log. The order matters: with a checkpoint on disk the file's header is known to be.
fn found(
    dir: &Directory,
    wal: &mut File,
    key: &str,
    empty: &Checkpoint,
    signer: &Signer,
) -> Result<String, RecordError> {
    let write_header = |wal: &mut File| {
        wal.set_len(0)?;
        wal.rewind()?;
        wal.write_all(&FILE_HEADER)?;
        wal.sync_all()?;
        dir.sync()
    };
    write_header(wal).map_err(RecordError::io(&dir.file(WAL)))?;
    dir.replace(KEY, key.as_bytes()).map_err(RecordError::io(&dir.file(KEY)))?;
    let note = signer.note(empty)?;
    dir.replace(CHECKPOINT, note.as_bytes()).map_err(RecordError::io(&dir.file(CHECKPOINT)))?;
    Ok(note)
}

fn read_checkpoint(note: &str, origin: &str, keys: &Recovering) -> Result<Checkpoint, RecordError> {
    let malformed = || RecordError::Corrupt(format!("{CHECKPOINT} is not a checkpoint"));
    let note = Note::parse(note).ok_or_else(malformed)?;
    let checkpoint = Checkpoint::parse(note.text).ok_or_else(malformed)?;
    if checkpoint.origin != origin {
        return Err(RecordError::Foreign(format!("{CHECKPOINT} is of {}", checkpoint.origin)));
    }
    if !keys.wrote_note(&note, checkpoint.size) {
        return Err(RecordError::Corrupt(format!("{CHECKPOINT} is not signed by this log's key")));
    }
    Ok(checkpoint)
}

/// Reads a file of at most 64 KiB; `None` when it is not there.
fn read_small(directory: &Directory, name: &str) -> Result<Option<String>, RecordError> {
    let path = directory.file(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RecordError::io(&path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(64 * 1024).read_to_end(&mut bytes).map_err(RecordError::io(&path))?;
    let text = String::from_utf8(bytes).map_err(|_| RecordError::Corrupt(format!("{name} is not text")))?;
    Ok(Some(text))
}

struct Scan {
    tree: Frontier,
    open: HashMap<ExchangeId, u64>,
    payload: Vec<u8>,
}

impl Scan {
    /// Reads every entry and returns where the last whole frame ends.
    fn read(
        &mut self,
        wal: &mut File,
        checkpoint: &Checkpoint,
        keys: &Recovering,
        directory: &Directory,
    ) -> Result<u64, RecordError> {
        let path = directory.file(WAL);
        let mut frames = Frames::open(&mut *wal).map_err(|fault| match fault {
            Fault::Io(error) => RecordError::io(&path)(error),
            _ => RecordError::Corrupt(format!("{WAL} does not start as a log of this version")),
        })?;
        let torn = loop {
            let size = self.tree.size();
            if size == checkpoint.size && self.tree.root() != checkpoint.root {
                return Err(RecordError::Corrupt(format!("the first {size} entries are not those that were signed")));
            }
            match frames.next() {
                Ok(Some(frame)) if frame.index == size => self.take(frame.data, size >= checkpoint.size, keys)?,
                Ok(Some(frame)) => {
                    return Err(RecordError::Corrupt(format!("entry {} stands at {size}", frame.index)));
                }
                Ok(None) => break None,
                Err(Fault::Unfinished(_)) => break Some("unfinished"),
                Err(Fault::Bad(_) | Fault::Header) => break Some("bad"),
                Err(Fault::Io(error)) => return Err(RecordError::io(&path)(error)),
            }
        };
        let end = frames.offset();
        drop(frames);
        let size = self.tree.size();
        if torn == Some("bad") || torn.is_some() && size >= checkpoint.size {
            let tail = Tail::read(wal, end).map_err(RecordError::io(&path))?;
            if size < checkpoint.size || !tail.is_torn(size) {
                let what = format!("entry {size}, at byte {end}, is damaged, and no interrupted write explains it");
                return Err(RecordError::Corrupt(what));
            }
        }
        if size < checkpoint.size {
            return Err(RecordError::RolledBack { checkpoint: checkpoint.size, entries: size });
        }
        if torn.is_some() {
            tracing::warn!(entries = size, offset = end, "cut a torn tail off the record log");
        }
        Ok(end)
    }

    fn take(&mut self, data: &[u8], unsigned_yet: bool, keys: &Recovering) -> Result<(), RecordError> {
        let index = self.tree.size();
        let foreign = || RecordError::Corrupt(format!("entry {index} is not one that this log's key signed"));
        let jws = Compact::split(data).ok_or_else(foreign)?;
        // What the checkpoint covers is bound by its signature; what came after it stands on its own.
        if unsigned_yet && !keys.sealed(index, &jws) {
            return Err(foreign());
        }
        jws::decode_into(jws.payload, &mut self.payload).ok_or_else(foreign)?;
        match Outline::read(&self.payload) {
            Some((exchange, Step::Decided { permitted: true })) => {
                self.open.insert(exchange, index);
            }
            Some((_, Step::Decided { permitted: false } | Step::Noted)) => {}
            Some((exchange, Step::Ended)) => {
                self.open.remove(&exchange);
            }
            None if is_key_entry(&self.payload) => {}
            None => return Err(foreign()),
        }
        self.tree.push(leaf_hash(data));
        Ok(())
    }
}

/// Cuts everything beyond `end` and makes what is kept durable.
///
/// The last batch may have been written and never synced, and after a failed sync the kernel may hold it as clean:
/// it is written again, byte for byte, so that this sync speaks for it too.
fn settle_tail(wal: &mut File, end: u64) -> std::io::Result<()> {
    wal.set_len(end)?;
    let start = end.saturating_sub(BATCH_LIMIT as u64);
    let mut last = Vec::new();
    wal.seek(SeekFrom::Start(start))?;
    wal.take(end - start).read_to_end(&mut last)?;
    wal.seek(SeekFrom::Start(start))?;
    wal.write_all(&last)?;
    wal.sync_all()
}
