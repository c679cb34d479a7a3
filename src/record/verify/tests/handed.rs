//! What is taken out of a log to be handed on verifies by itself, and not when anything in it was changed.

use std::fs;

use proptest::prelude::*;
use serde_json::Value;

use super::super::*;
use super::forge::{Forge, START, id, policy};
use crate::record::extract::{Extract, Selection, export, provenance};

fn bundle(forge: &Forge, selection: &Selection) -> Vec<u8> {
    let source = Directory::new(&forge.path());
    let log = Extract::open(&source, 0).unwrap();
    let mut out = Vec::new();
    export(&log, selection, &mut out).unwrap();
    out
}

fn verify_it(bytes: &[u8], key: Option<&str>) -> Result<Report, VerifyError> {
    let mut file = bytes;
    verify_bundle("a bundle", &mut file, &Options { key, ..Options::default() }, |_, _| {})
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect()
}

#[test]
fn a_bundle_of_a_time_is_complete_and_says_so() {
    let forge = Forge::with(150);
    forge.write();
    let at = |second| Some(Timestamp::from_seconds(START + second));
    for (from, until, count) in [(None, None, 300), (at(10), None, 290), (at(10), at(20), 10), (at(9000), None, 0)] {
        let file = bundle(&forge, &Selection { from, until, ..Selection::default() });
        let report = verify_it(&file, Some(&forge.vkey)).unwrap();
        assert!(report.verified && report.entries == count, "{}", report.render());
        assert!(report.checks.iter().any(|check| check.name == "completeness"));
        // A line that is left out is missed, wherever it stands; and so is the end.
        let lines: Vec<_> = file.split_inclusive(|byte| *byte == b'\n').collect();
        for gone in (1..lines.len()).step_by(7) {
            let rest = [&lines[..gone], &lines[gone + 1..]].concat().concat();
            assert!(!verify_it(&rest, Some(&forge.vkey)).unwrap().verified, "line {gone} of {} is gone", lines.len());
        }
        assert_eq!(failed(&verify_it(&lines[..lines.len() - 1].concat(), None).unwrap())[0], "lines");
    }
    let stranger = super::key(7, "osaka.example/log", Role::Log).1;
    assert!(!verify_it(&bundle(&forge, &Selection::default()), Some(&stranger)).unwrap().verified);
}

#[test]
fn a_bundle_of_an_exchange_or_a_partner_does_not_claim_to_be_complete() {
    let mut forge = Forge::with(20);
    forge.write();
    let one = bundle(&forge, &Selection { exchange: Some(id(7)), ..Selection::default() });
    let report = verify_it(&one, Some(&forge.vkey)).unwrap();
    assert!(report.verified && report.entries == 2, "{}", report.render());
    assert!(report.render().contains("no further entries of this selection"), "{}", report.render());
    forge.entry(&serde_json::json!({ "kind": "outcome", "exchange": id(99), "at": forge.time() }));
    forge.write();
    let party = |name: &str| Selection { party: Some(name.parse().unwrap()), ..Selection::default() };
    assert_eq!(verify_it(&bundle(&forge, &party("wessex.example")), None).unwrap().entries, 40);
    assert_eq!(verify_it(&bundle(&forge, &party("osaka.example")), None).unwrap().entries, 0);
}

#[test]
fn a_proof_file_is_enough_by_itself() {
    let forge = Forge::with(150);
    forge.write();
    forge.cosigned(&[forge.note(280, &[(1, START + 280), (2, START + 281)])]);
    let source = Directory::new(&forge.path());
    let wanted = policy(2, &[1, 2]);
    let wanted = Policy::parse(wanted.as_bytes()).unwrap();
    let options = Options { key: Some(&forge.vkey), policy: Some(&wanted), ..Options::default() };
    for index in [0, 1, 255, 256, 279] {
        let file = Extract::open(&source, index + 1).unwrap().proof_file(index).unwrap();
        assert!(is_proof_file(file.as_bytes()));
        let report = verify_proof_file("p", file.as_bytes(), &options).unwrap();
        assert!(report.verified && report.checkpointed == 280, "{}", report.render());
        let elsewhere = file.replace(&format!("\nindex {index}\n"), &format!("\nindex {}\n", index ^ 1));
        assert_eq!(failed(&verify_proof_file("p", elsewhere.as_bytes(), &options).unwrap()), ["inclusion"]);
    }
    // What nobody cosigned yet is proven under the log's own checkpoint, and the policy says what that is worth.
    let file = Extract::open(&source, 300).unwrap().proof_file(299).unwrap();
    assert_eq!(failed(&verify_proof_file("p", file.as_bytes(), &options).unwrap()), ["witnesses"]);
    assert!(verify_proof_file("p", file.as_bytes(), &Options { policy: None, ..options }).unwrap().verified);
    assert!(Extract::open(&source, 301).is_err());
    assert_eq!((Extract::latest(&source).unwrap().size(), Extract::open(&source, 0).unwrap().size()), (300, 280));
    // The key has to come from somewhere else than the file.
    let keyless = verify_proof_file("p", file.as_bytes(), &Options { key: None, ..options });
    assert_eq!(keyless.unwrap_err().code(), "verify_no_key");
}

