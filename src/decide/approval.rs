//! Approvals by a named person, which turn a `review` into a permit for a while.
//!
//! An officer signs what they approve with the key of their own certificate. The gateway believes the signature, not
//! whoever delivered it, and verifies it again whenever it reads its state.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{DecideError, Decision, Effect, Question, Reason};
use crate::authenticate::{Dated, Role, Statements, sign_statement};
use crate::types::{Digest, ExchangeId, PartyId, Timestamp};

/// `typ` of a signed approval.
const APPROVAL_TYPE: &str = "sekisho-approval+jwt";
/// The longest life of an approval.
pub const APPROVAL_DAYS: u64 = 366;
/// How far the signer's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(300);
/// Approvals on file: far more than people can sign, few enough to look through for each review.
const MOST_APPROVALS: usize = 10_000;

/// What is approved: one partner's use of one dataset. It lifts the rules that it names and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The partner.
    pub party: String,
    /// The dataset.
    pub dataset: String,
    /// Which way data flows: `export`, `import` or `request`.
    pub direction: String,
    /// The purpose.
    pub purpose: String,
    /// The action.
    pub action: String,
    /// The review rules that are lifted; where several policies decide, each as `policy#rule`.
    pub rules: BTreeSet<String>,
    /// Why.
    pub reason: String,
    /// The exchange that was held, if the approval answers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
}

/// One approval whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// SHA-256 of the signed text, which the record cites.
    pub digest: Digest,
    /// What is approved.
    #[serde(flatten)]
    pub grant: Grant,
    /// Who approved.
    pub approver: String,
    /// The offices that the approver held.
    pub offices: BTreeSet<String>,
    /// When, in seconds since the Unix epoch.
    pub issued: u64,
    /// Until when, in seconds since the Unix epoch.
    pub expires: u64,
}

/// A signed approval's claims (RFC 7519).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    iat: u64,
    exp: u64,
    jti: String,
    approval: Grant,
}

impl Dated for Claims {
    fn issued(&self) -> Timestamp {
        Timestamp::from_seconds(self.iat)
    }
}

impl Approval {
    /// Signs an approval for the gateway of `us`, good for `days` from `now`, with an officer's certificate (chain, leaf
    /// first) and its private key (PKCS#8 PEM). The answer is a compact JWS.
    ///
    /// # Errors
    /// [`DecideError::Approval`] when the grant says too little, the days are out of bounds, or the key does not work.
    pub fn sign(
        grant: Grant,
        us: &PartyId,
        days: u64,
        now: Timestamp,
        chain: &[CertificateDer<'_>],
        key: &[u8],
    ) -> Result<String, DecideError> {
        if !(1..=APPROVAL_DAYS).contains(&days) {
            return Err(DecideError::Approval(format!("days must be 1 to {APPROVAL_DAYS}")));
        }
        let claims = Claims {
            aud: us.to_string(),
            iat: now.seconds(),
            exp: now.plus(Duration::from_secs(days * 86_400)).seconds(),
            jti: ExchangeId::new(now).to_string(),
            approval: grant,
        };
        claims.check()?;
        sign_statement(APPROVAL_TYPE, &claims, chain, key).map_err(|error| DecideError::Approval(error.to_string()))
    }

    /// Verifies a signed approval: an officer of ours made it, for us, and not in the future. It may have expired.
    ///
    /// # Errors
    /// [`DecideError::Approval`] saying what does not hold.
    pub fn verify(text: &str, statements: &Statements, now: Timestamp) -> Result<Self, DecideError> {
        let invalid = |what: &str| DecideError::Approval(what.to_owned());
        let (person, claims) = statements
            .verify::<Claims>(APPROVAL_TYPE, text)
            .map_err(|error| DecideError::Approval(error.to_string()))?;
        if person.role != Role::Officer {
            return Err(invalid("the approval is signed by somebody who is no officer"));
        }
        if claims.aud != statements.us().as_str() {
            return Err(invalid("the approval is meant for another party"));
        }
        if claims.issued() > now.plus(SKEW) {
            return Err(invalid("the approval was made in the future: compare the clocks"));
        }
        claims.check()?;
        Ok(Self {
            id: claims.jti,
            digest: Digest::of(text.as_bytes()),
            grant: claims.approval,
            approver: person.name,
            offices: person.offices,
            issued: claims.iat,
            expires: claims.exp,
        })
    }

    /// Whether it is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now.seconds() >= self.expires
    }

