//! The partners that we vetted, and which of them a certificate speaks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};

use super::keys::{KeySet, PassKeys};
use super::{AuthenticateError, Certificate};
use crate::types::{Facts, PartyId};

/// Which of a partner's messages have to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signatures {
    /// None: it has no Sekisho, or not yet one that signs.
    None,
    /// Its gateway's answers to us.
    #[default]
    Answers,
    /// Its requests, too.
    All,
}

/// What the configuration says of a partner.
#[derive(Debug, Clone)]
pub struct PartnerEntry {
    /// The organisation.
    pub id: PartyId,
    /// `host:port` of its partner listener; absent for a partner without a gateway.
    pub endpoint: Option<String>,
    /// Names in its certificates that we take for it: URIs, or `dns:` and a DNS name.
    pub names: Vec<String>,
    /// The authorities that may vouch for those names, and for no others.
    pub anchors: Vec<CertificateDer<'static>>,
    /// The keys that sign its passes.
    pub keys: KeySet,
    /// What we vetted, as the policy sees it (beside `party`, which is always `id`): `country`, `type`, `membership`, `framework`, further facts.
    pub facts: Map<String, Value>,
    /// Whether it starts suspended.
    pub suspended: bool,
    /// What it has to sign.
    pub signatures: Signatures,
    /// How many receipts it may owe us and still be served; 0 for any number.
    pub owed_at_most: usize,
}

/// A partner in service.
#[derive(Debug)]
pub struct Partner {
    id: PartyId,
    endpoint: Option<String>,
    names: Vec<String>,
    roots: Arc<RootCertStore>,
    keys: PassKeys,
    facts: Facts,
    suspended: AtomicBool,
    signatures: Signatures,
    owed_at_most: usize,
}

impl Partner {
    fn new(entry: PartnerEntry) -> Result<Self, AuthenticateError> {
        let configuration = |what: String| AuthenticateError::Configuration(format!("partner {}: {what}", entry.id));
        let mut roots = RootCertStore::empty();
        for anchor in &entry.anchors {
            roots.add(anchor.clone()).map_err(|error| configuration(format!("a trust anchor is unusable: {error}")))?;
        }
        if roots.is_empty() {
            return Err(configuration("there is no trust anchor".to_owned()));
        }
        let keys = PassKeys::read(&entry.keys).map_err(configuration)?;
        Ok(Self {
            keys,
            facts: Facts::about(&entry.id, entry.facts),
            id: entry.id,
            endpoint: entry.endpoint,
            names: entry.names,
            roots: Arc::new(roots),
            suspended: AtomicBool::new(entry.suspended),
            signatures: entry.signatures,
            owed_at_most: entry.owed_at_most,
        })
    }

    /// The organisation.
    pub fn id(&self) -> &PartyId {
        &self.id
    }

    /// `host:port` of its partner listener, if it has one.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// The names in certificates that are taken for it.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What we vetted, as the policy sees it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The authorities that may vouch for its names.
    pub(super) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// The keys that sign its passes.
    pub(super) fn keys(&self) -> &PassKeys {
        &self.keys
    }

    /// Which of its messages have to be signed.
    pub fn signatures(&self) -> Signatures {
        self.signatures
    }

    /// How many receipts it may owe us and still be served; 0 for any number.
    pub fn owed_at_most(&self) -> usize {
        self.owed_at_most
    }

    /// Whether it is suspended at this moment.
    pub fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    /// Suspends or resumes it; the next request feels it.
    pub fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Release);
    }
}

/// All partners, by id and by the names in their certificates.
#[derive(Debug, Default)]
pub struct Partners {
    by_id: HashMap<PartyId, Arc<Partner>>,
    by_name: HashMap<String, Arc<Partner>>,
}

impl Partners {
    /// Takes in the configuration's partners.
    ///
    /// # Errors
    /// [`AuthenticateError::Configuration`] for an unusable anchor or key, or for an id or name claimed twice.
    pub fn new(entries: Vec<PartnerEntry>) -> Result<Self, AuthenticateError> {
        let mut partners = Self::default();
        for entry in entries {
            let partner = Arc::new(Partner::new(entry)?);
            for name in &partner.names {
                if let Some(other) = partners.by_name.insert(name.clone(), Arc::clone(&partner)) {
                    let (one, two) = (&other.id, &partner.id);
                    return Err(AuthenticateError::Configuration(format!(
                        "{one} and {two} both claim the name {name}"
                    )));
                }
            }
            if partners.by_id.insert(partner.id.clone(), Arc::clone(&partner)).is_some() {
                return Err(AuthenticateError::Configuration(format!("partner {} appears twice", partner.id)));
            }
        }
        Ok(partners)
    }

    /// The partner with this id.
    pub fn get(&self, id: &PartyId) -> Option<&Arc<Partner>> {
        self.by_id.get(id)
    }

    /// All partners, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Partner>> {
        self.by_id.values()
    }

    /// The one partner that goes by the names in `certificate`.
    ///
    /// # Errors
    /// [`AuthenticateError::UnknownParty`] when none does; [`AuthenticateError::Certificate`] when two do.
    pub fn named(&self, certificate: &Certificate) -> Result<&Arc<Partner>, AuthenticateError> {
        let mut found: Option<&Arc<Partner>> = None;
        for name in certificate.names() {
            let Some(partner) = self.by_name.get(name) else { continue };
            if found.is_some_and(|other| other.id != partner.id) {
                return Err(AuthenticateError::Certificate("carries the names of two partners"));
            }
            found = Some(partner);
        }
        found.ok_or(AuthenticateError::UnknownParty)
    }
}
