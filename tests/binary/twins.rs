//! Two organisations on disk, each the other's partner and witness, and the processes that serve them.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use http::{Method, Request};
use sekisho::record::witness::Cosigner;
use sekisho::record::{COSIGNED, Cosigned, Entries, ReadEntry, Signer};
use sekisho::shell::certs::{DevOptions, dev};
use sekisho::types::{Clock as _, SystemClock, Timestamp};

use crate::site::{Serving, sekisho, serve, write_policy};
use crate::world::{ClientBody, Connection, Reply, Reserved, Upstream, party, soon, until, whole};

/// Kansai, which lets its partner read its entries.
pub const KANSAI: usize = 0;
/// Wessex, which does not.
pub const WESSEX: usize = 1;
const IDS: [&str; 2] = ["kansai.example", "wessex.example"];

/// Where one of them listens.
struct Ports {
    partner: Reserved,
    local: Reserved,
    admin: Reserved,
}

/// Both, as they lie on disk.
pub struct Twins {
    directory: tempfile::TempDir,
    ports: [Ports; 2],
}

impl Twins {
    /// Writes everything; each upstream serves `open` and takes what is sent to `inbox`.
    pub fn new(upstreams: [&Upstream; 2]) -> Self {
        let ports = || Ports { partner: Reserved::port(), local: Reserved::port(), admin: Reserved::port() };
        let twins = Self { directory: tempfile::tempdir().unwrap(), ports: [ports(), ports()] };
        for id in IDS {
            let options = DevOptions {
                directory: twins.path(id),
                party: party(id),
                // An hour back, since the clocks of test machines are corrected now and then.
                valid_from: Timestamp::from_seconds(SystemClock.now().seconds() - 3600),
                dns: Vec::new(),
                addresses: Vec::new(),
                force: false,
            };
            dev(&options).unwrap();
        }
        write_policy(&twins.path("policy"));
        for (side, upstream) in upstreams.into_iter().enumerate() {
            std::fs::write(twins.config(side), twins.configuration(side, upstream)).unwrap();
        }
        twins
    }

