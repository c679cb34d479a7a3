//! Which conditions of a policy hold for an input: each body is asked again, condition by condition.
//!
//! For every condition a rule is written that holds when this condition and those before it hold, in the package and
//! under the imports of its file, and the interpreter evaluates all of them beside the policy. So the answer is the
//! engine's own, loops and local variables included, and the policy's source stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use serde::Serialize;
use serde_json::Value;

use super::outline::Outline;
use crate::decide::engine::TIMER_UNITS;
use crate::decide::{Bundle, DecideError};

/// The rule that collects what holds. Nobody's policy has one by this name, or the source is refused.
const COLLECTED: &str = "sekisho_conditions_that_hold";
/// The longest that one trace may take: a person waits for it, and nothing else does.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a condition came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds, together with those before it or by itself.
    Holds,
    /// It does not.
    Fails,
    /// One before it fails, and it cannot be judged without that one.
    NotReached,
}

/// Evaluates the conditions of one policy.
pub(super) struct Tracer {
    engine: regorus::Engine,
    packages: BTreeSet<String>,
    probes: Vec<Probe>,
}

/// One question: does this condition hold, by itself or after those before it?
struct Probe {
    definition: usize,
    body: usize,
    condition: usize,
    alone: bool,
}

/// The probes that hold.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord, Clone)]
pub(super) struct Trace(BTreeSet<usize>);

impl Tracer {
    /// Writes the questions for every condition outside functions, whose conditions depend on their arguments.
    pub(super) fn new(bundle: &Bundle, outline: &Outline) -> Result<Self, DecideError> {
        if let Some(source) = bundle.sources().iter().find(|source| source.text.contains(COLLECTED)) {
            return Err(DecideError::unusable(format!("{}: {COLLECTED} is a name kept for explanations", source.path)));
        }
        let (mut texts, mut probes): (BTreeMap<&str, String>, Vec<Probe>) = (BTreeMap::new(), Vec::new());
        let mut packages = BTreeSet::new();
        for (place, definition) in outline.definitions.iter().enumerate().filter(|(_, one)| !one.function) {
            let Some(head) = outline.heads.get(&definition.file) else { continue };
            let text = texts.entry(&definition.file).or_insert_with(|| head.text.clone());
            for (body, conditions) in definition.bodies.iter().enumerate() {
                let mut before = String::new();
                if !conditions.is_empty() {
                    packages.insert(head.package.clone());
                }
                for (number, condition) in conditions.iter().enumerate() {
                    before.push_str(&format!("\t{}\n", condition.text));
                    let mut ask = |alone: bool, conditions: &str| {
                        text.push_str(&format!("{COLLECTED} contains {} if {{\n{conditions}}}\n", probes.len()));
                        probes.push(Probe { definition: place, body, condition: number, alone });
                    };
                    ask(false, &before);
                    if condition.alone && number > 0 {
                        ask(true, &format!("\t{}\n", condition.text));
                    }
                }
            }
        }
        let mut engine = regorus::Engine::new();
        // A condition asked by itself may meet what those before it kept away; that is no answer, not an error.
        engine.set_strict_builtin_errors(false);
        engine.set_execution_timer_config(ExecutionTimerConfig { limit: PATIENCE, check_interval: TIMER_UNITS });
        let failed = |file: &str, error: &dyn std::fmt::Display| {
            DecideError::Failed(format!("the conditions of {file} cannot be asked one by one: {error}"))
        };
        for source in bundle.sources() {
            engine
                .add_policy(source.path.clone(), source.text.clone())
                .map_err(|error| failed(&source.path, &error))?;
        }
        for (file, text) in &texts {
            engine.add_policy(format!("{file} (conditions)"), text.clone()).map_err(|error| failed(file, &error))?;
        }
        engine.add_data_json(&bundle.data().to_string()).map_err(|error| failed("the data", &error))?;
        Ok(Self { engine, packages, probes })
    }

    /// What holds for this input.
    pub(super) fn trace(&mut self, input: &Value) -> Result<Trace, DecideError> {
        let failed = |error: &dyn std::fmt::Display| DecideError::Failed(error.to_string());
        let mut held = BTreeSet::new();
        for package in &self.packages {
            self.engine.set_input_json(&input.to_string()).map_err(|error| failed(&error))?;
            let engine = &mut self.engine;
            let found = catch_unwind(AssertUnwindSafe(|| engine.eval_rule(format!("{package}.{COLLECTED}"))))
                .map_err(|_| failed(&"the policy engine crashed"))?
                .map_err(|error| failed(&error))?;
            // Where nothing holds, the set is empty.
            if let Ok(found) = found.as_set() {
                held.extend(found.iter().filter_map(|number| usize::try_from(number.as_u64().ok()?).ok()));
            }
        }
        Ok(Trace(held))
    }

    /// The part of a trace that is about these definitions.
    pub(super) fn about(&self, trace: &Trace, definitions: &BTreeSet<usize>) -> Trace {
        let held = trace.0.iter().copied();
        Trace(held.filter(|probe| definitions.contains(&self.probes[*probe].definition)).collect())
    }

    /// How each condition of each body of a definition came out.
    pub(super) fn outcomes(&self, trace: &Trace, outline: &Outline, definition: usize) -> Vec<Vec<Outcome>> {
        let bodies = &outline.definitions[definition].bodies;
        let mut outcomes: Vec<Vec<Outcome>> =
            bodies.iter().map(|conditions| vec![Outcome::NotReached; conditions.len()]).collect();
        for (number, probe) in self.probes.iter().enumerate().filter(|(_, probe)| probe.definition == definition) {
            let outcome = &mut outcomes[probe.body][probe.condition];
            match (trace.0.contains(&number), probe.alone) {
                (true, _) => *outcome = Outcome::Holds,
                // By itself is asked second, and says more than that one before it failed.
                (false, true) => *outcome = Outcome::Fails,
                (false, false) => {}
            }
        }
        for (conditions, body) in outcomes.iter_mut().zip(bodies) {
            // The first that does not hold after those before it is the one that fails.
            if let Some(first) = conditions.iter().position(|outcome| *outcome != Outcome::Holds)
                && (conditions[..first].iter().all(|outcome| *outcome == Outcome::Holds) || body[first].alone)
            {
                conditions[first] = Outcome::Fails;
            }
        }
        outcomes
    }
}
