//! A new key for passes and messages, as an operator sets it: the old one stays published, for what it signed.

use std::fs;

use http::HeaderMap;
use sekisho::shell::certs::{ed25519_key_pem, ed25519_public_key, thumbprint};
use sekisho::types::{Clock as _, SystemClock};
use serde_json::Value;

use crate::site::{Site, sekisho, stderr, stdout};
use crate::world::Upstream;

fn signer(headers: &HeaderMap) -> String {
    let input = headers["signature-input"].to_str().unwrap();
    input.split_once("keyid=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_retired_pass_key_is_published_and_signs_no_more() {
    let upstream = Upstream::start().await;
    let site = Site::new(&upstream);
    let peer = site.peer();
    // A refusal is signed always.
    let refused = async || {
        let reply = peer.get("/data/open/plans.json", &peer.pass("dpv:Marketing").sign()).await;
        assert_eq!(reply.code(), "policy_denied");
        signer(&reply.headers)
    };
    let read = |name: &str| fs::read_to_string(site.path(name)).unwrap();
    let kid = || thumbprint(&ed25519_public_key(&read("kansai.example/pass.key")).unwrap());
    let old = kid();
    let serving = site.serve();
    assert_eq!(refused().await, old);
    assert!(tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap().success());

    let mut set: Value = serde_json::from_str(&read("kansai.example/jwks.json")).unwrap();
    let end = SystemClock.now().seconds() + 600;
    set["keys"][0]["exp"] = end.into();
    fs::write(site.path("retired.json"), set.to_string()).unwrap();
    // Written into the file that is there, so that its mode stays.
    fs::write(site.path("kansai.example/pass.key"), ed25519_key_pem().unwrap()).unwrap();
    let key = "key = \"kansai.example/pass.key\"\n";
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), config.replace(key, &format!("{key}retired = \"retired.json\"\n"))).unwrap();
    let new = kid();
    let serving = site.serve();
    assert_eq!(refused().await, new);
    let published = peer.get("/.well-known/jwks.json", "").await.json();
    let told: Vec<_> = published["keys"].as_array().unwrap().iter().map(|key| (&key["kid"], &key["exp"])).collect();
    assert_eq!(told, [(&new.as_str().into(), &Value::Null), (&old.as_str().into(), &end.into())]);
    assert!(tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap().success());

    // Whoever has the log and the key set as it is now can tell whose signatures these are; with half of it, not.
    let verify = |set: &Value| {
        fs::write(site.path("published.json"), set.to_string()).unwrap();
        let party = format!("kansai.example={}", site.path("published.json").display());
        sekisho(["log", "verify", site.log().to_str().unwrap(), "--key", &site.log_key(), "--party", &party])
    };
    let whole = verify(&published);
    assert_eq!(whole.status.code(), Some(0), "{}{}", stdout(&whole), stderr(&whole));
    assert!(!stdout(&whole).contains("give --party kansai.example"), "{}", stdout(&whole));
    let mut half = published.clone();
    half["keys"].as_array_mut().unwrap().pop();
    let half = verify(&half);
    assert_eq!(half.status.code(), Some(1), "{}{}", stdout(&half), stderr(&half));
    assert!(stdout(&half).contains("not among this party's"), "{}", stdout(&half));
}
