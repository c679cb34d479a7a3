//! k-anonymity: every group that leaves has k, or nothing leaves.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn demand(on_fail: &str) -> Value {
    json!([
        {"do": "k_anonymity", "k": 2, "quasi_ids": ["age", "sex"], "on_fail": on_fail},
        {"do": "generalise", "age_band": 10, "columns": {"age": "age"}},
    ])
}

#[test]
fn small_groups_are_left_out_or_deny() {
    let csv = "age,sex,x\n31,f,a\n38,f,b\n31,m,c\n70,f,d\n";
    check(demand("suppress"), "text/csv", csv, "age,sex,x\n30-39,f,a\n30-39,f,b\n");
    refuse(demand("deny"), "text/csv", csv, "k_anonymity_not_met");
    let json = r#"[{"age":31,"sex":"f"},{"sex":"f","age":"38","x":1},{"age":31,"sex":"m"},{"y":{"age":70,"sex":"f"}}]"#;
    let left = r#"[{"age":"30-39","sex":"f"},{"sex":"f","age":"30-39","x":1}]"#;
    check(demand("suppress"), "application/json", json, left);
    refuse(demand("deny"), "application/json", json, "k_anonymity_not_met");
    let lines = "{\"age\":31,\"sex\":\"f\"}\n\n{\"age\":38,\"sex\":\"f\"}\n{}\n";
    let left = "{\"age\":\"30-39\",\"sex\":\"f\"}\n{\"age\":\"30-39\",\"sex\":\"f\"}\n";
    check(demand("suppress"), "application/x-ndjson", lines, left);
    let (_, carried) = run(demand("suppress"), "text/csv", csv).unwrap();
    assert_eq!(
        (carried[1].action.as_str(), carried[1].count, carried[1].how.as_str()),
        ("k_anonymity", 2, "k=2, suppress")
    );
}

#[test]
fn nothing_may_be_left() {
    check(demand("suppress"), "text/csv", "age,sex\n31,f\n", "age,sex\n");
    check(demand("suppress"), "application/json", r#"[{"age":31}]"#, "[]");
    check(demand("suppress"), "application/json", "[]", "[]");
    check(demand("suppress"), "application/x-ndjson", "{\"age\":1}\n", "");
}

#[test]
fn absent_is_null_and_nested_values_count() {
    let json = r#"[{"a":1},{"sex":null,"a":2},{"p":{"sex":"f"}},{"p":[{"Sex":"f"}]}]"#;
    check(demand("suppress"), "application/json", json, json);
    let apart = r#"[{"p":{"sex":"f"}},{"p":{"sex":"m"}}]"#;
    check(demand("suppress"), "application/json", apart, "[]");
}

#[test]
fn what_is_no_set_of_records_is_refused() {
    refuse(demand("suppress"), "application/json", r#"{"age":31}"#, "obligation_not_possible");
    refuse(demand("suppress"), "application/json", "[1]", "payload_malformed");
    refuse(demand("suppress"), "application/json", r#"[{"age":1,"AGE":2}]"#, "payload_malformed");
    refuse(demand("suppress"), "application/x-ndjson", "[]\n", "payload_malformed");
}

#[test]
fn two_rules_become_the_stricter_one() {
    let two = json!([
        {"do": "k_anonymity", "k": 2, "quasi_ids": ["a"], "on_fail": "suppress"},
        {"do": "k_anonymity", "k": 3, "quasi_ids": ["b"], "on_fail": "suppress"},
    ]);
    let csv = "a,b\n1,1\n1,1\n1,1\n1,2\n1,2\n";
    check(two, "text/csv", csv, "a,b\n1,1\n1,1\n1,1\n");
}

#[test]
fn a_mark_leaves_only_with_its_record() {
    let marked = json!([
        {"do": "watermark"},
        {"do": "k_anonymity", "k": 2, "quasi_ids": ["a"], "on_fail": "suppress"},
    ]);
    let (output, carried) = run(marked, "application/json", r#"[{"a":1},{"a":2},{"a":1}]"#).unwrap();
    let record = format!(r#"{{"a":1,"sekisho_mark":"{EXCHANGE}"}}"#);
    assert_eq!(output, format!("[{record},{record}]"));
    assert_eq!(carried.iter().map(|done| done.count).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn nothing_leaves_before_the_end_and_memory_is_bounded() {
    for (content_type, head, record) in
        [("text/csv", "age,sex\n", "31,f\n"), ("application/json", "[{}", ",{\"age\":1}")]
    {
        let mut filter = open(demand("suppress"), content_type).unwrap();
        let mut output = BytesMut::new();
        filter.push(head.as_bytes(), &mut output).unwrap();
        let piece = record.repeat(10_000);
        let refused = loop {
            if let Err(error) = filter.push(piece.as_bytes(), &mut output) {
                break error;
            }
            assert!(output.is_empty() && filter.buffered() <= super::super::MAX_GROUPED);
        };
        assert_eq!((refused.code(), output.len()), ("obligation_limit", 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_group_that_leaves_has_k(
        rows in proptest::collection::vec((0u8..4, 0u8..3, any::<u16>()), 0..60),
        k in 2u32..6,
        as_json in any::<bool>(),
    ) {
        let demand = json!([{"do": "k_anonymity", "k": k, "quasi_ids": ["a", "b"], "on_fail": "suppress"}]);
        let mut sizes: HashMap<(u8, u8), u32> = HashMap::new();
        for (a, b, _) in &rows {
            *sizes.entry((*a, *b)).or_default() += 1;
        }
        let line = |(a, b, x): &(u8, u8, u16)| match as_json {
            true => format!("{{\"a\":{a},\"b\":{b},\"x\":{x}}}\n"),
            false => format!("{a},{b},{x}\n"),
        };
        let head = if as_json { "" } else { "a,b,x\n" };
        let table = |rows: Vec<&(u8, u8, u16)>| head.to_owned() + &rows.into_iter().map(line).collect::<String>();
        let content_type = if as_json { "application/x-ndjson" } else { "text/csv" };
        let output = push(&mut open(demand, content_type).unwrap(), table(rows.iter().collect()).as_bytes(), &[7]);
        let expected = table(rows.iter().filter(|(a, b, _)| sizes[&(*a, *b)] >= k).collect());
        prop_assert_eq!(output, Ok(expected.into_bytes()));
    }
}
