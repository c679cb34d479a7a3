//! The tree against its definition and its published roots, the signer's and the verifier's alike.

use proptest::prelude::*;

use crate::record::edge::Edge;
use crate::record::merkle::{leaf_hash, node_hash};
use crate::types::Digest;

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
    let mut tree = Edge::default();
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(Digest::from_bytes(tree.root()).hex(), *root, "of {size} leaves");
        if let Some(leaf) = leaves.get(size) {
            tree.push(leaf);
        }
    }
}

proptest! {
    #[test]
    fn the_root_is_that_of_the_definition(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..200)) {
        let mut tree = Edge::default();
        let mut checker = crate::record::verify::Tree::default();
        for leaf in &leaves {
            tree.push(leaf);
            checker.push(leaf);
        }
        prop_assert_eq!(tree.size(), leaves.len() as u64);
        prop_assert_eq!(tree.root(), naive(&leaves));
        prop_assert_eq!(checker.root(), naive(&leaves));
    }
}
