//! CSV: tables, hostile input, and a reference that reads with `csv-core`.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const CSV: &str = "text/csv";

#[test]
fn columns_go_stay_or_change() {
    let table = "id,name,age,when\n1,bob,37,2020-03-17\n2,\"a, b\",0.8,2020-12-31T23:00:00Z\n";
    check(json!([{"do": "redact", "fields": ["name", "when"]}]), CSV, table, "id,age\n1,37\n2,0.8\n");
    check(json!([{"do": "keep_only", "fields": ["name", "ghost", "id"]}]), CSV, table, "id,name\n1,bob\n2,\"a, b\"\n");
    let both = json!([{"do": "keep_only", "fields": ["id", "age"]}, {"do": "keep_only", "fields": ["name", "id"]}]);
    check(both, CSV, table, "id\n1\n2\n");
    let coarse = json!([
        {"do": "generalise", "date": "iso-week", "age_band": 10, "columns": {"age": "age", "when": "date", "id": "day"}},
        {"do": "keep_only", "fields": ["id", "age", "when"]},
    ]);
    check(coarse, CSV, table, "id,age,when\n0-6,30-39,2020-W12\n0-6,0-9,2020-W53\n");
    let mark = format!("id,sekisho_mark\n1,{EXCHANGE}\n2,{EXCHANGE}\n");
    check(json!([{"do": "watermark"}, {"do": "redact", "fields": ["name", "age", "when"]}]), CSV, table, &mark);
}

#[test]
fn what_was_done_is_counted_and_no_value_is_told() {
    let table = "id,Name,age\n1,bob,37\n2,,old\n";
    let demands = json!([
        {"rule": "A", "do": "pseudonymise_hmac", "columns": ["name"]},
        {"rule": "B", "do": "generalise", "age_band": 5, "columns": {"age": "age"}},
        {"rule": "C", "do": "redact", "csv_columns": ["id"]},
        {"rule": "D", "do": "watermark", "recipient": "kansai.example"},
    ]);
    let (output, carried) = run(demands, CSV, table).unwrap();
    let bob = pseudonym("bob", "kansai.example");
    assert_eq!(output, format!("Name,age,sekisho_mark\n{bob},35-39,{EXCHANGE}\n,,{EXCHANGE}\n"));
    let told: Vec<String> =
        carried.iter().map(|c| format!("{} {} {:?} {} {}", c.rule, c.action, c.fields, c.count, c.how)).collect();
    assert_eq!(
        told,
        [
            "C redact [\"id\"] 2 removed",
            "A pseudonymise_hmac [\"name\"] 1 hmac-sha256 key 2026-a",
            "B generalise [\"age\"] 2 age to bands of 5 years; 1 unreadable values emptied",
            "D watermark [] 2 visible mark sekisho_mark",
        ]
    );
}

#[test]
fn case_and_quotes_hide_no_column() {
    let demand = json!([{"do": "redact", "fields": ["secret"]}]);
    check(demand.clone(), CSV, "a,\"SECRET\"\n1,x\n", "a\n1\n");
    check(demand.clone(), CSV, "a,Secret,secret\n1,x,y\n", "a\n1\n");
    check(demand, CSV, "\u{feff}secret,a\r\nx,1\r\n", "a\n1\n");
    check(json!([{"do": "keep_only", "fields": ["a"]}]), CSV, "A,a\nx,1\n", "a\n1\n");
}

#[test]
fn a_column_that_is_not_there_is_refused() {
    for demand in [
        json!({"do": "redact", "fields": ["secret"]}),
        json!({"do": "pseudonymise_hmac", "columns": ["secret"]}),
        json!({"do": "generalise", "columns": {"secret": "day"}}),
        json!({"do": "k_anonymity", "k": 2, "quasi_ids": ["secret"]}),
    ] {
        let error = run(json!([demand]), CSV, "a,b\n1,2\n").unwrap_err();
        assert_eq!(error.code(), "obligation_not_possible");
        assert!(error.to_string().contains("secret"), "{error}");
    }
    refuse(json!([{"do": "keep_only", "fields": ["c"]}]), CSV, "a,b\n1,2\n", "obligation_not_possible");
}

#[test]
fn what_is_not_csv_is_refused_with_its_row() {
    let demand = json!([{"do": "keep_only", "fields": ["a"]}]);
    for (bad, row) in [
        ("", 1),
        ("a,b\n1\n", 2),
        ("a,b\n1,2,3", 2),
        ("a,b\n1,2\n\n3\n", 4),
        ("a,a\n1,2\n", 1),
        ("a,b\n1,x\"y\n", 2),
        ("a,b\n1,\"x\"y\n", 2),
        ("a,b\n1,2\n3,\"4\n5,6\n", 3),
        ("a,b\n1,2\r3,4\n", 2),
    ] {
        let error = run(demand.clone(), CSV, bad).unwrap_err();
        assert_eq!(error.code(), "payload_malformed", "{bad:?}");
        assert!(error.to_string().contains(&format!("row {row}:")), "{bad:?}: {error}");
    }
}