#[test]
fn a_cose_receipt_holds_for_its_entry_and_its_key_alone() {
    use crate::record::{FileKey, SigningKey};
    use std::sync::Arc;
    let der = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_der();
    let key: Arc<dyn SigningKey> = Arc::new(FileKey::from_pkcs8(&der).unwrap());
    let mut forge = Forge::new();
    forge.pair = ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
    forge.vkey = super::vkey_of(&forge.pair, super::forge::ORIGIN, Role::Log);
    (0..150).for_each(|number| forge.exchange(number));
    forge.write();
    let source = Directory::new(&forge.path());
    let log = Extract::open(&source, 0).unwrap();
    let options = Options { key: Some(&forge.vkey), ..Options::default() };
    for index in [0, 17, 255, 256, 299] {
        let receipt = log.cose(index, &key).unwrap();
        assert!(is_cose(&receipt));
        let entry = log.entry(index).unwrap();
        let report = verify_cose("r", &receipt, &entry, &options).unwrap();
        assert!(report.verified && report.checkpointed == 300, "{}", report.render());
        let other = log.entry(index ^ 1).unwrap();
        assert_eq!(failed(&verify_cose("r", &receipt, &other, &options).unwrap()), ["inclusion"]);
        let stranger = super::key(7, "osaka.example/log", Role::Log).1;
        let foreign = Options { key: Some(&stranger), ..options };
        assert!(failed(&verify_cose("r", &receipt, &entry, &foreign).unwrap()).contains(&"inclusion"));
        for place in 0..receipt.len() {
            let mut changed = receipt.clone();
            changed[place] ^= 0x01;
            // The size of the tree is not signed, and for some places several sizes have one path: the report says so.
            let passes = verify_cose("r", &changed, &entry, &options)
                .is_ok_and(|report| report.verified && report.checkpointed == 300);
            assert!(!passes, "changed at {place} of {} passes", receipt.len());
        }
    }
    let keyless = Options { key: None, ..options };
    assert_eq!(verify_cose("r", &log.cose(0, &key).unwrap(), b"x", &keyless).unwrap_err().code(), "verify_no_key");
}

#[test]
fn provenance_names_who_did_what_with_what() {
    let forge = Forge::with(3);
    forge.write();
    let source = Directory::new(&forge.path());
    let log = Extract::open(&source, 0).unwrap();
    let told = log.exchange(id(1)).unwrap();
    let document = provenance(log.origin(), &told);
    let exchange = format!("sekisho:exchange/{}", id(1));
    let about = &document["activity"][exchange.as_str()];
    assert_eq!(about["prov:startTime"], told[0].1["at"]);
    assert_eq!(about["prov:endTime"], told[1].1["at"]);
    assert_eq!(about["sekisho:entries"], serde_json::json!([2, 3]));
    let all = |section: &str| document[section].as_object().unwrap().values().cloned().collect::<Vec<Value>>();
    let agents = all("wasAssociatedWith");
    assert_eq!(agents.len(), 2);
    assert!(agents.iter().any(|agent| agent["prov:agent"] == "sekisho:party/wessex.example"));
    let payload = format!("sekisho:payload/sha256-{}", "ab".repeat(32));
    assert_eq!(all("wasGeneratedBy")[0]["prov:entity"], payload.as_str());
    // Whatever a relation names is described.
    for section in ["used", "wasGeneratedBy", "wasDerivedFrom", "wasAssociatedWith", "wasAttributedTo"] {
        for relation in all(section) {
            for (role, name) in relation.as_object().unwrap().iter().filter(|(role, _)| *role != "prov:role") {
                let described = ["entity", "activity", "agent"]
                    .iter()
                    .any(|kind| document[kind].get(name.as_str().unwrap()).is_some());
                assert!(described, "{section}: {role} {name}");
            }
        }
    }
    assert!(log.exchange(id(77)).is_err());
}

/// A log of the other side of the same exchanges, after `change` had its way with each of its entries.
fn other_side(exchanges: u64, mut change: impl FnMut(u64, &mut Value)) -> Forge {
    let mut forge = Forge::new();
    forge.vkey = super::key(3, "wessex.example/log", Role::Log).1;
    forge.pair = super::key(3, "wessex.example/log", Role::Log).0;
    for number in 0..exchanges {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for kind in ["decision", "outcome"] {
            let mut entry = if kind == "decision" {
                serde_json::json!({
                    "kind": kind, "exchange": id(number), "at": forge.time(), "provider": "kansai.example",
                    "consumer": "wessex.example", "direction": "request", "dataset": "yield", "decision": "permit"
                })
            } else {
                serde_json::json!({
                    "kind": kind, "exchange": id(number), "at": forge.time(), "status": 200, "ended": "complete",
                    "bytes_in": 9, "bytes_out": 9, "digest_before": digest, "digest_after": digest, "upstream_status": 200
                })
            };
            change(number, &mut entry);
            if !entry.is_null() {
                forge.entry(&entry);
            }
        }
    }
    forge
}

