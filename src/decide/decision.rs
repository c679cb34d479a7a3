//! What a policy answered, and the permission that only a `permit` makes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Approval, DecideError};
use crate::types::{Digest, Obligation};

/// The three answers. Deny beats review beats permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The data may cross under the obligations.
    Permit,
    /// A named person has to approve first.
    Review,
    /// The data may not cross.
    Deny,
}

impl Verdict {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Review => "review",
            Self::Deny => "deny",
        }
    }
}

/// What a reason stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The rule denies.
    Deny,
    /// The rule asks for a person.
    Review,
}

/// One rule that stands against a permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The rule's id.
    pub rule: String,
    /// Whether it denies or asks for a person.
    pub effect: Effect,
    /// What is wrong, in one plain sentence.
    pub why: String,
    /// What would make it permitted.
    pub remedy: String,
}

/// Which policy decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyIdentity {
    /// The policy's id.
    pub id: String,
    /// The revision that its author gave it.
    pub revision: String,
    /// SHA-256 over all its files.
    pub digest: Digest,
}

/// A policy's decision on one input, with the policy that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    decision: Verdict,
    reasons: Vec<Reason>,
    obligations: Vec<Obligation>,
    policy: Arc<PolicyIdentity>,
}

/// The decision document as a policy writes it.
#[derive(Deserialize)]
struct Document {
    decision: Verdict,
    reasons: Vec<Reason>,
    obligations: Vec<Obligation>,
}

impl Decision {
    /// Reads the JSON that an engine gave for the entrypoint.
    pub(super) fn read(json: &str, policy: Arc<PolicyIdentity>) -> Result<Self, DecideError> {
        let document: Document =
            serde_json::from_str(json).map_err(|error| DecideError::Malformed(error.to_string()))?;
        let stands = |effect| document.reasons.iter().any(|reason| reason.effect == effect);
        // The verdict and its reasons must agree: a policy that denies without a reason, or permits against one, is
        // broken, and a broken policy permits nothing.
        let agrees = match document.decision {
            Verdict::Permit => document.reasons.is_empty(),
            Verdict::Review => stands(Effect::Review) && !stands(Effect::Deny),
            Verdict::Deny => stands(Effect::Deny),
        };
        if !agrees {
            let verdict = document.decision.as_str();
            return Err(DecideError::Malformed(format!("{verdict} does not agree with the reasons given")));
        }
        Ok(Self { decision: document.decision, reasons: document.reasons, obligations: document.obligations, policy })
    }

    /// Permit, review or deny.
    pub fn verdict(&self) -> Verdict {
        self.decision
    }

    /// Every rule that stands against a permit.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// What the policy demands of the payload.
    pub fn obligations(&self) -> &[Obligation] {
        &self.obligations
    }

    /// The policy that decided.
    pub fn policy(&self) -> &Arc<PolicyIdentity> {
        &self.policy
    }
}

/// Permission for one exchange. Only this room makes one.
#[derive(Debug)]
pub struct Permit {
    decision: Arc<Decision>,
    input: Digest,
    approval: Option<Approval>,
}

impl Permit {
    /// Makes the permission; the caller has seen a `permit`, or a `review` with the approval that lifts it.
    pub(super) fn new(decision: Arc<Decision>, input: Digest, approval: Option<Approval>) -> Self {
        Self { decision, input, approval }
    }

    /// The decision behind it.
    pub fn decision(&self) -> &Arc<Decision> {
        &self.decision
    }

    /// Digest of the input that was decided on.
    pub fn input(&self) -> Digest {
        self.input
    }

    /// The approval that lifted a review.
    pub fn approval(&self) -> Option<&Approval> {
        self.approval.as_ref()
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
