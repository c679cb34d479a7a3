//! Why a policy decides as it does: rule by rule, which fired, which did not, and what would have permitted it.
//!
//! Rules are what the policy's annotations call so: every `# METADATA` with a rule id in `custom.rule`. What fired is in
//! the decision. Why is read from the source: each condition of a rule is asked again, and so are the rules that it leads
//! to. What would have permitted it is searched for among the values that the policy names.

mod annotations;
mod candidates;
mod outline;
mod search;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

pub use annotations::{Law, Source};
pub use search::{Change, EVALUATIONS, Nature, Way};
pub use trace::Outcome;

use super::{Bundle, DecideError, Decision, Reason};
use crate::types::Obligation;
use annotations::Annotation;
use candidates::{Candidates, at};
use outline::{Outline, one_line};
use search::Search;
use trace::{Trace, Tracer};

pub(super) use annotations::laws;

/// Something that evaluates an input to a decision: whichever engine the policy may run in.
pub type Ask<'a> = dyn FnMut(&Value) -> Result<Decision, DecideError> + 'a;

/// How much of a policy may be looked at in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Its source is the operator's own, and may be parsed and interpreted.
    Source,
    /// Others wrote it: its decisions and annotations are told, its source is left alone.
    DecisionsOnly,
}

/// How deep rules that lead to rules are followed.
const DEPTH: usize = 5;

/// Why an input is decided as it is.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// Every rule of the policy, in the order of their ids.
    pub rules: Vec<RuleAccount>,
    /// Ways to a permit, the easiest first; empty when it is one, or when none was found.
    pub permitted_if: Vec<Way>,
    /// Whether the search for ways ended with its budget, so that there may be more.
    pub search_cut_short: bool,
    /// Whether the conditions were looked at: not for a policy that others wrote.
    pub conditions_read: bool,
}

/// What one rule had to say.
#[derive(Debug, Serialize)]
pub struct RuleAccount {
    /// What it states.
    pub law: Law,
    /// Whether it gave a reason or a duty.
    pub fired: bool,
    /// Why it stands against a permit.
    pub reasons: Vec<Reason>,
    /// What it demands.
    pub obligations: Vec<Obligation>,
    /// What it read; `None` for what is not stated.
    pub reads: BTreeMap<String, Option<Value>>,
    /// How its definitions came out.
    pub definitions: Vec<DefinitionAccount>,
    /// What takes its reasons away, the easiest first.
    pub silent_if: Vec<Way>,
}

/// How one definition came out.
#[derive(Debug, Clone, Serialize)]
pub struct DefinitionAccount {
    /// Its name.
    pub name: String,
    /// Its place, as `file:line`.
    pub place: String,
    /// The head as it is written.
    pub head: String,
    /// Whether one of its bodies holds.
    pub holds: bool,
    /// Its bodies, of which one is enough.
    pub bodies: Vec<Vec<ConditionAccount>>,
}

/// How one condition came out.
#[derive(Debug, Clone, Serialize)]
pub struct ConditionAccount {
    /// Its place, as `file:line`.
    pub place: String,
    /// The condition as it is written, on one line.
    pub text: String,
    /// How it came out.
    pub outcome: Outcome,
    /// The rules that it leads to, where they say why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<DefinitionAccount>,
}

