//! Whole logs: sound ones verify, and whatever is done to one afterwards is found, by name.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::forge::{Forge, START, id, policy, put, witness};

fn verify_with(forge: &Forge, policy: Option<&str>) -> Report {
    let policy = policy.map(|file| Policy::parse(file.as_bytes()).unwrap());
    let options = Options { key: Some(&forge.vkey), policy: policy.as_ref(), threads: 2, ..Options::default() };
    verify_log(&Directory::new(&forge.path()), &options, |_, _| {}).unwrap()
}

fn verify(forge: &Forge) -> Report {
    verify_with(forge, None)
}

/// The checks that failed.
fn failed(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect()
}

fn count(report: &Report, name: &str) -> u64 {
    report.checks.iter().find(|check| check.name == name).map(|check| check.count).unwrap_or_default()
}

#[test]
fn sound_logs_of_any_size_verify() {
    for exchanges in [1, 2, 100, 127, 128, 129, 300] {
        let forge = Forge::with(exchanges);
        forge.write();
        let report = verify(&forge);
        assert!(report.verified, "{}", report.render());
        assert_eq!((report.entries, report.checkpointed), (2 * exchanges, 2 * exchanges));
        assert_eq!(count(&report, "signatures"), 2 * exchanges);
        assert_eq!(count(&report, "pairing"), exchanges);
        assert_eq!(count(&report, "bundles"), (2 * exchanges).div_ceil(256));
        // Every level's full and partial tiles.
        let size = 2 * exchanges;
        assert_eq!(count(&report, "tiles"), size.div_ceil(256) + (size / 256).div_ceil(256));
    }
}

#[test]
fn one_thread_and_many_come_to_the_same_conclusion() {
    let forge = Forge::with(700);
    forge.write();
    let path = forge.path().join("tile/entries/002");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let verify = |threads| {
        let options = Options { key: Some(&forge.vkey), threads, ..Options::default() };
        verify_log(&Directory::new(&forge.path()), &options, |_, _| {}).unwrap().render()
    };
    let one = verify(1);
    assert!(one.contains("FAIL") && one.ends_with("NOT VERIFIED\n"), "{one}");
    assert_eq!(one, verify(4));
}

#[test]
fn missing_damaged_and_foreign_tiles_are_found() {
    let sound = Forge::with(300);
    let cases: [(&str, &[&str]); 4] = [
        ("tile/0/001", &["tiles"]),
        ("tile/0/002.p/88", &["tiles"]),
        ("tile/1/000.p/2", &["tiles"]),
        ("tile/entries/001", &["bundles", "pairing"]),
    ];
    for (path, expected) in cases {
        sound.write();
        let path = sound.path().join(path);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let report = verify(&sound);
        assert!(failed(&report).contains(&expected[0]), "{path:?} is missing: {}", report.render());
        put(&path, &whole[..whole.len() - 1]);
        assert!(failed(&verify(&sound)).contains(&expected[0]), "{path:?} is cut short");
        put(&path, &[&whole[..], b"x"].concat());
        assert!(failed(&verify(&sound)).contains(&expected[0]), "{path:?} has one byte more");
        put(&path, &whole);
    }
    for extra in
        ["tile/0/003", "tile/0/002.p/89", "tile/0/001.p/5", "tile/2/000.p/1", "tile/0/07", "tile/entries/003.p/1"]
    {
        sound.write();
        assert!(verify(&sound).verified);
        let path = sound.path().join(extra);
        put(&path, &[7; 32]);
        assert_eq!(failed(&verify(&sound)), ["tiles"], "{extra}");
        fs::remove_file(&path).unwrap();
    }
    // What a crash may leave is no finding: a narrower tile with the same hashes.
    let tile = fs::read(sound.path().join("tile/0/002.p/88")).unwrap();
    put(&sound.path().join("tile/0/002.p/8"), &tile[..8 * 32]);
    assert!(verify(&sound).verified);
}

#[test]
fn a_log_without_its_tiles_is_not_whole() {
    for exchanges in [1, 200] {
        let forge = Forge::with(exchanges);
        forge.write();
        fs::remove_dir_all(forge.path().join("tile")).unwrap();
        let report = verify(&forge);
        assert!(!report.verified && failed(&report).contains(&"bundles"), "{}", report.render());
        let told = format!("{} entries, and only 0 can be read", 2 * exchanges);
        assert!(report.findings.iter().any(|found| found.check == "tree" && found.what.contains(&told)), "{report:?}");
        // Hashes alone are no entries.
        forge.write();
        fs::remove_dir_all(forge.path().join("tile/entries")).unwrap();
        assert!(failed(&verify(&forge)).contains(&"bundles"));
    }
}

