//! The trial, on engines that agree and on engines that do not.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::vocabulary::Vocabulary;
use super::*;
use crate::decide::BundleFile;

const PERMIT: &str = r#"{"decision": "permit", "reasons": [], "obligations": []}"#;
const DENY: &str = r#"{"decision": "deny", "obligations": [],
    "reasons": [{"rule": "R", "effect": "deny", "why": "w", "remedy": "r"}]}"#;
/// Permits one purpose, and nothing else.
const ONE_PURPOSE: &str = r#"permitted if input.purpose == "dpv:ScientificResearch""#;

fn file(path: &str, text: &str) -> BundleFile {
    BundleFile { path: path.to_owned(), text: text.to_owned() }
}

/// A policy that permits where `rules` derive `permitted`, and declares that it reads `inputs`.
fn bundle_of(rules: &str, inputs: &[&str], cases: &[BundleFile]) -> Bundle {
    let manifest = json!({ "revision": "1", "metadata": { "id": "t", "entrypoint": "t/decision", "inputs": inputs } });
    let rego = format!("package t\ndefault decision := {DENY}\ndecision := {PERMIT} if permitted\n{rules}\n");
    let mut files = vec![file(".manifest", &manifest.to_string()), file("t.rego", &rego)];
    files.extend(cases.iter().cloned());
    Bundle::from_files(files).unwrap()
}

fn policy(bundle: &Bundle) -> Policy {
    Policy::interpret(bundle, Duration::from_secs(10)).unwrap()
}

/// A second engine in this process, which may fail on its own.
struct Beside {
    policy: Policy,
    asked: String,
    overruns: bool,
    lost: bool,
}

impl Beside {
    fn of(bundle: &Bundle) -> Self {
        Self { policy: policy(bundle), asked: String::new(), overruns: false, lost: false }
    }
}

impl SecondEngine for Beside {
    fn ask(&mut self, input: &str) -> Result<(), DecideError> {
        self.asked = input.to_owned();
        Ok(())
    }

    fn answer(&mut self) -> Result<Answer, DecideError> {
        match (self.lost, self.overruns) {
            (true, _) => Err(DecideError::Bundle { code: "bundle_interpreter_died", why: "it ended".to_owned() }),
            (_, true) => Ok(Err(DecideError::Overrun)),
            _ => Ok(parsed(self.policy.document(&self.asked))),
        }
    }
}

fn held(bundle: &Bundle, second: &mut Beside) -> Result<TrialReport, DecideError> {
    let patience = Duration::from_secs(600);
    let trial = Trial { bundle, inputs: 300, obligations: &["notify"], progress: None, patience };
    trial.run(&policy(bundle), second)
}

fn refused(bundle: &Bundle, second: &Bundle) -> (&'static str, String) {
    let error = held(bundle, &mut Beside::of(second)).unwrap().verdict().unwrap_err();
    (error.code(), error.to_string())
}

fn reference() -> Bundle {
    Bundle::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/dfft")).unwrap()
}

#[test]
fn engines_that_agree_pass_and_every_input_is_counted() {
    let case =
        json!([{ "id": "c", "input": { "purpose": "dpv:ScientificResearch" }, "expect": { "decision": "permit" } }]);
    let bundle = bundle_of(ONE_PURPOSE, &["purpose"], &[file("cases/all.json", &case.to_string())]);
    let last = Cell::new((0, 0));
    let trial = Trial {
        bundle: &bundle,
        inputs: 300,
        obligations: &[],
        progress: Some(&|done, total| last.set((done, total))),
        patience: Duration::from_secs(600),
    };
    let report = trial.run(&policy(&bundle), &mut Beside::of(&bundle)).unwrap();
    assert_eq!(report.verdict(), Ok(()));
    assert_eq!((report.cases, report.examples, report.generated), (1, 61, 300));
    assert_eq!((report.inputs, report.agreed), (362, 362));
    assert_eq!(last.get(), (362, 362));
    assert!(report.permitted > 10 && report.denied > 10, "the inputs decide nothing: {report:?}");
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<TrialReport>(&text).unwrap(), report);
}

