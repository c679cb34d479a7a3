//! From a decision, or its absence, to permission or refusal.

use std::sync::Arc;

use super::{Approval, Approvals, DecideError, Decision, Question, Verdict};
use crate::types::{Digest, Timestamp};

/// Permission for one exchange. Only this room makes one.
#[derive(Debug)]
pub struct Permit {
    decision: Arc<Decision>,
    input: Digest,
    approvals: Vec<Arc<Approval>>,
}

impl Permit {
    /// Makes the permission; the caller has seen a `permit`, or a `review` with the approvals that lift it.
    fn new(decision: Arc<Decision>, input: Digest, approvals: Vec<Arc<Approval>>) -> Self {
        Self { decision, input, approvals }
    }

    /// The decision behind it.
    pub fn decision(&self) -> &Arc<Decision> {
        &self.decision
    }

    /// Digest of the input that was decided on.
    pub fn input(&self) -> Digest {
        self.input
    }

    /// The approvals that lifted a review.
    pub fn approvals(&self) -> &[Arc<Approval>] {
        &self.approvals
    }
}

/// A refusal by policy: a value, not an error.
#[derive(Debug, Clone)]
pub struct Denial {
    /// `policy_denied`, `review_required`, or the code of what went wrong.
    pub code: &'static str,
    /// The decision, if there is one.
    pub decision: Option<Arc<Decision>>,
    /// Digest of the input that was decided on.
    pub input: Digest,
    /// What went wrong, for our own log and never for the peer.
    pub error: Option<DecideError>,
}

/// The outcome of a question.
#[derive(Debug)]
pub enum Ruling {
    /// The data may cross.
    Permitted(Permit),
    /// It may not.
    Refused(Denial),
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
        Verdict::Permit => return Ruling::Permitted(Permit::new(decision, input, Vec::new())),
        Verdict::Deny => "policy_denied",
        Verdict::Review => match approvals.lifting(question, &decision, now) {
            Some(lifting) => return Ruling::Permitted(Permit::new(decision, input, lifting)),
            None => "review_required",
        },
    };
    Ruling::Refused(Denial { code, decision: Some(decision), input, error: None })
}
