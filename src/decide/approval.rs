//! Approvals by a named person, which turn a `review` into a permit for a while.

use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::{Decision, Effect, Question};
use crate::types::Timestamp;

/// One approval of one partner's use of one dataset. It lifts the rules that it names and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its id, which the record cites.
    pub id: String,
    /// The partner.
    pub party: String,
    /// The dataset.
    pub dataset: String,
    /// Which way data flows: `export`, `import` or `request`.
    pub direction: String,
    /// The purpose.
    pub purpose: String,
    /// The action.
    pub action: String,
    /// The review rules that are lifted.
    pub rules: Vec<String>,
    /// Who approved.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// Until when, in seconds since the Unix epoch.
    pub expires: u64,
}

/// The approvals on file.
#[derive(Debug, Default)]
pub struct Approvals(RwLock<Vec<Approval>>);

impl Approvals {
    /// Puts an approval on file.
    pub fn add(&self, approval: Approval) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(approval);
    }

    /// All approvals on file, expired ones included.
    pub fn all(&self) -> Vec<Approval> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An approval that lifts every review in `decision` for this question, if one is on file and has not expired.
    pub(super) fn lifting(&self, question: &Question<'_>, decision: &Decision, now: Timestamp) -> Option<Approval> {
        let reviews: Vec<&str> = decision
            .reasons()
            .iter()
            .filter(|reason| reason.effect == Effect::Review)
            .map(|reason| reason.rule.as_str())
            .collect();
        // A review without a rule to lift cannot be lifted.
        if reviews.is_empty() {
            return None;
        }
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|approval| {
                approval.party == question.counterparty.as_str()
                    && approval.dataset == question.dataset.id().as_str()
                    && approval.direction == question.direction.as_str()
                    && approval.purpose == question.purpose.as_str()
                    && approval.action == question.action
                    && approval.expires > now.seconds()
                    && reviews.iter().all(|rule| approval.rules.iter().any(|lifted| lifted == rule))
            })
            .cloned()
    }
}
