//! Recorded exchanges under another policy: exactly those flip that would have gone otherwise, and what cannot be told is
//! said to be so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sekisho::record::{
    ApprovalRef, DecisionEntry, Declaration, Direction, InputConfig, InputStore, Log, LogConfig, PolicyRef, Reason,
    Signer, Verdict,
};
use sekisho::shell::replay::{Candidate, Flip, Span, Status, Summary, replay};
use sekisho::types::{Clock as _, Digest, ExchangeId, ManualClock, Obligation};
use serde_json::{Value, json};

use crate::review;
use crate::world::{START, World, identity, party};

/// Nobody's.
static OFFICES: BTreeSet<String> = BTreeSet::new();
/// Far more than an evaluation takes on a machine that has other things to do.
const BUDGET: Duration = Duration::from_secs(60);

/// Denies the United Kingdom, holds what a list names for a person, demands a pseudonym of a third country.
const REGO: &str = r#"package trial

default verdict := "permit"

verdict := "deny" if input.recipient.country == "GB"

verdict := "review" if input.recipient.country == "IN"

reasons contains reason if {
	input.recipient.country == "GB"
	reason := {"rule": "TRIAL-1", "effect": "deny", "why": "No data to GB.", "remedy": "Ask elsewhere."}
}

reasons contains reason if {
	input.recipient.country == "IN"
	reason := {"rule": "TRIAL-2", "effect": "review", "why": "A person looks.", "remedy": "Ask for approval."}
}

obligations contains obligation if {
	input.recipient.country == "DE"
	obligation := {"rule": "TRIAL-3", "do": "attribute", "to": input.at}
}

decision := {"decision": verdict, "reasons": [r | some r in reasons], "obligations": [o | some o in obligations]}
"#;

/// Writes a policy that declares these inputs, and reads it as a candidate.
fn candidate(directory: &Path, rego: &str, inputs: &[&str], time: &str) -> Candidate {
    std::fs::create_dir_all(directory).unwrap();
    let metadata = json!({ "id": "trial", "entrypoint": "trial/decision", "inputs": inputs, "time": time });
    let manifest = json!({ "revision": "2", "roots": ["trial"], "metadata": metadata });
    std::fs::write(directory.join(".manifest"), manifest.to_string()).unwrap();
    std::fs::write(directory.join("trial.rego"), rego).unwrap();
    Candidate::read(&[directory], BUDGET).unwrap()
}

fn run(log: &Path, inputs: &Path, candidate: &Candidate, span: &Span) -> (Summary, Vec<Flip>) {
    let (mut flips, mut shown) = (Vec::new(), (0, 0));
    let progress = |done: u64, total: u64| {
        assert!(shown.0 <= done && done <= total, "{shown:?} before {done} of {total}");
        shown = (done, total);
    };
    let listed = |flip: &Flip| {
        flips.push(flip.clone());
        Ok(())
    };
    let summary = replay(log, inputs, candidate, span, progress, listed).unwrap();
    assert_eq!(shown.0, shown.1, "the progress did not come to its end");
    assert_eq!(summary.flips, flips.len() as u64);
    assert_eq!(summary.kinds.iter().map(|kind| kind.count).sum::<u64>(), summary.flips);
    (summary, flips)
}

fn kinds(flips: &[Flip]) -> Vec<(Status, Status)> {
    flips.iter().map(|flip| (flip.kind.from, flip.kind.to)).collect()
}

