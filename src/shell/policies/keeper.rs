//! Keeps the policies of all sources: looks, judges, remembers, puts in force.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::Trouble;
use super::activate::{Judged, Rules};
use super::board::Board;
use super::source::{Found, Source};
use super::store::{Copy, Store};
use crate::decide::{Accepted, Policy, PolicySet};
use crate::gateway::Gateway;
use crate::types::{Clock, Digest, Timestamp};

/// How soon a source that was not reached is looked at again, at first; twice as long after each further failure.
const RETRY: Duration = Duration::from_secs(5);
/// A source that is not reached is looked at again after this at the latest, unless it is polled more seldom anyway.
const MOST_RETRY: Duration = Duration::from_secs(5 * 60);
/// Each wait is longer or shorter by up to a tenth, so that gateways that started together do not ask together.
const JITTER: f64 = 0.1;
/// An archive that was refused is judged again, unchanged, after this: the reason may have been ours, such as a machine
/// too busy for its trial. Judging it at every look would cost seconds each.
const REJUDGE: Duration = Duration::from_secs(15 * 60);

/// All that is shared by the tasks that look at sources.
pub(super) struct Keeper {
    sources: Vec<Arc<Source>>,
    slots: Vec<Mutex<Slot>>,
    /// The policy of each source that is in force.
    members: Mutex<Vec<Option<Arc<Policy>>>>,
    store: Option<Store>,
    rules: Rules,
    board: Board,
    clock: Arc<dyn Clock>,
    gateway: OnceLock<Arc<Gateway>>,
    /// One bundle is judged at a time: a trial takes a core, and traffic needs the others.
    turn: Semaphore,
}

/// What was seen last of a source.
#[derive(Debug, Clone, Default)]
struct Slot {
    /// Of the archive, or of the files and the module of a directory.
    digest: Option<Digest>,
    etag: Option<String>,
    /// Looks in a row that did not reach it.
    unreached: u32,
    /// Why it was refused, and when.
    refused: Option<(Trouble, Timestamp)>,
}

