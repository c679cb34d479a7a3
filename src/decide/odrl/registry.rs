//! Whom and what an agreement may name: us, our partners, our datasets.

use crate::types::{DatasetId, PartyId};

/// The names that the registry gives to parties and datasets.
#[derive(Debug, Clone)]
pub struct Registry {
    us: PartyId,
    parties: Vec<(PartyId, Vec<String>)>,
    datasets: Vec<DatasetId>,
}

impl Registry {
    /// A registry of ourselves alone; `names` are what we go by beside our id, such as a business partner number.
    pub fn new(us: PartyId, names: Vec<String>) -> Self {
        Self { parties: vec![(us.clone(), names)], us, datasets: Vec::new() }
    }

    /// Adds a partner and what it goes by beside its id.
    pub fn party(&mut self, id: PartyId, names: Vec<String>) {
        self.parties.push((id, names));
    }

    /// Adds a dataset of ours.
    pub fn dataset(&mut self, id: DatasetId) {
        self.datasets.push(id);
    }

    /// Ourselves.
    pub fn us(&self) -> &PartyId {
        &self.us
    }

    /// The party that goes by this name: its id, `urn:sekisho:party:` or `did:web:` and its id, or one of its names.
    /// A name that two parties go by is nobody's.
    pub(super) fn find_party(&self, name: &str) -> Option<&PartyId> {
        let id = ["urn:sekisho:party:", "did:web:"].iter().find_map(|start| name.strip_prefix(start)).unwrap_or(name);
        let mut found = self
            .parties
            .iter()
            .filter(|(party, names)| party.as_str() == id || names.iter().any(|known| known == name));
        match (found.next(), found.next()) {
            (Some((party, _)), None) => Some(party),
            _ => None,
        }
    }

    /// The dataset that goes by this name: its id, or `urn:sekisho:dataset:`, our id, `:` and its id.
    pub(super) fn find_dataset(&self, name: &str) -> Option<&DatasetId> {
        let ours = name.strip_prefix("urn:sekisho:dataset:").map(|rest| {
            rest.strip_prefix(self.us.as_str()).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default()
        });
        let id = ours.unwrap_or(name);
        self.datasets.iter().find(|dataset| dataset.as_str() == id)
    }
}
