//! Walks a TOML document table by table and collects every problem with the line it stands on.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{Content, FileRef};
use super::nearest::{misspelt, nearest};
use super::problem::{self, Complaint, Problem};
use super::value;

/// What is shared by all tables of one document: where lines start, and the problems and files found so far.
pub(super) struct Reader {
    file: Arc<str>,
    line_starts: Vec<usize>,
    empty: DeTable<'static>,
    problems: RefCell<Vec<Problem>>,
    files: RefCell<Vec<FileRef>>,
}

impl Reader {
    pub(super) fn new(source: &str, file: &str) -> Self {
        let line_starts = source.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self {
            file: file.into(),
            line_starts: std::iter::once(0).chain(line_starts).collect(),
            empty: DeTable::new(),
            problems: RefCell::default(),
            files: RefCell::default(),
        }
    }

    /// The line, counted from 1, of a byte of the document.
    pub(super) fn line(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= byte)
    }

    /// Notes a problem of a line.
    pub(super) fn report(&self, line: usize, what: impl Into<String>, fix: impl Into<String>) {
        let problem = Problem { file: Arc::clone(&self.file), line, what: what.into(), fix: fix.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// The problems, in the order of lines, and every file that the document names.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<FileRef>) {
        let mut problems = self.problems.into_inner();
        problem::sort(&mut problems);
        (problems, self.files.into_inner())
    }
}

