//! What a policy may do wrong, and that none of it permits.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};

use super::*;
use crate::types::{DatasetId, Digest, Facts, PartyId, Purpose, Timestamp};

const MANIFEST: &str = r#"{"revision": "1", "metadata": {"id": "t", "entrypoint": "t/decision", "inputs": []}}"#;

fn bundle(rego: &str) -> (tempfile::TempDir, Result<Bundle, DecideError>) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(".manifest"), MANIFEST).unwrap();
    fs::write(directory.path().join("t.rego"), rego).unwrap();
    let read = Bundle::read(directory.path());
    (directory, read)
}

fn policy(rego: &str) -> Policy {
    Policy::compile(&bundle(rego).1.unwrap(), Duration::from_millis(50)).unwrap()
}

/// The verdict on an input, or the code of why there is none.
fn verdict(rego: &str, input: &str) -> Result<Verdict, &'static str> {
    policy(rego).evaluate(input).map(|decision| decision.verdict()).map_err(|error| error.code())
}

#[test]
fn the_policy_in_the_binary_is_the_one_in_the_directory() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/dfft");
    let read = Bundle::read(&directory).unwrap();
    assert_eq!(Bundle::built_in().unwrap().identity(), read.identity());
}

#[test]
fn every_case_of_the_reference_policy_holds() {
    let bundle = Bundle::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/dfft")).unwrap();
    let policy = Policy::compile(&bundle, Duration::from_secs(1)).unwrap();
    let outcomes = run_cases(&bundle, &policy, CASES_PATIENCE).unwrap();
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).collect();
    assert!(outcomes.len() > 300, "only {} cases", outcomes.len());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn cases_are_bounded_in_number_and_time() {
    let with = |counts: &[usize]| {
        let file = |path: String, text: String| BundleFile { path, text };
        let mut files = vec![
            file(".manifest".to_owned(), MANIFEST.to_owned()),
            file("t.rego".to_owned(), "package t\ndecision := {}".to_owned()),
        ];
        let case = json!({ "id": "a", "input": {}, "expect": { "decision": "permit" } });
        files.extend(counts.iter().enumerate().map(|(number, count)| {
            file(format!("cases/{number}.json"), serde_json::Value::from(vec![case.clone(); *count]).to_string())
        }));
        Bundle::from_files(files).unwrap()
    };
    let read = |counts: &[usize]| cases::read_cases(&with(counts)).map(|cases| cases.len()).map_err(|e| e.code());
    assert_eq!(read(&[CASES - 1, 1]), Ok(CASES));
    assert_eq!(read(&[CASES - 1, 2]), Err("bundle_too_large"));
    let run = |count: usize, patience| {
        let bundle = with(&[count]);
        let policy = Policy::interpret(&bundle, Duration::from_secs(1)).unwrap();
        run_cases(&bundle, &policy, patience).map(|outcomes| outcomes.len()).map_err(|error| error.code())
    };
    assert_eq!(run(2, CASES_PATIENCE), Ok(2));
    assert_eq!(run(1, Duration::ZERO), Err("bundle_untried"));
    assert_eq!(run(CASES + 1, CASES_PATIENCE), Err("bundle_too_large"));
}

