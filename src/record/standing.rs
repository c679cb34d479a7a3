//! How our own log stands with those who witness it, and whether exchanges may go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::cosigned::Cosigned;
use super::witness::WitnessError;
use crate::types::{PartyId, Timestamp};

/// No time at which the quorum is overdue.
const NEVER: u64 = u64::MAX;

/// Shared by those who ask the witnesses and by the gateway, which is held back here. Cheap to clone.
#[derive(Clone)]
pub struct Standing(Arc<Inner>);

struct Inner {
    quorum: usize,
    overdue: Option<Duration>,
    /// Whether too few witnesses have answered since the start.
    unasked: AtomicBool,
    /// From when exchanges are refused, in milliseconds since 1970.
    overdue_from: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    witnesses: BTreeMap<PartyId, WitnessStanding>,
    latest: Option<Arc<Cosigned>>,
}

/// What is known of one of our witnesses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct WitnessStanding {
    /// Whether it has said since the start that it saw nothing newer than we have.
    pub answered: bool,
    /// Entries of the last checkpoint that it cosigned; none since the start when absent.
    pub size: Option<u64>,
    /// When it did.
    pub at: Option<Timestamp>,
    /// Why the last attempt failed; absent when it did not.
    pub error: Option<String>,
}

impl Standing {
    /// A standing with these witnesses, of which `quorum` have to cosign. With `overdue`, exchanges are held back once the
    /// quorum has not cosigned for longer.
    pub fn new(witnesses: impl IntoIterator<Item = PartyId>, quorum: usize, overdue: Option<Duration>) -> Self {
        let witnesses = witnesses.into_iter().map(|party| (party, WitnessStanding::default())).collect();
        Self(Arc::new(Inner {
            quorum,
            overdue,
            unasked: AtomicBool::new(quorum > 0),
            overdue_from: AtomicU64::new(NEVER),
            state: Mutex::new(State { witnesses, latest: None }),
        }))
    }

    /// The standing of a log that nobody is asked to witness.
    pub fn alone() -> Self {
        Self::new([], 0, None)
    }

    /// Whether an exchange may begin.
    ///
    /// # Errors
    /// [`WitnessError::Unasked`] and [`WitnessError::Overdue`].
    pub fn admit(&self, now: Timestamp) -> Result<(), WitnessError> {
        if self.0.unasked.load(Ordering::Acquire) {
            return Err(WitnessError::Unasked);
        }
        if now.millis() >= self.0.overdue_from.load(Ordering::Acquire) {
            return Err(WitnessError::Overdue);
        }
        Ok(())
    }

    /// How many witnesses have to cosign.
    pub fn quorum(&self) -> usize {
        self.0.quorum
    }

    /// What is known of each witness.
    pub fn witnesses(&self) -> BTreeMap<PartyId, WitnessStanding> {
        self.state().witnesses.clone()
    }

    /// The latest checkpoint with cosignatures.
    pub fn latest(&self) -> Option<Arc<Cosigned>> {
        self.state().latest.clone()
    }

    /// A witness said that it saw nothing newer than what we have.
    pub fn answered(&self, party: &PartyId) {
        let mut state = self.state();
        if let Some(witness) = state.witnesses.get_mut(party) {
            witness.answered = true;
        }
        let answered = state.witnesses.values().filter(|witness| witness.answered).count();
        if answered >= self.0.quorum && self.0.unasked.swap(false, Ordering::AcqRel) {
            tracing::info!(answered, "enough witnesses have seen nothing newer of our log");
        }
    }

    /// A witness cosigned.
    pub fn cosigned(&self, party: &PartyId, size: u64, at: Timestamp) {
        if let Some(witness) = self.state().witnesses.get_mut(party) {
            *witness = WitnessStanding { answered: witness.answered, size: Some(size), at: Some(at), error: None };
        }
    }

    /// A witness did not cosign.
    pub fn failed(&self, party: &PartyId, code: &str) {
        if let Some(witness) = self.state().witnesses.get_mut(party) {
            witness.error = Some(code.to_owned());
        }
    }

    /// A checkpoint with its cosignatures is on file.
    pub fn kept(&self, cosigned: Arc<Cosigned>) {
        self.state().latest = Some(cosigned);
    }

    /// Entries wait for the quorum since this time.
    pub fn waits(&self, since: Timestamp) {
        if let Some(overdue) = self.0.overdue {
            self.0.overdue_from.store(since.plus(overdue).millis(), Ordering::Release);
        }
    }

    /// No entry waits for the quorum.
    pub fn met(&self) {
        self.0.overdue_from.store(NEVER, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