#[test]
fn every_checkpoint_on_file_is_held_against_the_tree() {
    let forge = Forge::with(200);
    forge.write();
    let notes: Vec<_> = [0, 1, 2, 255, 256, 257, 300, 400].iter().map(|size| forge.note(*size, &[])).collect();
    forge.cosigned(&notes);
    let report = verify(&forge);
    assert!(report.verified, "{}", report.render());
    assert_eq!((count(&report, "cosigned"), count(&report, "tree")), (8, 9));

    // One that the log signed over another history: the log said two things, and cannot take one back.
    let mut other = Forge::with(150);
    other.entry(&json!({ "kind": "outcome" }));
    for size in [300, 301] {
        forge.cosigned(&[notes[3].clone(), other.note(size, &[]), notes[7].clone()]);
        let report = verify(&forge);
        if size == 301 {
            assert_eq!(failed(&report), ["tree"], "{}", report.render());
            assert!(report.findings[0].what.contains("line 2"), "{}", report.render());
        } else {
            assert!(report.verified, "the first 300 entries are the same");
        }
    }
    // A checkpoint that signs more than there is: the log was cut off, and its latest checkpoint exchanged.
    let mut longer = Forge::with(200);
    longer.exchange(200);
    forge.cosigned(&[longer.note(402, &[])]);
    assert_eq!(failed(&verify(&forge)), ["tree"]);
    // Not the log's signature; no checkpoint; another log's.
    for bad in
        [notes[3].replace("\u{2014} kansai", "\u{2014} kansei"), "{}".into(), notes[3].replacen("kansai", "osaka", 2)]
    {
        forge.cosigned(&[notes[3].clone(), bad]);
        assert_eq!(failed(&verify(&forge)), ["cosigned"]);
    }
}

#[test]
fn witnesses_count_when_the_policy_lists_them() {
    let forge = Forge::with(200);
    forge.write();
    let at = START + 400;
    forge.cosigned(&[forge.note(256, &[(1, START + 256), (2, START + 257)]), forge.note(400, &[(1, at)])]);
    let report = verify(&forge);
    assert!(report.verified && report.render().contains("whose the 3 cosignatures are"), "{}", report.render());

    let report = verify_with(&forge, Some(&policy(1, &[1, 2])));
    assert!(report.verified, "{}", report.render());
    assert_eq!((count(&report, "witnesses"), count(&report, "times")), (3, 400));
    // With a quorum of two, only the first 256 entries are safe, and the report says so.
    let report = verify_with(&forge, Some(&policy(2, &[1, 2])));
    assert!(report.verified && report.render().contains("dropped behind entry 256"), "{}", report.render());
    // A quorum that nothing on file has; a witness's name under what it never signed.
    assert_eq!(failed(&verify_with(&forge, Some(&policy(2, &[2, 3])))), ["witnesses"]);
    let forged = forge.note(400, &[(1, at)]);
    let line = super::cosign(&witness(9).0, &witness(9).1, &forge.text(400), at);
    let id = super::super::notes::NoteKey::parse(&witness(1).1).unwrap().id;
    use base64::Engine as _;
    let mut bytes = super::STANDARD.decode(line.trim_end().rsplit(' ').next().unwrap()).unwrap();
    bytes[..4].copy_from_slice(&id);
    let false_line = format!("\u{2014} w1.example/witness {}\n", super::STANDARD.encode(bytes));
    forge.cosigned(&[forge.note(256, &[(1, at)]), forged + &false_line]);
    assert_eq!(failed(&verify_with(&forge, Some(&policy(1, &[1])))), ["witnesses"]);
    // A policy may list the logs that it believes.
    let other = super::key(5, "osaka.example/log", super::super::notes::Role::Log).1;
    assert!(failed(&verify_with(&forge, Some(&format!("log {other}\nquorum none\n")))).contains(&"key"));
    assert!(verify_with(&forge, Some(&format!("log {}\nquorum none\n", forge.vkey))).verified);
}