#[tokio::test]
async fn traffic_that_would_have_gone_otherwise_is_listed_and_no_other() {
    let mut world = World::open().await;
    world.kansai.upstream.offer("/qubit-calibration/a.json", "application/json", "{}");
    world.kansai.upstream.offer("/usgs-earthquakes/a.json", "application/json", "{}");
    let (chennai, wessex) = (world.peer("chennai.example"), world.peer("wessex.example"));
    let calibration = || chennai.get("/data/qubit-calibration/a.json", "");
    assert_eq!(calibration().await.status, 401, "a request without a pass");
    let joint = chennai.pass("dfft:JointDevelopment").sign();
    let held = chennai.get("/data/qubit-calibration/a.json", &joint).await;
    assert_eq!(held.code(), "review_required");
    let officer = world.admin(&world.kansai.identity.officer);
    let approval = review::sign(&world, &world.kansai.identity.officer, review::grant(), 1);
    assert_eq!(officer.post("/api/approvals", &approval).await.status, 200);
    let approved = chennai.get("/data/qubit-calibration/a.json", &chennai.pass("dfft:JointDevelopment").sign()).await;
    assert_eq!(approved.status, 200);
    let relief = wessex.get("/data/usgs-earthquakes/a.json", &wessex.pass("dfft:DisasterResponse").sign()).await;
    assert_eq!(relief.status, 200, "{:?}", relief.body);
    let again = wessex.get("/data/usgs-earthquakes/a.json", &wessex.pass("dfft:DisasterResponse").sign()).await;
    assert_eq!(again.status, 200);
    let denied = wessex.get("/data/untagged/a.json", &wessex.pass("dfft:DisasterResponse").sign()).await;
    assert_eq!(denied.code(), "policy_denied");
    let ready = officer.call(Method::GET, "/readyz", &Value::Null).await.json();
    assert_eq!(ready["inputs"]["lost"], 0, "{ready}");
    assert_eq!(ready["inputs"].get("failing"), None, "{ready}");

    let gateway = Arc::clone(world.kansai.gateway());
    world.kansai.stop().await.unwrap().unwrap();
    let log = gateway.log().directory().to_owned();
    let inputs = log.parent().unwrap().join("inputs");
    assert_eq!(gateway.inputs().unwrap().health().kept, 3, "each question once");

    let home = tempfile::tempdir().unwrap();
    let trial = candidate(home.path(), REGO, &["at", "recipient.country"], "date");
    let (summary, flips) = run(&log, &inputs, &trial, &Span::default());
    // Chennai's review stays one, but under a rule that nobody approved; open data no longer goes to Wessex.
    use Status::{Approved, Deny, Permit, Review};
    assert_eq!(kinds(&flips), [(Approved, Review), (Permit, Deny), (Permit, Deny)]);
    let told: Vec<&str> = flips.iter().map(|flip| flip.exchange.as_str()).collect();
    assert_eq!(told, [approved.exchange(), relief.exchange(), again.exchange()]);
    assert_eq!(
        (flips[0].recorded.rules.as_slice(), flips[0].partner.as_deref()),
        (["DFFT-S10".to_owned()].as_slice(), Some("chennai.example"))
    );
    assert_eq!(
        (flips[0].candidate.rules.as_slice(), flips[0].dataset.as_deref()),
        (["TRIAL-2".to_owned()].as_slice(), Some("qubit-calibration"))
    );
    assert_eq!((summary.decisions, summary.distinct_inputs, summary.refused_unasked), (5, 3, 1));
    assert_eq!(
        (summary.other_rules, summary.cannot_tell.total()),
        (2, 0),
        "the review and the denial keep their verdict"
    );

    // The policy that was in force decides as it did; what an approval lifted is approved still.
    let same = Candidate::of(&[sekisho::decide::Bundle::built_in().unwrap()], BUDGET).unwrap();
    let (summary, flips) = run(&log, &inputs, &same, &Span::default());
    assert!(flips.is_empty(), "{flips:?}");
    assert_eq!((summary.decisions, summary.other_rules, summary.cannot_tell.total()), (5, 0, 0));
    assert_eq!(same.identity(), gateway.policies().current().identity().as_ref());
}

/// A log and a store that are written without a gateway.
struct Archive {
    home: tempfile::TempDir,
    clock: Arc<ManualClock>,
    log: Log,
    inputs: InputStore,
}

/// One decision to be recorded.
#[derive(Clone)]
struct Decided<'a> {
    input: Value,
    stored: bool,
    policy: Option<&'a str>,
    verdict: Verdict,
    rules: &'a [&'a str],
    obligations: Vec<Obligation>,
    approval: Option<&'a str>,
    agreement: Option<&'a str>,
}

impl Default for Decided<'_> {
    fn default() -> Self {
        Self {
            input: from("JP"),
            stored: true,
            policy: Some("recorded"),
            verdict: Verdict::Permit,
            rules: &[],
            obligations: Vec::new(),
            approval: None,
            agreement: None,
        }
    }
}

/// An input that a recipient of a country asks.
fn from(country: &str) -> Value {
    json!({ "at": "2026-11-21", "recipient": { "country": country } })
}

fn attribute(to: &str) -> Obligation {
    serde_json::from_value(json!({ "rule": "TRIAL-3", "do": "attribute", "to": to })).unwrap()
}

fn digest(policy: &str) -> Digest {
    Digest::of(policy.as_bytes())
}

