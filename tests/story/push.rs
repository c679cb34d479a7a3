//! Pushes: a partner sends data into the other's upstream, under both policies.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;

use crate::world::{ClientBody, Peer, World, fed, sha256, whole};

const READINGS: &str = "{\"station\":\"Lydd\",\"pga_g\":0.031}\n{\"station\":\"Hurn\",\"pga_g\":0.002}\n";
const PATH: &str = "/data/field-readings/2026/11/21.ndjson";
const LOCAL_PATH: &str = "/partners/kansai.example/data/field-readings/2026/11/21.ndjson";
const NDJSON: &str = "application/x-ndjson";

#[tokio::test]
async fn a_push_reaches_the_partners_upstream_and_both_logs_agree() {
    let world = World::open().await;
    let reply = world.wessex.send(LOCAL_PATH, "dfft:DisasterResponse", NDJSON, whole(READINGS)).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    let receipt = reply.json();
    assert_eq!(receipt["exchange"], reply.exchange());
    assert_eq!(receipt["digest"], sha256(READINGS.as_bytes()));
    assert_eq!(receipt["bytes"], READINGS.len());

    let seen = world.kansai.upstream.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].method, Method::PUT);
    assert_eq!(seen[0].path, "/field-readings/2026/11/21.ndjson");
    assert_eq!(seen[0].body, READINGS.as_bytes());
    assert_eq!(seen[0].ended, Some(true));
    assert_eq!(seen[0].headers["content-type"], NDJSON);
    for private in ["authorization", "sekisho-purpose", "sekisho-exchange"] {
        assert!(!seen[0].headers.contains_key(private), "{private} reached the upstream");
    }
    assert!(world.wessex.upstream.seen().is_empty());

    let books = world.close().await;
    let (sent, took) = (books.wessex.of(&reply), books.kansai.of(&reply));
    for told in [&sent, &took] {
        told.check_complete(READINGS.as_bytes(), READINGS.as_bytes());
        assert_eq!(told.decision["provider"], "wessex.example");
        assert_eq!(told.decision["consumer"], "kansai.example");
        assert_eq!(told.outcome["status"], 201);
    }
    assert_eq!(sent.decision["direction"], "export");
    assert_eq!(took.decision["direction"], "import");
    assert_eq!(took.outcome["upstream_status"], 201);
}

fn put(peer: &Peer, body: ClientBody) -> Request<ClientBody> {
    let pass = peer.pass("dfft:DisasterResponse").sign();
    let request = Request::builder().method(Method::PUT).uri(PATH).header("content-type", NDJSON);
    request.header("authorization", format!("Bearer {pass}")).body(body).unwrap()
}

#[tokio::test]
async fn the_receivers_policy_looks_at_the_sender() {
    let world = World::open().await;
    let mut replies = Vec::new();
    for (party, rules) in [("lapsed.example", ["DFFT-G2"]), ("taedong.example", ["DFFT-S1"])] {
        let peer = world.peer(party);
        let reply = peer.send(put(&peer, whole(READINGS))).await.unwrap();
        assert_eq!(reply.code(), "policy_denied", "{party}");
        assert_eq!(reply.rules(), rules);
        replies.push((reply, party, rules));
    }
    assert!(world.kansai.upstream.seen().is_empty());
    let books = world.close().await;
    for (reply, party, rules) in &replies {
        let told = books.kansai.of(reply);
        told.check_refused("deny", "policy_denied", 403);
        assert_eq!(told.rules(), rules);
        assert_eq!(told.decision["provider"], *party);
        assert_eq!(told.decision["consumer"], "kansai.example");
        assert_eq!(told.decision["direction"], "import");
    }
}

