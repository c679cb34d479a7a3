//! The mistakes people make, and what they are told.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::json;

use super::*;

mod files;
mod policies;

/// A configuration with nothing optional in it, to which each case makes one change. Line numbers are in the comments.
const LEAST: &str = r#"[party]
id = "kansai.example"
country = "JP"
type = "company"

[listen]
partner = "0.0.0.0:8443"

[tls]
certificate = "gateway.pem"
key = "gateway.key"

[passes]
key = "pass.key"

[record]
directory = "log"
key = "log.key"

[[dataset]]
id = "litho"
origin = "JP"
licence = "MIT"
purposes = ["dfft:JointDevelopment"]
tags = ["privacy:none"]
upstream = "http://127.0.0.1:9000"

[[partner]]
id = "wessex.example"
country = "GB"
type = "academia"
anchors = "wessex.pem"
jwks = "wessex.json"

[[agreement]]
id = "AG-1"
party = "wessex.example"
datasets = ["litho"]
from = "2026-01-01"
until = 2027-01-01
"#;

/// Replaces one line of [`LEAST`], told by how it starts, with other text, and tells the problems.
fn problems_of(change: (&str, &str)) -> Vec<String> {
    let (old, new) = change;
    let at = LEAST.find(old).expect("the line to change");
    let end = at + LEAST[at..].find('\n').expect("the end of the line");
    let text = format!("{}{new}{}", &LEAST[..at], &LEAST[end..]);
    match parse(&text, "a.toml") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// The change makes exactly one problem, on this line, whose message has all of these words.
fn check(change: (&str, &str), line: usize, words: &[&str]) {
    let problems = problems_of(change);
    assert_eq!(problems.len(), 1, "{change:?}: {problems:#?}");
    check_among(change, line, words);
}

/// The change makes one such problem; others follow from it.
fn check_among(change: (&str, &str), line: usize, words: &[&str]) {
    let problems = problems_of(change);
    let start = format!("a.toml:{line}: ");
    let told = |problem: &String| problem.starts_with(&start) && words.iter().all(|word| problem.contains(word));
    assert!(problems.iter().any(told), "{change:?}: expected line {line} with {words:?}: {problems:#?}");
}

#[test]
fn mistakes_in_our_own_tables_are_told_with_line_and_remedy() {
    check(("id = \"kansai", ""), 1, &["[party] id is missing", "add id ="]);
    check(("id = \"kansai", "id = \"Kansai.example\""), 2, &["party id", "lower-case"]);
    check(("id = \"kansai", "id = 7"), 2, &["expected a string, found a whole number", "double quotes"]);
    check(("country = \"JP", "country = \"UK\""), 3, &["ISO 3166-1", "GB"]);
    check(("country = \"JP", "country = \"jp\""), 3, &["write JP in capitals"]);
    check(("type = \"company", "type = \"compny\""), 4, &["did you mean \"company\"?"]);
    check(("type = \"company", "type = \"company\"\nmembership = \"yes\""), 5, &["active, suspended, ended"]);
    check(("type = \"company", "type = \"company\"\nsanctoined = true"), 5, &["misspelling of sanctioned"]);
    check(("type = \"company", "type = \"company\"\nendpoint = \"a:1\""), 5, &["endpoint", "remove it"]);
    check(("type = \"company", "type = \"company\"\ndpf = inf"), 5, &["JSON", "finite"]);
    check_among(("[party]", "[prty]"), 1, &["did you mean party?"]);
    check(("partner = ", "partner = \"localhost:8443\""), 7, &["address to listen on", "IP:port"]);
    check(("partner = ", "partner = \"0.0.0.0:8443\"\nlocal = \"0.0.0.0:8080\""), 8, &["loopback", "127.0.0.1"]);
    check(("partner = ", "partner = \"0.0.0.0:8443\"\nlocal = \"127.0.0.1:8443\""), 8, &["same address as partner"]);
    check(("partner = ", "partner = \"0.0.0.0:8443\"\nadmin = \"127.0.0.1:9443\""), 1, &["[admin] anchors is missing"]);
    check_among(("partner = ", "prtner = \"0.0.0.0:8443\""), 7, &["did you mean partner?"]);
    check_among(("key = \"gateway", "keys = \"gateway.key\""), 11, &["did you mean key?"]);
    check(("key = \"gateway", "key = \"\""), 11, &["empty", "path"]);
    check(("key = \"pass", "key = \"pass.key\"\nlifetime = \"11m\""), 15, &["out of bounds", "from 1s to 10m"]);
    check(("key = \"pass", "key = \"pass.key\"\nlifetime = 300"), 15, &["time with its unit"]);
    check(("key = \"pass", "key = \"pass.key\"\nlifetime = \"300\""), 15, &["no unit"]);
    check(("key = \"pass", "key = \"pass.key\"\nsubject = \"a b\""), 15, &["identifier", "without spaces"]);
    check(("key = \"log", "key = \"log.key\"\norigin = \"a+b\""), 19, &["plus sign"]);
    check(("key = \"log", "key = \"log.key\"\n[policy]\nbudget = \"1m\""), 20, &["from 1ms to 10s"]);
    check(("key = \"log", "key = \"log.key\"\n[pseudonyms]\nkey = \"p.key\""), 19, &["[pseudonyms] id is missing"]);
    check(("key = \"log", "key = \"log.key\"\n[limits]\nworkers = \"2\""), 20, &["whole number", "0 to 1024"]);
    check(("key = \"log", "key = \"log.key\"\n[limits]\nworkers = -1"), 20, &["out of bounds"]);
    check(("key = \"log", "key = \"log.key\"\n[limits]\ndrian = \"1s\""), 20, &["did you mean drain?"]);
    check(("key = \"log", "key = \"log.key\"\n[limits]\ntimeout = \"1s\""), 20, &["known keys here are", "idle"]);
    check(("key = \"log", "key = \"log.key\"\n[inputs]\nretention = 400"), 20, &["days with their unit", "400d"]);
    check(("key = \"log", "key = \"log.key\"\n[inputs]\nretention = \"0d\""), 20, &["out of bounds", "1d to 3660d"]);
    check(("key = \"log", "key = \"log.key\"\n[inputs]\nretention = \"3661d\""), 20, &["out of bounds"]);
    check(("key = \"log", "key = \"log.key\"\n[inputs]\nretention = \"13m\""), 20, &["not a number of days"]);
    check(("key = \"log", "key = \"log.key\"\n[inputs]\nbytes = 1048575"), 20, &["1048576 to 8589934592"]);
    check(("key = \"log", "key = \"log.key\"\n[subjects]\nretention = \"0d\""), 20, &["out of bounds", "1d to 3660d"]);
    check(("key = \"log", "key = \"log.key\"\n[subjects]\nbytes = 1073741825"), 20, &["1048576 to 1073741824"]);
    check(("key = \"log", "key = \"log.key\"\n[limit]\nidle = \"1s\""), 19, &["did you mean limits?"]);
    check_among(("[record]", "[[record]]"), 16, &["[record]"]);
}

#[test]
fn mistakes_in_the_registry_are_told_with_line_and_remedy() {
    check_among(("id = \"litho", "id = \"Litho\""), 21, &["dataset id"]);
    check(("origin = ", "origin = \"XX\""), 22, &["litho", "ISO 3166-1"]);
    check(("licence = ", ""), 20, &["[[dataset]] litho licence is missing", "CC-BY-4.0"]);
    check(("purposes = ", "purposes = [\n \"dfft:A\",\n \"nothing\"]"), 26, &["purpose", "dpv:ScientificResearch"]);
    check(("purposes = ", "purposes = []"), 24, &["empty", "at least one"]);
    check(("purposes = ", "purposes = \"dfft:A\""), 24, &["not a list", "square brackets"]);
    check(("tags = ", "tags = [\"privacy:nothing\"]"), 25, &["vocabulary"]);
    check(("tags = ", "tags = [\"ip:open\", \"ip:open\"]"), 25, &["twice"]);
    check(("tags = ", ""), 20, &["tags is missing"]);
    check(("upstream = ", "upstream = \"http://example.com/a\""), 26, &["in the clear", "private"]);
    check(("upstream = ", "upstream = \"https://127.0.0.1/a\""), 26, &["scheme http"]);
    check(("upstream = ", "upstream = \"http://10.0.0.1\"\naccepts = [\"pul\"]"), 27, &["did you mean \"pull\"?"]);
    check(("upstream = ", "upstream = \"http://10.0.0.1\"\nsingle_use = \"no\""), 27, &["without quotes"]);
    check(
        ("upstream = ", "upstream = \"http://10.0.0.1\"\nvisible_to = [\"wesex.example\"]"),
        27,
        &["did you mean wessex.example?"],
    );
    check(
        ("upstream = ", "upstream = \"http://10.0.0.1\"\nvisible_to = [\"*\", \"wessex.example\"]"),
        27,
        &["alone for all"],
    );
    check(("upstream = ", "upstream = \"http://10.0.0.1\"\n[dataset.facts]\ntags = []"), 28, &["tags is not a fact"]);
    check(("upstream = ", "upstream = \"http://10.0.0.1\"\n[dataset.columns]\nage = 1"), 28, &["expected a string"]);
    check_among(("id = \"wessex", "id = \"kansai.example\""), 29, &["id is our own", "remove the entry"]);
    check(("anchors = ", ""), 28, &["wessex.example anchors is missing"]);
    check(("anchors = ", "anchors = \"a.pem\"\nendpoint = \"wessex\""), 33, &["host:port"]);
    check(("anchors = ", "anchors = \"a.pem\"\nnames = [\"wessex.example\"]"), 33, &["spiffe://", "dns:NAME"]);
    check(("anchors = ", "anchors = \"a.pem\"\nnames = []"), 33, &["empty"]);
    check(
        ("anchors = ", "anchors = \"a.pem\"\nnames = [\"spiffe://kansai.example/gateway\"]"),
        33,
        &["our own domain"],
    );
    check(("anchors = ", "anchors = \"a.pem\"\nlog_key = \"wessex+00000000+AQ==\""), 33, &["verifier key", "log.pub"]);
    check(("anchors = ", "anchors = \"a.pem\"\nneed_to_know = true"), 33, &["need_to_know is not a fact", "remove"]);
    check(("anchors = ", "anchors = \"a.pem\"\nsignatures = \"answer\""), 33, &["did you mean \"answers\"?"]);
    check(("anchors = ", "anchors = \"a.pem\"\nowed_at_most = 10000"), 33, &["owed_at_most", "9999"]);
    check(("anchors = ", "anchors = \"a.pem\"\nsuspendd = true"), 33, &["misspelling of suspended"]);
    check(
        ("party = \"wessex", "party = \"wesex.example\""),
        37,
        &["there is no wesex.example", "did you mean wessex.example?"],
    );
    check(("datasets = ", "datasets = [\n\"litho\",\n\"other\"]"), 40, &["there is no other", "add an entry"]);
    check(("from = ", "from = \"2026-02-30\""), 39, &["date of the calendar", "YYYY-MM-DD"]);
    check(("until = ", "until = \"2026-01-01\""), 40, &["not after from"]);
    check(("until = ", "until = \"2027-01-01\"\nneed_to_now = true"), 41, &["did you mean need_to_know?"]);
}

/// Adds tables to [`LEAST`], from line 42 on, and tells the problems.
fn problems_with(tables: &str) -> Vec<String> {
    let problems = parse(&format!("{LEAST}{tables}"), "a.toml").map(|_| ()).expect_err("a duplicate");
    problems.iter().map(Problem::to_string).collect()
}

fn partner(id: &str, name: &str) -> String {
    let rest = "country = \"DE\"\ntype = \"public\"\nanchors = \"b.pem\"\njwks = \"b.json\"\n";
    format!("[[partner]]\nid = \"{id}\"\nnames = [\"{name}\"]\n{rest}")
}

#[test]
fn duplicates_name_the_line_of_the_first() {
    let dataset = "origin = \"JP\"\nlicence = \"MIT\"\npurposes = [\"a:b\"]\ntags = []\nupstream = \"http://a\"\n";
    assert_eq!(
        problems_with(&format!("[[dataset]]\nid = \"litho\"\n{dataset}")),
        ["a.toml:42: [[dataset]] litho id: litho is already taken on line 21; remove one of the two, or rename it"]
    );

    let told = problems_with(&partner("wessex.example", "dns:b.example"));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("id: wessex.example is already taken on line 29"), "{told:#?}");

    let told = problems_with(&partner("bavaria.example", "spiffe://wessex.example/gateway"));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("a.toml:43: [[partner]] bavaria.example names: spiffe://wessex.example"), "{told:#?}");
    assert!(told[0].contains("already taken on line 28"), "{told:#?}");
    assert!(told[1].contains("another partner's domain"), "{told:#?}");

    let agreement = "datasets = [\"litho\"]\nfrom = \"2026-01-01\"\nuntil = \"2026-01-02\"\n";
    let told = problems_with(&format!("[[agreement]]\nid = \"AG-1\"\nparty = \"wessex.example\"\n{agreement}"));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("id: AG-1 is already taken on line 36"), "{told:#?}");
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_lines() {
    let text = LEAST
        .replace("country = \"JP\"", "country = \"UK\"")
        .replace("certificate = \"gateway.pem\"\n", "")
        .replace("tags = [\"privacy:none\"]", "tags = [\"privacy:all\"]\ncolour = \"red\"")
        .replace("party = \"wessex.example\"", "party = \"sussex.example\"");
    let problems = parse(&text, "a.toml").expect_err("four mistakes and one of two keys");
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 9, 24, 25, 37], "{problems:#?}");
}

