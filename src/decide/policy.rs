//! One policy: engines in a pool, every failure a refusal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::engine::{Engine, Interpreter};
use super::shadow::Shadowing;
use super::{Bundle, DecideError, Decision, PolicyIdentity, Shadow, ShadowFigures, ShadowMode};

/// Time for one evaluation: some fifty times what the reference policy takes.
pub const BUDGET: Duration = Duration::from_millis(50);
/// Idle engines kept. An engine holds a copy of the policy's data, so there is one for each worker of a large machine.
const IDLE_ENGINES: usize = 16;

/// A compiled policy.
pub struct Policy {
    identity: Arc<PolicyIdentity>,
    first: Mutex<Box<dyn Engine>>,
    idle: Mutex<Vec<Box<dyn Engine>>>,
    shadowing: Option<Shadowing>,
}

impl Policy {
    /// Compiles a bundle's Rego source for the embedded interpreter; each evaluation may take `budget`.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with file and line where it does not compile.
    pub fn compile(bundle: &Bundle, budget: Duration) -> Result<Self, DecideError> {
        Self::interpret(bundle, budget)
    }

    /// Compiles a bundle's Rego source for the interpreter, whether or not it holds a module. Never in a process that
    /// matters for a stranger's bundle: the interpreter is no sandbox.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with file and line where it does not compile.
    pub fn interpret(bundle: &Bundle, budget: Duration) -> Result<Self, DecideError> {
        let policy = Self {
            identity: Arc::new(bundle.identity().clone()),
            first: Mutex::new(Box::new(Interpreter::compile(bundle, budget)?)),
            idle: Mutex::default(),
            shadowing: None,
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

    /// The same policy with a second engine beside it, which is asked for as many of the fresh decisions as `mode` says.
    pub fn shadowed(self, shadow: Arc<dyn Shadow>, mode: ShadowMode) -> Self {
        Self { shadowing: Shadowing::new(shadow, mode), ..self }
    }

    /// What the second engine was asked and said so far; nothing where there is none.
    pub fn shadow_figures(&self) -> Option<ShadowFigures> {
        self.shadowing.as_ref().map(Shadowing::figures)
    }

    /// The decision on an input document (JSON), fresh.
    ///
    /// # Errors
    /// [`DecideError`] when there is none; the caller refuses. [`DecideError::Disagreement`] when a second engine stands
    /// beside this one and answers differently.
    pub fn evaluate(&self, input: &str) -> Result<Decision, DecideError> {
        let document = self.document(input);
        if let Some(shadowing) = &self.shadowing {
            shadowing.compare(&self.identity, input, &document)?;
        }
        Decision::read(&document?, Arc::clone(&self.identity))
    }

    /// What the engine gives for an input document (JSON): a decision document (JSON), whose shape nobody has looked at.
    ///
    /// # Errors
    /// [`DecideError`] when there is none.
    pub fn document(&self, input: &str) -> Result<String, DecideError> {
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
        Ok(document)
    }
}
