//! Signed messages: who asked and who answered can be proven from either log, and what is not signed as it should be is
//! not believed.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use sekisho::authenticate::Signatures;
use serde_json::Value;

use crate::world::{ClientBody, Failure, Hand, Peer, START, Tuning, World, content_digest, fed, get, soon, whole};

const LOCAL: &str = "/partners/kansai.example/data/usgs-earthquakes/all.geojson";
const PATH: &str = "/data/usgs-earthquakes/all.geojson";
const UPSTREAM: &str = "/usgs-earthquakes/all.geojson";
const PUSH: &str = "/partners/kansai.example/data/field-readings/a.ndjson";
const NDJSON: &str = "application/x-ndjson";
const NOW: u64 = START.seconds();

fn hands(world: &World) -> (Hand, Hand) {
    (Hand::of(world.identity("kansai.example")), Hand::of(world.identity("wessex.example")))
}

fn signatures(entry: &Value) -> &[Value] {
    entry["signatures"].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[tokio::test]
async fn a_small_answer_and_a_streamed_one_are_signed_received_and_acknowledged() {
    for streamed in [false, true] {
        let world = World::open().await;
        let (kansai, wessex) = hands(&world);
        let reply = if streamed {
            let feeder = world.kansai.upstream.feed(UPSTREAM, "application/json", None);
            let feeding = async {
                feeder.send(Ok(Bytes::from_static(b"{\"a\":"))).await.unwrap();
                feeder.send(Ok(Bytes::from_static(b"1}"))).await.unwrap();
                drop(feeder);
            };
            tokio::join!(world.wessex.fetch(LOCAL, "dfft:DisasterResponse"), feeding).0
        } else {
            world.kansai.upstream.offer(UPSTREAM, "application/json", "{\"a\":1}");
            world.wessex.fetch(LOCAL, "dfft:DisasterResponse").await
        };
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "{\"a\":1}"));
        // What is between gateways stays there.
        for private in ["signature", "signature-input", "content-digest", "trailer"] {
            assert_eq!(reply.header(private), None);
        }
        world.kansai.recorded(3).await;
        let books = world.close().await;
        let (sent, got) = (books.kansai.of(&reply), books.wessex.of(&reply));
        wessex.check_recorded(&signatures(&sent.decision)[0], "request");
        kansai.check_recorded(&signatures(&sent.outcome)[0], "answer");
        assert_eq!(signatures(&got.outcome)[0], signatures(&sent.outcome)[0], "both logs hold the same answer");
        wessex.check_recorded(&signatures(&got.outcome)[1], "receipt");
        let receipts = books.kansai.receipts(reply.exchange());
        assert_eq!(receipts.len(), 1);
        assert_eq!(receipts[0]["party"], "wessex.example");
        assert_eq!(signatures(&receipts[0])[0], signatures(&got.outcome)[1]);
        let base = signatures(&sent.outcome)[0]["base"].as_str().unwrap();
        let place = if streamed { ";tr" } else { "" };
        assert!(base.contains(&format!("\"content-digest\"{place}: {}\n", content_digest(&reply.body))), "{base}");
        assert!(base.contains("\"signature\";req;key=\"sekisho\": :"), "{base}");
        // A pass names a person, so it is its digest that is signed and kept.
        let asked = signatures(&sent.decision)[0]["base"].as_str().unwrap();
        assert!(
            asked.contains("\"@method\": GET\n\"@path\": /data/usgs-earthquakes/all.geojson\n\"sekisho-exchange\": ")
        );
        assert!(!asked.contains("authorization"), "{asked}");
    }
}

