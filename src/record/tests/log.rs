//! Writing and reading a log that nobody harms.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::*;
use crate::record::note::{Checkpoint, Note, VerifierKey};
use crate::types::{Digest, Obligation, Salt};

#[tokio::test]
async fn what_is_written_is_read_and_verifies() {
    let world = World::new();
    let log = world.open().unwrap();
    let exchange = ExchangeId::new(NOW);
    let (party, dataset) = ("kansai.example".parse().unwrap(), "usgs-earthquakes".parse().unwrap());
    let (tags, purpose) = (["privacy:none".parse().unwrap()], "dpv:Marketing".parse().unwrap());
    let demanded: [Obligation; 1] =
        [serde_json::from_value(json!({"rule": "R1", "do": "redact", "fields": ["a"]})).unwrap()];
    let commitment = Salt::fresh().unwrap().commit("person:ada");
    let entry = DecisionEntry {
        provider: Some(&party),
        dataset: Some(&dataset),
        tags: &tags,
        purpose: Some(&purpose),
        pass: Some(PassRef { digest: Digest::of(b"pass"), jti: Some("1"), subject: Some(commitment) }),
        policy: Some(PolicyRef { id: "dfft", revision: "1", digest: Digest::of(b"policy") }),
        reasons: vec![Reason { rule: "R1", why: "because", remedy: None, approvers: &[], policy: None }],
        obligations: &demanded,
        request: Some(RequestLine { method: "GET", path: "/data/usgs-earthquakes/" }),
        signatures: &[],
        ..decision(exchange, Verdict::Permit)
    };
    assert_eq!(log.append(log.seal(&entry).unwrap()).await.unwrap(), EntryIndex(0));
    let carried = Carried { action: "redact", rule: "R1", how: None, fields: vec!["a"], count: 3 };
    let end = OutcomeEntry { obligations_carried: vec![carried], bytes_out: Some(7), ..outcome(exchange) };
    let pending = log.append_soon(log.seal(&end).unwrap()).unwrap();
    assert_eq!(pending.durable().await.unwrap(), EntryIndex(1));
    assert_eq!((log.size(), log.health()), (2, Health::Accepting));
    log.close().await.unwrap();

    let read: Vec<_> = Entries::open(&world.directory()).unwrap().map(Result::unwrap).collect();
    let header = json!({"alg": "EdDSA", "kid": world.signer.kid(), "typ": "sekisho-record+jws"});
    assert!(read.iter().all(|entry| entry.header == header));
    assert_eq!(
        read[0].payload,
        json!({
            "kind": "decision", "exchange": exchange.to_string(), "at": "2026-11-21T00:00:00Z",
            "provider": "kansai.example", "direction": "export", "dataset": "usgs-earthquakes",
            "tags": ["privacy:none"], "purpose": "dpv:Marketing", "action": "transfer",
            "pass": {"digest": Digest::of(b"pass").to_string(), "jti": "1", "subject": commitment.to_string()},
            "policy": {"id": "dfft", "revision": "1", "digest": Digest::of(b"policy").to_string()},
            "decision": "permit", "reasons": [{"rule": "R1", "why": "because"}],
            "obligations": [{"rule": "R1", "do": "redact", "fields": ["a"]}],
            "request": {"method": "GET", "path": "/data/usgs-earthquakes/"},
        })
    );
    assert_eq!(
        read[1].payload,
        json!({
            "kind": "outcome", "exchange": exchange.to_string(), "at": "2026-11-21T00:00:00Z", "status": 200,
            "ended": "complete", "bytes_out": 7,
            "obligations_carried": [{"do": "redact", "rule": "R1", "fields": ["a"], "count": 3}],
        })
    );
    let line = show_line(&read[0]);
    for word in ["decision permit", "kansai.example -> -", "usgs-earthquakes", "R1"] {
        assert!(line.contains(word), "{word} is not in {line}");
    }
    assert!(show_line(&read[1]).contains("outcome complete"), "{}", show_line(&read[1]));

    let report = world.verify();
    assert!(report.verified, "{}", report.render());
    assert_eq!((report.entries, report.checkpointed), (2, 2));
    assert!(report.render().ends_with("VERIFIED\n") && !report.render().contains("NOT VERIFIED"));
    assert_eq!(serde_json::to_value(&report).unwrap()["verified"], Value::Bool(true));
}

