//! What durability costs: appends with 1, 16 and 128 waiting clients, beside bare writes on the same disk in the same
//! run, and what sealing one entry costs in CPU.
//!
//! `cargo bench --bench record -- [DIRECTORY] [SECONDS]` writes under `DIRECTORY` (by default where the build lies, since
//! `/tmp` may be memory) for so many seconds in each step (3).
//!
//! The bare rate is that of a loop that writes a batch into space that was zeroed before and calls `fdatasync`: the
//! least that durability costs here. It is taken before and after, and the mean counts.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sekisho::record::{DecisionEntry, Direction, Log, LogConfig, PolicyRef, RequestLine, Sealed, Signer, Verdict};
use sekisho::shell::certs::Identity;
use sekisho::types::{Clock, Digest, ExchangeId, PartyId, SystemClock};

/// Clients that wait, each for its own entry.
const CLIENTS: [usize; 3] = [1, 16, 128];
/// Of the best batch rate, group commit is to keep so much.
const KEPT: f64 = 0.8;
/// Sealing one entry is to cost no more CPU than this, in microseconds.
const SEALING: f64 = 25.0;
/// Bytes before the data of a frame.
const FRAME_HEADER: usize = 16;
/// Space that the bare loop writes in, over and over.
const SPACE: usize = 64 * 1024 * 1024;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let under = arguments.next().map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let seconds = arguments.next().map_or(Ok(3), |seconds| seconds.parse()).context("seconds")?;
    let step = Duration::from_secs(seconds);
    let home = tempfile::tempdir_in(&under).with_context(|| format!("a directory in {}", under.display()))?;
    let now = SystemClock.now();
    let identity = Identity::mint(&"kansai.example".parse()?, now, &[], &[])?;
    let signer = Signer::from_pkcs8(identity.log_key_pem.as_bytes())?;

    let (entry, cost) = sealing(&signer)?;
    println!("sealing an entry of {} bytes: {cost:.1} µs of CPU (goal: {SEALING:.0})", entry.as_bytes().len());
    let frame = FRAME_HEADER + entry.as_bytes().len();
    let before = CLIENTS.map(|clients| bare(home.path(), frame * clients, step));
    let mut appended = Vec::new();
    for clients in CLIENTS {
        appended.push(appends(home.path(), &signer, &entry, clients, step)?);
    }
    let after = CLIENTS.map(|clients| bare(home.path(), frame * clients, step));
    println!("waiting  entries/s  µs an entry  bare batches/s  bare entries/s  of the bare rate");
    let mut worst = f64::INFINITY;
    for (((clients, rate), before), after) in CLIENTS.into_iter().zip(appended).zip(before).zip(after) {
        let batches = f64::midpoint(before?, after?);
        let best = batches * clients as f64;
        worst = if clients == CLIENTS[2] { rate / best } else { worst };
        let (each, of) = (1e6 / rate, 100.0 * rate / best);
        println!("{clients:>7} {rate:>10.0} {each:>12.1} {batches:>15.0} {best:>15.0} {of:>16.0} %");
    }
    if worst < KEPT || cost > SEALING {
        println!("below what is asked for: {:.0} % of the best batch rate, {SEALING:.0} µs", KEPT * 100.0);
    }
    Ok(())
}

/// Seals what a permitted exchange leaves, and says what that costs.
fn sealing(signer: &Signer) -> Result<(Sealed, f64)> {
    let (provider, consumer): (PartyId, PartyId) = ("kansai.example".parse()?, "wessex.example".parse()?);
    let (dataset, purpose) = ("usgs-earthquakes".parse()?, "dfft:DisasterResponse".parse()?);
    let tags = ["privacy:none".parse()?, "ip:open".parse()?, "security:tlp-clear".parse()?];
    let digest = Digest::of(b"something");
    let now = SystemClock.now();
    let entry = DecisionEntry {
        exchange: ExchangeId::new(now),
        at: now,
        provider: Some(&provider),
        consumer: Some(&consumer),
        direction: Direction::Export,
        dataset: Some(&dataset),
        tags: &tags,
        purpose: Some(&purpose),
        action: Some("transfer"),
        agreement: None,
        pass: None,
        certificate: Some(digest),
        input: Some(digest),
        policy: Some(PolicyRef { id: "dfft", revision: "1", digest }),
        decision: Verdict::Permit,
        code: None,
        reasons: Vec::new(),
        obligations: &[],
        approvals: Vec::new(),
        request: Some(RequestLine { method: "GET", path: "/data/usgs-earthquakes/all_day.geojson" }),
        signatures: &[],
    };
    let times = 20_000;
    let mut sealed = signer.seal(&entry)?;
    let start = Instant::now();
    for _ in 0..times {
        sealed = std::hint::black_box(signer.seal(std::hint::black_box(&entry))?);
    }
    Ok((sealed, start.elapsed().as_secs_f64() * 1e6 / f64::from(times)))
}

/// How many batches of so many bytes a second a bare loop makes durable.
fn bare(home: &Path, bytes: usize, step: Duration) -> Result<f64> {
    let path = home.join("bare");
    let file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![0; SPACE], 0)?;
    file.sync_all()?;
    let batch = vec![b'x'; bytes];
    let (start, mut batches, mut at) = (Instant::now(), 0_u64, 0);
    while start.elapsed() < step {
        file.write_all_at(&batch, at as u64)?;
        file.sync_data()?;
        batches += 1;
        at = if at + 2 * bytes > SPACE { 0 } else { at + bytes };
    }
    let rate = batches as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// How many entries a second the log makes durable for so many clients, each of which waits for its own.
fn appends(home: &Path, signer: &Signer, entry: &Sealed, clients: usize, step: Duration) -> Result<f64> {
    let directory = home.join(format!("log-{clients}"));
    let log = Log::open(LogConfig::new(&directory, "kansai.example/log"), signer.clone(), Arc::new(SystemClock))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let rate = runtime.block_on(async {
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..clients {
            let (log, entry, stop, count) = (log.clone(), entry.clone(), Arc::clone(&stop), Arc::clone(&count));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    log.append(entry.clone()).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        tokio::time::sleep(step).await;
        stop.store(true, Ordering::Relaxed);
        let took = start.elapsed();
        let done = count.load(Ordering::Relaxed);
        for ended in tasks.join_all().await {
            ended?;
        }
        log.close().await?;
        let published = log.published().borrow().size;
        ensure!(published == log.size(), "{published} of {} entries are published", log.size());
        Ok(done as f64 / took.as_secs_f64())
    });
    std::fs::remove_dir_all(directory)?;
    rate
}