#[test]
fn a_quote_left_open_reveals_no_other_column() {
    // A lenient reader would take the rest of the payload, other people's secrets and all, for one kept value.
    let input = b"secret,note\nx,\"open\nS3CRET,y\nS3CRET,z\n";
    let mut filter = open(json!([{"do": "keep_only", "fields": ["note"]}]), CSV).unwrap();
    let mut output = BytesMut::new();
    filter.push(input, &mut output).unwrap();
    assert_eq!(filter.finish(&mut output).unwrap_err().code(), "payload_malformed");
    assert_eq!(&output[..], b"note\n");
}

#[test]
fn a_single_empty_column_is_no_blank_line() {
    check(json!([{"do": "keep_only", "fields": ["b"]}]), CSV, "a,b\n1,\n2,x\n", "b\n\"\"\nx\n");
    check(json!([{"do": "keep_only", "fields": ["b"]}]), CSV, "a,b\n\n1,\"\"\n", "b\n\"\"\n");
}

#[test]
fn a_mark_that_came_with_the_payload_gives_way() {
    let demand = json!([{"do": "watermark"}]);
    check(demand, CSV, "Sekisho_Mark,a\nforged,1\n", &format!("a,sekisho_mark\n1,{EXCHANGE}\n"));
}

#[test]
fn the_policys_order_makes_no_difference() {
    let mut demands = vec![
        json!({"rule": "A", "do": "watermark"}),
        json!({"rule": "B", "do": "k_anonymity", "k": 2, "quasi_ids": ["age"], "on_fail": "suppress"}),
        json!({"rule": "C", "do": "generalise", "age_band": 10, "columns": {"age": "age"}}),
        json!({"rule": "D", "do": "pseudonymise_hmac", "columns": ["id"]}),
        json!({"rule": "E", "do": "redact", "fields": ["name"]}),
        json!({"rule": "F", "do": "keep_only", "fields": ["id", "name", "age"]}),
        json!({"rule": "G", "do": "keep_only", "fields": ["age", "id"]}),
        json!({"rule": "H", "do": "no_onward_transfer"}),
    ];
    let table = "id,name,age,x\n1,a,31,x\n2,b,32,x\n3,c,71,x\n";
    let (one, two) = (pseudonym("1", "kansai.example"), pseudonym("2", "kansai.example"));
    let expected = format!("id,age,sekisho_mark\n{one},30-39,{EXCHANGE}\n{two},30-39,{EXCHANGE}\n");
    let first = run(json!(demands), CSV, table).unwrap();
    assert_eq!(first.0, expected);
    for turn in 0..demands.len() * 2 {
        demands.rotate_left(3);
        if turn % 2 == 0 {
            demands.swap(0, 1);
        }
        assert_eq!(run(json!(demands), CSV, table), Ok(first.clone()), "{demands:?}");
    }
}

#[test]
fn limits_hold() {
    let demand = json!([{"do": "keep_only", "fields": ["a"]}]);
    let wide = vec!["a"; 4097].join(",");
    let long = format!("a,b\n1,{}\n", "x".repeat(1 << 20));
    for input in [wide, long] {
        for pieces in [&[][..], &[4096]] {
            let mut filter = open(demand.clone(), CSV).unwrap();
            assert_eq!(push(&mut filter, input.as_bytes(), pieces).unwrap_err().code(), "payload_limit");
        }
    }
}

#[test]
fn a_long_stream_is_never_held() {
    let demand = json!([{"do": "pseudonymise_hmac", "columns": ["id"]}, {"do": "redact", "fields": ["name"]}]);
    let mut filter = open(demand, CSV).unwrap();
    let mut piece = b"id,name,note\n".to_vec();
    let row = b"4711,\"Westerling, Jhezane\",\"a note that goes on for a while, as notes in tables do\"\n";
    let (mut fed, mut output) = (0, BytesMut::new());
    while fed < 64 << 20 {
        while piece.len() < 64 << 10 {
            // Some rows are long, so that values to be replaced are few and the test is quick.
            piece.extend_from_slice(b"1,x,");
            piece.resize(piece.len() + (8 << 10), b'y');
            piece.push(b'\n');
            piece.extend_from_slice(row);
        }
        let rest = piece.split_off(64 << 10);
        filter.push(&piece, &mut output).unwrap();
        fed += piece.len();
        piece = rest;
        assert!(filter.buffered() < 64 << 10, "{} bytes are held", filter.buffered());
        output.clear();
    }
}

