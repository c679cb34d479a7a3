//! An agreement in ODRL: the gateway itself holds every exchange under it to its terms, beside the policies.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Reply, World, whole};

const PATH: &str = "/data/survey-items/items.json";
const ITEMS: &str = r#"{"items":[{"id":"a","operator":"Ada"}]}"#;
const WITHOUT_OPERATOR: &str = r#"{"items":[{"id":"a"}]}"#;

async fn ask(world: &World, party: &str, purpose: &str, action: &str, agreement: &str) -> Reply {
    let peer = world.peer(party);
    peer.get(PATH, &peer.pass(purpose).claim("action", action).agreement(agreement).sign()).await
}

#[tokio::test]
async fn an_exchange_under_an_odrl_agreement_is_held_to_its_terms() {
    let world = World::open().await;
    world.kansai.upstream.offer("/survey-items/items.json", "application/json", ITEMS);
    let research = "dpv:ScientificResearch";
    let (wessex, rhein) = ("wessex.example", "rhein.example");

    let permitted = ask(&world, wessex, research, "transfer", "AG-ODRL").await;
    assert_eq!(permitted.status, 200, "{:?}", permitted.body);
    assert_eq!(permitted.body, WITHOUT_OPERATOR);
    let conveyed: Value = serde_json::from_str(permitted.header("sekisho-obligations").unwrap()).unwrap();
    assert_eq!(conveyed, json!([{"rule": "ODRL:AG-ODRL#1", "do": "attribute", "creator": "Kansai"}]));

    // The policy permits the other purpose, the training and the other country; the agreement does not.
    let other_purpose = ask(&world, wessex, "dfft:DisasterResponse", "transfer", "AG-ODRL").await;
    let training = ask(&world, wessex, research, "train", "AG-ODRL").await;
    let other_country = ask(&world, rhein, research, "transfer", "AG-ODRL-DE").await;
    for (denied, rule) in
        [(&other_purpose, "ODRL:AG-ODRL#1"), (&training, "ODRL:AG-ODRL#2"), (&other_country, "ODRL:AG-ODRL-DE#1")]
    {
        assert_eq!((denied.status.as_u16(), denied.code().as_str()), (403, "policy_denied"));
        assert_eq!(denied.rules(), [rule]);
    }
    let somebody_elses = ask(&world, rhein, research, "transfer", "AG-ODRL").await;
    assert_eq!(somebody_elses.code(), "agreement_not_on_file");
    assert_eq!(world.kansai.upstream.seen().len(), 1, "only what was permitted was fetched");

    // The agreement ends with the day, fifteen hours from the start.
    world.clock.advance(Duration::from_secs(15 * 3600 - 1));
    assert_eq!(ask(&world, wessex, research, "transfer", "AG-ODRL").await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    let ended = ask(&world, wessex, research, "transfer", "AG-ODRL").await;
    assert_eq!(ended.rules(), ["ODRL:AG-ODRL#1"]);
    assert!(ended.text().contains("2026-11-22T00:00:00Z"), "{:?}", ended.body);

    let books = world.close().await;
    let told = books.kansai.of(&permitted);
    told.check_complete(ITEMS.as_bytes(), WITHOUT_OPERATOR.as_bytes());
    assert_eq!(told.decision["agreement"], "AG-ODRL");
    assert_eq!(told.carried(), ["ODRL:AG-ODRL#1:redact", "ODRL:AG-ODRL#1:attribute"]);
    let told = books.kansai.of(&other_purpose);
    told.check_refused("deny", "policy_denied", 403);
    assert_eq!(told.rules(), ["ODRL:AG-ODRL#1"]);
}

#[tokio::test]
async fn an_agreement_that_counts_ends_with_its_last_use() {
    let world = World::open().await;
    world.kansai.upstream.offer("/survey-counts/month.csv", "text/csv", "a\n1\n");
    let wessex = world.peer("wessex.example");
    let path = "/data/survey-counts/month.csv";
    let pass = |purpose: &str| wessex.pass(purpose).agreement("AG-TWICE").sign();
    let mut permitted = Vec::new();
    for _ in 0..2 {
        // What the policy denies uses nothing up.
        assert_eq!(wessex.get(path, &pass("dpv:Marketing")).await.code(), "policy_denied");
        permitted.push(wessex.get(path, &pass("dfft:DisasterResponse")).await);
    }
    assert!(permitted.iter().all(|reply| reply.status == 200), "{permitted:?}");
    let third = wessex.get(path, &pass("dfft:DisasterResponse")).await;
    assert_eq!(third.rules(), ["ODRL:AG-TWICE#1"]);
    assert_eq!(world.kansai.upstream.seen().len(), 2);
    let books = world.close().await;
    books.kansai.of(&third).check_refused("deny", "policy_denied", 403);
}

#[tokio::test]
async fn terms_bind_a_request_that_leaves_the_agreement_out() {
    let world = World::open().await;
    for dataset in ["survey-items", "stac-items"] {
        world.kansai.upstream.offer(&format!("/{dataset}/items.json"), "application/json", ITEMS);
    }
    let open_path = "/data/stac-items/items.json";
    let (wessex, chennai) = (world.peer("wessex.example"), world.peer("chennai.example"));
    // Of no purpose, whether the agreement would permit it or not.
    let mut refused = Vec::new();
    for purpose in ["dpv:ScientificResearch", "dfft:DisasterResponse"] {
        let unnamed = wessex.get(PATH, &wessex.pass(purpose).sign()).await;
        assert_eq!((unnamed.status.as_u16(), unnamed.code().as_str()), (403, "agreement_not_named"));
        refused.push(unnamed);
    }
    assert_eq!(world.kansai.upstream.seen().len(), 0);
    // Other datasets, and partners without such an agreement, need none.
    assert_eq!(wessex.get(open_path, &wessex.pass("dfft:DisasterResponse").sign()).await.status, 200);
    assert_eq!(chennai.get(PATH, &chennai.pass("dfft:DisasterResponse").sign()).await.status, 200);
    // Our own application is held to it when it sends the data.
    let path = "/partners/wessex.example/data/survey-items/a";
    let pushed = world.kansai.send(path, "dfft:DisasterResponse", "application/json", whole(ITEMS)).await;
    assert_eq!((pushed.status.as_u16(), pushed.code().as_str()), (403, "agreement_not_named"));
    let books = world.close().await;
    refused.push(pushed);
    for reply in &refused {
        books.kansai.of(reply).check_refused("refused", "agreement_not_named", 403);
    }
}
