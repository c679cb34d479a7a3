//! May this data cross, and under which obligations? A policy answers; only a `permit` makes a [`Permit`].
//!
//! A [`Question`] is everything a policy may see of a request. [`PolicySet::decide`] asks every [`Policy`] in force within
//! a budget, combines the answers and remembers them, since a policy is a pure function of bundle and input. [`rule`]
//! turns the decision into a [`Ruling`]. Undefined, an error, an overrun or an answer of the wrong shape all refuse.

mod agreement;
mod approval;
mod bundle;
mod cases;
mod coverage;
mod decision;
mod engine;
mod explain;
mod inputs;
mod policy;
mod policy_set;
mod question;
mod reads;
mod ruling;
#[cfg(test)]
mod tests;

pub use agreement::{Agreement, Agreements};
pub use approval::{Approval, Approvals};
pub use bundle::{Bundle, BundleFile, Manifest, Metadata, WasmModule};
pub use cases::{Case, CaseOutcome, run_cases};
pub use coverage::{Coverage, FileCoverage, Line, RuleCoverage, coverage};
pub use decision::{Decision, Effect, PolicyIdentity, Reason, Verdict};
pub use explain::{
    Ask, Change, ConditionAccount, DefinitionAccount, EVALUATIONS, Explanation, Law, Nature, Outcome, Reading,
    RuleAccount, Source, Way, explain,
};
pub use inputs::{Granularity, InputPaths, SECTIONS};
pub use policy::{BUDGET, Policy};
pub use policy_set::{InForce, PolicySet};
pub use question::{Dataset, Direction, Question};
pub use reads::Reads;
pub use ruling::{Denial, Permit, Ruling, rule};

use crate::types::Blame;

/// Why a policy cannot be loaded or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// The bundle is refused.
    #[error("{why}")]
    Bundle {
        /// Why, as a stable code.
        code: &'static str,
        /// What is wrong, one finding a line, each with file and line where it has one.
        why: String,
    },
    /// The policy gives no decision for this input.
    #[error("the policy gives no decision for this input")]
    Undefined,
    /// Evaluation failed.
    #[error("the policy failed: {0}")]
    Failed(String),
    /// Evaluation took longer than its budget.
    #[error("the policy took longer than its budget")]
    Overrun,
    /// The decision does not have the shape that the gateway asks for.
    #[error("the policy's decision has the wrong shape: {0}")]
    Malformed(String),
}

impl DecideError {
    /// A bundle that cannot be read or compiled.
    pub fn unusable(why: impl Into<String>) -> Self {
        Self::Bundle { code: "policy_unusable", why: why.into() }
    }

    /// A stable code, also a metric label.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bundle { code, .. } => code,
            Self::Undefined => "policy_undefined",
            Self::Failed(_) => "policy_failed",
            Self::Overrun => "policy_overrun",
            Self::Malformed(_) => "policy_malformed",
        }
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        Blame::Operator
    }
}