#[tokio::test]
async fn a_push_is_signed_and_its_answer_is_the_receipt() {
    for streamed in [false, true] {
        let world = World::open().await;
        let (kansai, wessex) = hands(&world);
        let readings = "{\"pga_g\":0.031}\n{\"pga_g\":0.002}\n";
        let reply = if streamed {
            let (feeder, body) = fed();
            let feeding = async {
                for line in readings.split_inclusive('\n') {
                    feeder.send(Ok(Bytes::from(line))).await.unwrap();
                }
                drop(feeder);
            };
            tokio::join!(world.wessex.send(PUSH, "dfft:DisasterResponse", NDJSON, body), feeding).0
        } else {
            world.wessex.send(PUSH, "dfft:DisasterResponse", NDJSON, whole(readings)).await
        };
        assert_eq!(reply.status, 201, "{:?}", reply.body);
        let books = world.close().await;
        let (sent, took) = (books.wessex.of(&reply), books.kansai.of(&reply));
        took.check_complete(readings.as_bytes(), readings.as_bytes());
        sent.check_complete(readings.as_bytes(), readings.as_bytes());
        let proofs = signatures(&took.outcome);
        wessex.check_recorded(&proofs[0], "request");
        kansai.check_recorded(&proofs[1], "answer");
        assert_eq!(signatures(&sent.outcome), [proofs[1].clone()]);
        let (asked, answered) = (proofs[0]["base"].as_str().unwrap(), proofs[1]["base"].as_str().unwrap());
        let digest = content_digest(readings.as_bytes());
        let place = if streamed { ";tr" } else { "" };
        assert!(asked.contains(&format!("\"content-digest\"{place}: {digest}\n")), "{asked}");
        assert!(answered.contains(&format!("\"signature\";req{place};key=\"sekisho\": :")), "{answered}");
        assert!(answered.contains(&format!("\"content-digest\";req{place}: {digest}\n")), "{answered}");
    }
}

/// What a client saw: head, body, trailers.
struct Saw {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

async fn see(peer: &Peer, request: Request<ClientBody>) -> Result<Saw, Failure> {
    let (head, body) = peer.connect().await?.open(request).await?.into_parts();
    let body = soon("the body", body.collect()).await?;
    let trailers = body.trailers().cloned();
    Ok(Saw { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), trailers })
}

#[tokio::test]
async fn who_asks_for_a_signature_gets_one_and_who_does_not_is_not_bothered() {
    let world = World::open().await;
    let kansai = Hand::of(world.identity("kansai.example"));
    for (http2, te, asks, streamed) in [
        (false, false, false, false),
        (false, false, true, false),
        (false, false, true, true),
        (false, true, true, true),
        (true, false, true, true),
        (true, false, false, true),
    ] {
        let peer = world.peer("wessex.example");
        let peer = if http2 { peer.http2() } else { peer };
        let mut request = get(PATH, &peer.pass("dfft:DisasterResponse").sign());
        if asks {
            request.headers_mut().insert("accept-signature", "sekisho=();tag=\"sekisho-answer\"".parse().unwrap());
        }
        if te {
            request.headers_mut().insert("te", "trailers".parse().unwrap());
        }
        let saw = if streamed {
            let feeder = world.kansai.upstream.feed(UPSTREAM, "application/json", None);
            let feeding = async {
                feeder.send(Ok(Bytes::from_static(b"[1"))).await.unwrap();
                feeder.send(Ok(Bytes::from_static(b",2]"))).await.unwrap();
                drop(feeder);
            };
            tokio::join!(see(&peer, request), feeding).0.unwrap()
        } else {
            world.kansai.upstream.offer(UPSTREAM, "application/json", "[1,2]");
            see(&peer, request).await.unwrap()
        };
        let case = format!("http2 {http2}, te {te}, asks {asks}, streamed {streamed}");
        assert_eq!((saw.status, &saw.body[..]), (200, &b"[1,2]"[..]), "{case}");
        let exchange = saw.headers["sekisho-exchange"].to_str().unwrap();
        let digest = content_digest(b"[1,2]");
        let in_trailers = asks && streamed && (te || http2);
        let identifier = if in_trailers { "\"content-digest\";tr" } else { "\"content-digest\"" };
        let components = [
            ("\"@status\"", "200"),
            ("\"sekisho-exchange\"", exchange),
            ("\"content-type\"", "application/json"),
            (identifier, &digest),
        ];
        let trailers = saw.trailers.unwrap_or_default();
        assert_eq!(kansai.signed(&saw.headers, &components, "sekisho-answer"), asks && !streamed, "{case}");
        assert_eq!(kansai.signed(&trailers, &components, "sekisho-answer"), in_trailers, "{case}");
        assert_eq!(saw.headers.contains_key("trailer"), in_trailers, "{case}");
        if in_trailers {
            assert_eq!(trailers["content-digest"], digest.as_str());
        }
    }
    world.close().await;
}

