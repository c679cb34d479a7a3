//! Makes proofs of inclusion and consistency (RFC 6962, sections 2.1.1 and 2.1.2) out of complete subtrees.
//!
//! Proofs are checked in [`verify`](super::verify), by code that shares nothing with this.

use std::io;

use super::merkle::{no_leaves, node_hash};

/// A hash in the tree.
type Hash = [u8; 32];

/// The audit path of the leaf at `index` in a tree of `size` leaves, from the leaf upwards. `node` gives the root of
/// the complete subtree `(level, index)`, as [`TileReader::node`](super::tiles::TileReader::node) does.
///
/// # Errors
/// `InvalidInput` when the tree has no such leaf, and what `node` gives.
pub fn inclusion(index: u64, size: u64, mut node: impl FnMut(u8, u64) -> io::Result<Hash>) -> io::Result<Vec<Hash>> {
    if index >= size {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a tree of {size} has no leaf {index}")));
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = split(start, end);
        if index < middle {
            path.push(range(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(range(start, middle, &mut node)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves. Empty when they are the same
/// tree or the old one is empty.
///
/// # Errors
/// `InvalidInput` when `old` is larger than `new`, and what `node` gives.
pub fn consistency(old: u64, new: u64, mut node: impl FnMut(u8, u64) -> io::Result<Hash>) -> io::Result<Vec<Hash>> {
    if old > new {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a tree of {old} is no part of one of {new}")));
    }
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(path);
    }
    // The part of the new tree in which the old one ends; whether that part is where the old tree began.
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = split(start, end);
        if old <= middle {
            path.push(range(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(range(start, middle, &mut node)?);
            start = middle;
        }
    }
    // Whoever checks knows the old root, and needs this one only when it is another.
    if start > 0 {
        path.push(range(start, end, &mut node)?);
    }
    path.reverse();
    Ok(path)
}

/// The root of a whole tree.
///
/// # Errors
/// What `node` gives.
pub fn root(size: u64, mut node: impl FnMut(u8, u64) -> io::Result<Hash>) -> io::Result<Hash> {
    if size == 0 { Ok(no_leaves()) } else { range(0, size, &mut node) }
}

/// Where RFC 6962 splits a range of more than one leaf: behind the largest power of two that is smaller.
const fn split(start: u64, end: u64) -> u64 {
    start + (1 << (end - start - 1).ilog2())
}

/// The hash over a range that starts where a subtree of its size may start: from its complete subtrees, right to left.
fn range(start: u64, end: u64, node: &mut impl FnMut(u8, u64) -> io::Result<Hash>) -> io::Result<Hash> {
    let mut at = end;
    let mut hash = None;
    while at > start {
        let level = (at - start).trailing_zeros();
        at -= 1 << level;
        // At most 63, since it counts bits of a u64 that is not zero.
        let left = node(level as u8, at >> level)?;
        hash = Some(hash.map_or(left, |right| node_hash(&left, &right)));
    }
    hash.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an empty range has no hash"))
}
