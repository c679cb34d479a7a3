//! Receipts are for the answers that the log keeps, and tell the same in both parties' logs.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::super::*;
use super::forge::{Forge, id};
use super::key;
use crate::record::extract::{Extract, Selection, export};

/// What is said of one exchange, each part of it to be spoilt.
#[derive(Clone)]
struct Said {
    digest: u8,
    status: u16,
    /// What the receipt says of the answer's digest, status and signature.
    receipt: (u8, u16, String),
}

fn pass_key(seed: u8) -> Ed25519KeyPair {
    key(seed, "x.example/pass", Role::Log).0
}

fn kept(of: &str, party: &str, seed: u8, base: &str) -> Value {
    let pair = pass_key(seed);
    json!({
        "of": of, "party": party, "key": "k", "base": base,
        "public": URL_SAFE_NO_PAD.encode(pair.public_key()),
        "signature": URL_SAFE_NO_PAD.encode(pair.sign(base.as_bytes())),
    })
}

fn digest(byte: u8) -> String {
    format!("sha-256=:{}:", STANDARD.encode([byte; 32]))
}

fn answer(number: u64, status: u16, byte: u8) -> Value {
    let base = format!(
        "\"@status\": {status}\n\"sekisho-exchange\": {}\n\"content-digest\";tr: {}\n\"@signature-params\": ()",
        id(number),
        digest(byte)
    );
    kept("answer", "kansai.example", 21, &base)
}

impl Said {
    /// The truth: the receipt is for the answer.
    fn of(number: u64) -> Self {
        let answer = answer(number, 200, 0xAB);
        let signature = URL_SAFE_NO_PAD.decode(answer["signature"].as_str().unwrap()).unwrap();
        Self { digest: 0xAB, status: 200, receipt: (0xAB, 200, format!(":{}:", STANDARD.encode(signature))) }
    }

    fn receipt(&self, number: u64) -> Value {
        let (byte, status, signature) = &self.receipt;
        let base = format!(
            "\"@status\": {status}\n\"sekisho-exchange\": {}\n\"content-digest\";tr: {}\n\
             \"signature\";tr;key=\"sekisho\": {signature}\n\"@signature-params\": ()",
            id(number),
            digest(*byte)
        );
        kept("receipt", "wessex.example", 22, &base)
    }
}

/// The log of one side of so many exchanges.
fn log(provider: bool, exchanges: u64, mut spoil: impl FnMut(u64, &mut Said)) -> Forge {
    let mut forge = Forge::new();
    if !provider {
        (forge.pair, forge.vkey) = key(3, "wessex.example/log", Role::Log);
    }
    for number in 0..exchanges {
        let mut said = Said::of(number);
        spoil(number, &mut said);
        let direction = if provider { "export" } else { "request" };
        forge.entry(&json!({
            "kind": "decision", "exchange": id(number), "at": forge.time(), "provider": "kansai.example",
            "consumer": "wessex.example", "direction": direction, "dataset": "yield", "decision": "permit"
        }));
        let content = format!("sha256:{}", format!("{:02x}", said.digest).repeat(32));
        let mut signatures = vec![answer(number, said.status, said.digest)];
        if !provider {
            signatures.push(said.receipt(number));
        }
        forge.entry(&json!({
            "kind": "outcome", "exchange": id(number), "at": forge.time(), "status": said.status, "ended": "complete",
            "bytes_in": 9, "bytes_out": 9, "digest_before": content, "digest_after": content, "signatures": signatures
        }));
        if provider {
            forge.entry(&json!({
                "kind": "receipt", "exchange": id(number), "at": forge.time(), "party": "wessex.example",
                "signatures": [said.receipt(number)]
            }));
        }
    }
    forge.write();
    forge
}

fn verify(forge: &Forge) -> Report {
    let options = Options { key: Some(&forge.vkey), ..Options::default() };
    verify_log(&Directory::new(&forge.path()), &options, |_, _| {}).unwrap()
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect()
}