impl Archive {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let signer = Signer::from_pkcs8(identity("kansai.example").log_key_pem.as_bytes()).unwrap();
        let log = LogConfig::new(home.path().join("log"), "kansai.example/log");
        let log = Log::open(log, signer, clock.clone()).unwrap();
        let inputs = InputConfig { directory: home.path().join("inputs"), retention_days: 400, bytes: 1 << 30 };
        let inputs = InputStore::open(inputs, clock.clone()).unwrap();
        Self { home, clock, log, inputs }
    }

    /// Records a decision. A policy by the name `narrow` declares the country alone, all others the time to the `date`, too;
    /// one by the name `unknown` is not declared.
    async fn record(&self, decided: Decided<'_>) {
        let at = self.clock.now();
        let text = decided.input.to_string();
        let input = Digest::of(text.as_bytes());
        if decided.stored {
            let name = decided.policy.filter(|name| *name != "unknown").unwrap_or("recorded");
            let paths: &[&str] = if name == "narrow" { &["recipient.country"] } else { &["at", "recipient.country"] };
            self.inputs.keep(at, input, text.into_bytes(), digest(name), || Declaration {
                policy: digest(name),
                id: name.to_owned(),
                revision: "1".to_owned(),
                inputs: paths.iter().map(|path| (*path).to_owned()).collect(),
                time: "date".to_owned(),
            });
        }
        let (kansai, wessex) = (party("kansai.example"), party("wessex.example"));
        let entry = DecisionEntry {
            exchange: ExchangeId::new(at),
            at,
            provider: Some(&kansai),
            consumer: Some(&wessex),
            direction: Direction::Export,
            dataset: None,
            tags: &[],
            purpose: None,
            action: None,
            agreement: decided.agreement,
            pass: None,
            certificate: None,
            input: Some(input),
            policy: decided.policy.map(|name| PolicyRef { id: name, revision: "1", digest: digest(name) }),
            decision: decided.verdict,
            code: None,
            reasons: decided
                .rules
                .iter()
                .map(|rule| Reason { rule, why: "So it is.", remedy: None, approvers: &[], policy: None })
                .collect(),
            obligations: &decided.obligations,
            approvals: decided
                .approval
                .iter()
                .map(|id| ApprovalRef { id, digest: digest(id), offices: &OFFICES })
                .collect(),
            request: None,
            signatures: &[],
        };
        let sealed = self.log.seal(&entry).unwrap();
        if self.log.append_soon(sealed.clone()).is_err() {
            self.log.append(sealed).await.unwrap();
        }
    }

    async fn close(&self) -> (PathBuf, PathBuf) {
        self.inputs.close();
        assert_eq!(self.inputs.health().lost, 0);
        self.log.close().await.unwrap();
        (self.home.path().join("log"), self.home.path().join("inputs"))
    }

    fn candidate(&self, inputs: &[&str], time: &str) -> Candidate {
        candidate(&self.home.path().join("candidate"), REGO, inputs, time)
    }
}

#[tokio::test]
async fn each_kind_of_change_is_told_as_what_it_is() {
    let archive = Archive::new();
    let germany = || Decided { input: from("DE"), obligations: vec![attribute("2026-11-21")], ..Decided::default() };
    for decided in [
        // As it was, whatever the order of equal duties.
        Decided::default(),
        germany(),
        Decided { verdict: Verdict::Deny, rules: &["TRIAL-1"], input: from("GB"), ..Decided::default() },
        Decided { verdict: Verdict::Review, rules: &["TRIAL-2"], input: from("IN"), ..Decided::default() },
        Decided { rules: &["TRIAL-2"], input: from("IN"), approval: Some("A-1"), ..Decided::default() },
        // A denial's duties are nobody's concern, and its rules no flip.
        Decided {
            verdict: Verdict::Deny,
            rules: &["OLD"],
            input: from("GB"),
            obligations: vec![attribute("x")],
            ..Decided::default()
        },
        // Flips.
        Decided { verdict: Verdict::Deny, rules: &["OLD"], ..Decided::default() },
        Decided { verdict: Verdict::Review, rules: &["OLD"], ..Decided::default() },
        Decided { rules: &["OLD"], approval: Some("A-2"), ..Decided::default() },
        Decided { rules: &["OLD"], input: from("IN"), approval: Some("A-3"), ..Decided::default() },
        Decided { input: from("GB"), ..Decided::default() },
        Decided { input: from("IN"), ..Decided::default() },
        Decided { obligations: vec![attribute("2026-11-20")], ..germany() },
        Decided { obligations: Vec::new(), ..germany() },
    ] {
        archive.record(decided).await;
    }
    let (log, inputs) = archive.close().await;
    let (summary, flips) =
        run(&log, &inputs, &archive.candidate(&["at", "recipient.country"], "date"), &Span::default());
    use Status::{Approved, Deny, Permit, Review};
    let expected = [
        (Deny, Permit),
        (Review, Permit),
        (Approved, Permit),
        (Approved, Review),
        (Permit, Deny),
        (Permit, Review),
        (Permit, Permit),
        (Permit, Permit),
    ];
    assert_eq!(kinds(&flips), expected);
    assert_eq!(flips.iter().map(|flip| flip.index).collect::<Vec<_>>(), (6..14).collect::<Vec<u64>>());
    assert_eq!((summary.decisions, summary.distinct_inputs, summary.other_rules), (14, 4, 1));
    assert_eq!((summary.kinds[0].count, summary.kinds[0].kind.from, summary.kinds[0].kind.to), (2, Permit, Permit));
}

