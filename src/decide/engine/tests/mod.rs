//! What compiled policies answer, and what hostile ones come to. `scripts/prepare-tests.sh` installs the OPA that builds
//! them.

mod agreement;
mod assembler;
mod hostile;
mod limits;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::decide::{Bundle, DecideError, Policy, Verdict};

const PERMIT: &str = r#"{"decision": "permit", "reasons": [], "obligations": []}"#;
const MANIFEST: &str = r#"{"revision": "1", "metadata": {"id": "t", "entrypoint": "t/decision", "inputs": []}}"#;
/// A budget that ends no honest evaluation, on a machine under load either.
const AMPLE: Duration = Duration::from_secs(20);
/// A budget that every runaway meets.
const SHORT: Duration = Duration::from_millis(50);

/// A policy's directory, with its compiled module.
struct Built(tempfile::TempDir);

impl Built {
    /// One Rego file, built with OPA.
    fn from_rego(rego: &str) -> Self {
        let built = Self::without_module(rego);
        built.write("policy.wasm", &build(built.0.path(), "t/decision"));
        built
    }

    /// A module that is not OPA's, beside a source that says something else.
    fn with_module(module: &[u8]) -> Self {
        let built = Self::without_module("package t\ndecision := \"the source\"");
        built.write("policy.wasm", module);
        built
    }

    fn without_module(rego: &str) -> Self {
        let built = Self(tempfile::tempdir().unwrap());
        built.write(".manifest", MANIFEST.as_bytes());
        built.write("t.rego", rego.as_bytes());
        built
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn bundle(&self) -> Bundle {
        Bundle::read(self.0.path()).unwrap()
    }

    fn policy(&self, budget: Duration) -> Result<Policy, DecideError> {
        Policy::compile(&Bundle::read(self.0.path())?, budget)
    }
}

/// The verdict on an input, or the code and the words of why there is none.
fn verdict(policy: &Policy, input: &str) -> Result<Verdict, (&'static str, String)> {
    policy.evaluate(input).map(|decision| decision.verdict()).map_err(told)
}

fn told(error: DecideError) -> (&'static str, String) {
    (error.code(), error.to_string())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The compiled module of a policy's directory.
fn build(directory: &Path, entrypoint: &str) -> Vec<u8> {
    let found = Command::new(root().join("scripts/find-opa.sh")).output().unwrap();
    assert!(found.status.success(), "there is no opa to build policies with: run scripts/prepare-tests.sh");
    let opa = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim_end());
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("bundle.tar.gz");
    let built = Command::new(if opa.is_absolute() { opa } else { root().join(opa) })
        .args(["build", "--target", "wasm", "--entrypoint", entrypoint, "--output"])
        .args([&archive, Path::new("--bundle"), directory])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("policy.wasm") {
            let mut module = Vec::new();
            entry.read_to_end(&mut module).unwrap();
            return module;
        }
    }
    panic!("opa built no policy.wasm");
}
