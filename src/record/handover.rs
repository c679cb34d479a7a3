//! Between the writer and the publisher: durable batches, by move, and a bound on what may wait.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::Queued;

/// The most bytes of entries that may wait for the publisher or be in its hands; beyond it the writer waits. More than
/// the reserve of zeros, so that a log without room for tiles still takes the outcomes of what is under way.
const WAITING: usize = 16 * 1024 * 1024;
/// So many bytes wake the publisher before its time: it then writes full tiles, and has the less to do when it is due.
const ENOUGH: usize = 1024 * 1024;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing more comes: publish what there is.
    Finish,
    /// The log failed: write nothing more.
    Abort,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Vec<Queued>>,
    /// Bytes in `batches`.
    waiting: usize,
    /// Bytes that were taken and not released yet.
    held: usize,
    /// The publisher sleeps, and wants to be woken by this many bytes.
    wake_at: Option<usize>,
    end: Option<End>,
}

/// What waits for the publisher.
#[derive(Default)]
pub(super) struct Handover {
    state: Mutex<State>,
    to_publisher: Condvar,
    to_writer: Condvar,
    /// Entries that the latest checkpoint covers.
    published: AtomicU64,
}

/// What the publisher got.
pub(super) struct Taken {
    pub(super) batches: VecDeque<Vec<Queued>>,
    /// Bytes of entries in them, to be released.
    pub(super) bytes: usize,
    pub(super) end: Option<End>,
}

impl Handover {
    /// Hands a durable batch over, once there is room for it. Says whether anyone takes it.
    pub(super) fn give(&self, batch: Vec<Queued>) -> bool {
        let bytes: usize = batch.iter().map(|queued| queued.entry.as_bytes().len()).sum();
        let mut state = self.lock();
        while state.end.is_none() && state.waiting + state.held > 0 && state.waiting + state.held + bytes > WAITING {
            state = self.to_writer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.end.is_some() {
            return false;
        }
        state.batches.push_back(batch);
        state.waiting += bytes;
        let waiting = state.waiting;
        let wake = state.wake_at.take_if(|wake_at| waiting >= *wake_at).is_some();
        drop(state);
        if wake {
            self.to_publisher.notify_one();
        }
        true
    }

    /// Waits for something to do: enough bytes, anything at all when nothing is `due`, the time it is due, or the end.
    pub(super) fn take(&self, due: Option<Instant>) -> Taken {
        let mut state = self.lock();
        let enough = if due.is_some() { ENOUGH } else { 1 };
        loop {
            let now = Instant::now();
            if state.end.is_some() || state.waiting >= enough || due.is_some_and(|due| now >= due) {
                state.wake_at = None;
                let batches = std::mem::take(&mut state.batches);
                let bytes = std::mem::take(&mut state.waiting);
                state.held += bytes;
                return Taken { batches, bytes, end: state.end };
            }
            state.wake_at = Some(enough);
            state = match due {
                Some(due) => {
                    let slept = self.to_publisher.wait_timeout(state, due.saturating_duration_since(now));
                    slept.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.to_publisher.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Bytes that were taken are out of the publisher's hands.
    pub(super) fn release(&self, bytes: usize) {
        self.lock().held -= bytes;
        self.to_writer.notify_one();
    }

    /// Rests before another try. Says whether the end came meanwhile.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.end.is_some() || left.is_zero() {
                return state.end.is_some();
            }
            state = self.to_publisher.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nothing more will be given, or taken. An abort is not taken back.
    pub(super) fn end(&self, end: End) {
        let mut state = self.lock();
        if state.end != Some(End::Abort) {
            state.end = Some(end);
        }
        drop(state);
        self.to_publisher.notify_one();
        self.to_writer.notify_one();
    }

    /// Whether nothing may be written any more.
    pub(super) fn is_aborted(&self) -> bool {
        self.lock().end == Some(End::Abort)
    }

    /// Entries that the latest checkpoint covers.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// A checkpoint over so many entries is durable.
    pub(super) fn publish(&self, size: u64) {
        self.published.store(size, Ordering::Release);
    }

    /// Every change is made after all that can fail, so a thread that panics leaves the state whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
