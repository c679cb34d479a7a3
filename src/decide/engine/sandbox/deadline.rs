//! The clock that ends modules which run too long.
//!
//! A module looks at its engine's epoch at every loop and call, which costs it a comparison; one thread of the process
//! moves the epochs on while something runs, and sleeps otherwise.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::Store;

use super::runtime;
use crate::decide::DecideError;

/// The time between two epochs: a tenth of the usual budget, and 200 short wakings a second.
const TICK: Duration = Duration::from_millis(5);
/// Ticks without an evaluation after which the thread sleeps until the next: waking it costs more than an evaluation's
/// own clock, so a busy gateway never lets it sleep.
const LINGER: u32 = 20;

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static ASLEEP: AtomicBool = AtomicBool::new(false);
static WAKE: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
static STARTED: Mutex<bool> = Mutex::new(false);

/// Sets the store's deadline `budget` from now; the clock runs until what is returned is dropped.
///
/// A module that still runs then is stopped after `budget`, never before it, and at most two ticks later.
pub(super) fn watch<T>(store: &mut Store<T>, budget: Duration) -> Watch {
    // The store's epoch is read after the clock was started, and the tick under way counts for nothing.
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let watch = Watch(());
    if ASLEEP.load(Ordering::SeqCst) {
        let _asleep = WAKE.0.lock().unwrap_or_else(PoisonError::into_inner);
        WAKE.1.notify_one();
    }
    let ticks = budget.as_micros().div_ceil(TICK.as_micros()).saturating_add(1);
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX / 2));
    watch
}

/// An evaluation in progress.
pub(super) struct Watch(());

impl Drop for Watch {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts the thread, once in the life of the process.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start_clock() -> Result<(), DecideError> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        std::thread::Builder::new()
            .name("policy-clock".to_owned())
            .spawn(run)
            .map_err(|error| DecideError::unusable(format!("no thread for the clock of policies: {error}")))?;
        *started = true;
    }
    Ok(())
}

fn run() {
    let mut quiet = 0;
    loop {
        quiet = if RUNNING.load(Ordering::SeqCst) == 0 { quiet + 1 } else { 0 };
        if quiet > LINGER {
            sleep_until_needed();
            quiet = 0;
        }
        std::thread::sleep(TICK);
        runtime::tick();
    }
}

/// Each side first says what it does and then looks at the other, so that none waits for a waking that was missed.
fn sleep_until_needed() {
    let mut guard = WAKE.0.lock().unwrap_or_else(PoisonError::into_inner);
    ASLEEP.store(true, Ordering::SeqCst);
    while RUNNING.load(Ordering::SeqCst) == 0 {
        guard = WAKE.1.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
    ASLEEP.store(false, Ordering::SeqCst);
}
