//! Recorded exchanges decided again by a candidate policy: which would have gone otherwise?
//!
//! The log says what was decided and on which input, by digest; the store of inputs gives the input back. A decision can
//! be made again only when the candidate would have seen what it reads. The stored input holds what the policies of that
//! time declared and nothing else, so the rule is:
//!
//! - Every path that the candidate declares must be covered by what the recorded policy declared (the store knows that
//!   by the policy's digest): the whole section, or the same member. Then what is absent from the input was absent.
//! - If the candidate reads the time (`at`), the recorded policy saw it at least as exactly. A time given to the replay
//!   takes the place of the recorded one, and then neither matters.
//! - Of a policy whose declaration is not stored, as when no decision came about, every path that the candidate declares
//!   must be present in the input itself.
//!
//! Where that does not hold, and where the input is missing or damaged, the replay cannot tell, and counts it so. The
//! candidate sees of an input what it declares, as it would in force.
//!
//! An agreement in ODRL is weighed beside the policies, and a candidate is asked without one: what the log says in the
//! name of the agreement is set aside, and what the agreement denied stays denied.

mod candidate;
mod compare;
mod recorded;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use lru::LruCache;
use serde::Serialize;

use crate::record::{Entries, Lookup, StoredInputs};
use crate::types::Digest;

use candidate::Answer;
pub use candidate::Candidate;
use compare::compare;
pub use compare::{Flip, Kind, Side, Status};
use recorded::{Recorded, Step};

/// Recorded decisions that are taken at once: enough that both cores stay busy, few enough to hold.
const CHUNK: usize = 2048;
/// Answers of the candidate that are remembered: at some 2 KiB each, 32 MiB. An input that was forgotten is decided again.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// Damaged places that are told: who mends the store looks at the file then.
const DAMAGED_TOLD: usize = 10;

/// Which recorded decisions are decided again.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// From this day on, `YYYY-MM-DD`.
    pub from: Option<String>,
    /// Before this day, `YYYY-MM-DD`.
    pub until: Option<String>,
}

/// What a replay found, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Decisions of a policy that the log holds in the span.
    pub decisions: u64,
    /// Different inputs among those that were decided again.
    pub distinct_inputs: u64,
    /// Decisions that would come out otherwise: another verdict, or other obligations on what crosses.
    pub flips: u64,
    /// The flips by kind, the most frequent first.
    pub kinds: Vec<KindCount>,
    /// Decisions whose verdict stays and whose rules do not. No flips.
    pub other_rules: u64,
    /// Denials where the agreement stood against the exchange and no policy did. No flips: no policy changes them.
    pub decided_by_agreement: u64,
    /// Decisions of which the replay cannot tell.
    pub cannot_tell: CannotTell,
    /// Entries of requests that were refused without asking a policy. Not replayed.
    pub refused_unasked: u64,
    /// Places in the store that do not hold what was recorded, `file:byte`; the first ten.
    pub damaged: Vec<String>,
}

/// Why decisions could not be made again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CannotTell {
    /// The store does not hold the input.
    pub missing: u64,
    /// The store holds something else in its place.
    pub damaged: u64,
    /// The input was narrowed to less than the candidate reads.
    pub narrowed: u64,
    /// The paths that were lacking.
    pub lacking: Vec<String>,
}

/// A kind of flip and how often it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// What was recorded and what the candidate says.
    #[serde(flatten)]
    pub kind: Kind,
    /// How often.
    pub count: u64,
}

impl CannotTell {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.missing + self.damaged + self.narrowed
    }
}

/// What became of one input.
enum Outcome {
    Decided(Answer),
    Missing,
    Damaged,
}

/// Decides a log's decisions again, in its order. `flipped` gets every flip; `progress` bytes of the log, done and total.
///
/// # Errors
/// When the log or the store cannot be read, or `flipped` fails.
pub fn replay(
    log: &Path,
    inputs: &Path,
    candidate: &Candidate,
    span: &Span,
    mut progress: impl FnMut(u64, u64),
    mut flipped: impl FnMut(&Flip) -> Result<()>,
) -> Result<Summary> {
    let stored = StoredInputs::open(inputs, span.until.as_deref())
        .with_context(|| format!("reading the stored inputs in {}", inputs.display()))?;
    let mut entries = Entries::open(log).with_context(|| format!("reading the log in {}", log.display()))?;
    let mut replay = Replay::new(&stored, candidate);
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let entry = entries.next().transpose().with_context(|| format!("reading the log in {}", log.display()))?;
        let ended = entry.is_none();
        match entry.map(|entry| Recorded::read(entry, span)) {
            Some(Step::Decided(recorded)) => chunk.push(*recorded),
            Some(Step::RefusedUnasked) => replay.summary.refused_unasked += 1,
            Some(Step::Other) | None => {}
        }
        if chunk.len() == CHUNK || ended {
            replay.take(&chunk, &mut flipped)?;
            chunk.clear();
            let (done, total) = entries.progress();
            progress(done, total);
        }
        if ended {
            return Ok(replay.finish());
        }
    }
}

/// A replay on its way.
struct Replay<'a> {
    stored: &'a StoredInputs,
    candidate: &'a Candidate,
    answers: LruCache<Digest, Outcome>,
    /// What the candidate reads and a recorded policy did not, for each policy that the store knows.
    lacking: HashMap<Digest, Vec<String>>,
    seen: Vec<bool>,
    kinds: HashMap<Kind, u64>,
    summary: Summary,
}

