//! A partner's gateway that signs wrongly, or not at all: nothing of it passes for whole.

use sekisho::authenticate::{PartnerEntry, Signatures};

use crate::world::{
    Asked, Connection, Hand, Impostor, Organisation, Reply, START, World, content_digest, identity, whole,
};

const PATH: &str = "/partners/kansai.example/data/usgs-earthquakes/all.geojson";
const NOW: u64 = START.seconds();
const BODY: &str = "{\"a\":1}";

/// What of an answer is wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    Unsigned,
    Key,
    Body,
    Status,
    Exchange,
    Request,
    Stale,
    Extra,
    NoTrailers,
    NoSignature,
    NoDigest,
}

/// An answer as a gateway makes it, but for one fault; in trailers or in the head.
fn answer(hand: &Hand, other: &Hand, asked: &Asked, trailers: bool, fault: Fault) -> Vec<u8> {
    let exchange = asked.header("sekisho-exchange").to_owned();
    let requested = asked.header("signature").strip_prefix("sekisho=").unwrap().to_owned();
    let digest = content_digest(if fault == Fault::Body { b"another" } else { BODY.as_bytes() });
    let identifier = if trailers { "\"content-digest\";tr" } else { "\"content-digest\"" };
    let mut components = vec![
        ("\"@status\"", if fault == Fault::Status { "206" } else { "200" }),
        ("\"sekisho-exchange\"", if fault == Fault::Exchange { "01KAAAAAAAAAAAAAAAAAAAAAAA" } else { &exchange }),
        ("\"content-type\"", "application/json"),
        (identifier, &digest),
        ("\"signature\";req;key=\"sekisho\"", if fault == Fault::Request { ":AAAA:" } else { &requested }),
    ];
    if fault == Fault::Extra {
        components.push(("\"date\"", "now"));
    }
    let hand = if fault == Fault::Key { other } else { hand };
    let created = if fault == Fault::Stale { NOW - 700 } else { NOW };
    let fields = hand.sign(&components, "sekisho-answer", created);
    let mut signing = format!("signature-input: {}\r\nsignature: {}\r\n", fields.input, fields.signature);
    if fault == Fault::NoSignature {
        signing.clear();
    }
    if fault != Fault::NoDigest {
        signing.push_str(&format!("content-digest: {digest}\r\n"));
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nsekisho-exchange: {exchange}\r\n");
    let (first, rest) = BODY.split_at(3);
    let text = match (fault, trailers) {
        (Fault::Unsigned, _) => format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len()),
        (_, false) => format!("{head}{signing}content-length: {}\r\n\r\n{BODY}", BODY.len()),
        (_, true) => {
            let signing = if fault == Fault::NoTrailers { "" } else { &signing };
            let head =
                format!("{head}trailer: content-digest, signature-input, signature\r\ntransfer-encoding: chunked");
            format!("{head}\r\n\r\n3\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n{signing}\r\n", rest.len())
        }
    };
    text.into_bytes()
}

async fn fetch(wessex: &Organisation) -> Result<Reply, crate::world::Failure> {
    let mut connection = Connection::plain(wessex.addresses().local.unwrap()).await?;
    let request = http::Request::builder().uri(PATH).header("sekisho-purpose", "dfft:DisasterResponse");
    connection.send(request.body(whole("")).unwrap()).await
}

/// Lets Wessex fetch an answer with this fault, and gives what its application got and what its log says.
async fn told(trailers: bool, fault: Fault, vet: fn(&mut PartnerEntry)) -> (Option<Reply>, serde_json::Value) {
    let (kansai, stranger) = (identity("kansai.example"), identity("rhein.example"));
    let (hand, other) = (Hand::of(&kansai), Hand::of(&stranger));
    let impostor = Impostor::start(&kansai, move |asked| {
        if asked.line().starts_with("POST /receipts") {
            return b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n".to_vec();
        }
        answer(&hand, &other, asked, trailers, fault)
    });
    let impostor = impostor.await;
    let (wessex, _directory) = World::alone(&kansai, impostor.address, vet).await;
    let reply = fetch(&wessex).await.ok();
    let told = wessex.close().await.all();
    assert_eq!(told.len(), 1);
    (reply, told[0].outcome.clone())
}

#[tokio::test]
async fn an_answer_as_it_should_be_is_taken() {
    for trailers in [false, true] {
        let (reply, outcome) = told(trailers, Fault::Nothing, |_| ()).await;
        assert_eq!(reply.unwrap().text(), BODY);
        assert_eq!(outcome["ended"], "complete");
        assert_eq!(outcome["signatures"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn an_unsigned_answer_is_taken_only_where_nobody_asks_for_a_signature() {
    let (reply, outcome) = told(false, Fault::Unsigned, |_| ()).await;
    let reply = reply.unwrap();
    assert_eq!((reply.code().as_str(), reply.status.as_u16()), ("answer_unsigned", 502));
    assert_eq!((&outcome["ended"], &outcome["code"]), (&"refused".into(), &"answer_unsigned".into()));
    let (reply, outcome) = told(false, Fault::Unsigned, |entry| entry.signatures = Signatures::None).await;
    assert_eq!(reply.unwrap().text(), BODY);
    assert_eq!(outcome.get("signatures"), None);
}

#[tokio::test]
async fn a_wrong_signature_in_the_head_lets_nothing_on() {
    for (fault, code) in [
        (Fault::Key, "answer_signature_invalid"),
        (Fault::Status, "answer_signature_invalid"),
        (Fault::Exchange, "answer_signature_invalid"),
        (Fault::Request, "answer_signature_invalid"),
        (Fault::Extra, "answer_signature_invalid"),
        (Fault::NoDigest, "answer_signature_invalid"),
        (Fault::NoSignature, "answer_unsigned"),
        (Fault::Stale, "answer_signature_stale"),
        (Fault::Body, "answer_digest_mismatch"),
    ] {
        // What a partner signs is looked at even where it need not sign.
        let vet = |entry: &mut PartnerEntry| entry.signatures = Signatures::None;
        let vet = if code == "answer_unsigned" { |_: &mut PartnerEntry| () } else { vet };
        let (reply, outcome) = told(false, fault, vet).await;
        let reply = reply.unwrap();
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, 502));
        assert_eq!((&outcome["ended"], &outcome["code"]), (&"refused".into(), &code.into()));
        assert_eq!(outcome.get("signatures"), None, "no receipt for what does not hold");
    }
}

#[tokio::test]
async fn what_the_trailers_do_not_prove_is_cut_off() {
    for (fault, code) in [
        (Fault::NoTrailers, "answer_unsigned"),
        (Fault::NoSignature, "answer_unsigned"),
        (Fault::NoDigest, "answer_unsigned"),
        (Fault::Key, "answer_signature_invalid"),
        (Fault::Status, "answer_signature_invalid"),
        (Fault::Request, "answer_signature_invalid"),
        (Fault::Stale, "answer_signature_stale"),
        (Fault::Body, "answer_digest_mismatch"),
    ] {
        let (reply, outcome) = told(true, fault, |_| ()).await;
        // Whatever had come by then, the application was never told that it was all; what had not left is refused.
        assert!(reply.is_none_or(|reply| reply.status == 502), "a part was taken for the whole");
        assert_ne!(outcome["ended"], "complete");
        assert_eq!(outcome["code"], code);
        assert_eq!(outcome.get("signatures"), None);
    }
}
