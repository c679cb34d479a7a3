//! The recorded decision beside the candidate's.

use std::fmt;

use serde::Serialize;

use super::candidate::Answer;
use super::recorded::Recorded;
use crate::decide::Verdict;
use crate::types::Obligation;

/// What a decision means for the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The data crosses.
    Permit,
    /// The data crosses, since an approval on file lifts the review.
    Approved,
    /// A person has to approve first.
    Review,
    /// The data stays.
    Deny,
}

impl Status {
    const fn crosses(self) -> bool {
        matches!(self, Self::Permit | Self::Approved)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Approved => "approved",
            Self::Review => "review",
            Self::Deny => "deny",
        })
    }
}

/// A kind of flip. Where both are one status, the obligations differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Kind {
    /// What was recorded.
    pub from: Status,
    /// What the candidate says.
    pub to: Status,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "{} with other obligations", self.from),
            false => write!(f, "{} -> {}", self.from, self.to),
        }
    }
}

/// One side of a flip.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// What it means for the exchange.
    pub status: Status,
    /// Why there was no decision, or the code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The rules that speak against it.
    pub rules: Vec<String>,
    /// What it demands of the payload.
    pub obligations: Vec<Obligation>,
}

/// A decision that would come out otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct Flip {
    /// The entry's place in the log.
    pub index: u64,
    /// The exchange.
    pub exchange: String,
    /// When it was decided.
    pub at: String,
    /// Which way it went.
    pub direction: String,
    /// The partner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// From what to what.
    #[serde(flatten)]
    pub kind: Kind,
    /// What the log says.
    pub recorded: Side,
    /// What the candidate says.
    pub candidate: Side,
}

/// What a comparison gave.
pub(super) struct Compared {
    pub(super) flip: Option<Flip>,
    /// The status is one, and the rules are not.
    pub(super) other_rules: bool,
    /// The agreement alone stood against it.
    pub(super) by_agreement: bool,
}

pub(super) fn compare(recorded: &Recorded, answer: &Answer) -> Compared {
    let from = match (recorded.decision.as_str(), recorded.approved) {
        ("permit", true) => Status::Approved,
        ("permit", false) => Status::Permit,
        ("review", _) => Status::Review,
        _ => Status::Deny,
    };
    let to = match answer.verdict {
        // Under the candidate it would have been weighed against the same agreement.
        _ if recorded.agreement_denied => from,
        Verdict::Permit => Status::Permit,
        // The approval lifts the rules that it was seen to lift, and no others.
        Verdict::Review if from == Status::Approved && all_in(&answer.rules, &recorded.rules) => Status::Approved,
        Verdict::Review => Status::Review,
        Verdict::Deny => Status::Deny,
    };
    let same_duties =
        all_in(&answer.obligations, &recorded.obligations) && all_in(&recorded.obligations, &answer.obligations);
    let same_rules = all_in(&answer.rules, &recorded.rules) && all_in(&recorded.rules, &answer.rules);
    // What a refusal would have demanded of a payload that does not cross is nobody's concern.
    let flipped = from != to || (from.crosses() && !same_duties);
    let flip = flipped.then(|| Flip {
        index: recorded.index,
        exchange: recorded.exchange.clone(),
        at: recorded.at.clone(),
        direction: recorded.direction.clone(),
        partner: recorded.partner.clone(),
        dataset: recorded.dataset.clone(),
        kind: Kind { from, to },
        recorded: Side {
            status: from,
            code: recorded.code.clone(),
            rules: recorded.rules.clone(),
            obligations: recorded.obligations.clone(),
        },
        candidate: Side {
            status: to,
            code: answer.code.map(str::to_owned),
            rules: answer.rules.clone(),
            obligations: answer.obligations.clone(),
        },
    });
    let by_agreement = recorded.agreement_denied && recorded.rules.is_empty();
    Compared { other_rules: flip.is_none() && !same_rules && !by_agreement, by_agreement, flip }
}

/// Whether each of these is among the others. Lists of rules and obligations are short, and their order means nothing.
fn all_in<T: PartialEq>(these: &[T], others: &[T]) -> bool {
    these.iter().all(|one| others.contains(one))
}