#[tokio::test]
async fn a_denial_is_proof_of_itself_and_of_the_policy_behind_it() {
    let world = World::open().await;
    let (kansai, _) = hands(&world);
    // By a client that knows nothing of signatures, and by a gateway.
    let peer = world.peer("lapsed.example");
    let saw = see(&peer, get(PATH, &peer.pass("dfft:DisasterResponse").sign())).await.unwrap();
    assert_eq!(saw.status, 403);
    let components = [
        ("\"@status\"", "403"),
        ("\"sekisho-exchange\"", saw.headers["sekisho-exchange"].to_str().unwrap()),
        ("\"content-type\"", "application/problem+json"),
        ("\"content-digest\"", &content_digest(&saw.body)),
    ];
    assert!(kansai.signed(&saw.headers, &components, "sekisho-answer"));
    let problem: Value = serde_json::from_slice(&saw.body).unwrap();
    let through = world.wessex.fetch("/partners/kansai.example/data/litho-process/a.json", "dfft:JointDevelopment");
    let through = through.await;
    assert_eq!(through.code(), "policy_denied");
    let unknown = world.wessex.fetch("/partners/kansai.example/data/no-such-set/a", "dfft:JointDevelopment").await;
    assert_eq!(unknown.code(), "dataset_unknown");
    let books = world.close().await;
    let direct = books.kansai.named(saw.headers["sekisho-exchange"].to_str().unwrap());
    assert_eq!(problem["policy"], direct.decision["policy"]);
    kansai.check_recorded(&signatures(&direct.outcome)[0], "answer");
    assert_eq!(through.json()["policy"], books.kansai.of(&through).decision["policy"]);
    for reply in [&through, &unknown] {
        // The refused party's own log holds the proof.
        let proofs = signatures(&books.wessex.of(reply).outcome).to_vec();
        assert_eq!(proofs.len(), 1);
        kansai.check_recorded(&proofs[0], "answer");
        let digest = content_digest(&reply.body);
        assert!(proofs[0]["base"].as_str().unwrap().contains(&digest), "the proof is of what the application got");
        assert!(proofs[0]["base"].as_str().unwrap().contains("\"signature\";req;key=\"sekisho\""));
        assert!(books.kansai.receipts(reply.exchange()).is_empty(), "nobody signs for a refusal");
    }
}

/// A fetch that `change` may spoil before it is signed by hand.
fn signed_get(
    peer: &Peer,
    hand: &Hand,
    exchange: &str,
    created: u64,
    spoil: impl Fn(&mut HeaderMap),
) -> Request<ClientBody> {
    let pass = peer.pass("dfft:DisasterResponse").sign();
    let digest = content_digest(pass.as_bytes());
    let components = [
        ("\"@method\"", "GET"),
        ("\"@path\"", PATH),
        ("\"sekisho-exchange\"", exchange),
        ("\"sekisho-pass\"", &digest),
    ];
    let fields = hand.sign(&components, "sekisho-request", created);
    let mut request = get(PATH, &pass);
    let headers = request.headers_mut();
    headers.insert("sekisho-exchange", exchange.parse().unwrap());
    headers.insert("sekisho-pass", digest.parse().unwrap());
    headers.insert("signature-input", fields.input.parse().unwrap());
    headers.insert("signature", fields.signature.parse().unwrap());
    spoil(headers);
    request
}

fn exchange(number: u8) -> String {
    // A ULID of this very time: 48 bits of milliseconds, then what tells them apart.
    sekisho::types::ExchangeId::new(sekisho::types::Timestamp::from_millis(START.millis() + u64::from(number)))
        .to_string()
}