#[tokio::test]
async fn what_an_agreement_said_is_no_change_of_a_policy() {
    let archive = Archive::new();
    let of = |rule: &str| serde_json::from_value::<Obligation>(json!({ "rule": rule, "do": "watermark" })).unwrap();
    let under = || Decided { agreement: Some("AG-1"), ..Decided::default() };
    let deny = || Decided { verdict: Verdict::Deny, ..under() };
    for decided in [
        // The agreement's duties beside the policy's.
        Decided { obligations: vec![of("ODRL:AG-1#1")], ..under() },
        Decided {
            input: from("DE"),
            obligations: vec![attribute("2026-11-21"), of("ODRL:AG-1#1"), of("ODRL:AG-1")],
            ..under()
        },
        // The agreement alone denied, whatever the candidate says.
        Decided { rules: &["ODRL:AG-1#1", "ODRL:AG-1#2"], ..deny() },
        Decided { rules: &["ODRL:AG-1"], input: from("GB"), ..deny() },
        // Both did; the policy's review would not have lifted it.
        Decided { rules: &["TRIAL-1", "ODRL:AG-1#1"], input: from("GB"), ..deny() },
        Decided { rules: &["TRIAL-2", "ODRL:AG-1#1"], input: from("IN"), ..deny() },
        Decided { rules: &["OLD", "ODRL:AG-1#1"], ..deny() },
        // Flips: rules that only look like the agreement's, a policy that changed, a duty that went.
        Decided { rules: &["ODRL:AG-10#1"], ..deny() },
        Decided { rules: &["ODRL:AG-1#1"], agreement: None, ..deny() },
        Decided { input: from("GB"), obligations: vec![of("ODRL:AG-1#1")], ..under() },
        Decided { input: from("DE"), obligations: vec![of("ODRL:AG-1#1")], ..under() },
    ] {
        archive.record(decided).await;
    }
    let (log, inputs) = archive.close().await;
    let candidate = archive.candidate(&["at", "recipient.country"], "date");
    let (summary, flips) = run(&log, &inputs, &candidate, &Span::default());
    use Status::{Deny, Permit};
    assert_eq!(kinds(&flips), [(Deny, Permit), (Deny, Permit), (Permit, Deny), (Permit, Permit)]);
    assert_eq!(flips.iter().map(|flip| flip.index).collect::<Vec<_>>(), (7..11).collect::<Vec<u64>>());
    assert_eq!((summary.decided_by_agreement, summary.other_rules), (2, 1));
    assert!(flips[3].recorded.obligations.is_empty(), "{:?}", flips[3]);
}

