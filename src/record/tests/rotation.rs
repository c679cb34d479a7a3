//! The write-ahead log is renewed under load: it stays short, and holds what tiles do not.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_short_under_load_and_every_entry_stands() {
    let world = World::new();
    let config = LogConfig {
        checkpoint_every: Duration::from_millis(2),
        linger: Duration::ZERO,
        rotate_after: 20_000,
        ..world.config()
    };
    let log = open(config.clone(), &world.signer).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let log = log.clone();
        tasks.spawn(async move {
            for _ in 0..100 {
                let exchange = ExchangeId::new(NOW);
                log.append(log.seal(&decision(exchange, Verdict::Permit)).unwrap()).await.unwrap();
                log.append_soon(log.seal(&outcome(exchange)).unwrap()).unwrap().durable().await.unwrap();
            }
        });
    }
    // Whoever reads meanwhile finds every entry, in order.
    let directory = world.directory();
    let reading = tokio::task::spawn_blocking(move || {
        let mut most = 0;
        while most < 2000 {
            let indices: Vec<u64> = Entries::open(&directory).unwrap().map(|entry| entry.unwrap().index.0).collect();
            assert!(indices.iter().copied().eq(0..indices.len() as u64) && indices.len() >= most);
            most = indices.len();
        }
    });
    tasks.join_all().await;
    reading.await.unwrap();
    // Some exchange is still open when the file is renewed, and again when it crashes.
    let open = ExchangeId::new(NOW);
    log.append(log.seal(&decision(open, Verdict::Permit)).unwrap()).await.unwrap();
    let mut published = log.published();
    for size in 3202..3260 {
        published.wait_for(|published| published.size == size - 1).await.unwrap();
        let deny = decision(ExchangeId::new(NOW), Verdict::Deny);
        log.append(log.seal(&deny).unwrap()).await.unwrap();
    }
    let base = Frames::open(Cursor::new(world.wal())).unwrap().head().clone();
    assert!(base.base > 3202 && base.open == [open], "{base:?}");
    assert!(world.written().len() < 60_000, "{} bytes", world.written().len());
    published.wait_for(|published| published.size == 3259).await.unwrap();
    let crashed = world.crashed(&world.wal());
    log.close().await.unwrap();
    let again = open_and_close(&crashed).await;
    assert_eq!(again, 3260);
    let last = Entries::from(&crashed.directory(), 3259).unwrap().next().unwrap().unwrap();
    assert_eq!((&last.payload["exchange"], &last.payload["ended"]), (&open.to_string().into(), &"unknown".into()));
    assert_eq!(tree::check(&crashed).len(), 3260);
    assert!(crashed.verify().verified);
}

async fn open_and_close(world: &World) -> u64 {
    let log = world.open().unwrap();
    let size = log.size();
    log.close().await.unwrap();
    size
}

#[test]
fn a_head_is_read_as_it_was_written_and_not_otherwise() {
    let open = vec![ExchangeId::new(NOW), ExchangeId::new(NOW)];
    let head = Head { base: 7, upto: 9, open };
    let bytes = head.bytes();
    assert_eq!(bytes.len() as u64, head.length());
    assert_eq!(Head::read(&mut &bytes[..]).unwrap(), head);
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(Head::read(&mut &changed[..]).is_err(), "changed at {place}");
        assert!(Head::read(&mut &bytes[..place]).is_err(), "cut at {place}");
    }
}

#[tokio::test]
async fn a_log_file_that_was_renewed_and_lost_entries_is_refused() {
    let world = closed(3).await;
    let all = entries(&world.wal());
    let from = |head: Head, entries: &[Vec<u8>]| {
        let mut wal = head.bytes();
        for (index, entry) in (head.base..).zip(entries) {
            encode(&mut wal, 0, index, entry);
        }
        world.crashed(&wal).open().err().map(|error| error.code())
    };
    let head = Head { base: 4, upto: 6, open: Vec::new() };
    assert_eq!(from(head.clone(), &all[4..]), None);
    assert_eq!(from(head.clone(), &all[4..5]), Some("log_rolled_back"));
    assert_eq!(from(Head { upto: 7, ..head.clone() }, &all[4..]), Some("log_corrupt"));
    assert_eq!(from(Head { base: 5, ..head.clone() }, &all[4..]), Some("log_corrupt"));
    // Newer than its checkpoint.
    assert_eq!(from(Head { base: 7, upto: 7, open: Vec::new() }, &[]), Some("log_corrupt"));
    std::fs::remove_file(world.directory().join(WAL)).unwrap();
    assert_eq!(world.open().err().map(|error| error.code()), Some("log_corrupt"));
}
