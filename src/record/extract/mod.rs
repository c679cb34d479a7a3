//! Takes parts out of a log, to hand them on: one entry with its proof, a selection in a bundle, an exchange's provenance.
//!
//! All is read from the log's bundles and tiles, as anybody can who is shown them. What is written here is checked in
//! [`verify`](super::verify), by code that shares nothing with this.

mod bundle;
mod cose;
mod prov;

use std::io::{self, BufRead as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::jws::{self, Compact};
use super::keys::{KEYS, LogKeys};
use super::note::{Checkpoint, Note, VerifierKey};
use super::proof::inclusion;
use super::store::KEY;
use super::tiles::{TileReader, TileSource, width_at};
use super::verify::Source;
use crate::types::{Digest, ExchangeId};
pub use bundle::{Selection, Written, export};
pub use prov::provenance;

/// The largest checkpoint that is read.
const MOST_NOTE: u64 = 64 * 1024;

/// A log to take from, under one of its checkpoints.
pub struct Extract<'a> {
    reader: TileReader<Shared<'a>>,
    size: u64,
    root: [u8; 32],
    origin: String,
    note: String,
    /// Every key up to the one that signed the checkpoint; nothing where the log does not show them.
    keys: Option<LogKeys>,
}

/// A source that is read through a reference.
struct Shared<'a>(&'a dyn Source);

impl TileSource for Shared<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.read(path)
    }
}

impl<'a> Extract<'a> {
    /// Opens a log under the newest checkpoint that was cosigned, or, where `least` entries need it, under a newer one.
    ///
    /// # Errors
    /// When there is no checkpoint, or none over so many entries.
    pub fn open(source: &'a dyn Source, least: u64) -> io::Result<Self> {
        let cosigned = newest_cosigned(source)?.filter(|(_, checkpoint)| checkpoint.size >= least);
        Self::under(source, least, cosigned)
    }

    /// Opens a log under its latest checkpoint, whoever has seen it.
    ///
    /// # Errors
    /// When there is none.
    pub fn latest(source: &'a dyn Source) -> io::Result<Self> {
        Self::under(source, 0, None)
    }

    fn under(source: &'a dyn Source, least: u64, cosigned: Option<(String, Checkpoint)>) -> io::Result<Self> {
        let latest = source.whole("checkpoint", MOST_NOTE)?;
        let latest = read(&latest).ok_or_else(|| malformed("checkpoint"))?;
        let keys = log_keys(source)?;
        let signer = |note: &str| keys.as_ref().zip(Note::parse(note)).and_then(|(keys, note)| keys.key_under(&note));
        // A cosigned checkpoint is worth more; a copy that was rolled back would have a larger one than its latest. One under
        // a key that was given up since is believed by nobody who has the key of today.
        let (note, checkpoint) = match cosigned {
            Some(cosigned) if cosigned.1.size <= latest.1.size && signer(&cosigned.0) == signer(&latest.0) => cosigned,
            _ => latest,
        };
        if checkpoint.size < least {
            let what =
                format!("the checkpoint covers {} entries, and entry {} is not among them", checkpoint.size, least - 1);
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        let keys = keys.map(|keys| keys.settled(checkpoint.size));
        let reader = TileReader::new(Shared(source));
        Ok(Self { reader, size: checkpoint.size, root: checkpoint.root, origin: checkpoint.origin, note, keys })
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Entries under the checkpoint.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The entry at an index.
    ///
    /// # Errors
    /// As reading.
    pub fn entry(&self, index: u64) -> io::Result<Vec<u8>> {
        let bundle = self.reader.entries(index / 256, self.size)?;
        let place = usize::try_from(index % 256).unwrap_or_default();
        bundle.into_iter().nth(place).ok_or_else(|| malformed("an entry bundle"))
    }

    /// Calls `take` for every entry, in order, with its index.
    ///
    /// # Errors
    /// As reading, and what `take` gives.
    pub fn each(&self, mut take: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        for bundle in 0..self.size.div_ceil(256) {
            debug_assert!(width_at(0, bundle, self.size) > 0);
            for (index, entry) in (bundle * 256..).zip(self.reader.entries(bundle, self.size)?) {
                take(index, &entry)?;
            }
        }
        Ok(())
    }

    /// The entries of an exchange, each with its index and what it says.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn exchange(&self, exchange: ExchangeId) -> io::Result<Vec<(u64, Value)>> {
        let wanted = exchange.to_string();
        let mut found = Vec::new();
        self.each(|index, entry| {
            if let Some(payload) = payload(entry).filter(|payload| payload["exchange"] == wanted.as_str()) {
                found.push((index, payload));
            }
            Ok(())
        })?;
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("the log does not tell of exchange {exchange}"),
            ));
        }
        Ok(found)
    }

    /// The inclusion path of an entry.
    ///
    /// # Errors
    /// As reading.
    pub fn path(&self, index: u64) -> io::Result<Vec<[u8; 32]>> {
        inclusion(index, self.size, |level, place| self.reader.node(level, place, self.size))
    }

    /// A proof that the entry is in the log, with the entry in it: C2SP tlog-proof.
    ///
    /// # Errors
    /// As reading; `Unsupported` for an entry under an earlier key than the checkpoint's: the file has no place for the
    /// entries between them that hand over.
    pub fn proof_file(&self, index: u64) -> io::Result<String> {
        self.one_key(index)?;
        let mut file =
            format!("c2sp.org/tlog-proof@v1\nextra {}\nindex {index}\n", STANDARD.encode(self.entry(index)?));
        for hash in self.path(index)? {
            file += &STANDARD.encode(hash);
            file.push('\n');
        }
        Ok(file + "\n" + &self.note)
    }
}

