//! Sides that stop: a reader that does not read, a data service that takes no more, a partner that holds on to its places.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use sekisho::accept::Limits;
use sekisho::forward::Timeouts;
use tokio::task::JoinHandle;

use crate::world::{Feeder, Peer, Reply, Tuning, World, fed, get, sha256, soon};

const PUSHED: &str = "/data/field-readings/large.bin";
const PUSHED_UPSTREAM: &str = "/field-readings/large.bin";
const OCTETS: &str = "application/octet-stream";
const SHORT: Duration = Duration::from_millis(100);

/// A world in which a connection is looked at every tenth of a second.
async fn impatient_with_readers() -> World {
    let limits = Limits { idle: SHORT, ..Tuning::default().limits };
    World::tuned(Tuning { limits, ..Tuning::default() }).await
}

/// A world in which a side that takes and says nothing is given up after a tenth of a second.
async fn impatient_with_services() -> World {
    let timeouts = Timeouts { response: SHORT, ..Timeouts::default() };
    World::tuned(Tuning { timeouts, ..Tuning::default() }).await
}

/// Feeds for as long as somebody takes it, or until it is aborted.
fn pour(feeder: Feeder) -> JoinHandle<()> {
    tokio::spawn(async move { while feeder.send(Ok(Bytes::from(vec![7; 64 * 1024]))).await.is_ok() {} })
}

fn put(peer: &Peer, body: crate::world::ClientBody) -> Request<crate::world::ClientBody> {
    let mut request = get(PUSHED, &peer.pass("dfft:DisasterResponse").sign());
    *request.method_mut() = Method::PUT;
    request.headers_mut().insert("content-type", OCTETS.parse().unwrap());
    *request.body_mut() = body;
    request
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off_and_a_silent_source_is_not_held_against_its_reader() {
    for http2 in [false, true] {
        let world = impatient_with_readers().await;
        pour(world.kansai.upstream.feed("/usgs-earthquakes/a", OCTETS, None));
        let feeder = world.kansai.upstream.feed("/usgs-earthquakes/b", OCTETS, None);
        let mut wessex = world.peer("wessex.example").with_receive_buffer(64 * 1024);
        if http2 {
            wessex = wessex.http2().with_window(1024);
        }
        let pass = wessex.pass("dfft:DisasterResponse").sign();
        let mut patient = wessex.connect().await.unwrap();
        let (waiting, fed) =
            tokio::join!(patient.open(get("/data/usgs-earthquakes/b", &pass)), feeder.send(Ok("first ".into())));
        fed.unwrap();
        let mut waiting = waiting.unwrap();
        assert_eq!(waiting.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "first ");

        let mut connection = wessex.connect().await.unwrap();
        let unread = connection.open(get("/data/usgs-earthquakes/a", &pass)).await.unwrap();
        let exchange = unread.headers()["sekisho-exchange"].to_str().unwrap().to_owned();
        world.kansai.recorded(3).await;

        feeder.send(Ok("second".into())).await.unwrap();
        drop(feeder);
        assert_eq!(soon("the rest", waiting.into_body().collect()).await.unwrap().to_bytes(), "second");
        world.kansai.recorded(4).await;
        drop((unread, connection, patient));
        let books = world.close().await;
        let told = books.kansai.named(&exchange);
        assert_eq!(told.outcome["ended"], "broken", "http2 {http2}");
        assert_ne!(told.outcome["bytes_out"], 0);
        let others: Vec<_> = books.kansai.all().into_iter().filter(|other| other.outcome != told.outcome).collect();
        assert_eq!(others.len(), 1);
        others[0].check_complete(b"first second", b"first second");
    }
}

#[tokio::test]
async fn one_partner_does_not_get_all_places() {
    const SHARE: usize = 32;
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/small", OCTETS, "small");
    let wessex = world.peer("wessex.example").http2();
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let mut connection = wessex.connect().await.unwrap();
    let mut held = Vec::new();
    for number in 0..SHARE {
        let feeder = world.kansai.upstream.feed(&format!("/usgs-earthquakes/{number}"), OCTETS, None);
        feeder.send(Ok("x".into())).await.unwrap();
        let answer = connection.open(get(&format!("/data/usgs-earthquakes/{number}"), &pass)).await.unwrap();
        assert_eq!(answer.status(), 200);
        held.push((feeder, answer));
    }
    let small = "/data/usgs-earthquakes/small";
    let refused = connection.send(get(small, &pass)).await.unwrap();
    assert_eq!((refused.code().as_str(), refused.status.as_u16()), ("overloaded", 503));
    let rhein = world.peer("rhein.example");
    let other = rhein.get(small, &rhein.pass("dfft:DisasterResponse").sign()).await;
    assert_eq!(other.status, 200, "{:?}", other.body);
    let (feeder, answer) = held.pop().unwrap();
    drop(feeder);
    assert_eq!(soon("the end", answer.into_body().collect()).await.unwrap().to_bytes(), "x");
    assert_eq!(connection.send(get(small, &pass)).await.unwrap().body, "small");
    drop((held, connection));
    let books = world.close().await;
    books.kansai.of(&refused).check_refused("refused", "overloaded", 503);
}

/// A push without an end to a data service that reads only the first piece of it.
async fn push_without_end(world: &World, status: Option<StatusCode>) -> Reply {
    world.kansai.upstream.stop_reading(PUSHED_UPSTREAM, status);
    let peer = world.peer("wessex.example");
    let (feeder, body) = fed();
    let pouring = pour(feeder);
    let reply = peer.send(put(&peer, body)).await.unwrap();
    pouring.abort();
    reply
}

#[tokio::test]
async fn a_push_that_is_not_taken_whole_is_on_record_with_what_left() {
    let early = StatusCode::INSUFFICIENT_STORAGE;
    for (status, code, answer) in [
        // It said no before it had read everything.
        (Some(early), "upstream_failed", 502),
        // It said yes, and then neither read nor closed.
        (Some(StatusCode::CREATED), "upstream_timeout", 504),
        // It said nothing.
        (None, "upstream_timeout", 504),
    ] {
        let world = impatient_with_services().await;
        let reply = push_without_end(&world, status).await;
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, answer), "{status:?}");
        let books = world.close().await;
        let told = books.kansai.of(&reply);
        assert_eq!(told.decision["decision"], "permit");
        assert_eq!(told.outcome["ended"], "broken", "{told:?}");
        assert_eq!(told.outcome["code"], code);
        assert_eq!(told.outcome["status"], answer);
        let sent = told.outcome["bytes_out"].as_u64().unwrap();
        assert!(sent > 0);
        assert_eq!(told.outcome["digest_after"], sha256(&vec![7; sent as usize]));
    }
}

