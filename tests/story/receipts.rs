//! Receipts: posted by who got the data, kept by who gave it, owed where they do not come.

use std::time::Duration;

use http::{HeaderMap, Request};
use serde_json::{Value, json};

use crate::world::{Fields, Hand, Peer, Reply, START, Tuning, World, content_digest, get, until, whole};

const PATH: &str = "/data/usgs-earthquakes/all.geojson";
const UPSTREAM: &str = "/usgs-earthquakes/all.geojson";
const LOCAL: &str = "/partners/kansai.example/data/usgs-earthquakes/all.geojson";
const MINUTE: Duration = Duration::from_secs(60);

/// A partner's client that signs what it asks for, by hand.
struct Client {
    peer: Peer,
    hand: Hand,
}

impl Client {
    fn new(world: &World, party: &str) -> Self {
        Self { peer: world.peer(party), hand: Hand::of(world.identity(party)) }
    }

    fn now(&self) -> u64 {
        self.peer.clock.now().seconds()
    }

    async fn fetch(&self) -> Reply {
        let pass = self.peer.pass("dfft:DisasterResponse").sign();
        let (digest, exchange) = (content_digest(pass.as_bytes()), self.exchange());
        let components = [
            ("\"@method\"", "GET"),
            ("\"@path\"", PATH),
            ("\"sekisho-exchange\"", exchange.as_str()),
            ("\"sekisho-pass\"", &digest),
        ];
        let fields = self.hand.sign(&components, "sekisho-request", self.now());
        let mut request = get(PATH, &pass);
        let mut insert = |name: &'static str, value: &str| {
            request.headers_mut().insert(name, value.parse().unwrap());
        };
        insert("sekisho-exchange", &exchange);
        insert("sekisho-pass", &digest);
        insert("signature-input", &fields.input);
        insert("signature", &fields.signature);
        self.peer.send(request).await.unwrap()
    }

    fn exchange(&self) -> String {
        sekisho::types::ExchangeId::new(self.peer.clock.now()).to_string()
    }

    /// The receipt for an answer.
    fn receipt(&self, reply: &Reply) -> Fields {
        receipt(&self.hand, &reply.headers, self.now())
    }

    async fn post(&self, lines: &[String]) -> Reply {
        let request = Request::post("/receipts").header("content-type", "application/x-ndjson");
        self.peer.send(request.body(whole(lines.join("\n"))).unwrap()).await.unwrap()
    }
}

fn receipt(hand: &Hand, answer: &HeaderMap, created: u64) -> Fields {
    let text = |name: &str| answer[name].to_str().unwrap();
    let components = [
        ("\"@status\"", "200"),
        ("\"sekisho-exchange\"", text("sekisho-exchange")),
        ("\"content-digest\"", text("content-digest")),
        ("\"signature\";key=\"sekisho\"", text("signature").strip_prefix("sekisho=").unwrap()),
    ];
    hand.sign(&components, "sekisho-receipt", created)
}

fn line(exchange: &str, fields: &Fields) -> String {
    json!({ "exchange": exchange, "signature_input": fields.input, "signature": fields.signature }).to_string()
}

/// What became of each receipt: result and code.
fn results(reply: &Reply) -> Vec<(String, Option<String>)> {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let lines = reply.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["result"].as_str().unwrap().to_owned(), line["code"].as_str().map(str::to_owned))).collect()
}

fn refused(code: &str) -> (String, Option<String>) {
    ("refused".to_owned(), Some(code.to_owned()))
}

async fn account(world: &World, party: &str) -> Value {
    let admin = world.admin(&world.kansai.identity.operator);
    let shown = admin.call(http::Method::GET, "/api/receipts", &Value::Null).await.json();
    shown["receipts"].as_array().unwrap().iter().find(|account| account["party"] == party).unwrap().clone()
}

