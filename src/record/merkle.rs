//! The Merkle tree of RFC 6962, section 2.1, grown one leaf at a time in logarithmic memory.

use crate::types::{Digest, Hasher};

/// Hash of a leaf: SHA-256(0x00 || data).
pub(super) fn leaf_hash(data: &[u8]) -> [u8; 32] {
    let mut hasher = Hasher::new();
    hasher.update(&[0x00]);
    hasher.update(data);
    *hasher.finish().as_bytes()
}

/// Hash of an inner node: SHA-256(0x01 || left || right).
pub(super) fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut bytes = [0x01; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    *Digest::of(&bytes).as_bytes()
}

/// The right edge of the tree: the roots of its complete subtrees, largest first. One for each bit set in the size.
#[derive(Debug, Clone, Default)]
pub(super) struct Frontier {
    size: u64,
    subtrees: Vec<[u8; 32]>,
}

impl Frontier {
    /// Leaves in the tree.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Adds one leaf.
    pub(super) fn push(&mut self, leaf: [u8; 32]) {
        let mut node = leaf;
        // Each trailing one bit of the size is a complete subtree that the new leaf completes to a larger one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.subtrees.push(node);
        self.size += 1;
    }

    /// The root; for no leaves the hash of nothing.
    pub(super) fn root(&self) -> [u8; 32] {
        let fold = |right: [u8; 32], left: &[u8; 32]| node_hash(left, &right);
        match self.subtrees.split_last() {
            None => *Digest::of(b"").as_bytes(),
            Some((last, larger)) => larger.iter().rev().fold(*last, fold),
        }
    }
}