impl Extract<'_> {
    /// Refuses an entry that another key signed than the checkpoint.
    fn one_key(&self, index: u64) -> io::Result<()> {
        let same = self.keys.as_ref().is_none_or(|keys| keys.at(index) == keys.current());
        let what = format!(
            "entry {index} is signed by an earlier key of the log: only an export shows how it was handed over"
        );
        if same { Ok(()) } else { Err(io::Error::new(io::ErrorKind::Unsupported, what)) }
    }
}

/// The keys that the log shows.
fn log_keys(source: &dyn Source) -> io::Result<Option<LogKeys>> {
    let text = |path| match source.whole(path, MOST_NOTE) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| malformed(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let sha256 = |bytes: &[u8]| *Digest::of(bytes).as_bytes();
    if let Some(list) = text(KEYS)? {
        return LogKeys::parse(&list, sha256).map(Some).map_err(|_| malformed(KEYS));
    }
    let Some(key) = text(KEY)? else { return Ok(None) };
    Ok(Some(LogKeys::one(VerifierKey::parse(key.trim_end(), sha256).ok_or_else(|| malformed(KEY))?)))
}

/// What an entry says.
fn payload(entry: &[u8]) -> Option<Value> {
    serde_json::from_slice(&jws::decode(Compact::split(entry)?.payload)?).ok()
}

fn read(note: &[u8]) -> Option<(String, Checkpoint)> {
    let text = std::str::from_utf8(note).ok()?;
    let checkpoint = Checkpoint::parse(Note::parse(text)?.text)?;
    Some((text.to_owned(), checkpoint))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not what it should be"))
}

/// The last checkpoint on file with its cosignatures. Who serves a log puts them under its checkpoint.
fn newest_cosigned(source: &dyn Source) -> io::Result<Option<(String, Checkpoint)>> {
    let Some(directory) = source.directory() else { return Ok(None) };
    let names = match std::fs::read_dir(directory.join("cosigned")) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let days = names.flatten().map(|name| name.file_name().to_string_lossy().into_owned());
    let mut days: Vec<String> = days.filter(|name| name.ends_with(".jsonl")).collect();
    days.sort_unstable();
    // A day's only line may be one that is just being written: then the newest is another day's.
    for day in days.iter().rev() {
        let mut newest = None;
        for line in source.lines(&format!("cosigned/{day}"))?.lines() {
            let line: Option<Value> = serde_json::from_str(&line?).ok();
            let note = line.as_ref().and_then(|line| line.get("note")?.as_str());
            newest = note.and_then(|note| read(note.as_bytes())).or(newest);
        }
        if newest.is_some() {
            return Ok(newest);
        }
    }
    Ok(None)
}
