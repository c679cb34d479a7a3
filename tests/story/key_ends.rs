//! A partner's key set with an old key and a new one: both sign, until the old one's time is over.

use std::sync::LazyLock;
use std::time::Duration;

use http::Request;
use sekisho::authenticate::PartnerEntry;
use sekisho::shell::certs::{ed25519_key_pem, ed25519_public_key, jwks};
use sekisho::types::ExchangeId;

use crate::world::{ClientBody, Hand, Peer, START, Tuning, World, content_digest, get, party};

const PATH: &str = "/data/usgs-earthquakes/all.geojson";
const END: Duration = Duration::from_secs(120);

/// Wessex' key from before.
static OLD: LazyLock<String> = LazyLock::new(|| ed25519_key_pem().unwrap());

fn also_old(entry: &mut PartnerEntry) {
    if entry.id == party("wessex.example") {
        let mut set = jwks(&ed25519_public_key(&OLD).unwrap());
        set["keys"][0]["exp"] = START.plus(END).seconds().into();
        let set: sekisho::authenticate::KeySet = serde_json::from_value(set).unwrap();
        entry.keys.keys.extend(set.keys);
    }
}

/// A fetch with this pass, signed with this key.
fn signed(peer: &Peer, pass: &str, hand: &Hand) -> Request<ClientBody> {
    let now = peer.clock.now();
    let (digest, exchange) = (content_digest(pass.as_bytes()), ExchangeId::new(now).to_string());
    let components = [
        ("\"@method\"", "GET"),
        ("\"@path\"", PATH),
        ("\"sekisho-exchange\"", exchange.as_str()),
        ("\"sekisho-pass\"", &digest),
    ];
    let fields = hand.sign(&components, "sekisho-request", now.seconds());
    let mut request = get(PATH, pass);
    for (name, value) in [
        ("sekisho-exchange", &exchange),
        ("sekisho-pass", &digest),
        ("signature-input", &fields.input),
        ("signature", &fields.signature),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_key_whose_time_is_over_signs_nothing_more() {
    let world = World::tuned(Tuning { vet: also_old, ..Tuning::default() }).await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.geojson", "application/json", "{}");
    let peer = world.peer("wessex.example");
    let mut before = peer.clone();
    before.pass_key_pem = OLD.clone();
    let (new, old) = (Hand::of(world.identity("wessex.example")), Hand::with(&OLD));
    let pass = |peer: &Peer| peer.pass("dfft:DisasterResponse").sign();
    let remembered = pass(&before);
    for pass in [&remembered, &pass(&peer)] {
        for hand in [&old, &new] {
            let reply = peer.send(signed(&peer, pass, hand)).await.unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
    world.clock.advance(END - Duration::from_secs(1));
    assert_eq!(peer.get(PATH, &remembered).await.status, 200);

    world.clock.advance(Duration::from_secs(1));
    // Verified while its key was good and with minutes of its own to live.
    assert_eq!(peer.get(PATH, &remembered).await.code(), "pass_expired");
    assert_eq!(peer.get(PATH, &pass(&before)).await.code(), "pass_unknown_key");
    let reply = peer.send(signed(&peer, &pass(&peer), &old)).await.unwrap();
    assert_eq!(reply.code(), "request_signature_invalid");
    let reply = peer.send(signed(&peer, &pass(&peer), &new)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(world.kansai.upstream.seen().len(), 6);
    world.close().await;
}
