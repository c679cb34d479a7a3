//! A policy's worked cases: an input, and what must come out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trial::untried;
use super::{Bundle, DecideError, Decision, Effect, Policy, Verdict};
use crate::types::Obligation;

/// The most cases of a bundle: some sixty times what the reference policy has, and twice the inputs of a trial.
pub const CASES: usize = 20_000;
/// The longest that all cases of a bundle may take together: whoever may spend the budget of a decision on each case could
/// keep other policies from being judged for as long as they like.
pub const CASES_PATIENCE: Duration = Duration::from_secs(60);

/// One worked case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its id.
    pub id: String,
    /// What it shows.
    #[serde(default)]
    pub title: String,
    /// The input document.
    pub input: Value,
    /// What must come out.
    pub expect: Expectation,
}

/// What a case expects of the decision.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    decision: Verdict,
    /// The rules that deny, all of them.
    #[serde(default)]
    deny: BTreeSet<String>,
    /// The rules that ask for a person, all of them.
    #[serde(default)]
    review: BTreeSet<String>,
    /// Obligations that must be among those demanded.
    #[serde(default)]
    obligations_include: BTreeSet<String>,
    /// Obligations that must not be.
    #[serde(default)]
    obligations_exclude: BTreeSet<String>,
    /// The obligations, all of them with all they say, in any order.
    #[serde(default)]
    obligations: Option<Vec<Obligation>>,
}

/// How a case went.
#[derive(Debug, Clone, Serialize)]
pub struct CaseOutcome {
    /// The case's id.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What differs from the expectation; empty when it holds.
    pub differences: Vec<String>,
}

/// Every case of the bundle, in the order of its files.
///
/// # Errors
/// [`DecideError::Bundle`]: `policy_unusable` when a file of cases cannot be read, `bundle_too_large` for more than
/// [`CASES`].
pub(super) fn read_cases(bundle: &Bundle) -> Result<Vec<Case>, DecideError> {
    let mut cases = Vec::new();
    for file in bundle.cases() {
        let read: Vec<Case> = serde_json::from_str(&file.text).map_err(|error| {
            DecideError::unusable(format!("{}:{}: not a list of cases: {error}", file.path, error.line()))
        })?;
        if cases.len() + read.len() > CASES {
            let why = format!("{}: up to here more than {CASES} cases: ship those that show something new", file.path);
            return Err(DecideError::Bundle { code: "bundle_too_large", why });
        }
        cases.extend(read);
    }
    Ok(cases)
}

/// Runs every case of the bundle, for `patience` at most, and for one evaluation beyond; [`CASES_PATIENCE`] where a bundle
/// is judged.
///
/// # Errors
/// [`DecideError::Bundle`]: `policy_unusable` when a file of cases cannot be read, `bundle_too_large` for more than
/// [`CASES`], `bundle_untried` when the time is over. A case without a decision is a difference, not an error.
pub fn run_cases(bundle: &Bundle, policy: &Policy, patience: Duration) -> Result<Vec<CaseOutcome>, DecideError> {
    let started = Instant::now();
    let cases = read_cases(bundle)?;
    let total = cases.len();
    let mut outcomes = Vec::with_capacity(total);
    for case in cases {
        if started.elapsed() >= patience {
            let (done, seconds) = (outcomes.len(), patience.as_secs());
            let why = format!("{done} of its {total} cases took {seconds} s: ship fewer, or make the rules faster");
            return Err(untried(why));
        }
        let differences = match policy.evaluate(&case.input.to_string()) {
            Ok(decision) => case.expect.differences(&decision),
            Err(error) => vec![error.to_string()],
        };
        outcomes.push(CaseOutcome { id: case.id, title: case.title, differences });
    }
    Ok(outcomes)
}

impl Expectation {
    fn differences(&self, decision: &Decision) -> Vec<String> {
        let mut differences = Vec::new();
        if decision.verdict() != self.decision {
            let (expected, found) = (self.decision.as_str(), decision.verdict().as_str());
            differences.push(format!("expected {expected}, decided {found}"));
        }
        let rules = |effect| -> BTreeSet<String> {
            let reasons = decision.reasons().iter().filter(|reason| reason.effect == effect);
            reasons.map(|reason| reason.rule.clone()).collect()
        };
        for (name, expected, found) in
            [("deny", &self.deny, rules(Effect::Deny)), ("review", &self.review, rules(Effect::Review))]
        {
            if *expected != found {
                differences.push(format!("expected to {name}: {expected:?}, found {found:?}"));
            }
        }
        let demanded: BTreeSet<&str> =
            decision.obligations().iter().map(|obligation| obligation.action.as_str()).collect();
        for action in self.obligations_include.iter().filter(|action| !demanded.contains(action.as_str())) {
            differences.push(format!("the obligation {action} is missing"));
        }
        for action in self.obligations_exclude.iter().filter(|action| demanded.contains(action.as_str())) {
            differences.push(format!("the obligation {action} should not be there"));
        }
        if let Some(expected) = &self.obligations {
            let found = decision.obligations();
            let same = expected.len() == found.len() && expected.iter().all(|one| found.contains(one));
            if !same {
                let text = serde_json::to_string(found).unwrap_or_default();
                differences.push(format!("other obligations than expected: {text}"));
            }
        }
        differences
    }
}
