//! What a partner with a right certificate and a right pass may try: the log must verify all the same.

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::world::{World, get, whole};

const PATH: &str = "/data/usgs-earthquakes/all.geojson";

/// Asks again under the id of an exchange that is still open, on the same side that made the id or the other.
#[tokio::test]
async fn an_id_that_is_open_is_not_given_twice() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    let feeder = world.kansai.upstream.feed("/usgs-earthquakes/slow", "application/json", None);
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let mut slow = wessex.connect().await.unwrap();
    let (answer, fed) =
        tokio::join!(slow.open(get("/data/usgs-earthquakes/slow", &pass)), feeder.send(Ok(Bytes::from_static(b"{"))));
    fed.unwrap();
    let answer = answer.unwrap();
    let open = answer.headers()["sekisho-exchange"].to_str().unwrap().to_owned();

    let mut again = get(PATH, &pass);
    again.headers_mut().insert("sekisho-exchange", open.parse().unwrap());
    let again = wessex.send(again).await.unwrap();
    assert_eq!(again.status, 200);
    assert_ne!(again.exchange(), open, "two open exchanges have one id");
    let mut refused = get("/data/no-such-set/a", &pass);
    refused.headers_mut().insert("sekisho-exchange", open.parse().unwrap());
    let refused = wessex.send(refused).await.unwrap();
    assert_ne!(refused.exchange(), open);
    drop((answer, slow, feeder));

    let books = world.close().await;
    assert_eq!(books.kansai.len(), 3);
    books.kansai.of(&again).check_complete(b"{}", b"{}");
    books.kansai.of(&refused).check_refused("refused", "dataset_unknown", 404);
}

#[tokio::test]
async fn an_id_of_our_own_request_is_not_the_partners_to_take() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    // Wessex, asked by Kansai's application, asks Kansai under the same id before it answers.
    let feeder = world.wessex.upstream.feed("/field-readings/a.json", "application/json", None);
    let ours = world.kansai.fetch("/partners/wessex.example/data/field-readings/a.json", "dfft:DisasterResponse");
    let theirs = async {
        world.wessex.upstream.until("the question", |seen| seen.len() == 1).await;
        let log = world.wessex.gateway().log().directory().to_owned();
        let asked = sekisho::record::Entries::open(&log).unwrap().next().unwrap().unwrap();
        let id = asked.payload["exchange"].as_str().unwrap().to_owned();
        let wessex = world.peer("wessex.example");
        let mut request = get(PATH, &wessex.pass("dfft:DisasterResponse").sign());
        request.headers_mut().insert("sekisho-exchange", id.parse().unwrap());
        let theirs = wessex.send(request).await.unwrap();
        feeder.send(Ok(Bytes::from_static(b"[]"))).await.unwrap();
        drop(feeder);
        theirs
    };
    let (ours, theirs) = tokio::join!(ours, theirs);
    assert_eq!((ours.status.as_u16(), theirs.status.as_u16()), (200, 200));
    assert_ne!(ours.exchange(), theirs.exchange());
    let books = world.close().await;
    books.kansai.of(&ours).check_complete(b"[]", b"[]");
    books.wessex.of(&ours).check_complete(b"[]", b"[]");
    books.kansai.of(&theirs).check_complete(b"{}", b"{}");
}

#[tokio::test]
async fn a_path_of_any_length_leaves_a_record() {
    let world = World::open().await;
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let long = [
        // Characters that JSON writes as two, so that an entry grows beyond what a log takes.
        format!("/data/{}", "\"".repeat(30_000)),
        format!("/data/usgs-earthquakes/{}", "a".repeat(30_000)),
    ];
    let mut replies = Vec::new();
    for path in &long {
        let reply = wessex.get(path, &pass).await;
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), ("target_invalid", 400));
        replies.push(reply);
    }
    assert!(world.kansai.upstream.seen().is_empty());
    let books = world.close().await;
    for (reply, path) in replies.iter().zip(&long) {
        let told = books.kansai.of(reply);
        told.check_refused("refused", "target_invalid", 400);
        let recorded = told.decision["request"]["path"].as_str().unwrap();
        let beginning = recorded.strip_suffix("...").unwrap();
        assert!(path.starts_with(beginning) && beginning.len() > 1000);
    }
}

