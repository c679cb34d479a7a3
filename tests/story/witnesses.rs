//! Two gateways cosign each other's logs; a restored copy is found; a quorum that is missing holds exchanges back.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sekisho::record::witness::{Cosignatures, read_signed};
use sekisho::record::{Health, Published};
use serde_json::{Value, json};

use crate::world::{Demands, Organisation, Pair, Reply, Side, copy, get, soon, until};

const PATH: &str = "/data/usgs-earthquakes/week.json";
const ONE: Demands = Demands { quorum: 1, overdue: Duration::ZERO, log_entries: false };
const NONE: Demands = Demands { quorum: 0, overdue: Duration::ZERO, log_entries: false };

/// Wessex fetches from Kansai, with a pass of its own.
async fn fetch(pair: &Pair, kansai: &Organisation) -> Reply {
    kansai.upstream.offer("/usgs-earthquakes/week.json", "application/json", "{}");
    let wessex = pair.peer(kansai);
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    wessex.get(PATH, &pass).await
}

/// Waits until the log's latest checkpoint covers all of its entries and is cosigned.
async fn cosigned(organisation: &Organisation) -> Arc<Published> {
    let gateway = organisation.gateway();
    let published = gateway.log().published();
    until("a cosigned checkpoint over everything", || {
        let size = published.borrow().size;
        size == gateway.log().size() && gateway.witnessing().standing.latest().is_some_and(|latest| latest.size == size)
    })
    .await;
    published.borrow().clone()
}

async fn witnesses(pair: &Pair, organisation: &Organisation) -> Value {
    let reply = pair.operator(organisation).call(Method::GET, "/api/witnesses", &json!({})).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.json()
}

async fn read(pair: &Pair, of: &Organisation, path: &str) -> Reply {
    pair.peer(of).send(get(path, "")).await.unwrap()
}

#[tokio::test]
async fn two_gateways_cosign_each_other_and_a_restart_remembers() {
    let pair = Pair::new();
    let kansai = pair.start(Side::Kansai, NONE).await.unwrap();
    let wessex = pair.start(Side::Wessex, NONE).await.unwrap();
    for _ in 0..3 {
        assert_eq!(fetch(&pair, &kansai).await.status, 200);
        let published = cosigned(&kansai).await;
        // What is served carries the log's signature and its witness's, each good on its own.
        let served = read(&pair, &kansai, "/log/checkpoint").await;
        assert_eq!(served.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(served.header("cache-control"), Some("no-store"));
        let signed = read_signed(served.text(), &[pair.log_key(Side::Kansai)]).unwrap();
        assert_eq!((signed.size, signed.root), (published.size, published.root));
        let lines = served.text().strip_prefix(&published.note).expect("the log's own note, and more under it");
        Cosignatures::read(&published.note, lines, &[pair.witness_key(Side::Wessex)]).unwrap();
    }
    let size = cosigned(&kansai).await.size;
    assert_eq!(size, 6, "three decisions and their outcomes, and nothing for all that was read");
    let shown = witnesses(&pair, &kansai).await;
    assert_eq!(shown["witnesses"]["wessex.example"]["size"], size);
    assert_eq!(shown["witnesses"]["wessex.example"]["error"], Value::Null);
    let shown = witnesses(&pair, &wessex).await;
    assert_eq!(shown["witnessing"]["logs"][0], json!({ "origin": "kansai.example/log", "size": size, "evidence": 0 }));

    let hash = crate::world::sha256(Pair::origin(Side::Kansai).as_bytes());
    let monitored = format!("/log/witness/{}/checkpoint", hash.strip_prefix("sha256:").unwrap());
    let before = pair.operator(&wessex).send(get(&monitored, "")).await.unwrap();
    assert_eq!(before.status, 200);
    wessex.close().await;
    let wessex = pair.start(Side::Wessex, NONE).await.unwrap();
    let after = pair.operator(&wessex).send(get(&monitored, "")).await.unwrap();
    assert_eq!(after.body, before.body, "what was signed is remembered");
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    assert_eq!(cosigned(&kansai).await.size, 8, "and continued");
    kansai.close().await;
    wessex.close().await;
    let days: Vec<_> = std::fs::read_dir(pair.log(Side::Kansai).join("cosigned")).unwrap().flatten().collect();
    let lines = std::fs::read_to_string(days[0].path()).unwrap();
    let sizes: Vec<u64> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["size"].as_u64().unwrap()).collect();
    assert!(sizes.is_sorted() && sizes.last() == Some(&8), "{sizes:?}");
}