#[tokio::test]
async fn a_signature_on_a_request_holds_or_the_request_is_refused() {
    let world = World::open().await;
    world.kansai.upstream.offer(UPSTREAM, "application/json", "{}");
    let peer = world.peer("wessex.example");
    let hand = Hand::of(world.identity("wessex.example"));
    let other = Hand::of(world.identity("rhein.example"));
    let insert = |name: &'static str, value: &'static str| {
        move |headers: &mut HeaderMap| {
            headers.insert(name, value.parse().unwrap());
        }
    };
    let good = see(&peer, signed_get(&peer, &hand, &exchange(0), NOW, |_| ())).await.unwrap();
    assert_eq!(good.status, 200);
    assert!(good.headers.contains_key("signature"), "an answer to a signed request is signed");
    let taken = good.headers["sekisho-exchange"].to_str().unwrap();
    let (a, b, c, d, e, f) = (exchange(1), exchange(2), exchange(3), exchange(4), exchange(5), exchange(6));
    let cases = [
        // The same once more: its exchange is taken.
        (signed_get(&peer, &hand, taken, NOW, |_| ()), "request_signature_invalid"),
        (signed_get(&peer, &other, &a, NOW, |_| ()), "request_signature_invalid"),
        (signed_get(&peer, &hand, &b, NOW - 700, |_| ()), "request_signature_stale"),
        (signed_get(&peer, &hand, &c, NOW, insert("sekisho-pass", "sha-256=:AAAA:")), "request_signature_invalid"),
        (signed_get(&peer, &hand, &d, NOW, insert("signature", "sekisho=:AAAA:")), "request_signature_invalid"),
        (signed_get(&peer, &hand, &e, NOW, |headers| drop(headers.remove("signature"))), "request_signature_invalid"),
        (signed_get(&peer, &hand, &f, NOW, insert("signature-input", "sekisho=(")), "request_signature_invalid"),
    ];
    let mut refused = Vec::new();
    for (place, (request, code)) in cases.into_iter().enumerate() {
        let reply = peer.send(request).await.unwrap();
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, 400), "case {place}");
        refused.push((reply, code));
    }
    assert_eq!(world.kansai.upstream.seen().len(), 1);
    let books = world.close().await;
    for (reply, code) in &refused {
        books.kansai.of(reply).check_refused("refused", code, 400);
    }
}

#[tokio::test]
async fn a_partner_whose_requests_must_be_signed_signs_them() {
    let vet = |entry: &mut sekisho::authenticate::PartnerEntry| entry.signatures = Signatures::All;
    let world = World::tuned(Tuning { vet, ..Tuning::default() }).await;
    world.kansai.upstream.offer(UPSTREAM, "application/json", "{}");
    let peer = world.peer("wessex.example");
    let bare = peer.get(PATH, &peer.pass("dfft:DisasterResponse").sign()).await;
    assert_eq!((bare.code().as_str(), bare.status.as_u16()), ("request_unsigned", 401));
    assert_eq!(world.wessex.fetch(LOCAL, "dfft:DisasterResponse").await.status, 200);
    let sent = world.wessex.send(PUSH, "dfft:DisasterResponse", NDJSON, whole("{}\n")).await;
    assert_eq!(sent.status, 201);
    let books = world.close().await;
    books.kansai.of(&bare).check_refused("refused", "request_unsigned", 401);
}

/// A push of which the head announces trailers, and what comes in their place.
fn announced(peer: &Peer, trailers: Option<HeaderMap>) -> Request<ClientBody> {
    let body = Framed(vec![Some(Frame::data(Bytes::from_static(b"{\"a\":1}\n"))), trailers.map(Frame::trailers)]);
    let body = body.boxed_unsync();
    let pass = peer.pass("dfft:DisasterResponse").sign();
    let request = Request::builder().method(Method::PUT).uri("/data/field-readings/a.ndjson");
    let request = request.header("authorization", format!("Bearer {pass}")).header("content-type", NDJSON);
    request.header("trailer", "content-digest, signature-input, signature").body(body).unwrap()
}

/// A body of these frames.
struct Framed(Vec<Option<Frame<Bytes>>>);

impl Body for Framed {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = self.0.iter_mut().find_map(Option::take);
        Poll::Ready(frame.map(Ok))
    }
}

#[tokio::test]
async fn what_a_push_announces_comes_and_is_true_or_nothing_is_taken() {
    let world = World::open().await;
    let peer = world.peer("wessex.example");
    let trailer = |name: &'static str, value: &str| {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    };
    let mut cases = Vec::new();
    for (trailers, code) in [
        (None, "request_unsigned"),
        (Some(trailer("expires", "0")), "request_unsigned"),
        (Some(trailer("content-digest", &content_digest(b"{\"a\":1}\n"))), "request_unsigned"),
        (Some(trailer("content-digest", &content_digest(b"another"))), "digest_mismatch"),
    ] {
        let reply = peer.send(announced(&peer, trailers)).await.unwrap();
        assert_eq!(reply.code(), code);
        cases.push((reply, code));
    }
    // A digest in the head is looked at, too, whoever sends it.
    let pass = peer.pass("dfft:DisasterResponse").sign();
    let mut request = get("/data/field-readings/a.ndjson", &pass);
    *request.method_mut() = Method::PUT;
    *request.body_mut() = whole("{\"a\":1}\n");
    request.headers_mut().insert("content-type", NDJSON.parse().unwrap());
    request.headers_mut().insert("content-digest", content_digest(b"another").parse().unwrap());
    let wrong = peer.send(request).await.unwrap();
    assert_eq!((wrong.code().as_str(), wrong.status.as_u16()), ("digest_mismatch", 400));
    cases.push((wrong, "digest_mismatch"));
    let seen = world.kansai.upstream.seen();
    assert!(seen.iter().all(|seen| seen.ended == Some(false)), "the data service took a payload for whole: {seen:?}");
    let books = world.close().await;
    for (reply, code) in &cases {
        let told = books.kansai.of(reply);
        assert_eq!(told.outcome["code"], *code);
        assert_ne!(told.outcome["ended"], "complete");
    }
}

