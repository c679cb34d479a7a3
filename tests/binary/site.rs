//! An organisation on disk: keys, certificates and configuration as `serve` wants them, and the process that serves.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use sekisho::shell::certs::{DevOptions, Leaf, dev};
use sekisho::types::{Clock as _, SystemClock, Timestamp};

use crate::world::{Peer, Provider, Reserved, Upstream, party};

/// The binary under test.
pub const SEKISHO: &str = env!("CARGO_BIN_EXE_sekisho");

/// A policy without facts that go stale, so that these tests hold on any date: permits everything but two purposes, and
/// says nothing at all about an input without a purpose.
const REGO: &str = r#"package small

decision := {"decision": "permit", "reasons": [], "obligations": []} if {
	input.purpose != "dpv:Marketing"
	input.purpose != "dfft:JointDevelopment"
}

decision := {
	"decision": "deny",
	"reasons": [{"rule": "SMALL-1", "effect": "deny", "why": "It is an advertisement.", "remedy": "Ask for research."}],
	"obligations": [],
} if {
	input.purpose == "dpv:Marketing"
}

decision := {
	"decision": "review",
	"reasons": [{
		"rule": "SMALL-2",
		"effect": "review",
		"why": "It is joint work.",
		"remedy": "Have it approved.",
		"approvers": ["export_control"],
	}],
	"obligations": [],
} if {
	input.purpose == "dfft:JointDevelopment"
}
"#;
const MANIFEST: &str = r#"{"revision": "1", "rego_version": 1, "metadata": {"id": "small", "entrypoint": "small/decision", "inputs": ["purpose"]}}"#;

/// Writes [`REGO`] as a policy directory.
pub fn write_policy(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join(".manifest"), MANIFEST).unwrap();
    std::fs::write(directory.join("small.rego"), REGO).unwrap();
}

/// Runs the binary to its end.
pub fn sekisho<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    Command::new(SEKISHO).args(arguments).output().unwrap()
}

/// What a command printed on stdout.
pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// What a command said on stderr.
pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Kansai on disk, with Wessex as its partner.
pub struct Site {
    directory: tempfile::TempDir,
    port: Reserved,
    admin: Reserved,
}

impl Site {
    /// Writes everything; the upstream serves one dataset, `open`.
    pub fn new(upstream: &Upstream) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // An hour back, since the clocks of test machines are corrected now and then.
        let valid_from = Timestamp::from_seconds(SystemClock.now().seconds() - 3600);
        for id in ["kansai.example", "wessex.example"] {
            let options = DevOptions {
                directory: directory.path().join(id),
                party: party(id),
                valid_from,
                dns: Vec::new(),
                addresses: Vec::new(),
                force: false,
            };
            dev(&options).unwrap();
        }
        write_policy(&directory.path().join("policy"));
        let site = Self { directory, port: Reserved::port(), admin: Reserved::port() };
        std::fs::write(site.config(), site.configuration(&upstream.base("open"))).unwrap();
        site
    }

    fn configuration(&self, upstream: &str) -> String {
        let port = self.address().port();
        let admin = self.admin();
        format!(
            r#"[party]
id = "kansai.example"
country = "JP"
type = "company"
membership = "active"
framework = "IAP-FA:1.0"

[listen]
partner = "127.0.0.1:{port}"
admin = "{admin}"

[admin]
anchors = "kansai.example/ca.pem"

[tls]
certificate = "kansai.example/gateway.pem"
key = "kansai.example/gateway.key"

[passes]
key = "kansai.example/pass.key"

[record]
directory = "log"
key = "kansai.example/log.key"

[policy]
directory = "policy"
budget = "10s"

[[dataset]]
id = "open"
origin = "JP"
licence = "CC0-1.0"
purposes = ["dfft:DisasterResponse"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "{upstream}"

[[partner]]
id = "wessex.example"
country = "GB"
type = "academia"
membership = "active"
framework = "IAP-FA:1.0"
anchors = "wessex.example/ca.pem"
jwks = "wessex.example/jwks.json"
"#
        )
    }

    /// A path below the site's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("sekisho.toml")
    }

    pub fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// The key of the log, as the gateway published it.
    pub fn log_key(&self) -> String {
        std::fs::read_to_string(self.log().join("log.pub")).unwrap().trim().to_owned()
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Wessex' client.
    pub fn peer(&self) -> Peer {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap();
        let leaf =
            Leaf { certificate_pem: read("wessex.example/gateway.pem"), key_pem: read("wessex.example/gateway.key") };
        let provider = Provider {
            party: "kansai.example".to_owned(),
            address: self.address(),
            authority_pem: read("kansai.example/ca.pem"),
        };
        Peer::new("wessex.example", leaf, &read("wessex.example/pass.key"), &provider, Arc::new(SystemClock))
    }

    /// Starts `serve`, and returns once it says that it serves.
    pub fn serve(&self) -> Serving {
        serve(&self.config())
    }
}

/// Starts `serve` with a configuration, and returns once it says that it serves.
pub fn serve(config: &Path) -> Serving {
    let mut child = Command::new(SEKISHO)
        .args([OsStr::new("serve"), OsStr::new("--config"), config.as_os_str()])
        .env("SEKISHO_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut lines = String::new();
    while !lines.contains("serving") {
        let read = said.read_line(&mut lines).unwrap();
        assert_ne!(read, 0, "serve ended: {lines}");
    }
    // A full pipe would stop the gateway.
    let rest = std::thread::spawn(move || {
        std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    });
    Serving { child, rest: Some(rest) }
}

/// A gateway's process. It does not outlive the test.
pub struct Serving {
    child: Child,
    rest: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    /// `kill -9`: the process gets no word of it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), None, "it ended by itself: {status}");
    }

    /// SIGTERM, and the status that it ends with.
    pub fn terminate(mut self) -> ExitStatus {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // After `wait` this does nothing; in a test that failed it ends the process.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(rest) = self.rest.take() {
            let _ = rest.join();
        }
    }
}