#[tokio::test]
async fn an_older_copy_of_the_log_is_refused_at_the_start() {
    let pair = Pair::new();
    let wessex = pair.start(Side::Wessex, NONE).await.unwrap();
    let kansai = pair.start(Side::Kansai, ONE).await.unwrap();
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    cosigned(&kansai).await;
    kansai.close().await;
    let (log, backup) = (pair.log(Side::Kansai), pair.place(Side::Kansai).join("backup"));
    copy(&log, &backup);
    let kansai = pair.start(Side::Kansai, ONE).await.unwrap();
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    cosigned(&kansai).await;
    kansai.close().await;
    let newest = pair.place(Side::Kansai).join("newest");
    std::fs::rename(&log, &newest).unwrap();
    copy(&backup, &log);
    let told = pair.start(Side::Kansai, ONE).await.err().expect("an older copy does not start").to_string();
    assert!(told.starts_with("log_rolled_back: "), "{told}");
    assert!(told.contains("wessex.example has seen 4 entries of it, and here are 2"), "{told}");
    // Nor does a new log under the old name.
    std::fs::remove_dir_all(&log).unwrap();
    let told = pair.start(Side::Kansai, NONE).await.err().expect("an empty log does not start").to_string();
    assert!(told.contains("has seen 4 entries of it, and here are 0"), "{told}");
    assert!(!log.exists(), "nothing was written before the witnesses were asked");
    std::fs::rename(&newest, &log).unwrap();
    let kansai = pair.start(Side::Kansai, ONE).await.unwrap();
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    kansai.close().await;
    wessex.close().await;
}

#[tokio::test]
async fn an_older_copy_that_could_start_is_found_when_a_witness_comes_back() {
    let pair = Pair::new();
    let wessex = pair.start(Side::Wessex, NONE).await.unwrap();
    let kansai = pair.start(Side::Kansai, NONE).await.unwrap();
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    cosigned(&kansai).await;
    kansai.close().await;
    let (log, backup) = (pair.log(Side::Kansai), pair.place(Side::Kansai).join("backup"));
    copy(&log, &backup);
    let kansai = pair.start(Side::Kansai, NONE).await.unwrap();
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    cosigned(&kansai).await;
    kansai.close().await;
    wessex.close().await;
    std::fs::remove_dir_all(&log).unwrap();
    copy(&backup, &log);
    // Without a quorum it starts although nobody can be asked, and goes on where the copy ends: a fork.
    let kansai = pair.start(Side::Kansai, NONE).await.unwrap();
    for _ in 0..3 {
        assert_eq!(fetch(&pair, &kansai).await.status, 200);
    }
    let wessex = pair.start(Side::Wessex, NONE).await.unwrap();
    until("the end of a forked log", || matches!(kansai.gateway().log().health(), Health::Failed(_))).await;
    let refused = fetch(&pair, &kansai).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "record_unavailable"));
    let shown = witnesses(&pair, &kansai).await;
    assert_eq!(shown["witnesses"]["wessex.example"]["error"], "log_rolled_back");
    let ready = pair.operator(&kansai).send(get("/readyz", "")).await.unwrap();
    assert_eq!(ready.status, 503);
    wessex.close().await;
}

#[tokio::test]
async fn without_its_quorum_nothing_is_exchanged() {
    let pair = Pair::new();
    let kansai = pair.start(Side::Kansai, ONE).await.unwrap();
    let refused = fetch(&pair, &kansai).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "witnesses_unasked"));
    let ready = pair.operator(&kansai).send(get("/readyz", "")).await.unwrap();
    assert_eq!((ready.status.as_u16(), ready.code().as_str()), (503, "witnesses_unasked"));
    assert_eq!(witnesses(&pair, &kansai).await["witnesses"]["wessex.example"]["answered"], false);
    let wessex = pair.start(Side::Wessex, NONE).await.unwrap();
    let now = || pair.clock.clone();
    let standing = kansai.gateway().witnessing().standing.clone();
    until("the quorum", || standing.admit(sekisho::types::Clock::now(&*now())).is_ok()).await;
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    let ready = pair.operator(&kansai).send(get("/readyz", "")).await.unwrap();
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["witnesses"]["wessex.example"]["answered"], true);
    let book = kansai.close().await;
    book.of(&refused).check_refused("refused", "witnesses_unasked", 503);
    wessex.close().await;
}

#[tokio::test]
async fn a_quorum_that_is_overdue_holds_exchanges_back() {
    let pair = Pair::new();
    let wessex = pair.start(Side::Wessex, NONE).await.unwrap();
    let patient = Demands { quorum: 1, overdue: Duration::from_secs(60), log_entries: false };
    let kansai = pair.start(Side::Kansai, patient).await.unwrap();
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    cosigned(&kansai).await;
    pair.clock.advance(Duration::from_secs(120));
    // Nothing is missing of a log that stands still.
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    cosigned(&kansai).await;
    wessex.close().await;
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    let mut published = kansai.gateway().log().published();
    soon("a checkpoint", published.wait_for(|published| published.size == 6)).await.unwrap();
    until("an attempt that failed", || {
        kansai.gateway().witnessing().standing.witnesses().values().all(|witness| witness.error.is_some())
    })
    .await;
    pair.clock.advance(Duration::from_secs(59));
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    pair.clock.advance(Duration::from_secs(2));
    let refused = fetch(&pair, &kansai).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "witnesses_overdue"));
    let wessex = pair.start(Side::Wessex, NONE).await.unwrap();
    cosigned(&kansai).await;
    assert_eq!(fetch(&pair, &kansai).await.status, 200);
    kansai.close().await;
    wessex.close().await;
}