    fn configuration(&self, side: usize, upstream: &Upstream) -> String {
        let (us, them) = (IDS[side], IDS[1 - side]);
        let Ports { partner, local, admin } = &self.ports[side];
        let [partner, local, admin] = [partner, local, admin].map(Reserved::address);
        let endpoint = self.ports[1 - side].partner.address();
        let (open, inbox) = (upstream.base("open"), upstream.base("inbox"));
        let (log_key, witness_key) = (self.log_key(1 - side), self.witness_key(1 - side));
        let readable = side == KANSAI;
        format!(
            r#"[party]
id = "{us}"
country = "JP"
type = "company"
membership = "active"
framework = "IAP-FA:1.0"

[listen]
partner = "{partner}"
local = "{local}"
admin = "{admin}"

[admin]
anchors = "{us}/ca.pem"

[tls]
certificate = "{us}/gateway.pem"
key = "{us}/gateway.key"

[passes]
key = "{us}/pass.key"

[record]
directory = "{us}/log"
key = "{us}/log.key"

[witness]
key = "{us}/witness.key"
partners = ["{them}"]
interval = "100ms"

[policy]
directory = "policy"
budget = "10s"

[state]
directory = "{us}/state"

[inputs]
directory = "{us}/inputs"

[subjects]
directory = "{us}/subjects"

[[dataset]]
id = "open"
origin = "JP"
licence = "CC0-1.0"
purposes = ["dfft:DisasterResponse"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "{open}"

[[dataset]]
id = "inbox"
origin = "JP"
licence = "CC0-1.0"
purposes = ["dfft:DisasterResponse"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "{inbox}"
accepts = ["push"]

[[partner]]
id = "{them}"
endpoint = "{endpoint}"
log_key = "{log_key}"
witness_key = "{witness_key}"
log_entries = {readable}
signatures = "all"
country = "GB"
type = "academia"
membership = "active"
framework = "IAP-FA:1.0"
anchors = "{them}/ca.pem"
jwks = "{them}/jwks.json"
"#
        )
    }

    /// A path below the directory of both.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text, for a command line.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A file of one side.
    pub fn file(&self, side: usize, name: &str) -> String {
        self.text(&format!("{}/{name}", IDS[side]))
    }

    pub fn config(&self, side: usize) -> PathBuf {
        self.path(&format!("{}.toml", IDS[side]))
    }

    /// The log's verifier key, as its partner holds it.
    pub fn log_key(&self, side: usize) -> String {
        let pem = std::fs::read(self.file(side, "log.key")).unwrap();
        Signer::from_pkcs8(&pem).unwrap().verifier_key(&format!("{}/log", IDS[side]))
    }

    /// The witness's verifier key.
    pub fn witness_key(&self, side: usize) -> String {
        let pem = std::fs::read(self.file(side, "witness.key")).unwrap();
        Cosigner::from_pkcs8(&format!("{}/witness", IDS[side]), &pem).unwrap().verifier_key()
    }

    /// Both as processes.
    pub async fn serve(&self) -> [Serving; 2] {
        let configs = [self.config(KANSAI), self.config(WESSEX)];
        let both = tokio::task::spawn_blocking(move || configs.map(|config| serve(&config)));
        soon("both serve", both).await.unwrap()
    }

    /// The base address of the log at the admin listener.
    pub fn at_admin(&self, side: usize) -> String {
        format!("https://localhost:{}/log", self.ports[side].admin.address().port())
    }

    /// The same at the partner listener.
    pub fn at_partner(&self, side: usize) -> String {
        format!("https://localhost:{}/log", self.ports[side].partner.address().port())
    }

    /// An application of one side asks for or sends something at the other's.
    pub async fn application(&self, side: usize, method: Method, path: &str, body: ClientBody) -> Reply {
        let uri = format!("/partners/{}/data/{path}", IDS[1 - side]);
        let request = Request::builder().method(method).uri(uri).header("sekisho-purpose", "dfft:DisasterResponse");
        let request = request.header("content-type", "text/plain").body(body).unwrap();
        let mut connection = Connection::plain(self.ports[side].local.address()).await.unwrap();
        connection.send(request).await.unwrap()
    }

    pub async fn fetch(&self, side: usize, path: &str) -> Reply {
        self.application(side, Method::GET, path, whole("")).await
    }

    /// All whole entries of a log.
    pub fn entries(&self, side: usize) -> Vec<ReadEntry> {
        // The writer may be in the middle of a frame.
        Entries::open(&self.path(IDS[side]).join("log")).unwrap().map_while(Result::ok).collect()
    }

    /// The index of the entry of this kind of an exchange.
    pub fn index(&self, side: usize, exchange: &str, kind: &str) -> Option<u64> {
        let is_it = |entry: &ReadEntry| entry.payload["exchange"] == exchange && entry.payload["kind"] == kind;
        self.entries(side).into_iter().find(is_it).map(|entry| entry.index.0)
    }

    /// Waits until a log holds this many receipts of its partner, and its partner cosigned all that it holds.
    pub async fn settled(&self, side: usize, receipts: usize) {
        let directory = self.path(IDS[side]).join("log").join(COSIGNED);
        let name = format!("\n\u{2014} {}/witness ", IDS[1 - side]);
        until("a cosigned checkpoint", || {
            let files = std::fs::read_dir(&directory).into_iter().flatten().flatten();
            let text = files.map(|file| file.path()).max().map(std::fs::read_to_string);
            let Some(Ok(text)) = text else { return false };
            let last = text.rsplit_once('\n').and_then(|(lines, _)| lines.lines().last().map(str::to_owned));
            let last: Option<Cosigned> = last.and_then(|line| serde_json::from_str(&line).ok());
            let entries = self.entries(side);
            let received = entries.iter().filter(|entry| entry.payload["kind"] == "receipt").count();
            received == receipts
                && last.is_some_and(|last| last.size == entries.len() as u64 && last.note.contains(&name))
        })
        .await;
    }

    /// The options of a command that reads logs over TLS as somebody of one side, and believes both.
    pub fn tls(&self, side: usize, who: &str) -> Vec<String> {
        let both = [KANSAI, WESSEX].map(|side| std::fs::read_to_string(self.file(side, "ca.pem")).unwrap()).concat();
        std::fs::write(self.path("both.pem"), both).unwrap();
        let options = [
            ("--certificate", self.file(side, &format!("{who}.pem"))),
            ("--key-file", self.file(side, &format!("{who}.key"))),
            ("--anchors", self.text("both.pem")),
        ];
        options.into_iter().flat_map(|(option, file)| [option.to_owned(), file]).collect()
    }
}

/// Runs the binary in the background, so that gateways' upstreams can answer meanwhile.
pub async fn run<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    let arguments: Arc<[std::ffi::OsString]> = arguments.into_iter().map(|word| word.as_ref().to_owned()).collect();
    tokio::task::spawn_blocking(move || sekisho(arguments.iter())).await.unwrap()
}
