//! The `# METADATA` above the rules of a policy: which law each states, in whose words, and from which source.
//!
//! OPA writes these comments in YAML. Read here is the part of YAML that annotations use: members, nested by indentation,
//! lists in brackets or by hyphens, text plain, quoted or folded. Anything else is a finding and never guessed at.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::decide::{Bundle, BundleFile, DecideError};

/// The deepest indentation read, in columns: far more than an annotation needs, and a bound on nesting.
const DEEPEST: usize = 64;

/// A law as the policy states it: one rule id with what its annotations say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Law {
    /// The rule's id, such as `DFFT-P1`.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// What it demands, in plain words.
    pub description: String,
    /// The legal basis.
    pub basis: String,
    /// What puts a refusal right.
    pub remedy: String,
    /// Where the facts behind it come from.
    pub sources: Vec<Source>,
    /// Links to the law.
    pub links: Vec<Source>,
    /// What it reads of an input.
    pub inputs: Vec<String>,
    /// The places of its annotations, as `file:line`.
    pub places: Vec<String>,
}

/// Something that can be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its id or title.
    pub title: String,
    /// Where it is, when it can be followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// An annotation in its file: rules below it, down to the next one that names a law, belong to its law.
#[derive(Debug, Clone)]
pub(in crate::decide) struct Annotation {
    pub(super) file: String,
    /// Line of `# METADATA`, from 1.
    pub(super) line: usize,
    pub(super) rule: String,
}

/// Reads the laws of a bundle, in the order of their ids, and the places of their annotations.
///
/// # Errors
/// [`DecideError::Bundle`] with file and line of an annotation that cannot be read.
pub(in crate::decide) fn laws(bundle: &Bundle) -> Result<(Vec<Law>, Vec<Annotation>), DecideError> {
    let (mut laws, mut places, mut wrong): (Vec<Law>, _, _) = (Vec::new(), Vec::new(), Vec::new());
    for file in bundle.sources() {
        for (line, block) in blocks(file) {
            let document = match Reader::new(&block).read() {
                Ok(document) => document,
                Err((inside, why)) => {
                    wrong.push(format!("{}:{}: {why}", file.path, line + inside));
                    continue;
                }
            };
            let Some(rule) = document.pointer("/custom/rule").and_then(Value::as_str) else { continue };
            places.push(Annotation { file: file.path.clone(), line, rule: rule.to_owned() });
            let law = law(rule, &document, bundle.data(), format!("{}:{line}", file.path));
            match laws.iter_mut().find(|other| other.rule == rule) {
                Some(other) => other.join(law),
                None => laws.push(law),
            }
        }
    }
    if !wrong.is_empty() {
        return Err(DecideError::unusable(wrong.join("\n")));
    }
    laws.sort_by_key(|law| order(&law.rule));
    Ok((laws, places))
}

/// A rule id with its digits as a number, so that `S9` comes before `S10`.
fn order(rule: &str) -> (String, u64) {
    let stem = rule.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.to_owned(), rule[stem.len()..].parse().unwrap_or(0))
}

