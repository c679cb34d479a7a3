//! Emerging technology outside Group A: held until an officer approves, and only for what was approved.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::world::{Reply, World};

const PATH: &str = "/data/qubit-calibration/2026-11-20.json";
const CALIBRATION: &str = r#"{"backend":"ibex","qubits":[{"t1_us":112.4,"t2_us":98.0}]}"#;

fn approval(dataset: &str, days: u64) -> Value {
    json!({
        "party": "chennai.example",
        "dataset": dataset,
        "purpose": "dfft:JointDevelopment",
        "rules": ["DFFT-S10"],
        "reason": "joint benchmark, minute 14 of the export committee",
        "days": days,
    })
}

async fn ask(world: &World) -> Reply {
    let chennai = world.peer("chennai.example");
    chennai.get(PATH, &chennai.pass("dfft:JointDevelopment").sign()).await
}

#[tokio::test]
async fn emerging_technology_waits_for_an_officer() {
    let world = World::open().await;
    world.kansai.upstream.offer("/qubit-calibration/2026-11-20.json", "application/json", CALIBRATION);
    let held = ask(&world).await;
    assert_eq!(held.status, 403);
    assert_eq!(held.code(), "review_required");
    assert_eq!(held.rules(), ["DFFT-S10"]);

    let operator = world.admin(&world.kansai.identity.operator);
    let officer = world.admin(&world.kansai.identity.officer);
    let refused = operator.call(Method::POST, "/api/approvals", &approval("qubit-calibration", 1)).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "role_insufficient"));
    let still_held = ask(&world).await;
    assert_eq!(still_held.code(), "review_required", "an operator's word changed something");

    let other = officer.call(Method::POST, "/api/approvals", &approval("qubit-archive", 1)).await;
    assert_eq!(other.status, 200, "{:?}", other.body);
    let held_for_other = ask(&world).await;
    assert_eq!(held_for_other.code(), "review_required", "an approval of another dataset counts");
    assert!(world.kansai.upstream.seen().is_empty());

    let approved = officer.call(Method::POST, "/api/approvals", &approval("qubit-calibration", 1)).await;
    assert_eq!(approved.status, 200, "{:?}", approved.body);
    assert_eq!(approved.json()["approver"], "officer");
    let permitted = ask(&world).await;
    assert_eq!(permitted.status, 200, "{:?}", permitted.body);
    assert_eq!(permitted.body, CALIBRATION);

    world.clock.advance(Duration::from_secs(86_400));
    let expired = ask(&world).await;
    assert_eq!(expired.code(), "review_required", "an expired approval counts");

    let books = world.close().await;
    for reply in [&held, &still_held, &held_for_other, &expired] {
        let told = books.kansai.of(reply);
        told.check_refused("review", "review_required", 403);
        assert_eq!(told.rules(), ["DFFT-S10"]);
        assert_eq!(told.decision.get("approval"), None);
    }
    let told = books.kansai.of(&permitted);
    told.check_complete(CALIBRATION.as_bytes(), CALIBRATION.as_bytes());
    assert_eq!(told.decision["approval"], approved.json()["id"]);
    assert_eq!(told.rules(), ["DFFT-S10"], "the record shows what was lifted");
    assert_eq!(books.kansai.len(), 5);
}

#[tokio::test]
async fn an_approval_lifts_only_the_rules_partner_purpose_and_action_that_it_names() {
    let world = World::open().await;
    let officer = world.admin(&world.kansai.identity.officer);
    let others = [("party", "wessex.example"), ("purpose", "dpv:ScientificResearch"), ("action", "train")];
    let mut approvals: Vec<Value> = Vec::new();
    for (field, value) in others {
        let mut other = approval("qubit-calibration", 30);
        other[field] = value.into();
        approvals.push(other);
    }
    let mut other_rule = approval("qubit-calibration", 30);
    other_rule["rules"] = json!(["DFFT-I4"]);
    approvals.push(other_rule);
    for body in &approvals {
        let reply = officer.call(Method::POST, "/api/approvals", body).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    }
    let held = ask(&world).await;
    assert_eq!(held.code(), "review_required");

    for (what, body) in [
        ("no rules", json!({ "rules": [] })),
        ("no reason", json!({ "reason": " " })),
        ("no days", json!({ "days": 0 })),
        ("too many days", json!({ "days": 367 })),
        ("an unknown field", json!({ "approver": "someone-else" })),
    ] {
        let mut wrong = approval("qubit-calibration", 30);
        wrong.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let reply = officer.call(Method::POST, "/api/approvals", &wrong).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "approval_invalid"), "{what}");
    }
    let listed = officer.call(Method::GET, "/api/approvals", &Value::Null).await.json();
    assert_eq!(listed["approvals"].as_array().unwrap().len(), approvals.len());
    let books = world.close().await;
    books.kansai.of(&held).check_refused("review", "review_required", 403);
}
