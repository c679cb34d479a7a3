//! An agreement's terms, and how an exchange fares under them.

use serde::Serialize;

use super::Use;
use super::condition::{Condition, Situation};
use super::rule::{Kind, Rule};
use super::uses::{Uses, sum};
use crate::decide::{Effect, Question, Reason};
use crate::types::{DatasetId, Obligation, PartyId, Timestamp};

/// The terms of one agreement, understood in full.
#[derive(Debug)]
pub struct Terms {
    pub(super) agreement: String,
    pub(super) uid: String,
    pub(super) assignee: PartyId,
    pub(super) rules: Vec<Rule>,
    /// What must be done with all data that crosses under the agreement.
    pub(super) obligations: Vec<Obligation>,
    pub(super) uses: Uses,
}

/// How an exchange fares under an agreement.
#[derive(Debug, Default)]
pub(crate) struct Weighed {
    /// What stands against it; empty when the agreement permits it.
    pub(crate) reasons: Vec<Reason>,
    /// What the agreement demands of it.
    pub(crate) obligations: Vec<Obligation>,
    /// The use that was taken, where the agreement counts.
    pub(crate) taken: Option<Use>,
}

/// What the gateway would enforce, for people and programs that look at an agreement.
#[derive(Debug, Serialize)]
pub struct TermsSummary {
    /// The agreement's own id.
    pub uid: String,
    /// The partner.
    pub assignee: PartyId,
    /// The rules in the order of the document.
    pub rules: Vec<RuleSummary>,
    /// What is demanded of every exchange.
    pub obligations: Vec<Obligation>,
}

/// One rule of a [`TermsSummary`].
#[derive(Debug, Serialize)]
pub struct RuleSummary {
    /// Its number, from 1: permissions first, then prohibitions, then obligations.
    pub number: usize,
    /// Where it stands.
    pub line: usize,
    /// `permits` or `forbids`.
    pub effect: &'static str,
    /// ODRL's words for the actions.
    pub odrl: Vec<String>,
    /// The actions of ours that they stand for.
    pub actions: Vec<&'static str>,
    /// The datasets.
    pub datasets: Vec<DatasetId>,
    /// The condition in words; `always` when there is none.
    pub when: String,
    /// What is demanded of data that crosses under it.
    pub obligations: Vec<Obligation>,
}

impl Terms {
    /// The agreement's own id, an IRI as a rule.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The partner.
    pub fn assignee(&self) -> &PartyId {
        &self.assignee
    }

    /// The datasets that a permission covers, each once, in the order of the document.
    pub fn datasets(&self) -> Vec<DatasetId> {
        let mut datasets = Vec::new();
        for dataset in self.permissions().flat_map(|rule| &rule.datasets) {
            if !datasets.contains(dataset) {
                datasets.push(dataset.clone());
            }
        }
        datasets
    }

    /// Whether uses are counted, so that those on record have to be told with [`Terms::count_recorded`].
    pub fn counts(&self) -> bool {
        self.rules.iter().any(|rule| rule.condition.counts())
    }

    /// Counts a use that stands in the record.
    pub fn count_recorded(&self, dataset: &DatasetId, action: &str) {
        self.uses.take(&mut self.uses.lock(), dataset, action).recorded();
    }

    /// What is enforced, in words.
    pub fn summary(&self) -> TermsSummary {
        let rules = self.rules.iter().map(|rule| RuleSummary {
            number: rule.number,
            line: rule.line,
            effect: match rule.kind {
                Kind::Permission => "permits",
                Kind::Prohibition => "forbids",
            },
            odrl: rule.names.clone(),
            actions: rule.actions.words(),
            datasets: rule.datasets.clone(),
            when: rule.condition.to_string(),
            obligations: rule.obligations.clone(),
        });
        TermsSummary {
            uid: self.uid.clone(),
            assignee: self.assignee.clone(),
            rules: rules.collect(),
            obligations: self.obligations.clone(),
        }
    }