/// A fetch with this query, signed by hand; `told` is the query that it says it has.
fn asking(peer: &Peer, hand: &Hand, number: u8, query: &str, told: Option<&str>) -> Request<ClientBody> {
    let pass = peer.pass("dfft:DisasterResponse").sign();
    let (digest, exchange) = (content_digest(pass.as_bytes()), exchange(number));
    let told = told.map(|told| content_digest(told.as_bytes()));
    let mut components = vec![("\"@method\"", "GET"), ("\"@path\"", PATH)];
    components.extend(told.as_deref().map(|told| ("\"sekisho-query\"", told)));
    components.extend([("\"sekisho-exchange\"", exchange.as_str()), ("\"sekisho-pass\"", &digest)]);
    let fields = hand.sign(&components, "sekisho-request", NOW);
    let mut request = get(&format!("{PATH}{query}"), &pass);
    let mut insert = |name: &'static str, value: &str| request.headers_mut().insert(name, value.parse().unwrap());
    insert("sekisho-exchange", &exchange);
    insert("sekisho-pass", &digest);
    insert("signature-input", &fields.input);
    insert("signature", &fields.signature);
    if let Some(told) = &told {
        insert("sekisho-query", told);
    }
    request
}

#[tokio::test]
async fn a_query_is_signed_by_its_digest_and_never_on_record() {
    let world = World::open().await;
    let (_, wessex) = hands(&world);
    world.kansai.upstream.offer("/usgs-earthquakes/*", "application/json", "{}");
    let fetched = world.wessex.fetch(&format!("{LOCAL}?name=Sato%20Hanako"), "dfft:DisasterResponse").await;
    assert_eq!(fetched.status, 200, "{}", fetched.text());
    let place = format!("{PUSH}?name=Sato%20Hanako");
    let pushed = world.wessex.send(&place, "dfft:DisasterResponse", NDJSON, whole("{}\n")).await;
    assert_eq!(pushed.status, 201, "{}", pushed.text());

    let peer = world.peer("wessex.example");
    for (number, (query, told, status)) in [
        ("?name=Sato", Some("name=Sato"), 200),
        // An empty query is none.
        ("?", None, 200),
        ("?name=Sato", Some("name=Ito"), 400),
        ("?name=Sato", Some("?name=Sato"), 400),
        ("?name=Sato", None, 400),
        ("", Some("name=Sato"), 400),
        ("", Some(""), 400),
    ]
    .into_iter()
    .enumerate()
    {
        let request = asking(&peer, &wessex, u8::try_from(number).unwrap(), query, told);
        let reply = peer.send(request).await.unwrap();
        assert_eq!(reply.status, status, "case {number}");
        if status == 400 {
            assert_eq!(reply.code(), "request_signature_invalid", "case {number}");
        }
    }
    let seen = world.kansai.upstream.seen();
    let asked: Vec<&str> = seen.iter().map(|seen| seen.path.rsplit_once('/').unwrap().1).collect();
    let hanako = "?name=Sato%20Hanako";
    assert_eq!(asked[..2], [format!("all.geojson{hanako}"), format!("a.ndjson{hanako}")]);
    assert_eq!(asked.len(), 4, "{asked:?}");

    let books = world.close().await;
    let digest = content_digest(b"name=Sato%20Hanako");
    for reply in [&fetched, &pushed] {
        let told = books.kansai.of(reply);
        let proof = [signatures(&told.decision), signatures(&told.outcome)].concat().swap_remove(0);
        wessex.check_recorded(&proof, "request");
        let base = proof["base"].as_str().unwrap();
        assert!(base.contains(&format!("\n\"sekisho-query\": {digest}\n")), "{base}");
    }
    for told in books.kansai.all().iter().chain(&books.wessex.all()) {
        assert!(!format!("{told:?}").contains("Sato"), "{told:?}");
    }
}
