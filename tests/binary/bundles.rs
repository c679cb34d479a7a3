//! Bundles between Sekisho and the real OPA: each verifies what the other signed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use sekisho::shell::certs::ed25519_key_pem;
use serde_json::Value;

use crate::site::{sekisho, stderr, stdout};

/// Everything that is awkward to hash: numbers as they are written, escapes, other scripts, separators of lines.
const DATA: &str = r#"{"z": [1.50, -0, 1E5, 1e-7, 12345678901234567890, 0.1e1], "purpose": "dpv:ScientificResearch",
"text": "<&> \u0001\u001f\u007f \u2028\u2029 \b\f\n\r\t \/ \" \\ 関所 \ud83d\ude00", "": {"b": null, "a": [], "B": {}, "ä": true}}"#;
const REGO: &str = r#"# A small policy.
package t

default decision := {
	"decision": "deny",
	"reasons": [{"rule": "T-1", "effect": "deny", "why": "It is another purpose.", "remedy": "Ask for research."}],
	"obligations": [],
}

decision := {"decision": "permit", "reasons": [], "obligations": []} if input.purpose == data.t.facts.purpose
"#;
const CASES: &str =
    r#"[{"id": "permits", "input": {"purpose": "dpv:ScientificResearch"}, "expect": {"decision": "permit"}}]"#;

/// A small policy as a directory.
fn write_policy(directory: &Path, revision: &str) {
    let manifest = format!(
        r#"{{"revision": "{revision}", "roots": ["t"], "rego_version": 1,
            "metadata": {{"id": "t", "entrypoint": "t/decision", "inputs": ["purpose"]}}}}"#
    );
    for (path, text) in [
        (".manifest", manifest.as_str()),
        ("policies/t.rego", REGO),
        ("t/facts/data.json", DATA),
        ("cases/all.json", CASES),
    ] {
        let place = directory.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }
}

