//! What would have permitted it: the smallest changes of an input that take the reasons against it away.
//!
//! For each reason one field is changed, then two, among those that its rule reads and the values that the policy names.
//! Of pairs only such are tried whose halves each make some condition of the rule come out otherwise. Every way that is
//! reported was evaluated by the policy itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::candidates::{Candidates, at, with};
use super::outline::Outline;
use super::trace::{Trace, Tracer};
use super::{Ask, Law};
use crate::decide::{DecideError, Decision, Verdict};

/// Evaluations that one search takes at most: seconds of a person's time.
pub const EVALUATIONS: usize = 6000;
/// The most ways reported for one reason.
const MOST_WAYS: usize = 6;
/// The most other values named for one change.
const MOST_OTHERS: usize = 8;
/// The most pairs of values tried together for one reason.
const MOST_PAIRS: usize = 1500;

/// What a change would ask of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Nature {
    /// The requester may ask for something else: a purpose, an action.
    Choice,
    /// A paper could be put on file.
    Paper,
    /// A fact about a dataset or a party: it is so or it is not, and nobody chooses.
    Fact,
}

/// One field with another value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The field, such as `legal.mechanism`.
    pub path: String,
    /// What it is; absent when it is not stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it would be; absent for not stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
    /// Other values that do the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<Value>,
    /// What it would ask of people.
    pub nature: Nature,
}

/// Changes that together take a reason away, or all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Way {
    /// The changes, all needed.
    pub changes: Vec<Change>,
    /// What the whole decision would be.
    pub decision: Verdict,
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Ways to a permit.
    pub(super) permits: Vec<Way>,
    /// For each rule that stands against a permit, ways that take its reasons away.
    pub(super) by_rule: BTreeMap<String, Vec<Way>>,
    /// Whether the budget ended the search early.
    pub(super) cut_short: bool,
}

/// A search over one input.
pub(super) struct Search<'a, 'b> {
    pub(super) input: &'a Value,
    pub(super) decision: &'a Decision,
    pub(super) candidates: &'a Candidates<'a>,
    pub(super) outline: &'a Outline,
    pub(super) tracer: Option<&'a mut Tracer>,
    pub(super) ask: &'a mut Ask<'b>,
    pub(super) left: usize,
}

/// A value that was tried.
#[derive(Clone)]
struct Tried {
    path: String,
    value: Option<Value>,
}

/// Values that make conditions come out otherwise, by their field and by how they then come out.
type Steps = BTreeMap<(String, Trace), Vec<Tried>>;

impl Search<'_, '_> {
    /// Searches for each rule that stands against a permit. `laws` gives what it reads, `starts` where it is defined.
    pub(super) fn run(&mut self, laws: &[Law], starts: &BTreeMap<String, Vec<usize>>) -> Result<Found, DecideError> {
        let mut found = Found::default();
        let rules: BTreeSet<String> = self.decision.reasons().iter().map(|reason| reason.rule.clone()).collect();
        for rule in &rules {
            let Some(law) = laws.iter().find(|law| law.rule == *rule) else { continue };
            let reached = self.outline.reached_from(starts.get(rule).map_or(&[], Vec::as_slice));
            let ways = self.rule(rule, law, &reached)?;
            found.by_rule.insert(rule.clone(), ways);
        }
        let mut permits: Vec<Way> = Vec::new();
        for way in found.by_rule.values().flatten().filter(|way| way.decision == Verdict::Permit) {
            if !permits.contains(way) {
                permits.push(way.clone());
            }
        }
        if permits.is_empty() && rules.len() > 1 && found.by_rule.len() == rules.len() {
            permits = self.together(&found.by_rule)?;
        }
        permits.sort_by_key(weight);
        permits.truncate(MOST_WAYS);
        found.permits = permits;
        found.cut_short = self.left == 0;
        Ok(found)
    }

    /// One rule: single changes, then pairs where no single change of a paper or a choice does.
    fn rule(&mut self, rule: &str, law: &Law, reached: &BTreeSet<usize>) -> Result<Vec<Way>, DecideError> {
        let before = self.trace(self.input, reached);
        let (mut ways, mut steps) = (Vec::new(), Steps::new());
        let mut fields: Vec<&String> = law.inputs.iter().collect();
        fields.sort_by_key(|path| nature(path));
        for path in fields {
            let mut same: Vec<(Trace, Way)> = Vec::new();
            for value in self.candidates.of(path, self.input, reached) {
                let changed = with(self.input, path, value.as_ref());
                let Some(decision) = self.decide(&changed)? else { return Ok(finished(ways)) };
                let trace = self.trace(&changed, reached);
                if removed(&decision, rule) {
                    let known =
                        same.iter_mut().find(|(other, way)| *other == trace && way.decision == decision.verdict());
                    match (known, value) {
                        (Some((_, way)), Some(value)) => name_too(&mut way.changes[0], value),
                        (Some(_), None) => {}
                        (None, value) => {
                            let changes = vec![self.change(path, value)];
                            same.push((trace, Way { changes, decision: decision.verdict() }));
                        }
                    }
                } else if trace != before {
                    steps.entry((path.clone(), trace)).or_default().push(Tried { path: path.clone(), value });
                }
            }
            ways.extend(same.into_iter().map(|(_, way)| way));
        }
        if ways.iter().all(|way| way.changes.iter().any(|change| change.nature == Nature::Fact)) {
            self.pairs(rule, &steps, &mut ways)?;
        }
        Ok(finished(ways))
    }

