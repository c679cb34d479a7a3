//! The doors themselves: HTTP/2 beside HTTP/1.1, the public documents, the roles on the admin listener.

use http::Method;
use sekisho::authenticate::Role;
use serde_json::Value;

use crate::world::{World, get, party, stranger};

const PATH: &str = "/data/usgs-earthquakes/all.geojson";

#[tokio::test]
async fn http2_is_served_like_http1() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{\"features\":[]}");
    let mut told = Vec::new();
    for peer in [world.peer("wessex.example"), world.peer("wessex.example").http2()] {
        let mut connection = peer.connect().await.unwrap();
        let pass = peer.pass("dfft:DisasterResponse").sign();
        let permitted = connection.send(get(PATH, &pass)).await.unwrap();
        assert_eq!(permitted.status, 200);
        assert_eq!(permitted.body, "{\"features\":[]}");
        let denied = connection.send(get(PATH, &peer.pass("dpv:Marketing").sign())).await.unwrap();
        assert_eq!(denied.code(), "policy_denied");
        assert_eq!(denied.rules(), ["DFFT-G2"]);
        let expired = peer.pass("dfft:DisasterResponse").claim("aud", "rhein.example").sign();
        let refused = connection.send(get(PATH, &expired)).await.unwrap();
        assert_eq!(refused.code(), "pass_wrong_audience");
        told.push((permitted, denied, refused));
    }
    let books = world.close().await;
    for (permitted, denied, refused) in &told {
        books.kansai.of(permitted).check_complete(b"{\"features\":[]}", b"{\"features\":[]}");
        books.kansai.of(denied).check_refused("deny", "policy_denied", 403);
        books.kansai.of(refused).check_refused("refused", "pass_wrong_audience", 401);
    }
    assert_eq!(books.kansai.len(), 6);
}

#[tokio::test]
async fn many_exchanges_share_one_http2_connection() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    let peer = world.peer("wessex.example").http2();
    let pass = peer.pass("dfft:DisasterResponse").sign();
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (peer, pass) = (peer.clone(), pass.clone());
        connections.spawn(async move {
            let mut connection = peer.connect().await.unwrap();
            let mut exchanges = Vec::new();
            for _ in 0..25 {
                let reply = connection.send(get(PATH, &pass)).await.unwrap();
                assert_eq!(reply.status, 200);
                exchanges.push(reply.exchange().to_owned());
            }
            exchanges
        });
    }
    let exchanges = connections.join_all().await.concat();
    let books = world.close().await;
    assert_eq!(books.kansai.len(), 100);
    for exchange in exchanges {
        assert_eq!(books.kansai.named(&exchange).outcome["ended"], "complete");
    }
}

#[tokio::test]
async fn anybody_whom_we_know_may_read_who_we_are() {
    let world = World::open().await;
    let wessex = world.peer("wessex.example");
    let about = wessex.call(Method::GET, "/.well-known/sekisho", &Value::Null).await.json();
    assert_eq!(about["party"], "kansai.example");
    assert_eq!(about["policy"]["id"], "dfft");
    assert!(about["log"]["key"].as_str().unwrap().starts_with("kansai.example/log+"));
    let jwks = wessex.call(Method::GET, "/.well-known/jwks.json", &Value::Null).await.json();
    let kid = |jwks: &Value| jwks["keys"][0]["kid"].clone();
    assert_eq!(kid(&jwks), kid(&world.kansai.identity.jwks));
    assert_eq!(jwks["keys"][0].get("d"), None, "a private key is published");
    assert_eq!(world.close().await.kansai.len(), 0, "these documents are no exchanges");
}

#[tokio::test]
async fn the_admin_listener_knows_its_own_people_only() {
    let world = World::open().await;
    let regulator = world.kansai.identity.authority.operator("inspector", Role::Regulator).unwrap();
    let regulator = world.admin(&regulator);
    let listed = regulator.call(Method::GET, "/api/partners", &Value::Null).await.json();
    assert_eq!(listed["partners"].as_array().unwrap().len(), 6);
    let path = "/api/partners/wessex.example/suspend";
    assert_eq!(regulator.call(Method::POST, path, &Value::Null).await.code(), "role_insufficient");
    // The gateway's own certificate is under the same authority, and is nobody's.
    let gateway = world.admin(&world.kansai.identity.gateway);
    assert_eq!(gateway.call(Method::GET, "/livez", &Value::Null).await.code(), "role_missing");
    // Whoever signed it, another authority's operator does not get in.
    let impostor = stranger("kansai.example").operator("operator", Role::Operator).unwrap();
    for leaf in [&impostor, &world.identity("wessex.example").operator] {
        let error = world.admin(leaf).listen().await.unwrap_err();
        assert!(error.to_string().contains("fatal alert"), "{error}");
    }
    let nobody = party("nobody.example");
    assert!(world.kansai.gateway().partners().get(&nobody).is_none());
    let operator = world.admin(&world.kansai.identity.operator);
    let unknown = operator.call(Method::POST, "/api/partners/nobody.example/suspend", &Value::Null).await;
    assert_eq!(unknown.code(), "party_unknown");
    assert_eq!(world.close().await.kansai.len(), 0);
}

#[tokio::test]
async fn the_key_exchange_withstands_a_quantum_computer_where_both_sides_can() {
    let world = World::open().await;
    let wessex = world.peer("wessex.example");
    assert_eq!(wessex.key_exchange().await, Some(rustls::NamedGroup::X25519MLKEM768));
    world.close().await;
}
