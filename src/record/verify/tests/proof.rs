//! Proofs: the published ones hold, those of the definition hold, and nothing else does.

use proptest::prelude::*;

use super::super::crypto::{leaf_hash, node_hash, sha256};
use super::super::proof::*;

/// RFC 6962, section 2.1, word for word.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// RFC 6962, section 2.1.1.
fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, other) = match index.checked_sub(left.len()) {
        None => (path(index, left), root(right)),
        Some(index) => (path(index, right), root(left)),
    };
    path.push(other);
    path
}

/// RFC 6962, section 2.1.2.
fn proof(old: usize, leaves: &[[u8; 32]], whole: bool) -> Vec<[u8; 32]> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, other) = if old <= left.len() {
        (proof(old, left, whole), root(right))
    } else {
        (proof(old - left.len(), right, false), root(left))
    };
    proof.push(other);
    proof
}

fn leaves(count: usize) -> Vec<[u8; 32]> {
    (0..count).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
}

fn hash(hex: &str) -> [u8; 32] {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(byte).collect::<Vec<_>>().try_into().unwrap()
}

/// The leaves of the reference tests of Certificate Transparency.
fn published() -> Vec<[u8; 32]> {
    let hex = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.iter().map(|hex| leaf_hash(&hex.as_bytes().chunks(2).map(byte).collect::<Vec<_>>())).collect()
}

const A: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const B: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const C: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const D: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const E: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const F: &str = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
const G: &str = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125";
const H: &str = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
const I: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

#[test]
fn the_published_proofs_hold() {
    let leaves = published();
    let inclusions: [(usize, usize, &[&str]); 5] =
        [(0, 1, &[]), (0, 8, &[A, B, C]), (5, 8, &[D, E, F]), (2, 3, &[G]), (1, 5, &[H, B, D])];
    for (index, size, path) in inclusions {
        let path: Vec<_> = path.iter().map(|hex| hash(hex)).collect();
        assert!(
            includes(index as u64, &leaves[index], size as u64, &root(&leaves[..size]), &path),
            "{index} of {size}"
        );
    }
    let consistencies: [(usize, usize, &[&str]); 4] =
        [(1, 1, &[]), (1, 8, &[A, B, C]), (6, 8, &[I, E, F]), (2, 5, &[B, D])];
    for (old, new, path) in consistencies {
        let path: Vec<_> = path.iter().map(|hex| hash(hex)).collect();
        let (was, is) = (root(&leaves[..old]), root(&leaves[..new]));
        assert!(is_consistent((old as u64, &was), (new as u64, &is), &path), "{old} in {new}");
    }
}

#[test]
fn every_true_proof_of_a_small_tree_holds_and_no_neighbour_of_it_does() {
    let all = leaves(34);
    for size in 1..all.len() {
        let (tree, top) = (&all[..size], root(&all[..size]));
        for index in 0..size {
            let path = path(index, tree);
            for claimed in 0..size + 2 {
                let holds = includes(claimed as u64, &tree[index], size as u64, &top, &path);
                assert_eq!(holds, claimed == index, "leaf {index} of {size} as {claimed}");
            }
        }
        for old in 1..=size {
            let path = proof(old, tree, true);
            let was = root(&tree[..old]);
            assert!(is_consistent((old as u64, &was), (size as u64, &top), &path), "{old} in {size}");
            assert!(!is_consistent((size as u64, &was), (old as u64, &top), &path) || old == size);
            let other = root(&all[1..=old]);
            assert!(
                !is_consistent((old as u64, &other), (size as u64, &top), &path),
                "another tree of {old} in {size}"
            );
        }
        assert!(is_consistent((0, &sha256(b"")), (size as u64, &top), &[]));
        assert!(!is_consistent((0, &top), (size as u64, &top), &[]));
    }
}

proptest! {
    /// A proof with anything in it changed proves nothing.
    #[test]
    fn a_changed_proof_holds_for_nothing(
        size in 2_usize..300,
        place in any::<prop::sample::Index>(),
        change in 0_u8..5,
        at in any::<prop::sample::Index>(),
        bit in 0_usize..256,
    ) {
        let tree = leaves(size);
        let index = place.index(size);
        let (mut path, mut leaf, mut top) = (path(index, &tree), tree[index], root(&tree));
        let flip = |hash: &mut [u8; 32]| hash[bit / 8] ^= 1 << (bit % 8);
        match change {
            0 => flip(&mut leaf),
            1 => flip(&mut top),
            2 => { let at = at.index(path.len()); flip(&mut path[at]) }
            3 => { path.remove(at.index(path.len())); }
            _ => path.insert(at.index(path.len() + 1), [7; 32]),
        }
        prop_assert!(!includes(index as u64, &leaf, size as u64, &top, &path));

        let old = 1 + place.index(size - 1);
        let (mut path, mut was, mut is) = (proof(old, &tree, true), root(&tree[..old]), root(&tree));
        match change {
            0 => flip(&mut was),
            1 => flip(&mut is),
            2 => { let at = at.index(path.len()); flip(&mut path[at]) }
            3 => { path.remove(at.index(path.len())); }
            _ => path.insert(at.index(path.len() + 1), [7; 32]),
        }
        prop_assert!(!is_consistent((old as u64, &was), (size as u64, &is), &path));
    }

    /// No numbers, however large, and no path, however long, make the check panic.
    #[test]
    fn any_numbers_are_judged(
        index in any::<u64>(), size in any::<u64>(), old in any::<u64>(),
        path in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        prop_assert!(!includes(index, &[1; 32], size, &[2; 32], &path));
        prop_assert!(!is_consistent((old, &[1; 32]), (size, &[2; 32]), &path));
    }
}
