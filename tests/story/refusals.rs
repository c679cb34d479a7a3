//! Everything else that is refused: destinations, datasets, paths, certificates, partners; each with code and record.

use http::{Method, Request};
use serde_json::Value;

use crate::world::{Peer, Reply, World, get, party, stranger, whole};

const PATH: &str = "/data/usgs-earthquakes/all.geojson";

#[tokio::test]
async fn the_policy_refuses_destinations_datasets_and_purposes() {
    let world = World::open().await;
    let cases = [
        ("taedong.example", PATH, "dfft:DisasterResponse", "DFFT-S1"),
        ("lapsed.example", PATH, "dfft:DisasterResponse", "DFFT-G2"),
        ("wessex.example", "/data/untagged/a.json", "dfft:DisasterResponse", "DFFT-G1"),
        ("wessex.example", PATH, "dpv:Marketing", "DFFT-G2"),
        ("wessex.example", PATH, "made-up:Purpose", "DFFT-G2"),
    ];
    let mut replies = Vec::new();
    for (party, path, purpose, rule) in cases {
        let peer = world.peer(party);
        let reply = peer.get(path, &peer.pass(purpose).sign()).await;
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), ("policy_denied", 403), "{party} {path} {purpose}");
        assert_eq!(reply.rules(), [rule]);
        replies.push(reply);
    }
    assert!(world.kansai.upstream.seen().is_empty());
    let books = world.close().await;
    for (reply, (party, .., purpose, rule)) in replies.iter().zip(cases) {
        let told = books.kansai.of(reply);
        told.check_refused("deny", "policy_denied", 403);
        assert_eq!(told.rules(), [rule]);
        assert_eq!(told.decision["consumer"], party);
        assert_eq!(told.decision["purpose"], purpose);
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_told_apart() {
    let world = World::open().await;
    world.kansai.upstream.fail("/usgs-earthquakes/broken", http::StatusCode::INTERNAL_SERVER_ERROR);
    world.kansai.upstream.fail("/usgs-earthquakes/moved", http::StatusCode::FOUND);
    let wessex = world.peer("wessex.example");
    let cases = [
        (Method::GET, "/data/no-such-set/a.json", "dataset_unknown", 404),
        (Method::GET, "/data/No%20Set/a.json", "dataset_unknown", 404),
        (Method::GET, "/data", "dataset_unknown", 404),
        (Method::GET, "/elsewhere", "path_unknown", 404),
        (Method::DELETE, PATH, "method_not_allowed", 405),
        (Method::PATCH, PATH, "method_not_allowed", 405),
        (Method::PUT, PATH, "method_not_allowed", 405),
        (Method::GET, "/data/field-readings/a.json", "method_not_allowed", 405),
        (Method::GET, "/data/usgs-earthquakes/../covid-testing/2026.csv", "target_invalid", 400),
        (Method::GET, "/data/usgs-earthquakes/%2e%2e/covid-testing/2026.csv", "target_invalid", 400),
        (Method::GET, "/data/usgs-earthquakes%2fall.geojson", "target_invalid", 400),
        (Method::GET, "/data/usgs-earthquakes/a%5cb", "target_invalid", 400),
        (Method::GET, "/data//usgs-earthquakes/a", "target_invalid", 400),
        (Method::GET, "/data/usgs-earthquakes/a%00", "target_invalid", 400),
        (Method::GET, "/data/usgs-earthquakes/a?b=%0d%0aX:1", "target_invalid", 400),
        (Method::GET, "/data/usgs-earthquakes/missing", "upstream_not_found", 404),
        (Method::GET, "/data/usgs-earthquakes/broken", "upstream_failed", 502),
        (Method::GET, "/data/usgs-earthquakes/moved", "upstream_refused", 502),
    ];
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let mut replies = Vec::new();
    for (method, path, code, status) in cases {
        let mut request = get(path, &pass);
        *request.method_mut() = method.clone();
        let reply = wessex.send(request).await.unwrap();
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, status), "{method} {path}");
        assert!(!reply.text().contains("internal details"));
        replies.push((reply, method, path, code, status));
    }
    assert_eq!(world.kansai.upstream.seen().len(), 3);
    let books = world.close().await;
    for (reply, method, path, code, status) in &replies {
        let told = books.kansai.of(reply);
        assert_eq!(told.decision["request"]["method"], method.as_str());
        assert_eq!(told.decision["request"]["path"], path.split('?').next().unwrap());
        if code.starts_with("upstream_") {
            assert_eq!(told.decision["decision"], "permit");
            assert_eq!(told.outcome["ended"], "refused");
            assert_eq!(told.outcome["code"], *code);
        } else {
            told.check_refused("refused", code, *status);
        }
    }
}