#[tokio::test]
async fn a_large_push_that_is_refused_gets_its_refusal() {
    let world = World::open().await;
    let large = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
    let peer = world.peer("lapsed.example");
    let mut request = get("/data/field-readings/large.bin", &peer.pass("dfft:DisasterResponse").sign());
    *request.method_mut() = Method::PUT;
    *request.body_mut() = whole(large.clone());
    let direct = peer.send(request).await.unwrap();
    assert_eq!(direct.code(), "policy_denied");
    // Ours permits it, theirs does not.
    let path = "/partners/kansai.example/data/field-readings/large.bin";
    let through = world.wessex.send(path, "dfft:JointDevelopment", "application/octet-stream", whole(large)).await;
    assert_eq!(through.code(), "policy_denied");
    assert!(world.kansai.upstream.seen().is_empty());
    let books = world.close().await;
    books.kansai.of(&direct).check_refused("deny", "policy_denied", 403);
    books.kansai.of(&through).check_refused("deny", "policy_denied", 403);
    assert_eq!(books.wessex.of(&through).outcome["code"], "partner_refused");
}

#[tokio::test]
async fn a_head_request_gets_no_payload_and_a_record() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{\"a\":1}");
    world.kansai.upstream.offer("/covid-testing/2026.csv", "text/csv", "subject_id,gender,age\n1,male,3\n");
    let wessex = world.peer("wessex.example");
    let head = |path: &str, purpose: &str| {
        let mut request = get(path, &wessex.pass(purpose).sign());
        *request.method_mut() = Method::HEAD;
        wessex.send(request)
    };
    let open = head(PATH, "dfft:DisasterResponse").await.unwrap();
    assert_eq!(open.status, 200);
    assert_eq!(open.header("content-length"), Some("7"));
    assert!(open.body.is_empty());
    // Under obligations the length and the tag of the original must not be told.
    let health = head("/data/covid-testing/2026.csv", "dpv:ScientificResearch").await.unwrap();
    assert_eq!(health.status, 200, "{:?}", health.headers);
    assert_eq!((health.header("content-length"), health.header("etag")), (None, None));
    let books = world.close().await;
    for reply in [&open, &health] {
        let told = books.kansai.of(reply);
        assert_eq!(told.outcome["ended"], "complete", "{told:?}");
        assert_eq!(told.outcome["bytes_out"], 0);
    }
}

#[tokio::test]
async fn an_open_connection_does_not_outlive_its_certificate() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    let wessex = world.peer("wessex.example");
    let mut connection = wessex.connect().await.unwrap();
    let first = connection.send(get(PATH, &wessex.pass("dfft:DisasterResponse").sign())).await.unwrap();
    assert_eq!(first.status, 200);
    // Certificates of this world are good for 90 days, less the hour that they were dated back.
    world.clock.advance(std::time::Duration::from_secs(90 * 86_400));
    let late = connection.send(get(PATH, &wessex.pass("dfft:DisasterResponse").sign())).await.unwrap();
    assert_eq!((late.code().as_str(), late.status.as_u16()), ("certificate_expired", 403));
    assert_eq!(world.kansai.upstream.seen().len(), 1);
    let books = world.close().await;
    let told = books.kansai.of(&late);
    told.check_refused("refused", "certificate_expired", 403);
    assert_eq!(told.decision["consumer"], "wessex.example");
}

#[tokio::test]
async fn a_web_page_drives_neither_listener() {
    let world = World::open().await;
    let path = "/partners/kansai.example/data/usgs-earthquakes/all.geojson";
    let ask = |name: &'static str, value: &'static str| {
        let request = http::Request::builder().uri(path).header("sekisho-purpose", "dfft:DisasterResponse");
        request.header(name, value).body(whole("")).unwrap()
    };
    let mut refused = Vec::new();
    // A name that was made to point here, and what a browser adds on behalf of a page.
    for (name, value) in
        [("host", "evil.example:8080"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]
    {
        let reply = world.wessex.application(ask(name, value)).await;
        assert_eq!(reply.code(), "host_not_local", "{name}: {value}");
        refused.push(reply);
    }
    for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
        assert_ne!(world.wessex.application(ask("host", host)).await.status, StatusCode::FORBIDDEN, "{host}");
    }
    let operator = world.admin(&world.identity("kansai.example").operator);
    let suspend = http::Request::builder().method(Method::POST).uri("/api/partners/wessex.example/suspend");
    let reply = operator.send(suspend.header("origin", "https://evil.example").body(whole("")).unwrap()).await.unwrap();
    assert_eq!(reply.code(), "cross_site");
    let books = world.close().await;
    for reply in refused {
        books.wessex.of(&reply).check_refused("refused", "host_not_local", 403);
    }
}
