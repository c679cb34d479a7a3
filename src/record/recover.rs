//! Opening a log: what the last run left is checked, a torn tail is cut, and open exchanges are closed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;

use super::ahead::Ahead;
use super::edge::Edge;
use super::entry::{Outline, Step};
use super::error::RecordError;
use super::frame::{Fault, Frames};
use super::head::Head;
use super::jws::{self, Compact};
use super::key_file::{Recovering, is_key_entry};
use super::ledger::renew;
use super::log::Published;
use super::merkle::leaf_hash;
use super::note::{Checkpoint, Note};
use super::queue::BATCH_LIMIT;
use super::signer::Signer;
use super::store::{CHECKPOINT, Directory, KEY, Trouble, WAL};
use super::tail::Tail;
use super::tiles::{LogDirectory, TileReader};
use crate::types::ExchangeId;

/// A log that was found sound.
pub(super) struct Recovered {
    /// The edge of the tree that the checkpoint signs.
    pub(super) edge: Edge,
    /// The checkpoint on disk.
    pub(super) published: Published,
    /// The entries beyond it, in order.
    pub(super) beyond: Vec<Vec<u8>>,
    /// Permitted exchanges without an outcome, with their order.
    pub(super) open: HashMap<ExchangeId, u64>,
    /// The log file.
    pub(super) wal: Ahead,
    /// The index of its first entry, and the byte where that starts.
    pub(super) base: (u64, u64),
}

/// Checks the log in `directory` and makes it ready for writing; an empty directory becomes an empty log.
pub(super) fn recover(
    directory: &Directory,
    origin: &str,
    signer: &Signer,
    reserve: u64,
) -> Result<Recovered, RecordError> {
    let key = signer.verifier_key(origin) + "\n";
    let keys = Recovering::read(directory.path(), origin, signer)?;
    let path = directory.file(WAL);
    let wal = directory.open_wal()?;
    let (checkpoint, note) = match read_small(directory, CHECKPOINT)? {
        Some(note) => (read_checkpoint(&note, origin, &keys)?, note),
        // The checkpoint is made right after the file: without one, nothing was ever acknowledged.
        None if holds_nothing(wal.as_ref()).map_err(RecordError::io(&path))? => {
            let found = found(directory, &key, origin, signer, reserve);
            let found = found.map_err(|trouble| trouble.into_error(&path))?;
            keys.settle(directory.path(), 0)?;
            return Ok(found);
        }
        None => return Err(RecordError::Corrupt(format!("{CHECKPOINT} is missing"))),
    };
    let tiles = TileReader::new(LogDirectory::new(directory.path()));
    let edge = read_edge(&tiles, &checkpoint)?;
    let mut wal = wal.ok_or_else(|| RecordError::Corrupt(format!("{WAL} is missing")))?;
    let mut scan =
        Scan { checkpoint: &checkpoint, tiles: &tiles, keys: &keys, read: Read::default(), payload: Vec::new() };
    let (start, end) = scan.read(&mut wal, directory)?;
    let Read { base, size, beyond, open, .. } = scan.read;
    // Before anything is mended: a log of another key is none of ours to mend.
    keys.settle(directory.path(), size)?;
    settle_tail(directory, &wal, end).map_err(|trouble| trouble.into_error(&path))?;
    // What a crash left of files that were never put in place.
    for draft in [WAL, CHECKPOINT, KEY] {
        let _ = directory.disk.remove(&directory.file(&format!("{draft}.tmp")));
    }
    // Right after a change of key the checkpoint is the old one's; nobody hears of it before the new one has signed it.
    let ours = signer.note(&checkpoint)?;
    if ours != note {
        let replaced = directory.replace(CHECKPOINT, ours.as_bytes());
        replaced.map_err(|trouble| trouble.into_error(&directory.file(CHECKPOINT)))?;
    }
    let published = Published { size: checkpoint.size, root: checkpoint.root, note: ours };
    let wal = Ahead::new(directory, wal, end, end, reserve);
    Ok(Recovered { edge, published, beyond, open, wal, base: (base, start) })
}

/// Whether a log file holds no entry of a log that just began.
fn holds_nothing(wal: Option<&File>) -> std::io::Result<bool> {
    let Some(mut wal) = wal else { return Ok(true) };
    if wal.metadata()?.len() < Head::default().length() {
        return Ok(true);
    }
    let Ok(mut frames) = Frames::open(&mut wal) else { return Ok(false) };
    Ok(frames.head() == &Head::default() && matches!(frames.next(), Ok(None)))
}

/// Makes an empty log. The order matters: with a checkpoint on disk the file is known to be.
fn found(directory: &Directory, key: &str, origin: &str, signer: &Signer, reserve: u64) -> Result<Recovered, Trouble> {
    let head = Head::default();
    let wal = renew(directory, &head, &[], reserve)?;
    directory.replace(KEY, key.as_bytes())?;
    let edge = Edge::default();
    let empty = Checkpoint { origin: origin.to_owned(), size: 0, root: edge.root() };
    let note = signer.note(&empty).map_err(Trouble::Fatal)?;
    directory.replace(CHECKPOINT, note.as_bytes())?;
    let published = Published { size: 0, root: empty.root, note };
    Ok(Recovered { edge, published, beyond: Vec::new(), open: HashMap::new(), wal, base: (0, head.length()) })
}

/// Reads the right edge of the tree, which is that of the checkpoint or no tree of this log.
fn read_edge(tiles: &TileReader<LogDirectory>, checkpoint: &Checkpoint) -> Result<Edge, RecordError> {
    let edge = Edge::read(tiles, checkpoint.size).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::InvalidData => {
            RecordError::Corrupt(format!("the tree cannot be read: {error}"))
        }
        _ => RecordError::io(tiles.source().path())(error),
    })?;
    if edge.root() == checkpoint.root {
        return Ok(edge);
    }
    Err(RecordError::Corrupt(format!("the tiles of {} entries are not those that were signed", checkpoint.size)))
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

