//! How often an agreement was used, for terms that count.
//!
//! The record is what counts: the shell reads the permits of the log back when the gateway starts. A use is taken before
//! anything else of the exchange happens, and given back only when its permit never came into the log's queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::action::Actions;
use crate::types::DatasetId;

/// Uses by dataset and action. There are only so many as the configuration names datasets and the table names actions,
/// since nothing else is ever permitted.
#[derive(Debug, Default)]
pub(super) struct Uses(Arc<Mutex<Counts>>);

/// The numbers themselves.
pub(super) type Counts = HashMap<(DatasetId, String), u64>;

impl Uses {
    /// Nobody else counts while this is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one use.
    pub(super) fn take(&self, counts: &mut Counts, dataset: &DatasetId, action: &str) -> Use {
        let key = (dataset.clone(), action.to_owned());
        let count = counts.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        Use { counts: Arc::clone(&self.0), key, recorded: AtomicBool::new(false) }
    }
}

/// Uses of these datasets for these actions.
pub(super) fn sum(counts: &Counts, datasets: &[DatasetId], actions: Actions) -> u64 {
    let counted = counts.iter().filter(|((dataset, action), _)| datasets.contains(dataset) && actions.contain(action));
    counted.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// One use that was taken. Dropped before it is on record, it is given back.
#[derive(Debug)]
pub struct Use {
    counts: Arc<Mutex<Counts>>,
    key: (DatasetId, String),
    recorded: AtomicBool,
}

impl Use {
    /// The permit is in the log's queue: the use stays taken, whatever comes of the exchange.
    pub fn recorded(&self) {
        self.recorded.store(true, Ordering::Release);
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        if self.recorded.load(Ordering::Acquire) {
            return;
        }
        if let Some(count) = self.counts.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&self.key) {
            *count = count.saturating_sub(1);
        }
    }
}
