//! The configuration with every file that it names in memory.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::Value;

use super::file::{FileRef, ed25519_pair, hex_key};
use super::odrl::{agreement_registry, terms};
use super::problem::{Complaint, Problem, sort};
use super::{Config, PolicyKey, PolicyPlace, PolicySource};
use crate::decide::{BundleKey, BundleKeys, DecideError, Terms};

/// Bytes that must not be shown. They are cloned by reference and printed as `Secret`.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A configuration that has been checked whole, and everything it needs from disk.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What the file says.
    pub config: Config,
    /// `tls.certificate`: PEM chain, leaf first.
    pub tls_certificate: Vec<u8>,
    /// `tls.key`: PEM. It belongs to the leaf.
    pub tls_key: Secret,
    /// `admin.anchors`: PEM certificates.
    pub admin_anchors: Option<Vec<u8>>,
    /// `passes.key`: Ed25519 PKCS#8 PEM.
    pub pass_key: Secret,
    /// `passes.retired`: a JSON Web Key Set without the key of `passes.key`.
    pub retired_keys: Option<Vec<u8>>,
    /// `record.key`: Ed25519 PKCS#8 PEM, another than `passes.key`.
    pub record_key: Secret,
    /// `witness.key`: Ed25519 PKCS#8 PEM, another than the two above.
    pub witness_key: Option<Secret>,
    /// `timestamps.anchors`: PEM certificates.
    pub timestamp_anchors: Option<Vec<u8>>,
    /// `pseudonyms.key`: the 32 raw bytes.
    pub pseudonym_key: Option<Secret>,
    /// One for each of `config.partners`, in the same order.
    pub partners: Vec<PartnerFiles>,
    /// What `odrl` of each of `config.agreements` says, in the same order.
    pub terms: Vec<Option<Arc<Terms>>>,
    /// `record.directory`, made when it is first written.
    pub record_directory: PathBuf,
    /// `policy.directory`; it exists.
    pub policy_directory: Option<PathBuf>,
    /// One for each of `config.policy.sources`, in the same order.
    pub policy_sources: Vec<SourceFiles>,
    /// `state.directory`, made when it is first written.
    pub state_directory: PathBuf,
    /// `inputs.directory`, made when it is first written.
    pub inputs_directory: PathBuf,
    /// `subjects.directory`, made when it is first written.
    pub subjects_directory: PathBuf,
}

/// What a partner is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartnerFiles {
    /// `anchors`: PEM certificates.
    pub anchors: Vec<u8>,
    /// `jwks`: a JSON Web Key Set (RFC 7517) with at least one Ed25519 or P-256 key.
    pub jwks: Vec<u8>,
}

/// What a policy source is fetched and recognised by.
#[derive(Debug, Clone)]
pub struct SourceFiles {
    /// `file` (which may not be there yet) or `directory` (which exists).
    pub path: Option<PathBuf>,
    /// `anchors`: PEM certificates.
    pub anchors: Option<Vec<u8>>,
    /// Whose word is taken for its bundles.
    pub trust: SourceTrust,
}

/// Whose word is taken for the bundles of a source.
#[derive(Debug, Clone)]
pub enum SourceTrust {
    /// That of whoever holds one of these keys.
    Keys(BundleKeys),
    /// Nobody's: the files are the operator's own. An archive is refused, so that keys that got lost open nothing.
    Own,
    /// Anybody's. Nothing but `development = true` yields this.
    Unsigned,
}

