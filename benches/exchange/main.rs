//! `cargo bench --bench exchange`: what an exchange costs, beside the same load through nginx in the same run.
//!
//! A peer (the gateway, then nginx, in turn) runs with one worker on one core; this process, pinned to another, is both
//! the partner that asks over mutual TLS and the data service that answers. Processor time is read from the peer's
//! process tree between the end of the warm-up and the end of the run: a figure that holds on a busy machine, where
//! requests per second do not. Compare ratios of one run, never figures of two.
//!
//! Loopback only; nothing outlives the run. `benches/README.md` tells how to read the table.

mod gateway;
mod http1;
mod identity;
mod load;
mod measure;
mod nginx;
mod peer;
mod report;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use identity::Identity;
use load::{Plan, Sample, Target};
use peer::{Cores, Peer};
use report::{Cell, Row};

/// Above this share of other work on the machine, a round is worth a warning.
const OTHER_WORK: f64 = 0.1;

/// The answer of the `keep` cell: 1 KiB.
const SMALL: (&str, u64) = ("/data/bench/1k", 1024);

/// Measures an exchange through Sekisho beside the same load through nginx.
#[derive(Parser)]
#[command(name = "exchange")]
struct Options {
    /// Keep-alive connections, each with one request in flight
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Seconds that are counted in each round of the keep cell
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=300))]
    seconds: u16,
    /// Milliseconds before counting begins
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(0..=60_000))]
    warm_up: u16,
    /// Rounds; the peers take turns within each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Who is measured
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sekisho,nginx")]
    peers: Vec<Name>,
    /// keep: 1 KiB answers; stream: one long body
    #[arg(long, value_enum, value_delimiter = ',', default_value = "keep,stream")]
    cells: Vec<Cell>,
    /// MiB of the body in the stream cell
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    stream_mib: u32,
    /// Let the generator sleep between events; peers then pay for waking it
    #[arg(long)]
    sleep: bool,
    /// Print JSON with every round instead of the tables
    #[arg(long)]
    json: bool,
    /// Where the run's directory is made: choose the disk that the record will be on
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    work: PathBuf,
    /// Given by `cargo bench`; without it nothing runs, so that `cargo test --all-targets` stays quick
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Sekisho,
    Nginx,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        eprintln!("nothing is measured without --bench: run `cargo bench --bench exchange`");
        return ExitCode::SUCCESS;
    }
    match Cores::claim().and_then(|cores| start(&options, cores)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn start(options: &Options, cores: Cores) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    // Whatever ends the run drops the peers, and a dropped peer is ended.
    tokio::select! {
        done = run(options, cores) => done,
        _ = terminate.recv() => bail!("asked to end"),
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

async fn run(options: &Options, cores: Cores) -> anyhow::Result<()> {
    let identity = Identity::new()?;
    let directory = tempfile::Builder::new()
        .prefix("exchange-")
        .tempdir_in(&options.work)
        .with_context(|| format!("no directory can be made in {}", options.work.display()))?;
    identity.write(directory.path())?;
    let upstream = upstream::start().await?;
    let mut peers = Vec::new();
    for name in &options.peers {
        match name {
            Name::Sekisho => peers.push(gateway::start(directory.path(), upstream, cores).await?),
            Name::Nginx => match nginx::find() {
                Some(program) => peers.push(nginx::start(&program, directory.path(), upstream, cores).await?),
                None => eprintln!("nginx is not installed: no ratios in this run"),
            },
        }
    }
    ensure!(!peers.is_empty(), "no peer to measure");
    // On one core a polling generator would take from the peer what it needs.
    let spin = cores.pinned() && !options.sleep;
    for peer in &peers {
        admits_only_us(peer, &identity).await?;
    }

    let mut rows = Vec::new();
    for &cell in &options.cells {
        let mut these: Vec<Row> =
            peers.iter().map(|peer| Row { cell, peer: peer.name, samples: Vec::new(), peaks: Vec::new() }).collect();
        for round in 1..=options.rounds {
            for (peer, row) in peers.iter().zip(&mut these) {
                let target = Target { address: peer.address, pid: peer.pid(), tls: identity.client(true)?, spin };
                measure::forget_peak(peer.pid());
                let sample = sample(cell, &target, options, &identity.pass()?).await;
                let sample = sample.with_context(|| format!("{} failed{}", peer.name, peer.said()))?;
                row.peaks.push(measure::peak_mib(peer.pid()));
                remark(&sample, peer, round);
                row.samples.push(sample);
            }
            eprintln!("{cell:?}: round {round} of {}", options.rounds);
        }
        rows.append(&mut these);
    }

    if options.json {
        let settings = json!({
            "connections": options.connections, "seconds": options.seconds, "warm_up_ms": options.warm_up,
            "rounds": options.rounds, "stream_mib": options.stream_mib, "pinned": cores.pinned(), "spin": spin,
        });
        println!("{:#}", report::json(&rows, settings));
    } else {
        print!("{}", report::markdown(&rows));
    }
    Ok(())
}

/// A benchmark of a peer that lets anybody in, or answers with something else, would be worth nothing: asks once as
/// ourselves, once without a certificate and, where it counts, once without a pass.
async fn admits_only_us(peer: &Peer, identity: &Identity) -> anyhow::Result<()> {
    let (path, _) = SMALL;
    let pass = identity.pass()?;
    let target = Target { address: peer.address, pid: peer.pid(), tls: identity.client(true)?, spin: false };
    let (status, text) = load::once(&target, &load::request(path, Some(&pass)))
        .await
        .with_context(|| format!("{} does not answer{}", peer.name, peer.said()))?;
    ensure!(status == 200, "{} refuses the bench with status {status}: {text}{}", peer.name, peer.said());

    if peer.name != report::YARDSTICK {
        let (status, _) = load::once(&target, &load::request(path, None)).await?;
        ensure!(status != 200, "{} answers without a pass", peer.name);
    }
    let nobody = Target { tls: identity.client(false)?, ..target };
    let answered = load::once(&nobody, &load::request(path, Some(&pass))).await;
    ensure!(!matches!(answered, Ok((200, _))), "{} answers without a certificate", peer.name);
    Ok(())
}

async fn sample(cell: Cell, target: &Target, options: &Options, pass: &str) -> anyhow::Result<Sample> {
    let sample = match cell {
        Cell::Keep => {
            let plan = Plan {
                connections: options.connections.into(),
                warm_up: Duration::from_millis(options.warm_up.into()),
                length: Duration::from_secs(options.seconds.into()),
            };
            let (path, size) = SMALL;
            load::keep(target, plan, &load::request(path, Some(pass)), size).await?
        }
        Cell::Stream => {
            let mib = options.stream_mib;
            let request = load::request(&format!("/data/bench/{mib}m"), Some(pass));
            load::stream(target, &request, u64::from(mib) << 20).await?
        }
    };
    ensure!(sample.answers > 0, "no answer was as expected: {:?}", sample.failures);
    ensure!(sample.spent.peer > 0.0, "no processor time of the peer is seen in /proc");
    Ok(sample)
}

/// What the reader of the table should know about a round.
fn remark(sample: &Sample, peer: &Peer, round: u16) {
    if !sample.failures.is_empty() {
        eprintln!("{}, round {round}: failures {:?}", peer.name, sample.failures);
    }
    if sample.spent.others > OTHER_WORK {
        let share = sample.spent.others * 100.0;
        eprintln!("{}, round {round}: other work took {share:.0} % of the machine", peer.name);
    }
}
