//! The right edge of the tree: what is needed to go on growing it, and the tiles that became full on the way.

use std::collections::VecDeque;
use std::io;

use super::merkle::{leaf_hash, no_leaves, node_hash, subtree};
use super::tiles::{
    BundleId, FULL, LogDirectory, TileId, TileReader, TileSource as _, append_entry, level_length, split_bundle,
    width_at,
};

/// A file of the log: its path and its bytes.
pub(super) type Tile = (String, Vec<u8>);

/// The right edge. Its memory is one bundle, and one tile a level, and what is full and not yet written.
#[derive(Default)]
pub(super) struct Edge {
    size: u64,
    /// The hashes of the last tile of each level, fewer than 256 of each.
    levels: Vec<Vec<[u8; 32]>>,
    /// The entries of the last bundle, fewer than 256.
    bundle: Vec<u8>,
    /// Full bundles that are to be written, oldest first.
    pub(super) bundles: VecDeque<Tile>,
    /// Full tiles that are to be written.
    pub(super) tiles: VecDeque<Tile>,
}

impl Edge {
    /// Reads the edge of a tree of `size` leaves from its tiles. That it is that of a signed root is for who calls.
    ///
    /// # Errors
    /// `InvalidData` when the last bundle does not hold the entries whose hashes stand in the tile beside it, and
    /// whatever reading gives.
    pub(super) fn read(tiles: &TileReader<LogDirectory>, size: u64) -> io::Result<Self> {
        let mut levels = Vec::new();
        for level in 0.. {
            let length = level_length(level, size);
            if length == 0 {
                break;
            }
            let index = length / u64::from(FULL);
            let width = width_at(level, index, size);
            let hashes = if width == 0 { Vec::new() } else { tiles.tile(TileId { level, index, width })?.to_vec() };
            levels.push(hashes);
        }
        let (index, width) = (size / u64::from(FULL), width_at(0, size / u64::from(FULL), size));
        let id = BundleId { index, width };
        let bundle = if width == 0 { Vec::new() } else { tiles.source().read(&id.path())? };
        let entries = split_bundle(&bundle, width);
        let leaves = entries.map(|entries| entries.into_iter().map(leaf_hash).collect::<Vec<_>>());
        if leaves.is_none_or(|leaves| levels.first().map_or(&[][..], Vec::as_slice) != leaves) {
            let what = format!("{} does not hold the entries of the tree", id.path());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self { size, levels, bundle, ..Self::default() })
    }

    /// Leaves in the tree.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, entry: &[u8]) {
        append_entry(&mut self.bundle, entry);
        self.size += 1;
        if self.size.is_multiple_of(u64::from(FULL)) {
            let id = BundleId { index: self.size / u64::from(FULL) - 1, width: FULL };
            // The next bundle is likely to be about as long.
            let next = Vec::with_capacity(self.bundle.len());
            self.bundles.push_back((id.path(), std::mem::replace(&mut self.bundle, next)));
        }
        self.add(0, leaf_hash(entry));
    }

    fn add(&mut self, level: u8, hash: [u8; 32]) {
        let at = usize::from(level);
        if self.levels.len() == at {
            self.levels.push(Vec::with_capacity(usize::from(FULL)));
        }
        let hashes = &mut self.levels[at];
        hashes.push(hash);
        if hashes.len() == usize::from(FULL) {
            let above = subtree(hashes);
            let index = level_length(level, self.size) / u64::from(FULL) - 1;
            self.tiles.push_back((TileId { level, index, width: FULL }.path(), hashes.concat()));
            hashes.clear();
            self.add(level + 1, above);
        }
    }

    /// The root; for no leaves the hash of nothing.
    pub(super) fn root(&self) -> [u8; 32] {
        let mut root = None;
        // From the leaves upwards, and in each level from the right: so the smallest subtree comes first.
        for hashes in &self.levels {
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let (others, last) = rest.split_at(rest.len() - (1 << rest.len().trailing_zeros()));
                let left = subtree(last);
                root = Some(root.map_or(left, |right| node_hash(&left, &right)));
                rest = others;
            }
        }
        root.unwrap_or_else(no_leaves)
    }

    /// The partial bundle, if there is one.
    pub(super) fn partial_bundle(&self) -> Option<Tile> {
        let (index, width) = (self.size / u64::from(FULL), width_at(0, self.size / u64::from(FULL), self.size));
        (width > 0).then(|| (BundleId { index, width }.path(), self.bundle.clone()))
    }

    /// The partial tiles.
    pub(super) fn partial_tiles(&self) -> impl Iterator<Item = Tile> {
        (0..).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty()).map(|(level, hashes)| {
            let index = level_length(level, self.size) / u64::from(FULL);
            let width = width_at(level, index, self.size);
            (TileId { level, index, width }.path(), hashes.concat())
        })
    }
}
