//! Durable entries become tiles, then part of a signed checkpoint, then public: in this order and no other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::edge::Edge;
use super::error::RecordError;
use super::handover::Handover;
use super::log::Published;
use super::note::Checkpoint;
use super::signer::Signer;
use super::store::{CHECKPOINT, Directory, Trouble};
use super::tiles::{BundleId, FULL, HEIGHT, TileId};

/// The tiles and the checkpoint as their only writer holds them. After a fatal error it must not be used again.
pub(super) struct Publisher {
    directory: Arc<Directory>,
    signer: Signer,
    origin: String,
    edge: Edge,
    /// The checkpoint on disk, and who wants to know of the next.
    published: watch::Sender<Arc<Published>>,
    /// The partial files that belong to it.
    partials: Vec<String>,
    /// Directories with names that are not durable yet.
    unsynced: BTreeSet<PathBuf>,
}

impl Publisher {
    /// Goes on from a checkpoint, with the edge of its tree.
    pub(super) fn new(
        directory: Arc<Directory>,
        signer: Signer,
        origin: String,
        edge: Edge,
        published: watch::Sender<Arc<Published>>,
    ) -> Self {
        let partials = partials(&edge).map(|(path, _)| path).collect();
        Self { directory, signer, origin, edge, published, partials, unsynced: BTreeSet::new() }
    }

    /// Entries that it has, published or not.
    pub(super) const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Takes a durable entry into the tree.
    pub(super) fn take(&mut self, entry: &[u8]) {
        self.edge.push(entry);
    }

    /// Writes the bundles and tiles that became full. Nobody looks for them before a checkpoint covers them.
    pub(super) fn flush(&mut self) -> Result<(), Trouble> {
        while let Some((path, bytes)) = self.edge.bundles.front() {
            put(&self.directory, &mut self.unsynced, path, bytes)?;
            self.edge.bundles.pop_front();
        }
        self.sync()?;
        while let Some((path, bytes)) = self.edge.tiles.front() {
            put(&self.directory, &mut self.unsynced, path, bytes)?;
            self.edge.tiles.pop_front();
        }
        self.sync()
    }

    /// Publishes a checkpoint over everything it has, unless that is published already.
    pub(super) fn publish(&mut self, handover: &Handover) -> Result<(), Trouble> {
        if self.size() == self.published.borrow().size {
            return Ok(());
        }
        self.flush()?;
        let mut partials = Vec::new();
        if let Some((path, bytes)) = self.edge.partial_bundle() {
            put(&self.directory, &mut self.unsynced, &path, &bytes)?;
            partials.push(path);
        }
        self.sync()?;
        for (path, bytes) in self.edge.partial_tiles() {
            put(&self.directory, &mut self.unsynced, &path, &bytes)?;
            partials.push(path);
        }
        self.sync()?;
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: self.size(), root: self.edge.root() };
        let note = self.signer.note(&checkpoint).map_err(Trouble::Fatal)?;
        self.persist(&note, handover)?;
        handover.publish(checkpoint.size);
        self.published.send_replace(Arc::new(Published { size: checkpoint.size, root: checkpoint.root, note }));
        for old in std::mem::replace(&mut self.partials, partials) {
            if !self.partials.contains(&old) {
                self.drop_partial(&old);
            }
        }
        Ok(())
    }

    /// Puts the checkpoint in place of the one that was put there last, and of no other.
    fn persist(&self, note: &str, handover: &Handover) -> Result<(), Trouble> {
        let stands =
            std::fs::read(self.directory.file(CHECKPOINT)).map_err(Trouble::fatal("no checkpoint can be read"))?;
        if stands != self.published.borrow().note.as_bytes() {
            let what = "the checkpoint is not the one that was published last: something else writes in the log";
            return Err(Trouble::Fatal(RecordError::Unavailable(what.into())));
        }
        if handover.is_aborted() {
            return Err(Trouble::Fatal(RecordError::Unavailable("the log failed".into())));
        }
        self.directory.replace(CHECKPOINT, note.as_bytes())
    }

    /// Removes a partial file that a wider or a full one supersedes. That it stays does no harm: it is a true part of
    /// the wider one, and the next opening looks again.
    fn drop_partial(&self, path: &str) {
        let path = self.directory.file(path);
        if let Err(error) = self.directory.disk.remove(&path) {
            tracing::warn!(error = %error, path = %path.display(), "a partial tile that is superseded stays");
        }
        // The directory goes with its last file, and fails to go while there is another.
        if let Some(parent) = path.parent() {
            let _ = self.directory.disk.remove_directory(parent);
        }
    }

    /// Removes what a crash may have left of entries from `base` on: partial files that were superseded, and files
    /// beyond the tree, of entries that were never acknowledged.
    pub(super) fn sweep(&self, base: u64) {
        let size = self.size();
        let levels = 0..=(u64::BITS / u32::from(HEIGHT));
        for level in std::iter::once(None).chain(levels.map(Some)) {
            let shift = (level.unwrap_or(0) + 1) * u32::from(HEIGHT);
            let at = |index: u64| index.checked_shr(shift).unwrap_or(0);
            let (mut index, edge) = (at(base), at(size));
            let path = |index, width| match level {
                None => BundleId { index, width }.path(),
                // At most 8.
                Some(level) => TileId { level: level as u8, index, width }.path(),
            };
            loop {
                let full = path(index, FULL);
                let gone = self.sweep_partials(&full);
                if index >= edge {
                    let there = self.directory.file(&full).exists();
                    if there {
                        self.drop_partial(&full);
                    }
                    if index > edge && !there && !gone {
                        break;
                    }
                }
                index += 1;
            }
        }
    }

    /// Removes the partial files beside a full one, but for those of the checkpoint. Says whether there were any.
    fn sweep_partials(&self, full: &str) -> bool {
        let Ok(names) = std::fs::read_dir(self.directory.file(&format!("{full}.p"))) else { return false };
        let mut any = false;
        for name in names.flatten() {
            let path = format!("{full}.p/{}", name.file_name().to_string_lossy());
            if !self.partials.contains(&path) {
                self.drop_partial(&path);
                any = true;
            }
        }
        any
    }

    fn sync(&mut self) -> Result<(), Trouble> {
        while let Some(directory) = self.unsynced.first() {
            let synced = self.directory.disk.sync_directory(directory);
            synced.map_err(Trouble::fatal("a directory could not be synced"))?;
            self.unsynced.pop_first();
        }
        Ok(())
    }
}

/// The partial files of an edge.
fn partials(edge: &Edge) -> impl Iterator<Item = super::edge::Tile> {
    edge.partial_bundle().into_iter().chain(edge.partial_tiles())
}

/// Puts a file of the tree in place, with the directories above it.
fn put(directory: &Directory, unsynced: &mut BTreeSet<PathBuf>, path: &str, bytes: &[u8]) -> Result<(), Trouble> {
    let target = directory.file(path);
    let mut missing = Vec::new();
    let mut above = target.parent();
    while let Some(parent) = above.filter(|parent| !parent.is_dir()) {
        missing.push(parent.to_owned());
        above = parent.parent();
    }
    for parent in missing.iter().rev() {
        let made = directory.disk.make_directory(parent);
        made.map_err(Trouble::of("a directory could not be made"))?;
        unsynced.extend(parent.parent().map(ToOwned::to_owned));
    }
    directory.put(path, bytes)?;
    unsynced.extend(target.parent().map(ToOwned::to_owned));
    Ok(())
}
