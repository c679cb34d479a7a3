//! Which other values a field could have, as the policy itself names them.
//!
//! A policy tells which values matter to it: the constants that it compares a field with, the lists of its data that it
//! looks the field up in, and the values in its worked cases. Nothing else is tried.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::outline::{Condition, Definition, Mentions, Outline};
use crate::decide::{Bundle, Case, SECTIONS};

/// The most values tried for one field: more than the countries of the reference policy, so that each is tried.
const MOST_VALUES: usize = 96;
/// Stands for any text, where a policy only asks that there be one.
pub(super) const STAND_IN: &str = "(as it is)";

/// What is known of the values of fields.
pub(super) struct Candidates<'a> {
    outline: &'a Outline,
    data: &'a Value,
    cases: Vec<Value>,
    /// Words that are no values: names of members and rule ids.
    names: BTreeSet<String>,
}

/// The kinds of values that a field has.
#[derive(Debug, Default)]
struct Kinds {
    truth: bool,
    text: bool,
    number: bool,
    list: bool,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(bundle: &'a Bundle, outline: &'a Outline, rules: impl Iterator<Item = String>) -> Self {
        let cases = bundle.cases().iter().filter_map(|file| serde_json::from_str::<Vec<Case>>(&file.text).ok());
        let members = bundle.manifest().metadata.inputs.iter();
        let members = members.filter_map(|path| path.split_once('.')).map(|(_, member)| member.to_owned());
        Self {
            outline,
            data: bundle.data(),
            cases: cases.flatten().map(|case| case.input).collect(),
            names: members.chain(SECTIONS.map(str::to_owned)).chain(rules).collect(),
        }
    }

