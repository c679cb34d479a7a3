//! The smallest parts of JSON: UTF-8, strings and numbers, checked as they stream past.

/// Checks that a stream is UTF-8 (RFC 3629), however it is cut.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The start of a character whose end has not come.
    part: [u8; 4],
    length: usize,
}

impl Utf8 {
    /// Takes the next bytes; an error says how many of them are good.
    pub(super) fn check(&mut self, mut bytes: &[u8]) -> Result<(), usize> {
        let mut good = 0;
        while self.length > 0 {
            let Some((&first, rest)) = bytes.split_first() else { return Ok(()) };
            self.part[self.length] = first;
            self.length += 1;
            match std::str::from_utf8(&self.part[..self.length]) {
                Ok(_) => self.length = 0,
                // Four bytes are always a character or an error, so that `part` never overflows.
                Err(error) if error.error_len().is_some() => return Err(good),
                Err(_) => {}
            }
            bytes = rest;
            good += 1;
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(good + error.valid_up_to()),
            Err(error) => {
                let tail = &bytes[error.valid_up_to()..];
                self.part[..tail.len()].copy_from_slice(tail);
                self.length = tail.len();
                Ok(())
            }
        }
    }

    /// Whether no character is cut in two.
    pub(super) fn is_whole(&self) -> bool {
        self.length == 0
    }
}

/// Reads one string (RFC 8259, section 7) after its opening quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    state: TextState,
    /// The code unit that an escape has spelt so far.
    unit: u16,
    /// Whether the last escape was the first half of a surrogate pair.
    half: bool,
    /// Whether any escape was seen.
    pub(super) escaped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextState {
    Plain,
    Escape,
    /// Hexadecimal digits still due.
    Hex(u8),
}

/// Bytes that end a run of plain text: quote, backslash, control characters.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = true;
        control += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

impl Text {
    /// A string of which nothing was read.
    pub(super) const START: Self = Self { state: TextState::Plain, unit: 0, half: false, escaped: false };

    /// Reads on; returns the bytes read and whether the closing quote was among them.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, &'static str)> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                TextState::Plain => {
                    let run = bytes[at..].iter().position(|b| SPECIAL[usize::from(*b)]);
                    if self.half && (run != Some(0) || bytes[at] != b'\\') {
                        return Err((at, LONE));
                    }
                    let Some(run) = run else { return Ok((bytes.len(), false)) };
                    at += run;
                    match bytes[at] {
                        b'"' => return Ok((at + 1, true)),
                        b'\\' => self.state = TextState::Escape,
                        _ => return Err((at, "a string holds a control character")),
                    }
                    self.escaped = true;
                }
                TextState::Escape => {
                    self.state = match bytes[at] {
                        b'u' => TextState::Hex(4),
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' if !self.half => TextState::Plain,
                        _ if self.half => return Err((at, LONE)),
                        _ => return Err((at, "a string holds an unknown escape")),
                    };
                    self.unit = 0;
                }
                TextState::Hex(due) => {
                    let digit = char::from(bytes[at]).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                    let Some(digit) = digit else { return Err((at, "an escape is not four hexadecimal digits")) };
                    self.unit = self.unit << 4 | digit;
                    self.state = if due > 1 { TextState::Hex(due - 1) } else { TextState::Plain };
                    if due == 1 {
                        let (first, second) = (self.unit >> 10 == 0x36, self.unit >> 10 == 0x37);
                        if self.half != second {
                            return Err((at, LONE));
                        }
                        self.half = first;
                    }
                }
            }
            at += 1;
        }
        Ok((at, false))
    }
}

const LONE: &str = "a string holds half a surrogate pair";

/// Appends the text of a string: `raw` is what stands between its quotes, and was read by [`Text`] and [`Utf8`].
pub(in crate::enforce) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    let mut high = 0u32;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let letter = rest.get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        let plain = match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let digits = rest.get(..4).unwrap_or_default();
                rest = rest.get(4..).unwrap_or_default();
                let unit = digits.iter().fold(0, |unit, b| unit << 4 | char::from(*b).to_digit(16).unwrap_or(0));
                if unit >> 10 == 0x36 {
                    high = unit;
                    continue;
                }
                let point = if unit >> 10 == 0x37 { 0x10000 + ((high & 0x3ff) << 10 | unit & 0x3ff) } else { unit };
                let c = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => other,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
}

