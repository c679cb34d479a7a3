//! The thread that writes: it takes what is queued, writes and syncs it at once, tells those who wait, and keeps the
//! checkpoint at most a moment behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::RecordError;
use super::ledger::Ledger;
use super::queue::{Pace, Queue, Queued, Stage, Work};

/// A batch waits for those who are likely to come as long as this many syncs take. A sync costs some 65 µs of CPU whatever
/// it carries, as much as an exchange: where the core that syncs is the core that serves, a batch that leaves too early is
/// paid for by everyone behind it. Nobody waits for those who are not expected.
const SYNCS_OF_PATIENCE: u32 = 8;
/// However slow the disk is, a batch is not held back longer than this for the sake of those who may come.
const MOST_PATIENCE: Duration = Duration::from_millis(1);

/// Starts the writer. It ends when the queue is closed, or with the first write that fails.
pub(super) fn start(
    ledger: Ledger,
    queue: &Arc<Queue>,
    linger: Duration,
    checkpoint_every: Duration,
) -> std::io::Result<()> {
    let queue = Arc::clone(queue);
    std::thread::Builder::new().name("record-log".into()).spawn(move || {
        // Even if the writer panics, nobody is left waiting. Declared first, so dropped last.
        let _last_word = LastWord(Arc::clone(&queue));
        let mut ledger = ledger;
        let ended = work(&mut ledger, &queue, linger, checkpoint_every);
        // The lock goes before anyone hears that the log is closed: they may open it again at once.
        drop(ledger);
        match ended {
            Ok(()) => queue.end(Stage::Closed),
            Err(error) => {
                tracing::error!(code = error.code(), error = %error, "the record log failed; no exchange can pass");
                let why = if let RecordError::Unavailable(why) = error { why } else { error.to_string().into() };
                queue.end(Stage::Failed(why));
            }
        }
    })?;
    Ok(())
}

struct LastWord(Arc<Queue>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.end(Stage::Failed("the writer stopped".into()));
    }
}

fn work(ledger: &mut Ledger, queue: &Queue, linger: Duration, checkpoint_every: Duration) -> Result<(), RecordError> {
    let mut batch: Vec<Queued> = Vec::new();
    let mut pace = Pace { expected: 0, patience: Duration::ZERO, linger, checkpoint_at: None };
    loop {
        match queue.next(&mut batch, pace) {
            Work::Batch => {
                let start = Instant::now();
                pace.expected = commit(ledger, queue, &mut batch)?;
                let end = Instant::now();
                pace.patience = MOST_PATIENCE.min((end - start) * SYNCS_OF_PATIENCE);
                pace.checkpoint_at = pace.checkpoint_at.or(Some(end + checkpoint_every));
            }
            Work::Checkpoint => {
                ledger.checkpoint()?;
                pace.checkpoint_at = None;
            }
            Work::Finish => return ledger.close(),
            Work::Stop => return Err(queue.unavailable()),
        }
    }
}

/// Makes a batch durable and says how many entries were waited for when it was.
fn commit(ledger: &mut Ledger, queue: &Queue, batch: &mut Vec<Queued>) -> Result<usize, RecordError> {
    let first = ledger.next_index();
    if let Err(error) = ledger.write(batch.iter().map(|queued| queued.entry.as_bytes())) {
        let why: Arc<str> = error.to_string().into();
        let why = if let RecordError::Unavailable(why) = &error { Arc::clone(why) } else { why };
        // Refuse newcomers before telling those who wait, so that no one who heard of the failure gets in again.
        queue.end(Stage::Failed(Arc::clone(&why)));
        batch.iter_mut().for_each(|queued| queued.settle(Err(Arc::clone(&why))));
        return Err(error);
    }
    let waited_for = queue.batch_is_durable(first + batch.len() as u64, batch);
    for (index, queued) in (first..).zip(batch.iter_mut()) {
        queued.settle(Ok(index));
    }
    // Hashing comes after the good news: who waited can go on meanwhile.
    ledger.grow(batch.iter().map(|queued| queued.entry.as_bytes()));
    batch.clear();
    Ok(waited_for)
}