#[test]
fn times_that_witnesses_contradict_are_found() {
    let wanted = policy(1, &[1]);
    // The entries say START to START + 400.
    for (late, early, expected) in [
        (START + 256, START + 400, None),
        // Seen by a witness an hour before the entries say that they were made: they are dated forward.
        (START - 3600, START - 3600, Some(255)),
        // Made an hour after they say: what follows the first checkpoint is dated back.
        (START + 3600 + 256, START + 3600 + 400, Some(256)),
    ] {
        let forge = Forge::with(200);
        forge.write();
        forge.cosigned(&[forge.note(256, &[(1, late)]), forge.note(400, &[(1, early)])]);
        let report = verify_with(&forge, Some(&wanted));
        match expected {
            None => assert!(report.verified, "{}", report.render()),
            Some(index) => {
                assert_eq!(failed(&report), ["times"], "{}", report.render());
                assert_eq!(report.findings[0].index, Some(index), "{}", report.render());
            }
        }
    }
}

#[test]
fn signatures_that_http_carried_are_checked_and_whose_keys_they_are() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::KeyPair as _;
    let (pair, _) = super::key(40, "x", super::super::notes::Role::Log);
    let public = URL_SAFE_NO_PAD.encode(pair.public_key());
    let receipt = |number: u64, base_number: u64, spoil: bool| {
        let base = format!(
            "\"@status\": 200\n\"sekisho-exchange\": {}\n\"content-digest\": sha-256=:AA==:\n\
             \"signature\";key=\"sekisho\": :AA==:\n\"@signature-params\": ()",
            id(base_number)
        );
        let signed = if spoil { format!("{base} ") } else { base.clone() };
        json!({
            "kind": "receipt", "exchange": id(number), "at": "2026-11-21T00:00:00Z", "party": "wessex.example",
            "signatures": [{ "of": "receipt", "party": "wessex.example", "key": "k", "public": public, "base": base,
                "signature": URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())) }]
        })
    };
    let verify = |entry: &serde_json::Value, jwks: Option<String>| {
        let mut forge = Forge::with(3);
        forge.entry(entry);
        forge.write();
        let mut parties = Parties::default();
        if let Some(jwks) = jwks {
            parties.add("wessex.example", jwks.as_bytes()).unwrap();
        }
        let options = Options { key: Some(&forge.vkey), parties: Some(&parties), ..Options::default() };
        verify_log(&Directory::new(&forge.path()), &options, |_, _| {}).unwrap()
    };
    let jwks = |x: &str| Some(format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#));
    let report = verify(&receipt(1, 1, false), None);
    assert!(report.verified && report.render().contains("--party wessex.example=JWKS_FILE"), "{}", report.render());
    let report = verify(&receipt(1, 1, false), jwks(&public));
    assert!(report.verified && !report.render().contains("--party"), "{}", report.render());
    assert_eq!(count(&report, "receipts"), 1);
    // A key that is out of use since is still this party's.
    let over = jwks(&public).map(|jwks| jwks.replace("\"OKP\"", "\"OKP\",\"exp\":1"));
    assert!(verify(&receipt(1, 1, false), over).verified);
    let other = URL_SAFE_NO_PAD.encode(super::key(41, "x", super::super::notes::Role::Log).0.public_key());
    assert_eq!(failed(&verify(&receipt(1, 1, false), jwks(&other))), ["receipts"]);
    assert_eq!(failed(&verify(&receipt(1, 2, false), jwks(&public))), ["receipts"]);
    assert_eq!(failed(&verify(&receipt(1, 1, true), jwks(&public))), ["receipts"]);
    assert!(Parties::default().add("p", b"{}").is_err() && Parties::default().add("p", br#"{"keys":[]}"#).is_err());
}

#[test]
fn a_log_that_changed_its_key_verifies_under_any_of_its_keys_and_under_no_other_list() {
    let mut forge = Forge::with(5);
    let old = forge.vkey.clone();
    let (pair, new) = super::key(20, super::forge::ORIGIN, super::super::notes::Role::Log);
    let at = forge.time();
    forge.entry(&json!({ "kind": "key", "at": at, "key": new, "previous": old }));
    (forge.pair, forge.vkey) = (pair, new.clone());
    (5..9).for_each(|number| forge.exchange(number));
    forge.write();
    let list = |index: u64, at: &str, next: &str| {
        json!([{ "key": old, "from_index": 0, "until_index": index, "until": at },
            { "key": next, "from_index": index, "from": at }])
    };
    let verify = |key: &str, list: serde_json::Value| {
        put(&forge.path().join("keys"), list.to_string().as_bytes());
        let options = Options { key: Some(key), ..Options::default() };
        verify_log(&Directory::new(&forge.path()), &options, |_, _| {}).unwrap()
    };
    let then = at.to_string();
    for key in [&old, &new] {
        let report = verify(key, list(11, &then, &new));
        assert!(report.verified && count(&report, "keys") == 1, "{}", report.render());
    }
    // A key that was never handed over to, a change at another place, another time: the entries say otherwise.
    let stranger = super::key(21, super::forge::ORIGIN, super::super::notes::Role::Log).1;
    assert!(failed(&verify(&old, list(11, &then, &stranger))).contains(&"keys"));
    assert!(failed(&verify(&new, list(10, &then, &new))).contains(&"keys"));
    assert_eq!(failed(&verify(&new, list(11, "2026-11-20T00:00:00Z", &new))), ["keys"]);
    assert_eq!(failed(&verify(&stranger, list(11, &then, &new)))[0], "key");
    assert!(failed(&verify(&new, json!([]))).contains(&"key"));
    // Without the list, the new key answers for its own entries alone.
    fs::remove_file(forge.path().join("keys")).unwrap();
    let options = Options { key: Some(&new), ..Options::default() };
    let report = verify_log(&Directory::new(&forge.path()), &options, |_, _| {}).unwrap();
    assert!(failed(&report).contains(&"signatures"), "{}", report.render());
}

#[test]
fn without_signatures_the_report_says_so() {
    let mut forge = Forge::with(3);
    let last = forge.entries.last_mut().unwrap();
    let end = last.len() - 3;
    last[end] ^= 1;
    forge.write();
    assert_eq!(failed(&verify(&forge)), ["signatures", "pairing"]);
    let options = Options { key: Some(&forge.vkey), signatures: false, ..Options::default() };
    let report = verify_log(&Directory::new(&forge.path()), &options, |_, _| {}).unwrap();
    assert!(report.verified && report.render().contains("the signatures of entries"), "{}", report.render());
}

/// Every file of a log with at least this in its path, and its bytes.
fn files(forge: &Forge) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![forge.path()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Any byte of any file, changed in any way, is found. Alone the time at which the log says that it wrote a line of
    /// `cosigned/` is signed by nobody, and is not touched here.
    #[test]
    fn a_byte_changed_in_any_file_is_found(
        file in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), flip in 1_u8..=255,
    ) {
        let forge = Forge::with(140);
        forge.write();
        forge.cosigned(&[forge.note(256, &[(1, START + 256)]), forge.note(280, &[(1, START + 280)])]);
        let wanted = policy(1, &[1]);
        let all = files(&forge);
        let path = &all[file.index(all.len())];
        let mut bytes = fs::read(path).unwrap();
        let mut place = place.index(bytes.len());
        let time = bytes.windows(7).position(|window| window == b"\",\"note").filter(|_| path.ends_with("2026-11-21.jsonl"));
        if time.is_some_and(|end| place < end) || bytes.get(place..place + 6) == Some(b"{\"at\":") {
            place = bytes.len() - 1;
        }
        // The second line's time begins behind the first line's end.
        let line = bytes[..place].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if path.ends_with("2026-11-21.jsonl") && place < line + 32 {
            place = bytes.len() - 2;
        }
        bytes[place] ^= flip;
        fs::write(path, &bytes).unwrap();
        let policy = Policy::parse(wanted.as_bytes()).unwrap();
        let options = Options { policy: Some(&policy), threads: 1, ..Options::default() };
        let passes = verify_log(&Directory::new(&forge.path()), &options, |_, _| {}).is_ok_and(|report| {
            report.verified && !report.render().contains("dropped behind") && count(&report, "cosigned") == 2
                && count(&report, "witnesses") == 2
        });
        prop_assert!(!passes, "{} changed at {} by {:#x} passes", path.display(), place, flip);
    }

    /// No noise in any file makes it panic.
    #[test]
    fn noise_in_any_file_is_judged(
        file in any::<prop::sample::Index>(), noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let forge = Forge::with(2);
        forge.write();
        forge.cosigned(&[forge.note(4, &[])]);
        let all = files(&forge);
        fs::write(&all[file.index(all.len())], noise).unwrap();
        let _ = verify_log(&Directory::new(&forge.path()), &Options::default(), |_, _| {});
    }
}
