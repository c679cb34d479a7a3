//! The power goes at any step: of the sectors, names and lengths that were not synced, the disk has taken any.

use proptest::prelude::*;

use super::disk::Drive;
use super::faults::{check_left, work};
use super::*;

async fn check(after: usize, taken: &[bool]) {
    let (world, drive) = (World::new(), Drive::dying(after));
    let (acknowledged, _) = work(&world, &drive).await;
    let left = World { home: tempfile::tempdir().unwrap(), signer: world.signer.clone() };
    std::fs::create_dir(left.directory()).unwrap();
    drive.crash(&world.directory(), &left.directory(), taken);
    check_left(&left, &acknowledged, &format!("the power went after {after} steps")).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever a crash leaves: every acknowledged entry stands, in its place, under a tree that holds.
    #[test]
    fn a_crash_leaves_every_acknowledged_entry(
        after in 0..260_usize,
        taken in prop::collection::vec(prop::bool::weighted(0.6), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(after, &taken));
    }
}