#[test]
fn a_missing_table_is_told_key_by_key_and_a_dangling_reference_only_once() {
    let problems = parse("", "a.toml").expect_err("nothing is configured");
    let told: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(
        told,
        [
            "[party] id is missing",
            "[party] country is missing",
            "[party] type is missing",
            "[listen] partner is missing",
            "[tls] certificate is missing",
            "[tls] key is missing",
            "[passes] key is missing",
            "[record] directory is missing",
            "[record] key is missing",
        ]
    );
    // The dataset is wrong elsewhere, and still there to be referred to.
    assert_eq!(problems_of(("licence = ", "")).len(), 1);
}

#[test]
fn syntax_is_judged_first_and_all_of_it() {
    let problems = parse("id = kansai\n[party]\ncountry = JP\n", "a.toml").expect_err("not TOML");
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 3], "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.what.starts_with("not TOML: ")), "{problems:#?}");

    let problems = parse("[party]\nid = \"a.b\"\nid = \"c.d\"\n", "a.toml").expect_err("a key twice");
    assert_eq!((problems[0].line, problems[0].what.contains("duplicate")), (3, true), "{problems:#?}");
}

#[test]
fn a_text_cut_or_damaged_anywhere_is_told_and_no_more() {
    let check = |text: &str| {
        let lines = text.split('\n').count();
        for problem in parse(text, "a.toml").err().into_iter().flatten() {
            assert!((1..=lines).contains(&problem.line), "{problem} in {text:?}");
            assert!(!problem.what.is_empty() && !problem.fix.is_empty(), "{problem}");
        }
    };
    for at in (0..REFERENCE.len()).filter(|at| REFERENCE.is_char_boundary(*at)) {
        check(&REFERENCE[..at]);
    }
    for at in 0..LEAST.len() {
        for damage in ["", "\"", "[", "=", "\n", "\u{0}", "関", "-1"] {
            check(&format!("{}{damage}{}", &LEAST[..at], &LEAST[at + 1..]));
        }
    }
}

