//! The command line. Data goes to stdout, talk to stderr; exit 0 is yes, 1 is no, 2 is could-not-tell.

mod approve;
mod check;
mod logs;
mod person;
mod policy;
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use super::log_buffer::LogBuffer;
use super::{certs, confined, demo, serve};
use crate::types::{Clock as _, PartyId, SystemClock, Timestamp};

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Yes: it worked, it holds.
    Yes,
    /// No: a finding.
    No,
}

/// A gateway for cross-border data sharing: decides by policy, carries out obligations, records every outcome.
#[derive(Debug, Parser)]
#[command(name = "sekisho", version, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up three organisations on loopback, let data cross between them, verify the logs
    Demo(demo::Options),
    /// Run a gateway until SIGTERM
    Serve(ConfigFile),
    /// Check a configuration and everything it names, without starting anything
    Check(check::Options),
    /// Certificates and keys for development
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Sign an approval of what a policy holds for review, as an officer
    Approve(approve::Options),
    /// Ask a policy, run its cases
    #[command(subcommand)]
    Policy(policy::Command),
    /// Read and verify a log, offline
    #[command(subcommand)]
    Log(logs::Command),
    /// Serve the demo's datasets over plain HTTP on loopback
    #[command(hide = true)]
    DataService(demo::DataServiceOptions),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Make an authority, a gateway certificate and all keys of one party, for development only
    Dev(DevOptions),
}

#[derive(Debug, Args)]
struct DevOptions {
    /// The party's id, such as kansai.example
    #[arg(long)]
    party: PartyId,
    /// Directory to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Further DNS names of the gateway's certificate
    #[arg(long = "dns", value_name = "NAME")]
    dns: Vec<String>,
    /// Further IP addresses of the gateway's certificate
    #[arg(long = "ip", value_name = "ADDRESS")]
    addresses: Vec<std::net::IpAddr>,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    // Before anything else of this program begins: that process is to do nothing but interpret.
    if let Command::Policy(policy::Command::Confined(limits)) = &command {
        return confined::serve(limits);
    }
    let log = log_to_stderr(&command);
    let result = match command {
        Command::Demo(options) => demo::demo(&options),
        Command::Serve(file) => serve::serve(&file.config).map(|()| Verdict::Yes),
        Command::Check(options) => check::check(&options),
        Command::Certs(CertsCommand::Dev(options)) => dev(options),
        Command::Approve(options) => approve::approve(&options),
        Command::Policy(command) => policy::run(command),
        Command::Log(command) => logs::run(command),
        Command::DataService(options) => demo::data_service(&options).map(|()| Verdict::Yes),
    };
    log.write_out();
    match result {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(error) => {
            eprintln!("sekisho: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dev(options: DevOptions) -> Result<Verdict> {
    let written = certs::dev(&certs::DevOptions {
        directory: options.out,
        party: options.party,
        // An hour back, for machines whose clocks run behind this one.
        valid_from: Timestamp::from_millis(SystemClock.now().millis().saturating_sub(3_600_000)),
        dns: options.dns,
        addresses: options.addresses,
        force: options.force,
    })?;
    for path in written {
        println!("{}", path.display());
    }
    Ok(Verdict::Yes)
}

/// A filter that leaves out what a compiled policy says itself, whatever is asked for: a policy that others wrote must
/// not write into our log. What becomes of it is logged by the gateway.
fn silent(filter: &str) -> String {
    format!("{filter},opa_wasm=off")
}

/// Logs to stderr: `SEKISHO_LOG` takes a filter (default `info` for a gateway, `warn` for other commands), and
/// `SEKISHO_LOG_FORMAT=json` one JSON object a line.
fn log_to_stderr(command: &Command) -> LogBuffer {
    let default = if matches!(command, Command::Serve(_)) { "info" } else { "warn" };
    let asked = std::env::var("SEKISHO_LOG").ok().filter(|asked| !asked.trim().is_empty());
    let filter = asked.and_then(|asked| tracing_subscriber::EnvFilter::try_new(silent(&asked)).ok());
    let filter = filter.unwrap_or_else(|| tracing_subscriber::EnvFilter::new(silent(default)));
    let log = LogBuffer::start();
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log.clone())
        .with_ansi(terminal)
        .with_target(false);
    if std::env::var_os("SEKISHO_LOG_FORMAT").is_some_and(|format| format == "json") {
        builder.json().init();
    } else {
        builder.init();
    }
    log
}
