//! Open data for disaster response: permitted, and not a byte of it changed.

use crate::world::{Reply, World, sha256};

/// In the shape of the USGS feed: numbers in every spelling, which must all survive.
const EARTHQUAKES: &str = r#"{"type":"FeatureCollection","metadata":{"generated":1795251600000,"count":2},
 "features":[ {"type":"Feature","properties":{"mag":4.60,"place":"12 km SSW of Kōbe, Japan","time":1.7952516e12},
   "geometry":{"type":"Point","coordinates":[135.1,34.6,-0.0]},"id":"us7000aaaa"},
  {"type":"Feature","properties":{"mag":null,"place":"\u304b"},"geometry":null,"id":"us7000bbbb"} ]}
"#;

const STAC: &str =
    r#"{"stac_version":"1.0.0","type":"Feature","id":"LC09_L2SP_110036","assets":{"red":{"href":"a.tif"}}}"#;

fn check_headers(reply: &Reply, content_type: &str, length: usize) {
    let mut names: Vec<&str> = reply.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type", "date", "etag", "sekisho-exchange"]);
    assert_eq!(reply.header("content-type"), Some(content_type));
    assert_eq!(reply.header("content-length"), Some(length.to_string().as_str()));
}

#[tokio::test]
async fn open_data_leaves_untouched_for_disaster_response() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/geo+json", EARTHQUAKES);
    world.kansai.upstream.offer("/stac-items/items/1?f=json", "application/json", STAC);
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();

    let quakes = wessex.get("/data/usgs-earthquakes/all.geojson", &pass).await;
    assert_eq!(quakes.status, 200);
    assert_eq!(quakes.body, EARTHQUAKES);
    check_headers(&quakes, "application/geo+json", EARTHQUAKES.len());
    let stac = wessex.get("/data/stac-items/items/1?f=json", &pass).await;
    assert_eq!(stac.body, STAC);
    check_headers(&stac, "application/json", STAC.len());

    let seen = world.kansai.upstream.seen();
    assert_eq!(seen.len(), 2);
    for request in &seen {
        let names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["host"], "nothing of the asker reaches the upstream");
    }

    let books = world.close().await;
    let told = books.kansai.of(&quakes);
    told.check_complete(EARTHQUAKES.as_bytes(), EARTHQUAKES.as_bytes());
    let decision = &told.decision;
    assert_eq!(decision["provider"], "kansai.example");
    assert_eq!(decision["consumer"], "wessex.example");
    assert_eq!(decision["direction"], "export");
    assert_eq!(decision["dataset"], "usgs-earthquakes");
    assert_eq!(decision["purpose"], "dfft:DisasterResponse");
    assert!(decision["pass"]["subject"].as_str().unwrap().starts_with("hmac-sha256:"));
    assert_eq!(decision["pass"]["digest"], sha256(pass.as_bytes()));
    assert_eq!(decision["request"]["path"], "/data/usgs-earthquakes/all.geojson");
    assert_eq!(decision["policy"]["id"], "dfft");
    assert_eq!(told.outcome["status"], 200);
    assert_eq!(told.carried(), Vec::<String>::new());
    books.kansai.of(&stac).check_complete(STAC.as_bytes(), STAC.as_bytes());
    assert_eq!(books.kansai.len(), 2);
    assert_eq!(books.wessex.len(), 0);
}

#[tokio::test]
async fn an_application_fetches_through_both_gateways() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/geo+json", EARTHQUAKES);
    let path = "/partners/kansai.example/data/usgs-earthquakes/all.geojson";
    let reply = world.wessex.fetch(path, "dfft:DisasterResponse").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, EARTHQUAKES);
    check_headers(&reply, "application/geo+json", EARTHQUAKES.len());

    let books = world.close().await;
    // The same exchange, told by both sides alike.
    let (asked, gave) = (books.wessex.of(&reply), books.kansai.of(&reply));
    for told in [&asked, &gave] {
        told.check_complete(EARTHQUAKES.as_bytes(), EARTHQUAKES.as_bytes());
        assert_eq!(told.decision["provider"], "kansai.example");
        assert_eq!(told.decision["consumer"], "wessex.example");
    }
    assert_eq!(asked.decision["direction"], "request");
    assert_eq!(gave.decision["direction"], "export");
    assert!(gave.decision["pass"].get("sub").is_none());
}

#[tokio::test]
async fn requests_that_differ_in_what_no_policy_reads_are_one_question() {
    let world = World::open().await;
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let mut replies = Vec::new();
    for path in ["/stac-items/items/1?f=json", "/stac-items/items/2", "/usgs-earthquakes/all.geojson"] {
        world.kansai.upstream.offer(path, "application/json", STAC);
        replies.push(wessex.get(&format!("/data{path}"), &pass).await);
    }
    let books = world.close().await;
    let told: Vec<_> = replies.iter().map(|reply| books.kansai.of(reply)).collect();
    for told in &told {
        told.check_complete(STAC.as_bytes(), STAC.as_bytes());
    }
    // The path is no part of the question, the dataset is.
    let inputs: Vec<_> = told.iter().map(|told| told.decision["input"].as_str().unwrap()).collect();
    assert_eq!(inputs[0], inputs[1]);
    assert_ne!(inputs[0], inputs[2]);
}
