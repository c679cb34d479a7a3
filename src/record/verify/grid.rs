//! The tiles that a log should have, made anew from its entries and compared with those that it has.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::crypto::leaf_hash;
use super::judge::split_entry;
use super::report::Findings;
use super::source::Source;
use crate::record::tiles::{BundleId, FULL, HASH, MAX_BUNDLE, TileId, width_at};

/// Bytes of a full tile.
const TILE: usize = FULL as usize * HASH;
/// Partial tiles and tiles beyond the checkpoint that are kept in mind: a log has a handful.
const MOST_LOOSE: usize = 10_000;
/// The level under which bundles are kept in mind.
const ENTRIES: u8 = u8::MAX;

/// One level's tile that is being filled.
#[derive(Default)]
struct Row {
    index: u64,
    hashes: Vec<u8>,
}

/// The tiles of a tree as it grows.
pub(super) struct Grid<'a> {
    source: &'a dyn Source,
    /// Entries under the checkpoint: tiles that they fill must be there.
    size: u64,
    rows: Vec<Row>,
    /// Files that only a listing tells of: narrower tiles, and those beyond the checkpoint.
    loose: HashMap<(u8, u64), Vec<u16>>,
    /// Tiles that were compared.
    pub(super) compared: u64,
    pub(super) findings: Findings,
}

impl<'a> Grid<'a> {
    pub(super) fn new(source: &'a dyn Source, size: u64) -> Self {
        let mut grid =
            Self { source, size, rows: Vec::new(), loose: HashMap::new(), compared: 0, findings: Findings::default() };
        if let Some(directory) = source.directory()
            && let Err(error) = grid.list(directory, Path::new("tile"))
        {
            grid.findings.add(None, format!("the tiles cannot be listed: {error}"));
        }
        grid
    }