/// Reads every file that the configuration names, relative to `directory`, and checks that each is what it should be.
///
/// # Errors
/// Every problem found, in the order of lines; each on the line that names the file.
pub fn resolve(mut config: Config, directory: &Path) -> Result<Resolved, Vec<Problem>> {
    let mut found = Found { directory, problems: Vec::new() };
    let tls_certificate = found.bytes(&config.tls.certificate);
    let tls_key = found.bytes(&config.tls.key);
    let admin_anchors = config.admin.as_ref().map(|admin| found.bytes(&admin.anchors));
    let pass_key = found.bytes(&config.passes.key);
    let retired_keys = config.passes.retired.as_ref().map(|retired| found.bytes(retired));
    let record_key = found.bytes(&config.record.key);
    let witness_key = config.witness.key.as_ref().map(|key| found.bytes(key));
    let timestamp_anchors = config.timestamps.as_ref().map(|timestamps| found.bytes(&timestamps.anchors));
    let pseudonym_key = config.pseudonyms.as_ref().map(|pseudonyms| found.hex(&pseudonyms.key));
    let mut partners = Vec::with_capacity(config.partners.len());
    for partner in &config.partners {
        let (anchors, jwks) = (found.bytes(&partner.anchors), found.bytes(&partner.jwks));
        partners.push(PartnerFiles { anchors, jwks });
    }
    let terms = found.terms(&mut config);
    let record_directory = found.directory(&config.record.directory);
    let policy_directory = config.policy.directory.as_ref().map(|policy| found.directory(policy));
    let policy_sources =
        config.policy.sources.iter().map(|source| found.source(source, config.policy.development)).collect();
    let state_directory = found.directory(&config.state.directory);
    let inputs_directory = found.directory(&config.inputs.directory);
    let subjects_directory = found.directory(&config.subjects.directory);
    if found.problems.is_empty() {
        found.check_pair(&config, &tls_certificate, &tls_key);
        found.check_distinct(&config, &pass_key, &record_key, witness_key.as_deref());
        found.check_retired(&config, &pass_key, retired_keys.as_deref());
    }
    if !found.problems.is_empty() {
        sort(&mut found.problems);
        return Err(found.problems);
    }
    Ok(Resolved {
        config,
        tls_certificate,
        tls_key: Secret(tls_key.into()),
        admin_anchors,
        pass_key: Secret(pass_key.into()),
        retired_keys,
        record_key: Secret(record_key.into()),
        witness_key: witness_key.map(|key| Secret(key.into())),
        timestamp_anchors,
        pseudonym_key: pseudonym_key.map(|key| Secret(key.as_slice().into())),
        partners,
        terms,
        record_directory,
        policy_directory,
        policy_sources,
        state_directory,
        inputs_directory,
        subjects_directory,
    })
}

/// What is wrong with the files of a configuration whose text is wrong already.
pub(super) fn problems(files: &[FileRef], directory: &Path) -> Vec<Problem> {
    let mut found = Found { directory, problems: Vec::new() };
    for file in files {
        if file.content.is_located() {
            found.directory(file);
        } else {
            found.bytes(file);
        }
    }
    sort(&mut found.problems);
    found.problems
}

