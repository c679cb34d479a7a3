//! Policy sources in a configuration, through the real binary: what `check` says, what keeps `serve` from starting, and
//! the way back to an older bundle.

use serde_json::Value;

use crate::site::{Site, sekisho, stderr, stdout};
use crate::world::{Ministry, SmallPolicy, Upstream};

const KEY: &str = "ministry-1";

/// Adds lines to the site's configuration and gives the number of the last line before them.
fn configure(site: &Site, more: &str) -> usize {
    let text = std::fs::read_to_string(site.config()).unwrap();
    let lines = text.lines().count();
    std::fs::write(site.config(), format!("{text}{more}")).unwrap();
    lines
}

fn run(words: &[&str], site: &Site) -> std::process::Output {
    let config = site.config().display().to_string();
    sekisho(words.iter().copied().chain(["--config", &config]))
}

fn source(file: &str) -> String {
    format!(
        r#"[[policy.source]]
id = "ministry"
file = "{file}"
keys = [{{ id = "{KEY}", file = "ministry.pub", algorithm = "EdDSA" }}]
"#
    )
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_sources_with_their_lines() {
    let upstream = Upstream::start().await;
    let site = Site::new(&upstream);
    let ministry = Ministry::new(KEY);
    std::fs::write(site.path("ministry.pub"), &ministry.public_pem).unwrap();
    let before = configure(
        &site,
        r#"[[policy.source]]
id = "unsigned"
file = "a.tar.gz"
[[policy.source]]
id = "in-the-clear"
url = "http://policies.example/a.tar.gz"
keys = [{ id = "k", file = "missing.pub", algorithm = "EdDSA" }]
[[policy.source]]
id = "wrong-algorithm"
file = "a.tar.gz"
keys = [{ id = "k", file = "ministry.pub", algorithm = "ES256" }]
"#,
    );
    let config = site.config().display().to_string();
    let checked = run(&["check"], &site);
    assert_eq!(checked.status.code(), Some(1));
    let told = stdout(&checked);
    for (line, words) in [(1, "unsigned keys is missing"), (6, "in the clear"), (7, "missing.pub does not exist")] {
        let start = format!("{config}:{}: ", before + line);
        let found = told.lines().any(|problem| problem.starts_with(&start) && problem.contains(words));
        assert!(found, "no {words:?} on line {}: {told}", before + line);
    }

    // What only shows once the text is sound.
    let text = std::fs::read_to_string(site.config()).unwrap();
    let sound: Vec<&str> = text.lines().take(before).collect();
    std::fs::write(site.config(), format!("{}\n", sound.join("\n"))).unwrap();
    configure(&site, &source("none.tar.gz").replace("EdDSA", "ES256"));
    let checked = run(&["check"], &site);
    let told = stdout(&checked);
    assert!(told.starts_with(&format!("{config}:{}: ", before + 4)) && told.contains("ES256"), "{told}");
    let text = std::fs::read_to_string(site.config()).unwrap().replace("ES256", "EdDSA");
    std::fs::write(site.config(), text).unwrap();
    let checked = run(&["check"], &site);
    assert_eq!(checked.status.code(), Some(1));
    assert!(stdout(&checked).contains("policy source ministry: source_unreadable"), "{}", stdout(&checked));
    let served = run(&["serve"], &site);
    assert_eq!(served.status.code(), Some(2));
    assert!(stderr(&served).contains("policy source ministry: source_unreadable"), "{}", stderr(&served));
    assert!(stderr(&served).contains("no last good copy"), "{}", stderr(&served));
    assert!(!site.log().exists(), "a gateway that cannot start left a log");
}

#[tokio::test]
async fn unsigned_bundles_are_warned_of_loudly() {
    let upstream = Upstream::start().await;
    let site = Site::new(&upstream);
    std::fs::write(site.path("a.tar.gz"), SmallPolicy::new("1", "a").archive().pack().unwrap()).unwrap();
    configure(&site, "[[policy.source]]\nid = \"unsigned\"\nfile = \"a.tar.gz\"\n");
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("[policy]\n", "[policy]\ndevelopment = true\n")).unwrap();
    let checked = run(&["check"], &site);
    assert_eq!(checked.status.code(), Some(0), "{}", stdout(&checked));
    assert!(stderr(&checked).contains("warning: [policy] development = true"), "{}", stderr(&checked));
    assert!(stderr(&checked).contains("unsigned decides what crosses"), "{}", stderr(&checked));
    let json: Value = serde_json::from_str(stdout(&run(&["check", "--json"], &site))).unwrap();
    assert_eq!((&json["ok"], json["warnings"].as_array().map(Vec::len)), (&true.into(), Some(1)), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_back_to_an_older_bundle_on_purpose() {
    let upstream = Upstream::start().await;
    let site = Site::new(&upstream);
    let ministry = Ministry::new(KEY);
    std::fs::write(site.path("ministry.pub"), &ministry.public_pem).unwrap();
    configure(&site, &source("ministry.tar.gz"));
    let offer = |revision| {
        std::fs::write(site.path("ministry.tar.gz"), SmallPolicy::new(revision, "a").signed(&ministry)).unwrap();
    };
    offer("2");
    let forget = |source: &str| run(&["policy", "forget", source], &site);
    assert_eq!(forget("ministry").status.code(), Some(1), "nothing was accepted yet");

    let serving = site.serve();
    let busy = forget("ministry");
    assert_eq!(busy.status.code(), Some(2));
    assert!(stderr(&busy).contains("in use by another gateway"), "{}", stderr(&busy));
    assert!(serving.terminate().success());

    std::fs::remove_dir_all(site.path("state/policies/copies")).unwrap();
    offer("1");
    let served = run(&["serve"], &site);
    assert_eq!(served.status.code(), Some(2));
    assert!(stderr(&served).contains("bundle_older"), "{}", stderr(&served));

    let forgotten = run(&["policy", "forget", "ministry", "--json"], &site);
    assert_eq!(forgotten.status.code(), Some(0), "{}", stderr(&forgotten));
    let json: Value = serde_json::from_str(stdout(&forgotten)).unwrap();
    assert_eq!(json["forgotten"]["revision"], "2");
    assert!(site.serve().terminate().success());
}
