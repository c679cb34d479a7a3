//! Between the exchanges and the writer: a bounded queue that wakes the writer no more often than it must.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::error::RecordError;
use super::signer::Sealed;

/// Room in the queue, in KiB of entries, for those that somebody waits for; as much again for the others. An entry
/// takes at least one, so this bounds their number too. It holds several of the largest batches.
const ROOM: u32 = 4096;
/// Most entries of one batch.
pub(super) const BATCH_ENTRIES: usize = 1024;
/// A batch takes no further entry once it has this many bytes: about what a disk takes in one go without slowing down
/// those who wait.
const BATCH_BYTES: usize = 1024 * 1024;
/// The most bytes that one batch can have on disk, frames included.
pub(super) const BATCH_LIMIT: usize =
    BATCH_BYTES + super::entry::MAX_ENTRY + BATCH_ENTRIES * super::frame::FRAME_HEADER;

/// Whether somebody waits for an entry to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Waiting,
    Soon,
}

/// What becomes of an entry: its index, or why there is none.
pub(super) type Fate = Result<u64, Arc<str>>;

/// An entry on its way to the writer.
pub(super) struct Queued {
    pub(super) entry: Sealed,
    urgency: Urgency,
    cost: u32,
    /// Gone once somebody was told.
    fate: Option<oneshot::Sender<Fate>>,
}

impl Queued {
    /// Tells whoever waits. That nobody does any more is no failure: the entry stands.
    pub(super) fn settle(&mut self, fate: Fate) {
        if let Some(waiting) = self.fate.take() {
            let _ = waiting.send(fate);
        }
    }
}

/// Where the queue is in its life. It only moves down this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// What is queued will be written, nothing more is taken.
    Closing,
    /// Everything was written and the final checkpoint stands.
    Closed,
    Failed(Arc<str>),
}

/// How the writer sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    /// It is awake, or was woken: it will look at the queue before it sleeps again.
    Awake,
    /// It gathers a batch: it will look at the queue in a moment, or once this many are waited for.
    Gathering(usize),
    /// It will look at the queue within the linger by itself.
    Dozing,
    /// It sleeps until it is woken.
    Deep,
}

struct State {
    stage: Stage,
    entries: VecDeque<Queued>,
    /// How many of `entries` somebody waits for.
    waiting: usize,
    sleep: Sleep,
    closers: Vec<oneshot::Sender<()>>,
}

/// The queue and what surrounds it.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    waiting_room: Semaphore,
    soon_room: Semaphore,
    /// Entries that are durable.
    durable: AtomicU64,
    /// What there is no room for: bits of [`Full`].
    full: AtomicU8,
}

/// What there may be no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Full {
    /// The zeros ahead of the log.
    Ahead = 1,
    /// Tiles and checkpoints.
    Tiles = 2,
}

/// When the writer sleeps and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How many entries are likely to be waited for soon: as many as were a moment ago. Those whose entry has just
    /// become durable tend to come back with the next, each a little later than the other; a batch that the first of
    /// them starts alone would make all others wait for two syncs and pay for twice as many.
    pub(super) expected: usize,
    /// How long, from the end of the last batch, a new one waits for that many.
    pub(super) patience: Duration,
    /// How long entries that nobody waits for may wait for company.
    pub(super) linger: Duration,
    /// When the writer wants to look for room again.
    pub(super) again_at: Option<Instant>,
}

/// What the writer should do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Write the batch that was handed over.
    Batch,
    /// Look for room again.
    Again,
    /// Everything queued is written and nothing more will come.
    Finish,
    /// The log failed: nothing may be written any more.
    Stop,
}

impl Queue {
    pub(super) fn new(durable: u64) -> Self {
        let state = State {
            stage: Stage::Open,
            entries: VecDeque::new(),
            waiting: 0,
            sleep: Sleep::Awake,
            closers: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            waiting_room: Semaphore::new(ROOM as usize),
            soon_room: Semaphore::new(ROOM as usize),
            durable: AtomicU64::new(durable),
            full: AtomicU8::new(0),
        }
    }

