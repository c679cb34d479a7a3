//! Sekisho: a checkpoint for data that crosses borders.
//!
//! The rooms are verbs in the order in which a request meets them; `gateway` walks a request through them, and
//! ARCHITECTURE.md tells what must hold between them.

pub mod accept;
pub mod authenticate;
pub mod decide;
pub mod enforce;
pub mod forward;
pub mod gateway;
pub mod record;
pub mod refusal;
pub mod shell;
pub mod types;