#[tokio::test]
async fn what_the_input_does_not_hold_cannot_be_told() {
    let archive = Archive::new();
    let timeless = json!({ "recipient": { "country": "DE" } });
    archive.record(Decided::default()).await;
    archive.record(Decided { input: from("CH"), stored: false, ..Decided::default() }).await;
    archive.record(Decided { input: from("FR"), ..Decided::default() }).await;
    archive.record(Decided { input: timeless.clone(), policy: Some("narrow"), ..Decided::default() }).await;
    // Of a policy that the store does not know, only what is there is known.
    archive.record(Decided { policy: Some("unknown"), ..Decided::default() }).await;
    archive.record(Decided { input: timeless.clone(), policy: Some("unknown"), ..Decided::default() }).await;
    archive.record(Decided { policy: None, verdict: Verdict::Deny, ..Decided::default() }).await;
    let (log, inputs) = archive.close().await;
    let day = inputs.join("2026-11-21.ndjson");
    let changed = std::fs::read_to_string(&day).unwrap().replace("\"FR\"", "\"BE\"");
    std::fs::write(&day, changed).unwrap();

    let dated = archive.candidate(&["at", "recipient.country"], "date");
    let (summary, flips) = run(&log, &inputs, &dated, &Span::default());
    let untold = &summary.cannot_tell;
    assert_eq!((untold.missing, untold.damaged, untold.narrowed), (1, 1, 2));
    assert_eq!(untold.lacking, ["at"]);
    assert_eq!(summary.damaged.len(), 1);
    assert!(summary.damaged[0].starts_with(&format!("{}:", day.display())), "{:?}", summary.damaged);
    assert_eq!(kinds(&flips), [(Status::Deny, Status::Permit)], "what has no decision was denied");
    assert_eq!(summary.decisions, 7);

    // A candidate that does not look at the time can be told of all that is there; so can one that is given a time.
    let countries = archive.candidate(&["recipient.country"], "date");
    assert_eq!(run(&log, &inputs, &countries, &Span::default()).0.cannot_tell.narrowed, 0);
    let given = archive.candidate(&["at", "recipient.country"], "minute").asked_at("2027-01-01".to_owned());
    let (summary, flips) = run(&log, &inputs, &given, &Span::default());
    assert_eq!(summary.cannot_tell.narrowed, 0);
    let duties: Vec<Value> =
        flips.iter().flat_map(|flip| &flip.candidate.obligations).map(|duty| json!(duty)["to"].clone()).collect();
    assert_eq!(duties, ["2027-01-01", "2027-01-01"], "the time that was given is the time of the decision");

    // One that sees the time more exactly, or a member that was not declared, cannot be told of any that was narrowed.
    for (paths, time, lacking) in [
        (&["at", "recipient.country"][..], "hour", "at"),
        (&["recipient.country", "recipient.type"], "date", "recipient.type"),
        (&["recipient"], "date", "recipient"),
        (&["recipient.country", "request.path"], "date", "request.path"),
    ] {
        let (summary, flips) = run(&log, &inputs, &archive.candidate(paths, time), &Span::default());
        assert!(flips.iter().all(|flip| flip.recorded.status == Status::Deny), "{lacking}: {flips:?}");
        assert!(summary.cannot_tell.narrowed >= 4, "{lacking}: {summary:?}");
        assert_eq!(summary.cannot_tell.lacking.iter().find(|path| *path == lacking).map(String::as_str), Some(lacking));
    }
    assert!(
        replay(&log, &archive.home.path().join("none"), &countries, &Span::default(), |_, _| (), |_| Ok(())).is_err()
    );
}

#[tokio::test]
async fn a_long_log_is_replayed_day_by_day_and_input_by_input() {
    let archive = Archive::new();
    let countries = ["JP", "GB", "IN", "DE", "US"];
    for day in 0..2 {
        for number in 0..3000 {
            archive.record(Decided { input: from(countries[number % countries.len()]), ..Decided::default() }).await;
        }
        if day == 0 {
            archive.clock.advance(Duration::from_secs(86_400));
        }
    }
    let (log, inputs) = archive.close().await;
    let candidate = archive.candidate(&["at", "recipient.country"], "date");
    let (summary, flips) = run(&log, &inputs, &candidate, &Span::default());
    assert_eq!((summary.decisions, summary.distinct_inputs, summary.flips), (6000, 5, 3600));
    assert!(flips.windows(2).all(|pair| pair[0].index < pair[1].index), "flips are not in the order of the log");
    let counts: Vec<u64> = summary.kinds.iter().map(|kind| kind.count).collect();
    assert_eq!(counts, [1200, 1200, 1200]);

    let day = |text: &str| Some(text.to_owned());
    for (from, until, decisions) in [
        (day("2026-11-22"), None, 3000),
        (None, day("2026-11-22"), 3000),
        (day("2026-11-21"), day("2026-11-23"), 6000),
        (day("2026-11-23"), None, 0),
    ] {
        let (summary, _) = run(&log, &inputs, &candidate, &Span { from, until });
        assert_eq!((summary.decisions, summary.cannot_tell.total()), (decisions, 0));
    }
}
