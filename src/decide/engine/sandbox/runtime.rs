//! The WebAssembly engines of this process: what a module may use, and where its machine code is kept.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wasmtime::{Cache, CacheConfig, Config, OptLevel, ResourceLimiter, Store, StoreLimits, StoreLimitsBuilder};

use super::deadline;
use crate::decide::{DecideError, private_directory};

/// The most linear memory of an instance, in bytes. The reference policy takes 5 MiB with its data; the data of a policy
/// takes some ten times the size of its JSON.
pub(super) const MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// The most elements of the table of functions that are called indirectly: one for each rule and builtin, 199 in the
/// reference policy.
const TABLE_ELEMENTS: usize = 65_536;
/// Stack of WebAssembly, in bytes: wasmtime's default. OPA's functions recurse with the depth of a document.
const WASM_STACK_BYTES: usize = 512 * 1024;
/// Stack that an evaluation runs on, in bytes: what is above the WebAssembly stack is for the functions of ours that a
/// module calls, which read JSON 128 levels deep at most.
const FIBER_STACK_BYTES: usize = 2 * 1024 * 1024;

/// The engines, one for each place where machine code is kept: in a gateway there is one.
static ENGINES: Mutex<Vec<(Option<PathBuf>, wasmtime::Engine)>> = Mutex::new(Vec::new());

/// The engine that keeps machine code in `code_cache`, which becomes a directory of this user alone.
///
/// # Errors
/// When the directory cannot be had, or others may write to it: machine code found there is run.
pub(super) fn engine(code_cache: Option<&Path>) -> Result<wasmtime::Engine, DecideError> {
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, engine)) = engines.iter().find(|(place, _)| place.as_deref() == code_cache) {
        return Ok(engine.clone());
    }
    let mut config = configuration();
    if let Some(directory) = code_cache {
        config.cache(Some(cache(directory)?));
    }
    let engine = wasmtime::Engine::new(&config)
        .map_err(|error| DecideError::unusable(format!("the WebAssembly engine cannot be set up: {error}")))?;
    deadline::start_clock()?;
    engines.push((code_cache.map(Path::to_owned), engine.clone()));
    Ok(engine)
}

/// Lets the time of every engine go on by one tick.
pub(super) fn tick() {
    for (_, engine) in ENGINES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        engine.increment_epoch();
    }
}

/// WebAssembly as OPA's compiler writes it, which is its first version. What is off cannot hold a fault.
fn configuration() -> Config {
    let mut config = Config::new();
    config
        .wasm_bulk_memory(false)
        .wasm_extended_const(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_multi_value(false)
        .wasm_relaxed_simd(false)
        .wasm_simd(false)
        .wasm_tail_call(false)
        .concurrency_support(false)
        // A list of frames would hide the policy's own message.
        .wasm_backtrace_max_frames(None)
        .epoch_interruption(true)
        // Compiling a large module takes a core for a while: one, so that the others go on deciding.
        .parallel_compilation(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed);
    config
}

fn cache(directory: &Path) -> Result<Cache, DecideError> {
    let unusable = |why: &dyn std::fmt::Display| {
        DecideError::unusable(format!("{}: no place for compiled policies: {why}", directory.display()))
    };
    let directory = std::path::absolute(directory).map_err(|error| unusable(&error))?;
    private_directory(&directory).map_err(|error| unusable(&error))?;
    let mut config = CacheConfig::new();
    config.with_directory(directory);
    Cache::new(config).map_err(|error| unusable(&error))
}

/// A store for one instance, with its limits.
pub(super) fn store(engine: &wasmtime::Engine) -> Store<Limits> {
    let limits = StoreLimitsBuilder::new()
        .memory_size(MEMORY_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .instances(1)
        .memories(1)
        .tables(1)
        .build();
    let mut store = Store::new(engine, Limits { limits, memory: false, table: false });
    store.limiter(|limits| limits);
    store
}

/// What one instance may hold, and whether it asked for more.
pub(super) struct Limits {
    limits: StoreLimits,
    memory: bool,
    table: bool,
}

impl Limits {
    /// What was refused, in words. A module that is refused memory gives up in words of its own, which say less.
    pub(super) fn refused(&self) -> Option<String> {
        if self.memory {
            return Some(format!("it needs more than {} MiB of memory", MEMORY_BYTES / 1024 / 1024));
        }
        self.table.then(|| format!("it needs a table of more than {TABLE_ELEMENTS} functions"))
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.limits.memory_growing(current, desired, maximum)?;
        self.memory |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.limits.table_growing(current, desired, maximum)?;
        self.table |= !granted;
        Ok(granted)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}