#[tokio::test]
async fn a_receipt_is_taken_once_and_only_from_who_got_the_data() {
    let world = World::open().await;
    world.kansai.upstream.offer(UPSTREAM, "application/json", "{}");
    let (rhein, sumida) = (Client::new(&world, "rhein.example"), Client::new(&world, "sumida-health.example"));
    let (first, second, theirs) = (rhein.fetch().await, rhein.fetch().await, sumida.fetch().await);
    assert_eq!((first.status.as_u16(), theirs.status.as_u16()), (200, 200), "{:?}", first.body);
    assert_eq!(account(&world, "rhein.example").await["owed"], 2);
    let good = line(first.exchange(), &rhein.receipt(&first));
    let recorded = ("recorded".to_owned(), None);
    let known = ("known".to_owned(), None);
    let lines = [
        good.clone(),
        // Another answer's exchange, another party's, one that never was, no receipt at all, one with another's key.
        line(second.exchange(), &rhein.receipt(&first)),
        line(theirs.exchange(), &receipt(&rhein.hand, &theirs.headers, rhein.now())),
        line("01KAAAAAAAAAAAAAAAAAAAAAAA", &rhein.receipt(&first)),
        "{\"exchange\":7}".to_owned(),
        line(second.exchange(), &sumida.receipt(&second)),
    ];
    let invalid = refused("receipt_signature_invalid");
    let expected = [
        recorded.clone(),
        invalid.clone(),
        refused("receipt_unknown"),
        refused("receipt_unknown"),
        refused("receipt_malformed"),
        invalid,
    ];
    assert_eq!(results(&rhein.post(&lines).await), expected);
    assert_eq!(results(&rhein.post(&[good]).await), [known]);
    assert_eq!(results(&rhein.post(&[line(second.exchange(), &rhein.receipt(&second))]).await), [recorded]);
    let told = account(&world, "rhein.example").await;
    assert_eq!((&told["owed"], &told["received"], &told["oldest"]), (&0.into(), &2.into(), &Value::Null));
    assert_eq!(
        told["refused"],
        json!({ "receipt_malformed": 1, "receipt_signature_invalid": 2, "receipt_unknown": 2 })
    );
    assert_eq!(account(&world, "sumida-health.example").await["owed"], 1);
    let books = world.close().await;
    for reply in [&first, &second] {
        let receipts = books.kansai.receipts(reply.exchange());
        assert_eq!(receipts.len(), 1);
        rhein.hand.check_recorded(&receipts[0]["signatures"][0], "receipt");
    }
    assert!(books.kansai.receipts(theirs.exchange()).is_empty());
}

#[tokio::test]
async fn more_than_a_request_holds_is_refused_whole() {
    let world = World::open().await;
    let rhein = Client::new(&world, "rhein.example");
    let many = rhein.post(&vec!["{}".to_owned(); 101]).await;
    assert_eq!((many.code().as_str(), many.status.as_u16()), ("receipts_too_many", 413));
    let large = rhein.post(&["x".repeat(500 * 1024)]).await;
    assert_eq!(large.code(), "receipts_too_many");
    assert_eq!(results(&rhein.post(&[]).await), []);
    assert_eq!(account(&world, "rhein.example").await["refused"], json!({ "receipts_too_many": 2 }));
    assert_eq!(world.close().await.kansai.len(), 0);
}

