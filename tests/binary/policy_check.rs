//! `policy check`: what it prints, and what it exits with.

use serde_json::{Value, json};

use crate::site::{sekisho, stderr, stdout, write_policy};

fn reference() -> String {
    format!("{}/policies/dfft", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_reference_policy_passes_until_its_facts_are_past_review() {
    let fresh = sekisho(["policy", "check", &reference(), "--strict", "--at", "2026-11-21"]);
    assert_eq!(fresh.status.code(), Some(0), "{}{}", stdout(&fresh), stderr(&fresh));
    assert!(stdout(&fresh).ends_with(": 0 errors, 0 warnings\n"), "{}", stdout(&fresh));

    let stale = sekisho(["policy", "check", &reference(), "--at", "2027-02-20", "--json"]);
    assert_eq!(stale.status.code(), Some(0), "warnings alone fail nothing");
    let report: Value = serde_json::from_str(stdout(&stale)).unwrap();
    assert_eq!((&report["ok"], &report["errors"]), (&json!(true), &json!(0)));
    assert!(report["warnings"].as_u64().unwrap() > 0);
    assert_eq!(report["findings"][0]["code"], "past_review");
    let strict = sekisho(["policy", "check", &reference(), "--at", "2027-02-20", "--strict"]);
    assert_eq!(strict.status.code(), Some(1));
}

#[test]
fn findings_have_file_line_and_code() {
    let directory = tempfile::tempdir().unwrap();
    write_policy(directory.path());
    let path = directory.path().to_str().unwrap();
    let source = directory.path().join("small.rego");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, format!("{text}\nclock := time.now_ns()\n")).unwrap();
    let line = text.lines().count() + 2;
    let checked = sekisho(["policy", "check", path]);
    assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
    let expected = format!("small.rego:{line}: error builtin: time.now_ns is not allowed: ");
    assert!(stdout(&checked).contains(&expected), "{}", stdout(&checked));

    std::fs::write(&source, format!("package small\nx := {}1{}\n", "[".repeat(40), "]".repeat(40))).unwrap();
    let nested = sekisho(["policy", "check", path]);
    assert_eq!(nested.status.code(), Some(1));
    assert!(stdout(&nested).contains("small.rego:2: error nested_too_deeply: "), "{}", stdout(&nested));
}

#[test]
fn a_case_that_does_not_hold_and_a_broken_manifest_fail() {
    let directory = tempfile::tempdir().unwrap();
    write_policy(directory.path());
    let path = directory.path().to_str().unwrap();
    std::fs::create_dir(directory.path().join("cases")).unwrap();
    let case = json!([{ "id": "wrong", "input": { "purpose": "dpv:Marketing" }, "expect": { "decision": "review" } }]);
    std::fs::write(directory.path().join("cases/all.json"), case.to_string()).unwrap();
    let checked = sekisho(["policy", "check", path]);
    assert_eq!(checked.status.code(), Some(1), "{}", stdout(&checked));
    assert!(stdout(&checked).contains("error case_fails: wrong: "), "{}", stdout(&checked));

    std::fs::write(directory.path().join(".manifest"), "{").unwrap();
    let broken = sekisho(["policy", "check", path]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(stdout(&broken).contains(".manifest:1: "), "{}", stdout(&broken));
    let nowhere = sekisho(["policy", "check", "no-such-directory"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert_eq!(stdout(&nowhere), "");
}

#[test]
fn the_allowed_builtins_are_listed_with_their_reasons() {
    let listed = sekisho(["policy", "check", "--builtins"]);
    assert_eq!(listed.status.code(), Some(0));
    assert!(stdout(&listed).contains("startswith (2 arguments): "), "{}", stdout(&listed));
    assert!(!stdout(&listed).contains("http.send"));
}
