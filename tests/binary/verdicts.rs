//! What a log of a real exchange proves to others: over the network, beside the partner's log, and in parts that were
//! handed on.

use std::fs;
use std::path::Path;
use std::process::Output;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::site::{stderr, stdout};
use crate::twins::{KANSAI, Twins, WESSEX, run};
use crate::world::{Reply, Upstream, copy, whole};

const READING: &str = "a reading";

/// What the two sent each other.
struct Sent {
    small: Reply,
    push: Reply,
}

/// Runs a command that must end with this code.
async fn ends(code: i32, words: &[&str], more: &[String]) -> Output {
    let words = words.iter().map(|word| (*word).to_owned()).chain(more.iter().cloned());
    let command: Vec<String> = words.collect();
    let output = run(&command).await;
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}{}", stdout(&output), stderr(&output));
    output
}

/// The JSON report of a `log verify` that must end with this code.
async fn verdict(code: i32, words: &[&str], more: &[String]) -> Value {
    let output = ends(code, &[&["log", "verify", "--json"], words].concat(), more).await;
    serde_json::from_str(stdout(&output)).unwrap()
}

fn count(report: &Value, check: &str) -> u64 {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|made| made["name"] == check).unwrap_or_else(|| panic!("no {check}: {report:#}"));
    assert_eq!(check["ok"], true, "{report:#}");
    check["count"].as_u64().unwrap()
}

fn is_open(report: &Value, words: &str) -> bool {
    report["not_checked"].as_array().unwrap().iter().any(|gap| gap.as_str().unwrap().contains(words))
}

/// Pulls and pushes both ways, small and streamed, one that is not there, and every receipt for them.
async fn exchange(twins: &Twins, upstreams: [&Upstream; 2]) -> Sent {
    for upstream in upstreams {
        upstream.offer("/open/small.txt", "text/plain", READING);
    }
    let small = twins.fetch(WESSEX, "open/small.txt").await;
    assert_eq!((small.status.as_u16(), small.text()), (200, READING), "{:?}", small.body);
    let feeder = upstreams[KANSAI].feed("/open/long.txt", "text/plain", None);
    let feeding = async {
        for _ in 0..3 {
            feeder.send(Ok(Bytes::from_static(b"and another reading"))).await.unwrap();
        }
        drop(feeder);
    };
    let (long, ()) = tokio::join!(twins.fetch(WESSEX, "open/long.txt"), feeding);
    assert_eq!((long.status.as_u16(), long.body.len()), (200, 57));
    let push = twins.application(WESSEX, Method::PUT, "inbox/a.txt", whole(READING)).await;
    assert_eq!(push.status, 201, "{:?}", push.body);
    assert_eq!(twins.fetch(KANSAI, "open/small.txt").await.status, 200);
    assert_eq!(twins.application(KANSAI, Method::PUT, "inbox/b.txt", whole(READING)).await.status, 201);
    assert_eq!(twins.fetch(WESSEX, "nothing/at-all.txt").await.status, 404);
    twins.settled(KANSAI, 2).await;
    twins.settled(WESSEX, 1).await;
    Sent { small, push }
}

