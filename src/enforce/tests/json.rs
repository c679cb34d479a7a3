//! JSON and NDJSON: tables, hostile input, and a reference that works on the whole document.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

#[test]
fn members_go_wherever_they_are() {
    let demand = json!([{"do": "redact", "fields": ["name", "/b/*/x"]}]);
    let cases = [
        (r#"{"name":1}"#, "{}"),
        (r#"{"name":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":2,"name":{"b":[1,{"c":"]"}]}}"#, r#"{"a":2}"#),
        (r#" { "a" : [ 1 , { "name" : "x" } , 3 ] } "#, r#"{"a":[1,{},3]}"#),
        (r#"{"a":0,"name":1,"name":2,"Name":3,"\u006eAME":4,"z":5}"#, r#"{"a":0,"z":5}"#),
        (r#"{"b":[{"x":1,"y":2},{"y":3,"x":4}],"x":5}"#, r#"{"b":[{"y":2},{"y":3}],"x":5}"#),
        (r#"{"b":{"k":{"x":1}}}"#, r#"{"b":{"k":{}}}"#),
        (r#""name""#, r#""name""#),
        (
            r#"[1e400,0.10,-0,123456789012345678901234567890,"\u00e9é\/"]"#,
            r#"[1e400,0.10,-0,123456789012345678901234567890,"\u00e9é\/"]"#,
        ),
        ("\u{feff}null\n", "null"),
    ];
    for (input, expected) in cases {
        check(demand.clone(), JSON, input, expected);
    }
    check(
        json!([{"do": "redact", "json_pointers": ["/1", "/*/a"]}]),
        JSON,
        r#"[{"a":1},2,{"b":3}]"#,
        r#"[{},{"b":3}]"#,
    );
    check(json!([{"do": "redact", "json_pointers": ["/0"]}]), JSON, "[1]", "[]");
}

#[test]
fn records_keep_only_what_is_named() {
    let demand = json!([{"do": "keep_only", "fields": ["a", "b"]}, {"do": "keep_only", "fields": ["b", "c"]}]);
    check(demand.clone(), JSON, r#"{"a":1,"b":{"z":[1]},"c":3,"B":4}"#, r#"{"b":{"z":[1]}}"#);
    check(demand.clone(), JSON, r#"[{"a":1},{"c":1,"\u0062":2}]"#, r#"[{},{"\u0062":2}]"#);
    check(demand.clone(), LINES, "{\"b\":1,\"a\":2}\r\n\n{\"c\":{\"b\":1}}", "{\"b\":1}\n{}\n");
    check(demand.clone(), LINES, "", "");
    let (_, carried) = run(demand.clone(), JSON, r#"[{"a":1,"b":2,"c":3,"d":4}]"#).unwrap();
    assert_eq!(carried.iter().map(|done| done.count).collect::<Vec<_>>(), [2, 2]);
    for bad in ["1", "[1]", "[[{}]]", "[{},\"a\"]"] {
        refuse(demand.clone(), JSON, bad, "payload_malformed");
    }
    refuse(demand.clone(), JSON, r#"{"b":1,"b":2}"#, "payload_malformed");
    refuse(demand.clone(), LINES, "{}\n[]\n", "payload_malformed");
    refuse(demand, LINES, "{}{}\n", "payload_malformed");
}

#[test]
fn values_are_replaced() {
    let demand = json!([
        {"do": "pseudonymise_hmac", "columns": ["id"]},
        {"do": "generalise", "age_band": 10, "date": "month", "columns": {"age": "age", "/at": "date"}},
    ]);
    let (one, two) = (pseudonym("42", "kansai.example"), pseudonym("a\"b", "kansai.example"));
    let cases = [
        (r#"{"id":42}"#.to_owned(), format!(r#"{{"id":"{one}"}}"#)),
        (r#"{"id":"42"}"#.to_owned(), format!(r#"{{"id":"{one}"}}"#)),
        (r#"{"ID":"\u00342"}"#.to_owned(), format!(r#"{{"ID":"{one}"}}"#)),
        (
            r#"{"x":{"id":["42",[42,null,""],"a\"b"]}}"#.to_owned(),
            format!(r#"{{"x":{{"id":["{one}",["{one}",null,""],"{two}"]}}}}"#),
        ),
        (
            r#"{"age":37,"at":"2020-03-17","x":{"at":"2020-03-17"}}"#.to_owned(),
            r#"{"age":"30-39","at":"2020-03","x":{"at":"2020-03-17"}}"#.to_owned(),
        ),
        (r#"{"age":"old","at":true}"#.to_owned(), r#"{"age":null,"at":null}"#.to_owned()),
    ];
    for (input, expected) in cases {
        check(demand.clone(), JSON, &input, &expected);
    }
    refuse(demand.clone(), JSON, r#"{"id":{"alice":1}}"#, "obligation_not_possible");
    refuse(demand.clone(), JSON, r#"{"id":[{"alice":1}]}"#, "obligation_not_possible");
    refuse(demand, JSON, r#"{"id":1,"\u0049D":2}"#, "payload_malformed");
}

#[test]
fn a_value_selected_twice_gets_one_pseudonym() {
    let demand = json!([
        {"do": "pseudonymise_hmac", "columns": ["id", "/id/*"]},
        {"do": "pseudonymise_hmac", "columns": ["/id/*"]},
    ]);
    let one = pseudonym("42", "kansai.example");
    let (output, carried) = run(demand, JSON, r#"{"id":["42"]}"#).unwrap();
    assert_eq!(output, format!(r#"{{"id":["{one}"]}}"#));
    assert_eq!(carried.iter().map(|done| done.count).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn pseudonyms_of_two_recipients_differ() {
    let wanted = obligations(json!([{"do": "pseudonymise_hmac", "columns": ["id"]}]));
    let to = |recipient: &str, content_type: &str, input: &str| {
        let mut filter = Plan::compile(&wanted, &context(recipient)).unwrap().open(Some(content_type), None).unwrap();
        String::from_utf8(push(&mut filter, input.as_bytes(), &[]).unwrap()).unwrap()
    };
    let kansai = to("kansai.example", JSON, r#"{"id":42}"#);
    assert_ne!(kansai, to("kanto.example", JSON, r#"{"id":42}"#));
    assert_eq!(kansai, to("kansai.example", JSON, r#"{"id":"42"}"#));
    let name = kansai.trim_start_matches(r#"{"id":""#).trim_end_matches("\"}").to_owned();
    assert_eq!(to("kansai.example", "text/csv", "id\n42\n"), format!("id\n{name}\n"));
}

#[test]
fn every_record_is_marked() {
    let demand = json!([{"do": "watermark"}]);
    let mark = format!(r#""sekisho_mark":"{EXCHANGE}""#);
    check(demand.clone(), JSON, r#"[{},{"a":{}}]"#, &format!(r#"[{{{mark}}},{{"a":{{}},{mark}}}]"#));
    check(demand.clone(), JSON, r#"{"sekisho_mark":"x","a":[]}"#, &format!(r#"{{"a":[],{mark}}}"#));
    check(demand, LINES, "{\"a\":1}", &format!("{{\"a\":1,{mark}}}\n"));
}

#[test]
fn what_is_not_json_is_refused_even_where_it_is_removed() {
    let demand = json!([{"do": "redact", "fields": ["x"]}]);
    for bad in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1]",
        "[1}",
        "[1 2]",
        "{} {}",
        "[]]",
        "01",
        "-",
        "1.",
        "tru",
        "nulll",
        "NaN",
        "'a'",
        "\"a",
        "\"\\",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\t\"",
        "{\"x\":tru}",
        "{\"x\":[1,]}",
        "{\"x\":\"\\q\"}",
        "{\"x\":{\"a\" 1}}",
        "{\"x\":01}",
        "\u{feff}\u{feff}1",
        "[1]x",
        "/**/1",
    ] {
        refuse(demand.clone(), JSON, bad, "payload_malformed");
    }
    for bad in [&b"\"\xff\""[..], b"{\"x\":\"\xc0\x80\"}", b"\"\xe3\x81", b"\xef\xbb", b"\xef\xbb1"] {
        for pieces in [&[][..], &[1]] {
            let error = push(&mut open(demand.clone(), JSON).unwrap(), bad, pieces).unwrap_err();
            assert_eq!(error.code(), "payload_malformed", "{bad:?}");
        }
    }
    for bad in ["{\n}", "1 2", "[1,\n2]", "{\"a\":1", "1\n}"] {
        refuse(demand.clone(), LINES, bad, "payload_malformed");
    }
    let error = run(demand, JSON, "[1,2,?]").unwrap_err();
    assert!(error.to_string().contains("byte 5"), "{error}");
}

#[test]
fn limits_hold() {
    let demand = json!([{"do": "redact", "fields": ["x"]}, {"do": "pseudonymise_hmac", "columns": ["id"]}]);
    let nest = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    check(demand.clone(), JSON, &nest(64), &nest(64));
    let long = "a".repeat(1 << 20);
    let deep_in_removed = format!("{{\"x\":{}}}", nest(64));
    for bad in [
        nest(65),
        deep_in_removed,
        format!("{{\"{long}\":1}}"),
        format!("{{\"id\":\"{long}\"}}"),
        "1".repeat((1 << 20) + 1),
    ] {
        for pieces in [&[][..], &[4096]] {
            let error = push(&mut open(demand.clone(), JSON).unwrap(), bad.as_bytes(), pieces).unwrap_err();
            assert_eq!(error.code(), "payload_limit");
        }
    }
    // A value that nobody has to hold may be as long as it likes.
    let free = format!("[\"{long}{long}\"]");
    assert_eq!(push(&mut open(demand, JSON).unwrap(), free.as_bytes(), &[4096]), Ok(free.into_bytes()));
}

#[test]
fn a_long_stream_is_never_held() {
    let demand = json!([{"do": "keep_only", "fields": ["note"]}, {"do": "redact", "fields": ["name", "/*/note/x/y"]}]);
    let mut filter = open(demand, JSON).unwrap();
    let record =
        format!(r#",{{"id":7,"note":{{"name":"x","text":"{}"}},"gone":"{}"}}"#, "y".repeat(700), "z".repeat(300));
    let piece = record.repeat((64 << 10) / record.len());
    let (mut fed, mut output) = (0, BytesMut::new());
    filter.push(b"[{}", &mut output).unwrap();
    while fed < 64 << 20 {
        let (one, two) = piece.as_bytes().split_at(fed % piece.len() / 2);
        filter.push(one, &mut output).unwrap();
        assert!(filter.buffered() < 1024, "{} bytes are held", filter.buffered());
        filter.push(two, &mut output).unwrap();
        fed += piece.len();
        output.clear();
    }
    filter.push(b"]", &mut output).unwrap();
    filter.finish(&mut output).unwrap();
    assert_eq!(&output[..], b"]");
}

/// A document as it is spelt, for a reference that holds all of it.
#[derive(Debug, Clone)]
enum Doc {
    /// A number or a literal.
    Raw(&'static str),
    Text(Word),
    Array(Vec<Doc>),
    Object(Vec<(Word, Doc)>),
}

/// A text and one of its spellings, without quotes.
#[derive(Debug, Clone)]
struct Word {
    text: String,
    spelt: String,
}

impl Word {
    fn new(text: &str, escapes: &[bool]) -> Self {
        let mut spelt = String::new();
        for (c, escape) in text.chars().zip(escapes.iter().cycle()) {
            match c {
                '"' | '\\' if !escape => spelt.extend(['\\', c]),
                c if *escape => c.encode_utf16(&mut [0; 2]).iter().for_each(|u| spelt.push_str(&format!("\\u{u:04X}"))),
                c => spelt.push(c),
            }
        }
        Self { text: text.to_owned(), spelt }
    }
}

/// What the reference is to do; all names in lower case.
struct Reference {
    keep: Option<Vec<&'static str>>,
    redact: Vec<&'static str>,
    path: Vec<&'static str>,
    pseudonymise: Vec<&'static str>,
}

impl Reference {
    fn write(&self, doc: &Doc, path: &mut Vec<String>, change: bool, out: &mut String) -> Result<(), ()> {
        match doc {
            Doc::Raw("null") => out.push_str("null"),
            Doc::Raw(text) if change => out.push_str(&format!("\"{}\"", pseudonym(text, "kansai.example"))),
            Doc::Raw(text) => out.push_str(text),
            Doc::Text(word) if change && !word.text.is_empty() => {
                out.push_str(&format!("\"{}\"", pseudonym(&word.text, "kansai.example")));
            }
            Doc::Text(word) => out.push_str(&format!("\"{}\"", word.spelt)),
            Doc::Array(elements) => {
                let mut written = Vec::new();
                for (index, element) in elements.iter().enumerate() {
                    path.push(index.to_string());
                    if !self.is_path(path) {
                        if path.len() == 1 && self.keep.is_some() && !matches!(element, Doc::Object(_)) {
                            return Err(());
                        }
                        let mut text = String::new();
                        self.write(element, path, change, &mut text)?;
                        written.push(text);
                    }
                    path.pop();
                }
                out.push_str(&format!("[{}]", written.join(",")));
            }
            Doc::Object(members) => {
                if change {
                    return Err(());
                }
                let record = path.is_empty() || path.len() == 1 && path[0].parse::<usize>().is_ok();
                let (mut written, mut once) = (Vec::new(), Vec::new());
                for (name, value) in members {
                    let folded = name.text.to_lowercase();
                    path.push(folded.clone());
                    let kept = self.keep.as_ref().filter(|_| record).map(|keep| keep.contains(&name.text.as_str()));
                    let gone = self.redact.contains(&folded.as_str()) || self.is_path(path) || kept == Some(false);
                    if !gone {
                        let changes = self.pseudonymise.contains(&folded.as_str());
                        for key in [kept.map(|_| format!("={}", name.text)), changes.then(|| folded.clone())] {
                            let Some(key) = key else { continue };
                            if once.contains(&key) {
                                return Err(());
                            }
                            once.push(key);
                        }
                        let mut text = format!("\"{}\":", name.spelt);
                        self.write(value, path, changes, &mut text)?;
                        written.push(text);
                    }
                    path.pop();
                }
                out.push_str(&format!("{{{}}}", written.join(",")));
            }
        }
        Ok(())
    }

    fn is_path(&self, path: &[String]) -> bool {
        let same = |(step, part): (&&str, &String)| *step == "*" || step == part;
        !self.path.is_empty() && self.path.len() == path.len() && self.path.iter().zip(path).all(same)
    }
}

/// Writes a document with white space where it may stand.
fn spell(doc: &Doc, space: &str, out: &mut String) {
    let between = |out: &mut String, first: bool| {
        if !first {
            out.push_str(&format!("{space},{space}"));
        }
    };
    match doc {
        Doc::Raw(text) => out.push_str(text),
        Doc::Text(word) => out.push_str(&format!("\"{}\"", word.spelt)),
        Doc::Array(elements) => {
            out.push_str(&format!("[{space}"));
            for (index, element) in elements.iter().enumerate() {
                between(out, index == 0);
                spell(element, space, out);
            }
            out.push(']');
        }
        Doc::Object(members) => {
            out.push_str(&format!("{{{space}"));
            for (index, (name, value)) in members.iter().enumerate() {
                between(out, index == 0);
                out.push_str(&format!("\"{}\"{space}:{space}", name.spelt));
                spell(value, space, out);
            }
            out.push('}');
        }
    }
}

fn word(text: impl Strategy<Value = String>) -> impl Strategy<Value = Word> {
    (text, proptest::collection::vec(any::<bool>(), 1..4)).prop_map(|(text, escapes)| Word::new(&text, &escapes))
}

fn name() -> impl Strategy<Value = Word> {
    word(proptest::sample::select(vec!["a", "b", "id", "ID", "secret", "Secret", "c", "関"]).prop_map(str::to_owned))
}

fn doc() -> impl Strategy<Value = Doc> {
    let leaf = prop_oneof![
        proptest::sample::select(vec!["0", "-1.50", "1e400", "true", "null", "12345678901234567890"])
            .prop_map(Doc::Raw),
        word(prop_oneof!["[a-z\"\\\\\n/é🌊]{0,6}", Just(String::new())].prop_map(|text| text.replace('\n', "/")))
            .prop_map(Doc::Text),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Doc::Array),
            proptest::collection::vec((name(), inner), 0..5).prop_map(Doc::Object),
        ]
    })
}

/// Puts a marker into every value below a member that is to be removed.
fn plant(doc: &mut Doc, below: bool) {
    match doc {
        Doc::Text(word) if below => *word = Word::new("S3CRET", &[word.text.len() % 2 == 0]),
        Doc::Raw(text) if below => *text = "53637",
        Doc::Raw(_) | Doc::Text(_) => {}
        Doc::Array(elements) => elements.iter_mut().for_each(|element| plant(element, below)),
        Doc::Object(members) => {
            for (name, value) in members {
                plant(value, below || name.text.eq_ignore_ascii_case("secret"));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_leaves_is_what_the_reference_says(
        doc in doc(),
        keep in proptest::option::of(Just(vec!["a", "id", "関"])),
        redact in proptest::sample::subsequence(vec!["secret", "b"], 0..=2),
        path in proptest::sample::select(vec![vec![], vec!["*", "a"], vec!["a", "1"], vec!["*"], vec!["a", "b", "*"]]),
        pseudonymise in proptest::sample::subsequence(vec!["id", "c"], 0..=2),
        space in proptest::sample::select(vec!["", " ", "\n\t"]),
        pieces in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let mut demands = vec![];
        demands.extend(keep.as_ref().map(|fields| json!({"do": "keep_only", "fields": fields})));
        if !redact.is_empty() { demands.push(json!({"do": "redact", "fields": redact})); }
        if !path.is_empty() { demands.push(json!({"do": "redact", "json_pointers": ["/".to_owned() + &path.join("/")]})); }
        if !pseudonymise.is_empty() { demands.push(json!({"do": "pseudonymise_hmac", "columns": pseudonymise})); }

        let (mut input, mut expected) = (String::new(), String::new());
        spell(&doc, space, &mut input);
        let scalar = !matches!(doc, Doc::Array(_) | Doc::Object(_));
        let reference = Reference { keep: keep.clone(), redact, path, pseudonymise };
        let result = if scalar && keep.is_some() { Err(()) } else { reference.write(&doc, &mut Vec::new(), false, &mut expected) };

        let output = push(&mut open(json!(demands), JSON).unwrap(), input.as_bytes(), &pieces);
        let whole = push(&mut open(json!(demands), JSON).unwrap(), input.as_bytes(), &[]);
        prop_assert_eq!(&output.is_ok(), &whole.is_ok());
        match result {
            Ok(()) => {
                let output = String::from_utf8(output.unwrap()).unwrap();
                prop_assert_eq!(&output, &expected);
                prop_assert_eq!(output.as_bytes(), whole.unwrap());
                prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&output).is_ok());
            }
            Err(()) => prop_assert!(output.is_err(), "{:?} should have been refused", input),
        }
        // The order in which the policy lists its obligations makes no difference.
        demands.reverse();
        let reversed = push(&mut open(json!(demands), JSON).unwrap(), input.as_bytes(), &[]);
        prop_assert_eq!(reversed.ok().map(|text| String::from_utf8(text).unwrap()), result.ok().map(|()| expected));
    }

    #[test]
    fn redaction_never_reveals(mut doc in doc(), pieces in proptest::collection::vec(1usize..9, 1..5)) {
        plant(&mut doc, false);
        let mut input = String::new();
        spell(&doc, "", &mut input);
        let demand = json!([{"do": "redact", "fields": ["secret"]}]);
        let output = String::from_utf8(push(&mut open(demand, JSON).unwrap(), input.as_bytes(), &pieces).unwrap()).unwrap();
        // Spelt out, so that an escaped secret shows too; RawValue because the documents hold 1e400.
        prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&output).is_ok());
        let mut plain = Vec::new();
        super::super::json::unescape(output.as_bytes(), &mut plain);
        let plain = String::from_utf8(plain).unwrap().to_lowercase();
        prop_assert!(!plain.contains("s3cret") && !plain.contains("53637") && !plain.contains("secret"), "{}", plain);
    }

    #[test]
    fn what_serde_json_refuses_is_refused(
        text in proptest::collection::vec(proptest::sample::select(vec!["{", "}", "[", "]", ",", ":", "\"a\"", "\"b", "\"", "1", "-", ".5", "e3", "true", "nul", " ", "\\", "\\u00e9", "é"]), 0..12),
    ) {
        let text = text.concat();
        let demand = json!([{"do": "redact", "json_pointers": ["/none/of/these"]}]);
        let whole = push(&mut open(demand.clone(), JSON).unwrap(), text.as_bytes(), &[]);
        let valid = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(whole.is_ok(), valid, "{}", text);
        // The same output, or the same fault at the same place.
        prop_assert_eq!(push(&mut open(demand, JSON).unwrap(), text.as_bytes(), &[1]), whole);
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(proptest::prop_oneof![proptest::sample::select(&b"{}[]\",:\\u0d8 \n"[..]), any::<u8>()], 0..48)) {
        let demand = json!([{"do": "keep_only", "fields": ["a"]}]);
        for content_type in [JSON, LINES] {
            let whole = push(&mut open(demand.clone(), content_type).unwrap(), &bytes, &[]);
            let cut = push(&mut open(demand.clone(), content_type).unwrap(), &bytes, &[1]);
            prop_assert_eq!(cut.ok(), whole.ok());
        }
    }
}