impl<'a> Replay<'a> {
    fn new(stored: &'a StoredInputs, candidate: &'a Candidate) -> Self {
        Self {
            stored,
            candidate,
            answers: LruCache::new(REMEMBERED),
            lacking: HashMap::new(),
            seen: vec![false; stored.len()],
            kinds: HashMap::new(),
            summary: Summary::default(),
        }
    }

    fn take(&mut self, chunk: &[Recorded], flipped: &mut impl FnMut(&Flip) -> Result<()>) -> Result<()> {
        self.summary.decisions += chunk.len() as u64;
        let mut undecided: Vec<Digest> = Vec::new();
        for recorded in chunk {
            // Looking also makes it young, so that what this chunk needs is not what makes way.
            if !self.lacks(recorded) && self.answers.get(&recorded.input).is_none() {
                undecided.push(recorded.input);
            }
        }
        undecided.sort_unstable_by_key(|digest| *digest.as_bytes());
        undecided.dedup();
        for (digest, outcome) in self.decide(&undecided)? {
            self.answers.put(digest, outcome);
        }
        for recorded in chunk {
            self.judge(recorded, flipped)?;
        }
        Ok(())
    }

    /// Decides inputs on all cores, each core with an engine of its own.
    fn decide(&mut self, inputs: &[Digest]) -> Result<Vec<(Digest, Outcome)>> {
        let next = AtomicUsize::new(0);
        let (stored, candidate) = (self.stored, self.candidate);
        let (seen, damaged) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let work = || -> Result<Vec<(Digest, Outcome)>> {
            let mut outcomes = Vec::new();
            while let Some(digest) = inputs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = match stored.find(digest)? {
                    Lookup::Found { number, input } => {
                        push(&seen, number);
                        Outcome::Decided(candidate.decide(&input))
                    }
                    Lookup::Missing => Outcome::Missing,
                    Lookup::Damaged(place) => {
                        push(&damaged, place);
                        Outcome::Damaged
                    }
                };
                outcomes.push((*digest, outcome));
            }
            Ok(outcomes)
        };
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(inputs.len());
        let outcomes = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            let mut outcomes = Vec::with_capacity(inputs.len());
            for worker in workers {
                let worked = worker.join().map_err(|_| anyhow::anyhow!("a thread of the replay crashed"))?;
                outcomes.extend(worked?);
            }
            Ok(outcomes)
        });
        for number in seen.into_inner().unwrap_or_default() {
            self.summary.distinct_inputs += u64::from(!std::mem::replace(&mut self.seen[number], true));
        }
        self.summary.damaged.extend(damaged.into_inner().unwrap_or_default());
        self.summary.damaged.sort_unstable();
        self.summary.damaged.dedup();
        self.summary.damaged.truncate(DAMAGED_TOLD);
        outcomes
    }

    /// Whether the recorded policy is known to have seen less than the candidate reads.
    fn lacks(&mut self, recorded: &Recorded) -> bool {
        self.lacking_of(recorded).is_some_and(|lacking| !lacking.is_empty())
    }

    fn lacking_of(&mut self, recorded: &Recorded) -> Option<&Vec<String>> {
        let policy = recorded.policy?;
        let (stored, candidate) = (self.stored, self.candidate);
        // As many as there are declarations: nothing is remembered of a policy that the store does not know.
        let declaration = stored.declared(&policy)?;
        Some(self.lacking.entry(policy).or_insert_with(|| candidate.lacking(declaration)))
    }

    fn judge(&mut self, recorded: &Recorded, flipped: &mut impl FnMut(&Flip) -> Result<()>) -> Result<()> {
        let lacking = self.lacking_of(recorded).cloned();
        let known = lacking.is_some();
        if let Some(lacking) = lacking.filter(|lacking| !lacking.is_empty()) {
            self.summary.cannot_tell.narrowed += 1;
            self.lack(&lacking);
            return Ok(());
        }
        let answer = match self.answers.peek(&recorded.input) {
            Some(Outcome::Decided(answer)) => answer,
            Some(Outcome::Damaged) => {
                self.summary.cannot_tell.damaged += 1;
                return Ok(());
            }
            Some(Outcome::Missing) | None => {
                self.summary.cannot_tell.missing += 1;
                return Ok(());
            }
        };
        if !known && !answer.absent.is_empty() {
            let absent = answer.absent.to_vec();
            self.summary.cannot_tell.narrowed += 1;
            self.lack(&absent);
            return Ok(());
        }
        let compared = compare(recorded, answer);
        self.summary.other_rules += u64::from(compared.other_rules);
        self.summary.decided_by_agreement += u64::from(compared.by_agreement);
        if let Some(flip) = compared.flip {
            self.summary.flips += 1;
            *self.kinds.entry(flip.kind).or_default() += 1;
            flipped(&flip)?;
        }
        Ok(())
    }

    fn lack(&mut self, paths: &[String]) {
        let told = &mut self.summary.cannot_tell.lacking;
        told.extend(paths.iter().cloned());
        told.sort_unstable();
        told.dedup();
    }

    fn finish(mut self) -> Summary {
        let mut kinds: Vec<KindCount> = self.kinds.into_iter().map(|(kind, count)| KindCount { kind, count }).collect();
        kinds.sort_by_key(|counted| (std::cmp::Reverse(counted.count), counted.kind));
        self.summary.kinds = kinds;
        self.summary
    }
}

fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    list.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(item);
}
