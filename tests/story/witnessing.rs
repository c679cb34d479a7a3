//! What a gateway serves of its log, and what it answers to checkpoints that come to be cosigned.

use std::time::Duration;

use http::{Method, Request};
use sekisho::record::witness::submission;
use sekisho::record::{FileKey, SigningKey as _};
use serde_json::json;

use crate::world::{Demands, Organisation, Pair, Peer, Reply, Side, get, until, whole};

const ALONE: Demands = Demands { quorum: 0, overdue: Duration::ZERO, log_entries: false };
const AUDITED: Demands = Demands { log_entries: true, ..ALONE };

/// A checkpoint of any size and root, as the holder of the key can make it.
fn forged(key: &FileKey, origin: &str, size: u64, root: [u8; 32]) -> String {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let text = format!("{origin}\n{size}\n{}\n", encode(&root));
    let id = ring::digest::digest(&ring::digest::SHA256, &[origin.as_bytes(), b"\n\x01", key.public_key()].concat());
    let signature = key.sign(text.as_bytes()).unwrap();
    format!("{text}\n\u{2014} {origin} {}\n", encode(&[&id.as_ref()[..4], &signature].concat()))
}

async fn add(peer: &Peer, body: &str) -> Reply {
    peer.post("/log/add-checkpoint", body).await
}

async fn read(peer: &Peer, path: &str) -> Reply {
    peer.send(get(path, "")).await.unwrap()
}

/// Kansai with some entries, all under its checkpoint.
async fn with_entries(pair: &Pair, demands: Demands) -> Organisation {
    let kansai = pair.start(Side::Kansai, demands).await.unwrap();
    kansai.upstream.offer("/usgs-earthquakes/week.json", "application/json", "{}");
    let wessex = pair.peer(&kansai);
    for _ in 0..3 {
        let pass = wessex.pass("dfft:DisasterResponse").sign();
        assert_eq!(wessex.get("/data/usgs-earthquakes/week.json", &pass).await.status, 200);
    }
    kansai.recorded(6).await;
    until("a checkpoint", || kansai.gateway().log().published().borrow().size == 6).await;
    kansai
}

#[tokio::test]
async fn a_fork_is_refused_kept_and_listed() {
    let pair = Pair::new();
    let kansai = pair.start(Side::Kansai, ALONE).await.unwrap();
    let (wessex, signer, origin) = (pair.peer(&kansai), pair.file_key(Side::Wessex), Pair::origin(Side::Wessex));
    let one = forged(&signer, &origin, 7, [1; 32]);
    let other = forged(&signer, &origin, 7, [2; 32]);
    let signed = add(&wessex, &submission(0, &[], &one)).await;
    assert_eq!(signed.status, 200, "{:?}", signed.body);
    assert!(signed.text().starts_with("\u{2014} kansai.example/witness "), "{}", signed.text());
    let refused = add(&wessex, &submission(7, &[], &other)).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "witness_inconsistent"));
    let listed = pair.operator(&kansai).call(Method::GET, "/api/witnesses", &json!({})).await.json();
    let evidence = &listed["witnessing"]["evidence"][0];
    assert_eq!((evidence["finding"].as_str(), evidence["origin"].as_str()), (Some("fork"), Some(origin.as_str())));
    assert_eq!(evidence["offered"], other);
    assert!(evidence["held"].as_str().unwrap().starts_with(&one));
    let files = std::fs::read_dir(pair.place(Side::Kansai).join("state/witness/evidence")).unwrap();
    assert_eq!(files.count(), 1);
    let book = kansai.close().await;
    assert_eq!(book.len(), 0, "witnessing is no exchange");
}

#[tokio::test]
async fn the_witness_answers_as_its_protocol_says() {
    let pair = Pair::new();
    let kansai = pair.start(Side::Kansai, ALONE).await.unwrap();
    let (wessex, signer, origin) = (pair.peer(&kansai), pair.file_key(Side::Wessex), Pair::origin(Side::Wessex));
    let good = forged(&signer, &origin, 7, [1; 32]);
    let stranger = pair.file_key(Side::Kansai);
    for (body, status, code) in [
        (String::new(), 400, "witness_request_malformed"),
        ("old 0\n".to_owned(), 400, "witness_request_malformed"),
        (submission(8, &[], &good), 400, "witness_request_malformed"),
        (submission(0, &[[0; 32]; 64], &good), 400, "witness_request_malformed"),
        ("x".repeat(129 * 1024), 400, "witness_request_malformed"),
        (submission(0, &[], &forged(&signer, "who.example/log", 7, [1; 32])), 404, "witness_origin_unknown"),
        (submission(0, &[], &forged(&stranger, &origin, 7, [1; 32])), 403, "witness_signature_invalid"),
        (submission(0, &[[0; 32]], &good), 422, "witness_inconsistent"),
        (submission(0, &[], &forged(&signer, &origin, 0, [1; 32])), 422, "witness_inconsistent"),
    ] {
        let reply = add(&wessex, &body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code));
    }
    let hash = crate::world::sha256(origin.as_bytes());
    let monitored = format!("/log/witness/{}/checkpoint", hash.strip_prefix("sha256:").unwrap());
    assert_eq!(read(&wessex, &monitored).await.status, 404, "nothing was cosigned yet");
    assert_eq!(add(&wessex, &submission(0, &[], &good)).await.status, 200);
    assert!(read(&wessex, &monitored).await.text().starts_with(&good));
    let other_size = add(&wessex, &submission(0, &[], &good)).await;
    assert_eq!(other_size.status, 409);
    assert_eq!(other_size.header("content-type"), Some("text/x.tlog.size"));
    assert_eq!(other_size.text(), "7\n");
    assert_eq!(add(&wessex, &submission(7, &[], &good)).await.status, 200, "once more is no harm");
    let about = read(&wessex, "/.well-known/sekisho").await.json();
    assert_eq!(about["witness"]["name"], "kansai.example/witness");
    assert_eq!(about["witness"]["key"], pair.witness_key(Side::Kansai).to_string());
    assert_eq!(about["log"]["prefix"], "/log");
    for method in [Method::PUT, Method::DELETE, Method::HEAD] {
        let request = Request::builder().method(method).uri("/log/checkpoint").body(whole("")).unwrap();
        assert_eq!(wessex.send(request).await.unwrap().status, 405);
    }
    kansai.close().await;
}

