//! Checks proofs of inclusion and of consistency by the rules of RFC 9162, sections 2.1.3.2 and 2.1.4.2. Whoever made
//! them, here or elsewhere, shares no code with this.

use super::crypto::{node_hash, sha256};

/// Most hashes of a proof: a tree has fewer than 2^64 leaves.
pub(super) const MOST_HASHES: usize = 64;

/// Whether the path proves that the leaf stands at `index` of the tree with this size and root.
pub(in crate::record) fn includes(index: u64, leaf: &[u8; 32], size: u64, root: &[u8; 32], path: &[[u8; 32]]) -> bool {
    root_by(index, leaf, size, path).as_ref() == Some(root)
}

/// The root of a tree of this size that has the leaf at `index`, if the path is one; `None` when no path there is like it.
pub(super) fn root_by(index: u64, leaf: &[u8; 32], size: u64, path: &[[u8; 32]]) -> Option<[u8; 32]> {
    if index >= size || path.len() > MOST_HASHES {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

/// Whether the path proves that the tree of size `new` begins with all of the tree of size `old`.
pub(in crate::record) fn is_consistent(
    (old, old_root): (u64, &[u8; 32]),
    (new, new_root): (u64, &[u8; 32]),
    path: &[[u8; 32]],
) -> bool {
    if old > new || path.len() > MOST_HASHES {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty() && *old_root == sha256(b"");
    }
    // A tree that is one complete subtree is its own first hash, and a proof leaves that out.
    let (first, rest) = if old.is_power_of_two() {
        (*old_root, path)
    } else {
        match path.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return false,
        }
    };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut was, mut is) = (first, first);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            was = node_hash(hash, &was);
            is = node_hash(hash, &is);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            is = node_hash(&is, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && was == *old_root && is == *new_root
}
