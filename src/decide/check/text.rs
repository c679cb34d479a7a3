//! What a source must satisfy before any parser sees it.
//!
//! The parser tries every reading of a bracket again for each bracket inside it, so its work doubles with every level.

use super::{Findings, Place};
use crate::decide::BundleFile;

/// The largest source, in bytes: thirty times the largest file of the reference policy.
pub const SOURCE_BYTES: usize = 512 * 1024;
/// The longest line, in bytes. The interpreter's lexer takes no more.
pub const LINE_BYTES: usize = 1024;
/// Brackets inside brackets. The reference policy uses four levels.
pub const BRACKET_DEPTH: u32 = 10;
/// What the brackets of all files of a bundle may cost to parse: two to the power of its level for each. The costliest
/// file of the reference policy has 530; the limit keeps the parser under a second.
pub const BRACKET_COST: u64 = 1 << 15;

/// Whether a parser may see the source. If not, the findings say why. `cost` is that of the brackets of the files before,
/// and grows by what this one has.
pub(super) fn admit(file: &BundleFile, cost: &mut u64, findings: &mut Findings) -> bool {
    let before = findings.errors();
    if file.text.len() > SOURCE_BYTES {
        let text = format!("{} bytes are more than the {SOURCE_BYTES} of a source: split it", file.text.len());
        findings.error("source_too_large", Place::of(file, 1), text);
        return false;
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        if line.len() > LINE_BYTES {
            let text = format!("the line has {} bytes, more than {LINE_BYTES}: break it", line.len());
            findings.error("line_too_long", Place::of(file, number), text);
        }
        // Other engines end a line or a text at some of these.
        if line
            .chars()
            .any(|c| (c.is_control() && c != '\t') || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
        {
            findings.error("control_character", Place::of(file, number), "a control character stands here: remove it");
        }
    }
    brackets(file, cost, findings);
    findings.errors() == before
}

fn brackets(file: &BundleFile, cost: &mut u64, findings: &mut Findings) {
    let (mut depth, mut line) = (0_u32, 1);
    let mut bytes = file.text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => line += 1,
            b'#' => line += u32::from(bytes.by_ref().any(|byte| byte == b'\n')),
            // A text ends on its line, whatever a parser would say to it.
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => drop(bytes.next()),
                    Some(b'\n') => {
                        line += 1;
                        break;
                    }
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            b'`' => {
                for byte in bytes.by_ref().take_while(|byte| *byte != b'`') {
                    line += u32::from(byte == b'\n');
                }
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                *cost += 1 << depth.min(BRACKET_DEPTH);
                if depth > BRACKET_DEPTH {
                    let text = format!("more than {BRACKET_DEPTH} brackets inside one another: name the inner parts");
                    return findings.error("nested_too_deeply", Place::of(file, line), text);
                }
                if *cost > BRACKET_COST {
                    let text = "the brackets of the policy up to here take too long to parse: nest less";
                    return findings.error("nested_too_deeply", Place::of(file, line), text);
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
}
