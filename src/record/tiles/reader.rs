//! Reads the tree out of tiles: any complete subtree's root, and the entries.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::{BundleId, FULL, HASH, HEIGHT, TileId, TileSource, split_bundle, width_at};
use crate::record::merkle::node_hash;

/// Tiles kept, of 8 KiB each. A proof in a tree of 2^40 entries touches five of each edge.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// The hashes of a tile.
type Hashes = Arc<[[u8; HASH]]>;

/// Reads a log's tree and entries from a source, and keeps the tiles that it read last.
///
/// What it gives is what the source says: whoever needs to know compares it with a signed root.
pub struct TileReader<S> {
    source: S,
    kept: Mutex<LruCache<TileId, Hashes>>,
}

impl<S: TileSource> TileReader<S> {
    /// A reader that has read nothing yet.
    pub fn new(source: S) -> Self {
        Self { source, kept: Mutex::new(LruCache::new(KEPT)) }
    }

    /// Where it reads.
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// The root of the complete subtree over the leaves `index * 2^level` to `(index + 1) * 2^level - 1`, in a tree of
    /// `size` leaves. At level 0 this is a leaf's hash.
    ///
    /// # Errors
    /// `InvalidInput` when the tree has no such subtree, otherwise as [`TileSource::read`].
    pub fn node(&self, level: u8, index: u64, size: u64) -> io::Result<[u8; 32]> {
        let (tile_level, within) = (level / HEIGHT, level % HEIGHT);
        let absent =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("no subtree {index} at level {level} of {size}"));
        let first = index.checked_mul(1 << within).ok_or_else(absent)?;
        let tile = first / u64::from(FULL);
        let width = width_at(tile_level, tile, size);
        let start = usize::try_from(first % u64::from(FULL)).map_err(|_| absent())?;
        let end = start + (1 << within);
        if end > usize::from(width) {
            return Err(absent());
        }
        let tile = self.tile(TileId { level: tile_level, index: tile, width })?;
        let mut nodes = tile.get(start..end).ok_or_else(absent)?.to_vec();
        while nodes.len() > 1 {
            nodes = nodes.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
        }
        nodes.first().copied().ok_or_else(absent)
    }

    /// The hashes of one tile.
    ///
    /// # Errors
    /// As [`TileSource::read`].
    pub fn tile(&self, id: TileId) -> io::Result<Hashes> {
        if let Some(kept) = self.kept().get(&id) {
            return Ok(Arc::clone(kept));
        }
        let bytes = self.source.read(&id.path())?;
        let (hashes, rest) = bytes.as_chunks::<HASH>();
        if hashes.len() != usize::from(id.width) || !rest.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is not what its name says", id.path())));
        }
        let hashes: Hashes = hashes.into();
        self.kept().put(id, Arc::clone(&hashes));
        Ok(hashes)
    }

    /// The entries of one bundle in a log of `size` entries. They are not kept.
    ///
    /// # Errors
    /// `InvalidInput` when there is no such bundle, otherwise as [`TileSource::read`].
    pub fn entries(&self, index: u64, size: u64) -> io::Result<Vec<Vec<u8>>> {
        let width = width_at(0, index, size);
        if width == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no bundle {index} of {size} entries")));
        }
        let path = BundleId { index, width }.path();
        let bytes = self.source.read(&path)?;
        let entries = split_bundle(&bytes, width)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not what its name says")))?;
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// What is kept is only replaced as a whole, so a thread that panicked left it whole.
    fn kept(&self) -> std::sync::MutexGuard<'_, LruCache<TileId, Hashes>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