#[tokio::test]
async fn an_agreement_must_be_on_file_for_this_very_use() {
    let world = World::open().await;
    let cases = [
        // (party, path, purpose, agreement)
        ("wessex.example", PATH, "dfft:DisasterResponse", "AG-NOWHERE"),
        ("wessex.example", PATH, "dfft:DisasterResponse", "AG-LITHO"),
        ("rhein.example", "/data/litho-process/recipe.csv", "dfft:JointDevelopment", "AG-LITHO"),
    ];
    let mut replies = Vec::new();
    for (party, path, purpose, agreement) in cases {
        let peer = world.peer(party);
        let reply = peer.get(path, &peer.pass(purpose).agreement(agreement).sign()).await;
        assert_eq!(
            (reply.code().as_str(), reply.status.as_u16()),
            ("agreement_not_on_file", 403),
            "{party} {agreement}"
        );
        replies.push((reply, agreement));
    }
    // It ends with its last day.
    world.clock.advance(std::time::Duration::from_secs(41 * 86_400));
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:JointDevelopment").agreement("AG-LITHO").sign();
    let late = wessex.get("/data/litho-process/recipe.csv", &pass).await;
    assert_eq!(late.code(), "agreement_not_on_file");
    replies.push((late, "AG-LITHO"));
    let books = world.close().await;
    for (reply, agreement) in &replies {
        let told = books.kansai.of(reply);
        told.check_refused("refused", "agreement_not_on_file", 403);
        assert_eq!(told.decision["agreement"], *agreement);
    }
}

#[tokio::test]
async fn a_certificate_counts_only_under_its_own_partners_authority() {
    let world = World::open().await;
    let wessex = party("wessex.example");
    let of_nobody = stranger("wessex.example").gateway(&wessex, &[], &[]).unwrap();
    let of_another = world.identity("rhein.example").authority.gateway(&wessex, &[], &[]).unwrap();
    let of_no_partner = stranger("mallory.example").gateway(&party("mallory.example"), &[], &[]).unwrap();
    // A person's certificate of the right authority is no gateway's.
    let of_a_person = world.identity("wessex.example").officer.clone();
    let cases = [
        (of_nobody, "certificate_unknown_issuer", "UnknownCA"),
        (of_another, "certificate_unknown_issuer", "UnknownCA"),
        (of_no_partner, "certificate_unknown_party", "BadCertificate"),
        (of_a_person, "certificate_unknown_party", "BadCertificate"),
    ];
    for (place, (leaf, code, alert)) in cases.iter().enumerate() {
        let error = world.peer_with("wessex.example", leaf.clone()).listen().await.unwrap_err();
        assert!(error.to_string().contains(alert), "{code}: {error}");
        world.kansai.recorded(2 * (place as u64 + 1)).await;
    }
    let books = world.close().await;
    let told = books.kansai.all();
    assert_eq!(told.len(), cases.len());
    for (told, (_, code, _)) in told.iter().zip(&cases) {
        assert_eq!(told.decision["decision"], "refused");
        assert_eq!(told.decision["code"], *code);
        assert_eq!(told.outcome["ended"], "refused");
        // Nobody asked for anything and nobody was answered: there was no request yet.
        assert_eq!(told.decision.get("request"), None);
        assert_eq!(told.decision.get("consumer"), None);
        assert_eq!(told.outcome.get("status"), None);
    }
}

async fn suspend(admin: &Peer, verb: &str) -> Reply {
    admin.call(Method::POST, &format!("/api/partners/wessex.example/{verb}"), &Value::Null).await
}

