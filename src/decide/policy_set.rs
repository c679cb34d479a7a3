//! The policies in force: asked together, answers combined and remembered.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use lru::LruCache;
use serde_json::Value;

use super::{DecideError, Decision, Policy, PolicyIdentity, Reads};
use crate::types::Digest;

/// Decisions remembered: at some 2 KiB each, 16 MiB at most.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// Policies that decide together, and what they decided. What is remembered goes with the set.
pub struct PolicySet {
    identity: Arc<PolicyIdentity>,
    reads: Reads,
    policies: Vec<Arc<Policy>>,
    remembered: Mutex<LruCache<Digest, Arc<Decision>>>,
}

impl PolicySet {
    /// Puts policies in force together.
    ///
    /// # Errors
    /// When there is none, or two go by one id.
    pub fn new(policies: Vec<Arc<Policy>>) -> Result<Self, DecideError> {
        if policies.is_empty() {
            return Err(DecideError::unusable("no policy is in force: name at least one"));
        }
        for (place, policy) in policies.iter().enumerate() {
            let id = &policy.identity().id;
            if policies[..place].iter().any(|other| other.identity().id == *id) {
                return Err(DecideError::unusable(format!("two policies go by the id {id}: give each its own")));
            }
        }
        let mut reads = policies[0].reads().clone();
        for policy in &policies[1..] {
            reads = reads.union(policy.reads());
        }
        let members = policies.iter().map(|policy| policy.identity().as_ref().clone()).collect();
        Ok(Self {
            identity: Arc::new(PolicyIdentity::together(members)),
            reads,
            policies,
            remembered: Mutex::new(LruCache::new(REMEMBERED)),
        })
    }

    /// What the policies go by together.
    pub fn identity(&self) -> &Arc<PolicyIdentity> {
        &self.identity
    }

    /// What the policies read of a question, all of them together: what [`Question::input`](super::Question::input) has to
    /// hold for them.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The policies, in their order.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// The decision on an input document (JSON), fresh: deny beats review beats permit, and one policy without an answer
    /// leaves all without one.
    ///
    /// # Errors
    /// [`DecideError`] when there is none; the caller refuses.
    pub fn evaluate(&self, input: &str) -> Result<Decision, DecideError> {
        if let [policy] = &self.policies[..] {
            return policy.evaluate(input);
        }
        let answers = self.policies.iter().map(|policy| self.ask(policy, input)).collect::<Result<Vec<_>, _>>()?;
        Ok(Decision::combine(answers, Arc::clone(&self.identity)))
    }

    /// One policy's answer. It sees what it declares, however much more the others read.
    fn ask(&self, policy: &Policy, input: &str) -> Result<Decision, DecideError> {
        if policy.reads().same_as(&self.reads) {
            return policy.evaluate(input);
        }
        let whole: Value = serde_json::from_str(input)
            .map_err(|error| DecideError::Failed(format!("the input is not JSON: {error}")))?;
        let mut own = policy.reads().paths().project(&whole);
        if let Some(Value::String(at)) = own.get_mut("at") {
            *at = policy.reads().time().coarsen(at);
        }
        policy.evaluate(&own.to_string())
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
}

/// The place where the policies in force stand, so that they can be replaced while exchanges are decided.
pub struct InForce(RwLock<Arc<PolicySet>>);

impl InForce {
    /// Begins with these.
    pub fn new(set: PolicySet) -> Self {
        Self(RwLock::new(Arc::new(set)))
    }

    /// The policies in force now. A decision is made by one set from beginning to end.
    pub fn current(&self) -> Arc<PolicySet> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in force, for every question asked from now on.
    pub fn replace(&self, set: PolicySet) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
    }
}
