//! From a configuration to the parts of a gateway.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::config::{self, Accept, Config, PolicyPlace, Resolved, SourceTrust};
use super::policies::{Owner, Place, PolicySetup, Rules, SourceSetup};
use super::timestamps::TimestampsSetup;
use super::witnesses::{Witnesses, WitnessesSetup};
use crate::authenticate::{Credentials, PartnerEntry, Partners, Tls};
use crate::decide::{Agreement, Dataset, PolicySet, Terms};
use crate::enforce::PseudonymKeys;
use crate::forward::Timeouts;
use crate::gateway::{DatasetSetup, Setup, Witnessing};
use crate::record::verify::TimestampAnchors;
use crate::record::witness::{Cosigner, CosignerKey, LogKey, Witness};
use crate::record::{Entries, InputConfig, InputStore, Log, LogConfig, Signer, Standing, SubjectConfig, SubjectStore};
use crate::types::{Clock, DatasetId, Facts, PartyId};

/// Reads a configuration file with everything it names.
///
/// # Errors
/// Every problem found, one a line, each with file, line and what to do.
pub fn load(path: &Path) -> Result<Resolved> {
    config::load(path, std::env::vars_os()).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("{}", lines.join("\n"))
    })
}

/// Where the policies come from: the directory of our own, or, with no source either, the policy that is part of this
/// binary; and every source.
///
/// # Errors
/// When the authorities of a bundle server cannot be read.
pub fn policies(resolved: &Resolved) -> Result<PolicySetup> {
    let policy = &resolved.config.policy;
    let own = |id: &str, place| {
        let id = id.to_owned();
        SourceSetup { id, place, trust: SourceTrust::Own, poll: None, expect: None, owner: None }
    };
    let mut sources = Vec::new();
    match &resolved.policy_directory {
        Some(directory) => sources.push(own("directory", Place::Directory(directory.clone()))),
        // What others say decides is not mixed with what nobody asked for.
        None if policy.sources.is_empty() => sources.push(own("built-in", Place::BuiltIn)),
        None => {}
    }
    for (source, files) in policy.sources.iter().zip(&resolved.policy_sources) {
        let path = files.path.clone().unwrap_or_default();
        let place = match &source.place {
            PolicyPlace::Directory(_) => Place::Directory(path),
            PolicyPlace::File(_) => Place::File(path),
            PolicyPlace::Url { url, .. } => {
                let anchors = files.anchors.as_deref().map(certificates).transpose()?.unwrap_or_default();
                Place::Url { url: url.clone(), anchors }
            }
        };
        sources.push(SourceSetup {
            id: source.id.clone(),
            place,
            trust: files.trust.clone(),
            poll: Some(source.poll),
            expect: source.expect.clone(),
            owner: source.owner.clone().map(|owner| Owner { role: owner.role, name: owner.name }),
        });
    }
    Ok(PolicySetup {
        sources,
        rules: Rules::new(policy.budget, policy.trial_inputs, policy.shadow),
        state: policy_state(resolved),
        stale_after: policy.stale_after,
    })
}

/// The directory of what is remembered of policy sources.
pub fn policy_state(resolved: &Resolved) -> PathBuf {
    resolved.state_directory.join("policies")
}

/// Where it is kept whom the record's commitments name.
pub fn subjects(resolved: &Resolved) -> SubjectConfig {
    let config = &resolved.config.subjects;
    SubjectConfig {
        directory: resolved.subjects_directory.clone(),
        retention_days: config.retention_days,
        bytes: config.bytes,
    }
}

/// What of a configuration is allowed and yet not meant for real data, for the person who starts the gateway.
pub fn warnings(config: &Config) -> Vec<String> {
    let unsigned =
        |source: &&config::PolicySource| source.keys.is_empty() && !matches!(source.place, PolicyPlace::Directory(_));
    let sources: Vec<&str> = config.policy.sources.iter().filter(unsigned).map(|source| source.id.as_str()).collect();
    match (config.policy.development, sources.is_empty()) {
        (false, _) => Vec::new(),
        (true, true) => vec!["[policy] development = true: for development only, never for real data".to_owned()],
        (true, false) => vec![format!(
            "[policy] development = true: anybody who can change the bundles of {} decides what crosses; for development \
             only, never for real data",
            sources.join(", ")
        )],
    }
}