#[tokio::test]
async fn a_suspension_is_felt_on_open_connections() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    let mut connection = wessex.connect().await.unwrap();
    assert_eq!(connection.send(get(PATH, &pass)).await.unwrap().status, 200);

    let operator = world.admin(&world.kansai.identity.operator);
    let officer = world.admin(&world.kansai.identity.officer);
    assert_eq!(suspend(&officer, "suspend").await.code(), "role_insufficient");
    assert_eq!(connection.send(get(PATH, &pass)).await.unwrap().status, 200);
    assert_eq!(suspend(&operator, "suspend").await.status, 200);
    let refused = connection.send(get(PATH, &pass)).await.unwrap();
    assert_eq!((refused.code().as_str(), refused.status.as_u16()), ("partner_suspended", 403));
    // Neither do we ask a partner for data while it is suspended.
    let ours = world.kansai.fetch("/partners/wessex.example/data/process-notes/a", "dfft:DisasterResponse").await;
    assert_eq!(ours.code(), "partner_suspended");
    let other = world.peer("rhein.example");
    assert_eq!(other.get(PATH, &other.pass("dfft:DisasterResponse").sign()).await.status, 200);
    assert_eq!(suspend(&operator, "resume").await.status, 200);
    let back = connection.send(get(PATH, &pass)).await.unwrap();
    assert_eq!(back.status, 200);

    let books = world.close().await;
    books.kansai.of(&refused).check_refused("refused", "partner_suspended", 403);
    assert_eq!(books.kansai.of(&refused).decision["consumer"], "wessex.example");
    books.kansai.of(&ours).check_refused("refused", "partner_suspended", 403);
    books.kansai.of(&back).check_complete(b"{}", b"{}");
}

#[tokio::test]
async fn applications_are_told_what_is_missing() {
    let world = World::open().await;
    let ask = |path: &'static str, purpose: Option<&'static str>| {
        let mut request = Request::builder().uri(path);
        if let Some(purpose) = purpose {
            request = request.header("sekisho-purpose", purpose);
        }
        request.body(whole("")).unwrap()
    };
    let good = "/partners/kansai.example/data/usgs-earthquakes/all.geojson";
    let purpose = Some("dfft:DisasterResponse");
    let cases = [
        (ask("/partners/nobody.example/data/usgs-earthquakes/a", purpose), "party_unknown", 404),
        (ask("/partners/%C3%A9/data/usgs-earthquakes/a", purpose), "party_unknown", 404),
        (ask(good, None), "purpose_missing", 400),
        (ask(good, Some("because")), "header_invalid", 400),
        (ask("/data/usgs-earthquakes/a", purpose), "path_unknown", 404),
        (ask("/partners/kansai.example/data/../x", purpose), "target_invalid", 400),
        (ask("/partners/kansai.example/data/UPPER/x", purpose), "dataset_unknown", 404),
    ];
    let mut replies = Vec::new();
    for (request, code, status) in cases {
        let uri = request.uri().clone();
        let reply = world.wessex.application(request).await;
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, status), "{uri}");
        replies.push((reply, code, status));
    }
    // A purpose that no policy knows is denied before anything is asked of the partner.
    let denied = world.wessex.fetch(good, "made-up:Purpose").await;
    assert_eq!(denied.rules(), ["DFFT-G2"]);
    // A partner that we know and that has no gateway cannot be asked.
    let without_gateway = world.kansai.fetch("/partners/rhein.example/data/x/y", "dfft:DisasterResponse").await;
    assert_eq!(without_gateway.code(), "party_unknown");
    let books = world.close().await;
    for (reply, code, status) in &replies {
        books.wessex.of(reply).check_refused("refused", code, *status);
        assert_eq!(books.wessex.of(reply).decision["direction"], "request");
    }
    books.wessex.of(&denied).check_refused("deny", "policy_denied", 403);
    books.kansai.of(&without_gateway).check_refused("refused", "party_unknown", 404);
    assert_eq!(books.kansai.len(), 1, "nothing reached the partner");
}
