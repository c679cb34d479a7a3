//! What a policy answered, and what several answered together.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::DecideError;
use crate::types::{Digest, Hasher, Obligation};

/// The three answers. Deny beats review beats permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Who may approve, by office, such as `export_control`; of a review. Empty for any officer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// The id of the policy that gives the reason, where several are in force.
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// Which policy decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyIdentity {
    /// The policy's id.
    pub id: String,
    /// The revision that its author gave it.
    pub revision: String,
    /// SHA-256 over all its files; of several policies, over their digests in their order.
    pub digest: Digest,
    /// The policies that decide together, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PolicyIdentity>,
}

impl PolicyIdentity {
    /// One policy.
    pub fn new(id: String, revision: String, digest: Digest) -> Self {
        Self { id, revision, digest, members: Vec::new() }
    }

    /// What policies that decide together go by: their ids and revisions joined with `+`. One policy stays what it is.
    pub fn together(members: Vec<PolicyIdentity>) -> Self {
        if let [one] = &members[..] {
            return one.clone();
        }
        let joined = |part: fn(&PolicyIdentity) -> &str| members.iter().map(part).collect::<Vec<_>>().join("+");
        let mut hasher = Hasher::new();
        for member in &members {
            hasher.update(member.digest.as_bytes());
        }
        Self { id: joined(|one| &one.id), revision: joined(|one| &one.revision), digest: hasher.finish(), members }
    }
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

    /// What several policies answered, as one: deny beats review beats permit, and all reasons and obligations stand.
    pub(super) fn combine(answers: Vec<Self>, policy: Arc<PolicyIdentity>) -> Self {
        let mut combined = Self { decision: Verdict::Permit, reasons: Vec::new(), obligations: Vec::new(), policy };
        for mut answer in answers {
            combined.decision = combined.decision.max(answer.decision);
            let id = answer.policy.id.clone();
            answer.name_policies(&id);
            combined.reasons.extend(answer.reasons);
            for obligation in answer.obligations {
                if !combined.obligations.contains(&obligation) {
                    combined.obligations.push(obligation);
                }
            }
        }
        combined
    }

    /// The same decision with what an agreement adds: a reason of it denies, whatever the policies say.
    pub(super) fn under(self: &Arc<Self>, reasons: Vec<Reason>, obligations: Vec<Obligation>) -> Arc<Self> {
        if reasons.is_empty() && obligations.is_empty() {
            return Arc::clone(self);
        }
        let mut decision = Self::clone(self);
        for reason in reasons {
            decision.decision = decision.decision.max(match reason.effect {
                Effect::Deny => Verdict::Deny,
                Effect::Review => Verdict::Review,
            });
            decision.reasons.push(reason);
        }
        for obligation in obligations {
            if !decision.obligations.contains(&obligation) {
                decision.obligations.push(obligation);
            }
        }
        Arc::new(decision)
    }

    /// Each reason names the policy that gives it.
    pub(super) fn name_policies(&mut self, id: &str) {
        for reason in &mut self.reasons {
            reason.policy = Some(id.to_owned());
        }
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
