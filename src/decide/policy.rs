//! One policy: engines in a pool, every failure a refusal.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::engine::{Compiled, Engine, Program, Source};
use super::shadow::Shadowing;
use super::{Bundle, DecideError, Decision, PolicyIdentity, Reads, Shadow, ShadowFigures, ShadowMode};

/// Time for one evaluation: some fifty times what the reference policy takes.
pub const BUDGET: Duration = Duration::from_millis(50);
/// Idle engines kept. An engine holds a copy of the policy's data, so there is one for each worker of a large machine.
const IDLE_ENGINES: usize = 16;

/// How a policy is evaluated.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Time for one evaluation.
    pub budget: Duration,
    /// Where machine code made of compiled modules is kept for the next start; made for this user alone. `None` compiles
    /// anew.
    pub code_cache: Option<PathBuf>,
}

/// A compiled policy.
pub struct Policy {
    identity: Arc<PolicyIdentity>,
    reads: Reads,
    program: Box<dyn Program>,
    idle: Mutex<Vec<Box<dyn Engine>>>,
    shadowing: Option<Shadowing>,
}

impl Policy {
    /// Compiles a bundle: its compiled module in the sandbox where it has one, else its Rego source in the interpreter.
    /// Each evaluation may take `budget`.
    ///
    /// # Errors
    /// As [`Policy::compile_with`].
    pub fn compile(bundle: &Bundle, budget: Duration) -> Result<Self, DecideError> {
        Self::compile_with(bundle, &EngineOptions { budget, code_cache: None })
    }

    /// Compiles a bundle: its compiled module in the sandbox where it has one, else its Rego source in the interpreter.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with file and line where it does not compile, or why its module is refused.
    pub fn compile_with(bundle: &Bundle, options: &EngineOptions) -> Result<Self, DecideError> {
        let Some(module) = bundle.module() else { return Self::interpret(bundle, options.budget) };
        let compiled = Compiled::new(bundle, module, options.budget, options.code_cache.as_deref())?;
        Self::new(bundle, Box::new(Arc::new(compiled)))
    }

    /// Compiles a bundle's Rego source for the interpreter, whether or not it has a compiled module.
    ///
    /// The interpreter is no sandbox: in the gateway's process it runs the operator's own reviewed source and never a
    /// bundle that others wrote. To compare the engines on such a bundle, do it in a confined process.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with file and line where it does not compile.
    pub fn interpret(bundle: &Bundle, budget: Duration) -> Result<Self, DecideError> {
        Self::new(bundle, Box::new(Source::new(bundle, budget)))
    }

    fn new(bundle: &Bundle, program: Box<dyn Program>) -> Result<Self, DecideError> {
        let first = program.start()?;
        let identity = Arc::new(bundle.identity().clone());
        let metadata = &bundle.manifest().metadata;
        let reads = Reads::new(metadata.inputs.clone(), metadata.time);
        let policy = Self { identity, reads, program, idle: Mutex::new(vec![first]), shadowing: None };
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
            None => self.program.start()?,
        };
        let answer = engine.evaluate(input);
        // Only an engine that came to its end goes back: one that failed may be in any state.
        if matches!(answer, Ok(_) | Err(DecideError::Undefined)) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_ENGINES {
                idle.push(engine);
            }
        }
        answer
    }
}