#[tokio::test]
async fn a_partner_that_refuses_midway_is_told_no_more() {
    let world = World::open().await;
    world.kansai.upstream.stop_reading(PUSHED_UPSTREAM, Some(StatusCode::INSUFFICIENT_STORAGE));
    let (feeder, body) = fed();
    let pouring = pour(feeder);
    let path = format!("/partners/kansai.example{PUSHED}");
    let reply = world.wessex.send(&path, "dfft:DisasterResponse", OCTETS, body).await;
    pouring.abort();
    assert_eq!((reply.code().as_str(), reply.status.as_u16()), ("upstream_failed", 502));
    let books = world.close().await;
    for (told, code) in [(books.wessex.of(&reply), "partner_refused"), (books.kansai.of(&reply), "upstream_failed")] {
        assert_eq!(told.outcome["ended"], "broken", "{told:?}");
        assert_eq!(told.outcome["code"], code);
        let sent = told.outcome["bytes_out"].as_u64().unwrap();
        assert_eq!(told.outcome["digest_after"], sha256(&vec![7; sent as usize]));
    }
}

#[tokio::test]
async fn a_senders_pause_is_not_the_services_silence() {
    let world = impatient_with_services().await;
    let peer = world.peer("wessex.example");
    let (feeder, body) = fed();
    let request = put(&peer, body);
    let sending = peer.send(request);
    tokio::pin!(sending);
    feeder.send(Ok("first ".into())).await.unwrap();
    let early = tokio::time::timeout(SHORT * 5, &mut sending).await;
    assert!(early.is_err(), "a sender's pause ended its push: {early:?}");
    feeder.send(Ok("second".into())).await.unwrap();
    drop(feeder);
    let reply = sending.await.unwrap();
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    let books = world.close().await;
    books.kansai.of(&reply).check_complete(b"first second", b"first second");
}