/// Whether this is a number, `true`, `false` or `null` (RFC 8259, sections 3 and 6).
pub(super) fn is_scalar(text: &[u8]) -> bool {
    matches!(text, b"true" | b"false" | b"null") || is_number(text)
}

fn is_number(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(rest);
    if whole == 0 || whole > 1 && text.strip_prefix(b"-").unwrap_or(text).starts_with(b"0") {
        return false;
    }
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(rest) => match digits(rest) {
            (0, _) => return false,
            (_, rest) => rest,
        },
    };
    match rest {
        [] => true,
        [b'e' | b'E', rest @ ..] => {
            let rest = rest.strip_prefix(b"+").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest);
            matches!(digits(rest), (1.., []))
        }
        _ => false,
    }
}

/// How many digits lead, and what follows them.
fn digits(text: &[u8]) -> (usize, &[u8]) {
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    (count, &text[count..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_is_checked_across_cuts() {
        let text = "aé関🌊z".as_bytes();
        for cut in 0..=text.len() {
            let mut utf8 = Utf8::default();
            assert_eq!((utf8.check(&text[..cut]), utf8.check(&text[cut..])), (Ok(()), Ok(())), "cut at {cut}");
            assert!(utf8.is_whole());
        }
        for bad in [&b"ab\xff"[..], b"ab\xc0\x80", b"ab\xed\xa0\x80", b"ab\xe3a", b"ab\xf8\x88\x80\x80"] {
            for cut in 0..=bad.len() {
                let mut utf8 = Utf8::default();
                let result = utf8.check(&bad[..cut]).and_then(|()| utf8.check(&bad[cut..]));
                assert!(result.is_err(), "{bad:?} cut at {cut}");
            }
        }
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.check(b"a\xe3\x81"), Ok(()));
        assert!(!utf8.is_whole());
    }

    #[test]
    fn strings_are_read_as_serde_json_reads_them() {
        let good = ["", "a", "é関", r#"\"\\\/\b\f\n\r\t"#, r"\u0041", r"\ud83c\udf0ax", r"\\u0041", "\u{7f}"];
        let bad =
            [r"\x", r"\u12", r"\u12g4", r"\ud83c", r"\ud83cx", r"\ud83c\n", r"\udf0a", r"\ud83c\u0041", "\n", "\0"];
        for (inner, expected) in good.map(|g| (g, true)).into_iter().chain(bad.map(|b| (b, false))) {
            let whole = format!("\"{inner}\"");
            let reference = serde_json::from_str::<String>(&whole);
            assert_eq!(reference.is_ok(), expected, "{inner}");
            for cut in 1..whole.len() {
                let mut text = Text::START;
                let (first, second) = (&whole.as_bytes()[1..cut], &whole.as_bytes()[cut..]);
                let result = text.scan(first).and_then(|_| text.scan(second));
                assert_eq!(
                    result.map_err(|_| ()),
                    if expected { Ok((second.len(), true)) } else { Err(()) },
                    "{inner}"
                );
            }
            if let Ok(reference) = reference {
                let mut out = Vec::new();
                unescape(inner.as_bytes(), &mut out);
                assert_eq!(out, reference.as_bytes(), "{inner}");
            }
        }
    }

    #[test]
    fn scalars_are_what_the_grammar_says() {
        for good in ["0", "-0", "10", "0.10", "1e400", "-1.5E+3", "1e-7", "true", "false", "null"] {
            assert!(is_scalar(good.as_bytes()), "{good}");
        }
        for bad in ["", "-", "01", "-01", "1.", ".5", "1e", "1e+", "+1", "0x1", "1.e1", "tru", "True", "nul", "NaN"] {
            assert!(!is_scalar(bad.as_bytes()), "{bad}");
        }
    }
}
