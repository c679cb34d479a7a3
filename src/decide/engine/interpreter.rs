//! The interpreter of Rego source.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use regorus::utils::limits::ExecutionTimerConfig;

use super::{Engine, Program};
use crate::decide::{Bundle, BundleFile, DecideError};

/// Work units between two looks at the clock: at some 100 ns a unit, an overrun is noticed within a tenth of a millisecond.
pub(in crate::decide) const TIMER_UNITS: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// A bundle's text, from which interpreters are compiled. Each compiles anew: values shared between threads cost a
/// quarter to a third more CPU, in counting their references.
pub(in crate::decide) struct Source {
    files: Vec<BundleFile>,
    data: String,
    rule: String,
    budget: Duration,
}

/// The interpreter of Rego source, for the operator's own reviewed policy. It is no sandbox.
pub(in crate::decide) struct Interpreter {
    engine: regorus::Engine,
    rule: String,
    budget: Duration,
}

impl Source {
    /// Takes the text out of a bundle; each evaluation may take `budget`.
    pub(in crate::decide) fn new(bundle: &Bundle, budget: Duration) -> Self {
        Self {
            files: bundle.sources().to_vec(),
            data: bundle.data().to_string(),
            rule: format!("data.{}", bundle.entrypoint().replace('/', ".")),
            budget,
        }
    }
}

impl Program for Source {
    fn start(&self) -> Result<Box<dyn Engine>, DecideError> {
        Ok(Box::new(Interpreter::compile(self)?))
    }
}

impl Interpreter {
    /// Compiles sources and data.
    pub(in crate::decide) fn compile(source: &Source) -> Result<Self, DecideError> {
        let mut engine = regorus::Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(ExecutionTimerConfig { limit: source.budget, check_interval: TIMER_UNITS });
        for file in &source.files {
            engine
                .add_policy(file.path.clone(), file.text.clone())
                .map_err(|error| DecideError::unusable(format!("{}: {error}", file.path)))?;
        }
        engine
            .add_data_json(&source.data)
            .map_err(|error| DecideError::unusable(format!("the bundle's data: {error}")))?;
        Ok(Self { engine, rule: source.rule.clone(), budget: source.budget })
    }
}

impl Engine for Interpreter {
    fn evaluate(&mut self, input: &str) -> Result<String, DecideError> {
        let started = Instant::now();
        // The interpreter words an overrun like any other error, so the clock tells them apart.
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| match started.elapsed() >= self.budget {
            true => DecideError::Overrun,
            false => DecideError::Failed(error.to_string()),
        };
        // A panic inside the interpreter is a failed evaluation; the engine that saw it is thrown away by the caller.
        catch_unwind(AssertUnwindSafe(|| {
            self.engine.set_input_json(input).map_err(|error| failed(error.into()))?;
            let value = self.engine.eval_rule(self.rule.clone()).map_err(|error| failed(error.into()))?;
            if value == regorus::Value::Undefined {
                return Err(DecideError::Undefined);
            }
            value.to_json_str().map_err(|error| failed(error.into()))
        }))
        .unwrap_or_else(|_| Err(DecideError::Failed("the policy engine crashed".to_owned())))
    }
}
