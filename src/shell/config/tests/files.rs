//! Files that are not what the configuration says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::{Problem, RECORD_DIRECTORY, Resolved, load};
use super::variables;
use crate::shell::certs::{DevOptions, dev};
use crate::types::Timestamp;

const CONFIGURATION: &str = r#"[party]
id = "kansai.example"
country = "JP"
type = "company"
[listen]
partner = "127.0.0.1:0"
admin = "127.0.0.1:0"
[tls]
certificate = "gateway.pem"
key = "gateway.key"
[admin]
anchors = "ca.pem"
[passes]
key = "pass.key"
[record]
directory = "log"
key = "log.key"
[policy]
directory = "rules"
[pseudonyms]
key = "pseudonym.key"
id = "2026-a"
[state]
directory = "state"
[[partner]]
id = "wessex.example"
country = "GB"
type = "academia"
anchors = "wessex/ca.pem"
jwks = "wessex/jwks.json"
"#;

/// A directory with a sound configuration, and everything it names.
fn sound() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    for (directory, party) in [(".", "kansai.example"), ("wessex", "wessex.example")] {
        let options = DevOptions {
            directory: place.path().join(directory),
            party: party.parse().expect("a party id"),
            valid_from: Timestamp::from_seconds(1_795_219_200),
            dns: Vec::new(),
            addresses: Vec::new(),
            force: false,
        };
        dev(&options).expect("an identity");
    }
    fs::create_dir(place.path().join("rules")).expect("a directory");
    fs::write(place.path().join("sekisho.toml"), CONFIGURATION).expect("a file");
    place
}

fn resolve(place: &Path) -> Result<Resolved, Vec<Problem>> {
    load(&place.join("sekisho.toml"), [])
}

/// After the change there is exactly one problem, on this line, with all of these words.
fn check(change: impl FnOnce(&Path), line: usize, words: &[&str]) {
    let place = sound();
    change(place.path());
    let problems = resolve(place.path()).map(|_| ()).expect_err(words[0]);
    let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert_eq!((told.len(), problems[0].line), (1, line), "{told:#?}");
    assert!(problems[0].file.ends_with("sekisho.toml"), "{told:#?}");
    for word in words {
        assert!(told[0].contains(word), "expected {word:?}: {told:#?}");
    }
}

fn write(name: &'static str, text: &str) -> impl FnOnce(&Path) {
    let text = text.to_owned();
    // Written into the file that is there, so that its mode stays.
    move |place| fs::write(place.join(name), text).expect("a file")
}

fn copy(from: &'static str, to: &'static str) -> impl FnOnce(&Path) {
    move |place| {
        let bytes = fs::read(place.join(from)).expect("a file");
        fs::write(place.join(to), bytes).expect("a file");
    }
}

fn remove(name: &'static str) -> impl FnOnce(&Path) {
    move |place| fs::remove_file(place.join(name)).expect("a file to remove")
}

fn mode(name: &'static str, mode: u32) -> impl FnOnce(&Path) {
    move |place| fs::set_permissions(place.join(name), fs::Permissions::from_mode(mode)).expect("a mode")
}

#[test]
fn a_sound_configuration_is_in_memory_whole() {
    let place = sound();
    let resolved = resolve(place.path()).expect("no problems");
    let read = |name: &str| fs::read(place.path().join(name)).expect("a file");
    assert_eq!(resolved.tls_certificate, read("gateway.pem"));
    assert_eq!(resolved.tls_key.expose(), read("gateway.key"));
    assert_eq!(resolved.admin_anchors, Some(read("ca.pem")));
    assert_eq!(resolved.pass_key.expose(), read("pass.key"));
    assert_eq!(resolved.record_key.expose(), read("log.key"));
    assert_eq!(resolved.pseudonym_key.as_ref().map(|key| key.expose().len()), Some(32));
    assert_eq!(resolved.partners[0].anchors, read("wessex/ca.pem"));
    assert_eq!(resolved.partners[0].jwks, read("wessex/jwks.json"));
    assert_eq!(resolved.record_directory, place.path().join("log"));
    assert_eq!(resolved.policy_directory, Some(place.path().join("rules")));
    assert_eq!(resolved.state_directory, place.path().join("state"));
    // Nothing was made, and nothing secret is shown.
    assert!(!resolved.record_directory.exists());
    assert!(!format!("{resolved:?}").contains("PRIVATE"));

    let elsewhere = variables(&[(RECORD_DIRECTORY, "/srv/log")]);
    let resolved = load(&place.path().join("sekisho.toml"), elsewhere).expect("no problems");
    assert_eq!(resolved.record_directory, Path::new("/srv/log"));
}

