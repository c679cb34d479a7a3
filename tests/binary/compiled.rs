//! A policy compiled to WebAssembly, as `opa build` makes it. `scripts/prepare-tests.sh` installs that OPA.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::site::{SEKISHO, stderr, stdout};

/// A policy that contradicts itself on some inputs: OPA's modules then abort with a message.
const REGO: &str = r#"package t

permit := {"decision": "permit", "reasons": [], "obligations": []}

decision := permit if input.a

decision := object.union(permit, {"obligations": [{"rule": "R", "do": "attribute", "to": "us"}]}) if input.b
"#;
const MANIFEST: &str = r#"{"revision": "1", "metadata": {"id": "t", "entrypoint": "t/decision", "inputs": []}}"#;

/// Writes [`REGO`] with its compiled module as a policy directory.
fn write(directory: &Path) {
    std::fs::write(directory.join(".manifest"), MANIFEST).unwrap();
    std::fs::write(directory.join("t.rego"), REGO).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(root.join("scripts/find-opa.sh")).output().unwrap();
    assert!(found.status.success(), "there is no opa to build policies with: run scripts/prepare-tests.sh");
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("bundle.tar.gz");
    let built = Command::new(root.join(stdout(&found).trim_end()))
        .args(["build", "--target", "wasm", "--entrypoint", "t/decision", "--output"])
        .args([&archive, Path::new("--bundle"), directory])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", stderr(&built));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap()));
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut module = Vec::new();
    let mut packed = entries.find(|entry| entry.path().unwrap().ends_with("policy.wasm")).unwrap();
    packed.read_to_end(&mut module).unwrap();
    std::fs::write(directory.join("policy.wasm"), module).unwrap();
}

#[test]
fn a_compiled_policy_decides_and_writes_nothing_into_our_log() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy");
    std::fs::create_dir(&policy).unwrap();
    write(&policy);
    let inputs = directory.path().join("inputs.json");
    std::fs::write(&inputs, r#"[{"a": true}, {"a": true, "b": true}, {}, {"b": true}]"#).unwrap();
    let run = Command::new(SEKISHO)
        .args(["policy", "eval", "--policy"])
        .args([&policy, Path::new("--inputs"), &inputs])
        .env("SEKISHO_LOG", "trace,opa_wasm=trace")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let decisions: Vec<Value> = stdout(&run).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = decisions.iter().map(|one| one["code"].as_str().or(one["decision"].as_str()).unwrap()).collect();
    assert_eq!(told, ["permit", "policy_failed", "policy_undefined", "permit"]);
    // The message is in our words, cut short; opa-wasm's own lines would hold all of it.
    assert!(decisions[1]["reasons"][0]["why"].as_str().unwrap().contains("conflict"), "{}", decisions[1]);
    assert!(!stderr(&run).contains("opa_") && !stderr(&run).contains("conflict"), "{}", stderr(&run));
}
