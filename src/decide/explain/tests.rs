//! Every rule of the reference policy is explained, and every way out that is told was walked.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::decide::{Case, Policy, Verdict};
use candidates::with;

struct Subject {
    bundle: Bundle,
    policy: Policy,
}

impl Subject {
    fn reference() -> Self {
        Self::of(Bundle::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/dfft")).unwrap())
    }

    fn of(bundle: Bundle) -> Self {
        let policy = Policy::compile(&bundle, Duration::from_secs(60)).unwrap();
        Self { bundle, policy }
    }

    fn written(rego: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let manifest = json!({"revision": "1", "metadata": {"id": "t", "entrypoint": "t/decision", "inputs": ["legal.a", "purpose"]}});
        std::fs::write(directory.path().join(".manifest"), manifest.to_string()).unwrap();
        std::fs::write(directory.path().join("t.rego"), rego).unwrap();
        Self::of(Bundle::read(directory.path()).unwrap())
    }

    fn decide(&self, input: &Value) -> Decision {
        self.policy.evaluate(&input.to_string()).unwrap()
    }

    fn explain(&self, input: &Value, reading: Reading) -> Explanation {
        self.explain_within(input, reading, EVALUATIONS)
    }

    fn explain_within(&self, input: &Value, reading: Reading, evaluations: usize) -> Explanation {
        let mut ask = |input: &Value| self.policy.evaluate(&input.to_string());
        explain(&self.bundle, input, &mut ask, reading, evaluations).unwrap()
    }

    fn cases(&self) -> Vec<Case> {
        let files = self.bundle.cases().iter();
        files.flat_map(|file| serde_json::from_str::<Vec<Case>>(&file.text).unwrap()).collect()
    }

    fn case(&self, id: &str) -> Value {
        self.cases().into_iter().find(|case| case.id == id).unwrap().input
    }
}

/// Walks a way, each of its values in turn, and checks that the decision is the one that was told.
fn walk(subject: &Subject, input: &Value, way: &Way) {
    for (place, change) in way.changes.iter().enumerate() {
        for value in [change.to.as_ref()].into_iter().chain(change.or.iter().map(Some)) {
            let changed = way.changes.iter().enumerate().fold(input.clone(), |input, (number, change)| {
                let value = if number == place { value } else { change.to.as_ref() };
                with(&input, &change.path, value)
            });
            assert_eq!(subject.decide(&changed).verdict(), way.decision, "{way:?} with {value:?}");
        }
    }
}

#[test]
fn clauses_and_an_assessment_are_found_for_data_from_the_eea() {
    let subject = Subject::reference();
    for (bundle, input) in [(None, subject.case("P1-b")), (Some(Bundle::built_in().unwrap()), subject.case("P1-b"))] {
        let subject = bundle.map_or_else(Subject::reference, Subject::of);
        let told = subject.explain(&input, Reading::Source);
        assert_eq!(told.decision.verdict(), Verdict::Deny);
        assert!(!told.search_cut_short);
        let papers = told.permitted_if.iter().find(|way| {
            way.changes.iter().map(|change| change.path.as_str()).eq(["legal.mechanism", "legal.tia"])
                && way.changes.iter().any(|change| change.to == Some(json!("scc")) || change.or.contains(&json!("scc")))
        });
        let papers = papers.unwrap_or_else(|| panic!("{:#?}", told.permitted_if));
        assert_eq!(papers.changes[1].to, Some(json!(true)));
        assert!(papers.changes.iter().all(|change| change.nature == Nature::Paper && change.from.is_none()));
        // What is a paper comes before what is a fact.
        assert_eq!(&told.permitted_if[0], papers);
        for way in &told.permitted_if {
            assert_eq!(way.decision, Verdict::Permit);
            walk(&subject, &input, way);
        }
        let rule = told.rules.iter().find(|rule| rule.law.rule == "DFFT-P1").unwrap();
        assert!(rule.fired);
        assert_eq!(rule.reads["recipient.country"], Some(json!("IN")));
        assert_eq!(rule.reads["legal.tia"], None);
        assert_eq!(rule.law.links[0].link.as_deref(), Some("https://eur-lex.europa.eu/eli/reg/2016/679/oj"));
        assert!(rule.law.sources[0].link.as_deref().is_some_and(|link| link.starts_with("https://")));
        let conditions = &rule.definitions[0].bodies[0];
        let texts: Vec<_> = conditions.iter().map(|one| (one.text.as_str(), one.outcome)).collect();
        assert_eq!(
            texts,
            [
                ("leaves_the_eea", Outcome::Holds),
                ("not eea_adequate", Outcome::Holds),
                ("not eea_safeguarded", Outcome::Holds),
            ]
        );
        assert!(conditions[0].place.starts_with("privacy.rego:"));
        let safeguards = &conditions[2].because[0].bodies[0];
        assert!(safeguards[0].text.contains("facts.lists.transfer_mechanisms.eu"), "{safeguards:?}");
        assert!(safeguards.iter().all(|one| one.outcome == Outcome::Fails), "{safeguards:?}");
    }
}

#[test]
fn every_rule_is_explained_where_it_fires_and_where_it_does_not() {
    let subject = Subject::reference();
    let rules: Vec<String> = laws(&subject.bundle).unwrap().0.into_iter().map(|law| law.rule).collect();
    assert_eq!(rules.len(), 26, "{rules:?}");
    let cases: Vec<(Value, Decision)> = subject
        .cases()
        .into_iter()
        .map(|case| (subject.decide(&case.input), case.input))
        .map(|(a, b)| (b, a))
        .collect();
    for rule in &rules {
        let fires = |decision: &Decision| {
            decision.reasons().iter().any(|reason| reason.rule == *rule)
                || decision.obligations().iter().any(|duty| duty.rule == *rule)
        };
        // The case with the fewest other reasons says most about this one.
        let (input, _) = cases
            .iter()
            .filter(|(_, decision)| fires(decision))
            .min_by_key(|(_, decision)| decision.reasons().len())
            .unwrap_or_else(|| panic!("no case for {rule}"));
        let told = subject.explain_within(input, Reading::Source, 60);
        let account = told.rules.iter().find(|account| account.law.rule == *rule).unwrap();
        assert!(account.fired, "{rule}");
        assert!(!account.law.title.is_empty() && !account.law.description.is_empty() && !account.law.basis.is_empty());
        assert!(!account.law.remedy.is_empty() && !account.law.inputs.is_empty(), "{rule}");
        assert!(account.definitions.iter().any(|definition| definition.holds), "{rule}: {:#?}", account.definitions);
        for way in told.permitted_if.iter().chain(&account.silent_if) {
            walk(&subject, input, way);
        }
        // A rule that did not fire says which of its conditions failed.
        for silent in told.rules.iter().filter(|account| !account.fired) {
            let fails = |body: &Vec<ConditionAccount>| body.iter().any(|one| one.outcome == Outcome::Fails);
            let told = silent.definitions.iter().all(|definition| definition.bodies.iter().all(fails));
            assert!(
                told && !silent.definitions.is_empty(),
                "{rule} against {}: {:#?}",
                silent.law.rule,
                silent.definitions
            );
        }
    }
}

#[test]
fn a_permit_needs_no_way_out() {
    let subject = Subject::reference();
    let told = subject.explain(&subject.case("P1-c"), Reading::Source);
    assert_eq!(told.decision.verdict(), Verdict::Permit);
    assert!(told.permitted_if.is_empty() && told.rules.iter().all(|rule| rule.silent_if.is_empty()));
}

#[test]
fn a_search_ends_with_its_budget_and_says_so() {
    let subject = Subject::reference();
    let input = subject.case("P1-b");
    let asked = std::cell::Cell::new(0);
    for budget in [0, 1, 20] {
        asked.set(0);
        let mut ask = |input: &Value| {
            asked.set(asked.get() + 1);
            subject.policy.evaluate(&input.to_string())
        };
        let told = explain(&subject.bundle, &input, &mut ask, Reading::Source, budget).unwrap();
        // One for the decision itself.
        assert_eq!(asked.get(), budget + 1);
        assert!(told.search_cut_short && told.permitted_if.is_empty());
    }
}

#[test]
fn several_reasons_are_taken_away_together() {
    let subject = Subject::reference();
    let input = with(&subject.case("P1-b"), "purpose", Some(&json!("dpv:Marketing")));
    let told = subject.explain(&input, Reading::Source);
    assert_eq!(told.decision.reasons().len(), 2, "{:?}", told.decision);
    let best = &told.permitted_if[0];
    let paths: BTreeSet<&str> = best.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, BTreeSet::from(["legal.mechanism", "legal.tia", "purpose"]), "{best:?}");
    walk(&subject, &input, best);
}