#[test]
fn what_is_no_decision_is_never_a_permit() {
    let document = |text: &str| format!("package t\ndecision := {text}");
    let reason = r#"{"rule": "R", "effect": "deny", "why": "w", "remedy": "r"}"#;
    for (text, expected) in [
        (r#"{"decision": "permit", "reasons": [], "obligations": []}"#.to_owned(), Ok(Verdict::Permit)),
        (format!(r#"{{"decision": "deny", "reasons": [{reason}], "obligations": []}}"#), Ok(Verdict::Deny)),
        // A permit against a reason, a denial without one, and a review on a reason to deny.
        (format!(r#"{{"decision": "permit", "reasons": [{reason}], "obligations": []}}"#), Err("policy_malformed")),
        (r#"{"decision": "deny", "reasons": [], "obligations": []}"#.to_owned(), Err("policy_malformed")),
        (format!(r#"{{"decision": "review", "reasons": [{reason}], "obligations": []}}"#), Err("policy_malformed")),
        // Other shapes.
        (r#"{"decision": "allow", "reasons": [], "obligations": []}"#.to_owned(), Err("policy_malformed")),
        (r#"{"decision": "permit", "reasons": []}"#.to_owned(), Err("policy_malformed")),
        (
            r#"{"decision": "permit", "reasons": [], "obligations": [{"rule": "R"}]}"#.to_owned(),
            Err("policy_malformed"),
        ),
        ("true".to_owned(), Err("policy_malformed")),
        ("[]".to_owned(), Err("policy_malformed")),
    ] {
        assert_eq!(verdict(&document(&text), "{}"), expected, "{text}");
    }
}

#[test]
fn undefined_failed_and_endless_evaluations_refuse() {
    let permit = r#"{"decision": "permit", "reasons": [], "obligations": []}"#;
    let undefined = format!("package t\ndecision := {permit} if input.x == 1");
    assert_eq!(verdict(&undefined, r#"{"x": 1}"#), Ok(Verdict::Permit));
    assert_eq!(verdict(&undefined, "{}"), Err("policy_undefined"));
    let failing = format!("package t\ndecision := {permit} if to_number(input.x) == 1");
    assert_eq!(verdict(&failing, r#"{"x": "one"}"#), Err("policy_failed"));
    let endless = format!(
        "package t\nn := numbers.range(1, 2000)\ndecision := {permit} if {{ input.x; count([1 | some a in n; some b in n; a + b > 0]) > 0 }}"
    );
    let started = std::time::Instant::now();
    assert_eq!(verdict(&endless, r#"{"x": true}"#), Err("policy_overrun"));
    assert!(started.elapsed() < Duration::from_secs(20), "the budget of 50 ms did not hold");
}

#[test]
fn a_bundle_that_does_not_compile_says_where() {
    let (_directory, read) = bundle("package t\ndecision := {");
    let error = Policy::compile(&read.unwrap(), BUDGET).err().unwrap().to_string();
    assert!(error.contains("t.rego"), "{error}");
    let (_directory, read) = bundle("package other\nx := 1");
    let error = Policy::compile(&read.unwrap(), BUDGET).err().unwrap();
    assert_eq!(error.code(), "policy_unusable");
    assert!(error.to_string().contains("t/decision"), "{error}");
    assert_eq!(Bundle::read(Path::new("/nowhere")).err().map(|error| error.code()), Some("policy_unusable"));
}

#[test]
fn a_broken_engine_is_not_used_again() {
    let permit = r#"{"decision": "permit", "reasons": [], "obligations": []}"#;
    let policy = policy(&format!("package t\ndecision := {permit} if to_number(input.x) == 1"));
    for _ in 0..3 {
        assert!(policy.evaluate(r#"{"x": "one"}"#).is_err());
        assert_eq!(policy.evaluate(r#"{"x": "1"}"#).map(|decision| decision.verdict()), Ok(Verdict::Permit));
    }
}

/// A question whose parts the test owns.
struct Asked {
    dataset: Dataset,
    purpose: Purpose,
    party: PartyId,
    facts: Facts,
}

impl Asked {
    fn new() -> Self {
        let id: DatasetId = "set".parse().unwrap();
        Self {
            dataset: Dataset::new(id, vec!["privacy:none".parse().unwrap()], Map::new()),
            purpose: "dpv:Marketing".parse().unwrap(),
            party: "wessex.example".parse().unwrap(),
            facts: Facts::new(json!({"party": "wessex.example", "clearance": false}).as_object().unwrap().clone()),
        }
    }

    fn question<'a>(&'a self, person: &'a Map<String, serde_json::Value>, path: &'a str) -> Question<'a> {
        Question {
            at: Timestamp::from_seconds(1_795_219_200),
            direction: Direction::Export,
            dataset: &self.dataset,
            purpose: &self.purpose,
            action: "transfer",
            counterparty: &self.party,
            counterparty_facts: &self.facts,
            our_facts: &self.facts,
            agreement: None,
            person: Some(person),
            method: "GET",
            path,
        }
    }
}

#[test]
fn an_input_is_json_and_a_pass_only_adds_what_it_may() {
    let asked = Asked::new();
    let person = json!({
        "clearance": {"conforming_operator": true},
        "specific_category": {"n": 2, "country": "CN"},
        "sanctioned": false,
        "agreement": true,
    });
    let (input, digest) = asked.question(person.as_object().unwrap(), "/a\"b\\c").input(&Reads::everything());
    let input: serde_json::Value = serde_json::from_slice(&input).unwrap();
    assert_eq!(
        input,
        json!({
            "action": "transfer",
            "at": "2026-11-21T00:00:00Z",
            "channel": {"direction": "export"},
            "dataset": {"id": "set", "tags": ["privacy:none"]},
            "purpose": "dpv:Marketing",
            "recipient": {
                "party": "wessex.example",
                "clearance": false,
                "specific_category": {"n": 2, "country": "CN"},
            },
            "request": {"method": "GET", "path": "/a\"b\\c"},
        })
    );
    let (_, same) = asked.question(person.as_object().unwrap(), "/a\"b\\c").input(&Reads::everything());
    let (_, other) = asked.question(person.as_object().unwrap(), "/a").input(&Reads::everything());
    assert_eq!(digest, same);
    assert_ne!(digest, other);
}

#[test]
fn an_approval_lifts_only_what_it_names_while_it_lasts() {
    let asked = Asked::new();
    let person = Map::new();
    let question = asked.question(&person, "/");
    let reason = |rule: &str, approvers: &str| {
        format!(r#"{{"rule": "{rule}", "effect": "review", "why": "w", "remedy": "r", "approvers": {approvers}}}"#)
    };
    let reasons = format!("{}, {}", reason("R", "[]"), reason("S", r#"["export_control", "policy"]"#));
    let review = format!(r#"{{"decision": "review", "obligations": [], "reasons": [{reasons}]}}"#);
    let policy = policy(&format!("package t\ndecision := {review}"));
    let decision = Arc::new(policy.evaluate("{}").unwrap());
    let at = question.at.seconds();
    let grant = Grant {
        party: "wessex.example".to_owned(),
        dataset: "set".to_owned(),
        direction: "export".to_owned(),
        purpose: "dpv:Marketing".to_owned(),
        action: "transfer".to_owned(),
        rules: ["R", "S"].map(str::to_owned).into(),
        reason: "reviewed".to_owned(),
        exchange: None,
    };
    let approval = Approval {
        id: "1".to_owned(),
        digest: Digest::of(b"1"),
        grant: grant.clone(),
        approver: "sato".to_owned(),
        offices: ["export_control".to_owned()].into(),
        issued: at,
        expires: at + 10,
    };
    let lifted = |approvals: &[Approval], now: u64| {
        let file = Approvals::default();
        let now = Timestamp::from_seconds(now);
        for approval in approvals {
            file.add(approval.clone(), Timestamp::from_seconds(at)).unwrap();
        }
        match rule(&question, Digest::of(b""), Ok(Arc::clone(&decision)), &file, now) {
            Ruling::Permitted(permit) => permit.approvals().len(),
            Ruling::Refused(denial) => {
                assert_eq!(denial.code, "review_required");
                0
            }
        }
    };
    assert_eq!(lifted(std::slice::from_ref(&approval), at), 1);
    assert_eq!(lifted(std::slice::from_ref(&approval), at + 10), 0, "an expired approval counts");
    let with = |change: fn(&mut Grant)| {
        let mut grant = grant.clone();
        change(&mut grant);
        Approval { grant, ..approval.clone() }
    };
    for wrong in [
        with(|grant| grant.party = "other.example".to_owned()),
        with(|grant| grant.dataset = "other".to_owned()),
        with(|grant| grant.direction = "import".to_owned()),
        with(|grant| grant.purpose = "dpv:PublicBenefit".to_owned()),
        with(|grant| grant.action = "train".to_owned()),
        with(|grant| grant.rules = ["R".to_owned()].into()),
        with(|grant| grant.rules = ["Q".to_owned()].into()),
        Approval { offices: ["privacy".to_owned()].into(), ..approval.clone() },
        Approval { offices: [].into(), ..approval.clone() },
    ] {
        assert_eq!(lifted(std::slice::from_ref(&wrong), at), 0, "{wrong:?} counts");
    }
    // Two officers, each for what their office may approve.
    let one =
        Approval { id: "2".to_owned(), offices: [].into(), ..with(|grant| grant.rules = ["R".to_owned()].into()) };
    let other = with(|grant| grant.rules = ["S".to_owned()].into());
    assert_eq!(lifted(&[one.clone(), other.clone()], at), 2);
    assert_eq!(lifted(&[one], at), 0);
    assert_eq!(lifted(&[other], at), 0);
    // Where several policies decide, an approval names the policy of a rule.
    let mut told = (*decision).clone();
    told.name_policies("t");
    let lifted_of = |approval: &Approval| {
        let file = Approvals::default();
        let now = Timestamp::from_seconds(at);
        file.add(approval.clone(), now).unwrap();
        matches!(rule(&question, Digest::of(b""), Ok(Arc::new(told.clone())), &file, now), Ruling::Permitted(_))
    };
    assert!(!lifted_of(&approval), "a bare rule id lifts the rule of any policy");
    assert!(lifted_of(&with(|grant| grant.rules = ["t#R", "t#S"].map(str::to_owned).into())));
    assert!(!lifted_of(&with(|grant| grant.rules = ["u#R", "u#S"].map(str::to_owned).into())));
    // The same approval twice is one; another under its id is refused.
    let file = Approvals::default();
    let now = Timestamp::from_seconds(at);
    file.add(approval.clone(), now).unwrap();
    file.add(approval.clone(), now).unwrap();
    assert_eq!(file.all().len(), 1);
    let forged = Approval { approver: "other".to_owned(), ..approval.clone() };
    assert_eq!(file.add(forged, now).map_err(|error| error.code()), Err("approval_invalid"));
    // What is over is let go of.
    let later = Approval { id: "3".to_owned(), expires: at + 20, ..approval };
    file.add(later, Timestamp::from_seconds(at + 10)).unwrap();
    assert_eq!(file.all().len(), 1);
}

#[test]
fn what_was_decided_is_remembered_and_what_failed_is_not() {
    let permit = r#"{"decision": "permit", "reasons": [], "obligations": []}"#;
    let policy = policy(&format!("package t\ndecision := {permit} if input.x == 1"));
    let policy = PolicySet::new(vec![Arc::new(policy)]).unwrap();
    let digest = Digest::of(b"an input");
    assert!(policy.recall(&digest).is_none());
    assert!(policy.decide("{}", digest).is_err());
    assert!(policy.recall(&digest).is_none());
    assert!(policy.decide(r#"{"x": 1}"#, digest).is_ok());
    assert_eq!(policy.recall(&digest).map(|decision| decision.verdict()), Some(Verdict::Permit));
}