/// The real OPA. Without it there is nothing to compare with, so these tests fail and say how to get it.
fn opa() -> String {
    let found = Command::new("scripts/find-opa.sh").current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(found.status.success(), "there is no opa to compare with: run scripts/prepare-tests.sh, which installs it");
    let path = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

/// A place with a policy and key pairs.
struct Desk {
    directory: tempfile::TempDir,
    opa: String,
}

/// Kinds of keys, and what OPA calls their algorithms.
const KINDS: [(&str, &str, &[&str]); 4] = [
    ("ed25519", "EdDSA", &["-algorithm", "ed25519"]),
    ("p256", "ES256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", "ES384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("rsa", "RS256", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
];

impl Desk {
    fn new() -> Self {
        let desk = Self { opa: opa(), directory: tempfile::tempdir().unwrap() };
        write_policy(&desk.directory.path().join("policy"), "2026-11-21.1");
        desk
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes `NAME.pem` and `NAME.pub` as the commands' help says.
    fn key(&self, name: &str, arguments: &[&str]) {
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).current_dir(self.directory.path()).output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
        };
        let (private, public) = (format!("{name}.pem"), format!("{name}.pub"));
        openssl(&[&["genpkey", "-out", &private][..], arguments].concat());
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
    }

    fn opa(&self, arguments: &[&str]) -> Output {
        Command::new(&self.opa).args(arguments).current_dir(self.directory.path()).output().unwrap()
    }

    /// Runs our `policy` command, which must succeed.
    fn policy(&self, arguments: &[&str]) -> String {
        let output = self.try_policy(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
        stdout(&output).to_owned()
    }

    fn try_policy(&self, arguments: &[&str]) -> Output {
        sekisho([&["policy"][..], arguments].concat())
    }

    fn built(&self) -> String {
        let archive = self.path("bundle.tar.gz");
        self.policy(&["build", &self.path("policy"), "--out", &archive, "--opa", &self.opa]);
        archive
    }

    /// Whether OPA takes an archive under a public key.
    fn opa_takes(&self, archive: &str, key: &str, algorithm: &str) -> Result<(), String> {
        let key = format!("{key}.pub");
        let arguments = [
            "build",
            "--bundle",
            archive,
            "--verification-key",
            &key,
            "--signing-alg",
            algorithm,
            "--output",
            "again.tar.gz",
        ];
        let output = self.opa(&arguments);
        if output.status.success() { Ok(()) } else { Err(format!("{}{}", stdout(&output), stderr(&output))) }
    }
}

#[test]
fn opa_verifies_what_sekisho_signed() {
    let desk = Desk::new();
    let archive = desk.built();
    desk.key("other", &["-algorithm", "ed25519"]);
    for (name, algorithm, arguments) in &KINDS[..3] {
        desk.key(name, arguments);
        desk.policy(&["sign", &archive, "--key", &desk.path(&format!("{name}.pem")), "--expires", "90d"]);
        assert_eq!(desk.opa_takes(&archive, name, algorithm), Ok(()), "{algorithm}");
        let told = desk.policy(&["verify", &archive, "--key", &desk.path(&format!("{name}.pub")), "--json"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["verified"], true);
        assert_eq!((&told["signature"]["algorithm"], &told["policy"]["id"]), (&(*algorithm).into(), &"t".into()));
    }
    // Neither takes it under another key, and both see a change.
    desk.policy(&["sign", &archive, "--key", &desk.path("ed25519.pem")]);
    let refused = desk.opa_takes(&archive, "other", "EdDSA").unwrap_err();
    assert!(refused.contains("failed to verify"), "{refused}");
    let refused = desk.try_policy(&["verify", &archive, "--key", &desk.path("other.pub"), "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stdout(&refused).contains("bundle_signature_invalid"), "{}", stdout(&refused));
    let mut changed = sekisho::decide::Archive::open(Path::new(&archive)).unwrap();
    changed.insert("policies/t.rego", REGO.replace("==", "!=").into_bytes()).unwrap();
    std::fs::write(&archive, changed.pack().unwrap()).unwrap();
    let refused = desk.opa_takes(&archive, "ed25519", "EdDSA").unwrap_err();
    assert!(refused.contains("digest mismatch"), "{refused}");
    let refused = desk.try_policy(&["verify", &archive, "--key", &desk.path("ed25519.pub")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stdout(&refused).contains("bundle_hash_wrong"), "{}", stdout(&refused));
}

#[test]
fn sekisho_verifies_what_opa_signed() {
    let desk = Desk::new();
    for (name, algorithm, arguments) in KINDS {
        desk.key(name, arguments);
        let private = format!("{name}.pem");
        let arguments = [
            "build",
            "--target",
            "wasm",
            "--entrypoint",
            "t/decision",
            "--bundle",
            "policy",
            "--output",
            "theirs.tar.gz",
            "--signing-key",
            &private,
            "--signing-alg",
            algorithm,
        ];
        let built = desk.opa(&arguments);
        assert!(built.status.success(), "{}", stderr(&built));
        let told = desk.policy(&[
            "verify",
            &desk.path("theirs.tar.gz"),
            "--key",
            &desk.path(&format!("{name}.pub")),
            "--key-id",
            "default",
            "--json",
        ]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["signature"]["algorithm"], algorithm);
        assert_eq!(told["policy"]["revision"], "2026-11-21.1");
    }
}

#[test]
fn what_opa_signs_apart_is_verified_with_its_data_as_written() {
    let desk = Desk::new();
    desk.key("rsa", KINDS[3].2);
    let archive = desk.built();
    // OPA lists the files of a directory; packed with its signature, they are a bundle.
    let unpacked = desk.directory.path().join("unpacked");
    let files = sekisho::decide::Archive::open(Path::new(&archive)).unwrap();
    for (path, content) in files.files() {
        let place = unpacked.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, content).unwrap();
    }
    // From inside, since OPA lists files by the names that it was given.
    let signed = Command::new(&desk.opa)
        .args(["sign", "--bundle", ".", "--signing-key", "../rsa.pem", "--signing-alg", "PS256"])
        .current_dir(&unpacked)
        .output()
        .unwrap();
    assert!(signed.status.success(), "{}", stderr(&signed));
    let packed = Command::new("tar")
        .args(["-czf", "packed.tar.gz", "-C", "unpacked", "."])
        .current_dir(desk.directory.path())
        .status()
        .unwrap();
    assert!(packed.success());
    let (packed, key) = (desk.path("packed.tar.gz"), desk.path("rsa.pub"));
    desk.policy(&["verify", &packed, "--key", &key, "--algorithm", "PS256"]);
    let refused = desk.try_policy(&["verify", &packed, "--key", &key]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stdout(&refused).contains("bundle_signature_invalid"), "{}", stdout(&refused));
}

#[test]
fn a_built_bundle_is_the_directorys_policy_for_both_engines() {
    let desk = Desk::new();
    let archive = desk.path("bundle.tar.gz");
    let told = desk.policy(&["build", &desk.path("policy"), "--out", &archive, "--opa", &desk.opa, "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(told["module_bytes"].as_u64().unwrap() > 10_000, "{told}");
    let input = desk.path("input.json");
    for (purpose, decision) in [("dpv:ScientificResearch", "permit"), ("dpv:Marketing", "deny")] {
        std::fs::write(&input, format!(r#"{{"purpose": "{purpose}"}}"#)).unwrap();
        let of_archive = desk.policy(&["eval", "--policy", &archive, "--input", &input]);
        assert_eq!(of_archive, desk.policy(&["eval", "--policy", &desk.path("policy"), "--input", &input]));
        let decided: Value = serde_json::from_str(&of_archive).unwrap();
        assert_eq!((&decided["decision"], &decided["policy"]["digest"]), (&decision.into(), &told["policy"]["digest"]));
        // A bundle's decision is told and its law, and its source is not interpreted for it.
        let told = desk.try_policy(&["explain", "--policy", &archive, "--input", &input]);
        let verdict = decision.to_uppercase();
        assert!(stdout(&told).starts_with(&verdict) && !stdout(&told).contains("conditions hold"), "{}", stdout(&told));
    }
    assert!(desk.policy(&["test", &archive]).contains("1 cases hold, 0 do not"));
    // The entrypoint is in the source, where `opa build -t wasm` takes it out.
    let files = sekisho::decide::Archive::open(Path::new(&archive)).unwrap();
    assert_eq!(files.file("policies/t.rego"), Some(REGO.as_bytes()));
    assert_eq!(files.file("t/facts/data.json"), Some(DATA.as_bytes()));
}

#[test]
fn a_policy_that_opa_does_not_compile_is_not_built() {
    let desk = Desk::new();
    let (policy, archive) = (desk.path("policy"), desk.path("bundle.tar.gz"));
    std::fs::write(desk.directory.path().join("policy/policies/t.rego"), format!("{REGO}\nx := undefined_thing\n"))
        .unwrap();
    let refused = desk.try_policy(&["build", &policy, "--out", &archive, "--opa", &desk.opa]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("policies/t.rego:12"), "{}", stderr(&refused));
    std::fs::remove_file(desk.directory.path().join("policy/.manifest")).unwrap();
    let refused = desk.try_policy(&["build", &policy, "--out", &archive, "--opa", &desk.opa]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains(".manifest"), "{}", stderr(&refused));
    assert!(!Path::new(&archive).exists());
}

#[test]
fn what_is_missing_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    write_policy(&directory.path().join("policy"), "2026-11-21.1");
    let no_opa = sekisho(["policy", "build", &path("policy"), "--out", &path("b.tar.gz"), "--opa", &path("nothing")]);
    assert_eq!(no_opa.status.code(), Some(2));
    assert!(stderr(&no_opa).contains("go install github.com/open-policy-agent/opa@"), "{}", stderr(&no_opa));
    let not_opa = sekisho(["policy", "build", &path("policy"), "--out", &path("b.tar.gz"), "--opa", "/bin/true"]);
    assert_eq!(not_opa.status.code(), Some(2));
    std::fs::write(path("key.pem"), ed25519_key_pem().unwrap()).unwrap();
    let open_to_others = sekisho(["policy", "sign", &path("b.tar.gz"), "--key", &path("key.pem")]);
    assert_eq!(open_to_others.status.code(), Some(2));
    assert!(stderr(&open_to_others).contains("chmod 600"), "{}", stderr(&open_to_others));
    std::fs::set_permissions(path("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let no_file = sekisho(["policy", "sign", &path("b.tar.gz"), "--key", &path("key.pem")]);
    assert_eq!(no_file.status.code(), Some(2));
    std::fs::write(path("b.tar.gz"), "no archive").unwrap();
    let no_archive = sekisho(["policy", "sign", &path("b.tar.gz"), "--key", &path("key.pem"), "--json"]);
    assert_eq!(no_archive.status.code(), Some(1));
    let told: Value = serde_json::from_str(stdout(&no_archive)).unwrap();
    assert_eq!((&told["signed"], &told["code"]), (&false.into(), &"bundle_unreadable".into()));
    assert_eq!(std::fs::read(path("b.tar.gz")).unwrap(), b"no archive");
    let no_key = sekisho(["policy", "sign", &path("b.tar.gz"), "--key", &path("b.tar.gz")]);
    assert_eq!(no_key.status.code(), Some(2));
    let private = sekisho(["policy", "verify", &path("b.tar.gz"), "--key", &path("key.pem")]);
    assert_eq!(private.status.code(), Some(2));
    assert!(stderr(&private).contains("-pubout"), "{}", stderr(&private));
}
