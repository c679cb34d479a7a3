//! Inputs that nobody thought of: known ones, changed in ways in which engines and rules have been seen to go wrong.
//!
//! The first half goes through every part of an input in turn and does everything to it that there is to do, so that each
//! part is missing in some inputs and of the wrong type in others; the second half combines changes at random. The same
//! bundle gives the same inputs on every machine.

use std::collections::VecDeque;

use fastrand::Rng;
use serde_json::{Map, Value, json};
use time::{Date, Duration, macros::format_description};

use super::vocabulary::{Kind, Vocabulary};
use crate::decide::Bundle;

/// The most known inputs that are varied.
const BASES: usize = 2048;
/// The largest generated input, in bytes; a change that makes more is taken back.
const INPUT_BYTES: usize = 32 * 1024;
/// The length of a very long string: beyond every name, tag and term that the gateway takes.
const LONG: usize = 4096;
/// The most changes to one input.
const CHANGES: usize = 4;
/// Numbers at which programs go wrong, beside those that the policy names: signs, a 32-bit edge, and the largest whole
/// number that every JSON reader keeps (RFC 8259, section 6).
const EDGES: [i64; 6] = [-1, 0, 1, i32::MAX as i64, 1 << 32, (1 << 53) - 1];

/// What can be done to a part of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Drop,
    Null,
    Flag,
    Text,
    Number,
    List,
    Object,
    Empty,
    Long,
    Known,
    Word,
    Near,
    Extra,
    Duplicate,
    Shorter,
}

const ALL: [Change; 15] = [
    Change::Drop,
    Change::Null,
    Change::Flag,
    Change::Text,
    Change::Number,
    Change::List,
    Change::Object,
    Change::Empty,
    Change::Long,
    Change::Known,
    Change::Word,
    Change::Near,
    Change::Extra,
    Change::Duplicate,
    Change::Shorter,
];

/// Generates inputs without end.
pub(super) struct Generator {
    random: Rng,
    vocabulary: Vocabulary,
    paths: Vec<String>,
    bases: Vec<Value>,
    /// What the first half still has to do.
    turns: VecDeque<(usize, Change)>,
    even: bool,
}

impl Generator {
    /// Begins with the known inputs of a bundle; its digest is the seed.
    pub(super) fn new(bundle: &Bundle, mut bases: Vec<Value>) -> Self {
        bases.truncate(BASES);
        let vocabulary = Vocabulary::of(bundle, &bases);
        let paths: Vec<String> = vocabulary.paths().map(str::to_owned).collect();
        if bases.is_empty() {
            bases.push(Value::Object(Map::new()));
        }
        let seed =
            bundle.identity().digest.as_bytes().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        let turns = ALL.iter().flat_map(|change| (0..paths.len()).map(|path| (path, *change))).collect();
        Self { random: Rng::with_seed(seed), vocabulary, paths, bases, turns, even: false }
    }

    /// A known input, a fresh one, or one half of each of two.
    fn base(&mut self) -> Value {
        let known = self.bases[self.random.usize(..self.bases.len())].clone();
        match self.random.u8(..16) {
            0 => self.fresh(),
            1 | 2 => {
                let other = self.bases[self.random.usize(..self.bases.len())].clone();
                let (Value::Object(mut one), Value::Object(other)) = (known.clone(), other) else { return known };
                for (section, content) in other {
                    if self.random.bool() {
                        one.insert(section, content);
                    }
                }
                Value::Object(one)
            }
            _ => known,
        }
    }

    /// An input of parts that were seen or are declared, each there or not.
    fn fresh(&mut self) -> Value {
        let mut input = Value::Object(Map::new());
        for place in 0..self.paths.len() {
            if self.random.u8(..4) > 0 {
                let path = self.paths[place].clone();
                let value = self.known(&path);
                put(&mut input, &path, value);
            }
        }
        input
    }

    /// A value that fits a part of an input.
    fn known(&mut self, path: &str) -> Value {
        let values = self.vocabulary.values(path);
        if !values.is_empty() {
            return values[self.random.usize(..values.len())].clone();
        }
        match self.random.u8(..4) {
            0 => json!(true),
            1 => json!(self.number()),
            2 => json!([self.any_word()]),
            _ => json!(self.any_word()),
        }
    }

    fn number(&mut self) -> i64 {
        let known = self.vocabulary.numbers();
        let number = match self.random.usize(..known.len() + EDGES.len()) {
            place if place < known.len() => known[place],
            place => EDGES[place - known.len()],
        };
        number.saturating_add(self.random.i64(-1..=1))
    }

    fn any_word(&mut self) -> String {
        let kinds = self.vocabulary.kinds();
        if kinds.is_empty() {
            return "word".to_owned();
        }
        let words = self.vocabulary.words(kinds[self.random.usize(..kinds.len())]);
        words[self.random.usize(..words.len())].to_owned()
    }

    /// Another word of the same kind: most often one that the policy knows, sometimes one that only looks like it.
    fn word_like(&mut self, word: &str) -> String {
        let kind = Kind::of(word);
        if let (Kind::Prefixed(prefix), 0) = (&kind, self.random.u8(..4)) {
            return format!("{prefix}:{}", ["unknown-word", "", "none", "x=1"][self.random.usize(..4)]);
        }
        let words = self.vocabulary.words(&kind);
        if words.is_empty() || self.random.u8(..16) == 0 {
            return self.any_word();
        }
        words[self.random.usize(..words.len())].to_owned()
    }

