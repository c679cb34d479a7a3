//! The threads that write. One takes what is queued, writes and syncs it at once, and tells those who wait; the other
//! takes what is durable, and keeps tiles and checkpoint at most a moment behind.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::RecordError;
use super::handover::{End, Handover};
use super::ledger::Ledger;
use super::publisher::Publisher;
use super::queue::{Full, Pace, Queue, Queued, Stage, Work};
use super::store::{Trouble, WAL};

/// A batch waits for those who are likely to come as long as this many syncs take. A sync costs some 65 µs of CPU whatever
/// it carries, as much as an exchange: where the core that syncs is the core that serves, a batch that leaves too early is
/// paid for by everyone behind it. Nobody waits for those who are not expected.
const SYNCS_OF_PATIENCE: u32 = 8;
/// However slow the disk is, a batch is not held back longer than this for the sake of those who may come.
const MOST_PATIENCE: Duration = Duration::from_millis(1);
/// How long a log that wants room waits before it looks for it again.
const ROOM_EVERY: Duration = Duration::from_secs(1);

/// How the threads keep time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rhythm {
    /// How long entries that nobody waits for may wait for company.
    pub(super) linger: Duration,
    /// How long entries may be durable before a checkpoint covers them.
    pub(super) checkpoint_every: Duration,
}

/// Starts both threads. They end when the queue is closed, or with the first step that fails for more than room.
pub(super) fn start(
    ledger: Ledger,
    publisher: Publisher,
    queue: &Arc<Queue>,
    handover: &Arc<Handover>,
    rhythm: Rhythm,
) -> std::io::Result<()> {
    let publishing = {
        let (queue, handover) = (Arc::clone(queue), Arc::clone(handover));
        std::thread::Builder::new().name("record-tiles".into()).spawn(move || {
            // Even if it panics, the writer is not left waiting.
            let last_word = LastWord(Arc::clone(&queue), Arc::clone(&handover));
            let mut publisher = publisher;
            let ended = publish(&mut publisher, &queue, &handover, rhythm.checkpoint_every);
            drop(publisher);
            if let Err(error) = &ended {
                fail(&queue, error);
            } else {
                std::mem::forget(last_word);
            }
            ended
        })?
    };
    let (queue, handover) = (Arc::clone(queue), Arc::clone(handover));
    let aborting = Arc::clone(&handover);
    let started = std::thread::Builder::new().name("record-log".into()).spawn(move || {
        // Even if the writer panics, nobody is left waiting. Declared first, so dropped last.
        let _last_word = LastWord(Arc::clone(&queue), Arc::clone(&handover));
        let mut ledger = ledger;
        let ended = write(&mut ledger, &queue, &handover, rhythm.linger);
        let ended = finish(ended, &mut ledger, &handover, publishing);
        // The lock goes before anyone hears that the log is closed: they may open it again at once.
        drop(ledger);
        match ended {
            Ok(()) => queue.end(Stage::Closed),
            Err(error) => fail(&queue, &error),
        }
    });
    if started.is_err() {
        aborting.end(End::Abort);
    }
    started.map(drop)
}

/// Lets the publisher come to its end, and leaves the file as it should lie.
fn finish(
    ended: Result<(), RecordError>,
    ledger: &mut Ledger,
    handover: &Handover,
    publishing: JoinHandle<Result<(), RecordError>>,
) -> Result<(), RecordError> {
    handover.end(if ended.is_ok() { End::Finish } else { End::Abort });
    let published = publishing.join().unwrap_or_else(|_| Err(RecordError::Unavailable("the publisher stopped".into())));
    ended?;
    published?;
    ledger.close()
}

fn fail(queue: &Queue, error: &RecordError) {
    if !matches!(queue.stage(), Stage::Failed(_)) {
        tracing::error!(code = error.code(), error = %error, "the record log failed; no exchange can pass");
    }
    queue.end(Stage::Failed(why(error)));
}

fn why(error: &RecordError) -> Arc<str> {
    if let RecordError::Unavailable(why) = error { Arc::clone(why) } else { error.to_string().into() }
}

struct LastWord(Arc<Queue>, Arc<Handover>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.1.end(End::Abort);
        self.0.end(Stage::Failed("the writer stopped".into()));
    }
}

fn write(ledger: &mut Ledger, queue: &Queue, handover: &Handover, linger: Duration) -> Result<(), RecordError> {
    let mut batch: Vec<Queued> = Vec::new();
    let mut pace = Pace { expected: 0, patience: Duration::ZERO, linger, again_at: None };
    renew_reserve(ledger, queue, &mut pace)?;
    loop {
        match queue.next(&mut batch, pace) {
            Work::Batch => {
                let start = Instant::now();
                pace.expected = commit(ledger, queue, handover, std::mem::take(&mut batch), &mut pace.again_at)?;
                pace.patience = MOST_PATIENCE.min(start.elapsed() * SYNCS_OF_PATIENCE);
            }
            Work::Again => renew_reserve(ledger, queue, &mut pace)?,
            Work::Finish => return Ok(()),
            Work::Stop => return Err(queue.unavailable()),
        }
    }
}

