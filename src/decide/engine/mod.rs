//! The seam between the gateway and what evaluates a policy.
//!
//! A [`Program`] is a policy made ready once; it starts an [`Engine`] for every evaluation that runs at the same time.

mod interpreter;
mod sandbox;
#[cfg(test)]
mod tests;

pub(super) use interpreter::{Source, TIMER_UNITS};
pub(super) use sandbox::Compiled;

use super::DecideError;

/// Something that evaluates one policy's entrypoint. One engine serves one evaluation at a time.
pub(super) trait Engine: Send {
    /// Evaluates `input` (JSON) and gives the decision document (JSON).
    fn evaluate(&mut self, input: &str) -> Result<String, DecideError>;
}

/// A policy made ready, shared by its engines. What engines write to, and what they count references to, is their own.
pub(super) trait Program: Send + Sync {
    /// Another engine, with its own copy of the policy's data.
    ///
    /// # Errors
    /// When it cannot be set up, for want of memory or because the bundle does not compile.
    fn start(&self) -> Result<Box<dyn Engine>, DecideError>;
}
