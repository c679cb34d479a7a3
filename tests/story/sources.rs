//! Policies that others write: fetched from a bundle server, put in force beside our own, kept when the next is broken.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sekisho::decide::{ARCHIVE_BYTES, BundleKeys, ShadowMode};
use sekisho::shell::policies::{Place, Policies, PolicySetup, Rules, SourceSetup, SourceTrust, forget};
use sekisho::types::{Clock, ManualClock};
use serde_json::{Value, json};

use crate::world::{BundleServer, Conduct, Ministry, Peer, Reply, START, SmallPolicy, Tuning, World, identity, until};

const OPEN: &str = "/data/usgs-earthquakes/all.csv";
const QUBITS: &str = "/data/qubit-calibration/a.json";
const KEY: &str = "ministry-1";

/// A source that nobody looks at unless asked.
fn source(id: &str, place: Place, keys: Option<BundleKeys>) -> SourceSetup {
    let poll = Some(Duration::from_secs(86_400));
    let trust = keys.map_or(SourceTrust::Own, SourceTrust::Keys);
    SourceSetup { id: id.to_owned(), place, trust, poll, expect: None, owner: None }
}

fn from_server(server: &BundleServer, ministry: &Ministry) -> SourceSetup {
    let place = Place::Url { url: server.url().parse().unwrap(), anchors: Vec::new() };
    source("ministry", place, Some(ministry.keys(KEY)))
}

fn built_in() -> SourceSetup {
    SourceSetup { poll: None, ..source("built-in", Place::BuiltIn, None) }
}

fn setup(sources: Vec<SourceSetup>, state: &Path) -> PolicySetup {
    // Far longer than a decision takes, so that a busy machine does not decide a test.
    let mut rules = Rules::new(Duration::from_secs(30), TRIAL_INPUTS, ShadowMode::All);
    // This test is another program, which knows nothing of policies.
    rules.program = Some(env!("CARGO_BIN_EXE_sekisho").into());
    PolicySetup { sources, rules, state: state.to_owned(), stale_after: Some(Duration::from_secs(3600)) }
}

/// Enough for a trial to run; how many it takes before a bundle is trusted is the configuration's to say.
const TRIAL_INPUTS: usize = 50;

/// Kansai under the built-in policy and the ministry's.
async fn world(server: &BundleServer, ministry: &Ministry) -> World {
    let sources = vec![built_in(), from_server(server, ministry)];
    let world = World::governed(Tuning::default(), |state| Some(setup(sources, state))).await;
    for (path, media) in [("/usgs-earthquakes/all.csv", "text/csv"), ("/stac-items/a.csv", "text/csv")] {
        world.kansai.upstream.offer(path, media, "id,magnitude\n1,4.2\n");
    }
    world.kansai.upstream.offer("/qubit-calibration/a.json", "application/json", "{}");
    world
}

async fn get(world: &World, party: &str, path: &str, purpose: &str) -> Reply {
    let peer = world.peer(party);
    peer.get(path, &peer.pass(purpose).sign()).await
}

async fn get_open(world: &World) -> Reply {
    get(world, "wessex.example", OPEN, "dfft:DisasterResponse").await
}

fn operator(world: &World) -> Peer {
    world.admin(&world.kansai.identity.operator)
}

/// Has all sources looked at, and gives the ministry's line.
async fn poll(world: &World) -> Value {
    let reply = operator(world).call(Method::POST, "/api/policies/poll", &Value::Null).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    assert_eq!(reply.json()["looked"], true);
    ministrys(&reply)
}

async fn status(world: &World) -> Value {
    ministrys(&operator(world).call(Method::GET, "/api/policies", &Value::Null).await)
}

