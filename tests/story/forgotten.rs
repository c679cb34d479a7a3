//! A person asks to be forgotten: the record names nobody, what opens it is deleted, and the log verifies as before.

use std::path::{Path, PathBuf};

use http::Method;
use sekisho::record::{Entries, Subjects};
use sekisho::types::Commitment;
use serde_json::{Value, json};

use crate::world::World;

const PLANS: &str = "{\"plan\":[1,2,3]}";

fn beside(log: &Path, name: &str) -> PathBuf {
    log.parent().unwrap().join(name)
}

/// Every text that stands anywhere in a document.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

/// The commitments of all decisions, after making sure that nobody is named.
fn commitments(log: &Path) -> Vec<Commitment> {
    let entries: Vec<Value> = Entries::open(log).unwrap().map(|entry| entry.unwrap().payload).collect();
    let mut all = Vec::new();
    entries.iter().for_each(|entry| texts(entry, &mut all));
    let named = all.iter().find(|text| text.contains("person:"));
    assert_eq!(named, None, "the record names somebody");
    let subject = |entry: &Value| entry.pointer("/pass/subject")?.as_str()?.parse().ok();
    entries.iter().filter_map(subject).collect()
}

#[tokio::test]
async fn who_is_forgotten_cannot_be_told_from_the_record_and_the_log_verifies() {
    let world = World::open().await;
    world.kansai.upstream.offer("/stac-items/a.json", "application/json", PLANS);
    let wessex = world.peer("wessex.example");
    let (ada, ada_later) = (wessex.pass("dfft:DisasterResponse").sign(), wessex.pass("dfft:DisasterResponse").sign());
    let eve = wessex.pass("dfft:DisasterResponse").claim("sub", "person:eve").sign();
    for pass in [&ada, &ada, &ada_later, &eve] {
        assert_eq!(wessex.get("/data/stac-items/a.json", pass).await.status, 200);
    }
    world.kansai.recorded(8).await;
    let gateway = world.kansai.gateway();
    let log = gateway.log().directory().to_owned();
    let recorded = commitments(&log);
    assert_eq!(recorded.len(), 4);
    assert_eq!(recorded[0], recorded[1], "one pass, one commitment");
    assert_ne!(recorded[0], recorded[2], "two passes of a person cannot be joined by who reads the log");
    // Nobody of this name: only so that what waits is written.
    gateway.subjects().unwrap().forget("person:nobody").unwrap();
    let subjects = || Subjects::open(&beside(&log, "subjects")).unwrap();
    let names: Vec<_> = recorded.iter().map(|subject| subjects().name(subject).map(str::to_owned)).collect();
    assert_eq!(names, ["person:ada", "person:ada", "person:ada", "person:eve"].map(|name| Some(name.to_owned())));

    let identity = &world.kansai.identity;
    let (operator, officer) = (world.admin(&identity.operator), world.admin(&identity.officer));
    let ask = json!({ "subject": "person:ada" });
    let refused = officer.call(Method::POST, "/api/subjects/forget", &ask).await;
    assert_eq!(refused.code(), "role_insufficient");
    for bad in [json!({}), json!({ "subject": 7 }), json!({ "subject": "a", "and": "b" }), json!("person:ada")] {
        let refused = operator.call(Method::POST, "/api/subjects/forget", &bad).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "subject_invalid"), "{bad}");
    }
    let forgotten = operator.call(Method::POST, "/api/subjects/forget", &ask).await;
    assert_eq!(forgotten.json(), json!({ "passes": 2, "unreadable": 0, "days": 1 }));
    // The pass goes on being good; who shows it stays forgotten, although the gateway remembers the pass.
    assert_eq!(wessex.get("/data/stac-items/a.json", &ada).await.status, 200);
    world.kansai.recorded(10).await;
    gateway.subjects().unwrap().forget("person:nobody").unwrap();
    let recorded = commitments(&log);
    assert_eq!(recorded[4], recorded[0]);
    for subject in recorded.iter().filter(|subject| **subject != recorded[3]) {
        assert_eq!(subjects().name(subject), None);
    }
    assert_eq!(subjects().name(&recorded[3]), Some("person:eve"));
    for file in std::fs::read_dir(beside(&log, "subjects")).unwrap() {
        assert!(!std::fs::read_to_string(file.unwrap().path()).unwrap().contains("person:ada"));
    }
    let ready = operator.call(Method::GET, "/readyz", &Value::Null).await;
    assert_eq!(ready.json()["subjects"]["lost"], 0);
    assert_eq!(world.close().await.kansai.len(), 5);
}