/// Everything a gateway is made of, with the policies that are in force at first; opens the log.
///
/// # Errors
/// When a part does not work, in words.
pub fn setup(resolved: Resolved, policies: PolicySet, clock: Arc<dyn Clock>, standing: Standing) -> Result<Setup> {
    let signer = signer(&resolved)?;
    let pseudonyms = match (&resolved.config.pseudonyms, &resolved.pseudonym_key) {
        (Some(named), Some(key)) => Some(PseudonymKeys::new(&named.id, key.expose()).context("pseudonyms.key")?),
        _ => None,
    };
    let partners = partners(&resolved)?;
    let credentials = credentials(&resolved)?;
    let witnessing = Witnessing { witness: witness(&resolved, &clock)?, standing, readers: readers(&resolved.config) };
    let admin_anchors = resolved.admin_anchors.as_deref().map(certificates).transpose()?.unwrap_or_default();
    let kept_subjects = subjects(&resolved);
    let config = resolved.config;
    let kept = InputConfig {
        directory: resolved.inputs_directory,
        retention_days: config.inputs.retention_days,
        bytes: config.inputs.bytes,
    };
    let inputs = match config.inputs.enabled {
        true => Some(InputStore::open(kept, Arc::clone(&clock)).context("opening the store of inputs")?),
        false => None,
    };
    let subjects = match config.subjects.enabled {
        true => Some(SubjectStore::open(kept_subjects, Arc::clone(&clock)).context("opening the store of subjects")?),
        false => None,
    };
    // The log last: opening it takes its lock and may repair it, which must not happen for a configuration that fails.
    let log =
        Log::open(LogConfig::new(resolved.record_directory, config.record.origin.clone()), signer, Arc::clone(&clock))
            .context("opening the log")?;
    let agreements: Vec<Agreement> =
        config.agreements.into_iter().zip(resolved.terms).map(|(entry, terms)| agreement(entry, terms)).collect();
    count_uses(log.directory(), &agreements).context("counting the uses of agreements in the log")?;
    let retired_keys = retired_keys(resolved.retired_keys.as_deref())?;
    Ok(Setup {
        us: config.party.id.clone(),
        our_facts: config.party.attributes(),
        credentials,
        admin_anchors,
        pass_key: resolved.pass_key.expose().to_vec(),
        retired_keys,
        pass_lifetime: config.passes.lifetime,
        subject: config.passes.subject.clone(),
        partners,
        datasets: config.datasets.iter().map(dataset).collect(),
        agreements,
        policies,
        log,
        inputs,
        subjects,
        pseudonyms,
        exchanges: config.limits.exchanges,
        timeouts: Timeouts {
            connect: config.limits.upstream_connect,
            response: config.limits.upstream_response,
            idle: config.limits.idle,
        },
        clock,
        witnessing,
    })
}

/// What signs the log.
///
/// # Errors
/// When `record.key` is of no use.
pub fn signer(resolved: &Resolved) -> Result<Signer> {
    Signer::from_pkcs8(resolved.record_key.expose()).context("record.key")
}

/// Those who cosign our log, before it is opened.
///
/// # Errors
/// When a certificate, a key or a partner is of no use.
pub fn witnesses(resolved: &Resolved, clock: &Arc<dyn Clock>) -> Result<Witnesses> {
    let config = &resolved.config;
    let keys_of = |id: &PartyId| {
        let partner = config.partners.iter().find(|partner| partner.party.id == *id);
        partner.into_iter().flat_map(|partner| partner.witness_keys.iter()).filter_map(|key| CosignerKey::parse(key))
    };
    let origin = config.record.origin.clone();
    let key = LogKey::parse(&signer(resolved)?.verifier_key(&origin)).context("record.origin is no name of a key")?;
    let setup = WitnessesSetup {
        witnesses: config.witness.partners.iter().map(|id| (id.clone(), keys_of(id).collect())).collect(),
        quorum: config.witness.quorum,
        interval: config.witness.interval,
        overdue: config.witness.overdue,
        keys: vec![key],
        origin,
    };
    let tls = Tls::new(credentials(resolved)?, Arc::clone(clock))?;
    Witnesses::new(setup, &tls, &Partners::new(partners(resolved)?)?)
}

/// The authority that stamps our log with its time, if there is one.
///
/// # Errors
/// When its anchors are of no use.
pub fn timestamps(resolved: &Resolved) -> Result<Option<TimestampsSetup>> {
    let given = resolved.config.timestamps.as_ref().zip(resolved.timestamp_anchors.as_deref());
    let setup = given.map(|(config, anchors)| {
        let anchors = TimestampAnchors::parse(anchors).map_err(|what| anyhow!("timestamps.anchors {what}"))?;
        Ok(TimestampsSetup { url: config.url.clone(), interval: config.interval, anchors })
    });
    setup.transpose()
}