    /// Pairs of values, each of which alone changed how a condition came out.
    fn pairs(&mut self, rule: &str, steps: &Steps, ways: &mut Vec<Way>) -> Result<(), DecideError> {
        let mut steps: Vec<&Vec<Tried>> = steps.values().collect();
        steps.sort_by_key(|step| nature(&step[0].path));
        let mut pairs: Vec<(&Vec<Tried>, &Vec<Tried>)> = Vec::new();
        for (place, one) in steps.iter().enumerate() {
            pairs.extend(
                steps[place + 1..].iter().filter(|other| other[0].path != one[0].path).map(|other| (*one, *other)),
            );
        }
        // What people can do something about comes before what is so or is not.
        pairs.sort_by_key(|(one, other)| nature(&one[0].path).max(nature(&other[0].path)));
        for (one, other) in pairs.into_iter().take(MOST_PAIRS) {
            let facts = [&one[0], &other[0]].iter().any(|step| nature(&step.path) == Nature::Fact);
            if facts && !ways.is_empty() {
                return Ok(());
            }
            let (first, second) = (&one[0], &other[0]);
            let half = with(self.input, &first.path, first.value.as_ref());
            let Some(decision) = self.decide(&with(&half, &second.path, second.value.as_ref()))? else { return Ok(()) };
            if !removed(&decision, rule) {
                continue;
            }
            let mut changes =
                vec![self.change(&first.path, first.value.clone()), self.change(&second.path, second.value.clone())];
            // Others that moved the same conditions are named only if they, too, do it.
            for (place, step) in [(0, one), (1, other)] {
                for tried in step.iter().skip(1).take(MOST_OTHERS) {
                    let held = [second, first][place];
                    let half = with(self.input, &tried.path, tried.value.as_ref());
                    let Some(same) = self.decide(&with(&half, &held.path, held.value.as_ref()))? else { break };
                    if same.verdict() == decision.verdict() && removed(&same, rule) {
                        changes[place].or.extend(tried.value.clone());
                    }
                }
            }
            ways.push(Way { changes, decision: decision.verdict() });
        }
        Ok(())
    }

    /// One way of each rule, all at once.
    fn together(&mut self, by_rule: &BTreeMap<String, Vec<Way>>) -> Result<Vec<Way>, DecideError> {
        let mut combined: Vec<Vec<Change>> = vec![Vec::new()];
        for ways in by_rule.values() {
            let mut next = Vec::new();
            for changes in &combined {
                for way in ways.iter().take(MOST_WAYS / 2) {
                    let new = way.changes.iter().filter(|change| changes.iter().all(|other| other.path != change.path));
                    // Another value for the same field could not stand beside the first.
                    let agree = way
                        .changes
                        .iter()
                        .all(|change| changes.iter().all(|other| other.path != change.path || other.to == change.to));
                    if agree {
                        next.push(changes.iter().chain(new).cloned().collect());
                    }
                }
            }
            next.sort_by_key(Vec::len);
            next.truncate(MOST_PAIRS / 10);
            combined = next;
        }
        let mut ways = Vec::new();
        for changes in combined {
            let changed =
                changes.iter().fold(self.input.clone(), |input, change| with(&input, &change.path, change.to.as_ref()));
            let Some(decision) = self.decide(&changed)? else { break };
            if decision.verdict() == Verdict::Permit {
                // The others were tried one rule at a time, not all together.
                let changes = changes.into_iter().map(|change| Change { or: Vec::new(), ..change }).collect();
                ways.push(Way { changes, decision: Verdict::Permit });
            }
            if ways.len() >= MOST_WAYS {
                break;
            }
        }
        Ok(ways)
    }

    /// The decision on a changed input; `None` when the budget is spent. An input on which the policy fails is no way out.
    fn decide(&mut self, input: &Value) -> Result<Option<Decision>, DecideError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        match (self.ask)(input) {
            Ok(decision) => Ok(Some(decision)),
            Err(DecideError::Bundle { code, why }) => Err(DecideError::Bundle { code, why }),
            // Nothing is known of it, so it stays as it was.
            Err(_) => Ok(Some(self.decision.clone())),
        }
    }

    fn trace(&mut self, input: &Value, definitions: &BTreeSet<usize>) -> Trace {
        let Some(tracer) = &mut self.tracer else { return Trace::default() };
        // A condition that fails on a changed input only makes the search know less.
        let trace = tracer.trace(input).unwrap_or_default();
        tracer.about(&trace, definitions)
    }

    fn change(&self, path: &str, to: Option<Value>) -> Change {
        Change { path: path.to_owned(), from: at(self.input, path).cloned(), to, or: Vec::new(), nature: nature(path) }
    }
}

/// What a change of this field would ask of people.
pub(super) fn nature(path: &str) -> Nature {
    match path.split('.').next() {
        Some("purpose" | "action") => Nature::Choice,
        Some("legal") => Nature::Paper,
        _ => Nature::Fact,
    }
}

/// Whether a decision has no reason by this rule.
fn removed(decision: &Decision, rule: &str) -> bool {
    decision.reasons().iter().all(|reason| reason.rule != rule)
}

fn name_too(change: &mut Change, value: Value) {
    if change.or.len() < MOST_OTHERS {
        change.or.push(value);
    }
}

/// Ways that lead to a permit first, then those that ask for the least.
fn finished(mut ways: Vec<Way>) -> Vec<Way> {
    ways.sort_by_key(weight);
    ways.truncate(MOST_WAYS);
    ways
}

fn weight(way: &Way) -> (Verdict, usize, usize, bool) {
    let facts = way.changes.iter().filter(|change| change.nature == Nature::Fact).count();
    // Leaving something unsaid is the weakest advice.
    let unsaid = way.changes.iter().any(|change| change.to.is_none());
    (way.decision, facts, way.changes.len(), unsaid)
}
