//! `# METADATA` comments: what the author says of a rule in plain words.
//!
//! OPA reads them as YAML. Read here are the forms that such comments take: members, folded texts, lists in brackets or
//! with dashes, and one level below `custom`. Whatever else stands there is left alone.

use crate::decide::BundleFile;

/// One `# METADATA` comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotation {
    /// Path of the source inside the bundle.
    pub file: String,
    /// Line of `# METADATA`, from 1.
    pub line: u32,
    /// Line of the rule or package below it, from 1.
    pub subject: u32,
    /// `title`.
    pub title: String,
    /// `description`, on one line.
    pub description: String,
    /// Whether `entrypoint: true` stands there.
    pub entrypoint: bool,
    /// `custom.rule`: the id by which reasons and obligations name the rule.
    pub rule: String,
    /// `custom.basis`: the law.
    pub basis: String,
    /// `custom.source`: where it can be read.
    pub source: Vec<String>,
    /// `custom.remedy`: what would make it permitted.
    pub remedy: String,
    /// `custom.inputs`: what the rule reads of the input.
    pub inputs: Vec<String>,
}

/// The annotations of one source, in their order.
pub fn annotations(file: &BundleFile) -> Vec<Annotation> {
    let mut found = Vec::new();
    let mut lines = (1_u32..).zip(file.text.lines()).peekable();
    while let Some((line, text)) = lines.next() {
        if text.trim_end() != "# METADATA" {
            continue;
        }
        let mut annotation = Annotation { file: file.path.clone(), line, ..Annotation::default() };
        let mut members = Members::default();
        while let Some((_, text)) = lines.next_if(|(_, text)| text.starts_with('#')) {
            members.line(text.trim_start_matches('#').trim_end());
        }
        annotation.subject = lines.peek().map_or(line, |(line, _)| *line);
        for (path, value) in members.finish() {
            let text = |value: &[String]| value.join(" ").trim().to_owned();
            match path.as_str() {
                "title" => annotation.title = text(&value),
                "description" => annotation.description = text(&value),
                "entrypoint" => annotation.entrypoint = value == ["true"],
                "custom.rule" => annotation.rule = text(&value),
                "custom.basis" => annotation.basis = text(&value),
                "custom.source" => annotation.source = value,
                "custom.remedy" => annotation.remedy = text(&value),
                "custom.inputs" => annotation.inputs = value,
                _ => {}
            }
        }
        found.push(annotation);
    }
    found
}

pub(super) fn of_all(sources: &[BundleFile]) -> Vec<Annotation> {
    sources.iter().flat_map(annotations).collect()
}

/// The members of one comment, as they are read.
#[derive(Default)]
struct Members {
    found: Vec<(String, Vec<String>)>,
    custom: bool,
}

impl Members {
    fn line(&mut self, text: &str) {
        let text = text.strip_prefix(' ').unwrap_or(text);
        let content = text.trim_start();
        let indent = text.len() - content.len();
        if indent == 0 {
            self.custom = false;
        }
        let top = indent == 0 || (self.custom && indent <= 4 && self.is_member(content));
        match content
            .split_once(':')
            .filter(|(name, rest)| top && is_name(name) && (rest.is_empty() || rest.starts_with(' ')))
        {
            Some(("custom", "")) if indent == 0 => self.custom = true,
            Some((name, value)) => {
                let name = if self.custom && indent > 0 { format!("custom.{name}") } else { name.to_owned() };
                let value = value.trim();
                let values = match value.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
                    Some(list) => list.split(',').map(plain).filter(|item| !item.is_empty()).collect(),
                    None if matches!(value, "" | ">" | ">-" | "|" | "|-") => Vec::new(),
                    None => vec![plain(value)],
                };
                self.found.push((name, values));
            }
            None => {
                if let Some((_, values)) = self.found.last_mut() {
                    values.push(plain(content.strip_prefix("- ").unwrap_or(content)));
                }
            }
        }
    }

    /// Below `custom`, a line of a folded text may look like a member; the known names are members.
    fn is_member(&self, content: &str) -> bool {
        ["rule:", "basis:", "source:", "remedy:", "inputs:"].iter().any(|name| content.starts_with(name))
    }

    fn finish(self) -> Vec<(String, Vec<String>)> {
        self.found
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A value without the quotes around it.
fn plain(text: &str) -> String {
    let text = text.trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    unquoted.unwrap_or(text).to_owned()
}