    fn permissions(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.kind == Kind::Permission)
    }

    /// Weighs an exchange at `now`. With `take`, a use is taken if the agreement permits it and counts.
    pub(crate) fn weigh(&self, question: &Question<'_>, now: Timestamp, take: bool) -> Weighed {
        if !self.counts() {
            return self.weigh_counted(question, now, |_| 0);
        }
        // Held from the look to the taking, so that two exchanges cannot both have the last use.
        let mut counts = self.uses.lock();
        let mut weighed = self.weigh_counted(question, now, |rule| sum(&counts, &rule.datasets, rule.actions));
        if take && weighed.reasons.is_empty() {
            weighed.taken = Some(self.uses.take(&mut counts, question.dataset.id(), question.action));
        }
        weighed
    }

    fn weigh_counted(&self, question: &Question<'_>, now: Timestamp, uses: impl Fn(&Rule) -> u64) -> Weighed {
        let mut weighed = Weighed::default();
        let mut permitted = false;
        let mut unmet = Vec::new();
        if *question.counterparty != self.assignee {
            let why = format!("The agreement is with {}, and not with the other side of this exchange.", self.assignee);
            weighed.reasons.push(self.reason(None, why));
        }
        for rule in self.rules.iter().filter(|rule| rule.concerns(question.dataset.id(), question.action)) {
            let situation = Situation {
                purpose: question.purpose.as_str(),
                recipient: question.counterparty,
                facts: question.counterparty_facts.map(),
                now,
                uses: if rule.condition.counts() { uses(rule) } else { 0 },
            };
            match (rule.kind, rule.condition.holds(&situation)) {
                (Kind::Permission, Some(true)) => {
                    permitted = true;
                    add(&mut weighed.obligations, &rule.obligations);
                }
                (Kind::Permission, _) => unmet.push(self.unmet(rule, &situation)),
                (Kind::Prohibition, Some(false)) => {}
                (Kind::Prohibition, _) => weighed.reasons.push(self.forbidden(rule, question.action)),
            }
        }
        if !permitted {
            if unmet.is_empty() {
                let why = format!("The agreement does not permit to {} this dataset.", verb(question.action));
                unmet.push(self.reason(None, why));
            }
            weighed.reasons.append(&mut unmet);
        }
        // A prohibition may demand something of the actions that it leaves: no onward transfer, where handing on is
        // forbidden.
        let left = |rule: &&Rule| rule.kind == Kind::Prohibition && rule.datasets.contains(question.dataset.id());
        for rule in self.rules.iter().filter(left) {
            add(&mut weighed.obligations, &rule.obligations);
        }
        add(&mut weighed.obligations, &self.obligations);
        weighed
    }

    fn unmet(&self, rule: &Rule, situation: &Situation<'_>) -> Reason {
        let parts: Vec<Condition> =
            rule.parts().iter().filter(|part| part.holds(situation) != Some(true)).cloned().collect();
        self.reason(Some(rule), format!("The agreement permits this only when {}.", Condition::All(parts)))
    }

    fn forbidden(&self, rule: &Rule, action: &str) -> Reason {
        let mut why = format!("The agreement forbids to {} this dataset", verb(action));
        if !rule.condition.is_always() {
            why.push_str(&format!(" when {}", rule.condition));
        }
        why.push('.');
        self.reason(Some(rule), why)
    }

    fn reason(&self, rule: Option<&Rule>, why: String) -> Reason {
        let rule = rule.map_or_else(|| format!("ODRL:{}", self.agreement), |rule| label(&self.agreement, rule.number));
        Reason {
            rule,
            effect: Effect::Deny,
            why,
            remedy: "Ask for what the agreement permits, or conclude another agreement.".to_owned(),
            approvers: Vec::new(),
            policy: None,
        }
    }
}

/// What a rule of an agreement goes by in reasons and obligations.
pub(super) fn label(agreement: &str, number: usize) -> String {
    format!("ODRL:{agreement}#{number}")
}

fn add(obligations: &mut Vec<Obligation>, more: &[Obligation]) {
    for obligation in more {
        if !obligations.contains(obligation) {
            obligations.push(obligation.clone());
        }
    }
}

/// An action as a sentence says it. An action of no vocabulary is not repeated: it is the other side's text.
fn verb(action: &str) -> &'static str {
    match action {
        "read" => "read",
        "transfer" => "transfer",
        "train" => "train on",
        "derive" => "derive from",
        "publish" => "publish",
        "file_abroad" => "file a patent abroad on",
        _ => "do this with",
    }
}
