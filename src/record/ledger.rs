//! Entries become durable, then leaves of the tree, then part of a signed checkpoint: in this order and no other.

use std::sync::Arc;

use tokio::sync::watch;

use super::error::RecordError;
use super::frame;
use super::log::Published;
use super::merkle::{Frontier, leaf_hash};
use super::note::Checkpoint;
use super::signer::Signer;
use super::store::Storage;

/// The log as its only writer holds it. After an error it must not be used again: what the disk holds is then unknown.
pub(super) struct Ledger {
    pub(super) storage: Box<dyn Storage>,
    pub(super) signer: Signer,
    pub(super) origin: String,
    pub(super) tree: Frontier,
    /// The checkpoint on disk, and who wants to know of the next.
    pub(super) published: watch::Sender<Arc<Published>>,
    /// The frames of a batch, so that a batch is one write.
    pub(super) frames: Vec<u8>,
}

impl Ledger {
    /// The index that the next entry gets.
    pub(super) const fn next_index(&self) -> u64 {
        self.tree.size()
    }

    /// Writes one batch and makes it durable: one write, one sync.
    pub(super) fn write<'a>(&mut self, entries: impl Iterator<Item = &'a [u8]>) -> Result<(), RecordError> {
        self.frames.clear();
        for (place, (index, entry)) in (0..).zip((self.next_index()..).zip(entries)) {
            frame::encode(&mut self.frames, place, index, entry);
        }
        self.storage.append(&self.frames).map_err(|error| unavailable("a write failed", &error))?;
        self.storage.sync().map_err(|error| unavailable("a sync failed", &error))
    }

    /// Takes the batch that was just written into the tree.
    pub(super) fn grow<'a>(&mut self, entries: impl Iterator<Item = &'a [u8]>) {
        for entry in entries {
            self.tree.push(leaf_hash(entry));
        }
    }

    /// Whether entries are durable that no checkpoint covers.
    pub(super) fn has_grown(&self) -> bool {
        self.tree.size() > self.published.borrow().size
    }

    /// Signs and publishes a checkpoint over everything that is durable.
    pub(super) fn checkpoint(&mut self) -> Result<(), RecordError> {
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: self.tree.size(), root: self.tree.root() };
        let note = self.signer.note(&checkpoint)?;
        self.storage
            .publish(note.as_bytes())
            .map_err(|error| unavailable("a checkpoint could not be published", &error))?;
        self.published.send_replace(Arc::new(Published { size: checkpoint.size, root: checkpoint.root, note }));
        Ok(())
    }

    /// Leaves the log as it should lie: under a checkpoint that covers it, and in no more space than it needs.
    pub(super) fn close(&mut self) -> Result<(), RecordError> {
        if self.has_grown() {
            self.checkpoint()?;
        }
        self.storage.close().map_err(|error| unavailable("the log could not be cut to its length", &error))
    }
}

fn unavailable(what: &str, error: &std::io::Error) -> RecordError {
    RecordError::Unavailable(format!("{what}: {error}").into())
}
