//! The words every room shares: parties, datasets, tags, digests, times. No I/O, nothing of ours imported.

mod clock;
mod digest;
mod exchange;
mod facts;
mod name;
mod obligation;
mod subject;
mod tag;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use digest::{Digest, Hasher};
pub use exchange::ExchangeId;
pub use facts::Facts;
pub use name::{DatasetId, InvalidName, PartyId, Purpose};
pub use obligation::Obligation;
pub use subject::{Commitment, InvalidCommitment, Salt};
pub use tag::{InvalidTag, Tag, TagFamily};

/// Who has to act on a failure: the closed set behind every room's `blame()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The other organisation's software or request.
    Peer,
    /// The data service behind a gateway.
    Upstream,
    /// Whoever configured or runs this gateway.
    Operator,
    /// A promise of Sekisho itself is broken.
    Us,
}
