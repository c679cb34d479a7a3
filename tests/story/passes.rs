//! Passes that are wrong in one way each: refused under a code of their own, on record, and nothing is asked upstream.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::world::{Pass, Peer, World, get};

const PATH: &str = "/data/usgs-earthquakes/all.geojson";

fn wrong(world: &World, wessex: &Peer) -> Vec<(&'static str, String, &'static str)> {
    let pass = || wessex.pass("dfft:DisasterResponse");
    let start = 1_795_251_600_u64;
    let forged = |alg: &str, signature: &[u8]| {
        let header = json!({ "typ": "sekisho-pass+jwt", "alg": alg, "kid": pass().kid() });
        pass().forged(&header, signature)
    };
    let mut stolen_key = wessex.clone();
    stolen_key.pass_key_pem.clone_from(&world.identity("rhein.example").pass_key_pem);
    let own_kid = pass().kid().to_owned();
    let by_stranger =
        stolen_key.pass("dfft:DisasterResponse").header(|header| header.kid = Some(own_kid.clone())).sign();
    let mut tampered = pass().sign();
    // Another purpose under the signature of this one.
    let claims = pass().purpose("dpv:ScientificResearch").sign();
    let parts: Vec<&str> = tampered.split('.').collect();
    tampered = format!("{}.{}.{}", parts[0], claims.split('.').nth(1).unwrap(), parts[2]);
    let public = world.identity("wessex.example").jwks["keys"][0]["x"].as_str().unwrap().to_owned();
    let mut confused = Header::new(Algorithm::HS256);
    confused.typ = Some("sekisho-pass+jwt".to_owned());
    confused.kid = Some(own_kid.clone());
    let claims = json!({ "iss": "wessex.example", "aud": "kansai.example" });
    let confused = jsonwebtoken::encode(&confused, &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();

    let signed = |pass: Pass| pass.sign();
    vec![
        ("expired", signed(pass().claim("iat", start - 400).claim("nbf", start - 400).living(400)), "pass_expired"),
        ("from the future", signed(pass().claim("iat", start + 60).living(300)), "pass_not_yet_valid"),
        ("not before later", signed(pass().claim("nbf", start + 60)), "pass_not_yet_valid"),
        ("living 11 minutes", signed(pass().living(660)), "pass_lifetime_too_long"),
        ("ending before it begins", signed(pass().claim("exp", start - 1)), "pass_lifetime_too_long"),
        ("for another audience", signed(pass().claim("aud", "rhein.example")), "pass_wrong_audience"),
        ("for several audiences", signed(pass().claim("aud", json!(["kansai.example"]))), "pass_malformed"),
        ("in another's name", signed(pass().claim("iss", "rhein.example")), "pass_wrong_issuer"),
        (
            "bound to another certificate",
            signed(pass().bound_to(&world.identity("rhein.example").gateway)),
            "pass_wrong_certificate",
        ),
        ("bound to nothing", signed(pass().claim("cnf", json!({}))), "pass_malformed"),
        ("without a purpose", signed(pass().claim("purpose", json!(null))), "pass_malformed"),
        ("with a purpose that is no term", signed(pass().claim("purpose", "because")), "pass_malformed"),
        ("with an endless sub", signed(pass().claim("sub", "s".repeat(300))), "pass_malformed"),
        ("of another type", signed(pass().header(|header| header.typ = Some("JWT".to_owned()))), "pass_malformed"),
        (
            "that carries a key",
            signed(pass().header(|h| h.jku = Some("https://evil.example".into()))),
            "pass_malformed",
        ),
        ("without a kid", signed(pass().header(|header| header.kid = None)), "pass_malformed"),
        ("of an unknown kid", signed(pass().header(|header| header.kid = Some("k9".to_owned()))), "pass_unknown_key"),
        ("under alg none", forged("none", b""), "pass_malformed"),
        ("under another algorithm", forged("ES256", &[0; 64]), "pass_malformed"),
        ("signed with the public key as a secret", confused, "pass_malformed"),
        ("with a signature of zeros", forged("EdDSA", &[0; 64]), "pass_signature_invalid"),
        ("signed by another key", by_stranger, "pass_signature_invalid"),
        ("with other claims under its signature", tampered, "pass_signature_invalid"),
        ("that is no JWT", "pass".to_owned(), "pass_malformed"),
        ("that is too long", "a".repeat(8193), "pass_malformed"),
    ]
}

#[tokio::test]
async fn a_wrong_pass_is_refused_for_what_is_wrong_with_it() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    let wessex = world.peer("wessex.example");
    let mut replies = Vec::new();
    let mut connection = wessex.connect().await.unwrap();
    for (what, pass, code) in wrong(&world, &wessex) {
        let reply = connection.send(get(PATH, &pass)).await.unwrap();
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, 401), "a pass {what}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sekisho\""));
        replies.push((what, code, reply));
    }
    let mut missing = get(PATH, "");
    missing.headers_mut().remove("authorization");
    let reply = connection.send(missing).await.unwrap();
    assert_eq!(reply.code(), "pass_missing");
    replies.push(("that is missing", "pass_missing", reply));
    assert!(world.kansai.upstream.seen().is_empty());

    // The connection is none the worse for it.
    let right = connection.send(get(PATH, &wessex.pass("dfft:DisasterResponse").sign())).await.unwrap();
    assert_eq!(right.status, 200);
    let books = world.close().await;
    for (what, code, reply) in &replies {
        let told = books.kansai.of(reply);
        told.check_refused("refused", code, 401);
        assert_eq!(told.decision["consumer"], "wessex.example", "a pass {what}");
    }
    assert_eq!(books.kansai.len(), replies.len() + 1);
}