#[tokio::test]
async fn who_owes_too_many_receipts_is_refused_until_they_come() {
    let vet = |entry: &mut sekisho::authenticate::PartnerEntry| entry.owed_at_most = 2;
    let world = World::tuned(Tuning { vet, ..Tuning::default() }).await;
    world.kansai.upstream.offer(UPSTREAM, "application/json", "{}");
    let rhein = Client::new(&world, "rhein.example");
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(rhein.fetch().await);
    }
    assert!(answers.iter().all(|answer| answer.status == 200), "an answer is not owed for at once");
    world.clock.advance(MINUTE);
    let late = rhein.fetch().await;
    assert_eq!((late.code().as_str(), late.status.as_u16()), ("receipts_owed", 403));
    let told = account(&world, "rhein.example").await;
    assert_eq!((&told["owed"], &told["oldest"]), (&4.into(), &json!(START)));
    let admin = world.admin(&world.kansai.identity.operator);
    let partners = admin.call(http::Method::GET, "/api/partners", &Value::Null).await.json();
    let marked = |party: &str| {
        let all = partners["partners"].as_array().unwrap();
        let found = all.iter().find(|partner| partner["party"] == party).unwrap();
        (found["receipts_owed"].clone(), found["refused_for_receipts"].clone())
    };
    assert_eq!(marked("rhein.example"), (4.into(), true.into()));
    assert_eq!(marked("wessex.example"), (0.into(), false.into()));
    // It may still send, and others are served.
    assert_eq!(Client::new(&world, "sumida-health.example").fetch().await.status, 200);
    let lines: Vec<String> =
        answers[..2].iter().map(|answer| line(answer.exchange(), &rhein.receipt(answer))).collect();
    assert_eq!(results(&rhein.post(&lines).await).len(), 2);
    assert_eq!(rhein.fetch().await.status, 200);
    let books = world.close().await;
    books.kansai.of(&late).check_refused("refused", "receipts_owed", 403);
}

#[tokio::test]
async fn a_gateway_posts_its_receipts_and_owes_none() {
    let vet = |entry: &mut sekisho::authenticate::PartnerEntry| entry.owed_at_most = 1;
    let world = World::tuned(Tuning { vet, ..Tuning::default() }).await;
    world.kansai.upstream.offer(UPSTREAM, "application/json", "{}");
    let wessex = world.identity("wessex.example");
    let hand = Hand::of(wessex);
    let mut replies = Vec::new();
    for _ in 0..5 {
        replies.push(world.wessex.fetch(LOCAL, "dfft:DisasterResponse").await);
    }
    let receipts = world.kansai.gateway().receipts();
    until("every receipt", || receipts.owed(&"wessex.example".parse().unwrap()) == 0).await;
    world.clock.advance(MINUTE);
    assert_eq!(world.wessex.fetch(LOCAL, "dfft:DisasterResponse").await.status, 200);
    let books = world.close().await;
    for reply in &replies {
        hand.check_recorded(&books.kansai.receipts(reply.exchange())[0]["signatures"][0], "receipt");
    }
}

#[tokio::test]
async fn what_is_owed_and_what_is_yet_to_be_posted_survive_a_restart() {
    let world = World::open().await;
    world.kansai.upstream.offer(UPSTREAM, "application/json", "{}");
    let rhein = Client::new(&world, "rhein.example");
    let (owed, paid) = (rhein.fetch().await, rhein.fetch().await);
    assert_eq!(results(&rhein.post(&[line(paid.exchange(), &rhein.receipt(&paid))]).await)[0].0, "recorded");
    world.kansai.recorded(5).await;
    // Both go down with a receipt of Wessex still on its way: it waits for company before it goes.
    let reply = world.wessex.fetch(LOCAL, "dfft:DisasterResponse").await;
    let world = world.restart().await;
    let rhein = Client::new(&world, "rhein.example");
    assert_eq!(account(&world, "rhein.example").await["owed"], 1);
    let late = [line(owed.exchange(), &rhein.receipt(&owed)), line(paid.exchange(), &rhein.receipt(&paid))];
    let outcomes: Vec<String> = results(&rhein.post(&late).await).into_iter().map(|(result, _)| result).collect();
    assert_eq!(outcomes, ["recorded", "known"]);
    let receipts = world.kansai.gateway().receipts();
    until("the receipt of Wessex", || receipts.owed(&"wessex.example".parse().unwrap()) == 0).await;
    let books = world.close().await;
    assert_eq!(books.kansai.receipts(reply.exchange()).len(), 1);
    assert_eq!(books.kansai.receipts(owed.exchange()).len(), 1);
    assert_eq!(books.kansai.receipts(paid.exchange()).len(), 1);
}