#[test]
fn two_logs_must_tell_the_same() {
    let ours = Forge::with(400);
    ours.write();
    let compare = |theirs: &Forge| {
        theirs.write();
        let (first, second) = (Directory::new(&ours.path()), Directory::new(&theirs.path()));
        let options = Options { key: Some(&ours.vkey), ..Options::default() };
        let mut others = [Beside { log: Other::Log(&second), key: Some(&theirs.vkey), prove: None }];
        verify_with(&mut Other::Log(&first), &options, &mut others, |_, _| {}).unwrap()
    };
    let same = compare(&other_side(400, |_, _| {}));
    assert!(same.verified, "{}", same.render());
    assert!(same.checks.iter().any(|check| check.name == "same story" && check.count == 400));

    let other = |name: &'static str, value: Value| {
        move |number: u64, entry: &mut Value| {
            if number == 200 && entry.get(name).is_some() {
                entry[name] = value.clone();
            }
        }
    };
    let changes: [(&'static str, Value); 6] = [
        ("dataset", "masks".into()),
        ("consumer", "osaka.example".into()),
        ("digest_before", format!("sha256:{}", "cd".repeat(32)).into()),
        ("bytes_in", 8.into()),
        ("decision", "deny".into()),
        ("direction", "export".into()),
    ];
    for (name, value) in changes {
        let report = compare(&other_side(400, other(name, value)));
        assert_eq!(failed(&report), ["same story"], "{name}: {}", report.render());
        assert_eq!(report.findings.len(), 1, "{name}: {}", report.render());
        assert_eq!(report.findings[0].index, Some(400));
    }
    // One that reached us and that our log does not tell of: they have the answer.
    let fewer = other_side(400, |number, entry| {
        if number == 200 {
            entry["exchange"] = id(200_200).to_string().into();
        }
    });
    let report = compare(&fewer);
    assert_eq!(failed(&report), ["same story"], "{}", report.render());
    // One of ours that they do not tell of, and that nothing shows their gateway to have asked for, is not held against
    // them: their application may have asked without it.
    assert!(report.findings.iter().all(|finding| finding.what.contains("of wessex.example/log reached us")));
    assert!(report.render().contains("1 exchanges that only one of the logs tells of"), "{}", report.render());
    // A log that does not verify by itself is told of as such.
    let broken = other_side(400, |_, _| {});
    broken.write();
    let path = broken.path().join("tile/entries/001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[700] ^= 1;
    let theirs = Directory::new(&broken.path());
    fs::write(&path, bytes).unwrap();
    let ours_again = Directory::new(&ours.path());
    let mut others = [Beside { log: Other::Log(&theirs), key: Some(&broken.vkey), prove: None }];
    let options = Options { key: Some(&ours.vkey), ..Options::default() };
    let report = verify_with(&mut Other::Log(&ours_again), &options, &mut others, |_, _| {}).unwrap();
    assert!(failed(&report).contains(&"other log"), "{}", report.render());
}

proptest! {
    /// Any byte of a bundle or of a proof, changed in any way, is found.
    #[test]
    fn a_byte_changed_in_what_was_handed_on_is_found(
        place in any::<prop::sample::Index>(), flip in 1_u8..=255, proof in any::<bool>(),
    ) {
        let forge = Forge::with(3);
        forge.write();
        let options = Options { key: Some(&forge.vkey), ..Options::default() };
        let source = Directory::new(&forge.path());
        let mut bytes = if proof {
            Extract::open(&source, 0).unwrap().proof_file(3).unwrap().into_bytes()
        } else {
            bundle(&forge, &Selection::default())
        };
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let passes = |report: Result<Report, VerifyError>| report.is_ok_and(|report| report.verified);
        if proof {
            prop_assert!(!passes(verify_proof_file("p", &bytes, &options)), "{place} by {flip:#x} passes");
        } else if !bytes[..place].contains(&b'\n') {
            // Of the head, what is not signed are the words of the selection and the keys, which are not believed.
            let same = passes(verify_it(&bytes, Some(&forge.vkey)));
            let head = String::from_utf8_lossy(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
            let signed = head.find("\"checkpoint\":\"").zip(head.find("\",\"format")).is_some_and(|(from, to)| (from..to).contains(&place));
            prop_assert!(!(same && signed), "{place} by {flip:#x} passes");
        } else {
            prop_assert!(!passes(verify_it(&bytes, Some(&forge.vkey))), "{place} by {flip:#x} passes");
        }
    }
}
