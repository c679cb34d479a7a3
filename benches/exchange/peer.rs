//! A peer under test: a process of its own on a core of its own, ended by its id when the bench lets go of it.

use std::env;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpStream;

/// How long a peer may take until it listens.
const START: Duration = Duration::from_secs(15);
/// How long a peer may take to end after it was asked to; then it is killed.
const END: Duration = Duration::from_secs(5);
/// Between two looks at a peer that starts or ends.
const LOOK: Duration = Duration::from_millis(20);

/// Tells the re-executed bench which cores were chosen.
const CORES: &str = "EXCHANGE_BENCH_CORES";

/// The cores of a run: the peer's and the generator's, or none when the machine has only one or cannot pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    peer: Option<usize>,
}

impl Cores {
    /// Chooses two cores of those that this process may use, and starts the bench again on the second: from then on the
    /// process never leaves it. Returns only in the pinned process, or where pinning is impossible.
    pub fn claim() -> anyhow::Result<Self> {
        if let Ok(chosen) = env::var(CORES) {
            return Ok(Self { peer: Some(chosen.parse().with_context(|| format!("{CORES} is not a core"))?) });
        }
        let status = fs::read_to_string("/proc/self/status").context("the bench reads /proc: Linux only")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        let [peer, generator] = allowed(list)[..] else {
            eprintln!("one core only: peer and generator share it, and figures are higher than on two");
            return Ok(Self { peer: None });
        };
        let mut again = Command::new("taskset");
        again.args(["-c", &generator.to_string()]).arg(env::current_exe()?).args(env::args_os().skip(1));
        let error = again.env(CORES, peer.to_string()).exec();
        eprintln!("taskset cannot be run ({error}): the figures are of an unpinned run");
        Ok(Self { peer: None })
    }

    /// Whether peer and generator have a core each.
    pub fn pinned(self) -> bool {
        self.peer.is_some()
    }

    /// A command that runs `program` on the peer's core.
    pub fn command(self, program: &Path) -> Command {
        let Some(core) = self.peer else { return Command::new(program) };
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(program);
        command
    }
}

/// The first two cores of a list such as `0-3,8`.
fn allowed(list: &str) -> Vec<usize> {
    let cores = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    cores.flatten().take(2).collect()
}

/// A running peer.
pub struct Peer {
    /// Its name in the results.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    output: PathBuf,
}

impl Peer {
    /// Starts `command`, whose output goes to a file in `directory`, and waits until `address` accepts connections.
    pub async fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let output = directory.join(format!("{name}.out"));
        let file = File::create(&output)?;
        command.current_dir(directory).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let mut peer = Self { name, address, child, output };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = peer.child.try_wait()? {
                bail!("{name} ended before it listened ({status}){}", peer.said());
            }
            if Instant::now() > deadline {
                bail!("{name} does not listen on {address} after {} s{}", START.as_secs(), peer.said());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(peer)
    }

    /// The process to measure, children included.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines that the peer wrote, for the person who has to find out why.
    pub fn said(&self) -> String {
        let text = fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(20)).map(|line| format!("\n  {line}"));
        if lines.is_empty() {
            "; it wrote nothing".to_owned()
        } else {
            format!("; it wrote:{}", last.collect::<String>())
        }
    }
}

impl Drop for Peer {
    /// Asks the process to end, so that it takes its children with it, and kills it only when it does not.
    fn drop(&mut self) {
        // The shell's own `kill` exists wherever a shell does.
        Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &self.pid().to_string()])
            .stderr(Stdio::null())
            .status()
            .ok();
        let deadline = Instant::now() + END;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                self.child.kill().ok();
                self.child.wait().ok();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// A loopback address that is free now. The peer binds it a moment later: another program could be quicker, and then
/// the peer says so and the run ends.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
