//! The stage: identities, configuration files, and the processes of gateways and data services.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::cast::{Addresses, BENGALURU, CAST, KANSAI, Known, Party, WESSEX, configuration};
use crate::record::witness::Cosigner;
use crate::record::{COSIGNED, Cosigned, Entries, ReadEntry, Signer};
use crate::shell::certs::{Identity, write_party};
use crate::types::{Clock as _, PartyId, SystemClock, Timestamp};

/// How long a process of ours may take to listen, and a log to be written.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often we look.
const LOOK: Duration = Duration::from_millis(20);
/// Certificates are good from a while ago, for clocks that differ.
const BACKDATED: Duration = Duration::from_secs(3600);

/// The parties with a gateway.
const ORGANISATIONS: [&Party; 3] = [&KANSAI, &WESSEX, &BENGALURU];

/// Everything that stands while the story is played.
pub(super) struct Stage {
    directory: PathBuf,
    temporary: bool,
    identities: HashMap<&'static str, Identity>,
    addresses: HashMap<&'static str, Addresses>,
    processes: Vec<Process>,
    /// When the youngest process was listening.
    set: Instant,
}

/// A child of ours; it ends with us.
struct Process {
    name: String,
    /// The party whose gateway it is; none for a data service.
    gateway: Option<&'static str>,
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only reached with the child still running when something failed; then its end must not leave it behind.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A verification by an outsider.
pub(super) struct Verification {
    pub(super) party: &'static str,
    pub(super) report: Value,
}

impl Stage {
    /// Mints identities, writes configurations and starts every process.
    pub(super) async fn set(keep: Option<PathBuf>) -> Result<Self> {
        let temporary = keep.is_none();
        let directory = match keep {
            Some(directory) => directory,
            None => std::env::temp_dir().join(format!("sekisho-demo-{}", std::process::id())),
        };
        if directory.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{} is not empty; give the demo a directory of its own", directory.display());
        }
        let mut stage = Self {
            directory,
            temporary,
            identities: HashMap::new(),
            addresses: HashMap::new(),
            processes: Vec::new(),
            set: Instant::now(),
        };
        let from = SystemClock.now().millis().saturating_sub(BACKDATED.as_secs() * 1000);
        for party in CAST {
            let id: PartyId = party.id.parse()?;
            let identity = Identity::mint(&id, Timestamp::from_millis(from), &[], &[])?;
            write_party(&stage.directory.join(party.id), &identity, false)?;
            stage.identities.insert(party.id, identity);
        }
        // Made absolute once it exists, so that the commands to type next work from anywhere.
        stage.directory = stage.directory.canonicalize()?;
        let mut ports = free_ports(ORGANISATIONS.len() * 4)?.into_iter();
        let mut next = || ports.next().context("too few ports");
        for party in ORGANISATIONS {
            let addresses = Addresses { partner: next()?, local: next()?, admin: next()?, data: next()? };
            stage.addresses.insert(party.id, addresses);
        }
        let mut keys = HashMap::new();
        for party in ORGANISATIONS {
            let (log_key, witness_key) = (stage.log_key(party)?, stage.witness_key(party)?);
            keys.insert(party.id, Known { endpoint: stage.addresses[party.id].partner, log_key, witness_key });
        }
        for party in ORGANISATIONS {
            let text = configuration(party, &stage.addresses[party.id], |other| keys.get(other.id).cloned());
            std::fs::write(stage.config(party), text)?;
        }
        for party in ORGANISATIONS {
            let data = stage.addresses[party.id].data;
            let arguments = stage.data_service_arguments(party);
            stage.start(format!("data service of {}", party.id), None, &arguments, &[data])?;
            let Addresses { partner, local, admin, .. } = stage.addresses[party.id];
            let arguments = stage.serve_arguments(party);
            stage.start(format!("gateway of {}", party.id), Some(party.id), &arguments, &[partner, local, admin])?;
        }
        // No exchange begins before a witness has said that it saw nothing newer.
        stage.witnessed(false).await?;
        stage.set = Instant::now();
        Ok(stage)
    }