    /// Other values for the field at `path`, `None` for none at all; those that the `reached` definitions name come first.
    pub(super) fn of(&self, path: &str, input: &Value, reached: &BTreeSet<usize>) -> Vec<Option<Value>> {
        // When it is, nobody chooses.
        if path == "at" {
            return Vec::new();
        }
        let current = at(input, path);
        let observed: Vec<&Value> = self.cases.iter().filter_map(|case| at(case, path)).collect();
        let kinds = self.kinds(path, current, &observed);
        let mut found: Vec<Option<Value>> = Vec::new();
        if kinds.truth {
            found.extend([Some(json!(true)), Some(json!(false))]);
        }
        let (terms, numbers) = self.terms(path, input, reached);
        if kinds.text {
            found.extend(terms.iter().map(|term| Some(json!(term))));
        }
        if kinds.number {
            let around = numbers.iter().flat_map(|number| [number - 1.0, *number, number + 1.0]);
            found.extend(around.filter(|number| *number >= 0.0).map(|number| match number.fract() == 0.0 {
                true => Some(json!(number as u64)),
                false => Some(json!(number)),
            }));
        }
        if kinds.list {
            let items: Vec<Value> = current.and_then(Value::as_array).cloned().unwrap_or_default();
            for place in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(place);
                found.push(Some(fewer.into()));
            }
            let missing: Vec<Value> =
                terms.iter().map(|term| json!(term)).filter(|term| !items.contains(term)).collect();
            for term in &missing {
                found.push(Some([items.as_slice(), std::slice::from_ref(term)].concat().into()));
            }
            found.push(Some([items, missing].concat().into()));
        }
        // Another case's whole list says nothing of this one; where none is stated, or of objects, it is an example.
        let fits = |value: &&Value| match value.as_array() {
            Some(items) => current.is_none() || items.iter().any(Value::is_object),
            None => !value.is_null(),
        };
        found.extend(observed.into_iter().filter(fits).map(|value| Some(value.clone())));
        if current.is_some() {
            found.push(None);
        }
        let mut seen: Vec<Option<Value>> = vec![current.cloned()];
        for value in found {
            if !seen.contains(&value) && seen.len() <= MOST_VALUES {
                seen.push(value);
            }
        }
        seen.split_off(1)
    }

    /// How the policy reads a field, and what it is in this input and in the cases.
    fn kinds(&self, path: &str, current: Option<&Value>, observed: &[&Value]) -> Kinds {
        let mut kinds = Kinds::default();
        for value in observed.iter().copied().chain(current) {
            match value {
                Value::Bool(_) => kinds.truth = true,
                Value::String(_) => kinds.text = true,
                Value::Number(_) => kinds.number = true,
                Value::Array(_) => kinds.list = true,
                Value::Null | Value::Object(_) => {}
            }
        }
        let mut hint = |mentions: &Mentions| {
            let calls = |name: &str| mentions.calls.contains(name);
            kinds.text |= calls("is_string");
            kinds.number |= calls("is_number");
            kinds.list |= calls("is_array");
            kinds.truth |= mentions.truths && !calls("is_object");
        };
        for condition in self.conditions().filter(|condition| names(&condition.mentions, path)) {
            hint(&condition.mentions);
        }
        let readers = self.conditions().map(|condition| &condition.mentions);
        let readers = readers.chain(self.outline.definitions.iter().map(|definition| &definition.mentions));
        let called: BTreeSet<&String> = readers.filter(|one| names(one, path)).flat_map(|one| &one.calls).collect();
        for name in called {
            for (_, function) in self.outline.named(name) {
                // Only what is read by its own name says how: a function with further conditions judges something else.
                function.bodies.iter().flatten().for_each(|condition| hint(&condition.mentions));
            }
        }
        kinds
    }

    /// The texts and numbers that the reached definitions name beside a field or beside a rule that stands for it.
    fn terms(&self, path: &str, input: &Value, reached: &BTreeSet<usize>) -> (Vec<String>, Vec<f64>) {
        let definitions = || reached.iter().map(|place| &self.outline.definitions[*place]);
        let stands_for = |definition: &&Definition| {
            definition.valued && !definition.partial && !definition.function && {
                let conditions = definition.bodies.iter().flatten().map(|condition| &condition.mentions);
                conditions.chain([&definition.mentions]).any(|mentions| names(mentions, path))
            }
        };
        let aliases: BTreeSet<&String> = definitions().filter(stands_for).map(|definition| &definition.name).collect();
        let beside =
            |mentions: &&Mentions| names(mentions, path) || mentions.names.iter().any(|name| aliases.contains(name));
        let mentions = definitions().flat_map(|definition| {
            definition.bodies.iter().flatten().map(|condition| &condition.mentions).chain([&definition.mentions])
        });
        let (mut terms, mut numbers): (Vec<String>, Vec<f64>) = (Vec::new(), Vec::new());
        let mut add = |term: &str| {
            let term = if term.is_empty() { STAND_IN } else { term };
            if !self.names.contains(term) && !terms.iter().any(|other| other == term) {
                terms.push(term.to_owned());
            }
        };
        for mentions in mentions.filter(beside) {
            mentions.strings.iter().for_each(|text| add(text));
            mentions.named_in(self.data).into_iter().for_each(&mut add);
            numbers.extend(&mentions.numbers);
            for path in &mentions.data {
                let value = path.iter().try_fold(self.data, |value, name| value.get(name));
                numbers.extend(value.and_then(Value::as_f64));
            }
            // What is offered in the same breath, such as the purposes of a dataset.
            for name in &mentions.members {
                let offered = SECTIONS.iter().filter_map(|section| input.get(section)?.get(name)?.as_array()).flatten();
                offered.filter_map(Value::as_str).for_each(&mut add);
            }
            for called in &mentions.calls {
                for (_, function) in self.outline.named(called) {
                    let inside = function.bodies.iter().flatten().map(|condition| &condition.mentions);
                    for mentions in inside.chain([&function.mentions]) {
                        mentions.named_in(self.data).into_iter().for_each(&mut add);
                    }
                }
            }
        }
        (terms, numbers)
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.outline.definitions.iter().flat_map(|definition| definition.bodies.iter().flatten())
    }
}

/// Whether an expression names the field at `path`: its member, and no other section.
fn names(mentions: &Mentions, path: &str) -> bool {
    let (section, member) = path.split_once('.').map_or((path, None), |(section, member)| (section, Some(member)));
    let Some(member) = member else { return mentions.members.contains(section) && mentions.names.contains("input") };
    let named = mentions.strings.contains(member) || mentions.members.contains(member);
    let sections: Vec<&str> = SECTIONS.into_iter().filter(|other| mentions.names.contains(*other)).collect();
    named && (sections.is_empty() || sections.contains(&section))
}

/// The value at a section or a member of one.
pub(super) fn at<'v>(input: &'v Value, path: &str) -> Option<&'v Value> {
    match path.split_once('.') {
        Some((section, member)) => input.get(section)?.get(member),
        None => input.get(path),
    }
}

/// The input with another value at `path`, or none.
pub(super) fn with(input: &Value, path: &str, value: Option<&Value>) -> Value {
    let mut changed = input.clone();
    if !changed.is_object() {
        changed = json!({});
    }
    let (section, member) = path.split_once('.').map_or((path, None), |(section, member)| (section, Some(member)));
    let mut place = &mut changed;
    let name = match member {
        None => section,
        Some(member) => {
            if !place[section].is_object() {
                place[section] = json!({});
            }
            place = &mut place[section];
            member
        }
    };
    match (place.as_object_mut(), value) {
        (Some(members), Some(value)) => {
            members.insert(name.to_owned(), value.clone());
        }
        (Some(members), None) => {
            members.remove(name);
        }
        (None, _) => {}
    }
    changed
}
