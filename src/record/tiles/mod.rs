//! Tiles: the tree and the entries as files that anyone can check and that never change (C2SP tlog-tiles, height 8).
//!
//! A tile holds up to 256 hashes of one level, and each hash of level `n` stands for 256 of the level below. An entry
//! bundle holds up to 256 entries, each behind its length. What is not full yet is partial and says how wide it is.

mod bundle;
mod path;
mod reader;
mod source;

#[cfg(test)]
mod tests;

pub use bundle::{append_entry, bundle_bytes, split_bundle};
pub use path::{BundleId, TileId};
pub use reader::TileReader;
pub use source::{LogDirectory, TileSource};

/// Hashes in a full tile, entries in a full bundle.
pub const FULL: u16 = 256;
/// Levels of the binary tree in one tile.
pub const HEIGHT: u8 = 8;
/// Bytes of a hash.
pub const HASH: usize = 32;
/// The most bytes that a bundle can have: 256 entries of 65,535 bytes, each behind two bytes of length.
pub const MAX_BUNDLE: usize = FULL as usize * (2 + super::entry::MAX_ENTRY);

/// How many hashes the level of tiles has in a tree of this size: those of complete subtrees alone.
pub const fn level_length(level: u8, size: u64) -> u64 {
    let shift = level as u32 * HEIGHT as u32;
    if shift >= u64::BITS { 0 } else { size >> shift }
}

/// How wide the tile of this level and index is in a tree of this size: 0 when there is none.
pub const fn width_at(level: u8, index: u64, size: u64) -> u16 {
    let length = level_length(level, size);
    match index.checked_mul(FULL as u64) {
        Some(start) if start < length => {
            let left = length - start;
            // No more than 256, so nothing is cut off.
            if left < FULL as u64 { left as u16 } else { FULL }
        }
        _ => 0,
    }
}
