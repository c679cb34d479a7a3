//! An outside authority states when it saw the log: what it must look like, and what its word is worth.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use sekisho::record::keep_timestamp;
use sekisho::record::verify::{Directory, Options, Report, TimestampAnchors, verify_log};
use sekisho::shell::timestamps::TimestampsSetup;
use sekisho::types::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::world::authority::{BOTH, CLIENT_AUTH, Kind, Manner, TIME_STAMPING, TimeAuthority, TimeServer, ago};
use crate::world::{Today, until};

fn verified(log: &Path, anchors: Option<&TimestampAnchors>) -> Report {
    let options = Options { timestamp_anchors: anchors, ..Options::default() };
    verify_log(&Directory::new(log), &options, |_, _| ()).unwrap()
}

/// What a check found, if it was made.
fn found<'r>(report: &'r Report, check: &str) -> Vec<&'r str> {
    report.findings.iter().filter(|finding| finding.check == check).map(|finding| finding.what.as_str()).collect()
}

fn setup(server: &TimeServer, authority: &TimeAuthority) -> TimestampsSetup {
    TimestampsSetup { url: server.url(), interval: Duration::from_millis(50), anchors: authority.anchors() }
}

#[test]
fn every_kind_of_key_is_taken_and_no_changed_byte_moves_the_time() {
    for kind in [Kind::P256, Kind::P384, Kind::Rsa] {
        let authority = TimeAuthority::new(kind);
        let (anchors, mut token) = (authority.anchors(), authority.token(b"a checkpoint", "tsa"));
        let at = anchors.check(&token, b"a checkpoint", None).unwrap();
        assert!(SystemClock.now().seconds().abs_diff(at) < 60, "{at}");
        let step = if matches!(kind, Kind::P256) { 1 } else { 7 };
        for place in (0..token.len()).step_by(step) {
            token[place] ^= 1;
            let changed = anchors.check(&token, b"a checkpoint", None);
            assert!(changed.is_err() || changed == Ok(at), "byte {place} of {kind:?}: {changed:?}");
            token[place] ^= 1;
        }
        assert!(anchors.check(&token[..token.len() - 1], b"a checkpoint", None).is_err());
        token.push(0);
        assert_eq!(anchors.check(&token, b"a checkpoint", None), Err("is no signed data in DER"));
    }
}

#[test]
fn a_token_of_something_else_or_for_another_request_is_refused() {
    let authority = TimeAuthority::new(Kind::P256);
    let (anchors, token) = (authority.anchors(), authority.token(b"a checkpoint", "tsa"));
    let told = anchors.check(&token, b"another checkpoint", None).unwrap_err();
    assert!(told.contains("its imprint is not"), "{told}");
    let told = anchors.check(&token, b"a checkpoint", Some(7)).unwrap_err();
    assert!(told.contains("its nonce is not ours"), "{told}");
}

#[test]
fn a_certificate_that_may_not_stamp_is_refused() {
    let authority = TimeAuthority::new(Kind::P256);
    let anchors = authority.anchors();
    let days = (ago(1), ago(-1));
    // So far it is as good as one of `ts`: what is refused below is refused for its certificate.
    assert!(anchors.check(&authority.forced_token(b"note", "tsa"), b"note", None).is_ok());
    for (name, usage, critical, valid, why) in [
        ("client", CLIENT_AUTH, true, days, "is signed under a certificate that is not for timestamps alone"),
        ("both", BOTH, true, days, "is signed under a certificate that is not for timestamps alone"),
        ("casual", TIME_STAMPING, false, days, "is signed under a certificate that is not for timestamps alone"),
        (
            "expired",
            TIME_STAMPING,
            true,
            (ago(9), ago(8)),
            "is signed under a certificate that had expired at the time that it states",
        ),
        (
            "early",
            TIME_STAMPING,
            true,
            (ago(-8), ago(-9)),
            "is signed under a certificate that was not valid yet at the time that it states",
        ),
    ] {
        authority.certify(name, usage, critical, valid);
        assert_eq!(anchors.check(&authority.forced_token(b"note", name), b"note", None), Err(why), "{name}");
    }
    let stranger = TimeAuthority::new(Kind::P256);
    let told = anchors.check(&stranger.token(b"note", "tsa"), b"note", None);
    assert!(told.is_err(), "a root of the same name is another root: {told:?}");
}

