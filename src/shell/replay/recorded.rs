//! A decision as the log tells it.

use serde::Deserialize;

use super::Span;
use crate::record::ReadEntry;
use crate::types::{Digest, Obligation};

/// What one entry means to a replay.
pub(super) enum Step {
    /// A policy was asked.
    Decided(Box<Recorded>),
    /// The request was refused without asking one.
    RefusedUnasked,
    /// An outcome, or not in the span.
    Other,
}

/// A decision that a policy was asked for.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) index: u64,
    pub(super) exchange: String,
    pub(super) at: String,
    pub(super) direction: String,
    pub(super) partner: Option<String>,
    pub(super) dataset: Option<String>,
    pub(super) decision: String,
    pub(super) code: Option<String>,
    pub(super) approved: bool,
    /// The agreement that it was asked under stood against it, too, as it would whatever a policy says.
    pub(super) agreement_denied: bool,
    /// The rules of the policies. Those of the agreement are left out: a candidate is asked without one.
    pub(super) rules: Vec<String>,
    /// What the policies demanded, without what the agreement did.
    pub(super) obligations: Vec<Obligation>,
    pub(super) input: Digest,
    pub(super) policy: Option<Digest>,
}

/// The members of a decision entry that matter here. Others are left alone, so that a log of a later version is read.
#[derive(Deserialize)]
struct Entry {
    kind: String,
    exchange: Option<String>,
    at: Option<String>,
    direction: Option<String>,
    provider: Option<String>,
    consumer: Option<String>,
    dataset: Option<String>,
    agreement: Option<String>,
    decision: Option<String>,
    code: Option<String>,
    #[serde(default)]
    approvals: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    reasons: Vec<Rule>,
    #[serde(default)]
    obligations: Vec<Obligation>,
    input: Option<Digest>,
    policy: Option<PolicyDigest>,
}

#[derive(Deserialize)]
struct Rule {
    rule: String,
}

#[derive(Deserialize)]
struct PolicyDigest {
    digest: Digest,
}

impl Recorded {
    pub(super) fn read(entry: ReadEntry, span: &Span) -> Step {
        let index = entry.index.0;
        let Ok(entry) = serde_json::from_value::<Entry>(entry.payload) else { return Step::Other };
        let at = entry.at.unwrap_or_default();
        let day = at.get(.."YYYY-MM-DD".len()).unwrap_or_default();
        let inside = span.from.as_deref().is_none_or(|from| day >= from)
            && span.until.as_deref().is_none_or(|until| day < until);
        if entry.kind != "decision" || !inside {
            return Step::Other;
        }
        let (Some(input), Some(decision)) = (entry.input, entry.decision) else { return Step::RefusedUnasked };
        let direction = entry.direction.unwrap_or_default();
        let partner = if direction == "export" { entry.consumer } else { entry.provider };
        let agreement = entry.agreement.as_deref();
        let (of_agreement, mut rules): (Vec<String>, Vec<String>) =
            entry.reasons.into_iter().map(|reason| reason.rule).partition(|rule| is_of(agreement, rule));
        rules.dedup();
        let mut obligations = entry.obligations;
        obligations.retain(|obligation| !is_of(agreement, &obligation.rule));
        Step::Decided(Box::new(Self {
            index,
            exchange: entry.exchange.unwrap_or_default(),
            at,
            direction,
            partner,
            dataset: entry.dataset,
            decision,
            code: entry.code,
            approved: !entry.approvals.is_empty(),
            agreement_denied: !of_agreement.is_empty(),
            rules,
            obligations,
            input,
            policy: entry.policy.map(|policy| policy.digest),
        }))
    }
}

/// Whether a rule is of the agreement that the exchange names: `ODRL:<agreement>`, or with `#` and its number. A policy may
/// call a rule of its own what it likes, so that the beginning alone would not do.
fn is_of(agreement: Option<&str>, rule: &str) -> bool {
    let rest = agreement.and_then(|agreement| rule.strip_prefix("ODRL:")?.strip_prefix(agreement));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}
