//! What was done to a payload: which rule, what, where and how often. Never a value.

use serde::Serialize;

use super::EnforceError;
use super::plan::{Action, Steps};
use super::select::Selected;

/// One obligation as it was carried out, for the record's outcome entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CarriedOut {
    /// The rule that demanded it.
    pub rule: String,
    /// The obligation, as the policy words it.
    #[serde(rename = "do")]
    pub action: String,
    /// How it was done, such as `hmac-sha256 key 2026-a`; `conveyed` for what accompanies the payload.
    pub how: String,
    /// The fields that the policy named.
    pub fields: Vec<String>,
    /// How many values were removed or replaced; for `k_anonymity` the records left out, for `watermark` the records
    /// marked. 0 for what accompanies the payload.
    pub count: u64,
}

/// Counts per demand, while a payload passes.
#[derive(Debug)]
pub(super) struct Tally {
    counts: Vec<u64>,
    /// Values that could not be read and were emptied.
    emptied: Vec<u64>,
}

impl Tally {
    pub(super) fn new(steps: &Steps) -> Self {
        Self { counts: vec![0; steps.demands.len()], emptied: vec![0; steps.demands.len()] }
    }

    /// Adds to one demand's count.
    pub(super) fn add(&mut self, demand: usize, count: u64) {
        self.counts[demand] += count;
    }

    /// Adds to the count of every demand of one kind.
    pub(super) fn add_all(&mut self, steps: &Steps, action: Action, count: u64) {
        for (demand, _) in steps.demands.iter().enumerate().filter(|(_, demand)| demand.action == action) {
            self.add(demand, count);
        }
    }

    /// What was done so far.
    pub(super) fn carried(&self, steps: &Steps) -> Vec<CarriedOut> {
        let counts = self.counts.iter().zip(&self.emptied);
        let carried = steps.demands.iter().zip(counts).map(|(demand, (&count, &emptied))| CarriedOut {
            rule: demand.rule.clone(),
            action: demand.action.word().into(),
            how: if emptied == 0 {
                demand.how.clone()
            } else {
                format!("{}; {emptied} unreadable values emptied", demand.how)
            },
            fields: demand.fields.clone(),
            count,
        });
        carried.collect()
    }
}

/// Replaces values. Holds the buffers, so that a value costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Replacer {
    text: Vec<u8>,
    next: Vec<u8>,
    /// Demands that the present value was counted for.
    counted: Vec<usize>,
}

impl Replacer {
    /// Starts with a value: its text, unescaped.
    pub(super) fn load(&mut self, value: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(value);
    }

    /// What the value has become; ASCII letters, digits, `-` and `_` only, once a selection was applied. Empty when it
    /// could not be read.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Replaces the value as the selections demand: pseudonym first, then coarser. What several rules demand alike is
    /// done once, and counted for each of them.
    pub(super) fn apply<'a>(
        &mut self,
        steps: &Steps,
        selected: impl Iterator<Item = &'a Selected> + Clone,
        tally: &mut Tally,
    ) -> Result<(), EnforceError> {
        self.counted.clear();
        for &demand in selected.clone().flat_map(|selected| &selected.pseudonymise) {
            if self.counted.is_empty() {
                let key = steps.key.as_ref().ok_or(EnforceError::Internal("a pseudonym is due and there is no key"))?;
                key.pseudonym(&self.text, &mut self.next)?;
                std::mem::swap(&mut self.text, &mut self.next);
            }
            self.count(demand, tally);
        }
        let mut before = None;
        for &(demand, coarsen) in selected.flat_map(|selected| &selected.coarsen) {
            if before.replace(coarsen) != Some(coarsen) {
                let read = coarsen.apply(&self.text, &mut self.next);
                std::mem::swap(&mut self.text, &mut self.next);
                if !read {
                    tally.emptied[demand] += 1;
                }
            }
            self.count(demand, tally);
        }
        Ok(())
    }

    fn count(&mut self, demand: usize, tally: &mut Tally) {
        if !self.counted.contains(&demand) {
            self.counted.push(demand);
            tally.add(demand, 1);
        }
    }
}
