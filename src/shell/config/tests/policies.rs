//! Mistakes in `[policy]` and `[[policy.source]]`, and what a sound one says.

use std::path::Path;
use std::time::Duration;

use super::super::*;
use super::LEAST;
use crate::decide::ShadowMode;

/// The lines before what a case adds.
const BEFORE: usize = 40;

/// Adds `policy` to a sound configuration whose partner listener is at `listen`, and tells the problems.
fn problems_at(listen: &str, policy: &str) -> Vec<String> {
    assert_eq!(LEAST.lines().count(), BEFORE);
    let text = format!("{LEAST}{policy}").replace("0.0.0.0:8443", listen);
    match parse(&text, "a.toml") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// The lines make exactly one problem, on the line of theirs that is named, whose message has all of these words.
fn check(policy: &str, line: usize, words: &[&str]) {
    check_at("0.0.0.0:8443", policy, line, words);
}

fn check_at(listen: &str, policy: &str, line: usize, words: &[&str]) {
    let problems = problems_at(listen, policy);
    assert_eq!(problems.len(), 1, "{policy}: {problems:#?}");
    assert!(problems[0].starts_with(&format!("a.toml:{}: ", BEFORE + line)), "{policy}: {problems:#?}");
    for word in words {
        assert!(problems[0].contains(word), "{policy}: expected {word:?}: {problems:#?}");
    }
}

const KEYS: &str = "keys = [{ id = \"k\", file = \"k.pub\", algorithm = \"EdDSA\" }]";

/// A source with this place and further lines.
fn source(lines: &str) -> String {
    format!("[[policy.source]]\nid = \"a\"\n{lines}\n")
}

#[test]
fn mistakes_in_policy_sources_are_told_with_line_and_remedy() {
    let signed = |place: &str, more: &str| source(&format!("{place}\n{KEYS}\n{more}"));
    check(&source(""), 1, &["[[policy.source]] a names no place", "file =", "directory =", "url ="]);
    check(&source(&format!("file = \"a\"\ndirectory = \"b\"\n{KEYS}")), 4, &["names more than one place"]);
    check(&source(&format!("directory = \"b\"\n{KEYS}")), 4, &["keys are for an archive"]);
    check(&source("file = \"a\""), 1, &["keys is missing", "algorithm"]);
    // An empty list is no leave to take anything.
    check(&source("file = \"a\"\nkeys = []"), 4, &["keys is empty", "algorithm"]);
    check(&source("url = \"http://127.0.0.1/a\"\nkeys = []"), 4, &["keys is empty"]);
    check(&source("url = \"http://127.0.0.1/a\""), 1, &["keys is missing"]);
    check(&signed("url = \"https://policies.example/a\"", ""), 1, &["anchors is missing"]);
    check(&signed("url = \"http://policies.example/a\"", ""), 3, &["in the clear", "use https"]);
    check(&signed("url = \"http://10.0.0.1/a\"", "anchors = \"ca.pem\""), 5, &["anchors are for https"]);
    check(&signed("file = \"a\"", "anchors = \"ca.pem\""), 5, &["anchors are for a url"]);
    check(&signed("file = \"a\"", "poll = \"500ms\""), 5, &["out of bounds", "from 1s to 24h"]);
    check(&signed("file = \"a\"", "poll = \"25h\""), 5, &["out of bounds"]);
    check(&signed("file = \"a\"", "pol = \"2m\""), 5, &["did you mean poll?"]);
    check(
        &signed("file = \"a\"", "owner = { role = \"regulatr\", name = \"x\" }"),
        5,
        &["did you mean \"regulator\"?"],
    );
    check(&signed("file = \"a\"", "owner = { role = \"regulator\" }"), 5, &["owner name is missing"]);
    check(&source("directory = \"a\"").replace("id = \"a\"", "id = \"A\""), 2, &["id of a source", "lower-case"]);
    check(&source("directory = \"a\"").replace("id = \"a\"", "id = \"../a\""), 2, &["id of a source"]);
    check(&source("directory = \"a\"").replace("id = \"a\"", "id = \"built-in\""), 2, &["taken by the gateway itself"]);
    let twice = format!("{}{}", source("directory = \"a\""), source("directory = \"b\""));
    check(&twice, 5, &["a is already taken on line 42"]);
    let key = |key: &str| source(&format!("file = \"a\"\nkeys = [{{ {key} }}]"));
    check(&key("id = \"k\", file = \"k.pub\""), 4, &["algorithm is missing"]);
    check(&key("id = \"k\", file = \"k.pub\", algorithm = \"HS256\""), 4, &["HS256", "is not one of", "EdDSA"]);
    check(&key("id = \"k\", file = \"k.pub\", algorithm = \"none\""), 4, &["is not one of"]);
    check(&key("id = \"k\", file = \"k.pub\", algorithm = \"EdDSA\", scop = \"x\""), 4, &["did you mean scope?"]);
    let same = "keys = [{ id = \"k\", file = \"k\", algorithm = \"EdDSA\" }, { id = \"k\", file = \"l\", algorithm = \"EdDSA\" }]";
    check(&source(&format!("file = \"a\"\n{same}")), 4, &["k is there twice"]);
}

#[test]
fn mistakes_in_the_policy_table_are_told_with_line_and_remedy() {
    check("[policy]\nshadow = \"some\"", 2, &["shadow", "off, sampled, all"]);
    check("[policy]\ntrial_inputs = 9999", 2, &["out of bounds", "from 10000"]);
    check("[policy]\nstale_after = \"721h\"", 2, &["out of bounds"]);
    check("[policy]\nsources = []", 2, &["did you mean source?"]);
    check("[policy]\ndevelopment = \"yes\"", 2, &["without quotes"]);
}

#[test]
fn unsigned_bundles_are_for_loopback_alone() {
    let unsigned = format!("[policy]\ndevelopment = true\n{}", source("file = \"a\""));
    assert_eq!(problems_at("127.0.0.1:8443", &unsigned), Vec::<String>::new());
    assert_eq!(problems_at("[::1]:8443", &unsigned), Vec::<String>::new());
    let empty = format!("[policy]\ndevelopment = true\n{}", source("file = \"a\"\nkeys = []"));
    assert_eq!(problems_at("127.0.0.1:8443", &empty), Vec::<String>::new());
    for listen in ["0.0.0.0:8443", "192.0.2.7:8443", "[::]:8443"] {
        check_at(listen, &unsigned, 2, &["nobody signed", "listen.partner", "loopback"]);
    }
    // What the environment says counts, not what it replaces.
    let text = format!("{LEAST}{unsigned}").replace("0.0.0.0:8443", "127.0.0.1:8443");
    let opened = super::variables(&[(LISTEN_PARTNER, "0.0.0.0:8443")]);
    let problems = parse_with(&text, "a.toml", opened).expect_err("opened by the environment");
    assert!(problems[0].what.contains("nobody signed"), "{problems:#?}");
}

#[test]
fn the_reference_shows_sources_of_each_kind() {
    let policy = parse(REFERENCE, "reference.toml").expect("the reference file").policy;
    assert_eq!(
        (policy.shadow, policy.trial_inputs, policy.development),
        (ShadowMode::Sampled, Policy::TRIAL_INPUTS, false)
    );
    assert_eq!(policy.stale_after, Some(Policy::STALE_AFTER));
    let [dfft, importer, house] = &policy.sources[..] else { panic!("{:?}", policy.sources) };
    let PolicyPlace::Url { url, anchors } = &dfft.place else { panic!("{dfft:?}") };
    assert_eq!((url.to_string().as_str(), url.target()), ("https://policies.example:443/dfft.tar.gz", "/dfft.tar.gz"));
    assert!(anchors.is_some());
    assert_eq!((dfft.poll, dfft.expect.as_deref()), (PolicySource::POLL, Some("dfft")));
    assert_eq!(dfft.owner.as_ref().map(|owner| owner.role.as_str()), Some("regulator"));
    assert_eq!((dfft.keys[0].algorithm.as_str(), dfft.keys[0].scope.as_deref()), ("EdDSA", Some("border")));
    assert!(matches!(&importer.place, PolicyPlace::File(file) if file.path == Path::new("policies/importer.tar.gz")));
    assert_eq!((importer.poll, importer.keys.len()), (Duration::from_secs(60), 1));
    assert!(matches!(&house.place, PolicyPlace::Directory(_)));
    let never = parse(&format!("{LEAST}[policy]\nstale_after = \"0s\"\n"), "a.toml").expect("a configuration").policy;
    assert_eq!(never.stale_after, None);
}
