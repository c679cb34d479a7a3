//! `sekisho policy export` and `import`: offers of ours and agreements with partners, in ODRL.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::decide::{Bundle, DecideError, Offer, TermsSummary, offer, read_agreement};
use crate::shell::assemble;
use crate::shell::cli::Verdict;
use crate::shell::config::{self, Resolved};
use crate::types::{DatasetId, Obligation};

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct ExportOptions {
    /// Write ODRL 2.2 as JSON-LD, the one format that there is
    #[arg(long, required = true)]
    odrl: bool,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One dataset; all of them when absent
    #[arg(long, value_name = "ID")]
    dataset: Option<DatasetId>,
    /// One offer a line, instead of for reading
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct ImportOptions {
    /// The agreement (ODRL 2.2 as JSON-LD)
    #[arg(long, value_name = "FILE")]
    odrl: PathBuf,
    /// Configuration file (TOML), whose parties and datasets the agreement names
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The id that the agreement will have in the configuration
    #[arg(long, value_name = "ID", default_value = "agreement")]
    id: String,
    /// Print terms or problems as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn export(options: &ExportOptions) -> Result<Verdict> {
    let resolved = assemble::load(&options.config)?;
    let offered: Vec<&config::Dataset> = resolved
        .config
        .datasets
        .iter()
        .filter(|dataset| options.dataset.as_ref().is_none_or(|id| dataset.id == *id))
        .collect();
    if offered.is_empty() {
        match &options.dataset {
            Some(id) => bail!("{} has no dataset {id}", options.config.display()),
            None => bail!("{} has no datasets", options.config.display()),
        }
    }
    let demands = demands(&resolved)?;
    for dataset in offered {
        let document = document(&resolved, dataset, &demands);
        if options.json {
            println!("{document}");
        } else {
            println!("{document:#}");
        }
    }
    Ok(Verdict::Yes)
}

/// What the policy in force looks at of a recipient, as far as an offer tells it.
struct Demands {
    membership: bool,
    framework: bool,
}

fn demands(resolved: &Resolved) -> Result<Demands> {
    // What a source brings is known to the gateway that fetched and checked it, and may change: an offer that states the
    // demands of another policy would be worse than none.
    if resolved.policy_directory.is_none() && !resolved.config.policy.sources.is_empty() {
        bail!(
            "the policy comes from [[policy.source]], and an offer states the demands of a policy of our own; set \
             directory in [policy] to the bundle whose demands the offers are to state"
        );
    }
    let bundle = match &resolved.policy_directory {
        Some(directory) => Bundle::read(directory).with_context(|| format!("policy {}", directory.display()))?,
        None => Bundle::built_in()?,
    };
    let reads = |member| bundle.manifest().metadata.inputs.covers("recipient", Some(member));
    Ok(Demands { membership: reads("membership"), framework: reads("framework") })
}

fn document(resolved: &Resolved, dataset: &config::Dataset, demands: &Demands) -> Value {
    let us = &resolved.config.party;
    offer(&Offer {
        us: &us.id,
        dataset: &dataset.id,
        title: dataset.title.as_deref(),
        purposes: &dataset.purposes,
        tags: &dataset.tags,
        licence: &dataset.licence,
        creator: dataset.creator.as_deref(),
        membership: demands.membership,
        // Partners are expected to have accepted what we accepted.
        framework: us.framework.as_deref().filter(|_| demands.framework),
    })
}

pub(super) fn import(options: &ImportOptions) -> Result<Verdict> {
    let resolved = assemble::load(&options.config)?;
    let text = std::fs::read_to_string(&options.odrl).with_context(|| format!("reading {}", options.odrl.display()))?;
    let read = read_agreement(&options.id, &text, &config::agreement_registry(&resolved.config));
    let (terms, problems) = match read {
        Ok(terms) => (Some(terms.summary()), Vec::new()),
        Err(DecideError::Agreement(findings)) => {
            let place = options.odrl.display();
            let line = |finding: crate::decide::TermFinding| {
                format!("{place}:{}: {}; {}", finding.line, finding.what, finding.fix)
            };
            (None, findings.into_iter().map(line).collect())
        }
        Err(error) => return Err(error.into()),
    };
    if options.json {
        println!("{}", json!({ "odrl": options.odrl, "ok": terms.is_some(), "problems": problems, "terms": terms }));
    } else {
        problems.iter().for_each(|problem| println!("{problem}"));
        if let Some(terms) = &terms {
            tell(terms, resolved.config.party.id.as_str());
        }
    }
    Ok(if terms.is_some() { Verdict::Yes } else { Verdict::No })
}

/// The terms in words.
fn tell(terms: &TermsSummary, us: &str) {
    println!("{}: what {us} grants {}, and all of it is enforced", terms.uid, terms.assignee);
    for rule in &terms.rules {
        let datasets: Vec<&str> = rule.datasets.iter().map(DatasetId::as_str).collect();
        let when = if rule.when == "always" { String::new() } else { format!(" when {}", rule.when) };
        println!(
            "{}. (line {}) {} {} of {}{when}",
            rule.number,
            rule.line,
            rule.effect,
            rule.actions.join(", "),
            datasets.join(", "),
        );
        rule.obligations.iter().for_each(|obligation| println!("   demands {}", words(obligation)));
    }
    terms.obligations.iter().for_each(|obligation| println!("always demands {}", words(obligation)));
}

fn words(obligation: &Obligation) -> String {
    let mut words = obligation.action.clone();
    for (name, value) in &obligation.parameters {
        words.push_str(&format!(" {name}={value}"));
    }
    words
}