/// Files as they are read, and what was wrong with them. A file that is wrong yields nothing, and its problem sees to
/// it that nobody uses that.
struct Found<'d> {
    directory: &'d Path,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn bytes(&mut self, file: &FileRef) -> Vec<u8> {
        file.read(self.directory).unwrap_or_else(|problem| {
            self.problems.push(problem);
            Vec::new()
        })
    }

    /// The terms of every agreement, with the datasets of those that leave them to their terms.
    fn terms(&mut self, config: &mut Config) -> Vec<Option<Arc<Terms>>> {
        let registry = agreement_registry(config);
        let mut found = Vec::with_capacity(config.agreements.len());
        for agreement in &mut config.agreements {
            let Some(file) = agreement.odrl.clone() else {
                found.push(None);
                continue;
            };
            let read = file.read(self.directory).map_err(|problem| vec![problem]);
            let read = read.and_then(|bytes| terms(agreement, &file, &bytes, self.directory, &registry));
            found.push(read.map_err(|problems| self.problems.extend(problems)).ok());
        }
        found
    }

    fn hex(&mut self, file: &FileRef) -> [u8; 32] {
        let key = file.read(self.directory).and_then(|bytes| hex_key(&bytes).map_err(|wrong| file.problem(wrong)));
        key.unwrap_or_else(|problem| {
            self.problems.push(problem);
            [0; 32]
        })
    }

    fn directory(&mut self, directory: &FileRef) -> PathBuf {
        directory.locate(self.directory).unwrap_or_else(|problem| {
            self.problems.push(problem);
            PathBuf::new()
        })
    }

    fn source(&mut self, source: &PolicySource, development: bool) -> SourceFiles {
        let (path, anchors) = match &source.place {
            PolicyPlace::File(path) | PolicyPlace::Directory(path) => (Some(self.directory(path)), None),
            PolicyPlace::Url { anchors, .. } => (None, anchors.as_ref().map(|anchors| self.bytes(anchors))),
        };
        let keys: Vec<BundleKey> = source.keys.iter().filter_map(|key| self.bundle_key(key)).collect();
        let is_directory = matches!(source.place, PolicyPlace::Directory(_));
        let trust = match BundleKeys::new(keys) {
            Ok(keys) => SourceTrust::Keys(keys),
            Err(_) if source.keys.is_empty() && development && !is_directory => SourceTrust::Unsigned,
            Err(_) => SourceTrust::Own,
        };
        SourceFiles { path, anchors, trust }
    }

    fn bundle_key(&mut self, key: &PolicyKey) -> Option<BundleKey> {
        let bytes = key.file.read(self.directory).map_err(|problem| self.problems.push(problem)).ok()?;
        let read = BundleKey::new(Some(key.id.clone()), &String::from_utf8_lossy(&bytes), Some(&key.algorithm));
        let wrong = |error: DecideError| {
            key.file.problem(Complaint::new(
                format!("cannot be used: {error}"),
                "name a key and the algorithm that it is for",
            ))
        };
        let read = read.map_err(|error| self.problems.push(wrong(error))).ok()?;
        Some(match &key.scope {
            Some(scope) => read.with_scope(scope.clone()),
            None => read,
        })
    }

    /// The private key must belong to the leaf: otherwise every handshake would fail, one by one.
    fn check_pair(&mut self, config: &Config, certificate: &[u8], key: &[u8]) {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate).flatten().collect();
        let key = PrivateKeyDer::from_pem_slice(key).ok();
        let key = key.and_then(|key| rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).ok());
        let belongs = key.is_some_and(|key| CertifiedKey::new(chain, key).keys_match().is_ok());
        if !belongs {
            let what = format!("does not belong to the first certificate of {}", config.tls.certificate.path.display());
            let fix = "name the key that the certificate was issued for";
            self.problems.push(config.tls.key.problem(Complaint::new(what, fix)));
        }
    }

    /// A key that is marked as over and signs would be refused by partners from then on.
    fn check_retired(&mut self, config: &Config, pass: &[u8], retired: Option<&[u8]>) {
        let Some((file, retired)) = config.passes.retired.as_ref().zip(retired) else { return };
        let set: Option<Value> = serde_json::from_slice(retired).ok();
        let keys = set.as_ref().and_then(|set| set.get("keys")).and_then(Value::as_array);
        let mut keys = keys.into_iter().flatten().filter_map(|key| key.get("x")).filter_map(Value::as_str);
        let signing = ed25519_pair(pass).map(|pair| URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()));
        if signing.is_some_and(|signing| keys.any(|key| key == signing)) {
            let what = "holds the key that signs passes now";
            self.problems.push(file.problem(Complaint::new(what, "remove it, or name another key under passes.key")));
        }
    }

    /// One key for two of passes, records and cosignatures would let whoever may sign the one sign the other.
    fn check_distinct(&mut self, config: &Config, pass: &[u8], record: &[u8], witness: Option<&[u8]>) {
        let public = |pem: &[u8]| ed25519_pair(pem).map(|pair| pair.public_key().as_ref().to_vec());
        if public(pass) == public(record) {
            let complaint = Complaint::new("holds the key that also signs passes", "make a key of its own for the log");
            self.problems.push(config.record.key.problem(complaint));
        }
        if let Some((file, key)) = config.witness.key.as_ref().zip(witness)
            && (public(key) == public(pass) || public(key) == public(record))
        {
            let what = "holds the key that also signs passes or the log";
            self.problems.push(file.problem(Complaint::new(what, "make a key of its own for the witness")));
        }
    }
}