/// The witness that we are to others, if a key makes us one.
fn witness(resolved: &Resolved, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Witness>>> {
    let Some(key) = &resolved.witness_key else { return Ok(None) };
    let config = &resolved.config;
    let cosigner = Cosigner::from_pkcs8(&config.witness.name, key.expose()).context("witness.key")?;
    let logs = config.partners.iter().flat_map(|partner| &partner.log_keys).filter_map(|key| LogKey::parse(key));
    let directory = resolved.state_directory.join("witness");
    let witness = Witness::open(&directory, cosigner, logs, Arc::clone(clock)).context("opening the witness")?;
    Ok(Some(Arc::new(witness)))
}

/// Partners that may read the entries of our log.
fn readers(config: &Config) -> HashSet<PartyId> {
    let readers = config.partners.iter().filter(|partner| partner.log_entries);
    readers.map(|partner| partner.party.id.clone()).collect()
}

fn partners(resolved: &Resolved) -> Result<Vec<PartnerEntry>> {
    let partners = resolved.config.partners.iter().zip(&resolved.partners).map(|(partner, files)| {
        Ok(PartnerEntry {
            id: partner.party.id.clone(),
            endpoint: partner.endpoint.as_ref().map(ToString::to_string),
            names: partner.names.iter().map(ToString::to_string).collect(),
            anchors: certificates(&files.anchors)?,
            keys: serde_json::from_slice(&files.jwks)
                .with_context(|| format!("the JWKS of partner {}", partner.party.id))?,
            facts: partner.party.attributes(),
            suspended: partner.suspended,
            signatures: partner.signatures,
            owed_at_most: partner.owed_at_most.unwrap_or(resolved.config.receipts.owed_at_most),
        })
    });
    partners.collect()
}

/// The keys of `passes.retired`.
fn retired_keys(jwks: Option<&[u8]>) -> Result<Vec<Value>> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let Some(jwks) = jwks else { return Ok(Vec::new()) };
    let set: Set = serde_json::from_slice(jwks).context("passes.retired")?;
    Ok(set.keys)
}

fn credentials(resolved: &Resolved) -> Result<Credentials> {
    Ok(Credentials {
        chain: certificates(&resolved.tls_certificate)?,
        key: PrivateKeyDer::from_pem_slice(resolved.tls_key.expose()).context("tls.key")?,
    })
}

fn dataset(entry: &config::Dataset) -> DatasetSetup {
    DatasetSetup {
        dataset: Dataset::new(entry.id.clone(), entry.tags.clone(), entry.attributes()),
        upstream: entry.upstream.to_string(),
        pull: entry.accepts(Accept::Pull),
        push: entry.accepts(Accept::Push),
        single_use: entry.single_use,
    }
}

/// Tells agreements that count how often they were used, by the permits on record: what is durable is what counts.
fn count_uses(log: &Path, agreements: &[Agreement]) -> Result<()> {
    let terms = agreements.iter().filter_map(|agreement| Some((agreement.id.as_str(), agreement.terms.as_deref()?)));
    let counted: HashMap<&str, &Terms> = terms.filter(|(_, terms)| terms.counts()).collect();
    if counted.is_empty() {
        return Ok(());
    }
    for entry in Entries::open(log)? {
        let entry = entry?.payload;
        let word = |name: &str| entry.get(name).and_then(|value| value.as_str());
        let permitted = word("kind") == Some("decision") && word("decision") == Some("permit");
        let terms = word("agreement").filter(|_| permitted).and_then(|id| counted.get(id));
        let dataset = word("dataset").and_then(|id| id.parse::<DatasetId>().ok());
        if let (Some(terms), Some(dataset), Some(action)) = (terms, dataset, word("action"))
            && word("direction") == Some("export")
        {
            terms.count_recorded(&dataset, action);
        }
    }
    Ok(())
}

fn agreement(entry: config::Agreement, terms: Option<Arc<Terms>>) -> Agreement {
    Agreement {
        id: entry.id,
        party: entry.party,
        datasets: entry.datasets,
        purposes: entry.purposes.unwrap_or_default(),
        from: entry.from,
        until: entry.until,
        recipient: entry.recipient,
        legal: Facts::new(entry.legal),
        terms,
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// When the text is not PEM or holds no certificate.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().context("reading certificates")?;
    if certificates.is_empty() {
        return Err(anyhow!("there is no certificate in the PEM file"));
    }
    Ok(certificates)
}
