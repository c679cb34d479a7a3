//! The hashes of the Merkle tree of RFC 6962, section 2.1.

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

/// Root of the tree without leaves: the hash of nothing.
pub(super) fn no_leaves() -> [u8; 32] {
    *Digest::of(b"").as_bytes()
}

/// Root of a complete subtree over these nodes, whose number is a power of two.
pub(super) fn subtree(nodes: &[[u8; 32]]) -> [u8; 32] {
    match nodes {
        [] => no_leaves(),
        [node] => *node,
        [left, right] => node_hash(left, right),
        _ => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            node_hash(&subtree(left), &subtree(right))
        }
    }
}
