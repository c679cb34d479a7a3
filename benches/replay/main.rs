//! How many recorded decisions a minute `policy replay` decides again, and what keeping an input costs the one who asks.
//!
//! `cargo bench --bench replay -- [DECISIONS] [DISTINCT]` writes a log of that many decisions on that many different
//! inputs through the gateway's own log and store, and replays it with the built-in reference policy. By default every
//! decision has an input of its own: nothing is remembered, and every one is evaluated.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sekisho::decide::Bundle;
use sekisho::record::{
    DecisionEntry, Declaration, Direction, InputConfig, InputStore, Log, LogConfig, PolicyRef, Sealed, Signer, Verdict,
};
use sekisho::shell::certs::Identity;
use sekisho::shell::replay::{Candidate, Span, replay};
use sekisho::types::{Clock, Digest, ExchangeId, SystemClock};
use serde_json::json;

/// What the project asks for.
const A_MINUTE: f64 = 100_000.0;
/// The store is told to catch up after so many inputs, since it loses what its queue does not hold.
const AT_ONCE: u64 = 1000;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let decisions = numbers.next().unwrap_or(100_000);
    let distinct = numbers.next().unwrap_or(decisions).clamp(1, decisions.max(1));
    let home = tempfile::tempdir().context("a directory")?;
    let bundle = Bundle::built_in()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kept = runtime.block_on(record(home.path(), &bundle, decisions, distinct))?;
    println!("keeping an input costs its caller {:.2} µs", kept.as_secs_f64() * 1e6 / distinct as f64);

    let candidate = Candidate::of(&[bundle], Duration::from_secs(60))?;
    let started = Instant::now();
    let (log, inputs) = (home.path().join("log"), home.path().join("inputs"));
    let summary = replay(&log, &inputs, &candidate, &Span::default(), |_, _| (), |_| Ok(()))?;
    let took = started.elapsed();
    if (summary.decisions, summary.distinct_inputs, summary.cannot_tell.total()) != (decisions, distinct, 0) {
        bail!("not all were replayed: {summary:?}");
    }
    let rate = decisions as f64 * 60.0 / took.as_secs_f64();
    println!("{decisions} decisions, {distinct} inputs: {:.1} s, {rate:.0} decisions a minute", took.as_secs_f64());
    if rate < A_MINUTE {
        println!("below the {A_MINUTE:.0} a minute that are asked for");
    }
    Ok(())
}

/// Writes the log and the store; gives the time that the store took from its caller.
async fn record(home: &Path, bundle: &Bundle, decisions: u64, distinct: u64) -> Result<Duration> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let identity = Identity::mint(&"kansai.example".parse()?, now, &[], &[])?;
    let signer = Signer::from_pkcs8(identity.log_key_pem.as_bytes())?;
    let log = Log::open(LogConfig::new(home.join("log"), "kansai.example/log"), signer, Arc::clone(&clock))?;
    let config = InputConfig { directory: home.join("inputs"), retention_days: 1, bytes: 8 << 30 };
    let store = InputStore::open(config, clock)?;
    let policy = bundle.identity();
    let declare = || Declaration {
        policy: policy.digest,
        id: policy.id.clone(),
        revision: policy.revision.clone(),
        inputs: bundle.manifest().metadata.inputs.iter().map(str::to_owned).collect(),
        time: "date".to_owned(),
    };
    let mut kept = Duration::ZERO;
    for number in 0..decisions {
        let text = input(number % distinct);
        let digest = Digest::of(text.as_bytes());
        if number < distinct {
            let started = Instant::now();
            store.keep(now, digest, text.into_bytes(), policy.digest, declare);
            kept += started.elapsed();
            if number % AT_ONCE == 0 {
                store.flush();
            }
        }
        append(&log, log.seal(&entry(ExchangeId::new(now), digest, bundle))?).await?;
    }
    store.close();
    log.close().await?;
    if store.health().lost > 0 {
        bail!("the store lost inputs: {:?}", store.health());
    }
    Ok(kept)
}

/// A question about open data, from one of many recipients.
fn input(number: u64) -> String {
    let country = ["GB", "IN", "DE", "US", "KR"][(number % 5) as usize];
    json!({
        "action": "transfer",
        "at": "2026-11-21",
        "channel": { "direction": "export" },
        "dataset": {
            "id": format!("readings-{number}"), "origin": "JP", "licence": "CC0-1.0", "creator": "Observatory",
            "purposes": ["dfft:DisasterResponse", "dpv:ScientificResearch"],
            "tags": ["privacy:none", "ip:open", "security:tlp-clear"],
        },
        "legal": {},
        "purpose": "dfft:DisasterResponse",
        "recipient": {
            "party": format!("party-{number}.example"), "country": country, "type": "academia",
            "membership": "active", "framework": "IAP-FA:1.0",
        },
    })
    .to_string()
}

fn entry(exchange: ExchangeId, input: Digest, bundle: &Bundle) -> DecisionEntry<'_> {
    let policy = bundle.identity();
    DecisionEntry {
        exchange,
        at: exchange.at(),
        provider: None,
        consumer: None,
        direction: Direction::Export,
        dataset: None,
        tags: &[],
        purpose: None,
        action: None,
        agreement: None,
        pass: None,
        certificate: None,
        input: Some(input),
        policy: Some(PolicyRef { id: &policy.id, revision: &policy.revision, digest: policy.digest }),
        decision: Verdict::Permit,
        code: None,
        reasons: Vec::new(),
        obligations: &[],
        approvals: Vec::new(),
        request: None,
        signatures: &[],
    }
}

/// Without waiting for the disk where the log has room, since it is not what is measured.
async fn append(log: &Log, entry: Sealed) -> Result<()> {
    if log.append_soon(entry.clone()).is_err() {
        log.append(entry).await?;
    }
    Ok(())
}
