//! `sekisho log forget` and `log show --subjects`: with the gateway running and without, as an operator does it.

use std::os::unix::fs::PermissionsExt as _;

use crate::site::{Site, sekisho, stderr, stdout};
use crate::world::Upstream;

const PLANS: &str = "{\"plan\":[1,2,3]}";

#[tokio::test]
async fn an_operator_forgets_people_with_the_gateway_running_and_without() {
    let upstream = Upstream::start().await;
    upstream.offer("/open/plans.json", "application/json", PLANS);
    let site = Site::new(&upstream);
    let serving = site.serve();
    let peer = site.peer();
    for sub in ["person:ada", "person:eve"] {
        let pass = peer.pass("dfft:DisasterResponse").claim("sub", sub).sign();
        assert_eq!(peer.get("/data/open/plans.json", &pass).await.status, 200);
    }
    let text = |name: &str| site.path(name).to_string_lossy().into_owned();
    let config = site.config().to_string_lossy().into_owned();
    let shown = || {
        let output = sekisho(["log", "show", &text("log"), "--subjects", &text("subjects")]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    let forget = |sub: &str, more: &[&str]| {
        let arguments = ["log", "forget", "--config", &config, "--subject", sub, "--json"];
        sekisho(arguments.iter().chain(more).copied())
    };
    // Its lock says that the gateway runs.
    let locked = forget("person:ada", &[]);
    assert_eq!(locked.status.code(), Some(2));
    assert!(stderr(&locked).contains("--admin"), "{}", stderr(&locked));

    let admin = format!("localhost:{}", site.admin().port());
    let mut more: Vec<String> = vec!["--admin".to_owned(), admin];
    for (option, file) in [("--certificate", "operator.pem"), ("--key-file", "operator.key"), ("--anchors", "ca.pem")] {
        more.extend([option.to_owned(), text(&format!("kansai.example/{file}"))]);
    }
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    // A key that others may read is no secret of the operator's.
    let key = site.path("kansai.example/operator.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let open_to_others = forget("person:ada", &more);
    assert_eq!(open_to_others.status.code(), Some(2));
    assert!(stderr(&open_to_others).contains("chmod 600"), "{}", stderr(&open_to_others));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Nobody of that name: what waits is written with it, so everybody can be shown.
    let nobody = forget("person:nobody", &more);
    assert_eq!(nobody.status.code(), Some(1), "{}", stderr(&nobody));
    assert!(shown().contains("subject=person:ada") && shown().contains("subject=person:eve"), "{}", shown());
    let forgotten = forget("person:ada", &more);
    assert_eq!(forgotten.status.code(), Some(0), "{}", stderr(&forgotten));
    assert_eq!(stdout(&forgotten).trim(), r#"{"days":1,"passes":1,"unreadable":0}"#);
    assert!(!shown().contains("person:ada") && shown().contains("subject=person:eve"), "{}", shown());

    assert!(tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap().success());
    let forgotten = forget("person:eve", &[]);
    assert_eq!(forgotten.status.code(), Some(0), "{}", stderr(&forgotten));
    assert!(!shown().contains("person:"), "{}", shown());
    let verified = sekisho(["log", "verify", &text("log"), "--key", &site.log_key()]);
    assert_eq!(verified.status.code(), Some(0), "{}", stdout(&verified));
}
