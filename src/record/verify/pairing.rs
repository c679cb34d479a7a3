//! Every permitted exchange must end, and nothing ends that was not decided.

use std::collections::{HashMap, VecDeque};

use super::report::Findings;
use crate::record::entry::Step;
use crate::types::ExchangeId;

/// Refused exchanges without an outcome that are remembered. They may lack one, so a long log could hold any number.
const REFUSED_KEPT: usize = 65_536;

/// Decisions that still wait for their outcome.
#[derive(Default)]
pub(super) struct Pairing {
    open: HashMap<ExchangeId, Open>,
    /// The refused ones among them, oldest first; some may have ended since.
    refused: VecDeque<ExchangeId>,
    /// Some refused ones were forgotten: an outcome without a decision may be theirs.
    forgot: bool,
    pairs: u64,
}

#[derive(Clone, Copy)]
struct Open {
    index: u64,
    permitted: bool,
}

impl Pairing {
    /// Takes the next entry.
    pub(super) fn take(&mut self, index: u64, exchange: ExchangeId, step: Step, findings: &mut Findings) {
        match step {
            Step::Decided { permitted } => {
                if let Some(first) = self.open.insert(exchange, Open { index, permitted }) {
                    let what = format!("exchange {exchange} was decided at {} already and had not ended", first.index);
                    findings.add(Some(index), what);
                }
                if !permitted {
                    self.remember_refused(exchange);
                }
            }
            // A receipt may come long after its exchange, whose decision need not be remembered any more.
            Step::Noted => {}
            Step::Ended => match self.open.remove(&exchange) {
                Some(_) => self.pairs += 1,
                None if self.forgot => {}
                None => findings.add(Some(index), format!("exchange {exchange} ended, but was not decided before")),
            },
        }
    }

    fn remember_refused(&mut self, exchange: ExchangeId) {
        self.refused.push_back(exchange);
        if self.refused.len() > REFUSED_KEPT
            && let Some(oldest) = self.refused.pop_front()
            && self.open.get(&oldest).is_some_and(|open| !open.permitted)
        {
            self.open.remove(&oldest);
            self.forgot = true;
        }
    }

    /// Judges what is still open at the end, except for exchanges that were decided at `recent` or later: the log may
    /// be in use.
    pub(super) fn finish(self, recent: u64, findings: &mut Findings) -> (u64, String) {
        let mut open: Vec<_> = self.open.into_iter().filter(|(_, open)| open.permitted).collect();
        open.sort_by_key(|(_, open)| open.index);
        let (late, fresh): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, open)| open.index < recent);
        for (exchange, Open { index, .. }) in late {
            findings.add(Some(index), format!("exchange {exchange} was permitted, and nothing says how it ended"));
        }
        let detail = match fresh.len() {
            0 => "each permitted exchange has its outcome".to_owned(),
            count => format!("each permitted exchange has its outcome, but for {count} beyond the checkpoint"),
        };
        (self.pairs, detail)
    }
}
