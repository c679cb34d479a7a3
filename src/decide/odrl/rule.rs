//! One rule of an agreement: a permission or a prohibition.

use super::action::Actions;
use super::condition::Condition;
use crate::types::{DatasetId, Obligation};

/// Whether a rule gives or takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Permission,
    Prohibition,
}

/// A permission or a prohibition.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    /// Its place among the rules, from 1: permissions first, then prohibitions, then obligations.
    pub(super) number: usize,
    /// Where it stands.
    pub(super) line: usize,
    /// ODRL's words for what it is about.
    pub(super) names: Vec<String>,
    /// The actions of ours that it gives or takes away.
    pub(super) actions: Actions,
    pub(super) datasets: Vec<DatasetId>,
    pub(super) condition: Condition,
    /// What must be done with data that crosses under it.
    pub(super) obligations: Vec<Obligation>,
}

impl Rule {
    /// Whether it speaks of this action on this dataset.
    pub(super) fn concerns(&self, dataset: &DatasetId, action: &str) -> bool {
        self.actions.contain(action) && self.datasets.contains(dataset)
    }

    /// The top of its condition, part by part.
    pub(super) fn parts(&self) -> &[Condition] {
        match &self.condition {
            Condition::All(parts) => parts,
            one => std::slice::from_ref(one),
        }
    }
}
