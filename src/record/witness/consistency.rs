//! Checks that one tree continues another: RFC 9162, section 2.1.4.2.

use crate::record::merkle::node_hash;

/// Whether `proof` shows that the tree of `new` leaves under `new_root` starts with the `old` leaves under `old_root`.
pub(super) fn continues(old: u64, new: u64, old_root: &[u8; 32], new_root: &[u8; 32], proof: &[[u8; 32]]) -> bool {
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        // Every tree continues the empty one.
        return proof.is_empty();
    }
    if old > new {
        return false;
    }
    // A whole tree of a power of two is itself a node of the larger one, and its root is left out of the proof.
    let (first, rest) = match proof.split_first() {
        _ if old.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (first, rest),
        None => return false,
    };
    let (mut old_node, mut new_node) = (old - 1, new - 1);
    let skipped = old_node.trailing_ones();
    old_node = old_node.checked_shr(skipped).unwrap_or(0);
    new_node = new_node.checked_shr(skipped).unwrap_or(0);
    let (mut from_old, mut from_new) = (*first, *first);
    for hash in rest {
        if new_node == 0 {
            return false;
        }
        if old_node & 1 == 1 || old_node == new_node {
            from_old = node_hash(hash, &from_old);
            from_new = node_hash(hash, &from_new);
            while old_node & 1 == 0 && old_node != 0 {
                old_node >>= 1;
                new_node >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, hash);
        }
        old_node >>= 1;
        new_node >>= 1;
    }
    new_node == 0 && from_old == *old_root && from_new == *new_root
}
