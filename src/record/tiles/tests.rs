//! Coordinates, paths, bundles, and the tree read out of tiles against its definition.

use std::collections::HashMap;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::record::merkle::{leaf_hash, node_hash};
use crate::record::proof;
use crate::types::Digest;

/// RFC 6962, section 2.1, word for word, over leaf hashes.
fn naive(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => *Digest::of(b"").as_bytes(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&naive(left), &naive(right))
        }
    }
}

/// RFC 6962, section 2.1.1, word for word.
fn naive_path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, other) = match index.checked_sub(left.len()) {
        None => (naive_path(index, left), right),
        Some(index) => (naive_path(index, right), left),
    };
    path.push(naive(other));
    path
}

/// RFC 6962, section 2.1.2, word for word.
fn naive_consistency(old: usize, leaves: &[[u8; 32]], whole: bool) -> Vec<[u8; 32]> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, other) = match old.checked_sub(left.len()).filter(|old| *old > 0) {
        None => (naive_consistency(old, left, whole), right),
        Some(old) => (naive_consistency(old, right, false), left),
    };
    path.push(naive(other));
    path
}

fn leaves(count: usize) -> Vec<[u8; 32]> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

/// Tiles of a tree, made by the definition.
struct Made(HashMap<String, Vec<u8>>);

impl Made {
    fn of(leaves: &[[u8; 32]]) -> Self {
        let size = leaves.len() as u64;
        let mut tiles = HashMap::new();
        for level in 0..3 {
            let span = 256_usize.pow(level.into());
            for index in 0.. {
                let width = width_at(level, index, size);
                if width == 0 {
                    break;
                }
                let first = usize::try_from(index).unwrap() * 256;
                let hash = |at: usize| naive(&leaves[at * span..(at + 1) * span]);
                let bytes: Vec<u8> = (first..first + usize::from(width)).flat_map(hash).collect();
                tiles.insert(TileId { level, index, width }.path(), bytes);
            }
        }
        Self(tiles)
    }
}

