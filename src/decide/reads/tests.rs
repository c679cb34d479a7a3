//! An input holds what is declared, whichever way a question goes, and each policy of a set sees its own part of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::*;
use crate::decide::{Agreement, Bundle, Dataset, Direction, Policy, PolicySet, Question, SECTIONS, Verdict};
use crate::types::{Facts, PartyId, Purpose, Timestamp};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn paths<const N: usize>(paths: [&str; N]) -> InputPaths {
    InputPaths::try_from(BTreeSet::from(paths.map(str::to_owned))).unwrap()
}

/// The parts of a question.
struct Asked {
    dataset: Dataset,
    purpose: Purpose,
    party: PartyId,
    theirs: Facts,
    ours: Facts,
    agreement: Agreement,
    person: Map<String, Value>,
}

impl Asked {
    fn new() -> Self {
        let (party, us): (PartyId, PartyId) = ("wessex.example".parse().unwrap(), "kansai.example".parse().unwrap());
        let facts =
            json!({"origin": "JP", "licence": "CC0-1.0", "purposes": ["dpv:Marketing"], "columns": {"a": "age"}});
        Self {
            dataset: Dataset::new("set".parse().unwrap(), vec!["privacy:none".parse().unwrap()], object(facts)),
            purpose: "dpv:Marketing".parse().unwrap(),
            theirs: Facts::about(&party, object(json!({"country": "GB", "type": "academia", "notes": [1, null]}))),
            ours: Facts::about(&us, object(json!({"country": "JP", "type": "company"}))),
            agreement: Agreement {
                id: "AG-1".to_owned(),
                party: party.clone(),
                datasets: Vec::new(),
                purposes: Vec::new(),
                from: String::new(),
                until: String::new(),
                recipient: object(json!({"named": true, "country": "IE"})),
                legal: Facts::new(object(json!({"mechanism": "scc", "tia": true}))),
            },
            party,
            person: object(json!({"specific_category": {"n": 0}, "clearance": "none", "agreement": true})),
        }
    }

    fn question(&self, direction: Direction, agreed: bool, known: bool) -> Question<'_> {
        Question {
            // 2026-11-21T09:47:31Z
            at: Timestamp::from_seconds(1_795_254_451),
            direction,
            dataset: &self.dataset,
            purpose: &self.purpose,
            action: "transfer",
            counterparty: &self.party,
            counterparty_facts: &self.theirs,
            our_facts: &self.ours,
            agreement: agreed.then_some(&self.agreement),
            person: known.then_some(&self.person),
            method: "GET",
            path: "/a?b=\"",
        }
    }
}

fn read(question: &Question<'_>, reads: &Reads) -> Value {
    serde_json::from_slice(&question.input(reads).0).unwrap()
}

#[test]
fn an_input_is_the_declared_part_of_the_whole_whichever_way_it_goes() {
    let asked = Asked::new();
    let members = [
        "channel.direction",
        "channel.colour",
        "dataset.id",
        "dataset.tags",
        "dataset.origin",
        "legal.tia",
        "legal.other",
        "recipient.country",
        "recipient.agreement",
        "recipient.named",
        "recipient.clearance",
        "recipient.party",
        "request.path",
        "sender.country",
        "sender.specific_category",
        "sender.type",
    ];
    let all: Vec<&str> = SECTIONS.into_iter().chain(members).collect();
    let mut random = fastrand::Rng::with_seed(11);
    let mut seen = BTreeSet::new();
    for round in 0..600 {
        let chosen: BTreeSet<String> =
            all.iter().filter(|_| random.u8(0..4) == 0).map(|path| (*path).to_owned()).collect();
        let granularity = [Granularity::Date, Granularity::Hour, Granularity::Minute][round % 3];
        let reads = Reads::new(InputPaths::try_from(chosen).unwrap(), granularity);
        for direction in [Direction::Export, Direction::Import, Direction::Request] {
            for (agreed, known) in [(false, false), (true, false), (false, true), (true, true)] {
                let question = asked.question(direction, agreed, known);
                let mut expected = reads.paths().project(&read(&question, &Reads::everything()));
                if let Some(Value::String(at)) = expected.get_mut("at") {
                    *at = granularity.coarsen(at);
                }
                // Twice, since the second one copies what the first one remembered.
                for _ in 0..2 {
                    assert_eq!(read(&question, &reads), expected, "{:?}", reads.paths());
                }
                seen.insert(expected.to_string());
            }
        }
    }
    assert!(seen.len() > 1000, "only {} different inputs", seen.len());
}

#[test]
fn one_party_is_recipient_here_and_sender_there() {
    let asked = Asked::new();
    let reads = Reads::new(paths(["recipient.country", "sender.type"]), Granularity::Date);
    for _ in 0..2 {
        let exported = read(&asked.question(Direction::Export, false, false), &reads);
        assert_eq!(exported, json!({"recipient": {"country": "GB"}}));
        let imported = read(&asked.question(Direction::Import, false, false), &reads);
        assert_eq!(imported, json!({"recipient": {"country": "JP"}, "sender": {"type": "academia"}}));
    }
}

