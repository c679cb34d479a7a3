//! The policy that is tried, and what it says of an input.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use crate::decide::{Bundle, Granularity, InputPaths, Policy, PolicyIdentity, PolicySet, Verdict};
use crate::record::Declaration;
use crate::types::Obligation;

/// One policy, or several that would be in force together.
pub struct Candidate {
    policies: PolicySet,
    at: Option<String>,
}

/// What the candidate says of one input.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// Why there is no decision; the verdict is then `deny`, as the gateway's would be.
    pub(super) code: Option<&'static str>,
    pub(super) rules: Vec<String>,
    pub(super) obligations: Vec<Obligation>,
    /// What the candidate reads and the input does not hold.
    pub(super) absent: Box<[String]>,
}

impl Candidate {
    /// Reads and compiles the policies at these paths. One evaluation may take `budget`.
    ///
    /// # Errors
    /// When one cannot be read or does not compile, with file and line.
    pub fn read(paths: &[impl AsRef<Path>], budget: Duration) -> Result<Self> {
        let mut bundles = Vec::new();
        for path in paths.iter().map(AsRef::as_ref) {
            bundles.push(Bundle::open(path).with_context(|| format!("policy {}", path.display()))?);
        }
        Self::of(&bundles, budget)
    }

    /// Compiles bundles to be in force together. One evaluation may take `budget`.
    ///
    /// # Errors
    /// When one does not compile, two go by one id, or there is none.
    pub fn of(bundles: &[Bundle], budget: Duration) -> Result<Self> {
        let policies = bundles.iter().map(|bundle| Ok(Arc::new(Policy::compile(bundle, budget)?)));
        Ok(Self { policies: PolicySet::new(policies.collect::<Result<_>>()?)?, at: None })
    }

    /// The same, asked at another time: `YYYY-MM-DD`, or RFC 3339 in UTC.
    pub fn asked_at(self, at: String) -> Self {
        Self { at: Some(at), ..self }
    }

    /// Which policy it is.
    pub fn identity(&self) -> &PolicyIdentity {
        self.policies.identity()
    }

    /// What it reads and a policy with this declaration did not.
    pub(super) fn lacking(&self, declared: &Declaration) -> Vec<String> {
        // A declaration that names no part of an input was written by nobody we know: it covers nothing.
        let seen = InputPaths::try_from(declared.inputs.iter().cloned().collect::<std::collections::BTreeSet<_>>());
        let seen = seen.unwrap_or_default();
        let exact = serde_json::from_value::<Granularity>(declared.time.as_str().into());
        let exact = exact.is_ok_and(|seen| seen >= self.policies.reads().time());
        let covered = |path: &&str| match path.split_once('.') {
            None if *path == "at" => self.at.is_some() || (exact && seen.covers("at", None)),
            None => seen.covers(path, None),
            Some((section, member)) => seen.covers(section, Some(member)),
        };
        self.policies.reads().paths().iter().filter(|path| !covered(path)).map(str::to_owned).collect()
    }

    /// What it says of an input. No decision is a denial.
    pub(super) fn decide(&self, input: &str) -> Answer {
        let Ok(Value::Object(input)) = serde_json::from_str(input) else {
            // A gateway asks about objects only; whoever made this digest did not.
            return Answer::none("input_unreadable", Box::default());
        };
        let absent =
            self.policies.reads().paths().iter().filter(|path| !self.holds(&input, path)).map(str::to_owned).collect();
        match self.policies.evaluate(&self.view(input).to_string()) {
            Ok(decision) => {
                let mut rules: Vec<String> = decision.reasons().iter().map(|reason| reason.rule.clone()).collect();
                rules.dedup();
                let obligations = decision.obligations().to_vec();
                Answer { verdict: decision.verdict(), code: None, rules, obligations, absent }
            }
            Err(error) => Answer::none(error.code(), absent),
        }
    }

    fn holds(&self, input: &Map<String, Value>, path: &str) -> bool {
        match path.split_once('.') {
            None if path == "at" => self.at.is_some() || input.contains_key("at"),
            None => input.contains_key(path),
            Some((section, member)) => input.get(section).and_then(|section| section.get(member)).is_some(),
        }
    }

    /// The input as the candidate would see it: what it declares, and the time as exactly as it declares.
    fn view(&self, input: Map<String, Value>) -> Value {
        let reads = self.policies.reads();
        let mut seen = reads.paths().project(&Value::Object(input));
        if let Value::Object(seen) = &mut seen
            && reads.paths().covers("at", None)
        {
            let recorded = seen.remove("at");
            let at = self.at.clone().or_else(|| Some(recorded.as_ref()?.as_str()?.to_owned()));
            if let Some(at) = at {
                seen.insert("at".to_owned(), reads.time().coarsen(&at).into());
            }
        }
        seen
    }
}

impl Answer {
    fn none(code: &'static str, absent: Box<[String]>) -> Self {
        Self { verdict: Verdict::Deny, code: Some(code), rules: Vec::new(), obligations: Vec::new(), absent }
    }
}