#[test]
fn engines_that_disagree_refuse_the_bundle_and_show_the_input() {
    let bundle = bundle_of(ONE_PURPOSE, &["purpose"], &[]);
    let other = bundle_of("permitted if not input.purpose in {\"dpv:Marketing\"}", &["purpose"], &[]);
    let (code, why) = refused(&bundle, &other);
    assert_eq!(code, "bundle_engines_disagree");
    assert!(why.contains("generated") || why.contains("G1-a"), "{why}");
    assert!(why.contains(r#""decision":"permit""#) && why.contains(r#""decision":"deny""#), "{why}");
    // A decision from one and none from the other is a disagreement; none from either is not.
    let silent = bundle_of("permitted if to_number(input.purpose) > 0", &["purpose"], &[]);
    assert_eq!(refused(&bundle, &silent).0, "bundle_engines_disagree");
    let report = held(&silent, &mut Beside::of(&silent)).unwrap();
    assert_eq!(report.agreed, report.inputs);
    assert!(report.undecided > 100, "{report:?}");
}

#[test]
fn a_read_that_is_not_declared_is_found_and_named() {
    let rules = r#"permitted if input.recipient.country != "KP""#;
    assert_eq!(
        refused(&bundle_of(rules, &["purpose"], &[]), &bundle_of(rules, &["purpose"], &[])).0,
        "bundle_inputs_undeclared"
    );
    let less = bundle_of(rules, &["recipient.type"], &[]);
    let (code, why) = refused(&less, &less);
    assert_eq!(code, "bundle_inputs_undeclared");
    assert!(why.contains("recipient.country"), "{why}");
    for enough in [["recipient.country"], ["recipient"]] {
        let bundle = bundle_of(rules, &enough, &[]);
        assert_eq!(held(&bundle, &mut Beside::of(&bundle)).unwrap().verdict(), Ok(()));
    }
    // Whether a section is there may be asked by whoever reads a member of it.
    let there = bundle_of("permitted if is_object(input.recipient)", &["recipient.type"], &[]);
    assert_eq!(held(&there, &mut Beside::of(&there)).unwrap().verdict(), Ok(()));
}

#[test]
fn decisions_of_another_shape_unknown_obligations_and_failing_cases_refuse() {
    let never = "permitted if input.action == \"never\"";
    let rules = format!("{never}\ndecision := {{\"decision\": \"allow\"}} if input.action == \"train\"");
    let shape = bundle_of(&rules, &["action"], &[]);
    assert_eq!(refused(&shape, &shape).0, "bundle_decision_malformed");
    let demanding = |what: &str| {
        let demand =
            format!(r#"{{"decision": "permit", "reasons": [], "obligations": [{{"rule": "R", "do": "{what}"}}]}}"#);
        bundle_of(&format!("{never}\ndecision := {demand} if input.action == \"train\""), &["action"], &[])
    };
    let (code, why) = refused(&demanding("teleport"), &demanding("teleport"));
    assert_eq!(code, "bundle_obligation_unknown");
    assert!(why.contains("teleport"), "{why}");
    let known = demanding("notify");
    assert_eq!(held(&known, &mut Beside::of(&known)).unwrap().verdict(), Ok(()));
    let case = json!([{ "id": "mine", "input": { "purpose": "x" }, "expect": { "decision": "permit" } }]);
    let failing = bundle_of(ONE_PURPOSE, &["purpose"], &[file("cases/all.json", &case.to_string())]);
    let (code, why) = refused(&failing, &failing);
    assert_eq!(code, "bundle_cases_fail");
    assert!(why.contains("mine: expected permit, decided deny"), "{why}");
}

#[test]
fn a_trial_that_does_not_come_to_its_end_is_no_verdict() {
    let bundle = bundle_of(ONE_PURPOSE, &["purpose"], &[]);
    let slow = held(&bundle, &mut Beside { overruns: true, ..Beside::of(&bundle) });
    assert_eq!(slow.map_err(|error| error.code()), Err("bundle_untried"));
    let gone = held(&bundle, &mut Beside { lost: true, ..Beside::of(&bundle) });
    assert_eq!(gone.map_err(|error| error.code()), Err("bundle_interpreter_died"));
    let trial = Trial { bundle: &bundle, inputs: 1, obligations: &[], progress: None, patience: Duration::ZERO };
    let late = trial.run(&policy(&bundle), &mut Beside::of(&bundle));
    assert_eq!(late.map_err(|error| error.code()), Err("bundle_untried"));
}

#[test]
fn only_what_engines_may_word_differently_counts_as_alike() {
    let failed = || Err(DecideError::Failed("one".to_owned()));
    assert!(alike(&failed(), &Err(DecideError::Undefined)));
    assert!(!alike(&failed(), &Ok(json!({}))));
    for (one, other, same) in [
        (json!({"a": [1, 2.0]}), json!({"a": [1.0, 2]}), true),
        (json!([1, 2]), json!([2, 1]), false),
        (json!([1]), json!([1, 1]), false),
        (json!({"a": 1}), json!({"a": 1, "b": null}), false),
        (json!({"a": 1, "c": 2}), json!({"a": 1, "b": 2}), false),
        (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64), false),
        (json!("1"), json!(1), false),
        (json!(false), json!(null), false),
    ] {
        assert_eq!(alike(&Ok(one.clone()), &Ok(other.clone())), same, "{one} and {other}");
    }
}

#[test]
fn the_words_of_a_policy_are_found_in_its_source() {
    let rules = "# \"in a comment\"\npermitted if input.legal.mechanism in {\"scc\", `bcr`}\n\
        permitted if { input.dataset.subjects > 1000; startswith(\"a \\\"quoted\\\" word\", \"unfinished }";
    let vocabulary = Vocabulary::of(&bundle_of(rules, &["at"], &[]), &[json!({ "recipient": { "country": "FR" } })]);
    let words: Vec<&str> = vocabulary.kinds().into_iter().flat_map(|kind| vocabulary.words(kind)).collect();
    for word in ["scc", "bcr", "a \"quoted\" word", "FR"] {
        assert!(words.contains(&word), "{word} is not among {words:?}");
    }
    assert!(!words.contains(&"in a comment"));
    assert!(vocabulary.numbers().contains(&1000));
    let paths: Vec<&str> = vocabulary.paths().collect();
    assert_eq!(paths, ["at", "dataset.subjects", "legal.mechanism", "recipient", "recipient.country"]);
}

#[test]
fn every_part_of_an_input_is_missing_in_some_and_there_in_others() {
    let bundle = reference();
    let examples: Vec<Example> = serde_json::from_str(EXAMPLES).unwrap();
    let known: Vec<Value> = examples.into_iter().map(|example| example.input).collect();
    let mut seen: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let (mut distinct, mut largest) = (std::collections::HashSet::new(), 0);
    for input in Generator::new(&bundle, known.clone()).take(FEWEST_INPUTS) {
        for path in bundle.manifest().metadata.inputs.iter() {
            let there = match path.split_once('.') {
                Some((section, member)) => input.get(section).and_then(|section| section.get(member)),
                None => input.get(path),
            };
            let counts = seen.entry(path.to_owned()).or_default();
            match there {
                None => counts[0] += 1,
                Some(Value::Null) => counts[1] += 1,
                Some(Value::Array(_) | Value::Object(_)) => counts[2] += 1,
                Some(_) => counts[3] += 1,
            }
        }
        let text = input.to_string();
        largest = largest.max(text.len());
        distinct.insert(text);
    }
    for (path, counts) in &seen {
        assert!(counts.iter().all(|count| *count > 0), "{path}: missing, null, holding others, plain: {counts:?}");
        assert!(counts[0] >= 10 && counts[0] + 10 <= FEWEST_INPUTS, "{path}: {counts:?}");
    }
    assert_eq!(seen.len(), bundle.manifest().metadata.inputs.iter().count());
    assert!(distinct.len() > FEWEST_INPUTS * 9 / 10, "only {} inputs differ", distinct.len());
    assert!(largest <= 32 * 1024, "{largest} bytes");
    let again = || Generator::new(&bundle, known.clone()).take(500).collect::<Vec<_>>();
    assert_eq!(again(), again());
    let other = bundle_of(ONE_PURPOSE, &["purpose"], &[]);
    assert_ne!(again(), Generator::new(&other, known.clone()).take(500).collect::<Vec<_>>());
}

#[test]
fn a_projection_keeps_what_is_declared_and_nothing_else() {
    let paths = |paths: &[&str]| {
        let paths: std::collections::BTreeSet<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        InputPaths::try_from(paths).unwrap()
    };
    let input = json!({
        "at": "2026-11-21", "purpose": "p", "extra": 1,
        "recipient": { "country": "FR", "type": "company" },
        "request": { "path": "/" }, "legal": null, "dataset": { "tags": [] },
    });
    let seen = paths(&["at", "recipient.country", "legal.tia", "dataset", "sender.country"]).project(&input);
    let expected =
        json!({ "at": "2026-11-21", "recipient": { "country": "FR" }, "legal": null, "dataset": { "tags": [] } });
    assert_eq!(seen, expected);
    assert_eq!(paths(&["recipient.named"]).project(&input), json!({ "recipient": {} }));
    assert_eq!(paths(&[]).project(&input), json!({}));
    assert_eq!(paths(&["at"]).project(&json!([1])), json!([1]));
    let mut known = input.clone();
    known.as_object_mut().unwrap().remove("extra");
    assert_eq!(InputPaths::everything().project(&input), known);
}