#[test]
fn a_key_in_the_place_of_a_file_name_is_not_repeated() {
    let hex = "5f".repeat(32);
    let pem = "-----BEGIN PRIVATE KEY-----MC4CAQAwBQYDK2VwBCIEI-----END PRIVATE KEY-----";
    let base64 = "MC4CAQAwBQYDK2VwBCIEIDpZ1b2xvbmd/ZW5vdWdoK2Fz";
    for secret in [hex.as_str(), pem, base64] {
        let problems = problems_of(("key = \"pass", &format!("key = \"{secret}\"")));
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].contains("key material") && !problems[0].contains(secret), "{problems:#?}");
    }
    let path = "/etc/sekisho/secrets/production/kansai/gateway/passkey";
    assert_eq!(problems_of(("key = \"pass", &format!("key = \"{path}\""))), Vec::<String>::new());
}

#[test]
fn the_reference_has_no_problems_and_shows_the_defaults() {
    let config = parse(REFERENCE, "reference.toml").expect("the reference file");
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.passes.lifetime, Passes::LIFETIME);
    assert_eq!(config.passes.subject, Passes::SUBJECT);
    assert_eq!(config.policy.budget, Policy::BUDGET);
    assert_eq!(config.state.directory.path, Path::new(State::DIRECTORY));
    assert_eq!(config.record.origin, "kansai.example/log");
    assert_eq!(config.inputs.directory.path, Path::new(Inputs::DIRECTORY));
    assert!(config.inputs.enabled);
    assert_eq!((config.inputs.retention_days, config.inputs.bytes), (Inputs::RETENTION_DAYS, Inputs::BYTES));
    assert!(config.subjects.enabled);
    assert_eq!(config.subjects.directory.path, Path::new(Subjects::DIRECTORY));
    assert_eq!((config.subjects.retention_days, config.subjects.bytes), (Inputs::RETENTION_DAYS, Subjects::BYTES));
    assert_eq!(config.datasets[0].visible_to, None);
    assert_eq!(config.partners[0].names, [SanName::gateway(&config.partners[0].party.id)]);
}