/// What was read of the write-ahead log.
#[derive(Default)]
struct Read {
    /// The index of its first entry.
    base: u64,
    /// The index of the next one.
    size: u64,
    /// Up to here it says itself what is open.
    upto: u64,
    open: HashMap<ExchangeId, u64>,
    /// The entries that no checkpoint covers: no more than the publisher may be behind.
    beyond: Vec<Vec<u8>>,
}

struct Scan<'a> {
    checkpoint: &'a Checkpoint,
    tiles: &'a TileReader<LogDirectory>,
    keys: &'a Recovering,
    read: Read,
    payload: Vec<u8>,
}

impl Scan<'_> {
    /// Reads every entry and returns where the first frame starts and the last whole one ends.
    fn read(&mut self, wal: &mut File, directory: &Directory) -> Result<(u64, u64), RecordError> {
        let path = directory.file(WAL);
        let mut frames = Frames::open(&mut *wal).map_err(|fault| match fault {
            Fault::Io(error) => RecordError::io(&path)(error),
            _ => RecordError::Corrupt(format!("{WAL} does not start as a log of this version")),
        })?;
        let start = frames.offset();
        let Head { base, upto, open } = frames.head().clone();
        let covered = self.checkpoint.size;
        if base > covered {
            let what =
                format!("{CHECKPOINT} covers {covered} entries, and {WAL} starts with entry {base}: it is older");
            return Err(RecordError::Corrupt(what));
        }
        // In the order in which they are named: each was decided before this file, so before any index in it.
        self.read = Read { base, size: base, upto, open: open.into_iter().zip(0..).collect(), beyond: Vec::new() };
        let torn = loop {
            match frames.next() {
                Ok(Some(frame)) if frame.index == self.read.size => self.take(frame.data)?,
                Ok(Some(frame)) => {
                    let what = format!("entry {} stands at {}", frame.index, self.read.size);
                    return Err(RecordError::Corrupt(what));
                }
                Ok(None) => break None,
                Err(Fault::Unfinished(_)) => break Some("unfinished"),
                Err(Fault::Bad(_) | Fault::Header) => break Some("bad"),
                Err(Fault::Io(error)) => return Err(RecordError::io(&path)(error)),
            }
        };
        let end = frames.offset();
        drop(frames);
        let size = self.read.size;
        if torn == Some("bad") || torn.is_some() && size >= covered {
            let tail = Tail::read(wal, end).map_err(RecordError::io(&path))?;
            if size < covered || !tail.is_torn(size) {
                let what = format!("entry {size}, at byte {end}, is damaged, and no interrupted write explains it");
                return Err(RecordError::Corrupt(what));
            }
        }
        if size < covered {
            return Err(RecordError::RolledBack { checkpoint: covered, entries: size });
        }
        if size < upto {
            return Err(RecordError::Corrupt(format!("{WAL} was made with {upto} entries, and ends after {size}")));
        }
        if torn.is_some() {
            tracing::warn!(entries = size, offset = end, "cut a torn tail off the record log");
        }
        Ok((start, end))
    }

    fn take(&mut self, data: &[u8]) -> Result<(), RecordError> {
        let index = self.read.size;
        let foreign = || RecordError::Corrupt(format!("entry {index} is not one that this log's key signed"));
        // What the checkpoint covers is bound by its signature; what came after it stands on its own.
        if index < self.checkpoint.size {
            let leaf = self.tiles.node(0, index, self.checkpoint.size);
            let leaf = leaf.map_err(|error| RecordError::Corrupt(format!("the tree cannot be read: {error}")))?;
            if leaf != leaf_hash(data) {
                return Err(RecordError::Corrupt(format!("entry {index} is not the one in the tree")));
            }
        } else {
            let jws = Compact::split(data).ok_or_else(foreign)?;
            if !self.keys.sealed(index, &jws) {
                return Err(foreign());
            }
            self.read.beyond.push(data.to_vec());
        }
        if index >= self.read.upto {
            let jws = Compact::split(data).ok_or_else(foreign)?;
            jws::decode_into(jws.payload, &mut self.payload).ok_or_else(foreign)?;
            match Outline::read(&self.payload) {
                Some((exchange, Step::Decided { permitted: true })) => {
                    self.read.open.insert(exchange, index);
                }
                Some((_, Step::Decided { permitted: false } | Step::Noted)) => {}
                Some((exchange, Step::Ended)) => {
                    self.read.open.remove(&exchange);
                }
                None if is_key_entry(&self.payload) => {}
                None => return Err(foreign()),
            }
        }
        self.read.size += 1;
        Ok(())
    }
}

/// Cuts everything beyond `end` and makes what is kept durable.
///
/// The last batch may have been written and never synced, and after a failed sync the kernel may hold it as clean:
/// it is written again, byte for byte, so that this sync speaks for it too.
fn settle_tail(directory: &Directory, wal: &File, end: u64) -> Result<(), Trouble> {
    let path = directory.file(WAL);
    let disk = &directory.disk;
    disk.cut(wal, &path, end).map_err(Trouble::fatal("the log could not be cut"))?;
    let start = end.saturating_sub(BATCH_LIMIT as u64);
    let mut last = vec![0; usize::try_from(end - start).unwrap_or(BATCH_LIMIT)];
    wal.read_exact_at(&mut last, start).map_err(Trouble::fatal("the log could not be read"))?;
    disk.write(wal, &path, &last, start).map_err(Trouble::fatal("a write failed"))?;
    disk.sync(wal, &path).map_err(Trouble::fatal("a sync failed"))
}
