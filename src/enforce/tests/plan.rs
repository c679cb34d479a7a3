//! What a plan understands, refuses, tells, and how it chooses formats.

use serde_json::{Value, json};

use super::*;

fn unsupported(obligation: Value) {
    let named = obligation["do"].as_str().unwrap().to_owned();
    match compile(json!([obligation.clone()])) {
        Err(error @ EnforceError::Unsupported { .. }) => {
            assert_eq!(error.code(), "obligation_unsupported");
            assert!(error.to_string().contains(&named), "{error}");
        }
        other => panic!("{obligation}: {other:?}"),
    }
}

#[test]
fn what_is_not_understood_denies() {
    for obligation in [
        json!({"do": "fold", "fields": ["a"]}),
        json!({"do": "aggregate", "by": ["a"], "min_contributors": 10}),
        json!({"do": "degrade_resolution", "to_m": 10}),
        json!({"do": "exporter_held_keys"}),
        json!({"do": "keep_only"}),
        json!({"do": "keep_only", "fields": []}),
        json!({"do": "keep_only", "fields": "a"}),
        json!({"do": "keep_only", "fields": ["/a"]}),
        json!({"do": "keep_only", "fields": ["a", 1]}),
        json!({"do": "keep_only", "fields": ["a"], "except": ["a"]}),
        json!({"do": "redact"}),
        json!({"do": "redact", "json_pointers": ["a"]}),
        json!({"do": "redact", "json_pointers": ["/a~2"]}),
        json!({"do": "redact", "fields": [""]}),
        json!({"do": "pseudonymise_hmac", "fields": ["a"]}),
        json!({"do": "pseudonymise_hmac", "columns": ["a"], "key_id": "2025-b"}),
        json!({"do": "generalise", "date": "iso-week"}),
        json!({"do": "generalise", "date": "year", "columns": {"a": "date"}}),
        json!({"do": "generalise", "columns": {"a": "date"}}),
        json!({"do": "generalise", "columns": {"a": "age"}}),
        json!({"do": "generalise", "columns": {"a": "place"}}),
        json!({"do": "generalise", "age_band": 1, "columns": {"a": "age"}}),
        json!({"do": "generalise", "geo_km": 5, "columns": {"a": "day"}}),
        json!({"do": "k_anonymity", "quasi_ids": ["a"]}),
        json!({"do": "k_anonymity", "k": 1, "quasi_ids": ["a"]}),
        json!({"do": "k_anonymity", "k": "10", "quasi_ids": ["a"]}),
        json!({"do": "k_anonymity", "k": 10, "quasi_ids": ["a"], "on_fail": "warn"}),
        json!({"do": "watermark", "recipient": "kanto.example"}),
        json!({"do": "delete_after_days", "days": "30"}),
        json!({"do": "notify", "who": {"party": "a"}}),
    ] {
        unsupported(obligation);
    }
    let twice = json!([
        {"do": "generalise", "date": "iso-week", "columns": {"a": "date"}},
        {"do": "generalise", "date": "month", "columns": {"A": "date"}},
    ]);
    assert_eq!(compile(twice).unwrap_err().code(), "obligation_unsupported");
}

#[test]
fn pseudonyms_need_keys() {
    let mut context = context("kansai.example");
    context.pseudonym_keys = None;
    let wanted = obligations(json!([{"do": "pseudonymise_hmac", "columns": ["a"]}]));
    assert_eq!(Plan::compile(&wanted, &context).unwrap_err().code(), "pseudonym_keys_missing");
}

