//! One policy: engines in a pool, every failure a refusal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::engine::{Engine, Interpreter};
use super::{Bundle, DecideError, Decision, PolicyIdentity, Reads};

/// Time for one evaluation: some fifty times what the reference policy takes.
pub const BUDGET: Duration = Duration::from_millis(50);
/// Idle engines kept. An engine holds a copy of the policy's data, so there is one for each worker of a large machine.
const IDLE_ENGINES: usize = 16;

/// A compiled policy.
pub struct Policy {
    identity: Arc<PolicyIdentity>,
    reads: Reads,
    first: Mutex<Box<dyn Engine>>,
    idle: Mutex<Vec<Box<dyn Engine>>>,
}

impl Policy {
    /// Compiles a bundle's Rego source for the embedded interpreter; each evaluation may take `budget`.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with file and line where it does not compile.
    pub fn compile(bundle: &Bundle, budget: Duration) -> Result<Self, DecideError> {
        let metadata = &bundle.manifest().metadata;
        let policy = Self {
            identity: Arc::new(bundle.identity().clone()),
            reads: Reads::new(metadata.inputs.clone(), metadata.time),
            first: Mutex::new(Box::new(Interpreter::compile(bundle, budget)?)),
            idle: Mutex::default(),
        };
        // An entrypoint that does not exist would refuse every request at run time: better not to start.
        match policy.evaluate("{}") {
            Err(DecideError::Failed(why)) => {
                Err(DecideError::unusable(format!("the entrypoint {} cannot be evaluated: {why}", bundle.entrypoint())))
            }
            _ => Ok(policy),
        }
    }

    /// Which policy this is.
    pub fn identity(&self) -> &Arc<PolicyIdentity> {
        &self.identity
    }

    /// What it declares that it reads of a question.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The decision on an input document (JSON), fresh.
    ///
    /// # Errors
    /// [`DecideError`] when there is none; the caller refuses.
    pub fn evaluate(&self, input: &str) -> Result<Decision, DecideError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut engine = match idle {
            Some(engine) => engine,
            None => self.first.lock().unwrap_or_else(PoisonError::into_inner).replicate()?,
        };
        let document = engine.evaluate(input)?;
        // Only an engine that answered goes back: one that failed may be in any state.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_ENGINES {
            idle.push(engine);
        }
        drop(idle);
        Decision::read(&document, Arc::clone(&self.identity))
    }
}
