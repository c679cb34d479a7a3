//! What a bundle promises in its manifest, and how it is kept.

use serde_json::{Value, json};

use super::{checked, codes};

const MODULE: &str = "# METADATA\n# title: Decision\n# description: Permits.\n# entrypoint: true\npackage_line\ndecision := {\"decision\": \"permit\", \"reasons\": reasons, \"obligations\": []} if input.purpose\nreasons := sort({reason | some reason in found})\n\n# METADATA\n# title: One\n# description: No marketing.\n# custom:\n#   rule: A-1\n#   basis: None\n#   source: [X]\n#   remedy: Ask for something else.\n#   inputs: [purpose]\nfound contains {\"rule\": \"A-1\", \"effect\": \"deny\", \"why\": \"No.\", \"remedy\": \"None.\"} if input.purpose == \"dpv:Marketing\"\n";

fn module(changes: &[(&str, &str)]) -> String {
    let mut text = format!("package own\n{}", MODULE.replace("package_line\n", ""));
    for (before, after) in changes {
        assert!(text.contains(before), "{before} is not there to be changed");
        text = text.replace(before, after);
    }
    text
}

fn manifest(metadata: Value) -> Value {
    let mut all = json!({ "id": "own", "entrypoint": "own/decision", "inputs": ["purpose"] });
    all.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    json!({ "revision": "1", "rego_version": 1, "roots": ["own"], "metadata": all })
}

fn found(changes: &[(&str, &str)], metadata: Value) -> Vec<&'static str> {
    codes(&checked(&manifest(metadata), &module(changes), &json!({})))
}

#[test]
fn a_bundle_that_keeps_its_promises_has_no_findings() {
    let report = checked(&manifest(json!({})), &module(&[]), &json!({}));
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.verdict(), Ok(()));
}

#[test]
fn the_manifest_and_the_sources_agree() {
    assert_eq!(found(&[], json!({ "entrypoint": "own/other" }))[0], "entrypoint");
    assert_eq!(found(&[("input.purpose ==", "input.action ==")], json!({})), ["undeclared_input"]);
    assert_eq!(found(&[("input.purpose ==", "input.colour ==")], json!({})), ["undeclared_input"]);
    assert_eq!(found(&[], json!({ "inputs": ["purpose", "recipient.country"] })), ["inputs_disagree", "unread_input"]);
    assert_eq!(found(&[("[purpose]", "[purpose, at]")], json!({})), ["inputs_disagree"]);
    assert!(found(&[("package own", "package other")], json!({})).contains(&"outside_roots"));
    let twice = module(&[("found contains", "# METADATA\n# entrypoint: true\nfound contains")]);
    assert!(codes(&checked(&manifest(json!({})), &twice, &json!({}))).contains(&"entrypoint"));
    // Another version does not get as far: a bundle of one is not read.
    let mut silent = manifest(json!({}));
    silent["rego_version"] = Value::Null;
    assert!(codes(&checked(&silent, &module(&[]), &json!({}))).contains(&"rego_version"));
}

#[test]
fn unknown_tags_and_obligations_are_refused_with_their_line() {
    let with = |expr: &str| module(&[("\"obligations\": []", &format!("\"obligations\": [{expr}]"))]);
    let told = |expr: &str| {
        let report = checked(&manifest(json!({})), &with(expr), &json!({}));
        report.errors().map(|finding| (finding.line, finding.code)).collect::<Vec<_>>()
    };
    assert_eq!(told(r#"{"rule": "A-1", "do": "watermark"}"#), []);
    assert_eq!(told(r#"{"rule": "A-1", "do": "watermarks"}"#), [(6, "unknown_obligation")]);
    assert_eq!(told(r#"{"rule": "A-1", "do": "notify", "who": "privacy:health"}"#), []);
    assert_eq!(told(r#"{"rule": "A-1", "do": "notify", "who": "privacy:helth"}"#), [(6, "unknown_tag")]);
    // Through a function, too.
    let through = format!("{}\nduty(action) := {{\"rule\": \"A-1\", \"do\": action}}\n", with("duty(\"watermarks\")"));
    let report = checked(&manifest(json!({})), &through, &json!({}));
    assert_eq!(report.errors().map(|finding| finding.code).collect::<Vec<_>>(), ["unknown_obligation"]);
    assert!(report.verdict().unwrap_err().to_string().starts_with("policy.rego:6: "), "{:?}", report.verdict());
}

#[test]
fn a_set_in_the_decision_is_refused() {
    let report = checked(&manifest(json!({})), &module(&[("\"reasons\": reasons", "\"reasons\": found")]), &json!({}));
    assert!(report.errors().any(|finding| finding.code == "order"), "{:?}", report.findings);
}

#[test]
fn what_is_not_well_kept_is_warned_of() {
    let told = |changes: &[(&str, &str)]| found(changes, json!({}));
    assert_eq!(told(&[("rule: A-1", "rule: A-2")]), ["undescribed_rule"]);
    assert_eq!(told(&[("#   basis: None\n", "")]), ["incomplete_metadata"]);
    assert_eq!(told(&[("# title: Decision\n", "")]), ["undescribed_rule"]);
    assert_eq!(told(&[("reasons :=", "dead := 1\n\nreasons :=")]), ["dead_rule"]);
    assert_eq!(told(&[("some reason in found", "some reason in found; spare := 1")]), ["unused_variable"]);
    let facts = json!({ "own": { "facts": { "fresh": { "review_by": "2026-11-21" }, "stale": { "review_by": "2026-11-20" } } } });
    let report = checked(&manifest(json!({})), &module(&[]), &facts);
    assert_eq!(codes(&report), ["past_review"]);
    assert!(report.findings[0].text.contains("data.own.facts.stale"), "{:?}", report.findings);
    assert_eq!(report.verdict(), Ok(()));
}

#[test]
fn the_reference_policy_has_no_findings() {
    let report = super::check(&crate::decide::Bundle::built_in().unwrap(), Some("2026-11-21"));
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
