//! Tests that take a plan as a policy words it and a payload as it arrives.

mod body;
mod csv;
mod grouping;
mod json;
mod plan;

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::Value;

use super::{CarriedOut, Context, EnforceError, Filter, Plan, PseudonymKeys};
use crate::types::{ExchangeId, Obligation};

pub(super) const EXCHANGE: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// A context with a fixed exchange and fixed keys.
fn context(recipient: &str) -> Context {
    let exchange: ExchangeId = EXCHANGE.parse().unwrap();
    let secret: Vec<u8> = (0..32).collect();
    let keys = PseudonymKeys::new("2026-a", &secret).unwrap();
    Context { recipient: recipient.parse().unwrap(), exchange, pseudonym_keys: Some(Arc::new(keys)) }
}

/// Obligations from JSON; each gets a rule's name from its place when it has none.
fn obligations(mut json: Value) -> Vec<Obligation> {
    for (index, obligation) in json.as_array_mut().unwrap().iter_mut().enumerate() {
        let rule = format!("R{}", index + 1);
        obligation.as_object_mut().unwrap().entry("rule").or_insert(Value::String(rule));
    }
    serde_json::from_value(json).unwrap()
}

fn compile(json: Value) -> Result<Plan, EnforceError> {
    Plan::compile(&obligations(json), &context("kansai.example"))
}

fn open(json: Value, content_type: &str) -> Result<Filter, EnforceError> {
    compile(json)?.open(Some(content_type), None)
}

/// Pushes `input` in pieces of the given lengths, again and again; the whole at once when there are none.
fn push(filter: &mut Filter, input: &[u8], pieces: &[usize]) -> Result<Vec<u8>, EnforceError> {
    let mut output = BytesMut::new();
    let mut rest = input;
    let mut lengths = pieces.iter().copied().filter(|length| *length > 0).cycle();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, after) = rest.split_at(length);
        filter.push(piece, &mut output)?;
        rest = after;
    }
    filter.finish(&mut output)?;
    Ok(output.to_vec())
}

/// Runs a payload through, whole and byte by byte, and demands that both give the same.
fn run(json: Value, content_type: &str, input: &str) -> Result<(String, Vec<CarriedOut>), EnforceError> {
    let mut whole = open(json.clone(), content_type)?;
    let result = push(&mut whole, input.as_bytes(), &[]);
    let mut cut = open(json, content_type)?;
    assert_eq!(push(&mut cut, input.as_bytes(), &[1]), result, "byte by byte, of {input}");
    let output = String::from_utf8(result?).unwrap();
    assert_eq!((whole.buffered(), cut.buffered()), (0, 0));
    Ok((output, whole.carried()))
}

/// Checks what leaves.
#[track_caller]
fn check(json: Value, content_type: &str, input: &str, expected: &str) {
    assert_eq!(run(json, content_type, input).map(|(output, _)| output).as_deref(), Ok(expected), "of {input}");
}

/// Checks with which code a payload is refused.
#[track_caller]
fn refuse(json: Value, content_type: &str, input: &str, code: &str) {
    let result = run(json, content_type, input);
    assert_eq!(result.as_ref().map_err(EnforceError::code).map(|(output, _)| output), Err(code), "of {input}");
}

/// The pseudonym of a value for a recipient.
fn pseudonym(value: &str, recipient: &str) -> String {
    let context = context(recipient);
    let key = context.pseudonym_keys.unwrap().recipient(&context.recipient).unwrap();
    let mut out = Vec::new();
    key.pseudonym(value.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}