fn ministrys(reply: &Reply) -> Value {
    let shown = reply.json();
    let lines = shown["policies"].as_array().unwrap();
    lines.iter().find(|line| line["source"] == "ministry").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_regulators_policy_decides_beside_our_own() {
    let ministry = Ministry::new(KEY);
    let server = BundleServer::start(SmallPolicy::new("1", "usgs-earthquakes").signed(&ministry)).await;
    let world = world(&server, &ministry).await;

    let denied = get_open(&world).await;
    assert_eq!((denied.status.as_u16(), denied.code().as_str()), (403, "policy_denied"));
    assert_eq!(denied.rules(), ["SMALL-1"]);
    let permitted = get(&world, "wessex.example", "/data/stac-items/a.csv", "dfft:DisasterResponse").await;
    assert_eq!(permitted.status, 200, "{:?}", permitted.body);
    let conveyed: Value = serde_json::from_str(permitted.header("sekisho-obligations").unwrap()).unwrap();
    let rules: Vec<&str> = conveyed.as_array().unwrap().iter().map(|one| one["rule"].as_str().unwrap()).collect();
    assert!(rules.contains(&"SMALL-2"), "the ministry's obligation is not among {rules:?}");
    let held = get(&world, "chennai.example", QUBITS, "dfft:JointDevelopment").await;
    assert_eq!(held.code(), "review_required", "a permit of the one lifts the review of the other");
    assert_eq!(held.rules(), ["DFFT-S10"]);

    let line = status(&world).await;
    assert_eq!((&line["policy"]["id"], &line["policy"]["revision"]), (&json!("curfew"), &json!("1")));
    assert_eq!((&line["kind"], &line["engine"]), (&json!("url"), &json!("webassembly")));
    assert_eq!((&line["signed_by"], &line["activated"]), (&json!(KEY), &json!(START)));
    assert_eq!((line.get("failure"), &line["stale"]), (None, &json!(false)));
    assert!(line["trial"]["inputs"].as_u64() >= Some(TRIAL_INPUTS as u64), "{line}");
    assert_eq!(line["trial"]["agreed"], line["trial"]["inputs"]);
    let shadow = &line["shadow"];
    assert_eq!((shadow["asked"].as_u64(), shadow["disagreed"].as_u64()), (Some(3), Some(0)), "{shadow}");

    let books = world.close().await;
    let told = books.kansai.of(&denied);
    told.check_refused("deny", "policy_denied", 403);
    let told = serde_json::to_value(&told.decision).unwrap();
    assert_eq!(told["policy"]["id"], "dfft+curfew", "{told}");
    let reasons = told["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason["rule"] == "SMALL-1" && reason["policy"] == "curfew"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_replaced_under_traffic() {
    let ministry = Ministry::new(KEY);
    let server = BundleServer::start(SmallPolicy::new("1", "nothing-1").signed(&ministry)).await;
    let world = Arc::new(world(&server, &ministry).await);
    let going = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let served = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let traffic: Vec<_> = (0..4)
        .map(|_| {
            let (world, going, served) = (Arc::clone(&world), Arc::clone(&going), Arc::clone(&served));
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while going.load(std::sync::atomic::Ordering::SeqCst) {
                    let reply = get_open(&world).await;
                    served.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if reply.status != 200 {
                        failed.push(reply.code());
                    }
                }
                failed
            })
        })
        .collect();
    let count = || served.load(std::sync::atomic::Ordering::SeqCst);
    for revision in ["2", "3", "4"] {
        server.offer(SmallPolicy::new(revision, "nothing-2").signed(&ministry));
        assert_eq!(poll(&world).await["policy"]["revision"], revision);
        let before = count();
        until("traffic under the new policy", || count() > before + 4).await;
    }
    going.store(false, std::sync::atomic::Ordering::SeqCst);
    for task in traffic {
        assert_eq!(task.await.unwrap(), Vec::<String>::new(), "an exchange failed while a policy was replaced");
    }
    server.offer(SmallPolicy::new("5", "usgs-earthquakes").signed(&ministry));
    poll(&world).await;
    assert_eq!(get_open(&world).await.code(), "policy_denied", "what was remembered outlives its policy");
    Arc::into_inner(world).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_bundle_leaves_the_policy_before_it_in_force() {
    let (ministry, stranger) = (Ministry::new(KEY), Ministry::new(KEY));
    let first = SmallPolicy::new("2", "nothing").signed(&ministry);
    let server = BundleServer::start(first.clone()).await;
    let world = world(&server, &ministry).await;
    let next = SmallPolicy::new("3", "usgs-earthquakes");
    let mut interpreted = next.archive();
    interpreted.insert("policy.wasm", b"\0asm".to_vec()).unwrap();
    let tag = HeaderMap::from_iter([(http::header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
    let away = HeaderMap::from_iter([(http::header::LOCATION, HeaderValue::from_static("http://127.0.0.1:1/"))]);
    let zeros = |count: usize| vec![0; count].into();
    let (none, answer) = (HeaderMap::new, |status, headers, body| Conduct::Answer(status, headers, body));
    let broken = [
        ("cut short", Conduct::Offer(first.slice(..first.len() / 2)), "bundle_unreadable"),
        ("of a stranger", Conduct::Offer(next.signed(&stranger)), "bundle_signature_invalid"),
        ("unsigned", Conduct::Offer(next.archive().pack().unwrap().into()), "bundle_unsigned"),
        ("a module of another kind", Conduct::Offer(ministry.sign(&interpreted)), "bundle_module_refused"),
        ("older", Conduct::Offer(SmallPolicy::new("1", "x").signed(&ministry)), "bundle_older"),
        ("the same revision", Conduct::Offer(SmallPolicy::new("2", "x").signed(&ministry)), "bundle_revision_reused"),
        (
            "a case that fails",
            Conduct::Offer(SmallPolicy { expects: "permit", ..next.clone() }.signed(&ministry)),
            "bundle_cases_fail",
        ),
        (
            "the id of another",
            Conduct::Offer(SmallPolicy { id: "dfft", ..next.clone() }.signed(&ministry)),
            "policy_unexpected",
        ),
        ("gone", answer(StatusCode::NOT_FOUND, none(), "".into()), "source_refused"),
        ("elsewhere", answer(StatusCode::FOUND, away, "".into()), "source_refused"),
        ("packed twice", answer(StatusCode::OK, tag, first.clone()), "source_unreadable"),
        ("as large as may be", answer(StatusCode::OK, none(), zeros(ARCHIVE_BYTES)), "bundle_unreadable"),
        ("too large", answer(StatusCode::OK, none(), zeros(ARCHIVE_BYTES + 1)), "source_too_large"),
    ];
    for (what, conduct, code) in broken {
        server.behave(conduct);
        let line = poll(&world).await;
        assert_eq!(line["failure"]["code"], code, "{what}: {line}");
        assert!(!line["failure"]["why"].as_str().unwrap().is_empty(), "{what}");
        assert_eq!(line["policy"]["revision"], "2", "{what}");
        assert_eq!(get_open(&world).await.status, 200, "{what}");
    }
    let line = status(&world).await;
    assert_eq!((&line["failure"]["since"], &line["failure"]["looks"]), (&json!(START), &json!(13)));

    server.offer(next.signed(&ministry));
    let line = poll(&world).await;
    assert_eq!((&line["policy"]["revision"], line.get("failure")), (&json!("3"), None), "{line}");
    assert_eq!(get_open(&world).await.code(), "policy_denied");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_change_is_not_sent_again_and_what_was_refused_is_not_judged_again() {
    let ministry = Ministry::new(KEY);
    let server = BundleServer::start(SmallPolicy::new("1", "nothing").signed(&ministry)).await;
    let world = world(&server, &ministry).await;
    assert_eq!(server.answered(), [200]);
    world.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        let line = poll(&world).await;
        assert_eq!((line.get("failure"), &line["activated"]), (None, &json!(START)));
        assert_eq!(line["last_attempt"], json!(world.clock.now()));
    }
    assert_eq!(server.answered(), [304, 304]);
    // What an operator asks for is judged again, though it was refused: the reason may have gone.
    server.offer(SmallPolicy::new("2", "nothing").archive().pack().unwrap().into());
    for _ in 0..2 {
        assert_eq!(poll(&world).await["failure"]["code"], "bundle_unsigned");
    }
    assert_eq!(server.answered(), [200, 200]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_for_long_shows_in_readyz() {
    let ministry = Ministry::new(KEY);
    let mut server = BundleServer::start(SmallPolicy::new("1", "nothing").signed(&ministry)).await;
    let world = world(&server, &ministry).await;
    server.stop().await;
    assert_eq!(poll(&world).await["failure"]["code"], "source_unreachable");
    let ready = async || operator(&world).call(Method::GET, "/readyz", &Value::Null).await.json();
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(ready().await.get("degraded"), None);
    world.clock.advance(Duration::from_millis(1));
    let degraded = ready().await;
    assert_eq!((&degraded["ready"], &degraded["degraded"]), (&json!(true), &json!(true)), "{degraded}");
    assert_eq!(degraded["stale_policies"][0]["source"], "ministry");
    assert_eq!(get_open(&world).await.status, 200);

    let officer = world.admin(&world.kansai.identity.officer);
    let refused = officer.call(Method::POST, "/api/policies/poll", &Value::Null).await;
    assert_eq!(refused.code(), "role_insufficient");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_that_expires_in_force_shows_and_stops_nothing() {
    let ministry = Ministry::new(KEY);
    let policy = SmallPolicy::new("1", "nothing").archive();
    let server = BundleServer::start(ministry.sign_for(&policy, Duration::from_secs(600))).await;
    let world = world(&server, &ministry).await;
    world.clock.advance(Duration::from_millis(599_999));
    let line = status(&world).await;
    let expires = json!(START.plus(Duration::from_secs(600)));
    assert_eq!((&line["signature_expires"], line.get("failure")), (&expires, None), "{line}");
    world.clock.advance(Duration::from_millis(1));
    let failing = |line: &Value| (line["failure"]["code"].clone(), line["failure"]["since"].clone());
    let expired = (json!("bundle_signature_expired"), expires);
    assert_eq!(failing(&status(&world).await), expired, "before anybody looks");
    assert_eq!(failing(&poll(&world).await), expired, "the same once more is no better");
    assert_eq!(get_open(&world).await.status, 200);
    world.clock.advance(Duration::from_millis(3_600_001));
    let ready = operator(&world).call(Method::GET, "/readyz", &Value::Null).await.json();
    assert_eq!(ready["stale_policies"][0]["code"], "bundle_signature_expired", "{ready}");

    server.offer(ministry.sign_for(&policy, Duration::from_secs(86_400)));
    let line = poll(&world).await;
    assert_eq!((&line["activated"], line.get("failure")), (&json!(START), None), "{line}");
    world.close().await;
}

/// A state directory, and what it takes to open sources on it.
struct Site {
    directory: tempfile::TempDir,
    clock: Arc<dyn Clock>,
}

impl Site {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::new(START)) }
    }

    /// Opens one source and gives the revision in force, or what is said.
    async fn open(&self, source: SourceSetup) -> Result<String, String> {
        let opened = Policies::open(setup(vec![source], &self.state()), Arc::clone(&self.clock)).await;
        opened.map(|(_, set)| set.identity().revision.clone()).map_err(|error| format!("{error:#}"))
    }

    fn state(&self) -> std::path::PathBuf {
        self.directory.path().join("policies")
    }
}

#[tokio::test]
async fn an_older_bundle_is_refused_after_a_restart_and_without_the_last_good_copy() {
    let (site, ministry) = (Site::new(), Ministry::new(KEY));
    let (old, new) = (SmallPolicy::new("1", "a").signed(&ministry), SmallPolicy::new("2", "a").signed(&ministry));
    let file = site.directory.path().join("small.tar.gz");
    let open = || site.open(source("ministry", Place::File(file.clone()), Some(ministry.keys(KEY))));
    std::fs::write(&file, &new).unwrap();
    assert_eq!(open().await.as_deref(), Ok("2"));

    std::fs::write(&file, &old).unwrap();
    assert_eq!(open().await.as_deref(), Ok("2"), "the last good copy stands in");
    std::fs::remove_dir_all(site.state().join("copies")).unwrap();
    let refused = open().await.unwrap_err();
    assert!(refused.contains("ministry: bundle_older") && refused.contains("no last good copy"), "{refused}");

    // On purpose it goes, and for this source alone.
    assert_eq!(forget(&site.state(), "another").unwrap(), None);
    assert_eq!(forget(&site.state(), "../policies").unwrap(), None);
    assert!(open().await.is_err());
    assert_eq!(forget(&site.state(), "ministry").unwrap().unwrap().revision, "2");
    assert_eq!(open().await.as_deref(), Ok("1"));
}

#[tokio::test]
async fn the_last_good_copy_starts_a_gateway_whose_source_is_away() {
    let (site, ministry) = (Site::new(), Ministry::new(KEY));
    let mut server = BundleServer::start(SmallPolicy::new("7", "a").signed(&ministry)).await;
    let open = |ministry: &Ministry| site.open(from_server(&server, ministry));
    assert_eq!(open(&ministry).await.as_deref(), Ok("7"));
    assert_eq!(open(&ministry).await.as_deref(), Ok("7"));
    assert_eq!(server.answered(), [200, 304], "the copy's entity tag outlives a restart");
    server.stop().await;
    let open = |ministry: &Ministry| site.open(from_server(&server, ministry));
    assert_eq!(open(&ministry).await.as_deref(), Ok("7"));

    // It is trusted no more than what just came: a key that was withdrawn takes it along.
    let refused = open(&Ministry::new(KEY)).await.unwrap_err();
    assert!(refused.contains("source_unreachable") && refused.contains("bundle_signature_invalid"), "{refused}");
    // And it is what it was, or nothing.
    let copies = site.state().join("copies/ministry");
    let archive = std::fs::read_dir(&copies).unwrap().map(|entry| entry.unwrap().path());
    let archive = archive.into_iter().find(|path| path.extension().is_some_and(|end| end == "gz")).unwrap();
    let mut bytes = std::fs::read(&archive).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&archive, bytes).unwrap();
    let refused = open(&ministry).await.unwrap_err();
    assert!(refused.contains("no last good copy"), "{refused}");
}

#[tokio::test]
async fn a_source_that_never_brought_anything_keeps_the_gateway_from_starting() {
    let (site, ministry) = (Site::new(), Ministry::new(KEY));
    let mut server = BundleServer::start("nothing of use".into()).await;
    let refused = site.open(from_server(&server, &ministry)).await.unwrap_err();
    assert!(refused.contains("policy source ministry: bundle_unreadable"), "{refused}");
    server.stop().await;
    let refused = site.open(from_server(&server, &ministry)).await.unwrap_err();
    assert!(refused.contains("ministry: source_unreachable") && refused.contains(&server.url()), "{refused}");
    let missing = source("ministry", Place::File(site.directory.path().join("none.tar.gz")), None);
    let refused = site.open(missing).await.unwrap_err();
    assert!(refused.contains("ministry: source_unreadable") && refused.contains("none.tar.gz"), "{refused}");

    // Without keys nothing is taken, signed or not.
    let file = site.directory.path().join("small.tar.gz");
    std::fs::write(&file, SmallPolicy::new("1", "a").signed(&ministry)).unwrap();
    let refused = site.open(source("ministry", Place::File(file), None)).await.unwrap_err();
    assert!(refused.contains("ministry: bundle_unsigned"), "{refused}");

    // A policy that was pinned is that policy.
    server = BundleServer::start(SmallPolicy::new("1", "a").signed(&ministry)).await;
    let pinned = |id: &str| SourceSetup { expect: Some(id.to_owned()), ..from_server(&server, &ministry) };
    let refused = site.open(pinned("dfft")).await.unwrap_err();
    assert!(refused.contains("policy_unexpected"), "{refused}");
    assert_eq!(site.open(pinned("curfew")).await.as_deref(), Ok("1"));
}

#[tokio::test]
async fn a_source_does_not_turn_into_another_policy_unless_it_is_forgotten() {
    let (site, ministry) = (Site::new(), Ministry::new(KEY));
    let file = site.directory.path().join("small.tar.gz");
    let open = || site.open(source("ministry", Place::File(file.clone()), Some(ministry.keys(KEY))));
    std::fs::write(&file, SmallPolicy::new("1", "a").signed(&ministry)).unwrap();
    assert_eq!(open().await.as_deref(), Ok("1"));
    std::fs::write(&file, SmallPolicy { id: "other", ..SmallPolicy::new("2", "a") }.signed(&ministry)).unwrap();
    assert_eq!(open().await.as_deref(), Ok("1"), "the last good copy stands in");
    assert_eq!(forget(&site.state(), "ministry").unwrap().unwrap().id, "curfew");
    assert_eq!(open().await.as_deref(), Ok("2"));
}

#[tokio::test]
async fn two_sources_do_not_bring_the_same_policy() {
    let (site, ministry) = (Site::new(), Ministry::new(KEY));
    let server = BundleServer::start(SmallPolicy { id: "dfft", ..SmallPolicy::new("1", "a") }.signed(&ministry)).await;
    let both = setup(vec![built_in(), from_server(&server, &ministry)], &site.state());
    let refused = Policies::open(both, Arc::clone(&site.clock)).await.map(drop).unwrap_err();
    assert!(format!("{refused:#}").contains("ministry: policy_id_taken"), "{refused:#}");
}

#[tokio::test]
async fn a_state_that_is_in_use_or_unreadable_starts_nothing() {
    let (site, ministry) = (Site::new(), Ministry::new(KEY));
    let server = BundleServer::start(SmallPolicy::new("1", "a").signed(&ministry)).await;
    let sources = vec![from_server(&server, &ministry)];
    let first = Policies::open(setup(sources, &site.state()), Arc::clone(&site.clock)).await.unwrap();
    let refused = site.open(from_server(&server, &ministry)).await.unwrap_err();
    assert!(refused.contains("in use by another gateway"), "{refused}");
    assert!(forget(&site.state(), "ministry").is_err(), "forgotten under a gateway that runs");
    drop(first);
    let open_to = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(site.state(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open_to(0o750);
    let refused = site.open(from_server(&server, &ministry)).await.unwrap_err();
    assert!(refused.contains("chmod 700"), "what others may read and change is believed: {refused}");
    open_to(0o700);
    std::fs::write(site.state().join("accepted.json"), "{}").unwrap();
    let refused = site.open(from_server(&server, &ministry)).await.unwrap_err();
    assert!(refused.contains("accepted.json"), "who cannot tell what was accepted accepts anything: {refused}");
}

#[tokio::test]
async fn a_bundle_server_is_known_by_its_certificate() {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let (site, ministry) = (Site::new(), Ministry::new(KEY));
    let (ours, other) = (identity("policies.example"), identity("other.example"));
    let leaf = ours.authority.gateway(ours.authority.party(), &[], &["127.0.0.1".parse().unwrap()]).unwrap();
    let server = BundleServer::start_tls(SmallPolicy::new("1", "a").signed(&ministry), &leaf).await;
    let open = async |authority_pem: String| {
        let anchors = vec![CertificateDer::from_pem_slice(authority_pem.as_bytes()).unwrap()];
        let url = format!("https://{}/small.tar.gz", server.address).parse().unwrap();
        site.open(source("ministry", Place::Url { url, anchors }, Some(ministry.keys(KEY)))).await
    };
    let refused = open(other.authority.certificate_pem()).await.unwrap_err();
    assert!(refused.contains("source_unreachable"), "{refused}");
    assert_eq!(open(ours.authority.certificate_pem()).await.as_deref(), Ok("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_our_own_directory_take_effect() {
    let directory = tempfile::tempdir().unwrap();
    let policy = SmallPolicy { id: "house", ..SmallPolicy::new("1", "nothing") };
    policy.write(directory.path());
    let own = source("ministry", Place::Directory(directory.path().to_owned()), None);
    let world = World::governed(Tuning::default(), |state| Some(setup(vec![built_in(), own], state))).await;
    world.kansai.upstream.offer("/usgs-earthquakes/all.csv", "text/csv", "id\n1\n");
    assert_eq!(get_open(&world).await.status, 200);
    assert_eq!(status(&world).await["engine"], "interpreter");
    std::fs::write(directory.path().join("small.rego"), "package house\ndecision := {").unwrap();
    let line = poll(&world).await;
    assert!(line["failure"]["why"].as_str().unwrap().contains("small.rego:"), "no file and line: {line}");
    assert_eq!(get_open(&world).await.status, 200);
    // Its own again, older or not: whoever may change it may change this gateway too.
    SmallPolicy { revision: "0", stopped: "usgs-earthquakes", ..policy }.write(directory.path());
    let line = poll(&world).await;
    assert_eq!((&line["policy"]["revision"], line.get("failure")), (&json!("0"), None), "{line}");
    assert_eq!(get_open(&world).await.code(), "policy_denied");
    world.close().await;
}
