//! A second engine beside the one that decides: where the two disagree, the answer is no.
//!
//! It is asked for fresh decisions only, never for one that is remembered, so it costs the hot path nothing. From the
//! first disagreement on it is asked for every fresh decision of that policy, and the input that showed it stays refused.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trial::{Answer, alike, parsed};
use super::{DecideError, PolicyIdentity};
use crate::types::Digest;

/// One fresh decision of this many is compared, unless all or none are.
const SAMPLED: u64 = 16;
/// Inputs that showed a disagreement and stay refused; at some 80 bytes each. Were there more, every fresh decision is
/// still compared.
const REFUSED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Characters of a verdict and its rules in our log.
const WORDS: usize = 200;

/// A second engine for the same policy.
pub trait Shadow: Send + Sync {
    /// What it answers to `input` (JSON). It waits no longer than it was told to when it was made.
    fn answer(&self, input: &str) -> ShadowAnswer;
}

/// What a second engine came to.
#[derive(Debug, Clone, PartialEq)]
pub enum ShadowAnswer {
    /// Its answer: a decision document, or why it has none.
    Given(Answer),
    /// No answer in time, and why. That is no disagreement.
    Missing(String),
}

/// How many of the fresh decisions are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShadowMode {
    /// None.
    Off,
    /// One of each sixteen, and the very first.
    #[default]
    Sampled,
    /// Every one.
    All,
}

/// What became of the comparisons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ShadowFigures {
    /// Fresh decisions for which the second engine was asked.
    pub asked: u64,
    /// Those where it answered differently. Any is an alarm.
    pub disagreed: u64,
    /// Those where it did not answer in time.
    pub missing: u64,
}

/// A second engine in service.
pub(super) struct Shadowing {
    shadow: Arc<dyn Shadow>,
    all: bool,
    turns: AtomicU64,
    seed: u64,
    asked: AtomicU64,
    disagreed: AtomicU64,
    missing: AtomicU64,
    refused: Mutex<LruCache<Digest, ()>>,
}

impl Shadowing {
    pub(super) fn new(shadow: Arc<dyn Shadow>, mode: ShadowMode) -> Option<Self> {
        (mode != ShadowMode::Off).then(|| Self {
            shadow,
            all: mode == ShadowMode::All,
            turns: AtomicU64::new(0),
            seed: fastrand::u64(..),
            asked: AtomicU64::new(0),
            disagreed: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            refused: Mutex::new(LruCache::new(REFUSED)),
        })
    }

    pub(super) fn figures(&self) -> ShadowFigures {
        ShadowFigures {
            asked: self.asked.load(Ordering::Relaxed),
            disagreed: self.disagreed.load(Ordering::Relaxed),
            missing: self.missing.load(Ordering::Relaxed),
        }
    }

    /// Whether this turn is the one of its sixteen that is compared. Which it is cannot be foreseen, so that nobody asks
    /// in between on purpose; the very first always is.
    fn is_sampled(&self, turn: u64) -> bool {
        let sixteen = turn / SAMPLED;
        let place = if sixteen == 0 { 0 } else { fastrand::Rng::with_seed(self.seed ^ sixteen).u64(..SAMPLED) };
        turn % SAMPLED == place
    }

    /// Compares a fresh answer, if it is its turn.
    ///
    /// # Errors
    /// [`DecideError::Disagreement`] when the second engine answers differently, now or the last time.
    pub(super) fn compare(
        &self,
        policy: &PolicyIdentity,
        input: &str,
        document: &Result<String, DecideError>,
    ) -> Result<(), DecideError> {
        // Without an answer in time the exchange is refused, and there is nothing to compare.
        if matches!(document, Err(DecideError::Overrun)) {
            return Ok(());
        }
        let suspect = self.disagreed.load(Ordering::Relaxed) > 0;
        let turn = self.is_sampled(self.turns.fetch_add(1, Ordering::Relaxed));
        if !(self.all || suspect || turn) {
            return Ok(());
        }
        let digest = Digest::of(input.as_bytes());
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if suspect && refused.get(&digest).is_some() {
            return Err(DecideError::Disagreement("as they did on the same input before".to_owned()));
        }
        drop(refused);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let theirs = match self.shadow.answer(input) {
            // A busy machine makes engines slow; that they disagree it does not.
            ShadowAnswer::Given(Err(DecideError::Overrun)) => ShadowAnswer::Missing("it took too long".to_owned()),
            answer => answer,
        };
        let theirs = match theirs {
            ShadowAnswer::Given(answer) => answer,
            ShadowAnswer::Missing(why) => {
                let missing = self.missing.fetch_add(1, Ordering::Relaxed) + 1;
                // The first, and then ever fewer: a second engine that is gone must not fill the log.
                if missing.is_power_of_two() {
                    tracing::warn!(
                        policy = policy.id,
                        missing,
                        why,
                        "a decision was not compared with the second engine"
                    );
                }
                // A policy that was caught once is believed only where the second engine agrees.
                if suspect {
                    return Err(DecideError::Disagreement(
                        "before, and there is nothing to compare with now".to_owned(),
                    ));
                }
                return Ok(());
            }
        };
        let ours = parsed(document.clone());
        if alike(&ours, &theirs) {
            return Ok(());
        }
        self.disagreed.fetch_add(1, Ordering::Relaxed);
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).put(digest, ());
        // Verdicts and rules only: what a policy says besides may repeat what it was asked. The input is named by its digest.
        tracing::error!(
            policy = policy.id,
            revision = policy.revision,
            input = %digest,
            decided = verdict_and_rules(&ours),
            second = verdict_and_rules(&theirs),
            "the engines disagree on a decision, so it is a denial: this policy is not to be trusted"
        );
        Err(DecideError::Disagreement(format!("on the input {digest}")))
    }
}

/// An answer without its sentences.
fn verdict_and_rules(answer: &Answer) -> String {
    let document = match answer {
        Ok(document) => document,
        Err(error) => return error.code().to_owned(),
    };
    let verdict = document.get("decision").and_then(Value::as_str).unwrap_or("no decision");
    let reasons = document.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let rules: Vec<&str> = reasons.filter_map(|reason| reason.get("rule")?.as_str()).collect();
    format!("{verdict} {}", rules.join(" ")).chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests;
