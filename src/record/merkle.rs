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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962, section 2.1, word for word.
    fn naive(leaves: &[Vec<u8>]) -> [u8; 32] {
        match leaves {
            [] => *Digest::of(b"").as_bytes(),
            [leaf] => leaf_hash(leaf),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&naive(left), &naive(right))
            }
        }
    }

    #[test]
    fn the_published_roots() {
        // The leaves and roots of the reference tests of Certificate Transparency.
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::default();
        for (size, root) in roots.iter().enumerate() {
            assert_eq!(Digest::from_bytes(tree.root()).hex(), *root, "of {size} leaves");
            if let Some(leaf) = leaves.get(size) {
                tree.push(leaf_hash(leaf));
            }
        }
    }

    proptest! {
        #[test]
        fn the_root_is_that_of_the_definition(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..200)) {
            let mut tree = Frontier::default();
            let mut checker = crate::record::verify::Tree::default();
            for leaf in &leaves {
                tree.push(leaf_hash(leaf));
                checker.push(leaf);
            }
            prop_assert_eq!(tree.size(), leaves.len() as u64);
            prop_assert_eq!(tree.root(), naive(&leaves));
            prop_assert_eq!(checker.root(), naive(&leaves));
        }
    }
}