impl TileSource for Made {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[test]
fn paths_are_those_of_the_format() {
    let tile = |level, index, width| TileId { level, index, width };
    for (id, path) in [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (tile(0, 1067, 5), "tile/0/x001/067.p/5"),
        (tile(63, 272, 112), "tile/63/272.p/112"),
        (tile(1, u64::MAX, 1), "tile/1/x018/x446/x744/x073/x709/x551/615.p/1"),
    ] {
        assert_eq!(id.path(), path);
        assert_eq!(TileId::parse(path), Some(id));
    }
    let bundle = BundleId { index: 1067, width: 256 };
    assert_eq!(bundle.path(), "tile/entries/x001/067");
    assert_eq!(BundleId::parse("tile/entries/x001/067.p/7"), Some(BundleId { width: 7, ..bundle }));
    for bad in [
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/00/001",
        "tile/64/001",
        "tile/-1/001",
        "tile/0/x001",
        "tile/0/",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/05",
        "tile/0/001.p/",
        "tile/0/001.p",
        "tile/0/../001",
        "/tile/0/001",
        "tile/0/001/",
        "tile/entries/001",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/+01",
    ] {
        assert_eq!(TileId::parse(bad), None, "{bad}");
    }
    assert_eq!(BundleId::parse("tile/0/001"), None);
}

#[test]
fn a_tree_of_70000_has_the_tiles_that_the_format_counts() {
    assert_eq!((width_at(0, 272, 70_000), width_at(0, 273, 70_000), width_at(0, 274, 70_000)), (256, 112, 0));
    assert_eq!((width_at(1, 0, 70_000), width_at(1, 1, 70_000), width_at(2, 0, 70_000)), (256, 17, 1));
    assert_eq!((width_at(3, 0, 70_000), width_at(63, 0, u64::MAX), width_at(7, 0, u64::MAX)), (0, 0, 255));
    assert_eq!((width_at(0, 0, 256), width_at(1, 0, 256)), (256, 1));
}

#[test]
fn every_proof_of_every_small_tree_is_that_of_the_definition() {
    for size in 0..=70_usize {
        let leaves = leaves(size);
        let reader = TileReader::new(Made::of(&leaves));
        let wide = size as u64;
        let node = |level, index| reader.node(level, index, wide);
        assert_eq!(proof::root(wide, node).unwrap(), naive(&leaves));
        for index in 0..size {
            assert_eq!(
                proof::inclusion(index as u64, wide, node).unwrap(),
                naive_path(index, &leaves),
                "{index} of {size}"
            );
        }
        for old in 1..=size {
            let expected = naive_consistency(old, &leaves, true);
            assert_eq!(proof::consistency(old as u64, wide, node).unwrap(), expected, "{old} to {size}");
        }
        assert_eq!(proof::consistency(0, wide, node).unwrap(), <Vec<[u8; 32]>>::new());
        assert!(proof::inclusion(wide, wide, node).is_err() && proof::consistency(wide + 1, wide, node).is_err());
    }
}

#[test]
fn a_subtree_that_is_not_complete_is_refused() {
    let reader = TileReader::new(Made::of(&leaves(300)));
    assert!(reader.node(8, 0, 300).is_ok() && reader.node(8, 1, 300).is_err());
    assert!(reader.node(0, 299, 300).is_ok() && reader.node(0, 300, 300).is_err());
    assert!(
        reader.node(63, 1, 300).is_err() && reader.node(255, 0, 300).is_err() && reader.node(7, u64::MAX, 300).is_err()
    );
}

#[test]
fn a_directory_gives_narrower_ones_out_of_wider_ones_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let hashes: Vec<u8> = leaves(256).concat();
    let mut bundle = Vec::new();
    (0..9_u8).for_each(|entry| append_entry(&mut bundle, &[entry; 3]));
    put("tile/0/000", &hashes);
    put("tile/0/001.p/9", &hashes[..9 * 32]);
    put("tile/entries/001.p/9", &bundle);
    put("tile/1/000.p/1", &hashes[..31]);
    put("wal", b"secret");
    put("checkpoint", b"note");
    put("cosigned/2026-11-22.jsonl", b"{}");
    let log = LogDirectory::new(home.path());
    assert_eq!(log.read("tile/0/000.p/3").unwrap(), hashes[..96]);
    assert_eq!(log.read("tile/0/001.p/3").unwrap(), hashes[..96]);
    assert_eq!(log.read("tile/0/001.p/9").unwrap(), hashes[..9 * 32]);
    assert_eq!(log.read("tile/entries/001.p/2").unwrap(), bundle[..10]);
    assert_eq!(
        (log.read("checkpoint").unwrap(), log.read("cosigned/2026-11-22.jsonl").unwrap()),
        (b"note".into(), b"{}".into())
    );
    assert_eq!(log.read("tile/1/000.p/1").unwrap_err().kind(), io::ErrorKind::InvalidData);
    for absent in [
        "tile/0/001.p/10",
        "tile/0/001",
        "tile/0/002",
        "wal",
        "../checkpoint",
        "cosigned/../wal",
        "cosigned/.tmp",
        "lock",
    ] {
        assert_eq!(log.read(absent).unwrap_err().kind(), io::ErrorKind::NotFound, "{absent}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn proofs_of_larger_trees_are_those_of_the_definition(size in 200..1400_usize, picks in prop::collection::vec(any::<u16>(), 12)) {
        let leaves = leaves(size);
        let reader = TileReader::new(Made::of(&leaves));
        let node = |level, index| reader.node(level, index, size as u64);
        prop_assert_eq!(proof::root(size as u64, node).unwrap(), naive(&leaves));
        for pick in picks {
            let index = usize::from(pick) % size;
            prop_assert_eq!(proof::inclusion(index as u64, size as u64, node).unwrap(), naive_path(index, &leaves));
            let old = index + 1;
            prop_assert_eq!(proof::consistency(old as u64, size as u64, node).unwrap(), naive_consistency(old, &leaves, true));
        }
    }

    #[test]
    fn a_path_has_one_spelling(level in 0..64_u8, index in any::<u64>(), width in 1..=256_u16, noise in "[tile/x0-9.p]{0,24}") {
        let id = TileId { level, index, width };
        prop_assert_eq!(TileId::parse(&id.path()), Some(id));
        if let Some(read) = TileId::parse(&noise) {
            prop_assert_eq!(read.path(), noise);
        }
    }

    #[test]
    fn a_bundle_holds_what_was_put_in(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..=256), cut in any::<prop::sample::Index>()) {
        let mut bundle = Vec::new();
        entries.iter().for_each(|entry| append_entry(&mut bundle, entry));
        let width = u16::try_from(entries.len()).unwrap();
        prop_assert_eq!(split_bundle(&bundle, width).unwrap(), entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(bundle_bytes(&bundle, width), Some(bundle.len()));
        prop_assert_eq!(bundle_bytes(&bundle, width + 1), None);
        if !bundle.is_empty() {
            prop_assert_eq!(split_bundle(&bundle[..cut.index(bundle.len())], width), None);
        }
    }
}