    /// Whether it lifts this reason: it names the rule, and its approver holds an office that the policy asks for.
    fn lifts(&self, reason: &Reason) -> bool {
        let entitled =
            reason.approvers.is_empty() || reason.approvers.iter().any(|office| self.offices.contains(office));
        let named = match &reason.policy {
            // Several policies may use one rule id for different things.
            Some(policy) => self.grant.rules.contains(&format!("{policy}#{}", reason.rule)),
            None => self.grant.rules.contains(&reason.rule),
        };
        entitled && named
    }

    fn answers(&self, question: &Question<'_>) -> bool {
        let Grant { party, dataset, direction, purpose, action, .. } = &self.grant;
        party == question.counterparty.as_str()
            && dataset == question.dataset.id().as_str()
            && direction == question.direction.as_str()
            && purpose == question.purpose.as_str()
            && action == question.action
    }
}

impl Claims {
    fn check(&self) -> Result<(), DecideError> {
        let invalid = |what: &str| Err(DecideError::Approval(what.to_owned()));
        let grant = &self.approval;
        if grant.rules.is_empty() || grant.reason.trim().is_empty() {
            return invalid("name the rules that are lifted, and the reason");
        }
        if !["export", "import", "request"].contains(&grant.direction.as_str()) {
            return invalid("direction must be export, import or request");
        }
        if self.jti.parse::<ExchangeId>().is_err() {
            return invalid("the id (jti) must be a ULID");
        }
        if self.exp <= self.iat || self.exp - self.iat > APPROVAL_DAYS * 86_400 {
            return invalid("an approval lasts 1 to 366 days");
        }
        Ok(())
    }
}

/// The approvals on file.
#[derive(Debug, Default)]
pub struct Approvals(RwLock<Vec<Arc<Approval>>>);

impl Approvals {
    /// Whether an approval may be put on file, or stands there already.
    ///
    /// # Errors
    /// [`DecideError::Approval`] when there are too many, or another approval goes by its id.
    pub fn admit(&self, approval: &Approval, now: Timestamp) -> Result<(), DecideError> {
        Self::admitted(&self.0.read().unwrap_or_else(PoisonError::into_inner), approval, now)
    }

    fn admitted(approvals: &[Arc<Approval>], approval: &Approval, now: Timestamp) -> Result<(), DecideError> {
        match approvals.iter().find(|other| other.id == approval.id) {
            Some(other) if **other == *approval => return Ok(()),
            Some(_) => return Err(DecideError::Approval("another approval goes by this id".to_owned())),
            None => {}
        }
        if approvals.iter().filter(|approval| !approval.is_expired(now)).count() >= MOST_APPROVALS {
            return Err(DecideError::Approval(format!(
                "{MOST_APPROVALS} approvals are on file: wait until some expire"
            )));
        }
        Ok(())
    }

    /// Puts an approval on file, once, and lets go of those that are over.
    ///
    /// # Errors
    /// As [`Approvals::admit`].
    pub fn add(&self, approval: Approval, now: Timestamp) -> Result<(), DecideError> {
        let mut approvals = self.0.write().unwrap_or_else(PoisonError::into_inner);
        approvals.retain(|approval| !approval.is_expired(now));
        Self::admitted(&approvals, &approval, now)?;
        if approvals.iter().all(|other| other.id != approval.id) {
            approvals.push(Arc::new(approval));
        }
        Ok(())
    }

    /// All approvals on file; some may have expired.
    pub fn all(&self) -> Vec<Arc<Approval>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Approvals that together lift every review in `decision` for this question, if they are on file and last. One may
    /// serve several rules; rules that ask for different offices may take several.
    pub(super) fn lifting(
        &self,
        question: &Question<'_>,
        decision: &Decision,
        now: Timestamp,
    ) -> Option<Vec<Arc<Approval>>> {
        let reviews = decision.reasons().iter().filter(|reason| reason.effect == Effect::Review);
        let approvals = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut lifting: Vec<Arc<Approval>> = Vec::new();
        for reason in reviews {
            if lifting.iter().any(|approval| approval.lifts(reason)) {
                continue;
            }
            let found = approvals
                .iter()
                .find(|approval| !approval.is_expired(now) && approval.answers(question) && approval.lifts(reason))?;
            lifting.push(Arc::clone(found));
        }
        // A review without a rule to lift cannot be lifted.
        (!lifting.is_empty()).then_some(lifting)
    }
}
