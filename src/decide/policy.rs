//! One policy in service: engines in a pool, answers remembered, every failure a refusal.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

use super::engine::{Engine, Interpreter};
use super::{Approvals, Bundle, DecideError, Decision, Denial, Permit, PolicyIdentity, Question, Ruling, Verdict};
use crate::types::{Digest, Timestamp};

/// Time for one evaluation: some fifty times what the reference policy takes.
pub const BUDGET: Duration = Duration::from_millis(50);
/// Decisions remembered: at some 2 KiB each, 16 MiB at most.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
/// Idle engines kept. An engine holds a copy of the policy's data, so there is one for each worker of a large machine.
const IDLE_ENGINES: usize = 16;

/// A compiled policy.
pub struct Policy {
    identity: Arc<PolicyIdentity>,
    first: Mutex<Box<dyn Engine>>,
    idle: Mutex<Vec<Box<dyn Engine>>>,
    remembered: Mutex<LruCache<Digest, Arc<Decision>>>,
}

impl Policy {
    /// Compiles a bundle's Rego source for the embedded interpreter; each evaluation may take `budget`.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with file and line where it does not compile.
    pub fn compile(bundle: &Bundle, budget: Duration) -> Result<Self, DecideError> {
        let policy = Self {
            identity: Arc::new(bundle.identity().clone()),
            first: Mutex::new(Box::new(Interpreter::compile(bundle, budget)?)),
            idle: Mutex::default(),
            remembered: Mutex::new(LruCache::new(REMEMBERED)),
        };
        // An entrypoint that does not exist would refuse every request at run time: better not to start.
        match policy.evaluate("{}") {
            Err(DecideError::Failed(why)) => {
                Err(DecideError::Bundle(format!("the entrypoint {} cannot be evaluated: {why}", bundle.entrypoint())))
            }
            _ => Ok(policy),
        }
    }

    /// Which policy this is.
    pub fn identity(&self) -> &Arc<PolicyIdentity> {
        &self.identity
    }

    /// The decision on an input document (JSON), fresh.
    ///
    /// # Errors
    /// [`DecideError`] when there is none; the caller refuses.
    pub fn evaluate(&self, input: &str) -> Result<Decision, DecideError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut engine = match idle {
            Some(engine) => engine,
            None => self.first.lock().unwrap_or_else(PoisonError::into_inner).replicate(),
        };
        let document = engine.evaluate(input)?;
        // Only an engine that answered goes back: one that failed may be in any state.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_ENGINES {
            idle.push(engine);
        }
        drop(idle);
        Decision::read(&document, Arc::clone(&self.identity))
    }

    /// The decision on this input if it was made before: the hot path, a lookup.
    pub fn recall(&self, input: &Digest) -> Option<Arc<Decision>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(input).cloned()
    }

    /// The decision on `input`, remembered from now on. This may take the whole budget: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`DecideError`] when there is none; failures are never remembered.
    pub fn decide(&self, input: &str, digest: Digest) -> Result<Arc<Decision>, DecideError> {
        let decision = Arc::new(self.evaluate(input)?);
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).put(digest, Arc::clone(&decision));
        Ok(decision)
    }

    /// Turns a decision, or its absence, into permission or refusal. The one place where a [`Permit`] is made.
    pub fn rule(
        question: &Question<'_>,
        input: Digest,
        decision: Result<Arc<Decision>, DecideError>,
        approvals: &Approvals,
        now: Timestamp,
    ) -> Ruling {
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => {
                return Ruling::Refused(Denial { code: error.code(), decision: None, input, error: Some(error) });
            }
        };
        let code = match decision.verdict() {
            Verdict::Permit => return Ruling::Permitted(Permit::new(decision, input, None)),
            Verdict::Deny => "policy_denied",
            Verdict::Review => match approvals.lifting(question, &decision, now) {
                Some(approval) => return Ruling::Permitted(Permit::new(decision, input, Some(approval))),
                None => "review_required",
            },
        };
        Ruling::Refused(Denial { code, decision: Some(decision), input, error: None })
    }
}