#[test]
fn a_private_key_open_to_others_is_a_problem() {
    check(mode("gateway.key", 0o640), 10, &["[tls] key", "mode 0640", "chmod 600"]);
    check(mode("pass.key", 0o604), 14, &["[passes] key", "mode 0604"]);
    check(mode("log.key", 0o610), 17, &["[record] key", "secret"]);
    check(mode("pseudonym.key", 0o644), 21, &["[pseudonyms] key", "group or others"]);
    let place = sound();
    mode("pass.key", 0o400)(place.path());
    assert!(resolve(place.path()).is_ok(), "a key that nobody may write is fine");
}

#[test]
fn files_that_are_absent_or_no_files_are_told_where_they_are_named() {
    check(remove("gateway.pem"), 9, &["[tls] certificate", "does not exist", "looked for"]);
    check(remove("wessex/jwks.json"), 30, &["[[partner]] wessex.example jwks", "does not exist"]);
    let directory = |place: &Path| {
        fs::remove_file(place.join("ca.pem")).expect("a file to remove");
        fs::create_dir(place.join("ca.pem")).expect("a directory");
    };
    check(directory, 12, &["not a regular file"]);
    check(write("ca.pem", &"x".repeat(1024 * 1024 + 1)), 12, &["larger than 1 MiB"]);
    check(
        |place| fs::remove_dir(place.join("rules")).expect("a directory"),
        19,
        &["[policy] directory", "does not exist"],
    );
    check(|place| fs::write(place.join("log"), "").expect("a file"), 16, &["[record] directory", "is not a directory"]);
}