    fn list(&mut self, directory: &Path, inside: &Path) -> io::Result<()> {
        let names = match std::fs::read_dir(directory.join(inside)) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in names {
            let entry = entry?;
            let path = inside.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.list(directory, &path)?;
            } else {
                self.listed(&path.to_string_lossy());
            }
        }
        Ok(())
    }

    fn listed(&mut self, path: &str) {
        let (level, index, width) = match (TileId::parse(path), BundleId::parse(path)) {
            (Some(tile), _) => (tile.level, tile.index, tile.width),
            (_, Some(bundle)) => (ENTRIES, bundle.index, bundle.width),
            // What a writer has not finished has a name that no tile has; recovery removes it.
            _ if path.ends_with(".new") || path.ends_with(".tmp") => return,
            _ => return self.findings.add(None, format!("{path} is no tile of a log")),
        };
        let due = width_at(if level == ENTRIES { 0 } else { level }, index, self.size);
        if due == FULL && width == FULL {
            return;
        }
        if self.loose.len() >= MOST_LOOSE {
            return self
                .findings
                .add(None, format!("{path} is one of more than {MOST_LOOSE} tiles that nothing needs"));
        }
        self.loose.entry((level, index)).or_default().push(width);
    }

    /// Takes leaves, in order.
    pub(super) fn leaf(&mut self, leaf: &[u8; 32]) {
        self.add(0, leaf);
    }

    /// Hears that a complete subtree of this height was made.
    pub(super) fn made(&mut self, height: usize, root: &[u8; 32]) {
        if height > 0 && height.is_multiple_of(8) {
            self.add(height / 8, root);
        }
    }

    fn add(&mut self, level: usize, hash: &[u8; 32]) {
        if self.rows.len() <= level {
            self.rows.resize_with(level + 1, Row::default);
        }
        let row = &mut self.rows[level];
        row.hashes.extend_from_slice(hash);
        if row.hashes.len() == TILE {
            let row = std::mem::replace(row, Row { index: row.index + 1, hashes: Vec::new() });
            self.close(level, &row, true);
        }
    }

    /// The tree has the checkpoint's size: its partial tiles have to be there.
    pub(super) fn edge(&mut self) {
        for (level, row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            if !row.hashes.is_empty() {
                self.compare(level, &row, true);
                self.seen(u8::try_from(level).unwrap_or(ENTRIES - 1), &row);
                if level == 0 {
                    self.seen(ENTRIES, &row);
                }
            }
            self.rows.push(row);
        }
    }

    /// A listed tile was compared already, as one that must be there.
    fn seen(&mut self, level: u8, row: &Row) {
        if let Some(widths) = self.loose.get_mut(&(level, row.index)) {
            widths.retain(|width| usize::from(*width) * HASH != row.hashes.len());
        }
    }

    /// No more leaves come: what is still in the listing must be explained by those that did.
    /// `unread` says that there are entries beyond the checkpoint that were not read: their tiles are not judged.
    pub(super) fn finish(&mut self, unread: bool) {
        for (level, row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            self.close(level, &row, false);
        }
        let mut rest: Vec<_> = self.loose.drain().collect();
        rest.sort_unstable();
        for ((level, index), widths) in rest {
            for width in widths.into_iter().filter(|width| !(unread && end_of(level, index, *width) > self.size)) {
                self.findings.add(None, format!("{} is not a tile of this tree", path_of(level, index, width)));
            }
        }
    }

    /// Compares a row with the tiles that should be there and with those that a listing told of.
    fn close(&mut self, level: usize, row: &Row, full: bool) {
        let place = u8::try_from(level).unwrap_or(ENTRIES - 1);
        if full && width_at(place, row.index, self.size) == FULL {
            self.compare(level, row, true);
        }
        let width = row.hashes.len() / HASH;
        for listed in self.loose.remove(&(place, row.index)).unwrap_or_default() {
            if usize::from(listed) <= width {
                let part = &row.hashes[..usize::from(listed) * HASH];
                self.compare(level, &Row { index: row.index, hashes: part.to_vec() }, false);
            } else {
                self.loose.entry((place, row.index)).or_default().push(listed);
            }
        }
        if level == 0 {
            for listed in self.loose.remove(&(ENTRIES, row.index)).unwrap_or_default() {
                if usize::from(listed) <= width {
                    self.compare_bundle(BundleId { index: row.index, width: listed }, &row.hashes);
                } else {
                    self.loose.entry((ENTRIES, row.index)).or_default().push(listed);
                }
            }
        }
    }

    fn compare(&mut self, level: usize, row: &Row, needed: bool) {
        let width = u16::try_from(row.hashes.len() / HASH).unwrap_or(FULL);
        let id = TileId { level: u8::try_from(level).unwrap_or(ENTRIES - 1), index: row.index, width };
        let path = id.path();
        let mut read = self.source.whole(&path, TILE as u64);
        let absent = |read: &io::Result<Vec<u8>>| matches!(read, Err(error) if error.kind() == io::ErrorKind::NotFound);
        if absent(&read) && width < FULL && needed {
            // A wider one may have taken its place.
            read = self.source.read(&path);
        }
        if absent(&read) && !needed {
            return;
        }
        self.compared += 1;
        match read {
            Ok(bytes) if bytes == row.hashes => {}
            Ok(_) => self.findings.add(None, format!("{path} does not hold the hashes of the entries")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.findings.add(None, format!("{path} is missing"));
            }
            Err(error) => self.findings.add(None, format!("{path} cannot be read: {error}")),
        }
    }

    /// Compares a bundle that was not read as part of the log with the leaves.
    fn compare_bundle(&mut self, id: BundleId, leaves: &[u8]) {
        let path = id.path();
        let bytes = match self.source.whole(&path, MAX_BUNDLE as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.findings.add(None, format!("{path} cannot be read: {error}")),
        };
        let mut rest = bytes.as_slice();
        let mut same = true;
        for leaf in leaves.chunks_exact(HASH).take(usize::from(id.width)) {
            match split_entry(rest) {
                Some((entry, behind)) => {
                    same &= leaf_hash(entry) == leaf;
                    rest = behind;
                }
                None => same = false,
            }
        }
        self.compared += 1;
        if !same || !rest.is_empty() {
            self.findings.add(None, format!("{path} does not hold the entries of the log"));
        }
    }
}

/// The entries that a file of the tree reaches to.
fn end_of(level: u8, index: u64, width: u16) -> u64 {
    let level = if level == ENTRIES { 0 } else { u32::from(level) };
    let rows = index.saturating_mul(u64::from(FULL)).saturating_add(u64::from(width));
    rows.saturating_mul(256_u64.saturating_pow(level))
}

fn path_of(level: u8, index: u64, width: u16) -> String {
    if level == ENTRIES { BundleId { index, width }.path() } else { TileId { level, index, width }.path() }
}