    /// How long everything has been listening.
    pub(super) fn age(&self) -> Duration {
        self.set.elapsed()
    }

    /// Where everything lies.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A party's certificates and keys.
    pub(super) fn identity(&self, party: &Party) -> &Identity {
        &self.identities[party.id]
    }

    /// Where an organisation listens.
    pub(super) fn addresses(&self, party: &Party) -> Addresses {
        self.addresses[party.id]
    }

    /// Where an organisation's data service keeps what was sent to it.
    pub(super) fn inbox(&self, party: &Party) -> PathBuf {
        self.directory.join(party.id).join("inbox")
    }

    /// All entries of an organisation's log that are there now.
    pub(super) fn entries(&self, party: &Party) -> Result<Vec<ReadEntry>> {
        let entries = Entries::open(&self.log(party))?;
        // The writer may be in the middle of a frame: what is whole is what there is.
        Ok(entries.map_while(Result::ok).collect())
    }

    /// Decision and outcome of an exchange, with the decision's index, once both are in the log.
    pub(super) async fn record(&self, party: &Party, exchange: &str) -> Result<(u64, Value, Value)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (mut decision, mut outcome) = (None, None);
            for entry in self.entries(party)? {
                if entry.payload.get("exchange").and_then(Value::as_str) == Some(exchange) {
                    match entry.payload.get("kind").and_then(Value::as_str) {
                        Some("decision") => decision = Some((entry.index.0, entry.payload)),
                        Some("outcome") => outcome = Some(entry.payload),
                        // A receipt tells of the exchange, too, and comes when it comes.
                        _ => {}
                    }
                }
            }
            if let (Some((index, decision)), Some(outcome)) = (decision, outcome) {
                return Ok((index, decision, outcome));
            }
            if Instant::now() > deadline {
                bail!("exchange {exchange} is not in the log of {}", party.id);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The exchange that the newest refused handshake left in a log, once one with this code is there.
    pub(super) async fn refused_handshake(&self, party: &Party, code: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.entries(party)?.into_iter().rev().find_map(|entry| {
                let matches = entry.payload.get("code").and_then(Value::as_str) == Some(code);
                let exchange = entry.payload.get("exchange").and_then(Value::as_str);
                exchange.filter(|_| matches).map(str::to_owned)
            });
            match found {
                Some(exchange) => return Ok(exchange),
                None if Instant::now() > deadline => bail!("no {code} in the log of {}", party.id),
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Peak resident memory of each gateway, in bytes.
    pub(super) fn peak_memory(&self) -> Result<Vec<(&'static str, u64)>> {
        let gateways = self.processes.iter().filter_map(|process| Some((process.gateway?, process.child.id())));
        gateways
            .map(|(party, pid)| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
                    .with_context(|| format!("reading the memory of the gateway of {party}"))?;
                let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kibibytes = peak.and_then(|peak| peak.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
                Ok((party, kibibytes.context("the kernel tells no peak memory")? * 1024))
            })
            .collect()
    }

    /// Waits until every log's checkpoint covers all of its entries.
    pub(super) async fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for party in ORGANISATIONS {
            let checkpoint = self.log(party).join("checkpoint");
            loop {
                let entries = self.entries(party)?.len();
                let text = std::fs::read_to_string(&checkpoint).unwrap_or_default();
                if text.lines().nth(1).and_then(|size| size.parse().ok()) == Some(entries) {
                    break;
                }
                if Instant::now() > deadline {
                    bail!("the checkpoint of {} does not catch up", party.id);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Waits until each log has been cosigned by all other organisations: any checkpoint of it, or the last. Gives the
    /// names of the witnesses.
    pub(super) async fn witnessed(&self, last: bool) -> Result<Vec<(&'static str, Vec<String>)>> {
        let deadline = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        for party in ORGANISATIONS {
            let others = ORGANISATIONS.iter().filter(|other| other.id != party.id).map(|other| witness_name(other));
            let others: Vec<String> = others.collect();
            loop {
                let size = if last { Some(self.entries(party)?.len() as u64) } else { None };
                let line = last_cosigned(&self.log(party)).filter(|line| size.is_none_or(|size| line.size == size));
                let signed = |name: &&String| {
                    line.as_ref().is_some_and(|line| line.note.contains(&format!("\n\u{2014} {name} ")))
                };
                if others.iter().all(|name| signed(&name)) {
                    break;
                }
                if Instant::now() > deadline {
                    bail!("the log of {} is not cosigned by {}", party.id, others.join(" and "));
                }
                tokio::time::sleep(LOOK).await;
            }
            all.push((party.id, others));
        }
        Ok(all)
    }

    /// Lets `sekisho log verify` look at every log, beside those of the others, who must tell the same.
    pub(super) fn verify(&self) -> Result<Vec<Verification>> {
        let verify = |party: &&'static Party| {
            let others: Vec<&Party> = ORGANISATIONS.into_iter().filter(|other| other.id != party.id).collect();
            Ok(Verification { party: party.id, report: self.judge(party, &self.log(party), &others)? })
        };
        ORGANISATIONS.iter().map(verify).collect()
    }

    /// What `sekisho log verify` says of a directory that passes for the log of a party: with the key that partners hold
    /// of it, the witnesses that they believe, everybody's keys, and the logs of others.
    pub(super) fn judge(&self, party: &Party, directory: &Path, others: &[&Party]) -> Result<Value> {
        let policy = self.directory.join("witnesses.policy");
        std::fs::write(&policy, self.witness_policy()?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["log", "verify", "--json", "--key", &self.log_key(party)?]).arg("--policy").arg(policy);
        for known in CAST {
            let jwks = self.directory.join(known.id).join("jwks.json");
            command.arg("--party").arg(format!("{}={}", known.id, jwks.display()));
        }
        for other in others {
            command.arg("--with").arg(self.log(other)).args(["--with-key", &self.log_key(other)?]);
        }
        let output = command.arg(directory).output().context("running sekisho log verify")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("log verify said: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Who has to have seen a log, as a C2SP tlog-policy: two of the three, which are both others, since nobody cosigns a
    /// log of its own.
    fn witness_policy(&self) -> Result<String> {
        let (mut text, mut names) = (String::new(), String::new());
        for party in ORGANISATIONS {
            let _ = writeln!(text, "log {}", self.log_key(party)?);
            let _ = writeln!(text, "witness {} {}", party.id, self.witness_key(party)?);
            let _ = write!(names, " {}", party.id);
        }
        let _ = writeln!(text, "group others 2{names}\nquorum others");
        Ok(text)
    }

    /// Ends every process: gateways drain first.
    pub(super) async fn strike(&mut self) -> Result<()> {
        for process in &self.processes {
            let status = Command::new("kill").args(["-TERM", &process.child.id().to_string()]).status();
            status.context("ending a process")?;
        }
        let deadline = Instant::now() + PATIENCE;
        for process in &mut self.processes {
            loop {
                if let Some(status) = process.child.try_wait()? {
                    if process.gateway.is_some() && !status.success() {
                        bail!("the {} ended with {status}", process.name);
                    }
                    break;
                }
                if Instant::now() > deadline {
                    bail!("the {} does not end", process.name);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        self.processes.clear();
        if self.temporary {
            std::fs::remove_dir_all(&self.directory).context("removing the demo's state")?;
        }
        Ok(())
    }

    /// The commands to type next.
    pub(super) fn next_steps(&self, running: bool) -> Result<String> {
        let program = std::env::current_exe()?;
        let program = program.display();
        let mut text = String::new();
        // Writing to a String does not fail.
        if !running {
            let _ = writeln!(text, "\nTo bring it up again, each in a terminal of its own:");
            for party in ORGANISATIONS {
                let _ = writeln!(text, "  {program} {}", self.data_service_arguments(party).join(" "));
                let _ = writeln!(text, "  {program} {}", self.serve_arguments(party).join(" "));
            }
        }
        let local = self.addresses(&WESSEX).local;
        let admin = self.addresses(&KANSAI).admin;
        let kansai = self.directory.join(KANSAI.id);
        let kansai = kansai.display();
        let _ = writeln!(text, "\nAs an application of Wessex, fetch a dataset of Kansai:");
        let _ = writeln!(
            text,
            "  curl -sS -D- -o earthquakes.json -H 'Sekisho-Purpose: dfft:DisasterResponse' \
             http://{local}/partners/{}/data/usgs-earthquakes",
            KANSAI.id
        );
        let _ = writeln!(text, "As an operator of Kansai, look at its partners:");
        let _ = writeln!(
            text,
            "  curl -sS --cert {kansai}/operator.pem --key {kansai}/operator.key --cacert {kansai}/ca.pem \
             https://localhost:{}/api/partners",
            admin.port()
        );
        let _ = writeln!(text, "As anyone, verify the log of Kansai:");
        let _ =
            writeln!(text, "  {program} log verify {} --key {}", self.log(&KANSAI).display(), self.log_key(&KANSAI)?);
        Ok(text)
    }

    fn config(&self, party: &Party) -> PathBuf {
        self.directory.join(party.id).join("sekisho.toml")
    }

    /// Where an organisation's log lies.
    pub(super) fn log(&self, party: &Party) -> PathBuf {
        self.directory.join(party.id).join("log")
    }

    fn log_key(&self, party: &Party) -> Result<String> {
        let signer = Signer::from_pkcs8(self.identity(party).log_key_pem.as_bytes())?;
        Ok(signer.verifier_key(&format!("{}/log", party.id)))
    }

    fn witness_key(&self, party: &Party) -> Result<String> {
        let key = self.identity(party).witness_key_pem.as_bytes();
        Ok(Cosigner::from_pkcs8(&witness_name(party), key)?.verifier_key())
    }

    fn serve_arguments(&self, party: &Party) -> Vec<String> {
        vec!["serve".to_owned(), "--config".to_owned(), self.config(party).display().to_string()]
    }

    fn data_service_arguments(&self, party: &Party) -> Vec<String> {
        let (listen, inbox) = (self.addresses(party).data.to_string(), self.inbox(party).display().to_string());
        vec!["data-service".to_owned(), "--listen".to_owned(), listen, "--inbox".to_owned(), inbox]
    }

    /// Starts this program once more and waits until it listens.
    fn start(
        &mut self,
        name: String,
        gateway: Option<&'static str>,
        arguments: &[String],
        listening: &[SocketAddr],
    ) -> Result<()> {
        let directory = self.directory.join(gateway.unwrap_or("."));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("stderr.log"))?;
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting the {name}"))?;
        let mut process = Process { name, gateway, child };
        let deadline = Instant::now() + PATIENCE;
        for address in listening {
            while std::net::TcpStream::connect_timeout(address, LOOK).is_err() {
                if let Some(status) = process.child.try_wait()? {
                    let said = std::fs::read_to_string(directory.join("stderr.log")).unwrap_or_default();
                    bail!("the {} ended with {status}: {said}", process.name);
                }
                if Instant::now() > deadline {
                    bail!("the {} does not listen on {address}", process.name);
                }
                std::thread::sleep(LOOK);
            }
        }
        self.processes.push(process);
        Ok(())
    }
}

/// What an organisation is called as a witness.
fn witness_name(party: &Party) -> String {
    format!("{}/witness", party.id)
}

/// The last line of a log's files of cosigned checkpoints, once it is whole.
fn last_cosigned(log: &Path) -> Option<Cosigned> {
    let names = std::fs::read_dir(log.join(COSIGNED)).ok()?.flatten().map(|entry| entry.path());
    let text = std::fs::read_to_string(names.max()?).ok()?;
    serde_json::from_str(text.rsplit_once('\n')?.0.lines().last()?).ok()
}

/// Loopback ports that were free a moment ago, all different.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().context("finding free ports")?;
    Ok(listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}
