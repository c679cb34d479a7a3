//! The power goes while a batch is being written: of its sectors the disk has taken any, and of the file's length any.

use std::io;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::record::ahead::Place;
use crate::record::store::{Disk, Storage};

const SECTOR: usize = 512;

/// A disk with a cache that it writes out when it is told to, and not any more after so many times.
#[derive(Clone)]
struct Drive(Arc<Mutex<State>>);

struct State {
    /// What a crash leaves for certain.
    durable: Vec<u8>,
    /// What stands in the cache.
    cached: Vec<u8>,
    /// How many syncs are left.
    syncs: usize,
}

impl Drive {
    fn new(syncs: usize) -> Self {
        let [durable, cached] = [(); 2].map(|()| FILE_HEADER.to_vec());
        Self(Arc::new(Mutex::new(State { durable, cached, syncs })))
    }

    /// What is left when of the sectors that were not synced those were taken that `taken` says, in turn, and of the
    /// length that was not synced so many parts in 256.
    fn crash(&self, taken: &[bool], grown: u8) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let more = (state.cached.len() - state.durable.len()) * usize::from(grown) / 255;
        let mut left = with_zeros(&state.durable, more);
        let mut taken = taken.iter().cycle();
        for start in (0..left.len()).step_by(SECTOR) {
            let sector = start..(start + SECTOR).min(left.len());
            if left[sector.clone()] != state.cached[sector.clone()] && *taken.next().unwrap() {
                left[sector.clone()].copy_from_slice(&state.cached[sector]);
            }
        }
        left
    }
}

impl Place for Drive {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let end = start + bytes.len();
        let length = state.cached.len().max(end);
        state.cached.resize(length, 0);
        state.cached[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::Error::other("the file is not cut while the log is written"))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.syncs = state.syncs.checked_sub(1).ok_or_else(|| io::Error::other("the power is gone"))?;
        state.durable = state.cached.clone();
        Ok(())
    }
}

/// Writes batches, loses the power in the last one, and opens what is left. Says by how much the file grew with it.
async fn check(batches: &[Vec<usize>], taken: &[bool], grown: u8) -> Result<usize, TestCaseError> {
    let world = World::new();
    let drive = Drive::new(batches.len() - 1);
    let wrap = |disk: Disk| Box::new(disk.on(|_| drive.clone())) as Box<dyn Storage>;
    let log = Log::open_on(world.never_alone(), world.signer.clone(), &ManualClock::new(NOW), wrap).unwrap();
    let (mut entries, mut acknowledged) = (Vec::new(), 0);
    for (place, padding) in batches.iter().enumerate() {
        let (batch, fate) = batch(&log, padding).await;
        entries.extend(batch);
        prop_assert_eq!(fate.is_ok(), place + 1 < batches.len());
        acknowledged = if fate.is_ok() { entries.len() } else { acknowledged };
    }
    prop_assert!(log.close().await.is_err());

    let left = drive.crash(taken, grown);
    let mut whole = 0;
    let mut wal = FILE_HEADER.to_vec();
    let places = batches.iter().flat_map(|batch| (0..).take(batch.len()));
    for (entry, place) in entries.iter().zip(places) {
        encode(&mut wal, place, whole as u64, entry.as_bytes());
        if !left.starts_with(&wal) {
            break;
        }
        whole += 1;
    }
    prop_assert!(whole >= acknowledged, "the drive lost what it had synced");
    let crashed = world.crashed(&left);
    let reopened = crashed.open().map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(reopened.size(), whole as u64);
    fill(&reopened, 1).await;
    reopened.close().await.unwrap();
    let stands = super::entries(&crashed.wal());
    let wrote: Vec<_> = entries[..whole].iter().map(|entry| entry.as_bytes().to_vec()).collect();
    prop_assert!(stands.starts_with(&wrote) && stands.len() == whole + 2);
    let report = crashed.verify();
    prop_assert!(report.verified, "{}", report.render());
    let state = drive.0.lock().unwrap();
    Ok(state.cached.len() - state.durable.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever a crash leaves of the last batch: every acknowledged entry stands, and no other that is not whole.
    #[test]
    fn a_crash_leaves_every_acknowledged_entry_and_no_torn_one(
        batches in prop::collection::vec(prop::collection::vec(0..3000usize, 1..6), 1..5),
        taken in prop::collection::vec(prop::bool::weighted(0.7), 1..40),
        grown in prop_oneof![Just(0), Just(255), any::<u8>()],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&batches, &taken, grown))?;
    }
}

/// The last batch needs new zeros, so that they and the batch may be torn together.
#[tokio::test]
async fn a_crash_while_the_file_grows_is_mended() {
    let batches = [vec![0], vec![45_000; 17], vec![9000; 4]];
    for taken in [&[true, false][..], &[false, true, true], &[false], &[true]] {
        for grown in [0, 1, 128, 255] {
            assert!(check(&batches, taken, grown).await.unwrap() > 1024 * 1024);
        }
    }
}
