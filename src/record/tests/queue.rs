//! When the writer takes a batch. Times are zero or an hour, so that nothing depends on the machine.

use super::*;
use crate::record::queue::{Pace, Queue, Stage, Work};

const HOUR: Duration = Duration::from_secs(3600);
const PACE: Pace = Pace { expected: 0, patience: Duration::ZERO, linger: HOUR, again_at: None };

/// What the writer takes at this pace, while `waiting` entries come that are waited for, after `soon` that are not.
async fn check(pace: Pace, soon: usize, waiting: usize) -> usize {
    let queue = Arc::new(Queue::new(0));
    let sealed = signer().seal(&outcome(ExchangeId::new(NOW))).unwrap();
    let fates: Vec<_> = (0..soon).map(|_| queue.push_soon(sealed.clone()).unwrap()).collect();
    let writer = Arc::clone(&queue);
    let taken = tokio::task::spawn_blocking(move || {
        let mut batch = Vec::new();
        assert_eq!(writer.next(&mut batch, pace), Work::Batch);
        batch.len()
    });
    let mut waiters = Vec::new();
    for _ in 0..waiting {
        waiters.push(queue.push_waiting(sealed.clone()).await.unwrap());
    }
    let taken = taken.await.unwrap();
    drop((fates, waiters));
    taken
}

#[tokio::test]
async fn a_batch_is_taken_when_as_many_wait_as_are_expected() {
    assert_eq!(check(Pace { expected: 3, patience: HOUR, ..PACE }, 0, 3).await, 3);
    assert_eq!(check(Pace { expected: 3, patience: HOUR, ..PACE }, 2, 3).await, 5);
}

#[tokio::test]
async fn who_waits_is_served_at_once_when_no_one_else_is_expected() {
    assert_eq!(check(PACE, 2, 1).await, 3);
    assert_eq!(check(Pace { expected: 9, ..PACE }, 0, 1).await, 1);
}

#[tokio::test]
async fn entries_nobody_waits_for_are_taken_when_the_linger_ends() {
    assert_eq!(check(Pace { linger: Duration::ZERO, ..PACE }, 2, 0).await, 2);
}

#[tokio::test]
async fn a_full_batch_waits_for_nobody() {
    assert_eq!(check(Pace { expected: 2000, patience: HOUR, ..PACE }, 1023, 1).await, 1024);
}

#[test]
fn a_closing_queue_gives_up_what_it_holds_and_then_ends() {
    let queue = Queue::new(0);
    let sealed = signer().seal(&outcome(ExchangeId::new(NOW))).unwrap();
    let fate = queue.push_soon(sealed.clone()).unwrap();
    let closed = queue.close().unwrap();
    let mut batch = Vec::new();
    assert_eq!(queue.next(&mut batch, PACE), Work::Batch);
    batch.iter_mut().for_each(|queued| queued.settle(Ok(7)));
    assert_eq!(queue.next(&mut batch, PACE), Work::Finish);
    queue.end(Stage::Closed);
    assert_eq!(fate.blocking_recv().unwrap(), Ok(7));
    closed.blocking_recv().unwrap();
    assert!(queue.close().is_none());
    assert_eq!(queue.push_soon(sealed).unwrap_err().code(), "record_unavailable");
}

#[test]
fn a_look_for_room_that_is_due_comes_first() {
    let queue = Queue::new(0);
    let fate = queue.push_soon(signer().seal(&outcome(ExchangeId::new(NOW))).unwrap()).unwrap();
    let due = Pace { again_at: Some(std::time::Instant::now()), linger: Duration::ZERO, ..PACE };
    let mut batch = Vec::new();
    assert_eq!(queue.next(&mut batch, due), Work::Again);
    assert_eq!(queue.next(&mut batch, Pace { again_at: None, ..due }), Work::Batch);
    drop(fate);
}
