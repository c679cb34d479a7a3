//! `sekisho approve`: an officer signs an approval, and hands it to the gateway.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::Verdict;
use super::person::{post, read, secret};
use crate::authenticate::Certificate;
use crate::decide::{Approval, Grant};
use crate::record::Entries;
use crate::shell::assemble::certificates;
use crate::shell::client::Credentials;
use crate::types::{Clock as _, PartyId, SystemClock};

/// What is held, either as the log tells it (`--log`, `--exchange`) or in words of its own.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Your certificate (PEM), with a name such as spiffe://kansai.example/officer/export_control/sato
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Why you approve; the record keeps the whole approval
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how many days from now
    #[arg(long, default_value_t = 30)]
    days: u64,
    /// The log that holds the exchange
    #[arg(long, value_name = "DIR", requires = "exchange")]
    log: Option<PathBuf>,
    /// The exchange that was held for review; --log says where
    #[arg(long, value_name = "ID", requires = "log")]
    exchange: Option<String>,
    /// The partner
    #[arg(long, required_unless_present = "exchange", conflicts_with = "exchange")]
    partner: Option<String>,
    /// The dataset
    #[arg(long, required_unless_present = "exchange", conflicts_with = "exchange")]
    dataset: Option<String>,
    /// The purpose
    #[arg(long, required_unless_present = "exchange", conflicts_with = "exchange")]
    purpose: Option<String>,
    /// The action
    #[arg(long, default_value = "transfer", conflicts_with = "exchange")]
    action: String,
    /// Which way data flows: export, import or request
    #[arg(long, default_value = "export", conflicts_with = "exchange")]
    direction: String,
    /// A rule to lift; give it once for each rule, as policy#rule where several policies decide
    #[arg(long = "rule", value_name = "RULE", required_unless_present = "exchange", conflicts_with = "exchange")]
    rules: Vec<String>,
    /// The gateway's admin listener, host:port; without it the signed approval is printed and nothing else happens
    #[arg(long, value_name = "ADDRESS", requires = "anchors")]
    admin: Option<String>,
    /// The authorities that vouch for the gateway (PEM)
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
    /// Print the gateway's answer as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn approve(options: &Options) -> Result<Verdict> {
    let certificate = read(&options.certificate)?;
    let key = secret(&options.key)?;
    let chain = certificates(&certificate).with_context(|| options.certificate.display().to_string())?;
    let us = employer(&chain[0]).with_context(|| options.certificate.display().to_string())?;
    let grant = match (&options.log, &options.exchange) {
        (Some(log), Some(exchange)) => held(log, exchange, &options.reason)?,
        _ => Grant {
            party: options.partner.clone().unwrap_or_default(),
            dataset: options.dataset.clone().unwrap_or_default(),
            direction: options.direction.clone(),
            purpose: options.purpose.clone().unwrap_or_default(),
            action: options.action.clone(),
            rules: options.rules.iter().cloned().collect(),
            reason: options.reason.clone(),
            exchange: None,
        },
    };
    // Whoever signs sees what: the log that tells it may be another's.
    let rules: Vec<&str> = grant.rules.iter().map(String::as_str).collect();
    eprintln!(
        "signing: {} {} {} of {} for {} ({}), lifting {}, for {} days",
        grant.party,
        grant.direction,
        grant.action,
        grant.dataset,
        grant.purpose,
        grant.reason,
        rules.join(", "),
        options.days
    );
    let signed = Approval::sign(grant.clone(), &us, options.days, SystemClock.now(), &chain, &key)?;
    let (Some(admin), Some(anchors)) = (&options.admin, &options.anchors) else {
        println!("{signed}");
        eprintln!("signed; deliver it with: curl --data-binary @FILE https://ADMIN/api/approvals, or with --admin");
        return Ok(Verdict::Yes);
    };
    let credentials = Credentials::read(&certificate, &key, &read(anchors)?)?;
    let reply = post(admin, "/api/approvals", &credentials, signed)?;
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|_| json!({}));
    if options.json {
        println!("{answer}");
    }
    if !reply.status.is_success() {
        let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason was given");
        eprintln!("not approved: {} {detail}", reply.status);
        return Ok(Verdict::No);
    }
    if !options.json {
        let id = answer.get("id").and_then(Value::as_str).unwrap_or("-");
        println!(
            "approved for {} days: {} may have {} for {} ({} lifted); approval {id}",
            options.days,
            grant.party,
            grant.dataset,
            grant.purpose,
            rules.join(", ")
        );
    }
    Ok(Verdict::Yes)
}

/// The party whose people the certificate belongs to.
fn employer(leaf: &CertificateDer<'_>) -> Result<PartyId> {
    let certificate = Certificate::read(leaf)?;
    let id = certificate.names().iter().find_map(|name| name.strip_prefix("spiffe://")?.split_once("/officer/"));
    let (party, _) =
        id.context("the certificate names no officer: it needs spiffe://<party>/officer/<office>/<name>")?;
    party.parse().with_context(|| format!("{party} is no party"))
}

/// What an exchange in the log was held for.
fn held(log: &Path, exchange: &str, reason: &str) -> Result<Grant> {
    for entry in Entries::open(log)? {
        let entry = entry?.payload;
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        if text("kind") != Some("decision") || text("exchange") != Some(exchange) {
            continue;
        }
        if text("decision") != Some("review") {
            bail!(
                "exchange {exchange} was not held for review: the log says {}",
                text("decision").unwrap_or("nothing")
            );
        }
        let direction = text("direction").unwrap_or_default();
        let partner = if direction == "export" { text("consumer") } else { text("provider") };
        let told = |what: Option<&str>, name: &str| {
            what.map(str::to_owned).with_context(|| format!("the entry of {exchange} names no {name}"))
        };
        let reasons = entry.get("reasons").and_then(Value::as_array).into_iter().flatten();
        let rules: BTreeSet<String> = reasons.filter_map(rule).collect();
        return Ok(Grant {
            party: told(partner, "partner")?,
            dataset: told(text("dataset"), "dataset")?,
            direction: direction.to_owned(),
            purpose: told(text("purpose"), "purpose")?,
            action: text("action").unwrap_or("transfer").to_owned(),
            rules,
            reason: reason.to_owned(),
            exchange: Some(exchange.to_owned()),
        });
    }
    bail!("{} holds no exchange {exchange}", log.display())
}

/// The rule that a reason names, with its policy where several decided.
fn rule(reason: &Value) -> Option<String> {
    let text = |name: &str| reason.get(name).and_then(Value::as_str);
    let rule = text("rule")?;
    Some(text("policy").map_or_else(|| rule.to_owned(), |policy| format!("{policy}#{rule}")))
}
