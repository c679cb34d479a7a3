//! Emerging technology outside Group A: held until an officer of the right office signs, and only for what was signed.

use std::time::Duration;

use http::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sekisho::authenticate::{Role, sign_statement};
use sekisho::decide::{Approval, Grant};
use sekisho::shell::certs::{Authority, Leaf};
use sekisho::types::{Clock as _, PartyId};
use serde_json::{Value, json};

use crate::world::{Reply, World};

const PATH: &str = "/data/qubit-calibration/2026-11-20.json";
const CALIBRATION: &str = r#"{"backend":"ibex","qubits":[{"t1_us":112.4,"t2_us":98.0}]}"#;

pub fn grant() -> Grant {
    Grant {
        party: "chennai.example".to_owned(),
        dataset: "qubit-calibration".to_owned(),
        direction: "export".to_owned(),
        purpose: "dfft:JointDevelopment".to_owned(),
        action: "transfer".to_owned(),
        rules: ["DFFT-S10".to_owned()].into(),
        reason: "joint benchmark, minute 14 of the export committee".to_owned(),
        exchange: None,
    }
}

fn chain(signer: &Leaf) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_slice(signer.certificate_pem.as_bytes()).unwrap()]
}

pub fn sign(world: &World, signer: &Leaf, grant: Grant, days: u64) -> String {
    let us = world.kansai.id();
    Approval::sign(grant, us, days, world.clock.now(), &chain(signer), signer.key_pem.as_bytes()).unwrap()
}

async fn ask(world: &World) -> Reply {
    let chennai = world.peer("chennai.example");
    chennai.get(PATH, &chennai.pass("dfft:JointDevelopment").sign()).await
}

async fn held() -> World {
    let world = World::open().await;
    world.kansai.upstream.offer("/qubit-calibration/2026-11-20.json", "application/json", CALIBRATION);
    world
}

#[tokio::test]
async fn emerging_technology_waits_for_an_officer() {
    let world = held().await;
    let held = ask(&world).await;
    assert_eq!((held.status.as_u16(), held.code().as_str()), (403, "review_required"));
    assert_eq!(held.rules(), ["DFFT-S10"]);
    assert_eq!(held.json()["reasons"][0]["approvers"], json!(["export_control"]), "the refusal names who may approve");

    let signer = &world.kansai.identity.officer;
    let operator = world.admin(&world.kansai.identity.operator);
    let officer = world.admin(signer);
    let signed = sign(&world, signer, grant(), 1);
    let refused = operator.post("/api/approvals", &signed).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "role_insufficient"));
    let still_held = ask(&world).await;
    assert_eq!(still_held.code(), "review_required", "an operator's word changed something");

    let other = sign(&world, signer, Grant { dataset: "qubit-archive".to_owned(), ..grant() }, 1);
    assert_eq!(officer.post("/api/approvals", &other).await.status, 200);
    let held_for_other = ask(&world).await;
    assert_eq!(held_for_other.code(), "review_required", "an approval of another dataset counts");
    assert!(world.kansai.upstream.seen().is_empty());

    let approved = officer.post("/api/approvals", &signed).await;
    assert_eq!(approved.status, 200, "{:?}", approved.body);
    assert_eq!(approved.json()["approver"], "officer");
    assert_eq!(officer.post("/api/approvals", &signed).await.json(), approved.json(), "the same approval is one");
    let permitted = ask(&world).await;
    assert_eq!(permitted.status, 200, "{:?}", permitted.body);
    assert_eq!(permitted.body, CALIBRATION);

    world.clock.advance(Duration::from_secs(86_400));
    let expired = ask(&world).await;
    assert_eq!(expired.code(), "review_required", "an expired approval counts");
    assert_eq!(officer.post("/api/approvals", &signed).await.code(), "approval_invalid", "it can be posted again");

    let books = world.close().await;
    for reply in [&held, &still_held, &held_for_other, &expired] {
        let told = books.kansai.of(reply);
        told.check_refused("review", "review_required", 403);
        assert_eq!(told.rules(), ["DFFT-S10"]);
        assert_eq!(told.decision["reasons"][0]["approvers"], json!(["export_control"]));
        assert_eq!(told.decision.get("approvals"), None);
    }
    let told = books.kansai.of(&permitted);
    told.check_complete(CALIBRATION.as_bytes(), CALIBRATION.as_bytes());
    let cited = json!([{
        "id": approved.json()["id"],
        "digest": approved.json()["digest"],
        "offices": ["export_control", "intellectual_property", "policy"],
    }]);
    assert_eq!(told.decision["approvals"], cited);
    assert_eq!(told.rules(), ["DFFT-S10"], "the record shows what was lifted");
    assert_eq!(books.kansai.len(), 5);
}