#[tokio::test]
async fn who_is_suspended_reads_nothing_and_has_nothing_cosigned() {
    let pair = Pair::new();
    let kansai = pair.start(Side::Kansai, AUDITED).await.unwrap();
    let wessex = pair.peer(&kansai);
    assert_eq!(read(&wessex, "/log/checkpoint").await.status, 200);
    let operator = pair.operator(&kansai);
    let suspended = operator.call(Method::POST, "/api/partners/wessex.example/suspend", &json!({})).await;
    assert_eq!(suspended.status, 200);
    let note = forged(&pair.file_key(Side::Wessex), &Pair::origin(Side::Wessex), 7, [1; 32]);
    for refused in [read(&wessex, "/log/checkpoint").await, add(&wessex, &submission(0, &[], &note)).await] {
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "partner_suspended"));
    }
    assert_eq!(read(&operator, "/log/checkpoint").await.status, 200, "our own people go on reading");
    let logs = operator.call(Method::GET, "/api/witnesses", &json!({})).await.json();
    assert_eq!(logs["witnessing"]["logs"][0]["size"], json!(null));
    kansai.close().await;
}

#[tokio::test]
async fn hashes_go_to_partners_and_entries_to_those_who_audit() {
    let pair = Pair::new();
    let kansai = with_entries(&pair, ALONE).await;
    let (wessex, operator) = (pair.peer(&kansai), pair.operator(&kansai));
    let hashes = read(&wessex, "/log/tile/0/000.p/6").await;
    assert_eq!((hashes.status.as_u16(), hashes.body.len()), (200, 6 * 32));
    assert_eq!(hashes.header("content-type"), Some("application/octet-stream"));
    let keys = read(&wessex, "/log/keys").await.json();
    assert_eq!(keys[0]["key"], pair.log_key(Side::Kansai).to_string());
    let narrower = read(&wessex, "/log/tile/0/000.p/2").await;
    assert_eq!(narrower.body, hashes.body.slice(..2 * 32), "cut from the wider one");
    let private = read(&wessex, "/log/tile/entries/000.p/6").await;
    assert_eq!((private.status.as_u16(), private.code().as_str()), (403, "log_entries_private"));
    let entries = read(&operator, "/log/tile/entries/000.p/6").await;
    assert_eq!(entries.status, 200);
    let leaf = crate::world::sha256(
        &[&[0], &entries.body[2..2 + usize::from(u16::from_be_bytes([entries.body[0], entries.body[1]]))]].concat(),
    );
    let first: String = hashes.body[..32].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(leaf, format!("sha256:{first}"), "the entries are those that the hashes are of");
    kansai.close().await;

    let kansai = pair.start(Side::Kansai, AUDITED).await.unwrap();
    assert_eq!(read(&pair.peer(&kansai), "/log/tile/entries/000.p/6").await.body, entries.body);
    kansai.close().await;
}

#[tokio::test]
async fn no_path_leads_out_of_what_is_shown() {
    let pair = Pair::new();
    let kansai = with_entries(&pair, AUDITED).await;
    let day = pair.log(Side::Kansai).join("cosigned/2026-11-21.jsonl");
    std::fs::write(&day, "{}\n{\"torn\"").unwrap();
    for peer in [pair.peer(&kansai), pair.operator(&kansai)] {
        for path in [
            "/log/wal",
            "/log/lock",
            "/log/",
            "/log/checkpoint/",
            "/log//checkpoint",
            "/log/../log/checkpoint",
            "/log/tile/../wal",
            "/log/tile/0/../../wal",
            "/log/tile/0/..%2f..%2fwal",
            "/log/tile/0/%2e%2e/wal",
            "/log/tile/0/000.p/0",
            "/log/tile/0/000.p/256",
            "/log/tile/0/000.p/7",
            "/log/tile/0/x000/000.p/6",
            "/log/tile/00/000.p/6",
            "/log/tile/64/000",
            "/log/tile/0/000",
            "/log/tile/entries/../../wal",
            "/log/tile/entries/999",
            "/log/cosigned/../wal",
            "/log/cosigned/..%2fwal",
            "/log/cosigned/2026-11-21",
            "/log/cosigned/2026-11-99.jsonl",
            "/log/timestamps/../wal",
            "/log/timestamps/.hidden",
            "/log/witness/../checkpoint",
            "/log/witness//checkpoint",
            "/log/witness/0000/checkpoint",
        ] {
            assert_eq!(read(&peer, path).await.status, 404, "{path}");
        }
        let lines = read(&peer, "/log/cosigned/2026-11-21.jsonl").await;
        assert_eq!((lines.status.as_u16(), lines.text()), (200, "{}\n"), "as far as the last whole line");
    }
    std::fs::remove_file(day).unwrap();
    kansai.close().await;
}
