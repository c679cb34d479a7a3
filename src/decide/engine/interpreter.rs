//! The interpreter of Rego source.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use regorus::utils::limits::ExecutionTimerConfig;

use super::Engine;
use crate::decide::{Bundle, DecideError};

/// Work units between two looks at the clock: at some 100 ns a unit, an overrun is noticed within a tenth of a millisecond.
pub(in crate::decide) const TIMER_UNITS: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// The interpreter of Rego source, for the operator's own reviewed policy. It is no sandbox.
pub(in crate::decide) struct Interpreter {
    engine: regorus::Engine,
    rule: String,
    budget: Duration,
}

impl Interpreter {
    /// Compiles the bundle's sources and data.
    pub(in crate::decide) fn compile(bundle: &Bundle, budget: Duration) -> Result<Self, DecideError> {
        let mut engine = regorus::Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(ExecutionTimerConfig { limit: budget, check_interval: TIMER_UNITS });
        for source in bundle.sources() {
            engine
                .add_policy(source.path.clone(), source.text.clone())
                .map_err(|error| DecideError::unusable(format!("{}: {error}", source.path)))?;
        }
        let data = serde_json::to_string(bundle.data()).map_err(|error| DecideError::unusable(error.to_string()))?;
        engine.add_data_json(&data).map_err(|error| DecideError::unusable(format!("the bundle's data: {error}")))?;
        let rule = format!("data.{}", bundle.entrypoint().replace('/', "."));
        Ok(Self { engine, rule, budget })
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

    fn replicate(&self) -> Result<Box<dyn Engine>, DecideError> {
        Ok(Box::new(Self { engine: self.engine.clone(), rule: self.rule.clone(), budget: self.budget }))
    }
}