    /// Queues an entry once there is room for it in the queue. Without room on the disk it is refused.
    pub(super) async fn push_waiting(&self, entry: Sealed) -> Result<oneshot::Receiver<Fate>, RecordError> {
        let cost = cost(&entry);
        let room = self.waiting_room.acquire_many(cost).await.map_err(|_| self.unavailable())?;
        if self.full.load(Ordering::Acquire) != 0 {
            return Err(RecordError::Full);
        }
        let fate = self.push(entry, Urgency::Waiting, cost)?;
        // The writer gives the room back.
        room.forget();
        Ok(fate)
    }

    /// Queues an entry if there is room for it.
    pub(super) fn push_soon(&self, entry: Sealed) -> Result<oneshot::Receiver<Fate>, RecordError> {
        let cost = cost(&entry);
        let room = self.soon_room.try_acquire_many(cost).map_err(|error| match error {
            tokio::sync::TryAcquireError::Closed => self.unavailable(),
            tokio::sync::TryAcquireError::NoPermits => RecordError::Busy,
        })?;
        let fate = self.push(entry, Urgency::Soon, cost)?;
        room.forget();
        Ok(fate)
    }

    fn push(&self, entry: Sealed, urgency: Urgency, cost: u32) -> Result<oneshot::Receiver<Fate>, RecordError> {
        let (fate, receiver) = oneshot::channel();
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return Err(unavailable(&state.stage));
        }
        state.entries.push_back(Queued { entry, urgency, cost, fate: Some(fate) });
        let wake = match urgency {
            Urgency::Waiting => {
                state.waiting += 1;
                match state.sleep {
                    Sleep::Awake => false,
                    Sleep::Gathering(enough) => state.waiting >= enough,
                    Sleep::Dozing | Sleep::Deep => true,
                }
            }
            Urgency::Soon => state.sleep == Sleep::Deep,
        };
        if wake {
            state.sleep = Sleep::Awake;
        }
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(receiver)
    }

    /// Lets nothing more in. The receiver hears when the writer is done; `None` when it is already.
    pub(super) fn close(&self) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Closed | Stage::Failed(_)) {
            return None;
        }
        state.stage = Stage::Closing;
        state.sleep = Sleep::Awake;
        let (done, receiver) = oneshot::channel();
        state.closers.push(done);
        drop(state);
        self.wake.notify_one();
        self.turn_away();
        Some(receiver)
    }

    /// The writer is gone. Everyone who still waits is told; only the first call counts.
    pub(super) fn end(&self, stage: Stage) {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Closed | Stage::Failed(_)) {
            return;
        }
        let why = reason(&stage);
        state.stage = stage;
        state.waiting = 0;
        let entries = std::mem::take(&mut state.entries);
        let closers = std::mem::take(&mut state.closers);
        state.sleep = Sleep::Awake;
        drop(state);
        self.wake.notify_one();
        self.turn_away();
        for mut queued in entries {
            queued.settle(Err(Arc::clone(&why)));
        }
        for closer in closers {
            let _ = closer.send(());
        }
    }

    /// There is no room: what somebody would wait for is refused, and what is queued stays queued.
    pub(super) fn wants_room(&self, full: Full) {
        self.full.fetch_or(full as u8, Ordering::AcqRel);
    }

    /// There is room again. Always `None`: there is nothing to look for.
    pub(super) fn has_room(&self, full: Full) -> Option<Instant> {
        if self.is_full(full) && self.full.fetch_and(!(full as u8), Ordering::AcqRel) == full as u8 {
            tracing::info!("there is room for the record log again");
        }
        None
    }

    pub(super) fn is_full(&self, full: Full) -> bool {
        self.full.load(Ordering::Acquire) & full as u8 != 0
    }

    /// Rests until then. Says whether the queue was closed or failed meanwhile.
    pub(super) fn rest(&self, until: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.stage != Stage::Open || left.is_zero() {
                return state.stage != Stage::Open;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn turn_away(&self) {
        self.waiting_room.close();
        self.soon_room.close();
    }

    pub(super) fn stage(&self) -> Stage {
        self.lock().stage.clone()
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The error of an entry that came too late.
    pub(super) fn unavailable(&self) -> RecordError {
        unavailable(&self.stage())
    }

    /// Gives back the room of a batch that is durable. Says how many entries are waited for at this moment, in the
    /// batch and in the queue.
    pub(super) fn batch_is_durable(&self, size: u64, batch: &[Queued]) -> usize {
        self.durable.store(size, Ordering::Release);
        let mut room = [0, 0];
        let mut waiting = 0;
        for queued in batch {
            waiting += usize::from(queued.urgency == Urgency::Waiting);
            room[usize::from(queued.urgency == Urgency::Waiting)] += queued.cost as usize;
        }
        self.soon_room.add_permits(room[0]);
        self.waiting_room.add_permits(room[1]);
        waiting + self.lock().waiting
    }

    /// Sleeps until there is something to do, and says what. A batch is moved into `batch`, oldest entry first.
    pub(super) fn next(&self, batch: &mut Vec<Queued>, pace: Pace) -> Work {
        let Pace { expected, patience, linger, again_at } = pace;
        let mut state = self.lock();
        let start = Instant::now();
        let gather_until = start + patience;
        // The writer has just worked, so more work is likely: it dozes first, and entries that nobody waits for
        // need not wake it.
        let mut doze_until = Some(start + linger);
        loop {
            let now = Instant::now();
            if matches!(state.stage, Stage::Failed(_)) {
                return Work::Stop;
            }
            if again_at.is_some_and(|at| now >= at) {
                return Work::Again;
            }
            let closing = state.stage != Stage::Open;
            if closing && state.entries.is_empty() {
                return Work::Finish;
            }
            let dozed = doze_until.is_some_and(|until| now >= until);
            let gathered = state.waiting >= expected || state.entries.len() >= BATCH_ENTRIES || now >= gather_until;
            if state.waiting > 0 && gathered || !state.entries.is_empty() && (closing || dozed) {
                take(&mut state, batch);
                return Work::Batch;
            }
            if dozed {
                doze_until = None;
            } else if doze_until.is_none() && !state.entries.is_empty() {
                doze_until = Some(now + linger);
            }
            let gathering = (state.waiting > 0).then_some(gather_until);
            state.sleep = match (gathering, doze_until) {
                (Some(_), _) => Sleep::Gathering(expected),
                (None, Some(_)) => Sleep::Dozing,
                (None, None) => Sleep::Deep,
            };
            state = match doze_until.into_iter().chain(again_at).chain(gathering).min() {
                Some(at) => {
                    let timed = self.wake.wait_timeout(state, at.saturating_duration_since(now));
                    timed.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.sleep = Sleep::Awake;
        }
    }

    /// A thread that panics with the lock held leaves the state whole: every change is made after all that can fail.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(state: &mut State, batch: &mut Vec<Queued>) {
    let mut bytes = 0;
    while bytes < BATCH_BYTES && batch.len() < BATCH_ENTRIES {
        let Some(queued) = state.entries.pop_front() else { break };
        bytes += queued.entry.as_bytes().len();
        if queued.urgency == Urgency::Waiting {
            state.waiting -= 1;
        }
        batch.push(queued);
    }
}

fn cost(entry: &Sealed) -> u32 {
    // At most 64, since an entry has at most 65,535 bytes.
    u32::try_from(entry.as_bytes().len().div_ceil(1024)).unwrap_or(ROOM)
}

fn unavailable(stage: &Stage) -> RecordError {
    RecordError::Unavailable(reason(stage))
}

fn reason(stage: &Stage) -> Arc<str> {
    match stage {
        Stage::Failed(why) => Arc::clone(why),
        Stage::Open | Stage::Closing | Stage::Closed => "it was closed".into(),
    }
}