/// Which logs, witnesses and signers to believe, as options.
fn beliefs(twins: &Twins) -> Vec<String> {
    let mut policy = String::new();
    for (side, name) in [(KANSAI, "kansai"), (WESSEX, "wessex")] {
        policy += &format!("log {}\nwitness {name} {}\n", twins.log_key(side), twins.witness_key(side));
    }
    fs::write(twins.path("policy.txt"), policy + "group either any kansai wessex\nquorum either\n").unwrap();
    let party = |side, id: &str| format!("{id}={}", twins.file(side, "jwks.json"));
    let parties = [party(KANSAI, "kansai.example"), party(WESSEX, "wessex.example")];
    let mut options = vec!["--policy".to_owned(), twins.text("policy.txt")];
    options.extend(parties.into_iter().flat_map(|party| ["--party".to_owned(), party]));
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_logs_of_the_same_exchanges_prove_them_to_anybody() {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let twins = Twins::new([&upstreams[KANSAI], &upstreams[WESSEX]]);
    let serving = twins.serve().await;
    let sent = exchange(&twins, [&upstreams[KANSAI], &upstreams[WESSEX]]).await;
    let beliefs = beliefs(&twins);
    over_the_network(&twins, &beliefs).await;
    proven_alone(&twins, &sent, &beliefs).await;
    exported(&twins, &sent, &beliefs).await;
    for process in serving {
        assert!(tokio::task::spawn_blocking(move || process.terminate()).await.unwrap().success());
    }
    side_by_side(&twins, &beliefs).await;
}

/// A running gateway's log, for its own people, for a partner that may read its entries, and for one that may not.
async fn over_the_network(twins: &Twins, beliefs: &[String]) {
    let keys = [twins.log_key(KANSAI), twins.log_key(WESSEX)];
    let own = [beliefs, &twins.tls(KANSAI, "operator")].concat();
    let report = verdict(0, &[&twins.at_admin(KANSAI), "--key", &keys[KANSAI]], &own).await;
    let entries = twins.entries(KANSAI).len() as u64;
    assert_eq!((count(&report, "signatures"), count(&report, "bundles")), (entries, 1));
    assert!(count(&report, "witnesses") > 0 && count(&report, "cosigned") > 0 && count(&report, "times") == entries);
    assert!(count(&report, "receipts") > 0 && !is_open(&report, "whose key"), "{report:#}");

    let partner = [beliefs, &twins.tls(WESSEX, "gateway")].concat();
    let report = verdict(0, &[&twins.at_partner(KANSAI), "--key", &keys[KANSAI]], &partner).await;
    assert_eq!(count(&report, "signatures"), entries);
    let ours = twins.file(WESSEX, "log");
    let beside = [&ours, "--key", &keys[WESSEX], "--with", &twins.at_partner(KANSAI), "--with-key", &keys[KANSAI]];
    let report = verdict(0, &beside, &partner).await;
    assert_eq!(count(&report, "same story"), 6);

    // Who may not read entries still sees that the tree is the one that was cosigned.
    let stranger = [beliefs, &twins.tls(KANSAI, "gateway")].concat();
    let report = verdict(0, &[&twins.at_partner(WESSEX), "--key", &keys[WESSEX]], &stranger).await;
    assert!(is_open(&report, "what the entries say") && count(&report, "tree") > 0, "{report:#}");
    assert!(count(&report, "witnesses") > 0);
    let ours = twins.file(KANSAI, "log");
    let beside = [&ours, "--key", &keys[KANSAI], "--with", &twins.at_partner(WESSEX), "--with-key", &keys[WESSEX]];
    let report = verdict(0, &beside, &stranger).await;
    assert!(is_open(&report, "whether wessex.example/log tells the same"), "{report:#}");
    // An operator of ours is nobody's partner.
    let nobody = ends(2, &["log", "verify", &twins.at_partner(WESSEX)], &twins.tls(KANSAI, "operator")).await;
    assert!(stderr(&nobody).contains("wessex") || stderr(&nobody).contains("localhost"), "{}", stderr(&nobody));
}

/// One entry in a proof file, as a COSE receipt, and an exchange's provenance.
async fn proven_alone(twins: &Twins, sent: &Sent, beliefs: &[String]) {
    let (log, key) = (twins.file(KANSAI, "log"), twins.log_key(KANSAI));
    let outcome = twins.index(KANSAI, sent.push.exchange(), "outcome").unwrap();
    let (index, proof) = (outcome.to_string(), twins.text("outcome.proof"));
    for place in [&log, &twins.at_admin(KANSAI)] {
        let operator = twins.tls(KANSAI, "operator");
        ends(0, &["log", "prove", place, &index, "--out", &proof], &operator).await;
        let report = verdict(0, &[&proof, "--key", &key], beliefs).await;
        assert_eq!((count(&report, "inclusion"), count(&report, "witnesses")), (1, 1));
        // The request that was pushed, and the answer to it.
        assert_eq!(count(&report, "receipts"), 2);
    }
    spoilt(&proof, &key).await;

    let (receipt, secret) = (twins.text("outcome.cose"), twins.file(KANSAI, "log.key"));
    let make = ["log", "prove", &log, &index, "--format", "cose", "--out", &receipt, "--log-key", &secret];
    open_to(0o640, &secret);
    let refused = ends(2, &make, &[]).await;
    assert!(stderr(&refused).contains("chmod 600"), "{}", stderr(&refused));
    open_to(0o600, &secret);
    // A key that is not the log's makes no receipt of the log.
    let foreign = twins.file(KANSAI, "witness.key");
    let refused = ends(2, &[&make[..9], &[foreign.as_str()]].concat(), &[]).await;
    assert!(stderr(&refused).contains("not the key"), "{}", stderr(&refused));
    ends(0, &make, &[]).await;
    assert_eq!(count(&verdict(0, &[&receipt, "--key", &key], beliefs).await, "inclusion"), 1);
    spoilt(&receipt, &key).await;

    let exchange = sent.small.exchange();
    let prov = ends(0, &["log", "prove", &log, "--exchange", exchange, "--format", "prov"], &[]).await;
    let prov: Value = serde_json::from_str(stdout(&prov)).unwrap();
    let about = &prov["activity"][format!("sekisho:exchange/{exchange}")];
    assert_eq!(about["sekisho:direction"], "export", "{prov:#}");
    assert_eq!(about["sekisho:entries"].as_array().map(Vec::len), Some(3), "{prov:#}");
    assert!(prov["entity"].get(format!("sekisho:receipt/{exchange}")).is_some(), "{prov:#}");
}

/// What was handed on does not verify with a bit of it changed.
async fn spoilt(file: &str, key: &str) {
    let sound = fs::read(file).unwrap();
    let mut bytes = sound.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
    let output = run(["log", "verify", file, "--key", key]).await;
    assert_ne!(output.status.code(), Some(0), "{file}: {}", stdout(&output));
    fs::write(file, sound).unwrap();
}

fn open_to(mode: u32, file: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

/// Bundles of an exchange, a partner and all of a day, each by itself and beside the other side's.
async fn exported(twins: &Twins, sent: &Sent, beliefs: &[String]) {
    let exchange = sent.push.exchange();
    let selections: [(&str, &[&str], u64); 3] = [
        ("exchange", &["--exchange", exchange], 2),
        ("partner", &["--party", "wessex.example"], twins.entries(KANSAI).len() as u64),
        ("day", &["--from", "2026-01-01"], twins.entries(KANSAI).len() as u64),
    ];
    let key = twins.log_key(KANSAI);
    let operator = twins.tls(KANSAI, "operator");
    for (name, selection, entries) in selections {
        for place in [twins.file(KANSAI, "log"), twins.at_admin(KANSAI)] {
            let bundle = twins.text(&format!("{name}.bundle"));
            ends(0, &[&["log", "export", &place, "--out", &bundle], selection].concat(), &operator).await;
            let report = verdict(0, &[&bundle, "--key", &key], beliefs).await;
            assert_eq!((count(&report, "inclusion"), count(&report, "witnesses")), (entries, 1), "{name} of {place}");
            assert_eq!(is_open(&report, "no further entries of this selection"), name != "day", "{name} of {place}");
        }
    }
    let (ours, theirs) = (twins.text("exchange.bundle"), twins.text("their.bundle"));
    let log = twins.file(WESSEX, "log");
    ends(0, &["log", "export", &log, "--out", &theirs, "--exchange", exchange], &[]).await;
    let their_key = twins.log_key(WESSEX);
    let beside = [&ours, "--key", &key, "--with", &theirs, "--with-key", &their_key];
    assert_eq!(count(&verdict(0, &beside, beliefs).await, "same story"), 1);
    spoilt(&ours, &key).await;
    let nothing = ends(1, &["log", "export", &log, "--out", &theirs, "--until", "2026-01-01"], &[]).await;
    assert!(stderr(&nothing).contains("0 of "), "{}", stderr(&nothing));
}

/// Both directories, either way round; and copies in which one record was changed.
async fn side_by_side(twins: &Twins, beliefs: &[String]) {
    for (first, second) in [(KANSAI, WESSEX), (WESSEX, KANSAI)] {
        let (log, key) = (twins.file(first, "log"), twins.log_key(first));
        let (with, with_key) = (twins.file(second, "log"), twins.log_key(second));
        let report = verdict(0, &[&log, "--key", &key, "--with", &with, "--with-key", &with_key], beliefs).await;
        assert_eq!(count(&report, "same story"), 6);
        assert!(count(&report, "receipts") >= 7 && !is_open(&report, "whose key"), "{report:#}");

        let tampered = twins.text(&format!("tampered-{second}"));
        copy(Path::new(&with), Path::new(&tampered));
        let bundle = fs::read_dir(Path::new(&tampered).join("tile/entries/000.p")).unwrap().flatten().next().unwrap();
        let sound = fs::read(bundle.path()).unwrap();
        for entry in twins.entries(second).iter().filter(|entry| entry.payload["kind"] != "decision") {
            let mut bytes = sound.clone();
            let place = place_of(&bytes, entry.index.0);
            bytes[place] ^= 1;
            fs::write(bundle.path(), bytes).unwrap();
            let beside = [&log, "--key", &key, "--with", &tampered, "--with-key", &with_key];
            let report = verdict(1, &beside, beliefs).await;
            let found = report["findings"].as_array().unwrap();
            let named = |found: &&Value| found["what"].as_str().unwrap().contains(&format!("entry {} ", entry.index.0));
            assert!(found.iter().any(|found| found["check"] == "other log" && named(&found)), "{report:#}");
        }
    }
}

/// Where the middle of an entry stands in a bundle.
fn place_of(bundle: &[u8], index: u64) -> usize {
    let length = |at: usize| usize::from(u16::from_be_bytes([bundle[at], bundle[at + 1]]));
    let start = (0..index).fold(0, |at, _| at + 2 + length(at));
    start + 2 + length(start) / 2
}
