//! `sekisho log rotate-key`: from a running gateway to the same log under another key, as an operator does it.

use std::os::unix::fs::PermissionsExt as _;

use sekisho::shell::certs::ed25519_key_pem;

use crate::site::{Site, sekisho, stderr, stdout};
use crate::world::Upstream;

const PLANS: &str = "{\"plan\":[1,2,3]}";

#[tokio::test]
async fn an_operator_gives_the_log_a_new_key_and_it_verifies_by_both() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/plans.json", "application/json", PLANS);
    let site = Site::new(&upstream);
    let peer = site.peer();
    let ask = async || peer.get("/data/open/plans.json", &peer.pass("dfft:DisasterResponse").sign()).await;
    let text = |name: &str| site.path(name).to_string_lossy().into_owned();
    let config = site.config().to_string_lossy().into_owned();
    let rotate = |key: &str| sekisho(["log", "rotate-key", "--config", &config, "--new-key", &text(key), "--json"]);
    std::fs::write(site.path("new.key"), ed25519_key_pem().unwrap()).unwrap();

    let serving = site.serve();
    assert_eq!(ask().await.status, 200);
    // Others could have read the key; the pass key is another's; and the gateway still writes.
    let open_to_others = rotate("new.key");
    assert_eq!(open_to_others.status.code(), Some(2));
    assert!(stderr(&open_to_others).contains("chmod 600"), "{}", stderr(&open_to_others));
    std::fs::set_permissions(site.path("new.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(stderr(&rotate("kansai.example/pass.key")).contains("signs something else already"));
    let running = rotate("new.key");
    assert_eq!(running.status.code(), Some(2));
    assert!(stderr(&running).contains("another process writes"), "{}", stderr(&running));
    assert!(tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap().success());

    let old = site.log_key();
    let rotated = rotate("new.key");
    assert_eq!(rotated.status.code(), Some(0), "{}", stderr(&rotated));
    let told: serde_json::Value = serde_json::from_str(stdout(&rotated)).unwrap();
    assert_eq!((&told["rotated"]["previous"], &told["rotated"]["entry"]), (&old.as_str().into(), &2.into()));
    let line = told["configuration"].as_str().unwrap().rsplit(':').next().unwrap().parse::<usize>().unwrap();
    let written = std::fs::read_to_string(site.config()).unwrap();
    assert_eq!(written.lines().nth(line - 1), Some("key = \"kansai.example/log.key\""));
    // Cut short or not, it may be run again; and until the configuration names the new key, nothing is served.
    let again: serde_json::Value = serde_json::from_str(stdout(&rotate("new.key"))).unwrap();
    assert_eq!(again["rotated"]["entry"], serde_json::Value::Null);
    let refused = sekisho(["serve", "--config", &config]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains(&site.log_key()), "{}", stderr(&refused));

    std::fs::write(site.config(), written.replace("kansai.example/log.key", "new.key")).unwrap();
    let serving = site.serve();
    assert_eq!(ask().await.status, 200);
    let about = peer.get("/.well-known/sekisho", "").await.json();
    assert_eq!(about["log"]["keys"][0]["key"], old);
    assert_eq!(about["log"]["keys"][1]["from_index"], 3);
    assert!(tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap().success());
    assert_ne!(site.log_key(), old);
    for key in [&old, &site.log_key()] {
        let verified = sekisho(["log", "verify", &text("log"), "--key", key]);
        assert_eq!(verified.status.code(), Some(0), "{}", stdout(&verified));
    }
}