/// Reads all of a table with `csv-core`, which knows nothing of this room.
fn read(table: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut input, mut rows, mut row) = (table, Vec::new(), Vec::new());
    let mut field = Vec::new();
    loop {
        let mut buffer = [0; 256];
        let (result, used, written) = reader.read_field(input, &mut buffer);
        input = &input[used..];
        field.extend_from_slice(&buffer[..written]);
        match result {
            csv_core::ReadFieldResult::Field { record_end } => {
                row.push(String::from_utf8(std::mem::take(&mut field)).unwrap());
                if record_end {
                    rows.push(std::mem::take(&mut row));
                }
            }
            csv_core::ReadFieldResult::End => return rows,
            csv_core::ReadFieldResult::InputEmpty | csv_core::ReadFieldResult::OutputFull => {}
        }
    }
}

/// A field in one of the ways in which it may be written.
fn written(value: &str, quoted: bool) -> String {
    let must = value.contains([',', '"', '\n', '\r']);
    if quoted || must { format!("\"{}\"", value.replace('"', "\"\"")) } else { value.to_owned() }
}

const NAMES: [&str; 5] = ["id", "name", "note", "a,b", "q\"q"];

fn value() -> impl Strategy<Value = (String, bool)> {
    (prop_oneof!["[a-z0-9 ]{0,5}", "[a\",\n\r関]{0,4}", Just("S3CRET".to_owned())], any::<bool>())
}

prop_compose! {
    /// A table as text and as fields, of the first `width` columns.
    fn table()(width in 1..=NAMES.len())(
        rows in proptest::collection::vec(proptest::collection::vec(value(), width), 0..8),
        crlf in any::<bool>(),
        last_end in any::<bool>(),
        width in Just(width),
    ) -> (String, Vec<Vec<String>>) {
        let header = NAMES[..width].iter().map(|name| ((*name).to_owned(), false)).collect();
        let all: Vec<Vec<(String, bool)>> = std::iter::once(header).chain(rows).collect();
        let end = if crlf { "\r\n" } else { "\n" };
        let line = |row: &Vec<(String, bool)>| {
            // A single empty field must be quoted, or the line is blank.
            let alone = row.len() == 1;
            row.iter().map(|(v, q)| written(v, *q || alone && v.is_empty())).collect::<Vec<_>>().join(",")
        };
        let mut text = all.iter().map(line).collect::<Vec<_>>().join(end);
        if last_end { text.push_str(end); }
        (text, all.into_iter().map(|row| row.into_iter().map(|(v, _)| v).collect()).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_leaves_is_what_the_reference_says(
        (text, rows) in table(),
        kept in proptest::sample::subsequence(&NAMES[..], 1..=NAMES.len()),
        pieces in proptest::collection::vec(1usize..9, 1..5),
    ) {
        prop_assert_eq!(read(text.as_bytes()), rows.clone());
        let demand = json!([{"do": "keep_only", "fields": kept}, {"do": "pseudonymise_hmac", "columns": ["ID"]}]);
        let mut filter = open(demand, CSV).unwrap();
        let result = push(&mut filter, text.as_bytes(), &pieces);
        let columns: Vec<usize> = (0..rows[0].len()).filter(|column| kept.contains(&NAMES[*column])).collect();
        if columns.is_empty() {
            prop_assert_eq!(result.unwrap_err().code(), "obligation_not_possible");
            return Ok(());
        }
        let mut expected: Vec<Vec<String>> = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let field = |column: &usize| match (index, NAMES[*column], row[*column].as_str()) {
                (1.., "id", value) if !value.is_empty() => pseudonym(value, "kansai.example"),
                (_, _, value) => value.to_owned(),
            };
            expected.push(columns.iter().map(field).collect());
        }
        prop_assert_eq!(read(&result.unwrap()), expected);
    }

    #[test]
    fn redaction_never_reveals(
        (text, rows) in table(),
        gone in proptest::sample::subsequence(&NAMES[..], 1..NAMES.len()),
        pieces in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let mut filter = open(json!([{"do": "redact", "csv_columns": gone}]), CSV).unwrap();
        let Ok(output) = push(&mut filter, text.as_bytes(), &pieces) else {
            // Only because a column is missing or nothing is left.
            let present: BTreeSet<&str> = rows[0].iter().map(String::as_str).collect();
            prop_assert!(gone.iter().any(|name| !present.contains(name)) || gone.len() == present.len());
            return Ok(());
        };
        let secrets = |rows: &[Vec<String>], columns: &dyn Fn(&str) -> bool| {
            let kept = |row: &Vec<String>| {
                row.iter().zip(&rows[0]).filter(|(v, name)| columns(name) && v.contains("S3CRET")).count()
            };
            rows.iter().map(kept).sum::<usize>()
        };
        let after = read(&output);
        prop_assert!(after[0].iter().all(|name| !gone.contains(&name.as_str())));
        prop_assert_eq!(secrets(&after, &|_| true), secrets(&rows, &|name| !gone.contains(&name)));
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..64)) {
        let demand = json!([{"do": "keep_only", "fields": ["a"]}]);
        let whole = push(&mut open(demand.clone(), CSV).unwrap(), &bytes, &[]);
        prop_assert_eq!(push(&mut open(demand, CSV).unwrap(), &bytes, &[1]), whole);
    }
}