#[test]
fn a_receipt_for_another_answer_is_found_in_either_log() {
    for provider in [true, false] {
        let sound = verify(&log(provider, 20, |_, _| {}));
        assert!(sound.verified && !sound.render().contains("which answers"), "{}", sound.render());
        let other = Said::of(8).receipt.2;
        let spoils: [&dyn Fn(&mut Said); 4] = [
            &|said| said.receipt.1 = 206,
            &|said| said.receipt.2.clone_from(&other),
            // The outcome is changed, and signed anew: the receipt still says what was.
            &|said| said.status = 206,
            &|said| said.receipt.2 = "elsewhere".to_owned(),
        ];
        for (place, spoil) in spoils.into_iter().enumerate() {
            let forge = log(provider, 20, |number, said| {
                if number == 7 {
                    spoil(said)
                }
            });
            let report = verify(&forge);
            assert_eq!(failed(&report), ["receipts"], "{place}: {}", report.render());
            assert_eq!(report.findings.len(), 1, "{place}: {}", report.render());
            assert!(report.findings[0].what.contains("another answer"), "{place}: {}", report.render());
        }
        // In the consumer's log the receipt stands in the outcome, whose digest it has to be of, too.
        let forge = log(provider, 20, |number, said| {
            if number == 7 {
                said.receipt.0 = 0xCD
            }
        });
        assert_eq!(failed(&verify(&forge)), ["receipts"]);
    }
}

#[test]
fn a_receipt_without_its_answer_is_told_of_and_no_finding() {
    let forge = log(true, 20, |_, _| {});
    let source = Directory::new(&forge.path());
    let selection = Selection { from: Some(Timestamp::from_seconds(super::forge::START + 2)), ..Selection::default() };
    let mut bundle = Vec::new();
    export(&Extract::open(&source, 0).unwrap(), &selection, &mut bundle).unwrap();
    let options = Options { key: Some(&forge.vkey), ..Options::default() };
    let report = verify_bundle("b", &mut &bundle[..], &options, |_, _| {}).unwrap();
    assert!(report.verified, "{}", report.render());
    assert!(report.render().contains("which answers 1 receipts are for"), "{}", report.render());
}

#[test]
fn a_receipt_or_an_outcome_that_one_side_changed_and_signed_anew_is_found_beside_the_other() {
    let compare = |ours: &Forge, theirs: &Forge| {
        let (first, second) = (Directory::new(&ours.path()), Directory::new(&theirs.path()));
        let options = Options { key: Some(&ours.vkey), ..Options::default() };
        let mut others = [Beside { log: Other::Log(&second), key: Some(&theirs.vkey), prove: None }];
        verify_with(&mut Other::Log(&first), &options, &mut others, |_, _| {}).unwrap()
    };
    let (ours, theirs) = (log(true, 20, |_, _| {}), log(false, 20, |_, _| {}));
    let same = compare(&ours, &theirs);
    assert!(same.verified, "{}", same.render());
    // Each log verifies by itself: whoever changed it has all keys of its own, and the other's passes' key, too.
    let spoil = |number: u64, said: &mut Said| {
        if number == 7 {
            (said.digest, said.receipt.0) = (0xCD, 0xCD);
            let signature = answer(7, 200, 0xCD)["signature"].as_str().unwrap().to_owned();
            said.receipt.2 = format!(":{}:", STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).unwrap()));
        }
    };
    for provider in [true, false] {
        let forged = log(provider, 20, spoil);
        assert!(verify(&forged).verified, "{}", verify(&forged).render());
        let report = if provider { compare(&forged, &theirs) } else { compare(&ours, &forged) };
        assert_eq!(failed(&report), ["same story"], "{}", report.render());
        for what in
            ["payload that was sent", "the answer of kansai.example has two", "the receipt of wessex.example has two"]
        {
            let found = report.findings.iter().filter(|finding| finding.what.contains(what)).count();
            assert_eq!(found, 1, "{what}: {}", report.render());
        }
    }
}
