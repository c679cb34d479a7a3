//! `policy eval`, `policy explain` and `policy test`, on the reference policy and on a small one.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::site::{SEKISHO, sekisho, stderr, stdout, write_policy};

fn reference() -> String {
    format!("{}/policies/dfft", env!("CARGO_MANIFEST_DIR"))
}

/// Open data to a partner, on the day on which the facts were reviewed.
fn open_data() -> Value {
    json!({
        "at": "2026-11-21",
        "action": "transfer",
        "purpose": "dfft:DisasterResponse",
        "dataset": {
            "id": "usgs-earthquakes", "origin": "US", "licence": "LicenseRef-US-PD",
            "purposes": ["dfft:DisasterResponse"], "tags": ["privacy:none", "ip:open", "security:tlp-clear"],
        },
        "recipient": {
            "party": "wessex.example", "country": "GB", "type": "academia",
            "membership": "active", "framework": "IAP-FA:1.0",
        },
        "legal": {},
    })
}

fn with(mut input: Value, pointer: &str, value: Value) -> Value {
    *input.pointer_mut(pointer).unwrap() = value;
    input
}

fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn one_input_gives_one_decision() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory.path().join("input.json"), &open_data().to_string());
    let built_in = sekisho(["policy", "eval", "--input", &file]);
    let from_source = sekisho(["policy", "eval", "--policy", &reference(), "--input", &file]);
    assert_eq!(built_in.status.code(), Some(0), "{}", stderr(&built_in));
    assert_eq!(stdout(&built_in), stdout(&from_source), "the binary holds another policy than the source");
    let decision: Value = serde_json::from_str(stdout(&built_in)).unwrap();
    assert_eq!(decision["decision"], "permit");
    assert_eq!(decision["reasons"], json!([]));
    assert_eq!(decision["policy"]["id"], "dfft");
    assert!(decision["policy"]["digest"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn many_inputs_give_a_decision_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let inputs = [
        open_data(),
        with(open_data(), "/recipient/country", json!("KP")),
        with(open_data(), "/dataset/tags", json!(["privacy:none", "ip:open", "security:emerging=7"])),
    ];
    let inputs = [inputs[0].clone(), inputs[1].clone(), with(inputs[2].clone(), "/recipient/country", json!("IN"))];
    let lines: String = inputs.iter().map(|input| format!("{input}\n")).collect();
    let array = write(&directory.path().join("inputs.json"), &json!(inputs).to_string());
    let ndjson = write(&directory.path().join("inputs.ndjson"), &lines);
    let (array, ndjson) =
        (sekisho(["policy", "eval", "--inputs", &array]), sekisho(["policy", "eval", "--inputs", &ndjson]));
    assert_eq!(array.status.code(), Some(0), "{}", stderr(&array));
    assert_eq!(stdout(&array), stdout(&ndjson));
    let decisions: Vec<Value> = stdout(&array).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        decisions.iter().map(|decision| (&decision["decision"], &decision["reasons"][0]["rule"])).collect();
    assert_eq!(json!(told), json!([["permit", null], ["deny", "DFFT-S1"], ["review", "DFFT-S10"]]),);

    let mut child = Command::new(SEKISHO)
        .args(["policy", "eval", "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(inputs[1].to_string().as_bytes()).unwrap();
    let piped = child.wait_with_output().unwrap();
    assert_eq!(stdout(&piped).trim_end(), stdout(&array).lines().nth(1).unwrap());
}

#[test]
fn no_decision_is_a_denial_and_no_input_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy");
    write_policy(&policy);
    let policy = policy.to_str().unwrap();
    let silent = write(&directory.path().join("silent.json"), "{}");
    let undefined = sekisho(["policy", "eval", "--policy", policy, "--input", &silent]);
    assert_eq!(undefined.status.code(), Some(0), "{}", stderr(&undefined));
    let decision: Value = serde_json::from_str(stdout(&undefined)).unwrap();
    assert_eq!(decision["decision"], "deny");
    assert_eq!(decision["code"], "policy_undefined");
    assert_eq!(decision["policy"]["id"], "small");

    let not_json = write(&directory.path().join("broken.json"), "{\"purpose\":");
    let missing = directory.path().join("missing.json");
    for input in [not_json.as_str(), missing.to_str().unwrap()] {
        let failed = sekisho(["policy", "eval", "--policy", policy, "--input", input]);
        assert_eq!(failed.status.code(), Some(2));
        assert_eq!(stdout(&failed), "");
        assert!(stderr(&failed).contains(input), "{}", stderr(&failed));
    }
    std::fs::write(Path::new(policy).join("small.rego"), "package small\ndecision := {").unwrap();
    let broken = sekisho(["policy", "eval", "--policy", policy, "--input", &silent]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(stderr(&broken).contains("small.rego"), "{}", stderr(&broken));
}

#[test]
fn the_reference_policys_cases_hold() {
    let tested = sekisho(["policy", "test", &reference(), "--json"]);
    assert_eq!(tested.status.code(), Some(0), "{}{}", stdout(&tested), stderr(&tested));
    let report: Value = serde_json::from_str(stdout(&tested)).unwrap();
    assert_eq!(report["failed"], 0);
    assert!(report["passed"].as_u64().unwrap() > 0);
    let told = sekisho(["policy", "test", &reference()]);
    assert_eq!(told.status.code(), Some(0));
    assert!(stdout(&told).contains(&format!("{} cases hold, 0 do not", report["passed"])), "{}", stdout(&told));
}

#[test]
fn a_case_that_does_not_hold_is_told() {
    let directory = tempfile::tempdir().unwrap();
    write_policy(directory.path());
    let path = directory.path().to_str().unwrap();
    assert_eq!(sekisho(["policy", "test", path]).status.code(), Some(2), "no cases are no success");
    let case = |id: &str, purpose: &str| json!({ "id": id, "title": id, "input": { "purpose": purpose }, "expect": { "decision": "permit" } });
    std::fs::create_dir(directory.path().join("cases")).unwrap();
    let cases = json!([case("holds", "dpv:ScientificResearch"), case("breaks", "dpv:Marketing")]);
    write(&directory.path().join("cases/all.json"), &cases.to_string());
    let tested = sekisho(["policy", "test", path]);
    assert_eq!(tested.status.code(), Some(1));
    assert!(stdout(&tested).contains("breaks"), "{}", stdout(&tested));
    assert!(stdout(&tested).contains("expected permit, decided deny"), "{}", stdout(&tested));
    assert!(stdout(&tested).contains("1 cases hold, 1 do not"), "{}", stdout(&tested));
}

/// Customers' data of the EEA to a country without adequacy, and nothing on file.
fn personal_data() -> Value {
    let input = with(open_data(), "/dataset/tags", json!(["privacy:personal", "ip:open", "security:tlp-green"]));
    let input = with(input, "/dataset/origin", json!("FR"));
    with(input, "/recipient/country", json!("IN"))
}

#[test]
fn a_denial_is_explained_in_words_and_as_json() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory.path().join("input.json"), &personal_data().to_string());
    let told = sekisho(["policy", "explain", "--policy", &reference(), "--input", &file]);
    assert_eq!(told.status.code(), Some(1), "{}", stderr(&told));
    for words in [
        "DENY  (policy dfft, revision ",
        "DFFT-P1  personal data from the EEA",
        "Law: GDPR Arts. 44-46",
        "See: GDPR <https://eur-lex.europa.eu/eli/reg/2016/679/oj>",
        "recipient.country = \"IN\"",
        "legal.mechanism not stated",
        "not eea_safeguarded (privacy.rego:",
        "permitted if it were the case that legal.mechanism were \"",
        "and legal.tia were true (a paper on file)",
        "Rules that did not fire",
        "it is not so that",
    ] {
        assert!(stdout(&told).contains(words), "{words:?} is not in\n{}", stdout(&told));
    }

    let told = sekisho(["policy", "explain", "--input", &file, "--json"]);
    assert_eq!(told.status.code(), Some(1), "{}", stderr(&told));
    let explanation: Value = serde_json::from_str(stdout(&told)).unwrap();
    assert_eq!(explanation["decision"]["decision"], "deny");
    assert_eq!(explanation["rules"].as_array().unwrap().len(), 26);
    // What is told is true: the decision on the changed input is a permit.
    let changes = explanation["permitted_if"][0]["changes"].as_array().unwrap();
    let mut changed = personal_data();
    for change in changes {
        let (section, member) = change["path"].as_str().unwrap().split_once('.').unwrap();
        changed[section][member] = change["to"].clone();
    }
    let file = write(&directory.path().join("changed.json"), &changed.to_string());
    let decided = sekisho(["policy", "eval", "--input", &file]);
    assert_eq!(serde_json::from_str::<Value>(stdout(&decided)).unwrap()["decision"], "permit");
    let permitted = sekisho(["policy", "explain", "--input", &file]);
    assert_eq!(permitted.status.code(), Some(0));
    assert!(!stdout(&permitted).contains("What would permit it"), "{}", stdout(&permitted));

    let archive = sekisho(["policy", "explain", "--policy", &file, "--input", &file]);
    assert_eq!((archive.status.code(), stdout(&archive)), (Some(2), ""));
    assert!(stderr(&archive).contains("no whole gzip file"), "{}", stderr(&archive));
    let coverage = sekisho(["policy", "test", "--coverage", &file]);
    assert_eq!(coverage.status.code(), Some(2));
    assert!(stderr(&coverage).contains("as a directory"), "{}", stderr(&coverage));
}

#[test]
fn coverage_tells_lines_and_rules_that_no_case_reaches() {
    let told = sekisho(["policy", "test", &reference(), "--coverage"]);
    assert_eq!(told.status.code(), Some(0), "{}{}", stdout(&told), stderr(&told));
    assert!(
        stdout(&told).contains("% of all lines") && stdout(&told).contains("DFFT-S10 emerging technology: fires in")
    );

    let directory = tempfile::tempdir().unwrap();
    write_policy(directory.path());
    let path = directory.path().to_str().unwrap();
    let rego = std::fs::read_to_string(directory.path().join("small.rego")).unwrap();
    let planted = "\n# METADATA\n# title: Planted\n# custom:\n#   rule: X-1\nplanted contains \"X-1\" if input.purpose == \"never\"\n";
    write(&directory.path().join("small.rego"), &format!("{rego}{planted}"));
    std::fs::create_dir(directory.path().join("cases")).unwrap();
    let case =
        json!([{ "id": "a", "input": { "purpose": "dpv:ScientificResearch" }, "expect": { "decision": "permit" } }]);
    write(&directory.path().join("cases/all.json"), &case.to_string());
    assert_eq!(sekisho(["policy", "test", path]).status.code(), Some(0));
    let told = sekisho(["policy", "test", path, "--coverage"]);
    assert_eq!(told.status.code(), Some(1), "{}", stderr(&told));
    assert!(stdout(&told).contains("X-1 Planted: no case shows it"), "{}", stdout(&told));
    assert!(stdout(&told).contains("planted contains \"X-1\" if input.purpose == \"never\""), "{}", stdout(&told));
    let told = sekisho(["policy", "test", path, "--coverage", "--json"]);
    let report: Value = serde_json::from_str(stdout(&told)).unwrap();
    assert_eq!(report["coverage"]["rules"][0]["fires"], 0);
}
