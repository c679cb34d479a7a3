//! Agreements in ODRL as operators meet them: in the configuration, at the command line, and across a restart.

use std::path::Path;

use serde_json::{Value, json};

use crate::site::{Site, sekisho, stderr, stdout};
use crate::world::{Ministry, Upstream};

fn agreement(constraint: &Value) -> Value {
    json!({
        "@context": "http://www.w3.org/ns/odrl.jsonld",
        "@type": "Agreement",
        "uid": "urn:uuid:7",
        "assigner": "kansai.example",
        "assignee": "wessex.example",
        "target": "open",
        "permission": [{"action": "use", "constraint": [constraint]}],
    })
}

fn count(limit: u64) -> Value {
    json!({"leftOperand": "count", "operator": "lteq", "rightOperand": limit})
}

/// Puts an agreement on file, and gives its path.
fn file(site: &Site, document: &Value) -> String {
    let path = site.path("ag-7.jsonld");
    std::fs::write(&path, format!("{document:#}")).unwrap();
    let config = std::fs::read_to_string(site.config()).unwrap();
    if !config.contains("[[agreement]]") {
        let entry = "\n[[agreement]]\nid = \"AG-7\"\nparty = \"wessex.example\"\nodrl = \"ag-7.jsonld\"\n";
        std::fs::write(site.config(), config + entry).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

fn command(words: &[&str], config: &Path) -> std::process::Output {
    sekisho(words.iter().copied().chain(["--config", config.to_str().unwrap()]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uses_survive_a_kill_because_the_record_is_what_counts() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/a", "text/plain", "a reading");
    let site = Site::new(&upstream);
    file(&site, &agreement(&count(3)));
    let peer = site.peer();
    let ask = || async { peer.get("/data/open/a", &peer.pass("dfft:DisasterResponse").agreement("AG-7").sign()).await };
    let serving = site.serve();
    for _ in 0..2 {
        assert_eq!(ask().await.status, 200);
    }
    serving.kill();
    let serving = site.serve();
    assert_eq!(ask().await.status, 200);
    let fourth = ask().await;
    assert_eq!((fourth.code().as_str(), fourth.rules()), ("policy_denied", vec!["ODRL:AG-7#1".to_owned()]));
    assert!(serving.terminate().success());
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_import_tell_what_is_not_enforced_with_file_and_line() {
    let upstream = Upstream::start().await;
    let site = Site::new(&upstream);
    let path = file(&site, &agreement(&count(3)));
    let good = command(&["check"], &site.config());
    assert_eq!(good.status.code(), Some(0), "{}{}", stdout(&good), stderr(&good));
    let told = command(&["policy", "import", "--odrl", &path], &site.config());
    assert_eq!(told.status.code(), Some(0), "{}", stderr(&told));
    assert!(stdout(&told).contains("wessex.example"), "{}", stdout(&told));
    assert!(
        stdout(&told)
            .contains("permits read, transfer, train, derive of open when the uses, this one included, are at most 3"),
        "{}",
        stdout(&told)
    );
    let json = command(&["policy", "import", "--json", "--odrl", &path], &site.config());
    let json: Value = serde_json::from_str(stdout(&json)).unwrap();
    assert_eq!((&json["ok"], &json["terms"]["rules"][0]["datasets"]), (&json!(true), &json!(["open"])));

    // The configuration has no agreement that is wrong while the candidate is: import judges it alone.
    let candidate = site.path("candidate.jsonld");
    let unenforced = json!({"leftOperand": "industry", "operator": "eq", "rightOperand": "mining"});
    let text = format!("{:#}", agreement(&unenforced));
    std::fs::write(&candidate, &text).unwrap();
    let candidate = candidate.to_str().unwrap();
    let refused = command(&["policy", "import", "--odrl", candidate], &site.config());
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    let place = stdout(&refused).strip_prefix(&format!("{candidate}:")).unwrap();
    let line: usize = place.split(':').next().unwrap().parse().unwrap();
    assert!(text.lines().nth(line).unwrap().contains("industry"), "{place}");
    assert!(place.contains("odrl:industry is not enforced"), "{place}");

    let path = file(&site, &agreement(&unenforced));
    let bad = command(&["check"], &site.config());
    assert_eq!(bad.status.code(), Some(1));
    assert!(stdout(&bad).starts_with(&format!("{path}:{line}: ")), "{}", stdout(&bad));
    let served = sekisho(["serve", "--config", site.config().to_str().unwrap()]);
    assert_eq!(served.status.code(), Some(2));
    assert!(stderr(&served).contains("odrl:industry is not enforced"), "{}", stderr(&served));

    // What the configuration says beside the agreement must agree with it.
    file(&site, &agreement(&count(3)));
    let config = std::fs::read_to_string(site.config()).unwrap();
    let other = config.replace("odrl = \"ag-7", "datasets = [\"opn\"]\nodrl = \"ag-7");
    std::fs::write(site.config(), other).unwrap();
    let bad = command(&["check"], &site.config());
    assert!(stdout(&bad).contains("did you mean open?"), "{}", stdout(&bad));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_offer_becomes_an_agreement_that_serves() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/a", "text/plain", "a reading");
    let site = Site::new(&upstream);
    let exported = command(&["policy", "export", "--odrl", "--json", "--dataset", "open"], &site.config());
    assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
    let mut document: Value = serde_json::from_str(stdout(&exported)).unwrap();
    assert_eq!((&document["@type"], stdout(&exported).lines().count()), (&json!("Offer"), 1));
    // This site's policy looks at no membership, so its offers demand none.
    assert!(!stdout(&exported).contains("cx-policy:Membership"));
    let all = command(&["policy", "export", "--odrl"], &site.config());
    assert_eq!(serde_json::from_str::<Value>(stdout(&all)).unwrap(), document);
    let none = command(&["policy", "export", "--odrl", "--dataset", "none"], &site.config());
    assert_eq!((none.status.code(), stdout(&none)), (Some(2), ""));

    document["@type"] = json!("Agreement");
    document["assignee"] = json!("did:web:wessex.example");
    file(&site, &document);
    let serving = site.serve();
    let peer = site.peer();
    let ask = |purpose: &str| peer.pass(purpose).agreement("AG-7").sign();
    assert_eq!(peer.get("/data/open/a", &ask("dfft:DisasterResponse")).await.status, 200);
    let denied = peer.get("/data/open/a", &ask("dpv:ScientificResearch")).await;
    assert_eq!(denied.rules(), ["ODRL:AG-7#1"]);
    assert!(serving.terminate().success());
}

#[tokio::test]
async fn an_offer_does_not_state_the_demands_of_a_policy_that_a_source_replaces() {
    let upstream = Upstream::start().await;
    let site = Site::new(&upstream);
    let ministry = Ministry::new("ministry-1");
    std::fs::write(site.path("ministry.pub"), &ministry.public_pem).unwrap();
    let config = std::fs::read_to_string(site.config()).unwrap();
    let source = "[[policy.source]]\nid = \"ministry\"\nfile = \"ministry.tar.gz\"\n\
        keys = [{ id = \"ministry-1\", file = \"ministry.pub\", algorithm = \"EdDSA\" }]\n";
    // With a directory of our own, the offers state its demands.
    std::fs::write(site.config(), format!("{config}\n{source}")).unwrap();
    let both = command(&["policy", "export", "--odrl"], &site.config());
    assert_eq!(both.status.code(), Some(0), "{}", stderr(&both));
    let own: Vec<&str> = config.lines().filter(|line| line.trim() != "directory = \"policy\"").collect();
    assert_eq!(own.len() + 1, config.lines().count(), "{config}");
    std::fs::write(site.config(), format!("{}\n{source}", own.join("\n"))).unwrap();
    let refused = command(&["policy", "export", "--odrl"], &site.config());
    assert_eq!((refused.status.code(), stdout(&refused)), (Some(2), ""));
    assert!(stderr(&refused).contains("the policy comes from [[policy.source]]"), "{}", stderr(&refused));
}