#[tokio::test]
async fn many_appenders_get_every_index_once() {
    let world = World::new();
    let log = world.open().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..128 {
        let log = log.clone();
        tasks.spawn(async move {
            let mut indices = Vec::new();
            for _ in 0..8 {
                let exchange = ExchangeId::new(NOW);
                indices.push(log.append(log.seal(&decision(exchange, Verdict::Permit)).unwrap()).await.unwrap().0);
                let outcome = log.append_soon(log.seal(&outcome(exchange)).unwrap()).unwrap();
                indices.push(outcome.durable().await.unwrap().0);
            }
            indices
        });
    }
    let mut indices: Vec<u64> = tasks.join_all().await.concat();
    indices.sort_unstable();
    assert!(indices.iter().copied().eq(0..2048), "indices are not contiguous");
    log.close().await.unwrap();
    let report = world.verify();
    assert!(report.verified, "{}", report.render());
    assert_eq!(report.entries, 2048);
}

#[tokio::test]
async fn an_entry_nobody_waits_for_rides_with_one_that_somebody_does() {
    let world = World::new();
    let log = open(world.never_alone(), &world.signer).unwrap();
    let exchange = ExchangeId::new(NOW);
    let soon = log.append_soon(log.seal(&decision(exchange, Verdict::Permit)).unwrap()).unwrap();
    assert_eq!(log.append(log.seal(&outcome(exchange)).unwrap()).await.unwrap(), EntryIndex(1));
    assert_eq!(soon.durable().await.unwrap(), EntryIndex(0));
}

