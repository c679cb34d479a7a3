//! What the accounts keep, what they forget, and what they read back.

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_795_251_600);

fn parties() -> (PartyId, PartyId) {
    ("kansai.example".parse().unwrap(), "wessex.example".parse().unwrap())
}

fn sent_at(at: Timestamp) -> Sent {
    let digest = Digested { field: "sha-256=:AAAA:".to_owned(), trailer: true };
    Sent { at, status: StatusCode::OK, digest, member: ":AAAA:".to_owned() }
}

fn owe(receipts: &Receipts, partner: &PartyId, seconds: u64) -> ExchangeId {
    let at = NOW.plus(Duration::from_secs(seconds));
    let exchange = ExchangeId::new(at);
    receipts.follow(Then::Owe(partner.clone(), exchange, sent_at(at)));
    exchange
}

#[test]
fn what_is_kept_is_bounded_and_the_oldest_goes() {
    let (_, wessex) = parties();
    let receipts = Receipts::new([&wessex].into_iter());
    let exchanges: Vec<ExchangeId> = (0..KEPT as u64 + 5).map(|second| owe(&receipts, &wessex, second)).collect();
    assert_eq!(receipts.owed(&wessex), KEPT);
    assert!(matches!(receipts.standing(&wessex, &exchanges[4]), Standing::Unknown));
    assert!(matches!(receipts.standing(&wessex, &exchanges[5]), Standing::Owed(_)));
    for exchange in &exchanges {
        let (signature_input, signature) = (String::new(), String::new());
        let receipt = Receipt { exchange: *exchange, signature_input, signature };
        receipts.follow(Then::Post(wessex.clone(), receipt));
    }
    assert_eq!(receipts.unposted(&wessex, usize::MAX).len(), KEPT);
    assert_eq!(receipts.unposted(&wessex, 1)[0].exchange, exchanges[5]);
    receipts.posted(&wessex, &exchanges[..105]);
    assert_eq!(receipts.unposted(&wessex, 1)[0].exchange, exchanges[105]);
}

#[test]
fn a_receipt_is_owed_after_a_minute_and_by_the_oldest_first() {
    let (kansai, wessex) = parties();
    let receipts = Receipts::new([&wessex].into_iter());
    let at = |seconds| NOW.plus(Duration::from_secs(seconds));
    let first = owe(&receipts, &wessex, 0);
    owe(&receipts, &wessex, 30);
    assert!(!receipts.is_past(&wessex, 1, at(89)), "the second has time until it is a minute old");
    assert!(receipts.is_past(&wessex, 1, at(90)));
    assert!(!receipts.is_past(&wessex, 2, at(10_000)));
    assert!(!receipts.is_past(&wessex, 0, at(10_000)), "any number may be owed");
    assert!(!receipts.is_past(&kansai, 1, at(10_000)), "who has no account owes nothing");
    receipts.received(&wessex, first);
    assert!(!receipts.is_past(&wessex, 1, at(10_000)));
    // What came is not owed again, whatever is told of it later.
    receipts.follow(Then::Owe(wessex.clone(), first, sent_at(NOW)));
    assert_eq!(receipts.owed(&wessex), 1);
    assert!(matches!(receipts.standing(&wessex, &first), Standing::Known));
}

#[test]
fn accounts_are_read_back_from_entries_and_nothing_else_is() {
    let (kansai, wessex) = parties();
    let receipts = Receipts::new([&wessex].into_iter());
    let mut recall = Recall::default();
    let signature = "AA".repeat(43);
    let answer = json!({
        "of": "answer", "party": "kansai.example", "signature": signature,
        "base": "\"@status\": 206\n\"content-digest\";tr: sha-256=:AA==:\n\"@signature-params\": ()",
    });
    let mut take = |entry: Value| recall.take(&kansai, &receipts, &entry);
    let id = |seconds: u64| ExchangeId::new(NOW.plus(Duration::from_secs(seconds)));
    let (owed, unsigned, broken) = (id(1), id(2), id(3));
    for (exchange, signatures, ended) in [
        (owed, json!([{ "of": "request" }]), "complete"),
        (unsigned, json!([]), "complete"),
        (broken, json!([{ "of": "request" }]), "broken"),
    ] {
        take(json!({
            "kind": "decision", "decision": "permit", "direction": "export", "exchange": exchange,
            "provider": "kansai.example", "consumer": "wessex.example", "signatures": signatures,
        }));
        take(json!({ "kind": "outcome", "exchange": exchange, "at": NOW, "ended": ended, "signatures": [answer] }));
    }
    for odd in [json!(null), json!({ "kind": "outcome" }), json!({ "kind": "receipt", "exchange": 7 })] {
        take(odd);
    }
    assert_eq!(receipts.owed(&wessex), 1);
    let Standing::Owed(sent) = receipts.standing(&wessex, &owed) else { panic!("it is not owed") };
    assert_eq!((sent.at, sent.status.as_u16(), sent.digest.trailer), (NOW, 206, true));
    assert_eq!(sent.digest.field, "sha-256=:AA==:");
    take(json!({ "kind": "receipt", "exchange": owed, "party": "wessex.example" }));
    assert_eq!(receipts.owed(&wessex), 0);
}
