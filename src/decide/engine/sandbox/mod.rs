//! Policies compiled to WebAssembly, as OPA compiles them, each in a sandbox of its own.
//!
//! A module reaches nothing but its own memory: it has a deadline, a cap on memory, tables and stack, and a short list of
//! functions of ours that it may call, each of which reads its arguments and nothing else. Whatever goes wrong in it is
//! an error value here, and the instance is thrown away.

mod deadline;
mod runtime;
mod vetting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use opa_wasm::{DefaultContext, Runtime};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wasmtime::{Module, Store};

use self::runtime::Limits;
use super::{Engine, Program};
use crate::decide::{Bundle, DecideError};

/// The largest input, in bytes. A question has some kilobytes; the head of a request, 64 KiB at most, is the largest
/// part of it that a peer writes.
const INPUT_BYTES: usize = 1024 * 1024;
/// The largest decision document, in bytes: ten thousand reasons of a hundred bytes, which no person would read.
const OUTPUT_BYTES: usize = 1024 * 1024;
/// Time for an instance to start and to take the policy's data: the reference policy takes some milliseconds, and data of
/// the largest size that fits takes some tenths of a second.
const PREPARATION: Duration = Duration::from_secs(2);
/// The most characters of a policy's own message that go into an error: a policy must not fill our log.
const MESSAGE_CHARS: usize = 200;

/// The code of a bundle whose module is not taken.
const MODULE_REFUSED: &str = "bundle_module_refused";

/// A vetted module as machine code, with the data that every instance takes.
pub(in crate::decide) struct Compiled {
    module: Module,
    data: Box<RawValue>,
    entrypoint: String,
    budget: Duration,
}

/// One instance of a compiled policy, with its data loaded.
pub(in crate::decide) struct Sandbox {
    compiled: Arc<Compiled>,
    store: Store<Limits>,
    policy: opa_wasm::Policy<DefaultContext>,
}

impl Compiled {
    /// Compiles and vets `module`, the compiled form of `bundle`, whose reading bounds its size. Machine code is kept in `code_cache`, if given.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] with `bundle_module_refused` for what is no module of OPA's or does not start within the
    /// limits, `bundle_builtin_refused` for one that needs a function that is not on our list, and
    /// `bundle_entrypoint_missing` for one that does not answer for the bundle's entrypoint.
    pub(in crate::decide) fn new(
        bundle: &Bundle,
        module: &[u8],
        budget: Duration,
        code_cache: Option<&Path>,
    ) -> Result<Self, DecideError> {
        let engine = runtime::engine(code_cache)?;
        let module = Module::new(&engine, module).map_err(|error| refused(in_short(&format!("{error:#}"))))?;
        let entrypoint = bundle.entrypoint().to_owned();
        vetting::vet(&module, &entrypoint)?;
        let data = serde_json::value::to_raw_value(bundle.data())
            .map_err(|error| refused(format!("the bundle's data: {error}")))?;
        Ok(Self { module, data, entrypoint, budget })
    }
}

impl Program for Arc<Compiled> {
    fn start(&self) -> Result<Box<dyn Engine>, DecideError> {
        Ok(Box::new(Sandbox::start(Self::clone(self))?))
    }
}

impl Sandbox {
    /// Makes an instance and loads its data.
    pub(in crate::decide) fn start(compiled: Arc<Compiled>) -> Result<Self, DecideError> {
        let mut store = runtime::store(compiled.module.engine());
        let policy = guarded(&mut store, PREPARATION, |store| {
            finished(async {
                let runtime = Runtime::new(&mut *store, &compiled.module).await?;
                runtime.with_data(&mut *store, &compiled.data).await
            })
        });
        let policy = policy.map_err(|failure| match failure {
            Failure::Late => refused(format!("it did not take its data within {} s", PREPARATION.as_secs())),
            Failure::Said(why) => refused(why),
        })?;
        Ok(Self { compiled, store, policy })
    }
}

