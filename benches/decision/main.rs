//! `cargo bench --bench decision`: what a decision of the reference policy costs, beside OPA's own server.
//!
//! Every figure is processor time per decision, user and system, of the process that decides, over the inputs of the
//! policy's own cases: it holds on a busy machine, where wall-clock time does not. `benches/README.md` tells how to read
//! the table.

#[path = "../exchange/http1.rs"]
mod http1;
#[path = "../exchange/measure.rs"]
#[expect(dead_code, reason = "the other bench also asks for memory")]
mod measure;
mod server;

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use sekisho::decide::{Bundle, Case, Dataset, Direction, Policy, PolicySet, Question};
use sekisho::types::{Facts, PartyId, Purpose, Timestamp};
use serde_json::{Map, json};

use measure::Window;

/// What the project promises, in microseconds of processor time.
const WARM_GOAL: f64 = 3.0;
const COLD_GOAL: f64 = 175.0;
/// Above this share of other work on the machine, figures are worth a warning.
const OTHER_WORK: f64 = 0.2;
/// Time for one evaluation: nothing here may end early.
const BUDGET: Duration = Duration::from_secs(10);
/// Questions that the warm cell asks in turn.
const QUESTIONS: usize = 64;

/// Measures what a decision costs.
#[derive(Parser)]
#[command(name = "decision")]
struct Options {
    /// Rounds; the cells take turns within each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Seconds of each cell in a round; times come in ticks of 10 ms
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=60))]
    seconds: u16,
    /// Print JSON with every round instead of the table
    #[arg(long)]
    json: bool,
    /// Given by `cargo bench`; without it nothing runs, so that `cargo test --all-targets` stays quick
    #[arg(long, hide = true)]
    bench: bool,
}

/// What decides, and what it took in each round.
struct Cell {
    name: &'static str,
    goal: Option<f64>,
    /// Microseconds of processor time per decision.
    rounds: Vec<f64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        eprintln!("nothing is measured without --bench: run `cargo bench --bench decision`");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let opa = opa()?;
    let built = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bundle = compiled(&opa, built.path())?;
    let inputs = inputs(&bundle)?;
    let sandbox = Policy::compile(&bundle, BUDGET)?;
    let interpreter = Policy::interpret(&bundle, BUDGET)?;
    let mut server = server::Server::start(&opa, built.path(), bundle.entrypoint(), &inputs)?;
    // What does not decide alike is not compared. The server's answers are read by the same reader.
    for (place, input) in inputs.iter().enumerate() {
        let decision = sandbox.evaluate(input)?;
        ensure!(decision == interpreter.evaluate(input)?, "the engines differ on {input}");
        let theirs = server.decide(place)?;
        let ours = serde_json::to_value(&decision)?;
        let same = ["decision", "reasons", "obligations"].iter().all(|part| theirs[part] == ours[part]);
        ensure!(same, "OPA differs on {input}: {theirs}");
    }
    let asked = Asked::new()?;
    let remembered = asked.decided(Arc::new(Policy::compile(&bundle, BUDGET)?))?;

    let mut cells = [
        Cell { name: "warm: question, digest, recall", goal: Some(WARM_GOAL), rounds: Vec::new() },
        Cell { name: "cold: sandbox", goal: Some(COLD_GOAL), rounds: Vec::new() },
        Cell { name: "cold: interpreter", goal: None, rounds: Vec::new() },
        Cell { name: "OPA server", goal: None, rounds: Vec::new() },
    ];
    let mut others = 0.0_f64;
    for _ in 0..options.rounds {
        for (number, cell) in cells.iter_mut().enumerate() {
            let (cost, other) = match number {
                0 => timed(options, None, |turn| asked.recall(&remembered, turn))?,
                1 => timed(options, None, |turn| evaluate(&sandbox, &inputs, turn))?,
                2 => timed(options, None, |turn| evaluate(&interpreter, &inputs, turn))?,
                _ => timed(options, Some(server.pid()), |turn| server.ask(turn % inputs.len()))?,
            };
            cell.rounds.push(cost);
            others = others.max(other);
        }
    }
    report(options, &cells, inputs.len());
    if others > OTHER_WORK {
        eprintln!("up to {:.0} % of the machine went to other work", others * 100.0);
    }
    Ok(())
}

fn evaluate(policy: &Policy, inputs: &[String], turn: usize) -> Result<()> {
    black_box(policy.evaluate(&inputs[turn % inputs.len()])?);
    Ok(())
}

/// Decides until the time is over; the processor time that `pid`, or this process, took for each decision.
fn timed(options: &Options, pid: Option<u32>, mut decide: impl FnMut(usize) -> Result<()>) -> Result<(f64, f64)> {
    let length = Duration::from_secs(options.seconds.into());
    // The clock is read once for many decisions, so that reading it is not what is measured.
    const STRIDE: usize = 64;
    for turn in 0..STRIDE {
        decide(turn)?;
    }
    let window = Window::open(pid.unwrap_or_else(std::process::id));
    let started = Instant::now();
    let mut turn = 0;
    while started.elapsed() < length {
        for _ in 0..STRIDE {
            decide(turn)?;
            turn += 1;
        }
    }
    let spent = window.close();
    Ok((spent.peer * 1e6 / turn as f64, spent.others))
}

