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

fn hash(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The Merkle tree of RFC 6962 as a binary counter: level `n` holds the root of a complete subtree of 2^n leaves, or
/// nothing.
#[derive(Default)]
pub(in crate::record) struct Tree {
    levels: Vec<Option<[u8; 32]>>,
}

impl Tree {
    /// Adds a leaf.
    pub(in crate::record) fn push(&mut self, data: &[u8]) {
        let mut carry = hash(&[&[0x00], data]);
        for level in &mut self.levels {
            match level.take() {
                Some(left) => carry = hash(&[&[0x01], &left, &carry]),
                None => {
                    *level = Some(carry);
                    return;
                }
            }
        }
        self.levels.push(Some(carry));
    }

    /// The root over every leaf so far.
    pub(in crate::record) fn root(&self) -> [u8; 32] {
        let join = |right: [u8; 32], left: [u8; 32]| hash(&[&[0x01], &left, &right]);
        self.levels.iter().flatten().copied().reduce(join).unwrap_or_else(|| hash(&[]))
    }
}
