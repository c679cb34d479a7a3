//! JSON with the line of every value, so that a finding can say where.
//!
//! serde_json parses; a raw value borrows from the text, and so its place in the text is known.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::finding::TermFinding;
use super::{MAX_DEPTH, MAX_DOCUMENT};

/// One JSON value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Null,
    Boolean,
    Number(String),
    Text(String),
    List(Vec<Node>),
    Members(Vec<(String, Node)>),
}

/// Reads a document.
pub(super) fn parse(text: &str) -> Result<Node, TermFinding> {
    let finding = |line, what: String, fix: &str| TermFinding { line, what, fix: fix.to_owned() };
    if text.len() > MAX_DOCUMENT {
        return Err(finding(1, format!("is longer than {MAX_DOCUMENT} bytes"), "name an agreement in ODRL"));
    }
    let whole: &RawValue = serde_json::from_str(text)
        .map_err(|error| finding(error.line(), format!("is not JSON: {error}"), "correct the syntax (RFC 8259)"))?;
    let line_starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    let source = Source { start: text.as_ptr() as usize, line_starts: std::iter::once(0).chain(line_starts).collect() };
    source.node(whole, 0)
}

struct Source {
    start: usize,
    line_starts: Vec<usize>,
}

impl Source {
    fn node(&self, raw: &RawValue, depth: usize) -> Result<Node, TermFinding> {
        let text = raw.get();
        let at = (text.as_ptr() as usize).saturating_sub(self.start);
        let line = self.line_starts.partition_point(|start| *start <= at);
        if depth > MAX_DEPTH {
            let what = format!("is nested deeper than {MAX_DEPTH} levels");
            return Err(TermFinding { line, what, fix: "write it flatter".to_owned() });
        }
        let unreadable = |error: serde_json::Error| TermFinding {
            line: line + error.line().saturating_sub(1),
            what: format!("cannot be read: {error}"),
            fix: "correct the syntax (RFC 8259)".to_owned(),
        };
        let content = match text.as_bytes().first() {
            Some(b'{') => {
                let members: Members<'_> = serde_json::from_str(text).map_err(unreadable)?;
                let mut nodes: Vec<(String, Node)> = Vec::with_capacity(members.0.len());
                for (name, raw) in members.0 {
                    let node = self.node(raw, depth + 1)?;
                    // Two programs may choose differently between the two.
                    if nodes.iter().any(|(other, _)| *other == name) {
                        let what = format!("the member {name:?} stands twice");
                        return Err(TermFinding { line: node.line, what, fix: "remove one of the two".to_owned() });
                    }
                    nodes.push((name, node));
                }
                Content::Members(nodes)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(unreadable)?;
                Content::List(items.into_iter().map(|raw| self.node(raw, depth + 1)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Content::Text(serde_json::from_str(text).map_err(unreadable)?),
            Some(b't' | b'f') => Content::Boolean,
            Some(b'n') => Content::Null,
            _ => Content::Number(text.to_owned()),
        };
        Ok(Node { line, content })
    }
}

/// An object's members in their order, repeated ones included.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'t> Visitor<'t> for Each {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Members<'t>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl Node {
    /// The values of a list, or the one value that stands for a list of one (JSON-LD 1.1, section 4.3).
    pub(super) fn each(&self) -> Vec<&Node> {
        match &self.content {
            Content::List(items) => items.iter().collect(),
            Content::Members(members) => match &members[..] {
                [(name, list)] if name == "@list" => list.each(),
                _ => vec![self],
            },
            _ => vec![self],
        }
    }

    /// What kind of JSON it is, for findings.
    pub(super) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "null",
            Content::Boolean => "true or false",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Members(_) => "an object",
        }
    }
}