#[test]
fn values_arrive_as_they_were_written() {
    let config = parse(REFERENCE, "reference.toml").expect("the reference file");
    assert_eq!(
        json!(config.partners[0].party.attributes()),
        json!({"party": "wessex.example", "country": "GB", "type": "academia", "membership": "active",
               "framework": "IAP-FA:1.0", "eo_certified": true})
    );
    assert_eq!(
        json!(config.datasets[0].attributes()),
        json!({"id": "usgs-earthquakes", "origin": "JP", "licence": "US-PD", "creator": "U.S. Geological Survey",
               "purposes": ["dfft:DisasterResponse"], "tags": ["privacy:none", "ip:open", "security:tlp-clear"],
               "columns": {"station": "place"}, "retention_days": 180})
    );
    let agreement = &config.agreements[0];
    assert_eq!(json!(agreement.legal), json!({"licence_type": "individual", "licence_id": "GB-1"}));
    assert_eq!(json!(agreement.recipient), json!({"need_to_know": true, "named": true}));
    for (day, holds) in [("2025-12-31", false), ("2026-01-01", true), ("2026-12-31", true), ("2027-01-01", false)] {
        assert_eq!(agreement.holds_on(day), holds, "{day}");
    }
    let joint = "dfft:JointDevelopment".parse().expect("a purpose");
    let filing = "dfft:PatentFiling".parse().expect("a purpose");
    assert!(agreement.covers(&config.datasets[1].id, &joint));
    assert!(!agreement.covers(&config.datasets[1].id, &filing) && !agreement.covers(&config.datasets[0].id, &joint));
    assert!(config.datasets[1].is_visible_to(&config.partners[0].party.id));
    assert!(!config.datasets[1].is_visible_to(&config.party.id));
    assert!(config.datasets[0].accepts(Accept::Pull) && !config.datasets[0].accepts(Accept::Push));
    assert_eq!(config.datasets[0].upstream.to_string(), "http://127.0.0.1:9000/earthquakes");
    assert_eq!(config.limits.idle, Duration::from_secs(60));
}