fn report(options: &Options, cells: &[Cell], inputs: usize) {
    let median = |cell: &Cell| {
        let mut rounds = cell.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    };
    if options.json {
        let cells: Vec<_> = cells
            .iter()
            .map(|cell| {
                let (median, met) = (median(cell), cell.goal.map(|goal| median(cell) < goal));
                json!({"cell": cell.name, "cpu_us": median, "goal_us": cell.goal, "met": met, "rounds": cell.rounds})
            })
            .collect();
        println!("{}", json!({"inputs": inputs, "seconds": options.seconds, "cells": cells}));
        return;
    }
    println!("| {inputs} inputs of the reference policy | CPU per decision, median | rounds from to | goal |");
    println!("|---|---|---|---|");
    for cell in cells {
        let (least, most) =
            cell.rounds.iter().fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
        let goal = cell.goal.map_or("-".to_owned(), |goal| {
            format!("< {goal} µs, {}", if median(cell) < goal { "met" } else { "missed" })
        });
        println!("| {} | {:.2} µs | {least:.2} {most:.2} | {goal} |", cell.name, median(cell));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn opa() -> Result<std::path::PathBuf> {
    let found = Command::new(root().join("scripts/find-opa.sh")).output()?;
    ensure!(found.status.success(), "there is no opa to compile the policy with: run scripts/prepare-tests.sh");
    Ok(root().join(String::from_utf8(found.stdout)?.trim_end()))
}

/// The reference policy in `directory`, with its compiled module beside its sources.
fn compiled(opa: &Path, directory: &Path) -> Result<Bundle> {
    let copied = Command::new("cp").arg("-R").arg(root().join("policies/dfft/.")).arg(directory).status()?;
    ensure!(copied.success(), "the reference policy cannot be copied");
    let archive = directory.with_extension("tar.gz");
    let built = Command::new(opa)
        .args(["build", "--target", "wasm", "--entrypoint", "dfft/decision", "--output"])
        .args([&archive, Path::new("--bundle"), directory])
        .status()?;
    ensure!(built.success(), "opa build failed");
    let unpacked =
        Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(directory).arg("/policy.wasm").status()?;
    std::fs::remove_file(&archive)?;
    ensure!(unpacked.success(), "opa built no policy.wasm");
    Ok(Bundle::read(directory)?)
}

fn inputs(bundle: &Bundle) -> Result<Vec<String>> {
    let mut inputs = Vec::new();
    for file in bundle.cases() {
        let cases: Vec<Case> = serde_json::from_str(&file.text).with_context(|| file.path.clone())?;
        inputs.extend(cases.iter().map(|case| case.input.to_string()));
    }
    ensure!(!inputs.is_empty(), "the policy has no cases");
    Ok(inputs)
}

/// What a partner asks all day: open data, many datasets. Their paths make no other question to this policy.
struct Asked {
    datasets: Vec<Dataset>,
    purpose: Purpose,
    partner: PartyId,
    partner_facts: Facts,
    our_facts: Facts,
}

impl Asked {
    fn new() -> Result<Self> {
        let map = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
        let tags = ["privacy:none", "ip:open", "security:tlp-clear"].iter().map(|tag| tag.parse());
        let facts = json!({"origin": "US", "licence": "LicenseRef-US-PD", "purposes": ["dfft:DisasterResponse"]});
        let tags = tags.collect::<Result<Vec<_>, _>>().map_err(|_| anyhow::anyhow!("tags"))?;
        let dataset = |number| {
            let id = format!("earthquakes-{number}").parse().map_err(|_| anyhow::anyhow!("a dataset's id"))?;
            Ok(Dataset::new(id, tags.clone(), map(facts.clone())))
        };
        Ok(Self {
            datasets: (0..QUESTIONS).map(dataset).collect::<Result<_>>()?,
            purpose: "dfft:DisasterResponse".parse().map_err(|_| anyhow::anyhow!("a purpose"))?,
            partner: "wessex.example".parse().map_err(|_| anyhow::anyhow!("a party's id"))?,
            partner_facts: Facts::new(map(json!({
                "party": "wessex.example", "country": "GB", "type": "academia", "membership": "active",
                "framework": "IAP-FA:1.0",
            }))),
            our_facts: Facts::new(map(json!({"party": "kansai.example", "country": "JP"}))),
        })
    }

    fn question<'a>(&'a self, person: &'a Map<String, serde_json::Value>, turn: usize) -> Question<'a> {
        Question {
            // 2026-11-21, the day on which the policy's facts were reviewed.
            at: Timestamp::from_seconds(1_795_219_200),
            direction: Direction::Export,
            dataset: &self.datasets[turn % self.datasets.len()],
            purpose: &self.purpose,
            action: "transfer",
            counterparty: &self.partner,
            counterparty_facts: &self.partner_facts,
            our_facts: &self.our_facts,
            agreement: None,
            person: Some(person),
            method: "GET",
            path: "/2026/11/events.ndjson",
        }
    }

    /// A policy that has decided all of these questions.
    fn decided(&self, policy: Arc<Policy>) -> Result<PolicySet> {
        let set = PolicySet::new(vec![policy])?;
        for turn in 0..QUESTIONS {
            let (input, digest) = self.question(&Map::new(), turn).input(set.reads());
            set.decide(std::str::from_utf8(&input)?, digest)?;
        }
        Ok(set)
    }

    /// What a gateway does for a question that was asked before.
    fn recall(&self, set: &PolicySet, turn: usize) -> Result<()> {
        let person = Map::new();
        let (input, digest) = self.question(&person, turn).input(set.reads());
        black_box(&input);
        black_box(set.recall(&digest)).context("a decision was forgotten")?;
        Ok(())
    }
}
