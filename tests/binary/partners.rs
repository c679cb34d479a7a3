//! Partners without Sekisho: the examples as they stand in the repository, against the real binary.

use std::path::Path;
use std::process::{Command, Output};

use sekisho::shell::certs::{ed25519_public_key, thumbprint};

use crate::site::{Serving, Site, stderr, stdout};
use crate::world::{Book, Upstream};

const EARTHQUAKES: &str = "{\"type\":\"FeatureCollection\",\"features\":[]}\n";

fn repository(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs an example as Wessex, which holds the keys of `keys` to be the provider's, in the background, so that the upstream can answer meanwhile.
async fn run(mut command: Command, site: &Site, keys: &str, purpose: &str) -> Output {
    command
        .env("URL", format!("https://localhost:{}/data/open/all.json", site.address().port()))
        .env("CERT", site.path("wessex.example/gateway.pem"))
        .env("KEY", site.path("wessex.example/gateway.key"))
        .env("CA", site.path("kansai.example/ca.pem"))
        .env("PASS_KEY", site.path("wessex.example/pass.key"))
        .env("PROVIDER_KEYS", site.path(&format!("{keys}/jwks.json")))
        .env("ISS", "wessex.example")
        .env("AUD", "kansai.example")
        .env("SUB", "person:ada")
        .env("PURPOSE", purpose);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The exchange's id, which the examples tell on stderr.
fn exchange(output: &Output) -> String {
    let line = stderr(output).lines().find(|line| line.starts_with("sekisho-exchange:"));
    let line = line.unwrap_or_else(|| panic!("no exchange: {}", stderr(output)));
    line.trim_start_matches("sekisho-exchange:").trim().to_owned()
}

/// `proves` says that the example checks signatures.
async fn check(proves: bool, example: impl Fn() -> Command) {
    let upstream = Upstream::start().await;
    upstream.offer("/open/all.json", "application/geo+json", EARTHQUAKES);
    let site = Site::new(&upstream);
    let serving: Serving = site.serve();
    let fetched = run(example(), &site, "kansai.example", "dfft:DisasterResponse").await;
    assert_eq!(fetched.status.code(), Some(0), "{}", stderr(&fetched));
    assert_eq!(stdout(&fetched), EARTHQUAKES);
    let denied = run(example(), &site, "kansai.example", "dpv:Marketing").await;
    assert_eq!(denied.status.code(), Some(1), "{}", stderr(&denied));
    let problem: serde_json::Value = serde_json::from_str(stdout(&denied)).unwrap();
    assert_eq!(problem["code"], "policy_denied");
    assert_eq!(problem["reasons"][0]["rule"], "SMALL-1");
    assert_eq!(problem["exchange"], exchange(&denied));
    if proves {
        let pem = std::fs::read_to_string(site.path("kansai.example/pass.key")).unwrap();
        let signed = format!("signed with: {}\n", thumbprint(&ed25519_public_key(&pem).unwrap()));
        assert!(stderr(&fetched).contains(&signed), "{}", stderr(&fetched));
        assert!(stderr(&denied).contains(&signed), "{}", stderr(&denied));
        // What somebody else would have signed is not passed on.
        let another = run(example(), &site, "wessex.example", "dfft:DisasterResponse").await;
        assert_eq!((another.status.code(), stdout(&another)), (Some(2), ""), "{}", stderr(&another));
        assert!(stderr(&another).contains("by no key that the provider signs with"), "{}", stderr(&another));
    }
    let status = tokio::task::spawn_blocking(move || serving.terminate()).await.unwrap();
    assert_eq!(status.code(), Some(0));

    let book = Book::read(&site.log(), &site.log_key());
    let told = book.named(&exchange(&fetched));
    told.check_complete(EARTHQUAKES.as_bytes(), EARTHQUAKES.as_bytes());
    assert_eq!(told.decision["consumer"], "wessex.example");
    assert!(told.decision["pass"]["subject"].as_str().unwrap().starts_with("hmac-sha256:"));
    book.named(&exchange(&denied)).check_refused("deny", "policy_denied", 403);
    assert_eq!(book.len(), if proves { 3 } else { 2 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_with_curl_and_openssl_fetches() {
    check(false, || {
        let mut command = Command::new("bash");
        command.arg(repository("examples/partner-curl/fetch.sh"));
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_with_python_fetches_and_checks_who_signed() {
    let python = repository("target/python/bin/python");
    assert!(Path::new(&python).exists(), "{python} is missing: `make test` prepares it");
    check(true, || {
        let mut command = Command::new(&python);
        command.arg(repository("examples/partner-python/fetch.py"));
        command
    })
    .await;
}
