//! `sekisho policy`: ask a policy, explain its decisions, run its cases, check and try it; build, sign and verify bundles;
//! decide again what was recorded; forget what was accepted; agreements and offers in ODRL.

mod attempt;
mod build;
mod check;
mod explain;
mod forget;
mod odrl;
mod replay;
mod sign;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::decide::{Bundle, CASES_PATIENCE, Coverage, Policy, coverage, run_cases};
use crate::shell::cli::Verdict;
use crate::shell::confined::OwnLimits;

/// Time for one evaluation at a terminal. A gateway's budget is a thousandth of it; here nobody's exchange waits, and how
/// busy the machine is must not change the answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the decision on an input
    Eval(EvalOptions),
    /// Tell why an input is decided as it is, and what would have permitted it
    Explain(explain::ExplainOptions),
    /// Run the policy's worked cases
    Test(TestOptions),
    /// Compile a policy with opa and pack it as a bundle that gateways take
    Build(build::Options),
    /// Sign a bundle, in OPA's format
    Sign(sign::SignOptions),
    /// Check who signed a bundle, and that it is whole
    Verify(sign::VerifyOptions),
    /// Look for what is wrong with a policy, without asking it
    Check(check::CheckOptions),
    /// Forget which revision was accepted from a source, so that an older one may be taken; the gateway must not run
    Forget(forget::Options),
    /// Try a policy with both engines on generated inputs, as a gateway does before it takes one of others
    Try(attempt::Options),
    /// Interpret a policy for another process of this program
    #[command(hide = true)]
    Confined(OwnLimits),
    /// Decide recorded exchanges again by another policy, and list every one that would change
    Replay(replay::ReplayOptions),
    /// Write what datasets are offered for, in ODRL
    Export(odrl::ExportOptions),
    /// Tell what the gateway would enforce of an agreement in ODRL
    Import(odrl::ImportOptions),
}

