//! A policy's worked cases: an input, and what must come out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bundle, DecideError, Decision, Effect, Policy, Verdict};
use crate::types::Obligation;

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

/// Runs every case of the bundle.
///
/// # Errors
/// [`DecideError::Bundle`] when a file of cases cannot be read. A case without a decision is a difference, not an error.
pub fn run_cases(bundle: &Bundle, policy: &Policy) -> Result<Vec<CaseOutcome>, DecideError> {
    let mut outcomes = Vec::new();
    for file in bundle.cases() {
        let unreadable = |error: serde_json::Error| {
            DecideError::unusable(format!("{}:{}: not a list of cases: {error}", file.path, error.line()))
        };
        let cases: Vec<Case> = serde_json::from_str(&file.text).map_err(unreadable)?;
        for case in cases {
            let differences = match policy.evaluate(&case.input.to_string()) {
                Ok(decision) => case.expect.differences(&decision),
                Err(error) => vec![error.to_string()],
            };
            outcomes.push(CaseOutcome { id: case.id, title: case.title, differences });
        }
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