impl Keeper {
    pub(super) fn new(
        sources: Vec<Source>,
        store: Option<Store>,
        rules: Rules,
        board: Board,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            slots: sources.iter().map(|_| Mutex::default()).collect(),
            members: Mutex::new(sources.iter().map(|_| None).collect()),
            sources: sources.into_iter().map(Arc::new).collect(),
            store,
            rules,
            board,
            clock,
            gateway: OnceLock::new(),
            turn: Semaphore::new(1),
        }
    }

    /// Looks at every source for the first time, with its last good copy to fall back on.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<PolicySet> {
        let mut looks = JoinSet::new();
        for index in 0..self.sources.len() {
            let keeper = Arc::clone(self);
            looks.spawn(async move {
                let copy = keeper.copy(index);
                let etag = copy.as_ref().and_then(|copy| copy.etag.clone());
                (index, keeper.sources[index].look(etag.as_deref()).await, copy)
            });
        }
        let mut found = looks.join_all().await;
        found.sort_by_key(|(index, ..)| *index);
        let mut missing = Vec::new();
        for (index, look, copy) in found {
            let keeper = Arc::clone(self);
            let begun = tokio::task::spawn_blocking(move || keeper.begin_with(index, look, copy)).await;
            if let Err(trouble) =
                begun.unwrap_or_else(|error| Err(Trouble::new("source_unreadable", error.to_string())))
            {
                missing.push(format!("policy source {}: {}: {}", self.sources[index].id, trouble.code, trouble.why));
            }
        }
        if !missing.is_empty() {
            return Err(anyhow!("{}", missing.join("\n")));
        }
        let members = self.members().iter().flatten().cloned().collect();
        Ok(PolicySet::new(members)?)
    }

    /// The last good copy of a source. One that cannot be read is told and is none.
    fn copy(&self, index: usize) -> Option<Copy> {
        let source = &self.sources[index];
        let store = self.store.as_ref().filter(|_| source.is_archive())?;
        store.copy(&source.id).unwrap_or_else(|error| {
            let error = format!("{error:#}");
            tracing::warn!(source = source.id, error, "the last good copy of a policy cannot be used");
            None
        })
    }

    fn begin_with(&self, index: usize, look: Result<Found, Trouble>, copy: Option<Copy>) -> Result<(), Trouble> {
        let of_copy = |copy: &Copy| Found::Archive { bytes: copy.bytes.clone(), etag: copy.etag.clone() };
        let first = match (look, &copy) {
            (Ok(Found::Unchanged), Some(copy)) => return self.take(index, &of_copy(copy)),
            (Ok(found), _) => self.take(index, &found),
            (Err(trouble), _) => Err(trouble),
        };
        let Err(trouble) = first else { return Ok(()) };
        let Some(copy) = copy else {
            let none = if self.sources[index].is_archive() { "; and there is no last good copy" } else { "" };
            return Err(Trouble::new(trouble.code, format!("{}{none}", trouble.why)));
        };
        let refused = self.slot(index).clone();
        self.take(index, &of_copy(&copy)).map_err(|second| {
            let why = format!("{}; and its last good copy: {}: {}", trouble.why, second.code, second.why);
            Trouble::new(trouble.code, why)
        })?;
        // What is in force is the copy, and what was refused is remembered as that.
        if refused.refused.is_some() {
            *self.slot(index) = refused;
        }
        self.board.failed(index, &trouble, self.clock.now());
        Ok(())
    }

    /// From now on what is accepted is put in force there.
    pub(super) fn serve(&self, gateway: Arc<Gateway>) {
        // A second gateway would be told of no change: there is one to a keeper.
        let _ = self.gateway.set(gateway);
    }

    /// The sources that are looked at again and again.
    pub(super) fn polled(&self) -> Vec<usize> {
        (0..self.sources.len()).filter(|index| self.sources[*index].poll.is_some()).collect()
    }

    /// Looks at one source until the end of days: when its time has come, and when somebody asks.
    pub(super) async fn tend(self: Arc<Self>, index: usize, mut asked: mpsc::Receiver<oneshot::Sender<()>>) {
        loop {
            let asker = tokio::select! {
                () = tokio::time::sleep(self.wait(index)) => None,
                asker = asked.recv() => match asker {
                    Some(asker) => Some(asker),
                    None => return,
                },
            };
            self.look(index, asker.is_some()).await;
            if let Some(asker) = asker {
                // Whoever asked may have gone.
                let _ = asker.send(());
            }
        }
    }

    fn wait(&self, index: usize) -> Duration {
        let poll = self.sources[index].poll.unwrap_or(MOST_RETRY);
        waiting(poll, self.slot(index).unreached).mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64())
    }

    /// Looks once. `forced` judges again what was refused.
    async fn look(self: &Arc<Self>, index: usize, forced: bool) {
        let slot = self.slot(index).clone();
        let now = self.clock.now();
        let again = slot.refused.as_ref().is_some_and(|(_, at)| forced || now.since(*at) >= REJUDGE);
        let etag = slot.etag.as_deref().filter(|_| !again);
        let found = match self.sources[index].look(etag).await {
            Ok(found) => found,
            Err(trouble) => {
                let mut slot = self.slot(index);
                slot.unreached = slot.unreached.saturating_add(1);
                return self.board.failed(index, &trouble, self.clock.now());
            }
        };
        self.slot(index).unreached = 0;
        if digest(&found).is_none_or(|digest| slot.digest == Some(digest)) && !again {
            match &slot.refused {
                Some((trouble, _)) => self.board.failed(index, trouble, now),
                None => self.board.unchanged(index, now),
            }
            return;
        }
        let Ok(_turn) = self.turn.acquire().await else { return };
        let keeper = Arc::clone(self);
        let taken = tokio::task::spawn_blocking(move || keeper.take(index, &found)).await;
        let taken = taken.unwrap_or_else(|error| Err(Trouble::new("source_unreadable", error.to_string())));
        if let Err(trouble) = taken {
            self.board.failed(index, &trouble, self.clock.now());
        }
    }

    /// Judges what a look found and puts it in force, or leaves all as it is. Blocks for as long as a trial takes.
    fn take(&self, index: usize, found: &Found) -> Result<(), Trouble> {
        let source = &self.sources[index];
        let now = self.clock.now();
        let last = self.store.as_ref().filter(|_| source.is_archive()).and_then(|store| store.accepted(&source.id));
        let judged = self.rules.judge(source, found, last.as_ref(), now);
        let etag = match found {
            Found::Archive { etag, .. } => etag.clone(),
            _ => None,
        };
        let refused = judged.as_ref().err().map(|trouble| (trouble.clone(), now));
        *self.slot(index) = Slot { digest: digest(found), etag, unreached: 0, refused };
        let judged = judged?;
        self.admit(index, &judged, found, last.as_ref(), now).inspect_err(|trouble| {
            self.slot(index).refused = Some((trouble.clone(), now));
        })
    }

    /// Remembers a policy that passed, and puts it in force beside the others.
    fn admit(
        &self,
        index: usize,
        judged: &Judged,
        found: &Found,
        last: Option<&Accepted>,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let source = &self.sources[index];
        let mut members = self.members();
        let mut changed = members.clone();
        changed[index] = Some(Arc::clone(&judged.policy));
        let set = PolicySet::new(changed.iter().flatten().cloned().collect())
            .map_err(|error| Trouble::new("policy_id_taken", error.to_string()))?;
        if let (Some(store), Found::Archive { bytes, etag }) = (&self.store, found) {
            let copy = Copy { bytes: bytes.clone(), etag: etag.clone() };
            if last != Some(&judged.accepted) || !store.has(&source.id, &copy) {
                store.keep(&source.id, &copy, judged.accepted.clone(), now).map_err(|error| {
                    Trouble::new("state_unavailable", format!("the policy cannot be remembered: {error:#}"))
                })?;
            }
        }
        *members = changed;
        if let Some(gateway) = self.gateway.get() {
            let identity = judged.policy.identity();
            let (policy, revision, digest) = (&identity.id, &identity.revision, identity.digest);
            tracing::info!(source = source.id, policy, revision, %digest, "a policy is in force");
            gateway.policies().replace(set);
        }
        self.board.activated(index, judged, now);
        Ok(())
    }

    /// Every source, for the admin listener.
    pub(super) fn shown(&self) -> Vec<Value> {
        self.board.shown(self.clock.now())
    }

    /// Sources that have failed for longer than they may.
    pub(super) fn stale(&self) -> Vec<Value> {
        self.board.stale(self.clock.now())
    }

    fn slot(&self, index: usize) -> MutexGuard<'_, Slot> {
        self.slots[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn members(&self) -> MutexGuard<'_, Vec<Option<Arc<Policy>>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time until the next look, after so many failures in a row: shorter than usual at first, then ever longer.
fn waiting(poll: Duration, failures: u32) -> Duration {
    match failures {
        0 => poll,
        _ => RETRY.saturating_mul(1 << (failures - 1).min(16)).min(poll.max(MOST_RETRY)),
    }
}

/// What tells one find from another; `None` for what is said to be unchanged.
fn digest(found: &Found) -> Option<Digest> {
    match found {
        Found::Unchanged => None,
        Found::Archive { bytes, .. } => Some(Digest::of(bytes)),
        Found::Own(bundle) => {
            let mut all = crate::types::Hasher::new();
            all.update(bundle.identity().digest.as_bytes());
            for part in bundle.module().into_iter().map(|module| &module[..]) {
                all.update(Digest::of(part).as_bytes());
            }
            for case in bundle.cases() {
                all.update(Digest::of(case.text.as_bytes()).as_bytes());
            }
            Some(all.finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_not_reached_is_asked_ever_more_seldom() {
        let minute = Duration::from_secs(60);
        let waits: Vec<u64> = (0..9).map(|failures| waiting(minute, failures).as_secs()).collect();
        assert_eq!(waits, [60, 5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(waiting(minute, u32::MAX), MOST_RETRY);
        // One that is polled daily is never asked more seldom than that, and soon at first.
        let day = Duration::from_secs(86_400);
        assert_eq!((waiting(day, 1), waiting(day, u32::MAX)), (RETRY, day));
    }
}
