//! May this data cross, and under which obligations? A policy answers; only a `permit` makes a [`Permit`].
//!
//! A [`Question`] is everything a policy may see of a request. [`PolicySet::decide`] asks every [`Policy`] in force within
//! a budget, combines the answers and remembers them, since a policy is a pure function of bundle and input. [`rule`]
//! turns the decision into a [`Ruling`]. Undefined, an error, an overrun or an answer of the wrong shape all refuse.

mod agreement;
mod approval;
mod bundle;
mod cases;
mod check;
mod coverage;
mod decision;
mod engine;
mod explain;
mod inputs;
mod odrl;
mod policy;
mod policy_set;
mod private;
mod question;
mod reads;
mod ruling;
mod shadow;
#[cfg(test)]
mod tests;
mod trial;

pub use agreement::{Agreement, Agreements};
pub use approval::{APPROVAL_DAYS, Approval, Approvals, Grant};
pub use bundle::{
    ARCHIVE_BYTES, Accepted, Archive, Bundle, BundleFile, BundleKey, BundleKeys, BundleSignature, BundleSigner,
    ENTRIES, MODULE, MODULE_BYTES, Manifest, Metadata, PATH_BYTES, RATIO, Revision, SIGNATURES, Trust, UNPACKED_BYTES,
    Verification, WasmModule,
};
pub use cases::{CASES, CASES_PATIENCE, Case, CaseOutcome, run_cases};
pub use check::{
    Annotation, BUILTINS, Builtin, CheckReport, Finding, OBLIGATIONS, Severity, annotations, check, check_language,
};
pub use coverage::{Coverage, FileCoverage, Line, RuleCoverage, coverage};
pub use decision::{Decision, Effect, PolicyIdentity, Reason, Verdict};
pub use explain::{
    Ask, Change, ConditionAccount, DefinitionAccount, EVALUATIONS, Explanation, Law, Nature, Outcome, Reading,
    RuleAccount, Source, Way, explain,
};
pub use inputs::{Granularity, InputPaths, SECTIONS};
pub use odrl::{Offer, Registry, TermFinding, Terms, TermsSummary, offer, read as read_agreement};
pub use policy::{BUDGET, EngineOptions, Policy};
pub use policy_set::{InForce, PolicySet};
pub use private::private_directory;
pub use question::{Dataset, Direction, Question};
pub use reads::Reads;
pub use ruling::{Denial, Permit, Ruling, rule};
pub use shadow::{Shadow, ShadowAnswer, ShadowFigures, ShadowMode};
pub use trial::{Answer, Disagreement, FEWEST_INPUTS, Findings, SecondEngine, Trial, TrialReport};

use crate::types::Blame;

/// Why a policy or an agreement cannot be loaded, or a policy did not answer.
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
    /// An approval does not hold.
    #[error("{0}")]
    Approval(String),
    /// An agreement in ODRL is refused: what of it cannot be enforced or read, in the order of lines.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Agreement(Vec<TermFinding>),
    /// The policy gives no decision for this input.
    #[error("the policy gives no decision for this input")]
    Undefined,
    /// Evaluation failed.
    #[error("the policy failed: {0}")]
    Failed(String),
    /// Evaluation took longer than its budget.
    #[error("the policy took longer than its budget")]
    Overrun,
    /// The two engines that read the policy give different answers, so that neither is believed.
    #[error("the engines disagree: {0}")]
    Disagreement(String),
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
            Self::Approval(_) => "approval_invalid",
            Self::Agreement(_) => "agreement_unusable",
            Self::Undefined => "policy_undefined",
            Self::Failed(_) => "policy_failed",
            Self::Overrun => "policy_overrun",
            Self::Disagreement(_) => "engines_disagree",
            Self::Malformed(_) => "policy_malformed",
        }
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        Blame::Operator
    }
}
