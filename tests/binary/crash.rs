//! kill -9 under load: no acknowledged entry is lost, and nothing was forwarded without its decision entry.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::site::{Site, sekisho, stdout};
use crate::world::{Book, Connection, Peer, Upstream, get, soon};

const CLIENTS: usize = 8;
const KILLS: u64 = 4;
/// Answers between two kills.
const ANSWERS: u64 = 150;

/// What the clients share.
struct Load {
    peer: Peer,
    pass: String,
    /// The next path, so that no two requests have the same.
    next: AtomicU64,
    answers: watch::Sender<u64>,
    /// How often the gateway was started; none is to come once it is `u64::MAX`.
    started: watch::Sender<u64>,
}

/// An exchange that a client got a whole answer for.
struct Answered {
    exchange: String,
    path: String,
}

/// Asks without pause, over a connection that it keeps, until there is no further start.
async fn client(load: Arc<Load>) -> Vec<Answered> {
    let mut started = load.started.subscribe();
    let mut answered = Vec::new();
    loop {
        let now = *started.borrow_and_update();
        if now == u64::MAX {
            return answered;
        }
        if let Ok(connection) = load.peer.connect().await {
            hammer(&load, connection, &mut answered).await;
        }
        // The connection broke, so the gateway was killed: nothing can be asked before it is started again.
        started.wait_for(|started| *started > now).await.unwrap();
    }
}

async fn hammer(load: &Load, mut connection: Connection, answered: &mut Vec<Answered>) {
    loop {
        let path = format!("/data/open/n/{}", load.next.fetch_add(1, Ordering::Relaxed));
        let Ok(reply) = connection.send(get(&path, &load.pass)).await else { return };
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!(reply.body, "a reading");
        answered.push(Answered { exchange: reply.exchange().to_owned(), path });
        load.answers.send_modify(|answers| *answers += 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/n/*", "text/plain", "a reading");
    let site = Site::new(&upstream);
    let peer = site.peer();
    let pass = peer.pass("dfft:DisasterResponse").living(600).sign();
    let mut serving = site.serve();
    let load = Arc::new(Load {
        peer,
        pass,
        next: AtomicU64::new(0),
        answers: watch::Sender::new(0),
        started: watch::Sender::new(1),
    });
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&load)));
    }
    let mut answers = load.answers.subscribe();
    for kill in 1..=KILLS {
        soon("load", answers.wait_for(|answers| *answers >= kill * ANSWERS)).await.unwrap();
        serving.kill();
        serving = site.serve();
        load.started.send_replace(kill + 1);
    }
    soon("load", answers.wait_for(|answers| *answers >= (KILLS + 1) * ANSWERS)).await.unwrap();
    let stopped = tokio::task::spawn_blocking(move || serving.terminate());
    let status = soon("the end", stopped).await.unwrap();
    load.started.send_replace(u64::MAX);
    assert_eq!(status.code(), Some(0));
    let answered: Vec<Answered> = soon("the clients' end", clients.join_all()).await.into_iter().flatten().collect();

    let key = site.log_key();
    let verified = sekisho(["log", "verify", site.log().to_str().unwrap(), "--key", &key, "--json"]);
    assert_eq!(verified.status.code(), Some(0), "{}", stdout(&verified));
    let report: serde_json::Value = serde_json::from_str(stdout(&verified)).unwrap();
    assert_eq!(report["verified"], true);

    let book = Book::read(&site.log(), &key);
    let told: HashMap<String, _> =
        book.all().into_iter().map(|told| (told.decision["exchange"].as_str().unwrap().to_owned(), told)).collect();
    assert!(answered.len() as u64 >= (KILLS + 1) * ANSWERS);
    for Answered { exchange, path } in &answered {
        let told = told.get(exchange).unwrap_or_else(|| panic!("the answered exchange {exchange} is lost"));
        assert_eq!(told.decision["decision"], "permit");
        assert_eq!(told.decision["request"]["path"], *path);
        // The outcome may have been on its way to the disk when the gateway died; then the next start closed it.
        let ended = told.outcome["ended"].as_str().unwrap();
        assert!(["complete", "unknown"].contains(&ended), "{exchange} ended {ended}");
    }
    let permitted: HashSet<&str> = told
        .values()
        .filter(|told| told.decision["decision"] == "permit")
        .map(|told| told.decision["request"]["path"].as_str().unwrap())
        .collect();
    let seen = upstream.seen();
    assert!(seen.len() >= answered.len());
    for request in &seen {
        let path = format!("/data{}", request.path);
        assert!(permitted.contains(path.as_str()), "{path} was forwarded without its decision");
    }
}
