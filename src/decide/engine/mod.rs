//! The seam between the gateway and what evaluates a policy.

mod interpreter;

pub(super) use interpreter::{Interpreter, TIMER_UNITS};

use super::DecideError;

/// Something that evaluates one policy's entrypoint. One engine serves one evaluation at a time.
pub(super) trait Engine: Send {
    /// Evaluates `input` (JSON) and gives the decision document (JSON).
    fn evaluate(&mut self, input: &str) -> Result<String, DecideError>;

    /// Another engine for the same policy that shares nothing mutable with this one.
    ///
    /// # Errors
    /// When it cannot be set up, for want of memory or because the bundle does not compile.
    fn replicate(&self) -> Result<Box<dyn Engine>, DecideError>;
}
