//! A second engine in service: when it is asked, and what follows from its answer.

use std::time::Duration;

use super::*;
use crate::decide::{Bundle, BundleFile, Policy, PolicySet, Verdict};

/// A policy that permits on a condition.
fn policy(condition: &str) -> Policy {
    let rego = format!(
        "package t\ndecision := {{\"decision\": \"permit\", \"reasons\": [], \"obligations\": []}} if {condition}"
    );
    let manifest = r#"{"revision": "1", "metadata": {"id": "t", "entrypoint": "t/decision", "inputs": ["action"]}}"#;
    let file = |path: &str, text: &str| BundleFile { path: path.to_owned(), text: text.to_owned() };
    let bundle = Bundle::from_files(vec![file(".manifest", manifest), file("t.rego", &rego)]).unwrap();
    Policy::interpret(&bundle, Duration::from_secs(10)).unwrap()
}

/// Another policy as a second engine, until it is told to say something else.
struct Second {
    policy: Policy,
    instead: Mutex<Option<ShadowAnswer>>,
}

impl Second {
    fn of(condition: &str) -> Arc<Self> {
        Arc::new(Self { policy: policy(condition), instead: Mutex::default() })
    }
}

impl Shadow for Second {
    fn answer(&self, input: &str) -> ShadowAnswer {
        let instead = self.instead.lock().unwrap().clone();
        instead.unwrap_or_else(|| ShadowAnswer::Given(parsed(self.policy.document(input))))
    }
}

const SAME: &str = "input.x > 0";

#[test]
fn one_fresh_decision_of_sixteen_is_compared_or_all_or_none() {
    for (mode, expected) in [(ShadowMode::Sampled, Some(2)), (ShadowMode::All, Some(32)), (ShadowMode::Off, None)] {
        let policy = policy(SAME).shadowed(Second::of(SAME), mode);
        for x in 1..=32 {
            let decision = policy.evaluate(&format!("{{\"x\": {x}}}")).unwrap();
            assert_eq!(decision.verdict(), Verdict::Permit);
        }
        assert_eq!(policy.shadow_figures().map(|figures| figures.asked), expected, "{mode:?}");
        assert_eq!(policy.shadow_figures().map_or(0, |figures| figures.disagreed + figures.missing), 0);
    }
}

#[test]
fn a_disagreement_is_a_denial_that_stays_and_raises_the_guard() {
    let second = Second::of("input.x > 1");
    let policy = policy(SAME).shadowed(Arc::clone(&second) as Arc<dyn Shadow>, ShadowMode::Sampled);
    let code = |input: &str| policy.evaluate(input).map(|decision| decision.verdict()).map_err(|error| error.code());
    assert_eq!(code(r#"{"x": 1}"#), Err("engines_disagree"));
    assert_eq!(policy.shadow_figures().unwrap().disagreed, 1);
    // What was sampled once is compared every time from now on, and the input stays refused whatever is said later.
    assert_eq!(code(r#"{"x": 2}"#), Ok(Verdict::Permit));
    assert_eq!(code(r#"{"x": 1, "y": 1}"#), Err("engines_disagree"));
    assert_eq!(policy.shadow_figures().unwrap().asked, 3);
    *second.instead.lock().unwrap() = Some(ShadowAnswer::Missing("gone".to_owned()));
    assert_eq!(code(r#"{"x": 1}"#), Err("engines_disagree"));
    // Nobody is left to agree with a policy that was caught.
    assert_eq!(code(r#"{"x": 3}"#), Err("engines_disagree"));
}

#[test]
fn an_answer_that_comes_late_or_not_at_all_is_counted_and_is_no_disagreement() {
    let second = Second::of("input.x > 1");
    let policy = policy(SAME).shadowed(Arc::clone(&second) as Arc<dyn Shadow>, ShadowMode::All);
    for missing in [ShadowAnswer::Missing("busy".to_owned()), ShadowAnswer::Given(Err(DecideError::Overrun))] {
        *second.instead.lock().unwrap() = Some(missing);
        assert!(policy.evaluate(r#"{"x": 1}"#).is_ok());
    }
    assert_eq!(policy.shadow_figures(), Some(ShadowFigures { asked: 2, disagreed: 0, missing: 2 }));
    // No decision from one engine and a decision from the other is a disagreement.
    *second.instead.lock().unwrap() = Some(ShadowAnswer::Given(Err(DecideError::Failed("crashed".to_owned()))));
    assert_eq!(policy.evaluate(r#"{"x": 1}"#).unwrap_err().code(), "engines_disagree");
    assert_eq!(policy.evaluate("{}").unwrap_err().code(), "policy_undefined");
}

#[test]
fn what_is_remembered_is_not_compared_again_and_a_disagreement_is_not_remembered_as_a_decision() {
    let policy = Arc::new(policy(SAME).shadowed(Second::of("input.x > 1"), ShadowMode::All));
    let set = PolicySet::new(vec![Arc::clone(&policy)]).unwrap();
    let digest = Digest::of(b"two");
    assert!(set.decide(r#"{"x": 2}"#, digest).is_ok());
    for _ in 0..5 {
        assert!(set.recall(&digest).is_some());
    }
    assert_eq!(policy.shadow_figures().unwrap().asked, 1);
    let digest = Digest::of(b"one");
    assert_eq!(set.decide(r#"{"x": 1}"#, digest).unwrap_err().code(), "engines_disagree");
    assert!(set.recall(&digest).is_none());
}
