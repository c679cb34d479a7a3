//! `policy replay` on what a gateway of its own process recorded.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::site::{Site, sekisho, stderr, stdout, write_policy};
use crate::world::{Upstream, get};

/// A policy like the site's, which declares what it reads and forbids another purpose.
fn candidate(site: &Site, name: &str, forbidden: &str) -> PathBuf {
    let directory = site.path(name);
    write_policy(&directory);
    let rego = std::fs::read_to_string(directory.join("small.rego")).unwrap();
    std::fs::write(directory.join("small.rego"), rego.replace("dpv:Marketing", forbidden)).unwrap();
    let metadata = json!({ "id": "small", "entrypoint": "small/decision", "inputs": ["purpose"] });
    std::fs::write(
        directory.join(".manifest"),
        json!({ "revision": "2", "rego_version": 1, "metadata": metadata }).to_string(),
    )
    .unwrap();
    directory
}

fn replay(log: &Path, candidate: &Path, more: &[&str]) -> std::process::Output {
    let paths = ["policy", "replay", "--candidate", candidate.to_str().unwrap(), "--log", log.to_str().unwrap()];
    sekisho(paths.iter().chain(more))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_policy_is_tried_on_what_was_recorded() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/*", "text/plain", "a reading");
    let site = Site::new(&upstream);
    // The candidates name the purpose as something that they read, and so must the policy that is recorded.
    std::fs::rename(candidate(&site, "declared", "dpv:Marketing").join(".manifest"), site.path("policy/.manifest"))
        .unwrap();
    let serving = site.serve();
    let peer = site.peer();
    let mut connection = peer.connect().await.unwrap();
    let relief = peer.pass("dfft:DisasterResponse").sign();
    let mut permitted = Vec::new();
    for _ in 0..3 {
        let reply = connection.send(get("/data/open/1", &relief)).await.unwrap();
        assert_eq!(reply.body, "a reading");
        permitted.push(reply.exchange().to_owned());
    }
    let denied = connection.send(get("/data/open/1", &peer.pass("dpv:Marketing").sign())).await.unwrap();
    assert_eq!(denied.rules(), ["SMALL-1"]);
    drop(connection);
    let status = tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap();
    assert_eq!(status.code(), Some(0));

    let store = site.path("inputs");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store), 0o700);
    for file in std::fs::read_dir(&store).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }

    let same = candidate(&site, "same", "dpv:Marketing");
    let unchanged = replay(&site.log(), &same, &["--strict"]);
    assert_eq!(unchanged.status.code(), Some(0), "{}{}", stdout(&unchanged), stderr(&unchanged));
    assert!(
        stdout(&unchanged).starts_with("4 recorded decisions, 2 distinct inputs, 0 cannot be told, 0 would change\n")
    );

    let other = candidate(&site, "other", "dfft:DisasterResponse");
    let changed = replay(&site.log(), &other, &["--json"]);
    assert_eq!(changed.status.code(), Some(1), "{}", stderr(&changed));
    assert_eq!(stderr(&changed), "");
    let report: Value = serde_json::from_str(stdout(&changed)).unwrap();
    assert_eq!(report["candidate"]["revision"], "2");
    assert_eq!(report["summary"]["flips"], 4);
    let permits = json!([
        { "from": "permit", "to": "deny", "count": 3 },
        { "from": "deny", "to": "permit", "count": 1 },
    ]);
    assert_eq!(report["summary"]["kinds"], permits);
    let flips = report["flips"].as_array().unwrap();
    let exchanges: Vec<&str> = flips.iter().map(|flip| flip["exchange"].as_str().unwrap()).collect();
    assert_eq!(exchanges, [&permitted[0], &permitted[1], &permitted[2], denied.exchange()]);
    assert_eq!(flips[0]["candidate"]["rules"], json!(["SMALL-1"]));
    assert_eq!(
        (&flips[3]["recorded"]["code"], &flips[3]["partner"]),
        (&json!("policy_denied"), &json!("wessex.example"))
    );

    let told = replay(&site.log(), &other, &["--limit", "1"]);
    assert_eq!(told.status.code(), Some(1));
    let lines: Vec<&str> = stdout(&told).lines().collect();
    assert!(
        lines[0].contains(&permitted[0]) && lines[0].ends_with("wessex.example open: permit -> deny [SMALL-1]"),
        "{lines:?}"
    );
    assert!(lines[1].ends_with("4 would change: 3 permit -> deny, 1 deny -> permit"), "{lines:?}");
    assert_eq!(lines[2..], ["  3 more would change than are listed"]);

    // Nothing in the span, a candidate that reads more than was kept, no store, no log, no day: each is what it is.
    assert_eq!(replay(&site.log(), &other, &["--until", "2026-01-01"]).status.code(), Some(0));
    let days = site.path("days");
    std::fs::create_dir(&days).unwrap();
    let nothing = replay(&site.log(), &same, &["--inputs", days.to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(2), "{}", stdout(&nothing));
    assert!(stdout(&nothing).contains("4 cannot be told: the store does not hold their input"), "{}", stdout(&nothing));
    for (log, more) in [
        (site.log(), &["--inputs", "/nowhere"][..]),
        (site.path("policy"), &[]),
        (site.log(), &["--from", "2026-13-01"]),
        (site.log(), &["--at", "today"]),
    ] {
        let failed = replay(&log, &same, more);
        assert_eq!(failed.status.code(), Some(2), "{more:?}: {}", stdout(&failed));
        assert!(!stderr(&failed).is_empty());
    }
}