#[tokio::test]
async fn our_own_policy_decides_before_anything_leaves() {
    let world = World::open().await;
    let secret = world.wessex.send(
        "/partners/kansai.example/data/process-notes/a.json",
        "dfft:DisasterResponse",
        "application/json",
        whole("{}"),
    );
    let secret = secret.await;
    assert_eq!(secret.code(), "policy_denied");
    assert_eq!(secret.rules(), ["DFFT-I3"]);
    let unknown = world.wessex.send(
        "/partners/kansai.example/data/no-such-set/a.json",
        "dfft:DisasterResponse",
        "application/json",
        whole("{}"),
    );
    let unknown = unknown.await;
    assert_eq!(unknown.code(), "dataset_unknown");
    // We would send for this purpose; the receiver does not take it.
    let unwanted = world.wessex.send(LOCAL_PATH, "dfft:JointDevelopment", NDJSON, whole(READINGS)).await;
    assert_eq!(unwanted.code(), "policy_denied");
    assert_eq!(unwanted.rules(), ["DFFT-G2"]);
    assert!(world.kansai.upstream.seen().is_empty());

    let books = world.close().await;
    let told = books.wessex.of(&secret);
    told.check_refused("deny", "policy_denied", 403);
    assert_eq!(told.decision["direction"], "export");
    assert_eq!(told.decision["provider"], "wessex.example");
    books.wessex.of(&unknown).check_refused("refused", "dataset_unknown", 404);
    assert_eq!(books.kansai.len(), 1);
    books.kansai.of(&unwanted).check_refused("deny", "policy_denied", 403);
    let sender = books.wessex.of(&unwanted);
    assert_eq!(sender.decision["decision"], "permit");
    assert_eq!(sender.outcome["code"], "partner_refused");
    // It had left when the refusal came, and the record says so.
    assert_eq!(sender.outcome["ended"], "broken");
    assert_eq!(sender.outcome["bytes_out"], READINGS.len());
    assert_eq!(sender.outcome["digest_after"], sha256(READINGS.as_bytes()));
}

/// What a log says of a push that broke off after twenty bytes.
fn check_broken(outcome: &Value) {
    assert_eq!(outcome["ended"], "broken", "{outcome}");
    assert_ne!(outcome["status"], 201);
    assert_eq!(outcome["bytes_out"], 20);
    assert_eq!(outcome["digest_after"], sha256(&READINGS.as_bytes()[..20]));
}

#[tokio::test]
async fn a_push_that_breaks_off_is_never_taken_for_the_whole() {
    for declared in [None, Some(READINGS.len())] {
        let world = World::open().await;
        let peer = world.peer("wessex.example");
        let (feeder, body) = fed();
        let mut request = put(&peer, body);
        if let Some(length) = declared {
            request.headers_mut().insert("content-length", length.into());
        }
        let mut connection = peer.connect().await.unwrap();
        let sending = tokio::spawn(async move { connection.send(request).await });
        feeder.send(Ok(Bytes::from_static(&READINGS.as_bytes()[..20]))).await.unwrap();
        let upstream = &world.kansai.upstream;
        upstream.until("the first part", |seen| seen.first().is_some_and(|seen| seen.body.len() == 20)).await;
        feeder.send(Err("the cable was cut".into())).await.unwrap();
        upstream.until("the end", |seen| seen[0].ended.is_some()).await;
        assert_eq!(upstream.seen()[0].ended, Some(false), "the upstream took a part for the whole");
        assert!(sending.await.unwrap().is_err());

        let books = world.close().await;
        let told = books.kansai.all();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].decision["decision"], "permit");
        check_broken(&told[0].outcome);
    }
}

#[tokio::test]
async fn an_application_that_breaks_off_breaks_off_on_both_sides() {
    let world = World::open().await;
    let (feeder, body) = fed();
    let upstream = &world.kansai.upstream;
    let sending = world.wessex.try_send(LOCAL_PATH, "dfft:DisasterResponse", NDJSON, body);
    let breaking = async {
        feeder.send(Ok(Bytes::from_static(&READINGS.as_bytes()[..20]))).await.unwrap();
        upstream.until("the first part", |seen| seen.first().is_some_and(|seen| seen.body.len() == 20)).await;
        feeder.send(Err("the cable was cut".into())).await.unwrap();
        upstream.until("the end", |seen| seen[0].ended.is_some()).await;
    };
    let (outcome, ()) = tokio::join!(sending, breaking);
    assert!(outcome.is_err());
    assert_eq!(upstream.seen()[0].ended, Some(false));
    let books = world.close().await;
    let (sent, took) = (books.wessex.all(), books.kansai.all());
    assert_eq!((sent.len(), took.len()), (1, 1));
    assert_eq!(sent[0].decision["exchange"], took[0].decision["exchange"]);
    check_broken(&sent[0].outcome);
    check_broken(&took[0].outcome);
}