#[test]
fn the_least_configuration_takes_the_defaults() {
    let config = parse(LEAST, "a.toml").expect("a sound configuration");
    assert_eq!((config.admin, config.pseudonyms, config.policy.directory), (None, None, None));
    assert_eq!(config.datasets[0].accepts, [Accept::Pull]);
    assert_eq!(config.partners[0].endpoint, None);
    assert_eq!(config.agreements[0].until, "2027-01-01");
    assert_eq!(config.limits, Limits::default());
    assert!(config.inputs.enabled);
    assert_eq!(config.inputs.directory.path, Path::new(Inputs::DIRECTORY));
    assert_eq!((config.inputs.retention_days, config.inputs.bytes), (Inputs::RETENTION_DAYS, Inputs::BYTES));
    assert!(config.subjects.enabled);
    assert_eq!(config.subjects.directory.path, Path::new(Subjects::DIRECTORY));
    assert_eq!((config.subjects.retention_days, config.subjects.bytes), (Inputs::RETENTION_DAYS, Subjects::BYTES));
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn the_environment_overrides_where_we_listen_and_where_the_log_lives() {
    let without = LEAST.replace("partner = \"0.0.0.0:8443\"\n", "").replace("directory = \"log\"\n", "");
    let set = variables(&[
        (LISTEN_PARTNER, "[::]:1"),
        (LISTEN_LOCAL, "127.0.0.1:2"),
        (RECORD_DIRECTORY, "/var/log/sekisho"),
        ("SEKISHO_LOG", "debug"),
        ("PATH", "/bin"),
    ]);
    let config = parse_with(&without, "a.toml", set).expect("what is missing is in the environment");
    assert_eq!(config.listen.partner.to_string(), "[::]:1");
    assert_eq!(config.listen.local.map(|local| local.port()), Some(2));
    assert_eq!(config.record.directory.path, Path::new("/var/log/sekisho"));

    let wrong = variables(&[
        (LISTEN_LOCAL, "0.0.0.0:80"),
        (LISTEN_ADMIN, ""),
        (RECORD_DIRECTORY, "\n"),
        ("SEKISHO_LISTEN_PARTNR", "[::]:1"),
    ]);
    let problems = parse_with(LEAST, "a.toml", wrong).expect_err("four wrong variables");
    let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
    for (told, words) in told.iter().zip([
        ["environment: SEKISHO_LISTEN_ADMIN: is empty", "unset it"],
        ["environment: SEKISHO_LISTEN_LOCAL: ", "loopback"],
        ["environment: SEKISHO_LISTEN_PARTNR: ", "did you mean SEKISHO_LISTEN_PARTNER?"],
        ["environment: SEKISHO_RECORD_DIRECTORY: ", "control character"],
    ]) {
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    }
    assert_eq!(told.len(), 4, "{told:#?}");

    let admin = variables(&[(LISTEN_ADMIN, "127.0.0.1:3")]);
    let problems = parse_with(LEAST, "a.toml", admin).expect_err("nobody may operate us");
    assert!(problems[0].what.contains("[admin] anchors is missing"), "{problems:#?}");
}
