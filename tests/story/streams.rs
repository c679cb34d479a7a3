//! Streams: any size in bounded memory, back-pressure to the source, and never a part taken for the whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;

use crate::world::{Feeder, Tuning, World, fed, get, sha256, soon, until, whole};

const PATH: &str = "/data/usgs-earthquakes/archive.bin";
const UPSTREAM_PATH: &str = "/usgs-earthquakes/archive.bin";
const OCTETS: &str = "application/octet-stream";
const CHUNK: usize = 64 * 1024;
const MIB: usize = 1024 * 1024;

/// Bytes that differ from place to place, so that a lost or repeated piece shows.
fn piece(number: usize) -> Bytes {
    let mut bytes = vec![0; CHUNK];
    for (place, part) in bytes.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&((number * CHUNK + place) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    bytes.into()
}

/// Feeds `total` bytes, counting those that were taken.
fn pour(feeder: Feeder, total: usize) -> Arc<AtomicUsize> {
    let poured = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&poured);
    tokio::spawn(async move {
        for number in 0..total / CHUNK {
            if feeder.send(Ok(piece(number))).await.is_err() {
                return;
            }
            count.fetch_add(CHUNK, Ordering::SeqCst);
        }
    });
    poured
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_stops_the_source() {
    const TOTAL: usize = 64 * MIB;
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/small", OCTETS, "small");
    let poured = pour(world.kansai.upstream.feed(UPSTREAM_PATH, OCTETS, Some(TOTAL)), TOTAL);
    let wessex = world.peer("wessex.example").with_receive_buffer(CHUNK as u32);
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let mut reading = wessex.connect().await.unwrap();
    let mut answer = reading.open(get(PATH, &pass)).await.unwrap();
    let exchange = answer.headers()["sekisho-exchange"].to_str().unwrap().to_owned();
    assert_eq!(answer.headers()["content-length"], TOTAL.to_string().as_str());
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut read = 0;
    while read < MIB {
        let data = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        digest.update(&data);
        read += data.len();
    }
    // Nothing is read now. Other exchanges go on meanwhile; once some of them passed without a further byte from the
    // source, it stands still.
    let mut other = wessex.connect().await.unwrap();
    let (mut before, mut still) = (0, 0);
    while still < 50 {
        assert_eq!(other.send(get("/data/usgs-earthquakes/small", &pass)).await.unwrap().body, "small");
        let now = poured.load(Ordering::SeqCst);
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
    // What the operating system holds in its socket buffers on the way is not ours to bound.
    assert!(before < 24 * MIB, "the source had sent {before} bytes to a reader of {read}");
    while let Some(frame) = soon("the rest", answer.body_mut().frame()).await {
        let data = frame.unwrap().into_data().unwrap();
        digest.update(&data);
        read += data.len();
    }
    assert_eq!(read, TOTAL);
    let hex: String = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    drop((reading, other));
    let books = world.close().await;
    let told = books.kansai.named(&exchange);
    assert_eq!(told.outcome["ended"], "complete");
    assert_eq!(told.outcome["bytes_out"], TOTAL);
    assert_eq!(told.outcome["digest_after"], format!("sha256:{hex}"));
    assert_eq!(told.outcome["digest_before"], told.outcome["digest_after"]);
}

#[tokio::test]
async fn a_source_that_breaks_midway_cuts_the_reader_off() {
    for declared in [None, Some(MIB)] {
        for http2 in [false, true] {
            let world = World::open().await;
            let feeder = world.kansai.upstream.feed(UPSTREAM_PATH, OCTETS, declared);
            let mut wessex = world.peer("wessex.example");
            if http2 {
                wessex = wessex.http2();
            }
            let request = get(PATH, &wessex.pass("dfft:DisasterResponse").sign());
            let mut connection = wessex.connect().await.unwrap();
            let (first, answer) = (piece(0), connection.open(request));
            let feeding = async { feeder.send(Ok(first.clone())).await.unwrap() };
            let (answer, ()) = tokio::join!(answer, feeding);
            let mut answer = answer.unwrap();
            assert_eq!(answer.status(), 200);
            let exchange = answer.headers()["sekisho-exchange"].to_str().unwrap().to_owned();
            let mut read = Vec::new();
            while read.len() < CHUNK {
                read.extend(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(read, first);
            feeder.send(Err("the disk is gone".into())).await.unwrap();
            let end = soon("the cut", answer.body_mut().frame()).await;
            assert!(matches!(end, Some(Err(_))), "a part looked like the whole: {declared:?}, http2 {http2}");
            drop((answer, connection));

            let books = world.close().await;
            let told = books.kansai.named(&exchange);
            assert_eq!(told.decision["decision"], "permit");
            assert_eq!(told.outcome["ended"], "broken");
            assert_eq!(told.outcome["bytes_out"], CHUNK);
            assert_eq!(told.outcome["digest_after"], sha256(&first));
        }
    }
}

#[tokio::test]
async fn a_source_that_breaks_before_its_first_byte_is_a_refusal() {
    let world = World::open().await;
    let feeder = world.kansai.upstream.feed(UPSTREAM_PATH, OCTETS, None);
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let (reply, ()) = tokio::join!(wessex.get(PATH, &pass), async {
        feeder.send(Err("no disk".into())).await.unwrap();
    });
    assert_eq!((reply.code().as_str(), reply.status.as_u16()), ("upstream_broken", 502));
    let books = world.close().await;
    let told = books.kansai.of(&reply);
    assert_eq!(told.outcome["ended"], "refused");
    assert_eq!(told.outcome["code"], "upstream_broken");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_on_record() {
    let world = World::open().await;
    let feeder = world.kansai.upstream.feed(UPSTREAM_PATH, OCTETS, None);
    let poured = pour(feeder, 64 * MIB);
    let wessex = world.peer("wessex.example");
    let mut connection = wessex.connect().await.unwrap();
    let answer = connection.open(get(PATH, &wessex.pass("dfft:DisasterResponse").sign())).await.unwrap();
    let exchange = answer.headers()["sekisho-exchange"].to_str().unwrap().to_owned();
    drop((answer, connection));
    world.kansai.recorded(2).await;
    assert!(poured.load(Ordering::SeqCst) < 64 * MIB, "the source went on for nobody");
    let books = world.close().await;
    assert_eq!(books.kansai.named(&exchange).outcome["ended"], "broken");
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let mut world = World::open().await;
    let admin = world.admin(&world.kansai.identity.operator);
    let ready = admin.call(http::Method::GET, "/readyz", &serde_json::Value::Null).await;
    assert_eq!(ready.status, 200);
    let feeder = world.kansai.upstream.feed(UPSTREAM_PATH, OCTETS, None);
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let mut idle = wessex.connect().await.unwrap();
    assert_eq!(idle.send(get("/data/usgs-earthquakes/none", &pass)).await.unwrap().status, 404);
    let mut connection = wessex.connect().await.unwrap();
    let (answer, fed) = tokio::join!(connection.open(get(PATH, &pass)), feeder.send(Ok(piece(0))));
    fed.unwrap();
    let answer = answer.unwrap();
    let exchange = answer.headers()["sekisho-exchange"].to_str().unwrap().to_owned();

    let addresses = world.kansai.addresses();
    let stopping = world.kansai.stop();
    for address in [addresses.partner, addresses.local.unwrap(), addresses.admin.unwrap()] {
        until("a closed door", || std::net::TcpStream::connect(address).is_err()).await;
    }
    assert!(idle.send(get(PATH, &pass)).await.is_err(), "an idle connection outlived the order to drain");
    assert!(!stopping.is_finished());
    feeder.send(Ok(piece(1))).await.unwrap();
    drop(feeder);
    let body = soon("the rest", answer.into_body().collect()).await.unwrap().to_bytes();
    let whole = [piece(0), piece(1)].concat();
    assert_eq!(body, whole);
    soon("the end", stopping).await.unwrap().unwrap();
    let books = world.close().await;
    books.kansai.named(&exchange).check_complete(&whole, &whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_drain_cuts_has_an_outcome() {
    const STREAMS: usize = 30;
    let mut world = World::tuned(Tuning { drain: Duration::from_millis(50), ..Tuning::default() }).await;
    let wessex = world.peer("wessex.example").http2();
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let mut connection = wessex.connect().await.unwrap();
    let mut held = Vec::new();
    for number in 0..STREAMS {
        let feeder = world.kansai.upstream.feed(&format!("/usgs-earthquakes/{number}"), OCTETS, None);
        feeder.send(Ok(piece(number))).await.unwrap();
        let answer = connection.open(get(&format!("/data/usgs-earthquakes/{number}"), &pass)).await.unwrap();
        held.push((feeder, answer));
    }
    soon("the end", world.kansai.stop()).await.unwrap().unwrap();
    let books = world.close().await;
    // That each decision has its outcome, the books have seen to.
    let told = books.kansai.all();
    assert_eq!(told.len(), STREAMS);
    assert!(told.iter().all(|told| told.outcome["ended"] == "broken"));
}

#[tokio::test]
async fn an_answer_without_room_to_go_is_not_complete() {
    let world = World::open().await;
    world.kansai.upstream.offer(UPSTREAM_PATH, OCTETS, "data");
    let wessex = world.peer("wessex.example").http2().with_window(0);
    let mut connection = wessex.connect().await.unwrap();
    let answer = connection.open(get(PATH, &wessex.pass("dfft:DisasterResponse").sign())).await.unwrap();
    let exchange = answer.headers()["sekisho-exchange"].to_str().unwrap().to_owned();
    // The head says that it worked, and not a byte of the payload may leave before the stream is reset.
    drop(answer);
    world.kansai.recorded(2).await;
    drop(connection);
    let books = world.close().await;
    assert_eq!(books.kansai.named(&exchange).outcome["ended"], "broken");
}

#[tokio::test]
async fn without_a_durable_record_nothing_is_exchanged() {
    let world = World::open().await;
    world.kansai.upstream.offer(UPSTREAM_PATH, OCTETS, "data");
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    assert_eq!(wessex.get(PATH, &pass).await.body, "data");
    world.kansai.recorded(2).await;
    world.kansai.gateway().log().close().await.unwrap();

    let refused = wessex.get(PATH, &pass).await;
    assert_eq!((refused.code().as_str(), refused.status.as_u16()), ("record_unavailable", 503));
    // A refusal that cannot be recorded says so, too.
    let unknown = wessex.get("/data/no-such-set/a", &pass).await;
    assert_eq!(unknown.code(), "record_unavailable");
    let (feeder, body) = fed();
    drop(feeder);
    let mut push = get("/data/field-readings/a.json", &pass);
    *push.method_mut() = http::Method::PUT;
    *push.body_mut() = body;
    assert_eq!(wessex.send(push).await.unwrap().code(), "record_unavailable");
    assert_eq!(world.kansai.upstream.seen().len(), 1, "something was asked without a record");
    let admin = world.admin(&world.kansai.identity.operator);
    let ready = admin.call(http::Method::GET, "/readyz", &serde_json::Value::Null).await;
    assert_eq!((ready.status.as_u16(), ready.code().as_str()), (503, "record_unavailable"));
    // The other side, whose log works, records what it was told.
    let path = "/partners/kansai.example/data/usgs-earthquakes/archive.bin";
    let through = world.wessex.fetch(path, "dfft:DisasterResponse").await;
    assert_eq!(through.code(), "record_unavailable");
    let local = world.kansai.send("/partners/wessex.example/data/x/y", "dfft:DisasterResponse", OCTETS, whole("x"));
    assert_eq!(local.await.code(), "record_unavailable");
    let books = world.close().await;
    assert_eq!(books.kansai.len(), 1);
    assert_eq!(books.wessex.of(&through).outcome["code"], "partner_refused");
}