#[test]
fn what_accompanies_is_told_and_changes_nothing() {
    let told = json!([
        {"rule": "P2", "do": "no_onward_transfer"},
        {"rule": "P1", "do": "attribute", "licence": "CC-BY-4.0", "creator": "気象庁 🌊"},
        {"rule": "P2", "do": "no_onward_transfer"},
    ]);
    let plan = compile(told).unwrap();
    assert!(plan.is_pass_through());
    let header = plan.conveyed().unwrap();
    assert!(header.bytes().all(|b| (0x20..0x7f).contains(&b)), "{header}");
    let read: Value = serde_json::from_str(&header).unwrap();
    let attribute = json!({"rule": "P1", "do": "attribute", "licence": "CC-BY-4.0", "creator": "気象庁 🌊"});
    assert_eq!(read, json!([attribute, {"rule": "P2", "do": "no_onward_transfer"}]));
    let actions: Vec<_> = plan.accompanying().iter().map(|told| (told.action.as_str(), told.how.as_str())).collect();
    assert_eq!(actions, [("attribute", "conveyed"), ("no_onward_transfer", "conveyed")]);

    let silent = compile(json!([])).unwrap();
    assert!(silent.is_pass_through() && silent.conveyed().is_none());
    let endless = compile(json!([{"do": "attribute", "licence": "x".repeat(5000)}]));
    assert_eq!(endless.unwrap_err().code(), "obligation_unsupported");
    let changing = compile(json!([{"do": "watermark"}, {"do": "notify", "who": "dpo"}])).unwrap();
    assert!(!changing.is_pass_through() && changing.conveyed().is_some());
}

#[test]
fn formats_are_chosen_or_refused() {
    let plan = compile(json!([{"do": "redact", "fields": ["a"]}])).unwrap();
    for good in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/geo+json",
        "application/x-ndjson",
        "application/jsonl",
        "text/csv; header=present; charset=\"utf-8\"",
    ] {
        assert!(plan.open(Some(good), None).is_ok(), "{good}");
    }
    assert!(plan.open(Some("text/csv"), Some("Identity")).is_ok());
    let refused = [
        (None, None),
        (Some(""), None),
        (Some("application/octet-stream"), None),
        (Some("application/json"), Some("gzip")),
        (Some("application/json"), Some("identity, gzip")),
        (Some("application/json; charset=utf-16"), None),
        (Some("text/csv; header=absent"), None),
        (Some("text/csv; charset=shift_jis"), None),
        (Some("text/plain"), None),
        (Some("image/x+json"), None),
    ];
    for (content_type, encoding) in refused {
        let error = plan.open(content_type, encoding).unwrap_err();
        assert_eq!(error.code(), "obligation_not_possible", "{content_type:?} {encoding:?}");
    }
}

#[test]
fn a_plan_that_names_nothing_for_a_format_is_refused_there() {
    let pointers = json!([{"do": "redact", "json_pointers": ["/a"]}]);
    assert!(open(pointers.clone(), "application/json").is_ok());
    assert_eq!(open(pointers, "text/csv").unwrap_err().code(), "obligation_not_possible");
    let columns = json!([{"do": "redact", "csv_columns": ["a"]}]);
    assert!(open(columns.clone(), "text/csv").is_ok());
    assert_eq!(open(columns, "application/json").unwrap_err().code(), "obligation_not_possible");
    let path = json!([{"do": "pseudonymise_hmac", "columns": ["/a/b"]}]);
    assert_eq!(open(path, "text/csv").unwrap_err().code(), "obligation_not_possible");
    let both = json!([{"do": "redact", "json_pointers": ["/a"], "csv_columns": ["a"]}]);
    assert!(open(both.clone(), "text/csv").is_ok() && open(both, "application/json").is_ok());
}

#[test]
fn a_spent_filter_stays_spent() {
    let mut filter = open(json!([{"do": "redact", "fields": ["a"]}]), "application/json").unwrap();
    let mut output = BytesMut::new();
    assert_eq!(filter.push(b"}", &mut output).unwrap_err().code(), "payload_malformed");
    assert_eq!(filter.push(b"{}", &mut output).unwrap_err().code(), "enforce_internal");
    assert_eq!(filter.finish(&mut output).unwrap_err().code(), "enforce_internal");
    assert!(output.is_empty());
}
