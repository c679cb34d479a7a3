//! `sekisho demo`, whole: what the README shows must come true on any machine.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::site::{sekisho, stderr, stdout};

#[test]
fn the_story_ends_as_it_should_and_every_log_verifies() {
    // A quarter of the README's stream: enough to show that memory does not follow the payload.
    let told = sekisho(["demo", "--json", "--stream-mib", "256"]);
    assert_eq!(told.status.code(), Some(0), "{}{}", stdout(&told), stderr(&told));
    let report: Value = serde_json::from_str(stdout(&told)).unwrap();
    assert_eq!(report["as_expected"], true);
    let exchanges = report["exchanges"].as_array().unwrap();
    assert!(exchanges.iter().all(|exchange| exchange["as_expected"] == true), "{exchanges:#?}");
    let codes: Vec<&str> = exchanges.iter().filter_map(|exchange| exchange["code"].as_str()).collect();
    for code in [
        "policy_denied",
        "review_required",
        "pass_expired",
        "pass_wrong_certificate",
        "pass_already_used",
        "certificate_unknown_issuer",
        "partner_suspended",
    ] {
        assert!(codes.contains(&code), "nobody was refused with {code}");
    }
    assert!(exchanges.iter().any(|exchange| exchange["bytes"] == 256 * 1024 * 1024), "the stream is missing");
    let logs = report["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 3);
    assert!(logs.iter().all(|log| log["verified"] == true), "{logs:#?}");
    let cosigned = report["cosigned"].as_array().unwrap();
    assert_eq!(cosigned.len(), 3, "{cosigned:#?}");
    assert!(cosigned.iter().all(|log| log["by"].as_array().is_some_and(|by| by.len() == 2)), "{cosigned:#?}");
    for gateway in report["memory"].as_array().unwrap() {
        let peak = gateway["peak_resident_bytes"].as_u64().unwrap();
        assert!(peak < 64 * 1024 * 1024, "{} took {peak} bytes", gateway["party"]);
    }
}

#[test]
fn what_the_demo_keeps_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .args(["demo", "--stream-mib", "1", "--stay", "--keep"])
        .arg(&kept)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // While it stays, the lines that it prints work as they are.
    let mut commands = Vec::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("  curl ") || line.contains(" log verify ") {
            commands.push(line.trim().to_owned());
        }
        if line.contains("interrupt to end it") {
            break;
        }
    }
    assert_eq!(commands.len(), 3, "{commands:#?}");
    for command in &commands {
        let command = command.replace("curl -sS", "curl -sS --fail");
        let ran = Command::new("sh").args(["-c", &command]).current_dir(directory.path()).output().unwrap();
        assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    let fetched = std::fs::read(directory.path().join("earthquakes.json")).unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/earthquakes.json");
    assert!(fetched == std::fs::read(shipped).unwrap(), "curl got other bytes");
    let interrupted = Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    let config = kept.join("kansai.example/sekisho.toml");
    assert_eq!(sekisho(["check".as_ref(), "--config".as_ref(), config.as_os_str()]).status.code(), Some(0));
}