/// Explains the decision on an input; the search for what would have permitted it takes so many `evaluations` at most.
///
/// # Errors
/// [`DecideError`] when there is no decision to explain, or the policy's source or annotations cannot be read.
pub fn explain(
    bundle: &Bundle,
    input: &Value,
    ask: &mut Ask<'_>,
    reading: Reading,
    evaluations: usize,
) -> Result<Explanation, DecideError> {
    let decision = ask(input)?;
    let (laws, places) = laws(bundle)?;
    let (outline, mut tracer) = match reading {
        Reading::Source => {
            let outline = Outline::read(bundle)?;
            let tracer = Tracer::new(bundle, &outline)?;
            (outline, Some(tracer))
        }
        Reading::DecisionsOnly => (Outline::default(), None),
    };
    let trace = match &mut tracer {
        Some(tracer) => tracer.trace(input)?,
        None => Trace::default(),
    };
    let starts = starts(&outline, &laws, &places);
    let candidates = Candidates::new(bundle, &outline, laws.iter().map(|law| law.rule.clone()));
    let mut search = Search {
        input,
        decision: &decision,
        candidates: &candidates,
        outline: &outline,
        tracer: tracer.as_mut(),
        ask,
        left: evaluations,
    };
    let mut found = search.run(&laws, &starts)?;
    let mut rules = Vec::new();
    for law in laws {
        let reasons: Vec<Reason> =
            decision.reasons().iter().filter(|reason| reason.rule == law.rule).cloned().collect();
        let obligations: Vec<Obligation> =
            decision.obligations().iter().filter(|duty| duty.rule == law.rule).cloned().collect();
        let own = starts.get(&law.rule).map_or(&[][..], Vec::as_slice);
        let definitions = match &tracer {
            Some(tracer) => own
                .iter()
                .map(|place| Teller { outline: &outline, tracer, trace: &trace }.tell(*place, &BTreeSet::new()))
                .collect(),
            None => Vec::new(),
        };
        rules.push(RuleAccount {
            fired: !reasons.is_empty() || !obligations.is_empty(),
            reasons,
            obligations,
            reads: law.inputs.iter().map(|path| (path.clone(), at(input, path).cloned())).collect(),
            definitions,
            silent_if: found.by_rule.remove(&law.rule).unwrap_or_default(),
            law,
        });
    }
    Ok(Explanation {
        decision,
        rules,
        permitted_if: found.permits,
        search_cut_short: found.cut_short,
        conditions_read: tracer.is_some(),
    })
}

/// Where each law is defined: the definitions below its annotations whose head names its id; where none does, those that
/// add to a set.
fn starts(outline: &Outline, laws: &[Law], places: &[Annotation]) -> BTreeMap<String, Vec<usize>> {
    let mut starts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for law in laws {
        let below = outline.definitions.iter().enumerate().filter(|(_, definition)| {
            let above = places.iter().filter(|place| place.file == definition.file && place.line < definition.line);
            above.max_by_key(|place| place.line).is_some_and(|place| place.rule == law.rule)
        });
        let below: Vec<_> = below.collect();
        let naming = below.iter().filter(|(_, definition)| definition.mentions.strings.contains(&law.rule));
        let mut own: Vec<usize> = naming.map(|(place, _)| *place).collect();
        if own.is_empty() {
            own = below.iter().filter(|(_, definition)| definition.partial).map(|(place, _)| *place).collect();
        }
        starts.insert(law.rule.clone(), own);
    }
    starts
}

/// Tells how definitions came out.
#[derive(Clone, Copy)]
struct Teller<'a> {
    outline: &'a Outline,
    tracer: &'a Tracer,
    trace: &'a Trace,
}

impl Teller<'_> {
    fn tell(self, place: usize, above: &BTreeSet<usize>) -> DefinitionAccount {
        let definition = &self.outline.definitions[place];
        let outcomes = self.tracer.outcomes(self.trace, self.outline, place);
        let mut above = above.clone();
        above.insert(place);
        let bodies = definition.bodies.iter().zip(&outcomes).map(|(conditions, outcomes)| {
            let told = conditions.iter().zip(outcomes).map(|(condition, outcome)| ConditionAccount {
                place: format!("{}:{}", definition.file, condition.line),
                text: one_line(&condition.text),
                outcome: *outcome,
                because: match outcome {
                    Outcome::NotReached => Vec::new(),
                    Outcome::Holds | Outcome::Fails => self.because(&condition.mentions.names, &above),
                },
            });
            told.collect()
        });
        DefinitionAccount {
            name: definition.name.clone(),
            place: format!("{}:{}", definition.file, definition.line),
            head: definition.head.clone(),
            holds: outcomes.iter().any(|outcomes| outcomes.iter().all(|outcome| *outcome == Outcome::Holds)),
            bodies: bodies.collect(),
        }
    }

    /// The rules by these names whose conditions say why, but for those that led here.
    fn because(self, names: &BTreeSet<String>, above: &BTreeSet<usize>) -> Vec<DefinitionAccount> {
        if above.len() >= DEPTH {
            return Vec::new();
        }
        let named = names.iter().flat_map(|name| self.outline.named(name));
        let telling = named.filter(|(place, definition)| {
            let judges = definition.bodies.iter().any(|conditions| !conditions.is_empty());
            judges && !definition.function && !above.contains(place) && (definition.partial || !definition.valued)
        });
        telling.map(|(place, _)| self.tell(place, above)).collect()
    }
}