/// Fills up the zeros ahead of the log. Without room the log takes no new exchanges, and this is to be tried again.
fn renew_reserve(ledger: &mut Ledger, queue: &Queue, pace: &mut Pace) -> Result<(), RecordError> {
    let renewed = if ledger.wal.is_low() { ledger.wal.extend(0) } else { Ok(()) };
    match renewed {
        Ok(()) => pace.again_at = queue.has_room(Full::Ahead),
        Err(Trouble::Room(error)) => pace.again_at = Some(wants_room(queue, Full::Ahead, &error)),
        Err(Trouble::Fatal(error)) => return Err(error),
    }
    Ok(())
}

/// Notes that there is no room, and says when to look again.
fn wants_room(queue: &Queue, full: Full, error: &std::io::Error) -> Instant {
    if queue.is_full(full) {
        tracing::debug!(error = %error, "still no room for the record log");
    } else {
        tracing::error!(code = "record_full", error = %error, "no room for the record log; no exchange can pass until there is");
    }
    queue.wants_room(full);
    Instant::now() + ROOM_EVERY
}

/// Makes a batch durable and says how many entries were waited for when it was.
fn commit(
    ledger: &mut Ledger,
    queue: &Queue,
    handover: &Handover,
    mut batch: Vec<Queued>,
    again_at: &mut Option<Instant>,
) -> Result<usize, RecordError> {
    let first = ledger.next;
    ledger.encode(batch.iter().map(|queued| queued.entry.as_bytes()));
    if let Err(error) = wait_for_room(ledger, queue).and_then(|()| {
        if let Some(wanting) = ledger.write(again_at.is_none())? {
            *again_at = Some(wants_room(queue, Full::Ahead, &wanting));
        }
        Ok(())
    }) {
        let why = why(&error);
        // Refuse newcomers before telling those who wait, so that no one who heard of the failure gets in again.
        fail(queue, &error);
        batch.iter_mut().for_each(|queued| queued.settle(Err(Arc::clone(&why))));
        return Err(error);
    }
    let waited_for = queue.batch_is_durable(first + batch.len() as u64, &batch);
    for (index, queued) in (first..).zip(batch.iter_mut()) {
        queued.settle(Ok(index));
    }
    ledger.wrote(batch.iter().map(|queued| &queued.entry));
    // Hashing comes after the good news, and in another thread: who waited can go on meanwhile.
    if !handover.give(batch) {
        return Err(queue.unavailable());
    }
    ledger.rotate(handover.published())?;
    Ok(waited_for)
}

/// Holds the batch until there is room for it: its entries were taken, and some of them end what others began.
fn wait_for_room(ledger: &mut Ledger, queue: &Queue) -> Result<(), RecordError> {
    loop {
        match ledger.make_room() {
            Ok(()) => return Ok(()),
            Err(Trouble::Fatal(error)) => return Err(error),
            Err(Trouble::Room(error)) => {
                let again_at = wants_room(queue, Full::Ahead, &error);
                if queue.rest(again_at) {
                    return Err(Trouble::Room(error).into_error(std::path::Path::new(WAL)));
                }
            }
        }
    }
}

fn publish(publisher: &mut Publisher, queue: &Queue, handover: &Handover, every: Duration) -> Result<(), RecordError> {
    let mut due = None;
    loop {
        let taken = handover.take(due);
        if taken.end == Some(End::Abort) {
            return Err(queue.unavailable());
        }
        for queued in taken.batches.iter().flatten() {
            publisher.take(queued.entry.as_bytes());
        }
        if !taken.batches.is_empty() {
            due = due.or_else(|| Some(Instant::now() + every));
        }
        drop(taken.batches);
        patiently(queue, handover, || publisher.flush())?;
        handover.release(taken.bytes);
        let finish = taken.end == Some(End::Finish);
        if finish || due.is_some_and(|due| Instant::now() >= due) {
            patiently(queue, handover, || publisher.publish(handover))?;
            due = None;
        }
        if finish {
            return Ok(());
        }
    }
}

/// Does it, and again as long as it only wants room. Meanwhile the log takes no new exchanges.
fn patiently(
    queue: &Queue,
    handover: &Handover,
    mut act: impl FnMut() -> Result<(), Trouble>,
) -> Result<(), RecordError> {
    loop {
        match act() {
            Ok(()) => {
                queue.has_room(Full::Tiles);
                return Ok(());
            }
            Err(Trouble::Fatal(error)) => return Err(error),
            Err(Trouble::Room(error)) => {
                wants_room(queue, Full::Tiles, &error);
                if handover.rest(ROOM_EVERY) {
                    return Err(RecordError::Unavailable(format!("no room for tiles: {error}").into()));
                }
            }
        }
    }
}
