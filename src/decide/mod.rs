//! May this data cross, and under which obligations? A policy answers; only its `permit` makes a [`Permit`].
//!
//! A [`Question`] is everything a policy may see of a request. [`Policy::decide`] evaluates it within a budget and
//! remembers the answer, since a policy is a pure function of bundle and input. Undefined, an error, an overrun or an
//! answer of the wrong shape all refuse.

mod agreement;
mod approval;
mod bundle;
mod cases;
mod decision;
mod engine;
mod policy;
mod question;
#[cfg(test)]
mod tests;

pub use agreement::{Agreement, Agreements};
pub use approval::{Approval, Approvals};
pub use bundle::{Bundle, BundleFile};
pub use cases::{Case, CaseOutcome, run_cases};
pub use decision::{Decision, Denial, Effect, Permit, PolicyIdentity, Reason, Ruling, Verdict};
pub use policy::{BUDGET, Policy};
pub use question::{Dataset, Direction, Question};

use crate::types::Blame;

/// Why a policy cannot be loaded or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// The bundle cannot be read or compiled; the text says which file and line.
    #[error("{0}")]
    Bundle(String),
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
    /// A stable code, also a metric label.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bundle(_) => "policy_unusable",
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
