//! Agreements and offers in ODRL 2.2 (W3C Recommendation, 2018-02-15): read into [`Terms`] that the gateway enforces
//! itself, and written from what a dataset offers.
//!
//! Everything in an agreement is enforced or the agreement is refused: a member, term, operand, operator, action or duty
//! that is not in the tables here is a finding with its line, never a thing that is passed over. No context is fetched;
//! those that are known are built in.

mod action;
mod condition;
mod constraint;
mod context;
mod document;
mod duty;
mod finding;
mod offer;
mod purposes;
mod reader;
mod registry;
mod rule;
mod terms;
#[cfg(test)]
mod tests;
mod uses;

pub use finding::TermFinding;
pub use offer::{Offer, offer};
pub use reader::read;
pub use registry::Registry;
pub use terms::{Terms, TermsSummary};
pub use uses::Use;

/// The longest document, in bytes: agreements are a hundred times shorter.
pub const MAX_DOCUMENT: usize = 256 * 1024;
/// The deepest nesting of a document's JSON.
pub const MAX_DEPTH: usize = 32;
/// The most rules (permissions, prohibitions, obligations) of one agreement. Each is weighed for each exchange.
pub const MAX_RULES: usize = 64;
/// The most constraints of one agreement, for the same reason.
pub const MAX_CONSTRAINTS: usize = 256;
/// The deepest nesting of logical constraints: ODRL has no use for more than two, and people cannot read more.
pub const MAX_LOGIC: usize = 4;
/// The most values that one constraint may list.
pub const MAX_VALUES: usize = 256;
/// The most findings that are told of one document; whoever mends those finds the rest.
pub const MAX_FINDINGS: usize = 50;
