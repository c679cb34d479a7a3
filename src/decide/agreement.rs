//! Agreements that we hold: what a pass may point to, and what papers then count.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Terms;
use crate::types::{DatasetId, Facts, PartyId, Purpose};

/// One agreement with a partner about datasets of ours.
#[derive(Debug, Clone)]
pub struct Agreement {
    /// Its id, as passes name it.
    pub id: String,
    /// The partner.
    pub party: PartyId,
    /// The datasets it covers.
    pub datasets: Vec<DatasetId>,
    /// The purposes it covers; empty for all.
    pub purposes: Vec<Purpose>,
    /// First date of validity, `YYYY-MM-DD`.
    pub from: String,
    /// The first date on which it no longer holds, `YYYY-MM-DD`.
    pub until: String,
    /// What it makes true of the recipient, such as `need_to_know` or `named`.
    pub recipient: Map<String, Value>,
    /// The papers that come with it: legal mechanism, export licence and so on.
    pub legal: Facts,
    /// What was agreed in ODRL, which every exchange under the agreement is weighed against.
    pub terms: Option<Arc<Terms>>,
}

impl Agreement {
    /// Whether it covers this use on this date (`YYYY-MM-DD`).
    pub fn covers(&self, party: &PartyId, dataset: &DatasetId, purpose: &Purpose, date: &str) -> bool {
        (self.purposes.is_empty() || self.purposes.contains(purpose)) && self.holds(party, dataset, date)
    }

    /// Whether it is in force between us and this partner, about this dataset, on this date (`YYYY-MM-DD`).
    fn holds(&self, party: &PartyId, dataset: &DatasetId, date: &str) -> bool {
        self.party == *party
            && self.datasets.contains(dataset)
            && self.from.as_str() <= date
            && date < self.until.as_str()
    }
}

/// All agreements, by id.
#[derive(Debug, Default)]
pub struct Agreements {
    by_id: HashMap<String, Agreement>,
    /// The ids of those with terms, by dataset: this is asked of every request that names no agreement.
    with_terms: HashMap<DatasetId, Vec<String>>,
}

impl Agreements {
    /// The agreement with this id.
    pub fn get(&self, id: &str) -> Option<&Agreement> {
        self.by_id.get(id)
    }

    /// Whether an agreement with terms is in force with this partner about this dataset on this date (`YYYY-MM-DD`),
    /// whatever the purpose. Then a request must name one, or its counts, prohibitions and duties would bind only those
    /// who care to name it.
    pub fn bind(&self, party: &PartyId, dataset: &DatasetId, date: &str) -> bool {
        let ids = self.with_terms.get(dataset).into_iter().flatten();
        ids.filter_map(|id| self.get(id)).any(|agreement| agreement.holds(party, dataset, date))
    }
}

impl FromIterator<Agreement> for Agreements {
    fn from_iter<I: IntoIterator<Item = Agreement>>(agreements: I) -> Self {
        let by_id: HashMap<_, _> = agreements.into_iter().map(|agreement| (agreement.id.clone(), agreement)).collect();
        let mut with_terms: HashMap<DatasetId, Vec<String>> = HashMap::new();
        for agreement in by_id.values().filter(|agreement| agreement.terms.is_some()) {
            for dataset in &agreement.datasets {
                with_terms.entry(dataset.clone()).or_default().push(agreement.id.clone());
            }
        }
        Self { by_id, with_terms }
    }
}
