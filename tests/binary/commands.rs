//! The command line as scripts use it: exit 0 yes, 1 no, 2 could not tell; data to stdout, talk to stderr.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::site::{Site, sekisho, stderr, stdout};
use crate::world::{Upstream, get};

fn words<'a>(words: &'a [&'a str], path: &'a Path) -> Vec<&'a str> {
    words.iter().copied().chain([path.to_str().unwrap()]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tells_good_from_bad_and_serve_refuses_the_bad() {
    let upstream = Upstream::start().await;
    let site = Site::new(&upstream);
    let good = sekisho(words(&["check", "--config"], &site.config()));
    assert_eq!(good.status.code(), Some(0), "{}{}", stdout(&good), stderr(&good));
    assert_eq!(stdout(&good), format!("{}: no problems\n", site.config().display()));

    let text = std::fs::read_to_string(site.config()).unwrap();
    let bad = text
        .replace("membership = \"active\"\nframework", "memberships = 3\nframework")
        .replace("key = \"kansai.example/pass.key\"", "key = \"kansai.example/log.key\"\nlifetime = \"11m\"");
    std::fs::write(site.config(), &bad).unwrap();
    let config = site.config().display().to_string();
    let checked = sekisho(words(&["check", "--config"], &site.config()));
    assert_eq!(checked.status.code(), Some(1));
    let problems: Vec<&str> = stdout(&checked).lines().collect();
    assert!(problems.len() >= 2, "not all problems at once: {problems:?}");
    for problem in &problems {
        let place = problem.strip_prefix(&format!("{config}:")).unwrap_or_else(|| panic!("no place: {problem}"));
        let line: usize = place.split(':').next().unwrap().parse().unwrap();
        assert!((1..=bad.lines().count()).contains(&line), "{problem}");
    }
    let lifetime = 1 + bad.lines().position(|line| line.starts_with("lifetime")).unwrap();
    assert!(problems.iter().any(|problem| problem.starts_with(&format!("{config}:{lifetime}: "))), "{problems:?}");

    let json = sekisho(words(&["check", "--json", "--config"], &site.config()));
    assert_eq!(json.status.code(), Some(1));
    let json: Value = serde_json::from_str(stdout(&json)).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["problems"].as_array().unwrap().len(), problems.len());

    let served = sekisho(words(&["serve", "--config"], &site.config()));
    assert_eq!(served.status.code(), Some(2));
    assert_eq!(stdout(&served), "");
    for problem in problems {
        assert!(stderr(&served).contains(problem), "{}", stderr(&served));
    }
    assert!(!site.log().exists(), "a gateway that cannot start left a log");
}

#[test]
fn development_keys_are_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("kansai");
    let made = sekisho(words(&["certs", "dev", "--party", "kansai.example", "--out"], &out));
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&out), 0o700);
    let mut count = 0;
    for line in stdout(&made).lines() {
        let path = Path::new(line);
        let secret = path.extension().is_some_and(|extension| extension == "key");
        assert_eq!(mode(path), if secret { 0o600 } else { 0o644 }, "{line}");
        assert_eq!(
            secret,
            std::fs::read_to_string(path).unwrap().contains("PRIVATE KEY") || line.ends_with("pseudonym.key")
        );
        count += 1;
    }
    assert_eq!(count, 13);
    let before = std::fs::read(out.join("ca.pem")).unwrap();
    let again = sekisho(words(&["certs", "dev", "--party", "kansai.example", "--out"], &out));
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    assert_eq!(std::fs::read(out.join("ca.pem")).unwrap(), before);
    let no_party = sekisho(words(&["certs", "dev", "--party", "Kansai", "--out"], &out));
    assert_eq!(no_party.status.code(), Some(2));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_touched_does_not_verify() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/*", "text/plain", "a reading");
    let site = Site::new(&upstream);
    let serving = site.serve();
    let peer = site.peer();
    let mut connection = peer.connect().await.unwrap();
    let pass = peer.pass("dfft:DisasterResponse").sign();
    for number in 0..10 {
        let reply = connection.send(get(&format!("/data/open/{number}"), &pass)).await.unwrap();
        assert_eq!(reply.body, "a reading");
    }
    let denied = connection.send(get("/data/open/x", &peer.pass("dpv:Marketing").sign())).await.unwrap();
    assert_eq!(denied.rules(), ["SMALL-1"]);
    drop(connection);
    let status = tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap();
    assert_eq!(status.code(), Some(0));

    let key = site.log_key();
    let verify = |path: &Path| sekisho(["log", "verify", path.to_str().unwrap(), "--key", &key]);
    let whole = verify(&site.log());
    assert_eq!(whole.status.code(), Some(0), "{}", stdout(&whole));
    assert!(stdout(&whole).ends_with("VERIFIED\n") && stdout(&whole).contains("not checked:"));
    let shown = sekisho(words(&["log", "show"], &site.log()));
    assert_eq!(stdout(&shown).lines().count(), 22);
    assert!(stdout(&shown).contains("SMALL-1"));
    let one = sekisho(["log", "show", site.log().to_str().unwrap(), "--exchange", denied.exchange(), "--json"]);
    let entries: Vec<Value> = stdout(&one).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["entry"]["code"], "policy_denied");

    let largest = |directory: &Path| {
        let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
    };
    let touched = site.path("touched");
    copy(&site.log(), &touched);
    let wal = largest(&touched);
    let mut bytes = std::fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&wal, &bytes).unwrap();
    let cut = site.path("cut");
    copy(&site.log(), &cut);
    let wal = largest(&cut);
    let bytes = std::fs::read(&wal).unwrap();
    std::fs::write(&wal, &bytes[..bytes.len() - 1]).unwrap();
    for damaged in [&touched, &cut] {
        let found = verify(damaged);
        assert_eq!(found.status.code(), Some(1), "{}", stdout(&found));
        assert!(stdout(&found).ends_with("NOT VERIFIED\n") && stdout(&found).contains("found:"));
    }
    // Somebody else's key, and no log at all.
    let stranger = "kansai.example/log+85b74a56+AYIqVkqIA1Ig8jeF7IlfQJOuSJckxmZS7r3kAcQyAsgA";
    let foreign = sekisho(["log", "verify", site.log().to_str().unwrap(), "--key", stranger]);
    assert_ne!(foreign.status.code(), Some(0));
    assert_eq!(verify(&site.path("policy")).status.code(), Some(2));
}
