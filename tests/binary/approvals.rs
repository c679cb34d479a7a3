//! `sekisho approve`: from an exchange in the log to a permit, as an officer does it at a terminal.

use crate::site::{Site, sekisho, stderr, stdout};
use crate::world::{Book, Upstream};

const PLANS: &str = "{\"plan\":[1,2,3]}";

#[tokio::test]
async fn an_officer_approves_what_the_log_says_was_held() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/plans.json", "application/json", PLANS);
    let site = Site::new(&upstream);
    let serving = site.serve();
    let peer = site.peer();
    let held = peer.get("/data/open/plans.json", &peer.pass("dfft:JointDevelopment").sign()).await;
    assert_eq!((held.status.as_u16(), held.code().as_str()), (403, "review_required"));
    let denied = peer.get("/data/open/plans.json", &peer.pass("dpv:Marketing").sign()).await;

    let path = |name: &str| site.path(&format!("kansai.example/{name}")).to_string_lossy().into_owned();
    let log = site.log().to_string_lossy().into_owned();
    let approve = |exchange: &str, more: &[&str]| {
        let mut arguments: Vec<String> =
            ["approve", "--certificate", &path("officer.pem"), "--key", &path("officer.key")]
                .iter()
                .chain(&["--reason", "minute 14", "--days", "7", "--log", &log, "--exchange", exchange])
                .map(|argument| (*argument).to_owned())
                .collect();
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        sekisho(arguments)
    };
    // Signed and not delivered: it is printed, and nothing happens.
    let printed = approve(held.exchange(), &[]);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    assert_eq!(stdout(&printed).trim().split('.').count(), 3, "no compact JWS: {}", stdout(&printed));
    let still = peer.get("/data/open/plans.json", &peer.pass("dfft:JointDevelopment").sign()).await;
    assert_eq!(still.code(), "review_required");
    // What was denied is not for an officer to lift.
    let wrong = approve(denied.exchange(), &[]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("was not held for review: the log says deny"), "{}", stderr(&wrong));

    let (admin, anchors) = (format!("localhost:{}", site.admin().port()), path("ca.pem"));
    let delivered = approve(held.exchange(), &["--admin", &admin, "--anchors", &anchors]);
    assert_eq!(delivered.status.code(), Some(0), "{}", stderr(&delivered));
    let said = stdout(&delivered);
    assert!(said.starts_with("approved for 7 days: wessex.example may have open for dfft:JointDevelopment"), "{said}");
    let id = said.trim().rsplit(' ').next().unwrap();
    let permitted = peer.get("/data/open/plans.json", &peer.pass("dfft:JointDevelopment").sign()).await;
    assert_eq!(permitted.status, 200);
    assert_eq!(permitted.body, PLANS);

    // It outlives the process, and is verified again.
    let status = tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let serving = site.serve();
    let again = peer.get("/data/open/plans.json", &peer.pass("dfft:JointDevelopment").sign()).await;
    assert_eq!(again.status, 200, "{:?}", again.body);
    assert!(tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap().success());
    let state = site.path("state/state.json");
    let forged = std::fs::read_to_string(&state).unwrap().replace(".eyJ", ".fyJ");
    std::fs::write(&state, forged).unwrap();
    let serving = site.serve();
    let undone = peer.get("/data/open/plans.json", &peer.pass("dfft:JointDevelopment").sign()).await;
    assert_eq!(undone.code(), "review_required", "a forged approval counts");
    assert!(tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap().success());

    let book = Book::read(&site.log(), &site.log_key());
    for reply in [&permitted, &again] {
        let cited = &book.named(reply.exchange()).decision["approvals"][0];
        assert_eq!(
            (&cited["id"], &cited["offices"]),
            (&id.into(), &serde_json::json!(["export_control", "intellectual_property", "policy"]))
        );
    }
}
