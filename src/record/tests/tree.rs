//! The tiles of a log are those of its entries, and no others lie there.

use std::collections::BTreeMap;

use super::*;
use crate::record::edge::Edge;
use crate::record::tiles::{FULL, LogDirectory, TileReader};

/// Every file below a directory, by its path from `home`.
fn files(home: &Path, directory: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(names) = std::fs::read_dir(directory) else { return };
    for entry in names.map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files(home, &entry.path(), found);
        } else {
            let path = entry.path().strip_prefix(home).unwrap().to_str().unwrap().to_owned();
            // What a crash left half done is no tile.
            if !path.ends_with(".tmp") {
                found.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
}

/// Checks that a log at rest has the tiles that its entries make, and gives the entries.
pub(super) fn check(world: &World) -> Vec<Vec<u8>> {
    let directory = world.directory();
    let size = world.verify().checkpointed;
    let reader = TileReader::new(LogDirectory::new(&directory));
    let bundles = 0..size.div_ceil(u64::from(FULL));
    let entries: Vec<Vec<u8>> = bundles.flat_map(|index| reader.entries(index, size).unwrap()).collect();
    let mut edge = Edge::default();
    entries.iter().for_each(|entry| edge.push(entry));
    let mut expected: BTreeMap<String, Vec<u8>> = edge.partial_tiles().chain(edge.partial_bundle()).collect();
    expected.extend(edge.bundles.into_iter().chain(edge.tiles));
    let mut found = BTreeMap::new();
    files(&directory, &directory.join("tile"), &mut found);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "a tile is not what the entries make");
    let read = Entries::open(&directory).unwrap().map(Result::unwrap).count();
    assert_eq!(read as u64, size);
    entries
}

#[tokio::test]
async fn tiles_are_those_of_the_entries_at_every_size_and_only_the_widest_stay() {
    let world = World::new();
    let mut log = open(world.never_alone(), &world.signer).unwrap();
    let mut all = Vec::new();
    for count in [1, 2, 252, 1, 1, 300, 211, 1] {
        let (entries, fate) = batch(&log, &vec![0; count]).await;
        fate.unwrap();
        all.extend(entries.iter().map(|entry| entry.as_bytes().to_vec()));
        log.close().await.unwrap();
        assert!(check(&world) == all, "the bundles do not hold what was written");
        log = open(world.never_alone(), &world.signer).unwrap();
    }
    log.close().await.unwrap();
    let tail: Vec<u64> = Entries::from(&world.directory(), 700).unwrap().map(|entry| entry.unwrap().index.0).collect();
    assert_eq!(tail, (700..769).collect::<Vec<_>>());
}

#[tokio::test]
async fn entries_beyond_the_checkpoint_are_read_out_of_the_log_itself() {
    let world = World::new();
    let log = open(world.never_alone(), &world.signer).unwrap();
    batch(&log, &[0; 300]).await.1.unwrap();
    for from in [0, 1, 255, 256, 299, 300] {
        let read: Vec<u64> =
            Entries::from(&world.directory(), from).unwrap().map(|entry| entry.unwrap().index.0).collect();
        assert_eq!(read, (from..300).collect::<Vec<_>>());
    }
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_that_something_else_put_there_ends_the_log() {
    let world = World::new();
    let config = LogConfig { checkpoint_every: Duration::from_millis(1), ..world.config() };
    let log = open(config, &world.signer).unwrap();
    fill(&log, 1).await;
    let mut published = log.published();
    published.wait_for(|published| published.size == 2).await.unwrap();
    let other = closed(1).await;
    let foreign = std::fs::read(other.directory().join(CHECKPOINT)).unwrap();
    std::fs::write(world.directory().join(CHECKPOINT), &foreign).unwrap();
    let entry = log.seal(&decision(ExchangeId::new(NOW), Verdict::Deny)).unwrap();
    log.append(entry).await.unwrap();
    assert!(published.wait_for(|published| published.size == 3).await.is_err(), "it was published all the same");
    assert_eq!(log.close().await.unwrap_err().code(), "record_unavailable");
    assert!(matches!(log.health(), Health::Failed(why) if why.contains("something else writes")));
    assert_eq!(std::fs::read(world.directory().join(CHECKPOINT)).unwrap(), foreign);
}

#[tokio::test]
async fn a_tree_that_is_not_the_signed_one_is_refused() {
    let world = World::new();
    let log = open(world.never_alone(), &world.signer).unwrap();
    batch(&log, &[0; 258]).await.1.unwrap();
    log.close().await.unwrap();
    for path in ["tile/0/001.p/2", "tile/1/000.p/1", "tile/entries/001.p/2", "tile/0/000"] {
        let changed = world.crashed(&world.wal());
        let file = changed.directory().join(path);
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(changed.open().err().map(|error| error.code()), Some("log_corrupt"), "{path} was changed");
        if path != "tile/0/000" {
            std::fs::remove_file(&file).unwrap();
            assert_eq!(changed.open().err().map(|error| error.code()), Some("log_corrupt"), "{path} is missing");
        }
    }
}
