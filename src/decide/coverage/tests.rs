//! What the cases do not reach is found; what they reach is not reported.

use std::path::Path;

use serde_json::json;

use super::*;

const POLICY: &str = r#"package t

default decision := {"decision": "permit", "reasons": [], "obligations": []}

decision := {"decision": "deny", "obligations": [], "reasons": reasons} if count(reasons) > 0

reasons := [finding | some finding in findings]

# METADATA
# title: "A-1: no marketing"
# custom:
#   rule: A-1
#   inputs: [purpose]
findings contains {"rule": "A-1", "effect": "deny", "why": "w", "remedy": "r"} if {
	input.purpose == "dpv:Marketing"
}

# METADATA
# title: "A-2: never planted"
# custom:
#   rule: A-2
#   inputs: [action]
findings contains {"rule": "A-2", "effect": "deny", "why": "w", "remedy": "r"} if {
	input.action == "train"
	planted(input.action)
}

planted(action) if {
	action != "never evaluated"
}
"#;

fn measured(rego: &str, cases: &Value) -> Coverage {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let manifest =
        json!({"revision": "1", "metadata": {"id": "t", "entrypoint": "t/decision", "inputs": ["purpose", "action"]}});
    std::fs::write(at(".manifest"), manifest.to_string()).unwrap();
    std::fs::write(at("t.rego"), rego).unwrap();
    std::fs::write(at("unused.rego"), "package unused\n\n# A comment.\nx := 1\n").unwrap();
    std::fs::create_dir(at("cases")).unwrap();
    std::fs::write(at("cases/all.json"), cases.to_string()).unwrap();
    coverage(&Bundle::read(directory.path()).unwrap()).unwrap()
}

fn case(id: &str, input: Value, decision: &str) -> Value {
    json!({"id": id, "input": input, "expect": {"decision": decision}})
}

#[test]
fn a_line_that_no_case_evaluates_is_found_and_a_case_finds_it() {
    let mut cases = vec![
        case("one", json!({"purpose": "dpv:Marketing", "action": "read"}), "deny"),
        case("two", json!({"purpose": "dpv:PublicBenefit", "action": "read"}), "permit"),
    ];
    let before = measured(POLICY, &json!(cases));
    let file = |coverage: &Coverage, path: &str| {
        let file = coverage.files.iter().find(|file| file.path == path).unwrap();
        file.uncovered.iter().map(|line| line.text.clone()).collect::<Vec<_>>()
    };
    assert!(file(&before, "t.rego").contains(&"action != \"never evaluated\"".to_owned()), "{before:?}");
    assert!(file(&before, "t.rego").iter().all(|text| !text.contains("Marketing")), "{before:?}");
    assert_eq!(file(&before, "unused.rego"), ["x := 1"]);
    let planted = before.rules.iter().find(|rule| rule.rule == "A-2").unwrap();
    assert_eq!((planted.fires, &planted.alone, &planted.boundary), (0, &None, &None));
    let marketing = before.rules.iter().find(|rule| rule.rule == "A-1").unwrap();
    assert_eq!((marketing.fires, marketing.alone.as_deref()), (1, Some("one")));
    assert_eq!(marketing.boundary, Some(["one".to_owned(), "two".to_owned()]));

    cases.push(case("three", json!({"purpose": "dpv:PublicBenefit", "action": "train"}), "deny"));
    let after = measured(POLICY, &json!(cases));
    assert_eq!(file(&after, "t.rego"), Vec::<String>::new());
    assert!(after.percent > before.percent && after.percent < 100.0, "{} then {}", before.percent, after.percent);
    assert_eq!(after.rules.iter().find(|rule| rule.rule == "A-2").unwrap().alone.as_deref(), Some("three"));
}

#[test]
fn the_reference_policys_cases_show_every_rule_and_its_boundary() {
    let bundle = Bundle::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/dfft")).unwrap();
    let found = coverage(&bundle).unwrap();
    assert_eq!(found.rules.len(), 26);
    let unseen: Vec<_> = found.rules.iter().filter(|rule| rule.fires == 0 || rule.boundary.is_none()).collect();
    assert!(unseen.is_empty(), "{unseen:#?}");
    assert!(found.percent > 95.0, "{:#?}", found.files);
}