#[tokio::test]
async fn the_log_is_stamped_and_each_stamp_is_checked_offline() {
    let authority = Arc::new(TimeAuthority::new(Kind::P256));
    let server = TimeServer::start(Arc::clone(&authority)).await;
    let today = Today::open(Duration::ZERO).await.stamped(setup(&server, &authority));
    for kept in 1..=2 {
        today.exchange().await;
        let size = today.organisation.gateway().log().size();
        until("a timestamp over all of it", || today.kept_sizes().last() == Some(&size)).await;
        assert!(today.kept_sizes().len() >= kept);
    }
    let told = today.admin(Method::GET, "/api/timestamps").await;
    assert_eq!(told.status, 200);
    until("nothing in vain", || today.kept_sizes().len() >= 2).await;
    let ready = today.admin(Method::GET, "/readyz").await.json();
    assert_eq!((&ready["ready"], &ready["timestamps"]["error"]), (&json!(true), &Value::Null));
    assert_eq!(ready["timestamps"]["failures"], 0);
    let (_kept, log) = today.close().await;

    let report = verified(&log, Some(&authority.anchors()));
    assert!(report.verified, "{}", report.render());
    let count = |report: &Report, check: &str| report.checks.iter().find(|made| made.name == check).unwrap().count;
    assert!(count(&report, "timestamps") >= 2, "{}", report.render());
    assert_eq!(count(&report, "times"), report.entries, "the last stamp covers every entry");
    let unchecked = verified(&log, None);
    assert!(unchecked.verified && unchecked.checks.iter().all(|made| made.name != "times"), "{}", unchecked.render());
    assert!(unchecked.not_checked.iter().any(|gap| gap.contains("give their certificates with --tsa-anchors")));
    let told = Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .args([OsStr::new("log"), OsStr::new("verify"), log.as_os_str(), OsStr::new("--tsa-anchors")])
        .arg(authority.path("ca.pem"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success() && text.contains("ok    timestamps"), "{text}");
    let stranger = TimeAuthority::new(Kind::P256);
    assert!(!verified(&log, Some(&stranger.anchors())).verified);

    // A token changed, one of another checkpoint, one whose note is gone, and a file of nobody's.
    let mut names: Vec<_> =
        std::fs::read_dir(log.join("timestamps")).unwrap().map(|name| name.unwrap().path()).collect();
    names.retain(|name| name.extension().unwrap() == "tst");
    names.sort();
    let (first, last) = (names.first().unwrap(), names.last().unwrap());
    let kept = std::fs::read(first).unwrap();
    let mut changed = kept.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (bytes, why) in
        [(changed, "its token has a signature that is not its signer's"), (std::fs::read(last).unwrap(), "its imprint")]
    {
        std::fs::write(first, bytes).unwrap();
        let report = verified(&log, Some(&authority.anchors()));
        assert!(!report.verified && found(&report, "timestamps")[0].contains(why), "{}", report.render());
    }
    std::fs::write(first, kept).unwrap();
    std::fs::rename(first.with_extension("note"), log.join("timestamps/spare")).unwrap();
    let report = verified(&log, None);
    assert_eq!(found(&report, "timestamps").len(), 2, "{}", report.render());
}

#[tokio::test]
async fn entries_made_behind_a_timestamp_cannot_be_dated_before_it() {
    let authority = TimeAuthority::new(Kind::P256);
    let today = Today::open(Duration::from_secs(3600)).await;
    today.exchange().await;
    let published = today.published().await;
    let token = authority.token(published.note.as_bytes(), "tsa");
    keep_timestamp(today.organisation.gateway().log().directory(), published.size, &published.note, &token).unwrap();
    today.exchange().await;
    let (_kept, log) = today.close().await;
    let report = verified(&log, Some(&authority.anchors()));
    let times = found(&report, "times");
    assert_eq!(times.len(), 2, "{}", report.render());
    assert!(times[0].contains("before the log was seen without it"), "{}", times[0]);
    assert!(verified(&log, None).verified);
}

#[tokio::test]
async fn an_authority_that_fails_is_told_and_holds_nothing_up() {
    let authority = Arc::new(TimeAuthority::new(Kind::P256));
    let server = TimeServer::start(Arc::clone(&authority)).await;
    // An answer that is good but for its request, of a clock that is ours.
    let today = Today::open(Duration::ZERO).await.stamped(setup(&server, &authority));
    today.exchange().await;
    until("a timestamp", || !today.kept_sizes().is_empty()).await;
    let kept = today.kept_sizes();
    let refusal = vec![0x30, 5, 0x30, 3, 2, 1, 2];
    for (manner, why) in [
        (Manner::Repeating, "timestamp_unusable: the token is of something else"),
        (Manner::Saying(StatusCode::OK, refusal), "gives no timestamp: its status is 2"),
        (Manner::Saying(StatusCode::OK, vec![0x30; 100_000]), "is larger than"),
        (Manner::Saying(StatusCode::SERVICE_UNAVAILABLE, Vec::new()), "answered 503"),
    ] {
        server.behave(manner);
        today.exchange().await;
        today.told(why).await;
    }
    let ready = today.admin(Method::GET, "/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["ready"]), (200, &json!(true)));
    server.behave(Manner::Honest);
    until("a timestamp again", || today.kept_sizes().len() > kept.len()).await;
    let (_kept, log) = today.close().await;
    assert!(verified(&log, Some(&authority.anchors())).verified);

    // A clock that is not ours: its stamps would speak against every entry.
    let late = Today::open(Duration::from_secs(3600)).await.stamped(setup(&server, &authority));
    late.exchange().await;
    late.told("the authority's clock and ours are 3").await;
    assert!(late.kept_sizes().is_empty());
    drop(server);
    late.told("timestamp_unreachable").await;
    late.close().await;
}
