//! One thread that reads and one that concludes, with as many between them as the machine has: in order, and with a
//! bound on what is under way.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

/// Pieces of work under way for each thread: enough that none waits for the reader.
const AHEAD: usize = 3;

/// Takes work from `next` until there is none, does it on `threads` threads, and hands the results to `take` in the
/// order of the work. With one thread all of it is done here.
pub(super) fn pipeline<I: Send, O: Send, E>(
    threads: usize,
    mut next: impl FnMut() -> Result<Option<I>, E>,
    work: impl Fn(I) -> O + Sync,
    mut take: impl FnMut(O),
) -> Result<(), E> {
    if threads < 2 {
        while let Some(input) = next()? {
            take(work(input));
        }
        return Ok(());
    }
    std::thread::scope(|scope| {
        let bound = threads * AHEAD;
        let (give, inputs) = sync_channel::<(u64, I)>(bound);
        let (done, outputs) = sync_channel::<(u64, O)>(bound);
        let inputs = Arc::new(Mutex::new(inputs));
        let work = &work;
        for _ in 0..threads {
            let (done, inputs) = (done.clone(), Arc::clone(&inputs));
            scope.spawn(move || {
                loop {
                    let input = inputs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((place, input)) = input else { return };
                    if done.send((place, work(input))).is_err() {
                        return;
                    }
                }
            });
        }
        drop((done, inputs));
        let (mut given, mut taken) = (0_u64, 0_u64);
        let mut give = Some(give);
        let mut early = BTreeMap::new();
        let mut failed = None;
        loop {
            while given - taken < bound as u64
                && let Some(giver) = &give
            {
                match next() {
                    Ok(Some(input)) => match giver.send((given, input)) {
                        Ok(()) => given += 1,
                        Err(_) => give = None,
                    },
                    Ok(None) => give = None,
                    Err(error) => {
                        failed = Some(error);
                        give = None;
                    }
                }
            }
            if given == taken {
                return failed.map_or(Ok(()), Err);
            }
            let Ok((place, output)) = outputs.recv() else { return failed.map_or(Ok(()), Err) };
            early.insert(place, output);
            while let Some(output) = early.remove(&taken) {
                take(output);
                taken += 1;
            }
        }
    })
}
