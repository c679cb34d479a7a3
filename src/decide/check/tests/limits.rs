//! What no parser gets to see.

use super::errors;
use crate::decide::check::text::{BRACKET_COST, BRACKET_DEPTH, LINE_BYTES, SOURCE_BYTES};
use crate::decide::{BundleFile, check_language};

#[test]
fn brackets_end_at_their_limits() {
    let nested = |depth: u32| format!("x := {}{}", "[".repeat(depth as usize), "]".repeat(depth as usize));
    assert_eq!(errors(&nested(BRACKET_DEPTH)), []);
    assert_eq!(errors(&nested(BRACKET_DEPTH + 1)), [(2, "nested_too_deeply")]);
    // Brackets in texts and comments are none.
    assert_eq!(errors(&format!("# {}\nx := \"{}\"", "[".repeat(99), "{".repeat(99))), []);
    // One bracket of the first level costs two.
    let wide = |brackets: u64| "\nx contains 1 if (1 > 0)".repeat(brackets as usize);
    assert_eq!(errors(&wide(BRACKET_COST / 2)), []);
    let found = errors(&wide(BRACKET_COST / 2 + 1));
    assert_eq!(found, [(BRACKET_COST as u32 / 2 + 3, "nested_too_deeply")]);
}

#[test]
fn brackets_of_all_files_count_together() {
    let file = |path: &str, brackets: u64| {
        let rules = "\nx contains 1 if (1 > 0)".repeat(brackets as usize);
        BundleFile { path: path.to_owned(), text: format!("package p{rules}") }
    };
    let half = BRACKET_COST / 4;
    let found = |second: u64| {
        let report = check_language(&[file("a.rego", half), file("b.rego", second)], &serde_json::json!({}));
        report.errors().map(|finding| (finding.file.clone(), finding.code)).collect::<Vec<_>>()
    };
    assert_eq!(found(half), []);
    assert_eq!(found(half + 1), [("b.rego".to_owned(), "nested_too_deeply")]);
}

#[test]
fn lines_and_sources_end_at_their_limits() {
    let line = |bytes: usize| format!("# {}", "a".repeat(bytes - 2));
    assert_eq!(errors(&line(LINE_BYTES)), []);
    assert_eq!(errors(&line(LINE_BYTES + 1)), [(2, "line_too_long")]);
    // "package p\n" are ten bytes.
    let comment = format!("# {}\n", "a".repeat(509));
    let source = |bytes: usize| comment.repeat((bytes - 10) / 512) + &"#".repeat((bytes - 10) % 512);
    assert_eq!(errors(&source(SOURCE_BYTES)), []);
    assert_eq!(errors(&source(SOURCE_BYTES + 1)), [(1, "source_too_large")]);
    assert_eq!(errors("x := \"a\u{2028}b\""), [(2, "control_character")]);
}

#[test]
fn a_chain_is_as_deep_as_it_is_long() {
    let chain = |links: usize| format!("x := 1{}", "\n+ 1".repeat(links));
    assert_eq!(errors(&chain(20)), []);
    let long = errors(&chain(5000));
    assert!(!long.is_empty(), "a chain of 5000 is taken");
    let reference = format!("x := input{}", ".a".repeat(200));
    assert!(!errors(&reference).is_empty(), "a reference of 200 steps is taken");
}