/// One table of the document. Every key that is asked for becomes a known key; the others are unknown at the end.
pub(super) struct Section<'a> {
    reader: &'a Reader,
    table: &'a DeTable<'a>,
    /// As messages call it: `[tls]`, `[[partner]] wessex.example`.
    name: String,
    /// Where the table starts.
    pub(super) line: usize,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The document's outermost table.
    pub(super) fn root(reader: &'a Reader, table: &'a DeTable<'a>) -> Self {
        Self { reader, table, name: String::new(), line: 1, known: Vec::new() }
    }

    /// Gives the table a name that tells it from its likes.
    pub(super) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// A value's line, or the table's when the value is absent.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.line, |value| self.reader.line(value.span().start))
    }

    /// Whether the key is there, good or bad.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key is there and is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().as_array().is_some())
    }

    /// Notes a problem of a line of this table.
    pub(super) fn report(&self, line: usize, what: impl std::fmt::Display, fix: impl Into<String>) {
        self.reader.report(line, format!("{} {what}", self.name).trim_start(), fix);
    }

    /// Notes that a required key is absent.
    pub(super) fn missing(&self, key: &str, example: &str) {
        self.report(self.line, format_args!("{key} is missing"), format!("add {key} = {example}"));
    }

    /// A key that may be absent. `None` also when it is wrong, which is then noted.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Complaint>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.get(key)?;
        read(value.get_ref()).map_err(|complaint| self.complain(key, value, complaint)).ok()
    }

    /// A key that must be there; its absence is noted with an example of what to add.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Complaint>,
    ) -> Option<T> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.optional(key, read)
    }

    /// A list. Every element that is wrong is noted on its own line; `None` when the key is absent or no list.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Complaint>,
    ) -> Option<Vec<T>> {
        self.known.push(key);
        let value = self.table.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            let complaint = Complaint::new("is not a list", "put it in square brackets, such as [\"a\", \"b\"]");
            self.complain(key, value, complaint);
            return None;
        };
        let mut items = Vec::with_capacity(array.len());
        for element in array.iter() {
            match read(element.get_ref()) {
                Ok(item) if items.contains(&item) => {
                    self.complain(key, element, Complaint::new("names one thing twice", "remove the repetition"));
                }
                Ok(item) => items.push(item),
                Err(complaint) => self.complain(key, element, complaint),
            }
        }
        Some(items)
    }

    /// A list that holds something where it is given.
    pub(super) fn filled_list<T: PartialEq>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Complaint>,
    ) -> Option<Vec<T>> {
        let items = self.list(key, read)?;
        if self.table.get(key).and_then(|value| value.get_ref().as_array()).is_some_and(|array| array.is_empty()) {
            self.report(
                self.line_of(key),
                format_args!("{key} is empty"),
                format!("name at least one, such as {example}"),
            );
        }
        Some(items)
    }

    /// A list that must be there and hold something.
    pub(super) fn required_list<T: PartialEq>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Complaint>,
    ) -> Option<Vec<T>> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.filled_list(key, example, read)
    }

    /// A file or directory that must be named; it is read later, when the text is known to be sound.
    pub(super) fn required_file(&mut self, key: &'static str, example: &str, content: Content) -> Option<FileRef> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.file(key, content)
    }

    /// A file or directory that may be named.
    pub(super) fn file(&mut self, key: &'static str, content: Content) -> Option<FileRef> {
        let path = self.optional(key, |value| path(value, content.is_secret()))?;
        Some(self.place(key, path, content))
    }

    /// A path that the table stands for, as if it were written there.
    pub(super) fn place(&self, key: &str, path: PathBuf, content: Content) -> FileRef {
        let file = FileRef {
            path,
            source: Arc::clone(&self.reader.file),
            line: self.line_of(key),
            name: format!("{} {key}", self.name),
            content,
        };
        self.reader.files.borrow_mut().push(file.clone());
        file
    }

    /// A table of this table; an empty one when it is absent, so that each key it lacks is noted.
    pub(super) fn section(&mut self, key: &'static str, name: &str) -> Section<'a> {
        self.known.push(key);
        let mut section = Section {
            reader: self.reader,
            table: &self.reader.empty,
            name: name.to_owned(),
            line: self.line,
            known: Vec::new(),
        };
        if let Some(value) = self.table.get(key) {
            section.line = self.reader.line(value.span().start);
            match value.get_ref().as_table() {
                Some(table) => section.table = table,
                None => self.complain(
                    key,
                    value,
                    Complaint::new("is not a table", format!("write {name} on a line of its own")),
                ),
            }
        }
        section
    }

    /// The tables of an array of tables, in order.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        self.known.push(key);
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let fix = format!("write [[{key}]] on a line of its own");
        let Some(array) = value.get_ref().as_array() else {
            self.complain(key, value, Complaint::new("is not a list of tables", fix));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for element in array.iter() {
            let line = self.reader.line(element.span().start);
            match element.get_ref().as_table() {
                Some(table) => sections.push(Section {
                    reader: self.reader,
                    table,
                    name: format!("[[{key}]]"),
                    line,
                    known: Vec::new(),
                }),
                None => self.complain(key, element, Complaint::new("is not a table", fix.clone())),
            }
        }
        sections
    }

    /// Whether the key holds a list of nothing.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        let array = self.table.get(key).and_then(|value| value.get_ref().as_array());
        array.is_some_and(|array| array.is_empty())
    }

    /// The line of a list's element that is this text.
    pub(super) fn line_of_element(&self, key: &str, text: &str) -> usize {
        let array = self.table.get(key).and_then(|value| value.get_ref().as_array());
        let element = array.and_then(|array| array.iter().find(|element| element.get_ref().as_str() == Some(text)));
        element.map_or_else(|| self.line_of(key), |element| self.reader.line(element.span().start))
    }

    /// Every key of the table with the text it must have.
    pub(super) fn texts(self) -> Map<String, Value> {
        let mut texts = Map::new();
        for (key, value) in self.table {
            match value::identifier(value.get_ref()) {
                Ok(text) => drop(texts.insert(key.get_ref().to_string(), text.into())),
                Err(complaint) => self.complain(key.get_ref(), value, complaint),
            }
        }
        texts
    }

    /// Every key not asked for so far, as free-form facts. A key in `reserved` would shadow what the gateway itself
    /// says; a key that can only be a misspelling of a typed or a `usual` one is noted rather than taken as a fact.
    pub(super) fn facts(self, reserved: &[&str], usual: &[&str]) -> Map<String, Value> {
        let words: Vec<&str> = self.known.iter().chain(usual).copied().collect();
        for key in self.table.keys() {
            let (word, line) = (key.get_ref().as_ref(), self.reader.line(key.span().start));
            if words.contains(&word) {
                continue;
            }
            if reserved.contains(&word) {
                self.report(
                    line,
                    format_args!("{word} is not a fact to be set here: the gateway knows it otherwise"),
                    "remove it",
                );
            } else if let Some(meant) = misspelt(word, &words) {
                let fix = format!("write {meant}, or choose a fact name that is not so near to it");
                self.report(line, format_args!("{word} looks like a misspelling of {meant}"), fix);
            }
        }
        value::facts(self.table, &self.known).unwrap_or_else(|(byte, complaint)| {
            self.report(self.reader.line(byte), format_args!("fact {}", complaint.what), complaint.fix);
            Map::new()
        })
    }

    /// Notes every key that was not asked for, with the known key nearest to it.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let word = key.get_ref().as_ref();
            if self.known.contains(&word) {
                continue;
            }
            let fix = match nearest(word, &self.known) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("known keys here are {}", self.known.join(", ")),
            };
            self.report(self.reader.line(key.span().start), format_args!("{word} is not a known key"), fix);
        }
    }

    fn complain(&self, key: &str, value: &Spanned<DeValue<'_>>, complaint: Complaint) {
        let line = self.reader.line(value.span().start);
        self.report(line, format_args!("{key}: {}", complaint.what), complaint.fix);
    }
}

/// A path. A value that looks like the key itself is refused without repeating it.
fn path(value: &DeValue<'_>, secret: bool) -> Result<PathBuf, Complaint> {
    let text = value::text(value)?;
    if secret && is_key_material(text) {
        return Err(Complaint::new(
            "holds key material instead of the name of a file",
            "put the key into a file of mode 0600, name that file here, and treat this key as disclosed",
        ));
    }
    path_text(text)
}

/// A path that names something.
pub(super) fn path_text(text: &str) -> Result<PathBuf, Complaint> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Complaint::new("is empty or holds a control character", "give the path of a file or directory"));
    }
    Ok(PathBuf::from(text))
}

/// Whether the text is a PEM block, or ends in forty or more characters of hexadecimal or base64. A path of plain
/// words and slashes is neither; base64 with a slash in it is told by its first letter (every DER key starts with `M`)
/// or by its other signs.
fn is_key_material(text: &str) -> bool {
    let encoded = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let run = text.bytes().rev().take_while(encoded).count();
    let tail = &text[text.len() - run..];
    text.contains("-----BEGIN")
        || (run >= 40 && (!tail.contains('/') || tail.starts_with('M') || tail.contains(['+', '='])))
}
