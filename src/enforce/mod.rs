//! placeholder until merge
pub struct Cleared;
