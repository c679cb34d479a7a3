//! Reads OPA's cases.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

/// One case that asks for the value of one rule.
pub struct Case {
    pub note: String,
    pub modules: Vec<String>,
    pub data: Value,
    pub input: Option<Value>,
    /// The rule that is asked for, below `data`.
    pub path: Vec<String>,
    pub expected: Expectation,
}

#[derive(Debug)]
pub enum Expectation {
    Value(Value),
    Undefined,
    Error,
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Raw>,
}

#[derive(Deserialize)]
struct Raw {
    note: String,
    query: String,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    data: Value,
    input: Option<Value>,
    input_term: Option<String>,
    want_result: Option<Vec<Value>>,
    want_error: Option<String>,
    want_error_code: Option<String>,
}

/// The archive of cases, if it is here.
pub fn archive() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/opa-cases.tar.xz");
    let path = std::env::var_os("SEKISHO_OPA_CASES").map_or(beside, PathBuf::from);
    path.is_file().then_some(path)
}

/// Every case of the archive that asks for one rule, in a fixed order; others are counted by nobody.
pub fn read(archive: &Path) -> Vec<Case> {
    let directory = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(directory.path()).status();
    assert!(unpacked.expect("tar is needed to unpack the cases").success(), "tar cannot unpack {}", archive.display());
    let mut files = Vec::new();
    collect(directory.path(), &mut files);
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let Ok(read) = serde_json::from_str::<File>(&text) else { continue };
        cases.extend(read.cases.into_iter().filter_map(Raw::into_case));
    }
    assert!(cases.len() > 1000, "only {} cases were found", cases.len());
    cases
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
}

impl Raw {
    fn into_case(self) -> Option<Case> {
        let path = self.query.strip_prefix("data.")?;
        let (path, variable) = path.split_once(" = ")?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        // `= 1` and `= input` ask for something else than a value.
        let asked = plain(variable) && variable.starts_with(|c: char| c.is_ascii_lowercase()) && variable != "input";
        if !asked || !path.split('.').all(plain) {
            return None;
        }
        let input = match self.input_term {
            Some(term) => Some(serde_json::from_str(&term).ok()?),
            None => self.input,
        };
        let failing = self.want_error.is_some() || self.want_error_code.is_some();
        let expected = match self.want_result.as_deref() {
            _ if failing => Expectation::Error,
            Some([only]) => Expectation::Value(only.get(variable)?.clone()),
            Some([]) | None => Expectation::Undefined,
            Some(_) => return None,
        };
        let data = if self.data.is_object() { self.data } else { Value::Object(serde_json::Map::new()) };
        let path = path.split('.').map(str::to_owned).collect();
        Some(Case { note: self.note, modules: self.modules, data, input, path, expected })
    }
}

/// Whether two documents are the same: numbers by value, arrays in any order. A set is an array as JSON and has no order
/// there; an array of a policy's own making comes in one order, or the check refuses what makes it.
pub fn same(one: &Value, other: &Value) -> bool {
    equal(one, other) || equal(&sorted(one), &sorted(other))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(sorted).collect();
            items.sort_by_cached_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect(),
        other => other.clone(),
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|found| equal(value, found)))
        }
        _ => one == other,
    }
}