#[test]
fn certificates_and_keys_must_be_what_they_are_named_for() {
    check(write("gateway.pem", "nothing"), 9, &["holds no certificate"]);
    check(
        write("gateway.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
        9,
        &["X.509", "1 of 1"],
    );
    check(write("gateway.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n"), 9, &["not valid PEM"]);
    check(copy("ca.pem", "gateway.pem"), 9, &["starts with an authority's certificate", "leaf first"]);
    check(copy("gateway.key", "gateway.pem"), 9, &["private key beside certificates"]);
    check(copy("gateway.pem", "ca.pem"), 12, &["[admin] anchors", "CA:TRUE"]);
    check(copy("gateway.pem", "wessex/ca.pem"), 29, &["[[partner]] wessex.example anchors", "CA:TRUE"]);
    check(copy("officer.key", "gateway.key"), 10, &["does not belong to the first certificate of gateway.pem"]);
    check(copy("ca.pem", "gateway.key"), 10, &["no PEM private key"]);
    check(copy("gateway.key", "pass.key"), 14, &["Ed25519", "certs dev"]);
    check(copy("pass.key", "log.key"), 17, &["also signs passes"]);
    check(write("pseudonym.key", "5f5f"), 21, &["64 hexadecimal digits", "openssl rand"]);
    check(write("pseudonym.key", &"00".repeat(32)), 21, &["no secret"]);
}

#[test]
fn key_sets_must_verify_and_hold_no_secret() {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let ed = |rest: &str| format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}"{rest}}}"#);
    let set = |keys: &[String]| format!(r#"{{"keys": [{}]}}"#, keys.join(","));
    check(write("wessex/jwks.json", "{"), 30, &["is not JSON", "/.well-known/jwks.json"]);
    check(write("wessex/jwks.json", "[]"), 30, &["no array \"keys\""]);
    check(write("wessex/jwks.json", r#"{"keys": []}"#), 30, &["no Ed25519 or P-256 key"]);
    check(write("wessex/jwks.json", &set(&[ed("")])), 30, &["without \"kid\""]);
    check(write("wessex/jwks.json", &set(&[ed(r#", "kid": "a""#), ed(r#", "kid": "a""#)])), 30, &["one \"kid\""]);
    check(write("wessex/jwks.json", &set(&[ed(r#", "kid": "a", "d": "AA""#)])), 30, &["private", "disclosed"]);
    check(
        write("wessex/jwks.json", &set(&[r#"{"kid": "a", "kty": "oct", "k": "AA"}"#.to_owned()])),
        30,
        &["symmetric"],
    );
    check(write("wessex/jwks.json", &set(&[ed(r#", "kid": "a""#).replace(x, "AA")])), 30, &["no Ed25519 or P-256 key"]);
    check(write("wessex/jwks.json", &set(&[ed(r#", "kid": "a", "exp": "soon""#)])), 30, &["\"exp\" is not seconds"]);
    let place = sound();
    let p256 = format!(r#"{{"kid": "a", "kty": "EC", "crv": "P-256", "x": "{x}", "y": "{x}"}}"#);
    write("wessex/jwks.json", &set(&[p256]))(place.path());
    assert!(resolve(place.path()).is_ok(), "a P-256 key verifies ES256");
}

#[test]
fn retired_keys_tell_their_end_and_sign_no_more() {
    let retired = |place: &Path, set: &str| {
        let text = CONFIGURATION.replace("key = \"pass.key\"", "key = \"pass.key\"\nretired = \"retired.json\"");
        fs::write(place.join("sekisho.toml"), text).expect("a file");
        fs::write(place.join("retired.json"), set).expect("a file");
        resolve(place)
    };
    let with_end = |name: &str, place: &Path| {
        let set = fs::read_to_string(place.join(name)).expect("a key set");
        set.replace("\"kty\"", "\"exp\": 1795251600, \"kty\"")
    };
    let place = sound();
    // Somebody's key that is not the one that signs.
    let set = with_end("wessex/jwks.json", place.path());
    let resolved = retired(place.path(), &set).expect("no problems");
    assert_eq!(resolved.retired_keys.as_deref(), Some(set.as_bytes()));
    let own = fs::read_to_string(place.path().join("jwks.json")).expect("a key set");
    let now = with_end("jwks.json", place.path());
    for (set, told) in [(own.as_str(), "without \"exp\""), (&now, "signs passes now"), ("{}", "no array \"keys\"")] {
        let problems = retired(place.path(), set).map(|_| ()).expect_err("one problem");
        assert_eq!((problems.len(), problems[0].line), (1, 15), "{problems:#?}");
        assert!(problems[0].what.contains("[passes] retired") && problems[0].what.contains(told), "{problems:#?}");
    }
}

#[test]
fn problems_of_text_and_files_are_told_together() {
    let place = sound();
    let text = CONFIGURATION.replace("country = \"GB\"", "country = \"UK\"");
    fs::write(place.path().join("sekisho.toml"), text).expect("a file");
    remove("gateway.pem")(place.path());
    mode("log.key", 0o644)(place.path());
    let problems = load(&place.path().join("sekisho.toml"), variables(&[("SEKISHO_LISTEN_LOCAL", "a")]))
        .map(|_| ())
        .expect_err("four problems");
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [9, 17, 27, 0], "{problems:#?}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_one_problem() {
    let place = tempfile::tempdir().expect("a directory");
    let told = |name: &str| {
        let problems = load(&place.path().join(name), []).map(|_| ()).expect_err("unreadable");
        (problems.len(), problems[0].line, problems[0].what.clone())
    };
    assert!(matches!(told("absent.toml"), (1, 0, what) if what.contains("cannot be read")));
    fs::write(place.path().join("latin.toml"), b"title = \"caf\xe9\"\n").expect("a file");
    assert!(matches!(told("latin.toml"), (1, 0, what) if what.contains("UTF-8")));
}
