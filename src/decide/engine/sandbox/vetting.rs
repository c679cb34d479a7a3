//! Whether a module is one that OPA made, and asks for no more than it may have. Decided before it is run with anything.

use std::collections::BTreeMap;

use wasmtime::{ExternType, Instance, Linker, Memory, Module, Store, Val, ValType};

use super::runtime::{self, Limits};
use super::{Failure, PREPARATION, guarded, in_short, refused};
use crate::decide::DecideError;

/// The functions outside the sandbox that a module may call. Each reads nothing but its arguments and gives no more than
/// twice their size, so a policy stays a pure function of bundle and input, and no single call outlasts its deadline.
///
/// All others are refused, also those that opa-wasm would give: `opa.runtime` shows our environment, `time.now_ns` and
/// `rand.intn` are not pure, `http.send` and `net.*` reach out, `io.jwt.*` is the gateway's own work, `sprintf` takes any
/// width, `json.patch` may copy a document into itself until memory ends, `units.parse` and the rest are unfinished there
/// and would fail at run time. Most builtins of Rego need none: they are part of the module.
pub(super) const BUILTINS: [&str; 5] =
    ["base64url.encode_no_pad", "hex.decode", "hex.encode", "semver.compare", "semver.is_valid"];
/// The functions that a module imports, with the number of their parameters, and whether they give a result.
const IMPORTS: [(&str, usize, bool); 7] = [
    ("opa_abort", 1, false),
    ("opa_builtin0", 2, true),
    ("opa_builtin1", 3, true),
    ("opa_builtin2", 4, true),
    ("opa_builtin3", 5, true),
    ("opa_builtin4", 6, true),
    ("opa_println", 1, false),
];
/// The lists that a module gives of its builtins and entrypoints, in bytes: a thousand names.
const LISTING_BYTES: usize = 64 * 1024;

/// Judges a module. It is instantiated with every import a trap, and asked what it needs and what it answers for.
///
/// A module that lies here would have to answer otherwise when it is started: the steps are the same there, and nothing
/// that it can see differs.
///
/// # Errors
/// [`DecideError::Bundle`], as `Compiled::new` says.
pub(super) fn vet(module: &Module, entrypoint: &str) -> Result<(), DecideError> {
    imports(module)?;
    let mut store = runtime::store(module.engine());
    let lists = guarded(&mut store, PREPARATION, |store| Lists::read(store, module));
    let lists = lists.map_err(|failure| match failure {
        Failure::Late => refused(format!("it did not start within {} s", PREPARATION.as_secs())),
        Failure::Said(why) => refused(why),
    })?;
    let foreign: Vec<&str> =
        lists.builtins.keys().map(String::as_str).filter(|name| !BUILTINS.contains(name)).collect();
    if !foreign.is_empty() {
        let lines = foreign.iter().map(|name| {
            format!(
                "{}: it calls {}, which policies may not; write the rule without it, or with one of {}",
                crate::decide::bundle::MODULE,
                in_short(name),
                BUILTINS.join(", ")
            )
        });
        return Err(DecideError::Bundle {
            code: "bundle_builtin_refused",
            why: lines.take(FINDINGS).collect::<Vec<_>>().join("\n"),
        });
    }
    if !lists.entrypoints.contains_key(entrypoint) {
        let found: Vec<&str> = lists.entrypoints.keys().map(String::as_str).take(FINDINGS).collect();
        return Err(DecideError::Bundle {
            code: "bundle_entrypoint_missing",
            why: format!(
                "{}: it does not answer for the entrypoint {entrypoint} of the manifest, only for {}; build it with \
                 opa build -t wasm -e {entrypoint}",
                crate::decide::bundle::MODULE,
                in_short(&found.join(", "))
            ),
        });
    }
    Ok(())
}

/// The most names that a finding lists.
const FINDINGS: usize = 50;

/// Every import is one of OPA's, with its type.
fn imports(module: &Module) -> Result<(), DecideError> {
    for import in module.imports() {
        let known = import.module() == "env"
            && match import.ty() {
                ExternType::Memory(_) => import.name() == "memory",
                ExternType::Func(function) => IMPORTS.iter().any(|(name, parameters, result)| {
                    let is_i32 = |one: ValType| matches!(one, ValType::I32);
                    import.name() == *name
                        && function.params().len() == *parameters
                        && function.results().len() == usize::from(*result)
                        && function.params().chain(function.results()).all(is_i32)
                }),
                _ => false,
            };
        if !known {
            let name = in_short(&format!("{}.{}", import.module(), import.name()));
            return Err(refused(format!("it imports {name}, which is nothing that OPA's modules import")));
        }
    }
    Ok(())
}

/// What a module says of itself.
struct Lists {
    builtins: BTreeMap<String, i32>,
    entrypoints: BTreeMap<String, i32>,
}

impl Lists {
    fn read(store: &mut Store<Limits>, module: &Module) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(module.engine());
        let mut memory = None;
        for import in module.imports() {
            match import.ty() {
                ExternType::Memory(kind) => {
                    let made = Memory::new(&mut *store, kind)?;
                    linker.define(&*store, "env", import.name(), made)?;
                    memory = Some(made);
                }
                ExternType::Func(kind) => {
                    let name = import.name().to_owned();
                    linker.func_new("env", import.name(), kind, move |_, _, _| {
                        Err(wasmtime::Error::msg(format!("it calls {name} before it is asked anything")))
                    })?;
                }
                _ => {}
            }
        }
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("it does not import its memory as env.memory"))?;
        let instance = linker.instantiate(&mut *store, module)?;
        let mut list = |name| list(store, &instance, memory, name);
        // In the order in which opa-wasm asks.
        let lists = Self { builtins: list("builtins")?, entrypoints: list("entrypoints")? };
        let mut version = |name| match instance.get_global(&mut *store, name).map(|global| global.get(&mut *store)) {
            Some(Val::I32(number)) => Ok(number),
            _ => Err(wasmtime::Error::msg(format!("it has no global {name}"))),
        };
        // Since 1.2 an evaluation is one call.
        match (version("opa_wasm_abi_version")?, version("opa_wasm_abi_minor_version")?) {
            (1, 2..) => Ok(lists),
            (major, minor) => Err(wasmtime::Error::msg(format!("its ABI is {major}.{minor}, not 1.2 or later 1.x"))),
        }
    }
}

/// Calls a function that lists names with their numbers, and reads the list.
fn list(
    store: &mut Store<Limits>,
    instance: &Instance,
    memory: Memory,
    name: &str,
) -> wasmtime::Result<BTreeMap<String, i32>> {
    let value = instance.get_typed_func::<(), i32>(&mut *store, name)?.call(&mut *store, ())?;
    let dump = instance.get_typed_func::<i32, i32>(&mut *store, "opa_json_dump")?;
    let at = dump.call(&mut *store, value)?;
    let text = usize::try_from(at).ok().and_then(|at| memory.data(&*store).get(at..)).unwrap_or_default();
    let text = text.iter().take(LISTING_BYTES).position(|byte| *byte == 0).map(|end| &text[..end]);
    let text = text.ok_or_else(|| wasmtime::Error::msg(format!("its list of {name} does not end")))?;
    serde_json::from_slice(text).map_err(|_| wasmtime::Error::msg(format!("its list of {name} is not one of names")))
}