#[tokio::test]
async fn entries_nobody_waits_for_are_bounded_too() {
    let world = World::new();
    let log = open(world.never_alone(), &world.signer).unwrap();
    let sealed = log.seal(&decision(ExchangeId::new(NOW), Verdict::Deny)).unwrap();
    let mut queued = 0;
    let full = loop {
        match log.append_soon(sealed.clone()) {
            Ok(_) => queued += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((full.code(), queued), ("record_busy", 4096));
    // Who waits is not turned away, and brings everything before it along.
    assert_eq!(log.append(sealed.clone()).await.unwrap(), EntryIndex(4096));
    assert_eq!(log.append_soon(sealed).map(drop).map_err(|error| error.code()), Ok(()));
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_takes_nothing_more() {
    let world = World::new();
    let log = open(world.never_alone(), &world.signer).unwrap();
    let exchange = ExchangeId::new(NOW);
    let first = log.append_soon(log.seal(&decision(exchange, Verdict::Permit)).unwrap()).unwrap();
    let second = log.append_soon(log.seal(&outcome(exchange)).unwrap()).unwrap();
    log.close().await.unwrap();
    log.close().await.unwrap();
    assert_eq!((first.durable().await.unwrap().0, second.durable().await.unwrap().0), (0, 1));
    assert_eq!(log.health(), Health::Closed);
    let late = log.seal(&outcome(exchange)).unwrap();
    assert_eq!(log.append(late.clone()).await.unwrap_err().code(), "record_unavailable");
    assert_eq!(log.append_soon(late).unwrap_err().code(), "record_unavailable");
    assert_eq!(world.verify().checkpointed, 2);
}

#[tokio::test]
async fn a_checkpoint_follows_by_itself() {
    let world = World::new();
    let config = LogConfig { checkpoint_every: Duration::ZERO, ..world.config() };
    let log = open(config, &world.signer).unwrap();
    fill(&log, 2).await;
    log.published().wait_for(|published| published.size == 4).await.unwrap();
    assert_eq!(world.verify().checkpointed, 4);
    log.close().await.unwrap();
}

#[tokio::test]
async fn an_oversized_entry_is_refused_and_the_largest_is_taken() {
    let world = World::new();
    let log = world.open().unwrap();
    let exchange = ExchangeId::new(NOW);
    let sized = |length: usize| {
        let path = "p".repeat(length);
        let request = Some(RequestLine { method: "GET", path: &path });
        log.seal(&DecisionEntry { request, ..decision(exchange, Verdict::Deny) })
    };
    let mut length = 48_000;
    while sized(length + 1).is_ok() {
        length += 1;
    }
    let Err(RecordError::EntryTooLarge { size }) = sized(length + 1) else { panic!("not refused as too large") };
    assert!(size > MAX_ENTRY && RecordError::EntryTooLarge { size }.code() == "entry_too_large");
    let largest = sized(length).unwrap();
    assert!(largest.as_bytes().len() >= MAX_ENTRY - 1, "{} bytes", largest.as_bytes().len());
    log.append(largest).await.unwrap();
    log.close().await.unwrap();
    assert!(world.verify().verified);
}

#[tokio::test]
async fn one_writer_at_a_time_and_only_of_the_same_log() {
    let world = World::new();
    let log = world.open().unwrap();
    assert_eq!(world.open().err().unwrap().code(), "log_locked");
    log.close().await.unwrap();
    assert_eq!(open(world.config(), &signer()).err().unwrap().code(), "log_foreign");
    let renamed = LogConfig { origin: "tohoku.example/log".into(), ..world.config() };
    assert_eq!(open(renamed, &world.signer).err().unwrap().code(), "log_foreign");
    let unnamed = LogConfig { origin: "a b".into(), ..world.config() };
    assert_eq!(open(unnamed, &world.signer).err().unwrap().code(), "log_origin_invalid");
    world.open().unwrap().close().await.unwrap();
}

#[tokio::test]
async fn only_the_owner_may_read_it() {
    let world = closed(1).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.directory()), 0o700);
    for name in [WAL, CHECKPOINT, KEY] {
        assert_eq!(mode(&world.directory().join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn the_checkpoint_is_what_another_implementation_computes() {
    let world = closed(3).await;
    let text = std::fs::read_to_string(world.directory().join(CHECKPOINT)).unwrap();
    let vkey = std::fs::read_to_string(world.directory().join(KEY)).unwrap();
    let ring256 = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap();
    let key = VerifierKey::parse(vkey.trim_end(), ring256).unwrap();
    let note = Note::parse(&text).unwrap();
    let signature = note.signature_by(&key).unwrap();
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.public)
        .verify(note.text.as_bytes(), &signature.signature)
        .unwrap();
    let leaves = entries(&world.wal()).into_iter().map(|entry| ring256(&[b"\0", &entry[..]].concat()));
    let mut level: Vec<[u8; 32]> = leaves.collect();
    // Pairing neighbours level by level gives RFC 6962's tree: an odd one out moves up as it is.
    while level.len() > 1 {
        let join = |pair: &[[u8; 32]]| match pair {
            [left, right] => ring256(&[b"\x01", &left[..], &right[..]].concat()),
            alone => alone[0],
        };
        level = level.chunks(2).map(join).collect();
    }
    assert_eq!(Checkpoint::parse(note.text).unwrap(), Checkpoint { origin: ORIGIN.into(), size: 6, root: level[0] });
}

#[test]
fn an_entry_verifies_as_any_jws() {
    let signer = signer();
    let sealed = signer.seal(&outcome(ExchangeId::new(NOW))).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    let jws = std::str::from_utf8(sealed.as_bytes()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_ed_der(signer.public_key());
    let token = jsonwebtoken::decode::<Value>(jws, &key, &rules).unwrap();
    assert_eq!(token.claims["kind"], "outcome");
    assert_eq!(token.header.kid.as_deref(), Some(signer.kid()));
    let other = super::signer();
    let key = jsonwebtoken::DecodingKey::from_ed_der(other.public_key());
    assert!(jsonwebtoken::decode::<Value>(jws, &key, &rules).is_err());
}

#[tokio::test]
async fn what_is_published_is_what_lies_in_the_directory() {
    let world = World::new();
    let config = LogConfig { checkpoint_every: Duration::from_millis(1), ..world.config() };
    let log = open(config, &world.signer).unwrap();
    let mut published = log.published();
    assert_eq!(published.borrow_and_update().size, 0);
    fill(&log, 3).await;
    let latest = published.wait_for(|published| published.size == 6).await.unwrap().clone();
    assert_eq!(std::fs::read_to_string(world.directory().join(CHECKPOINT)).unwrap(), latest.note);
    let note = Note::parse(&latest.note).unwrap();
    assert_eq!(Checkpoint::parse(note.text).unwrap(), Checkpoint { origin: ORIGIN.into(), size: 6, root: latest.root });
    log.close().await.unwrap();
    assert_eq!(world.open().unwrap().published().borrow().size, 6);
}

#[tokio::test]
async fn a_log_that_is_failed_takes_and_writes_nothing_more() {
    let world = World::new();
    let log = open(world.never_alone(), &world.signer).unwrap();
    fill(&log, 1).await;
    let queued = log.append_soon(log.seal(&outcome(ExchangeId::new(NOW))).unwrap()).unwrap();
    let (wal, checkpoint) = (world.written(), std::fs::read(world.directory().join(CHECKPOINT)).unwrap());
    log.fail(&RecordError::RolledBack { checkpoint: 9, entries: 2 });
    assert_eq!(queued.durable().await.unwrap_err().code(), "record_unavailable");
    assert!(matches!(log.health(), Health::Failed(why) if why.contains("rolled back")));
    let late = log.seal(&outcome(ExchangeId::new(NOW))).unwrap();
    assert_eq!(log.append(late).await.unwrap_err().code(), "record_unavailable");
    assert_eq!(log.close().await.unwrap_err().code(), "record_unavailable");
    assert_eq!((world.written(), std::fs::read(world.directory().join(CHECKPOINT)).unwrap()), (wal, checkpoint));
}