#[test]
fn what_no_policy_reads_makes_no_other_question() {
    let asked = Asked::new();
    let question = asked.question(Direction::Export, false, false);
    let elsewhere = Question { path: "/other", method: "HEAD", ..question.clone() };
    let later = Question { at: question.at.plus(Duration::from_secs(28)), ..question.clone() };
    let reads = Reads::new(paths(["at", "request.path"]), Granularity::Date);
    let digest = |question: &Question<'_>, reads: &Reads| question.input(reads).1;
    assert_ne!(digest(&question, &reads), digest(&elsewhere, &reads));
    assert_eq!(digest(&question, &reads), digest(&later, &reads));
    for (granularity, seconds, same) in [
        (Granularity::Minute, 28, true),
        (Granularity::Minute, 29, false),
        (Granularity::Hour, 748, true),
        (Granularity::Hour, 749, false),
        (Granularity::Date, 51_148, true),
        (Granularity::Date, 51_149, false),
    ] {
        let reads = Reads::new(paths(["at"]), granularity);
        let later = Question { at: question.at.plus(Duration::from_secs(seconds)), ..elsewhere.clone() };
        assert_eq!(digest(&question, &reads) == digest(&later, &reads), same, "{granularity:?} after {seconds} s");
    }
}

#[test]
fn a_section_of_another_kind_stays_what_it_is_where_it_is_read() {
    let input = json!({"dataset": null, "recipient": "x", "sender": [1], "extra": 1, "purpose": {"a": 1}});
    assert_eq!(paths(["dataset.tags", "purpose"]).project(&input), json!({"dataset": null, "purpose": {"a": 1}}));
    assert_eq!(paths([]).project(&input), json!({}));
    assert_eq!(paths(["dataset"]).project(&json!("no object")), json!("no object"));
}

#[test]
fn a_time_is_coarsened_and_what_is_no_time_is_left_to_the_policy() {
    for (at, date, hour, minute) in [
        ("2026-11-21T09:47:00Z", "2026-11-21", "2026-11-21T09:00:00Z", "2026-11-21T09:47:00Z"),
        ("2026-11-21", "2026-11-21", "2026-11-21", "2026-11-21"),
        ("2026-11-21T", "2026-11-21T", "2026-11-21T", "2026-11-21T"),
        (
            "昨日の朝のこと、T九時四十分ごろ",
            "昨日の朝のこと、T九時四十分ごろ",
            "昨日の朝のこと、T九時四十分ごろ",
            "昨日の朝のこと、T九時四十分ごろ",
        ),
        ("", "", "", ""),
    ] {
        assert_eq!(Granularity::Date.coarsen(at), date);
        assert_eq!(Granularity::Hour.coarsen(at), hour);
        assert_eq!(Granularity::Minute.coarsen(at), minute);
    }
}

/// A policy that permits exactly this input.
fn exacting(id: &str, inputs: &[&str], time: &str, expected: &Value) -> Arc<Policy> {
    let directory = tempfile::tempdir().unwrap();
    let manifest =
        json!({"revision": "1", "metadata": {"id": id, "entrypoint": "t/decision", "inputs": inputs, "time": time}});
    std::fs::write(directory.path().join(".manifest"), manifest.to_string()).unwrap();
    let rego = format!(
        r#"package t
        default decision := {{"decision": "deny", "obligations": [], "reasons":
            [{{"rule": "R", "effect": "deny", "why": "another input", "remedy": "r"}}]}}
        decision := {{"decision": "permit", "reasons": [], "obligations": []}} if input == {expected}"#
    );
    std::fs::write(directory.path().join("t.rego"), rego).unwrap();
    Arc::new(Policy::compile(&Bundle::read(directory.path()).unwrap(), Duration::from_secs(10)).unwrap())
}

#[test]
fn each_policy_of_a_set_sees_its_own_part_at_its_own_granularity() {
    let date = exacting(
        "one",
        &["at", "recipient.country"],
        "date",
        &json!({
            "at": "2026-11-21", "recipient": {"country": "GB"},
        }),
    );
    let hour = exacting(
        "two",
        &["at", "recipient.type", "purpose"],
        "hour",
        &json!({
            "at": "2026-11-21T09:00:00Z", "purpose": "dpv:Marketing", "recipient": {"type": "academia"},
        }),
    );
    let set = PolicySet::new(vec![Arc::clone(&date), hour]).unwrap();
    let asked = Asked::new();
    let (input, digest) = asked.question(Direction::Export, false, false).input(set.reads());
    let decision = set.decide(std::str::from_utf8(&input).unwrap(), digest).unwrap();
    assert_eq!(decision.verdict(), Verdict::Permit, "{:?}", decision.reasons());
    let alone = PolicySet::new(vec![date]).unwrap();
    let (input, _) = asked.question(Direction::Export, false, false).input(alone.reads());
    assert_eq!(alone.evaluate(std::str::from_utf8(&input).unwrap()).unwrap().verdict(), Verdict::Permit);
}
