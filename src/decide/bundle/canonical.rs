//! JSON in the form over which OPA hashes structured files: members sorted, no spaces, numbers as they are written.
//!
//! The form is that of OPA's documentation under "Signature Format". Strings are escaped as Go's encoder does.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// The most values in all the JSON of one bundle: some fifty times what the reference policy's data and cases have. It
/// bounds memory, since a value of one byte of text takes up to a hundred bytes once it is read.
pub(super) const VALUES: usize = 500_000;
/// The deepest nesting, which is also serde_json's limit.
const DEPTH: usize = 127;

/// What is wrong with a document, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The line, from 1.
    pub(super) line: usize,
    /// What is wrong with it.
    pub(super) why: String,
}

/// Rewrites a JSON document; `values` is how many values it may still have, and is reduced by what it has.
///
/// # Errors
/// [`Malformed`] when it is no JSON, when an object has a member twice (two programs may then see different ones), or when
/// it is too deep or too large.
pub(super) fn canonical(text: &str, values: &mut usize) -> Result<Vec<u8>, Malformed> {
    // The grammar is serde_json's to judge; the scanner below may then rely on it.
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| Malformed { line: error.line(), why: error.to_string() })?;
    let mut scanner = Scanner { text, at: 0, left: *values };
    let tree = scanner.value(0)?;
    *values = scanner.left;
    let mut out = Vec::with_capacity(text.len());
    tree.write(&mut out);
    Ok(out)
}

/// A value whose plain parts are still text.
enum Node<'a> {
    Object(BTreeMap<String, Node<'a>>),
    Array(Vec<Node<'a>>),
    Text(String),
    Plain(&'a str),
}

impl Node<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Object(members) => {
                out.push(b'{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    write_text(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
            Self::Array(items) => {
                out.push(b'[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Text(text) => write_text(text, out),
            Self::Plain(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

/// As Go's `encoding/json` writes a string with its HTML escapes off: serde_json's form, and U+2028 and U+2029 escaped.
fn write_text(text: &str, out: &mut Vec<u8>) {
    let json = serde_json::Value::from(text).to_string();
    out.extend_from_slice(json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029").as_bytes());
}

/// Takes apart a document that is known to be JSON.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    left: usize,
}

impl<'a> Scanner<'a> {
    fn malformed(&self, why: String) -> Malformed {
        Malformed { line: 1 + self.text[..self.at].matches('\n').count(), why }
    }

    /// The next byte that is no white space; 0 at the end, which a JSON document does not reach within a value.
    fn peek(&mut self) -> u8 {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, Malformed> {
        if depth > DEPTH {
            return Err(self.malformed(format!("nested more than {DEPTH} deep: flatten it")));
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            self.malformed(format!("the bundle has more than {VALUES} values of JSON: ship less data"))
        })?;
        match self.peek() {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => Ok(Node::Text(self.string()?)),
            _ => {
                let rest = &self.text[self.at..];
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let length = rest.bytes().take_while(|byte| plain(byte)).count();
                self.at += length;
                Ok(Node::Plain(&rest[..length]))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node<'a>, Malformed> {
        let mut members = BTreeMap::new();
        self.at += 1;
        while self.peek() != b'}' {
            let name = self.string()?;
            self.peek();
            // The colon.
            self.at += 1;
            if members.contains_key(&name) {
                return Err(self.malformed(format!("{name:?} stands twice in one object: remove one")));
            }
            let value = self.value(depth + 1)?;
            members.insert(name, value);
            if self.peek() == b',' {
                self.at += 1;
                self.peek();
            }
        }
        self.at += 1;
        Ok(Node::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Node<'a>, Malformed> {
        let mut items = Vec::new();
        self.at += 1;
        while self.peek() != b']' {
            items.push(self.value(depth + 1)?);
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(Node::Array(items))
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let length = end.map_or(rest.len(), |end| end + 2);
        // A lone surrogate passes as JSON and is no text.
        let text = serde_json::from_str(&rest[..length]).map_err(|error| self.malformed(error.to_string()))?;
        self.at += length;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Result<String, Malformed> {
        canonical(text, &mut VALUES.clone()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn members_are_sorted_and_numbers_stay_as_written() {
        let text = " { \"b\" : [ 1.50 , -0 , 1E5 , 1e400, true , null , [ ] , { } ] ,\n \"a\" : \"x\" , \"A\":\"\" } ";
        assert_eq!(form(text).unwrap(), r#"{"A":"","a":"x","b":[1.50,-0,1E5,1e400,true,null,[],{}]}"#);
        assert_eq!(form("7").unwrap(), "7");
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let text = r#"["\u0041\/\"\\\b\f\n\r\t\u001F\u007f<>&\u2028\u2029","関所","\ud83d\ude00"]"#;
        let expected = "[\"A/\\\"\\\\\\b\\f\\n\\r\\t\\u001f\u{7f}<>&\\u2028\\u2029\",\"関所\",\"😀\"]";
        assert_eq!(form(text).unwrap(), expected);
    }

    #[test]
    fn what_two_programs_may_read_differently_is_refused() {
        for (text, line, why) in [
            ("{\"a\": 1,\n\"a\": 2}", 2, "twice"),
            ("{\"a\": 1,\n\"\\u0061\": 2}", 2, "twice"),
            ("[\"\\ud800\"]", 1, "hex escape"),
            ("{\"a\": 1} x", 1, "trailing"),
            ("{\"a\": 01}", 1, "invalid number"),
            ("\u{feff}{}", 1, "expected value"),
        ] {
            let error = form(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {}", error.why);
            assert!(error.why.contains(why), "{text}: {}", error.why);
        }
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(form(&nested(DEPTH + 1)).is_ok());
        assert!(serde_json::from_str::<serde_json::Value>(&nested(DEPTH)).is_ok());
        assert!(form(&nested(DEPTH + 2)).unwrap_err().why.contains("deep"));
        assert!(form(&nested(1_000_000)).unwrap_err().why.contains("deep"));
        let mut left = 4;
        assert!(canonical("[1, {\"a\": 2}]", &mut left).is_ok());
        assert_eq!(left, 0);
        assert!(canonical("1", &mut left).unwrap_err().why.contains("values"));
    }
}