#[test]
fn what_others_wrote_is_told_by_its_decisions_alone() {
    let subject = Subject::reference();
    let input = subject.case("P1-b");
    let told = subject.explain(&input, Reading::DecisionsOnly);
    assert!(!told.conditions_read);
    let rule = told.rules.iter().find(|rule| rule.law.rule == "DFFT-P1").unwrap();
    assert!(rule.fired && rule.definitions.is_empty());
    told.permitted_if.iter().for_each(|way| walk(&subject, &input, way));
}

const SMALL: &str = r#"package t

default decision := {"decision": "permit", "reasons": [], "obligations": []}

decision := {"decision": "deny", "obligations": [], "reasons": [reason | some reason in against]} if count(against) > 0

# METADATA
# title: A paper
# custom:
#   rule: R-1
#   inputs: [legal.a]
against contains {"rule": "R-1", "effect": "deny", "why": "w", "remedy": "r"} if {
	some word in ["x", "y"]
	not input.legal.a == word
	word != "x"
}
"#;

#[test]
fn conditions_with_variables_of_their_own_are_told_too() {
    let subject = Subject::written(SMALL);
    let told = subject.explain(&json!({"legal": {}}), Reading::Source);
    let outcomes = |told: &Explanation| -> Vec<Outcome> {
        told.rules[0].definitions[0].bodies[0].iter().map(|one| one.outcome).collect()
    };
    assert_eq!(outcomes(&told), [Outcome::Holds; 3]);
    assert_eq!(told.rules[0].law.title, "A paper");
    let told = subject.explain(&json!({"legal": {"a": "y"}}), Reading::Source);
    assert_eq!(told.decision.verdict(), Verdict::Permit);
    assert_eq!(outcomes(&told), [Outcome::Holds, Outcome::Holds, Outcome::Fails]);
}

#[test]
fn an_annotation_that_cannot_be_read_is_named() {
    let deep = format!("# METADATA\n# custom:\n#{}rule: R\n", " ".repeat(66));
    for (annotation, line, word) in [
        ("# METADATA\n# custom\n", 4, "key: value"),
        ("# METADATA\n# title: \"open\n", 4, "quoted"),
        ("# METADATA\n# title: a\n#    more: b\n", 5, "indented"),
        ("# METADATA\n# custom:\n#   inputs: [a,\n", 5, "bracket"),
        ("# METADATA\n# title: a\n# title: b\n", 5, "twice"),
        ("# METADATA\n# custom:\n#   inputs: [[a]]\n", 5, "no other list"),
        (deep.as_str(), 5, "64 columns"),
        ("# METADATA\n# custom: {rule: R}\n", 4, "YAML"),
    ] {
        let rego = format!(
            "package t\n\n{annotation}decision := {{\"decision\": \"permit\", \"reasons\": [], \"obligations\": []}}\n"
        );
        let subject = Subject::written(&rego);
        let error = laws(&subject.bundle).unwrap_err().to_string();
        assert!(error.contains(&format!("t.rego:{line}:")) && error.contains(word), "{error}");
    }
}
