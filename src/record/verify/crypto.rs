//! The verifier's own hashing, signatures and tree, on ring. Written apart from the signer's on purpose: an error in
//! one is not repeated by the other.

use ring::digest::{Context, SHA256};
use ring::signature::{ED25519, UnparsedPublicKey};

/// SHA-256 of one piece.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    hash(&[bytes])
}

/// Whether the Ed25519 signature (RFC 8032) is of this key over this message.
pub(super) fn verifies(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// Hash of a leaf (RFC 6962, section 2.1).
pub(super) fn leaf_hash(data: &[u8]) -> [u8; 32] {
    hash(&[&[0x00], data])
}

/// Hash of an inner node (RFC 6962, section 2.1).
pub(super) fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut bytes = [0x01; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    hash(&[&bytes])
}

fn hash(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The root over these leaves, which are a power of two.
pub(super) fn full_root(leaves: &[[u8; 32]]) -> [u8; 32] {
    let mut row = leaves.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row.first().copied().unwrap_or_else(|| hash(&[]))
}

/// The Merkle tree of RFC 6962 as a binary counter: level `n` holds the root of a complete subtree of 2^n leaves, or
/// nothing.
#[derive(Default, Clone)]
pub(in crate::record) struct Tree {
    size: u64,
    levels: Vec<Option<[u8; 32]>>,
}

impl Tree {
    /// Adds a leaf.
    #[cfg(test)]
    pub(in crate::record) fn push(&mut self, data: &[u8]) {
        self.push_full(0, leaf_hash(data), |_, _| {});
    }

    /// Adds a complete subtree of 2^`height` leaves, where the tree has room for just that: its size is a multiple of
    /// it. Hears of each complete subtree that this makes, by its height.
    pub(super) fn push_full(&mut self, height: usize, root: [u8; 32], mut made: impl FnMut(usize, &[u8; 32])) {
        debug_assert!(self.size.is_multiple_of(1 << height));
        self.size += 1 << height;
        if self.levels.len() < height {
            self.levels.resize(height, None);
        }
        made(height, &root);
        let mut carry = root;
        for (level, slot) in self.levels.iter_mut().enumerate().skip(height) {
            match slot.take() {
                Some(left) => {
                    carry = node_hash(&left, &carry);
                    made(level + 1, &carry);
                }
                None => {
                    *slot = Some(carry);
                    return;
                }
            }
        }
        self.levels.push(Some(carry));
    }

    /// Leaves so far.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The root over every leaf so far.
    pub(in crate::record) fn root(&self) -> [u8; 32] {
        let join = |right: [u8; 32], left: [u8; 32]| node_hash(&left, &right);
        self.levels.iter().flatten().copied().reduce(join).unwrap_or_else(|| hash(&[]))
    }
}
