//! What was decided on, kept by digest: the log holds the digest of each input, and this store the inputs themselves.
//!
//! A log entry proves that a policy decided on an input with a certain digest. To decide it again under another policy
//! takes the input. The store is no record: it is not signed, its files go when they are old or too much, and a disk that
//! fails costs nobody an exchange. What it gives back is proven by the log, since its digest is checked again.
//!
//! # What lies in the directory
//!
//! | file | what |
//! |---|---|
//! | `YYYY-MM-DD.ndjson` | the inputs that were first decided on that day, UTC; mode 0600 |
//! | `lock` | empty; whoever writes holds an exclusive lock on it |
//!
//! A day's file is only ever appended to, one JSON document a line. `{"declared": {...}}` names a policy with what it
//! reads ([`Declaration`]): an input holds no more than that, so what is absent from it may have been there. It stands
//! before the first input that was asked under the policy on that day. `{"digest":"sha256:...","input":{...}}` is one
//! input, in exactly the bytes that were digested. A last line without its line feed is what a crash tore; it counts for
//! nothing, and the next writer cuts it off.
//!
//! # What holds
//!
//! - [`InputStore::keep`] never waits: not for the disk, and not for room. What does not fit is lost, counted and warned
//!   about.
//! - An input is written once a day, as far as the last 65,536 of that day are remembered.
//! - Whole days go when they are past their retention, and the oldest before that when the store would outgrow its cap.
//! - Nothing is synced before the day or the gateway ends: a power failure may take the last moments.

mod line;
mod read;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use line::Declaration;
pub use read::{Lookup, StoredInputs};
pub use store::{InputConfig, InputHealth, InputStore};

/// The largest input that is kept, in bytes: a request head of the largest configurable size fits, with facts beside it.
pub const MOST_INPUT: usize = 2 * 1024 * 1024;