#[tokio::test]
async fn a_pass_that_was_good_expires_although_it_is_remembered() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    let wessex = world.peer("wessex.example");
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    assert_eq!(wessex.get(PATH, &pass).await.status, 200);
    world.clock.advance(Duration::from_secs(299));
    assert_eq!(wessex.get(PATH, &pass).await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    let late = wessex.get(PATH, &pass).await;
    assert_eq!(late.code(), "pass_expired");
    let books = world.close().await;
    books.kansai.of(&late).check_refused("refused", "pass_expired", 401);
}

#[tokio::test]
async fn a_pass_remembered_for_one_partner_serves_no_other() {
    let world = World::open().await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    let (wessex, rhein) = (world.peer("wessex.example"), world.peer("rhein.example"));
    let pass = wessex.pass("dfft:DisasterResponse").sign();
    assert_eq!(wessex.get(PATH, &pass).await.status, 200);
    let stolen = rhein.get(PATH, &pass).await;
    assert_eq!(stolen.code(), "pass_wrong_issuer");
    // Nor another certificate of the same partner.
    let leaf = world.identity("wessex.example").authority.gateway(wessex_id(), &[], &[]).unwrap();
    let rotated = world.peer_with("wessex.example", leaf).get(PATH, &pass).await;
    assert_eq!(rotated.code(), "pass_wrong_certificate");
    let books = world.close().await;
    books.kansai.of(&stolen).check_refused("refused", "pass_wrong_issuer", 401);
    assert_eq!(books.kansai.of(&stolen).decision["consumer"], "rhein.example");
    books.kansai.of(&rotated).check_refused("refused", "pass_wrong_certificate", 401);
}

fn wessex_id() -> &'static sekisho::types::PartyId {
    static ID: std::sync::LazyLock<sekisho::types::PartyId> =
        std::sync::LazyLock::new(|| crate::world::party("wessex.example"));
    &ID
}

#[tokio::test]
async fn a_single_use_pass_counts_once() {
    let world = World::open().await;
    world.kansai.upstream.offer("/once-only/a.json", "application/json", "{}");
    let wessex = world.peer("wessex.example");
    // A pass of the second in which the gateway started may have been shown to the one before it.
    let first_second = wessex.get("/data/once-only/a.json", &wessex.pass("dfft:DisasterResponse").sign()).await;
    assert_eq!(first_second.code(), "pass_stale");
    world.clock.advance(Duration::from_secs(2));
    // One that claims to be from the future could be newer than the next start.
    let future = wessex.pass("dfft:DisasterResponse").claim("iat", 1_795_251_610_u64).claim("nbf", 1_795_251_600_u64);
    let future = wessex.get("/data/once-only/a.json", &future.sign()).await;
    assert_eq!(future.code(), "pass_not_yet_valid");
    let pass = wessex.pass("dfft:DisasterResponse");
    let once = wessex.get("/data/once-only/a.json", &pass.sign()).await;
    assert_eq!(once.status, 200);
    let twice = wessex.get("/data/once-only/a.json", &pass.sign()).await;
    assert_eq!((twice.code().as_str(), twice.status.as_u16()), ("pass_already_used", 401));
    // The same id under another signature is the same pass.
    let again = wessex.get("/data/once-only/a.json", &pass.clone().claim("sub", "person:eve").sign()).await;
    assert_eq!(again.code(), "pass_already_used");
    // One from before this gateway started may have been shown to it before.
    let before = wessex.pass("dfft:DisasterResponse").claim("iat", 1_795_251_599_u64);
    let stale = wessex.get("/data/once-only/a.json", &before.sign()).await;
    assert_eq!(stale.code(), "pass_stale");
    let fresh = wessex.get("/data/once-only/a.json", &wessex.pass("dfft:DisasterResponse").sign()).await;
    assert_eq!(fresh.status, 200);
    assert_eq!(world.kansai.upstream.seen().len(), 2);

    let books = world.close().await;
    books.kansai.of(&once).check_complete(b"{}", b"{}");
    books.kansai.of(&twice).check_refused("refused", "pass_already_used", 401);
    books.kansai.of(&again).check_refused("refused", "pass_already_used", 401);
    books.kansai.of(&stale).check_refused("refused", "pass_stale", 401);
}

#[tokio::test]
async fn a_key_of_one_partner_never_speaks_for_another() {
    let world = World::open().await;
    let (wessex, rhein) = (world.peer("wessex.example"), world.peer("rhein.example"));
    // Wessex signs with its own key, under its own kid, in Rhein's name and bound to Rhein's certificate, and shows it
    // first, so that it might be remembered.
    let forged = wessex.pass("dfft:DisasterResponse").claim("iss", "rhein.example");
    let forged = forged.bound_to(&world.identity("rhein.example").gateway).sign();
    let shown = wessex.get(PATH, &forged).await;
    assert_eq!(shown.code(), "pass_wrong_issuer");
    // Whoever holds Rhein's certificate still lacks Rhein's key.
    let used = rhein.get(PATH, &forged).await;
    assert_eq!(used.code(), "pass_unknown_key");
    assert!(world.kansai.upstream.seen().is_empty());
    let books = world.close().await;
    books.kansai.of(&used).check_refused("refused", "pass_unknown_key", 401);
}

#[tokio::test]
async fn what_a_pass_says_of_a_person_is_bounded() {
    let world = World::open().await;
    let wessex = world.peer("wessex.example");
    let long = json!({ "clearance": { "note": "n".repeat(1100) } });
    let pass = wessex.pass("dfft:DisasterResponse").claim("person", long).sign();
    assert_eq!(wessex.get(PATH, &pass).await.code(), "pass_malformed");
    world.close().await;
}
