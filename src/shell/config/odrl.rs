//! Agreements in ODRL: read against the registry of the same configuration, findings told with the lines of their file.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::file::FileRef;
use super::problem::{Complaint, Problem};
use super::{Agreement, Config, Party};
use crate::decide::{DecideError, Registry, Terms, read_agreement};

/// The names by which agreements may call us, our partners and our datasets.
pub fn agreement_registry(config: &Config) -> Registry {
    let mut registry = Registry::new(config.party.id.clone(), names(&config.party));
    for partner in &config.partners {
        registry.party(partner.party.id.clone(), names(&partner.party));
    }
    for dataset in &config.datasets {
        registry.dataset(dataset.id.clone());
    }
    registry
}

/// What a party goes by beside its id: its facts `bpn` (a Catena-X business partner number) and `did`.
fn names(party: &Party) -> Vec<String> {
    let fact = |name: &str| party.facts.get(name).and_then(Value::as_str).map(str::to_owned);
    ["bpn", "did"].into_iter().filter_map(fact).collect()
}

/// Reads the terms of one agreement, whose file's content is `bytes`, and fills in the datasets that it leaves to them.
pub(super) fn terms(
    agreement: &mut Agreement,
    file: &FileRef,
    bytes: &[u8],
    directory: &Path,
    registry: &Registry,
) -> Result<Arc<Terms>, Vec<Problem>> {
    let text = String::from_utf8_lossy(bytes);
    let terms = read_agreement(&agreement.id, &text, registry).map_err(|error| {
        let path: Arc<str> = directory.join(&file.path).display().to_string().into();
        match error {
            DecideError::Agreement(findings) => findings
                .into_iter()
                .map(|finding| Problem {
                    file: Arc::clone(&path),
                    line: finding.line,
                    what: finding.what,
                    fix: finding.fix,
                })
                .collect(),
            other => vec![file.problem(Complaint::new(other.to_string(), "name an agreement in ODRL"))],
        }
    })?;
    let mut problems = Vec::new();
    if *terms.assignee() != agreement.party {
        let what = format!("is an agreement with {}, and party is {}", terms.assignee(), agreement.party);
        problems.push(file.problem(Complaint::new(what, "make the two say the same")));
    }
    let targets = terms.datasets();
    if agreement.datasets.is_empty() {
        agreement.datasets = targets;
    } else {
        for dataset in agreement.datasets.iter().filter(|dataset| !targets.contains(dataset)) {
            let what = format!("permits nothing with {dataset}, which datasets names");
            problems.push(file.problem(Complaint::new(what, "make the two say the same")));
        }
    }
    if problems.is_empty() { Ok(Arc::new(terms)) } else { Err(problems) }
}
