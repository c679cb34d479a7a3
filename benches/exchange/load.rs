//! The load: keep-alive connections in a closed loop, or one long body, all on the generator's one thread.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http1::Connection;
use crate::measure::{Spent, Window};
use crate::upstream::FILLING;

/// How long a worker waits after a failure, so that a peer that fails is not flooded with handshakes.
const AFTER_FAILURE: Duration = Duration::from_millis(5);

/// Whom to load, and as whom.
#[derive(Clone)]
pub struct Target {
    /// Where the peer listens.
    pub address: SocketAddr,
    /// The process to measure.
    pub pid: u32,
    /// Our side of TLS.
    pub tls: Arc<ClientConfig>,
    /// Whether to poll instead of sleeping. A generator that sleeps must be woken, and the peer pays for that: on a
    /// virtual machine often more than for the request.
    pub spin: bool,
}

/// How much load, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Connections, each with one request in flight.
    pub connections: usize,
    /// What passes before anything is counted.
    pub warm_up: Duration,
    /// What is counted.
    pub length: Duration,
}

/// What one run found.
#[derive(Debug)]
pub struct Sample {
    /// Answers that were complete and as expected.
    pub answers: u64,
    /// Bytes of body in them.
    pub bytes: u64,
    /// Everything else, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Half of the answers took no longer, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 answers took no longer, in microseconds.
    pub p99_us: f64,
    /// What it cost.
    pub spent: Spent,
}

/// One worker's share of a sample; latencies in tenths of a microsecond.
#[derive(Default)]
struct Tally {
    latencies: Vec<u32>,
    bytes: u64,
    failures: BTreeMap<String, u64>,
}

/// A GET with the pass, as a partner sends it.
pub fn request(path: &str, pass: Option<&str>) -> Vec<u8> {
    let pass = pass.map(|pass| format!("Authorization: Bearer {pass}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{pass}\r\n").into_bytes()
}

/// Sends `request` once on a new connection: the status, and the beginning of the body, which is checked to its last
/// byte when the status is 200.
pub async fn once(target: &Target, request: &[u8]) -> io::Result<(u16, String)> {
    let mut connection = connect(target).await?;
    let (mut beginning, mut genuine) = (Vec::new(), true);
    let answer = connection
        .exchange(request, |piece| {
            beginning.extend_from_slice(&piece[..piece.len().min(2000_usize.saturating_sub(beginning.len()))]);
            genuine &= piece.iter().all(|&byte| byte == FILLING);
        })
        .await?;
    if answer.status == 200 && !genuine {
        return Err(io::Error::other("a body that is not the upstream's"));
    }
    Ok((answer.status, String::from_utf8_lossy(&beginning).into_owned()))
}

/// Repeats `request`, whose answer has `size` bytes, on keep-alive connections.
pub async fn keep(target: &Target, plan: Plan, request: &[u8], size: u64) -> anyhow::Result<Sample> {
    let _spinning = target.spin.then(Spinning::start);
    let from = Instant::now() + plan.warm_up;
    let until = from + plan.length;
    let request: Arc<[u8]> = request.into();
    let mut workers = JoinSet::new();
    for _ in 0..plan.connections {
        workers.spawn(work(target.clone(), Arc::clone(&request), size, from, until));
    }
    tokio::time::sleep_until(from.into()).await;
    let window = Window::open(target.pid);
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        let tally = tally.context("a worker of the generator failed")?;
        all.latencies.extend(tally.latencies);
        all.bytes += tally.bytes;
        for (reason, count) in tally.failures {
            *all.failures.entry(reason).or_default() += count;
        }
    }
    Ok(all.into_sample(window.close()))
}

/// Asks once for a body of `size` bytes, on a connection that is already open.
pub async fn stream(target: &Target, request: &[u8], size: u64) -> anyhow::Result<Sample> {
    let _spinning = target.spin.then(Spinning::start);
    let mut connection = connect(target).await?;
    let window = Window::open(target.pid);
    let began = Instant::now();
    let answer = connection.exchange(request, |_| ()).await?;
    let spent = window.close();
    ensure!(answer.status == 200, "status {}", answer.status);
    ensure!(answer.length == size, "{} bytes instead of {size}", answer.length);
    Ok(Tally { latencies: vec![tenths(began)], bytes: size, ..Tally::default() }.into_sample(spent))
}

async fn work(target: Target, request: Arc<[u8]>, size: u64, from: Instant, until: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut kept = None;
    loop {
        let began = Instant::now();
        if began >= until {
            return tally;
        }
        let outcome = turn(&target, &mut kept, &request, size).await;
        let counts = began >= from;
        match outcome {
            Ok(()) if counts => {
                tally.latencies.push(tenths(began));
                tally.bytes += size;
            }
            Ok(()) => (),
            Err(error) => {
                kept = None;
                if counts {
                    *tally.failures.entry(error.to_string()).or_default() += 1;
                }
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// One request on the kept connection, or on a new one.
async fn turn(target: &Target, kept: &mut Option<Client>, request: &[u8], size: u64) -> io::Result<()> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connect(target).await?,
    };
    let answer = connection.exchange(request, |_| ()).await?;
    if answer.status != 200 {
        return Err(io::Error::other(format!("status {}", answer.status)));
    }
    if answer.length != size {
        return Err(io::Error::other(format!("{} bytes instead of {size}", answer.length)));
    }
    *kept = answer.reusable.then_some(connection);
    Ok(())
}

type Client = Connection<TlsStream<TcpStream>>;

async fn connect(target: &Target) -> io::Result<Client> {
    let stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    Ok(Connection::new(TlsConnector::from(Arc::clone(&target.tls)).connect(name, stream).await?))
}

/// Tenths of a microsecond since `began`; a u32 of them holds seven minutes.
fn tenths(began: Instant) -> u32 {
    u32::try_from(began.elapsed().as_nanos() / 100).unwrap_or(u32::MAX)
}

impl Tally {
    fn into_sample(mut self, spent: Spent) -> Sample {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let last = self.latencies.len().saturating_sub(1);
            let index = (last as f64 * share).round() as usize;
            self.latencies.get(index).map_or(f64::NAN, |&tenths| f64::from(tenths) / 10.0)
        };
        Sample {
            answers: self.latencies.len() as u64,
            bytes: self.bytes,
            p50_us: at(0.5),
            p99_us: at(0.99),
            failures: self.failures,
            spent,
        }
    }
}

/// Keeps the thread polling for as long as it lives: with a task that is always ready, the runtime never waits for the
/// kernel to wake it.
struct Spinning(AbortHandle);

impl Spinning {
    fn start() -> Self {
        let task = tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.0.abort();
    }
}