impl Law {
    /// Takes in what a second annotation of the same law says: where it applies, too. The words of the first stand.
    fn join(&mut self, other: Self) {
        let add = |all: &mut Vec<String>, more: Vec<String>| {
            for one in more {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        };
        add(&mut self.inputs, other.inputs);
        add(&mut self.places, other.places);
        for (all, more) in [(&mut self.sources, other.sources), (&mut self.links, other.links)] {
            for one in more {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        if self.description != other.description {
            self.description = format!("{} {}", self.description, other.description);
        }
    }
}

fn law(rule: &str, document: &Value, data: &Value, place: String) -> Law {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |pointer: &str| -> Vec<String> {
        let items = document.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let related = document.pointer("/related_resources").and_then(Value::as_array).into_iter().flatten();
    let links = related.filter_map(|resource| {
        let link = resource.get("ref")?.as_str()?;
        let title = resource.get("description").and_then(Value::as_str).unwrap_or(link);
        Some(Source { title: title.to_owned(), link: Some(link.to_owned()) })
    });
    let title = text("/title");
    Law {
        rule: rule.to_owned(),
        title: title.strip_prefix(rule).map_or(title.clone(), |rest| rest.trim_start_matches([':', ' ']).to_owned()),
        description: text("/description"),
        basis: text("/custom/basis"),
        remedy: text("/custom/remedy"),
        sources: list("/custom/source").into_iter().map(|id| source(id, data)).collect(),
        links: links.collect(),
        inputs: list("/custom/inputs"),
        places: vec![place],
    }
}

/// A source by its id: an entry of an object named `sources` in the data, if it has one.
fn source(id: String, data: &Value) -> Source {
    fn find<'a>(value: &'a Value, id: &str) -> Option<&'a Value> {
        let members = value.as_object()?;
        let here = members.get("sources").and_then(|sources| sources.get(id)).filter(|entry| entry.is_object());
        here.or_else(|| members.values().find_map(|member| find(member, id)))
    }
    let entry = find(data, &id);
    let text = |key: &str| entry.and_then(|entry| entry.get(key)).and_then(Value::as_str);
    Source {
        title: text("title").map_or_else(|| id.clone(), |title| format!("{id}: {title}")),
        link: text("url").map(str::to_owned),
    }
}

/// The `# METADATA` blocks of a file: the line of each, from 1, and the lines below it without their `# `.
fn blocks(file: &BundleFile) -> Vec<(usize, Vec<&str>)> {
    let mut blocks: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut inside = false;
    for (number, line) in file.text.lines().enumerate() {
        match line.strip_prefix('#') {
            Some(rest) if rest.trim() == "METADATA" => {
                blocks.push((number + 1, Vec::new()));
                inside = true;
            }
            Some(rest) if inside => {
                if let Some((_, block)) = blocks.last_mut() {
                    block.push(rest.strip_prefix(' ').unwrap_or(rest));
                }
            }
            _ => inside = false,
        }
    }
    blocks
}

/// Reads lines by their indentation. An error is a line of the block, from 1, and what is wrong there.
struct Reader<'a> {
    lines: Vec<(usize, usize, &'a str)>,
    at: usize,
}

type Found<T> = Result<T, (usize, String)>;

impl<'a> Reader<'a> {
    fn new(block: &[&'a str]) -> Self {
        let lines = block.iter().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let lines = lines.map(|(number, line)| (number + 1, line.len() - line.trim_start().len(), line.trim()));
        Self { lines: lines.collect(), at: 0 }
    }

    fn read(mut self) -> Found<Value> {
        if let Some((number, ..)) = self.lines.iter().find(|(_, indent, _)| *indent > DEEPEST) {
            return Err((*number, format!("annotations are indented by {DEEPEST} columns at most")));
        }
        let members = self.members(0)?;
        match self.lines.get(self.at) {
            Some((number, ..)) => Err((*number, "this line is indented like no other of its annotation".to_owned())),
            None => Ok(members),
        }
    }

    /// `key: value` lines at this indentation.
    fn members(&mut self, indent: usize) -> Found<Value> {
        let mut members = Map::new();
        while let Some((number, _, line)) = self.lines.get(self.at).copied().filter(|(_, at, _)| *at == indent) {
            let (key, rest) =
                line.split_once(':').ok_or((number, "an annotation is lines of `key: value`".to_owned()))?;
            self.at += 1;
            let value = self.value(number, indent, rest.trim())?;
            if members.insert(key.trim().to_owned(), value).is_some() {
                return Err((number, format!("{} stands here twice", key.trim())));
            }
        }
        Ok(Value::Object(members))
    }

    /// What follows a key: on its line, or indented below it.
    fn value(&mut self, number: usize, indent: usize, rest: &str) -> Found<Value> {
        let deeper = self.lines.get(self.at).map(|(_, at, _)| *at).filter(|at| *at > indent);
        match (rest, deeper) {
            ("", Some(deeper)) if self.lines[self.at].2.starts_with("- ") => self.items(deeper),
            ("", Some(deeper)) => self.members(deeper),
            (">" | ">-" | "|" | "|-", _) => {
                let mut words = Vec::new();
                while let Some((_, _, line)) = self.lines.get(self.at).filter(|(_, at, _)| *at > indent) {
                    words.push(*line);
                    self.at += 1;
                }
                Ok(words.join(" ").into())
            }
            (rest, None) => scalar(number, rest),
            (_, Some(_)) => Err((number + 1, "this line is indented below a value that is complete".to_owned())),
        }
    }

    /// `- item` lines at this indentation, each a scalar or members.
    fn items(&mut self, indent: usize) -> Found<Value> {
        let mut items = Vec::new();
        while let Some((number, _, line)) = self.lines.get(self.at).copied().filter(|(_, at, _)| *at == indent) {
            let Some(item) = line.strip_prefix("- ") else {
                return Err((number, "a list goes on with `- `".to_owned()));
            };
            if item.split_once(": ").is_some() && !item.starts_with(['"', '\'']) {
                // The first member stands on the hyphen's line; read it as if it stood below.
                self.lines[self.at] = (number, indent + 2, item.trim());
                items.push(self.members(indent + 2)?);
            } else {
                self.at += 1;
                items.push(scalar(number, item.trim())?);
            }
        }
        Ok(Value::Array(items))
    }
}

fn scalar(number: usize, text: &str) -> Found<Value> {
    if let Some(inside) = text.strip_prefix('[') {
        let inside = inside.strip_suffix(']').ok_or((number, "a list in brackets ends on its line".to_owned()))?;
        if inside.contains('[') {
            return Err((number, "a list in brackets holds plain items and no other list".to_owned()));
        }
        let items = inside.split(',').map(str::trim).filter(|item| !item.is_empty());
        return items.map(|item| scalar(number, item)).collect::<Found<Vec<_>>>().map(Value::Array);
    }
    match text {
        "true" => Ok(true.into()),
        "false" => Ok(false.into()),
        _ if text.starts_with('"') => {
            serde_json::from_str(text).map_err(|_| (number, "a quoted text does not end".to_owned()))
        }
        _ if text.starts_with('\'') => match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            Some(inside) => Ok(inside.replace("''", "'").into()),
            None => Err((number, "a quoted text does not end".to_owned())),
        },
        _ if text.starts_with(['{', '&', '*', '!', '%', '@', '`']) => {
            Err((number, format!("annotations are read without YAML's {}: write plain or quoted text", &text[..1])))
        }
        _ => Ok(text.into()),
    }
}