impl Engine for Sandbox {
    fn evaluate(&mut self, input: &str) -> Result<String, DecideError> {
        if input.len() > INPUT_BYTES {
            let size = input.len();
            return Err(DecideError::Failed(format!("{size} bytes are more than the {INPUT_BYTES} of an input")));
        }
        let input: &RawValue = serde_json::from_str(input)
            .map_err(|error| DecideError::Failed(format!("the input is no JSON: {error}")))?;
        let Self { compiled, store, policy } = self;
        let answer = guarded(store, compiled.budget, |store| {
            finished(policy.evaluate::<_, Answer, _>(store, &compiled.entrypoint, &input))
        });
        match answer {
            Ok(Answer::Decision(document)) => Ok(document),
            Ok(Answer::Nothing) => Err(DecideError::Undefined),
            Ok(Answer::Other(why)) => Err(DecideError::Malformed(why)),
            Err(Failure::Late) => Err(DecideError::Overrun),
            Err(Failure::Said(why)) => Err(DecideError::Failed(why)),
        }
    }
}

/// What a module answers: a set of results, of which a policy's entrypoint has none or one.
enum Answer {
    Nothing,
    Decision(String),
    Other(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Solution<'a> {
    #[serde(borrow)]
    result: &'a RawValue,
}

impl<'de> Deserialize<'de> for Answer {
    /// Reads the set where it lies in the module's memory, so that one that is too large is never copied.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What is no JSON, or ends nowhere, is a wrong answer too, and not a failure of ours.
        let text = match <&'de RawValue>::deserialize(deserializer) {
            Ok(raw) => raw.get(),
            Err(error) => return Ok(Self::Other(format!("no JSON: {}", in_short(&error.to_string())))),
        };
        if text.len() > OUTPUT_BYTES {
            let size = text.len();
            return Ok(Self::Other(format!("{size} bytes are more than the {OUTPUT_BYTES} of a decision")));
        }
        if text == "[]" {
            return Ok(Self::Nothing);
        }
        Ok(match serde_json::from_str::<[Solution<'_>; 1]>(text) {
            Ok([solution]) => Self::Decision(solution.result.get().to_owned()),
            Err(error) => Self::Other(format!("not one result: {}", in_short(&error.to_string()))),
        })
    }
}

/// Why a module did not come to its end.
enum Failure {
    /// Its time was over.
    Late,
    /// Something else, in words.
    Said(String),
}

/// Runs a module for `budget` at most, and tells apart what may end it.
fn guarded<T, E: std::fmt::Display>(
    store: &mut Store<Limits>,
    budget: Duration,
    run: impl FnOnce(&mut Store<Limits>) -> Result<T, E>,
) -> Result<T, Failure> {
    let started = Instant::now();
    let _watch = deadline::watch(store, budget);
    // opa-wasm panics on some addresses that only a hostile module gives. The instance is thrown away by the caller.
    let outcome = catch_unwind(AssertUnwindSafe(|| run(store)));
    let why = match outcome {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => in_short(&format!("{error:#}")),
        Err(_) => "the policy engine crashed".to_owned(),
    };
    // The deadline never strikes before the budget is spent, so the clock tells an overrun however deep it was wrapped.
    if started.elapsed() >= budget {
        return Err(Failure::Late);
    }
    Err(Failure::Said(store.data().refused().unwrap_or(why)))
}

/// The value of a future that never waits: nothing in a module can, since its deadline ends it and does not yield.
fn finished<T, E: From<Waits>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // Tokio's own budget of steps must not make a lock that is free look taken.
    let mut future = pin!(tokio::task::unconstrained(future));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => Err(Waits.into()),
    }
}

/// A module waited for something.
#[derive(Debug, thiserror::Error)]
#[error("the policy waits for something, and nothing will come")]
struct Waits;

fn refused(why: impl AsRef<str>) -> DecideError {
    DecideError::Bundle {
        code: MODULE_REFUSED,
        why: format!("{}: {}; build it with opa build -t wasm of OPA 1.x", crate::decide::bundle::MODULE, why.as_ref()),
    }
}

/// A message that a policy may have written, on one line and not too long.
fn in_short(message: &str) -> String {
    let line = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = line.take(MESSAGE_CHARS).collect();
    if short.len() < message.len() { format!("{short}...") } else { short }
}