#[tokio::test]
async fn an_approval_lifts_only_the_rules_partner_purpose_and_action_that_it_names() {
    let world = held().await;
    let signer = &world.kansai.identity.officer;
    let officer = world.admin(signer);
    let others = [
        Grant { party: "wessex.example".to_owned(), ..grant() },
        Grant { purpose: "dpv:ScientificResearch".to_owned(), ..grant() },
        Grant { action: "train".to_owned(), ..grant() },
        Grant { direction: "request".to_owned(), ..grant() },
        Grant { rules: ["DFFT-I4".to_owned()].into(), ..grant() },
    ];
    let count = others.len();
    for other in others {
        let reply = officer.post("/api/approvals", &sign(&world, signer, other, 30)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    }
    let held = ask(&world).await;
    assert_eq!(held.code(), "review_required");
    let listed = officer.call(Method::GET, "/api/approvals", &Value::Null).await.json();
    assert_eq!(listed["approvals"].as_array().unwrap().len(), count);
    let books = world.close().await;
    books.kansai.of(&held).check_refused("review", "review_required", 403);
}

#[tokio::test]
async fn only_an_officer_of_ours_with_the_right_office_approves() {
    let world = held().await;
    let ours = &world.kansai.identity.authority;
    let officer = world.admin(&world.kansai.identity.officer);
    let us = world.kansai.id().clone();
    let now = world.clock.now();
    let day = Duration::from_secs(86_400);

    // An officer of another office signs well, and it lifts nothing.
    let lawyer = ours.officer("mori", &["privacy"]).unwrap();
    assert_eq!(officer.post("/api/approvals", &sign(&world, &lawyer, grant(), 1)).await.status, 200);
    assert_eq!(ask(&world).await.code(), "review_required", "another office approved");

    let no_officer = ours.operator("tanaka", Role::Operator).unwrap();
    let stranger = Authority::new(&us, now, 30).unwrap().officer("officer", &["export_control"]).unwrap();
    let signer = &world.kansai.identity.officer;
    let good = sign(&world, signer, grant(), 1);
    let (head, tail) = good.rsplit_once('.').unwrap();
    let (header, claims) = head.split_once('.').unwrap();
    let swapped = sign(&world, signer, Grant { dataset: "qubit-archive".to_owned(), ..grant() }, 1);
    let swapped_claims = swapped.split('.').nth(1).unwrap();
    let elsewhere: PartyId = "wessex.example".parse().unwrap();
    let at =
        |us: &PartyId, now| Approval::sign(grant(), us, 1, now, &chain(signer), signer.key_pem.as_bytes()).unwrap();
    let of_type = |kind: &str| {
        let claims = json!({
            "aud": us, "iat": now.seconds(), "exp": now.plus(day).seconds(), "jti": "01KZ0000000000000000000000",
            "approval": grant(),
        });
        sign_statement(kind, &claims, &chain(signer), signer.key_pem.as_bytes()).unwrap()
    };
    assert_eq!(officer.post("/api/approvals", &of_type("sekisho-approval+jwt")).await.status, 200);
    let listed = officer.call(Method::GET, "/api/approvals", &Value::Null).await.json();
    let on_file = listed["approvals"].as_array().unwrap().len();
    for (what, text) in [
        ("plain JSON", json!({ "party": "chennai.example" }).to_string()),
        ("no officer", sign(&world, &no_officer, grant(), 1)),
        ("a stranger's authority", sign(&world, &stranger, grant(), 1)),
        ("another party", at(&elsewhere, now)),
        ("the future", at(&us, now.plus(Duration::from_secs(301)))),
        ("other claims under a signature", format!("{header}.{swapped_claims}.{tail}")),
        ("no signature", format!("{header}.{claims}.")),
        ("another type", of_type("JWT")),
        ("nothing", String::new()),
    ] {
        let reply = officer.post("/api/approvals", &text).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "approval_invalid"), "{what}");
    }
    let listed = officer.call(Method::GET, "/api/approvals", &Value::Null).await.json();
    assert_eq!(listed["approvals"].as_array().unwrap().len(), on_file, "a refused approval is on file");
    world.close().await;
}

#[test]
fn an_approval_says_for_what_why_and_for_how_long() {
    let us: PartyId = "kansai.example".parse().unwrap();
    let now = sekisho::types::Timestamp::from_seconds(1_795_219_200);
    let leaf = Authority::new(&us, now, 30).unwrap().officer("officer", &[]).unwrap();
    let signed = |grant: Grant, days| {
        let signed = Approval::sign(grant, &us, days, now, &chain(&leaf), leaf.key_pem.as_bytes());
        signed.map(drop).map_err(|error| error.code())
    };
    assert_eq!(signed(grant(), 1), Ok(()));
    assert_eq!(signed(grant(), 366), Ok(()));
    for (grant, days) in [
        (grant(), 0),
        (grant(), 367),
        (Grant { rules: [].into(), ..grant() }, 1),
        (Grant { reason: " ".to_owned(), ..grant() }, 1),
        (Grant { direction: "sideways".to_owned(), ..grant() }, 1),
    ] {
        assert_eq!(signed(grant, days), Err("approval_invalid"));
    }
}
