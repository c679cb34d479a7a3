//! One entry as one line for a terminal.

use std::fmt::Write as _;

use serde_json::Value;

use super::read::ReadEntry;

/// An entry in one line: index, time, kind, how it was decided or ended, exchange, and what matters of the rest.
/// Peers choose some of these words, so control characters are shown escaped.
pub fn show_line(entry: &ReadEntry) -> String {
    let text = |key: &str| entry.payload.get(key).and_then(Value::as_str).unwrap_or("-");
    let number = |key: &str| entry.payload.get(key).and_then(Value::as_u64);
    let kind = text("kind");
    let verdict = match kind {
        "outcome" => text("ended"),
        "receipt" => text("party"),
        _ => text("decision"),
    };
    let mut line = format!("{:>6}  {}  {kind} {verdict}  {}", entry.index, text("at"), text("exchange"));
    let mut add = |label: &str, value: &str| {
        if value != "-" {
            // Writing to a String does not fail.
            let _ = write!(line, "  {label}{value}");
        }
    };
    if kind == "outcome" {
        for (key, label) in [("status", "status="), ("bytes_out", "bytes="), ("milliseconds", "ms=")] {
            add(label, &number(key).map_or_else(|| "-".to_owned(), |number| number.to_string()));
        }
        for carried in entry.payload.get("obligations_carried").and_then(Value::as_array).into_iter().flatten() {
            let word = |key: &str| carried.get(key).and_then(Value::as_str).unwrap_or("?");
            add("", &format!("{}:{}", word("rule"), word("do")));
        }
    } else if kind != "receipt" {
        add("", &format!("{} -> {}", text("provider"), text("consumer")));
        for key in ["direction", "dataset", "purpose", "action"] {
            add("", text(key));
        }
        for approval in entry.payload.get("approvals").and_then(Value::as_array).into_iter().flatten() {
            add("approval=", approval.get("id").and_then(Value::as_str).unwrap_or("-"));
        }
        for reason in entry.payload.get("reasons").and_then(Value::as_array).into_iter().flatten() {
            add("", reason.get("rule").and_then(Value::as_str).unwrap_or("-"));
        }
    }
    add("code=", text("code"));
    escape_controls(&line)
}

/// Replaces control characters by their Rust escapes, so that no text from outside can steer a terminal.
pub fn escape_controls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}