#[derive(Debug, Args)]
pub(super) struct EvalOptions {
    /// Policy directory or bundle; the built-in reference policy when absent
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// One input (JSON), `-` for stdin
    #[arg(long, value_name = "FILE", required_unless_present = "inputs", conflicts_with = "inputs")]
    input: Option<PathBuf>,
    /// Many inputs: a JSON array or one input a line; prints one decision a line
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct TestOptions {
    /// Policy directory or bundle
    #[arg(value_name = "PATH", default_value = "policies/dfft")]
    policy: PathBuf,
    /// Print the outcome of every case as JSON
    #[arg(long)]
    json: bool,
    /// Tell which lines no case evaluates, and which rules no case shows
    #[arg(long)]
    coverage: bool,
}

pub(super) fn run(command: Command) -> Result<Verdict> {
    match command {
        Command::Eval(options) => eval(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Test(options) => test(&options),
        Command::Build(options) => build::run(&options),
        Command::Sign(options) => sign::sign(&options),
        Command::Verify(options) => sign::verify(&options),
        Command::Check(options) => check::run(&options),
        Command::Forget(options) => forget::forget(&options),
        Command::Try(options) => attempt::run(&options),
        // It ran before this: no log and no thread may be there.
        Command::Confined(_) => bail!("this command is for this program alone"),
        Command::Replay(options) => replay::run(&options),
        Command::Export(options) => odrl::export(&options),
        Command::Import(options) => odrl::import(&options),
    }
}

/// A policy that is ready to be asked. What is in an archive runs in the sandbox: it has a module, or it is refused.
fn load(path: Option<&Path>) -> Result<(Bundle, Policy)> {
    let bundle = match path {
        Some(path) => Bundle::open(path)?,
        None => Bundle::built_in()?,
    };
    let policy = Policy::compile(&bundle, PATIENCE)?;
    Ok((bundle, policy))
}

fn eval(options: &EvalOptions) -> Result<Verdict> {
    let (_, policy) = load(options.policy.as_deref())?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if let Some(path) = &options.input {
        let mut text = String::new();
        open(path)?.read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
        let input: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        writeln!(out, "{}", decision(&policy, &input)?)?;
    } else if let Some(path) = &options.inputs {
        for input in inputs(path)? {
            writeln!(out, "{}", decision(&policy, &input?)?)?;
        }
    }
    out.flush()?;
    Ok(Verdict::Yes)
}

/// The decision as the gateway would take it: without one, a denial that says why.
fn decision(policy: &Policy, input: &Value) -> Result<String> {
    match policy.evaluate(&input.to_string()) {
        Ok(decision) => Ok(serde_json::to_string(&decision)?),
        Err(error) => Ok(json!({
            "decision": "deny",
            "code": error.code(),
            "reasons": [{
                "rule": error.code(),
                "effect": "deny",
                "why": error.to_string(),
                "remedy": "mend the policy or the input",
            }],
            "obligations": [],
            "policy": policy.identity().as_ref(),
        })
        .to_string()),
    }
}

fn open(path: &Path) -> Result<Box<dyn std::io::Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    Ok(Box::new(std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?))
}

/// Inputs one by one: the elements of an array, or one a line.
fn inputs(path: &Path) -> Result<Box<dyn Iterator<Item = Result<Value>>>> {
    let mut reader = BufReader::new(open(path)?);
    let first = loop {
        let buffer = reader.fill_buf().with_context(|| format!("reading {}", path.display()))?;
        match buffer.first() {
            Some(byte) if byte.is_ascii_whitespace() => reader.consume(1),
            first => break first.copied(),
        }
    };
    let name = path.display().to_string();
    if first == Some(b'[') {
        let all: Vec<Value> = serde_json::from_reader(reader).with_context(|| format!("{name} is not a JSON array"))?;
        return Ok(Box::new(all.into_iter().map(Ok)));
    }
    let stream = serde_json::Deserializer::from_reader(reader).into_iter::<Value>();
    Ok(Box::new(stream.map(move |value| value.with_context(|| format!("{name} is not one JSON input a line")))))
}

fn test(options: &TestOptions) -> Result<Verdict> {
    // What others wrote is not interpreted here, and the sandbox does not tell which lines it passes.
    if options.coverage && !options.policy.is_dir() {
        bail!("{} is a bundle: coverage takes a policy's source as a directory", options.policy.display());
    }
    let (bundle, policy) = load(Some(&options.policy))?;
    let outcomes = run_cases(&bundle, &policy, CASES_PATIENCE)?;
    if outcomes.is_empty() {
        bail!("{} has no cases: write some under cases/", options.policy.display());
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).count();
    let passed = outcomes.len() - failed;
    let coverage = options.coverage.then(|| coverage(&bundle)).transpose()?;
    if options.json {
        let mut report =
            json!({ "policy": policy.identity().as_ref(), "passed": passed, "failed": failed, "cases": outcomes });
        if let Some(coverage) = &coverage {
            report["coverage"] = json!(coverage);
        }
        println!("{report}");
    } else {
        for outcome in outcomes.iter().filter(|outcome| !outcome.differences.is_empty()) {
            println!("{} {}: {}", outcome.id, outcome.title, outcome.differences.join("; "));
        }
        if let Some(coverage) = &coverage {
            print!("{}", reached(coverage));
        }
        let identity = policy.identity();
        println!("{} {}: {passed} cases hold, {failed} do not", identity.id, identity.revision);
    }
    let unseen = coverage.iter().flat_map(|coverage| &coverage.rules).any(|rule| rule.fires == 0);
    Ok(if failed == 0 && !unseen { Verdict::Yes } else { Verdict::No })
}

/// What the cases reach, as text.
fn reached(coverage: &Coverage) -> String {
    let mut text = String::new();
    for file in &coverage.files {
        text.push_str(&format!("{}: {:.1}% of {} lines\n", file.path, file.percent, file.lines));
        for line in &file.uncovered {
            text.push_str(&format!("  {}:{}: {}\n", file.path, line.line, line.text));
        }
    }
    for rule in &coverage.rules {
        let alone = rule.alone.as_ref().map_or_else(String::new, |case| format!(", alone in {case}"));
        let boundary = match &rule.boundary {
            Some([fires, silent]) => format!("; boundary between {fires} and {silent}"),
            None => "; no case near one where it fires is one where it does not".to_owned(),
        };
        text.push_str(&match rule.fires {
            0 => format!("{} {}: no case shows it\n", rule.rule, rule.title),
            fires => format!("{} {}: fires in {fires} cases{alone}{boundary}\n", rule.rule, rule.title),
        });
    }
    text.push_str(&format!("{:.1}% of all lines\n", coverage.percent));
    text
}

/// Puts a file in the place of what was there, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let write = || {
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}
