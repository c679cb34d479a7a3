//! From a decision, or its absence, to permission or refusal.

use std::sync::Arc;

use super::odrl::Use;
use super::{Approval, Approvals, DecideError, Decision, Question, Verdict};
use crate::types::{Digest, Timestamp};

/// Permission for one exchange. Only this room makes one.
#[derive(Debug)]
pub struct Permit {
    decision: Arc<Decision>,
    input: Digest,
    approvals: Vec<Arc<Approval>>,
    /// Boxed, since few agreements count.
    taken: Option<Box<Use>>,
}

impl Permit {
    /// Makes the permission; the caller has seen a `permit`, or a `review` with the approvals that lift it, and taken the
    /// use of an agreement that counts.
    fn new(decision: Arc<Decision>, input: Digest, approvals: Vec<Arc<Approval>>, taken: Option<Use>) -> Self {
        Self { decision, input, approvals, taken: taken.map(Box::new) }
    }

    /// The permission is in the log's queue. Until it is, dropping it gives back the use of an agreement that counts.
    pub fn recorded(&self) {
        if let Some(taken) = &self.taken {
            taken.recorded();
        }
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

/// Turns a decision, or its absence, into permission or refusal, under the terms of the agreement where there is one. The
/// one place where a [`Permit`] is made.
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
    let lifting = match decision.verdict() {
        Verdict::Review => approvals.lifting(question, &decision, now),
        Verdict::Permit | Verdict::Deny => None,
    };
    // Outside of what is remembered: an agreement's terms look at the time to the second, and may count.
    let passes = decision.verdict() == Verdict::Permit || lifting.is_some();
    let terms = question.agreement.and_then(|agreement| agreement.terms.as_ref());
    let weighed = terms.map(|terms| terms.weigh(question, now, passes)).unwrap_or_default();
    let decision = decision.under(weighed.reasons, weighed.obligations);
    let code = match decision.verdict() {
        Verdict::Permit => return Ruling::Permitted(Permit::new(decision, input, Vec::new(), weighed.taken)),
        Verdict::Deny => "policy_denied",
        Verdict::Review => match lifting {
            Some(approvals) => return Ruling::Permitted(Permit::new(decision, input, approvals, weighed.taken)),
            None => "review_required",
        },
    };
    Ruling::Refused(Denial { code, decision: Some(decision), input, error: None })
}
