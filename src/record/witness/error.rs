//! Why a witness did not cosign, and why ours hold an exchange back.

use crate::types::Blame;

/// Every way in which witnessing fails: of others' logs by us, and of ours by others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// The request is not as C2SP tlog-witness demands.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// The checkpoint is of a log that we do not witness.
    #[error("no log of this origin is witnessed here")]
    UnknownOrigin,
    /// No key that we hold for the log signed the checkpoint, or a signature in its name does not verify.
    #[error("the checkpoint is not signed by a key on file for its origin")]
    Unsigned,
    /// The proof starts at another size than the one that we last cosigned.
    #[error("the last checkpoint cosigned here has {0} entries")]
    OtherSize(u64),
    /// The checkpoint does not continue the one that we last cosigned.
    #[error("the checkpoint is not consistent with the last one cosigned here")]
    Inconsistent,
    /// What was seen cannot be made durable, so nothing is cosigned.
    #[error("what was seen cannot be kept: {0}")]
    Unkept(String),
    /// Too few of our own witnesses have said yet that they saw nothing newer of our log.
    #[error("too few witnesses were reached since the start")]
    Unasked,
    /// The quorum of our witnesses has not cosigned for too long.
    #[error("the quorum of witnesses is overdue")]
    Overdue,
}

impl WitnessError {
    /// The stable name of this failure; also the metric label.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "witness_request_malformed",
            Self::UnknownOrigin => "witness_origin_unknown",
            Self::Unsigned => "witness_signature_invalid",
            Self::OtherSize(_) => "witness_size_differs",
            Self::Inconsistent => "witness_inconsistent",
            Self::Unkept(_) => "witness_unavailable",
            Self::Unasked => "witnesses_unasked",
            Self::Overdue => "witnesses_overdue",
        }
    }

    /// Who has to act.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Unkept(_) | Self::Unasked | Self::Overdue => Blame::Operator,
            _ => Blame::Peer,
        }
    }
}