    /// A value right beside this one: the day before or after, one more or less, another tag in the list.
    fn near(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) if Kind::of(text) == Kind::Date => {
                let dates = self.vocabulary.words(&Kind::Date);
                let other = dates.get(self.random.usize(..dates.len().max(1))).copied().unwrap_or(text).to_owned();
                json!(shifted(&other, self.random.i64(-1..=1)).unwrap_or(other))
            }
            Value::String(text) if self.random.bool() => match self.random.u8(..4) {
                0 => json!(text.to_uppercase()),
                1 => json!(text.to_lowercase()),
                2 => json!(format!("{text} ")),
                _ => json!(text.chars().take(text.chars().count().saturating_sub(1)).collect::<String>()),
            },
            Value::String(text) => json!(self.word_like(text)),
            Value::Number(number) => match (number.as_i64(), self.random.u8(..4)) {
                (Some(number), 0) => json!(number as f64 + 0.5),
                (Some(number), 1) => json!(number.saturating_add(self.random.i64(-1..=1))),
                _ => json!(self.number()),
            },
            Value::Bool(flag) => json!(!flag),
            Value::Array(values) => {
                let mut values = values.clone();
                let word = values.iter().find_map(Value::as_str).map(str::to_owned);
                let new = match word {
                    Some(word) => self.word_like(&word),
                    None => self.any_word(),
                };
                match (values.len(), self.random.u8(..3)) {
                    (1.., 0) => {
                        let place = self.random.usize(..values.len());
                        values[place] = json!(new);
                    }
                    _ => values.push(json!(new)),
                }
                Value::Array(values)
            }
            Value::Object(_) | Value::Null => json!(self.number()),
        }
    }

    /// Does something to a part of an input. What is not there is put there first, so that there is something to change.
    fn change(&mut self, input: &mut Value, path: &str, change: Change) {
        if change == Change::Drop {
            drop_part(input, path);
            return;
        }
        let value = match part(input, path).filter(|_| change != Change::Known) {
            Some(value) => value.clone(),
            None => self.known(path),
        };
        let changed = match (change, value) {
            (Change::Null, _) => Value::Null,
            (Change::Flag, _) => json!(self.random.bool()),
            (Change::Text, _) => json!(["true", "1", "0", "null", "[]"][self.random.usize(..5)]),
            (Change::Number, _) => json!(self.number()),
            (Change::List, value) => json!([value]),
            (Change::Object, value) => json!({ "value": value }),
            (Change::Empty, Value::Array(_)) => json!([]),
            (Change::Empty, Value::Object(_)) => json!({}),
            (Change::Empty, _) => json!(""),
            (Change::Long, _) => json!("x".repeat(LONG)),
            (Change::Word, Value::String(text)) => json!(self.word_like(&text)),
            (Change::Word, _) => json!(self.any_word()),
            (Change::Near, value) => self.near(&value),
            (Change::Extra, Value::Object(mut members)) => {
                members.insert(self.any_word(), json!(self.any_word()));
                Value::Object(members)
            }
            (Change::Extra, Value::Array(mut values)) => {
                let odd = [Value::Null, json!(1), json!({}), json!([]), json!(true)];
                values.extend(odd.get(self.random.usize(..odd.len())).cloned());
                Value::Array(values)
            }
            (Change::Duplicate, Value::Array(values)) => Value::Array(values.iter().chain(&values).cloned().collect()),
            (Change::Shorter, Value::Array(mut values)) if !values.is_empty() => {
                values.remove(self.random.usize(..values.len()));
                Value::Array(values)
            }
            // What cannot be doubled or shortened is left as it is, and is there at least.
            (_, value) => value,
        };
        put(input, path, changed);
    }
}

impl Iterator for Generator {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.even = !self.even;
        let mut input = self.base();
        let before = input.clone();
        let turn = if self.even { self.turns.pop_front() } else { None };
        if let Some((path, change)) = turn {
            let path = self.paths[path].clone();
            self.change(&mut input, &path, change);
        } else if !self.paths.is_empty() {
            for _ in 0..self.random.usize(1..=CHANGES) {
                let path = self.paths[self.random.usize(..self.paths.len())].clone();
                // Half of the changes keep the kind of what is there, so that not every input is nonsense.
                let change = match self.random.bool() {
                    true => Change::Near,
                    false => ALL[self.random.usize(..ALL.len())],
                };
                self.change(&mut input, &path, change);
            }
        }
        Some(if input.to_string().len() > INPUT_BYTES { before } else { input })
    }
}

/// The part of an input at a path of one or two names.
fn part<'a>(input: &'a Value, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((section, member)) => input.get(section)?.get(member),
        None => input.get(path),
    }
}

fn drop_part(input: &mut Value, path: &str) {
    let (holder, name) = match path.split_once('.') {
        Some((section, member)) => (input.get_mut(section), member),
        None => (Some(input), path),
    };
    if let Some(members) = holder.and_then(Value::as_object_mut) {
        members.remove(name);
    }
}

/// Puts a value in place; a section that is no object becomes one.
fn put(input: &mut Value, path: &str, value: Value) {
    let Value::Object(sections) = input else { return };
    match path.split_once('.') {
        Some((section, member)) => {
            let content = sections.entry(section).or_insert_with(|| json!({}));
            if !content.is_object() {
                *content = json!({});
            }
            if let Value::Object(members) = content {
                members.insert(member.to_owned(), value);
            }
        }
        None => {
            sections.insert(path.to_owned(), value);
        }
    }
}

/// A date some days later, with whatever follows its first ten characters.
fn shifted(text: &str, days: i64) -> Option<String> {
    let (day, rest) = text.split_at_checked(10)?;
    let format = format_description!("[year]-[month]-[day]");
    let date = Date::parse(day, format).ok()?.checked_add(Duration::days(days))?;
    Some(format!("{}{rest}", date.format(format).ok()?))
}
