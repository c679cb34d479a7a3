//! The words a policy knows: what its sources, its data and its cases spell out, sorted by what they look like.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::decide::{Bundle, SECTIONS};

/// The most words of one kind; a list of facts repeats what a rule compares with, so the rest would add little.
const WORDS: usize = 2048;
/// The longest word, in bytes. Longer constants are sentences for people.
const WORD_BYTES: usize = 256;
/// The most numbers.
const NUMBERS: usize = 512;
/// The most values kept for one part of an input.
const VALUES: usize = 64;
/// The most parts of an input that are varied.
const PATHS: usize = 512;

/// What a word looks like. A country is exchanged for a country, a tag for a tag of its family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Begins with `YYYY-MM-DD`.
    Date,
    /// Two or three capital letters, such as a country or a currency.
    Code,
    /// What stands before a colon, such as `security` or `dpv`.
    Prefixed(String),
    /// Anything else.
    Plain,
}

impl Kind {
    /// What a word looks like.
    pub(super) fn of(word: &str) -> Self {
        let bytes = word.as_bytes();
        let date = |bytes: &[u8]| {
            bytes.iter().take(10).enumerate().all(|(place, byte)| match place {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            })
        };
        if bytes.len() >= 10 && date(bytes) {
            Self::Date
        } else if (2..=3).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_uppercase) {
            Self::Code
        } else if let Some((prefix, _)) = word.split_once(':').filter(|(prefix, _)| !prefix.is_empty()) {
            Self::Prefixed(prefix.to_owned())
        } else {
            Self::Plain
        }
    }
}

/// The words of a policy. Everything is sorted, so that one bundle gives one vocabulary.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    words: BTreeMap<Kind, BTreeSet<String>>,
    numbers: BTreeSet<i64>,
    values: BTreeMap<String, Vec<Value>>,
}

impl Vocabulary {
    /// Collects the words of a bundle and of inputs.
    pub(super) fn of(bundle: &Bundle, inputs: &[Value]) -> Self {
        let mut vocabulary = Self::default();
        for path in bundle.manifest().metadata.inputs.iter() {
            vocabulary.values.entry(path.to_owned()).or_default();
        }
        for input in inputs {
            for (section, content) in input.as_object().into_iter().flatten() {
                vocabulary.seen(section, content);
                for (member, value) in content.as_object().into_iter().flatten() {
                    vocabulary.seen(&format!("{section}.{member}"), value);
                }
            }
            vocabulary.read(input);
        }
        for source in bundle.sources() {
            vocabulary.read_rego(&source.text);
        }
        vocabulary.read(bundle.data());
        vocabulary
    }

    /// The parts of an input: sections and their members, those that are declared and those that were seen.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The values that were seen at a part of an input.
    pub(super) fn values(&self, path: &str) -> &[Value] {
        self.values.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    /// The words of one kind.
    pub(super) fn words(&self, kind: &Kind) -> Vec<&str> {
        self.words.get(kind).into_iter().flatten().map(String::as_str).collect()
    }

    /// The kinds that there are words of.
    pub(super) fn kinds(&self) -> Vec<&Kind> {
        self.words.keys().collect()
    }

    /// The numbers.
    pub(super) fn numbers(&self) -> Vec<i64> {
        self.numbers.iter().copied().collect()
    }

    fn seen(&mut self, path: &str, value: &Value) {
        if self.values.len() >= PATHS && !self.values.contains_key(path) || path.len() > WORD_BYTES {
            return;
        }
        let values = self.values.entry(path.to_owned()).or_default();
        if values.len() < VALUES && !values.contains(value) {
            values.push(value.clone());
        }
    }

    fn word(&mut self, word: &str) {
        if word.len() > WORD_BYTES {
            return;
        }
        let words = self.words.entry(Kind::of(word)).or_default();
        if words.len() < WORDS && !words.contains(word) {
            words.insert(word.to_owned());
        }
    }

    fn number(&mut self, number: i64) {
        if self.numbers.len() < NUMBERS {
            self.numbers.insert(number);
        }
    }

    /// Takes a document's strings, names and numbers.
    fn read(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.word(text),
            Value::Number(number) => {
                if let Some(number) = number.as_i64() {
                    self.number(number);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.read(value)),
            Value::Object(members) => {
                for (name, value) in members {
                    self.word(name);
                    self.read(value);
                }
            }
            Value::Bool(_) | Value::Null => {}
        }
    }

    /// Takes the literals of Rego source, and the parts of the input that it names. This reads tokens and no more: it is
    /// for a stranger's source, which no parser may see in this process.
    fn read_rego(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let rest = &bytes[at..];
            let length = match byte {
                b'#' => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
                b'"' => {
                    let end = quoted(rest);
                    // A literal with escapes reads as JSON does; one that does not is left out.
                    if let Some(Value::String(word)) =
                        text.get(at..at + end).and_then(|text| serde_json::from_str(text).ok())
                    {
                        self.word(&word);
                    }
                    end
                }
                b'`' => {
                    let end = rest[1..].iter().position(|byte| *byte == b'`').map_or(rest.len(), |end| end + 2);
                    if let Some(word) = text.get(at + 1..(at + end).saturating_sub(1)) {
                        self.word(word);
                    }
                    end
                }
                byte if is_name(byte) => {
                    let end = rest.iter().position(|byte| !is_name(*byte) && *byte != b'.').unwrap_or(rest.len());
                    let name = text.get(at..at + end).unwrap_or_default();
                    if let Ok(number) = name.parse() {
                        self.number(number);
                    }
                    self.read_reference(name);
                    end
                }
                _ => 1,
            };
            at += length.max(1);
        }
    }

    /// `input.recipient.country`, or the tail of a reference to a section by another name, such as `recipient.country`.
    fn read_reference(&mut self, name: &str) {
        let name = name.strip_prefix("input.").unwrap_or(name);
        let mut parts = name.split('.');
        let (Some(section), member) = (parts.next(), parts.next()) else { return };
        if SECTIONS.contains(&section) && self.values.len() < PATHS {
            let path = match member.filter(|member| !member.is_empty()) {
                Some(member) => format!("{section}.{member}"),
                None => section.to_owned(),
            };
            self.values.entry(path).or_default();
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of a quoted literal at the beginning of a text, quotes included.
fn quoted(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}
