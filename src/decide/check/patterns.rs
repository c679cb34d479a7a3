//! Regular expressions that every engine reads alike.
//!
//! The interpreter's `\d` takes the digits of all scripts and OPA's those of ASCII; flags, look-around and Unicode classes
//! differ, too. What is left is enough for formats: literals, classes, groups, alternatives, anchors and small counts.

/// The longest pattern, in bytes.
const PATTERN_BYTES: usize = 256;
/// The largest count in braces. Counts inside counts multiply, so their product is held to the same.
const REPEATS: u32 = 100;

/// Whether a pattern is of a form that is allowed; if not, why.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    if pattern.len() > PATTERN_BYTES {
        return Err(format!("the pattern has more than {PATTERN_BYTES} bytes: split it"));
    }
    if !pattern.is_ascii() {
        return Err("a pattern is ASCII: engines differ on other characters".to_owned());
    }
    let (mut rest, mut product) = (pattern, 1_u32);
    while let Some(c) = rest.chars().next() {
        rest = &rest[1..];
        match c {
            '\\' => match rest.chars().next() {
                Some(escaped) if escaped.is_ascii_punctuation() => rest = &rest[1..],
                _ => return Err("write a class out, such as [0-9]: engines differ on \\d, \\w, \\s and \\b".to_owned()),
            },
            '(' if rest.starts_with('?') => {
                return Err("(? starts what engines read differently: leave it out".to_owned());
            }
            '[' => {
                let end = class(rest).ok_or("the class [ has no plain end: write members and ranges only")?;
                rest = &rest[end..];
            }
            '{' => {
                let counts = rest.split_once('}').ok_or("{ is not closed: escape it as \\{")?.0;
                let most = counts
                    .split(',')
                    .filter(|count| !count.is_empty())
                    .map(str::parse::<u32>)
                    .max_by_key(|count| count.clone().unwrap_or(u32::MAX));
                product =
                    most.and_then(Result::ok).and_then(|most| product.checked_mul(most.max(1))).unwrap_or(u32::MAX);
                if product > REPEATS {
                    return Err(format!("counts go up to {REPEATS}, multiplied where there are several"));
                }
            }
            '.' => return Err("write a class instead of . : engines differ on what a character is".to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// Length of a class behind its `[`, the `]` included.
fn class(rest: &str) -> Option<usize> {
    let mut escaped = false;
    for (place, c) in rest.char_indices() {
        match c {
            _ if escaped => {
                escaped = false;
                if !c.is_ascii_punctuation() {
                    return None;
                }
            }
            '\\' => escaped = true,
            // Nested and named classes and set operations are not the same everywhere.
            '[' | '&' | '~' => return None,
            '^' if place == 0 => return None,
            ']' => return (place > 0).then_some(place + 1),
            _ => {}
        }
    }
    None
}
