//! Compiles cases with OPA and asks the modules.
//!
//! A module costs a tenth of a second to compile, nearly all of it for OPA's own functions, so that many cases share one:
//! each gets a package of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use opa_wasm::Runtime;
use serde_json::Value;
use wasmtime::{Config, Engine, Module, OptLevel, Store};

use crate::cases::Case;
use crate::tally::Answer;

/// Cases in one module.
const TOGETHER: usize = 50;

/// An opa that speaks Rego v1, as the repository's script finds it.
pub fn opa() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/find-opa.sh");
    let found = Command::new(script).output().ok().filter(|found| found.status.success())?;
    Some(PathBuf::from(String::from_utf8(found.stdout).unwrap().trim()))
}

/// Asks every case; one that OPA's compiler refuses is answered by nobody.
pub fn ask(opa: &Path, cases: &[&Case], mut tell: impl FnMut(&Case, &Answer)) {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::None);
    let engine = Engine::new(&config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut pending: Vec<Vec<&Case>> = cases.chunks(TOGETHER).map(<[_]>::to_vec).collect();
    while let Some(batch) = pending.pop() {
        let Some(module) = compile(opa, &batch) else {
            // One of them is refused: halve, until it stands alone.
            match &batch[..] {
                [alone] => tell(alone, &Answer::Failed("OPA's compiler refuses it".to_owned())),
                more => {
                    let (left, right) = more.split_at(more.len() / 2);
                    pending.extend([left.to_vec(), right.to_vec()]);
                }
            }
            continue;
        };
        let module = Module::new(&engine, module).unwrap();
        for (place, case) in batch.iter().enumerate() {
            let answer = runtime.block_on(evaluate(&engine, &module, case, place));
            tell(case, &answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}"))));
        }
    }
}

async fn evaluate(engine: &Engine, module: &Module, case: &Case, place: usize) -> anyhow::Result<Answer> {
    let mut store = Store::new(engine, ());
    let own = Names::of(case, place);
    let data = own.renamed(&case.data);
    let policy = Runtime::new(&mut store, module).await?.with_data(&mut store, &data).await?;
    // OPA's modules tell an absent input from none by nothing; no case here looks at the input as a whole.
    let input = case.input.clone().unwrap_or(Value::Object(serde_json::Map::new()));
    let results: Value = policy.evaluate(&mut store, &own.path(case).join("/"), &input).await?;
    Ok(match results[0].get("result") {
        Some(value) => Answer::Value(value.clone()),
        None => Answer::Undefined,
    })
}

fn compile(opa: &Path, batch: &[&Case]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("bundle.tar.gz");
    let mut command = Command::new(opa);
    command.args(["build", "-t", "wasm", "-o"]).arg(&bundle);
    let mut entrypoints = BTreeSet::new();
    for (place, case) in batch.iter().enumerate() {
        let own = Names::of(case, place);
        entrypoints.insert(own.path(case).join("/"));
        for (number, module) in case.modules.iter().enumerate() {
            let file = directory.path().join(format!("case-{place}-{number}.rego"));
            std::fs::write(&file, own.renamed_source(module)).unwrap();
            command.arg(file);
        }
    }
    for entrypoint in entrypoints {
        command.args(["-e", &entrypoint]);
    }
    if !command.output().unwrap().status.success() {
        return None;
    }
    let policy = Command::new("tar").arg("-xzOf").arg(&bundle).arg("/policy.wasm").output().unwrap();
    (policy.status.success() && !policy.stdout.is_empty()).then_some(policy.stdout)
}

/// The first parts of a case's packages and what they are called in a module that cases share.
struct Names {
    roots: BTreeSet<String>,
    suffix: String,
}

impl Names {
    fn of(case: &Case, place: usize) -> Self {
        let package = |module: &String| {
            let line = module.lines().find_map(|line| line.trim().strip_prefix("package "))?;
            Some(line.trim().split(['.', '[']).next()?.to_owned())
        };
        Self { roots: case.modules.iter().filter_map(package).collect(), suffix: format!("_case{place}") }
    }

    fn path(&self, case: &Case) -> Vec<String> {
        let mut path = case.path.clone();
        if self.roots.contains(&path[0]) {
            path[0].push_str(&self.suffix);
        }
        path
    }

    /// A package may share its root with data.
    fn renamed(&self, data: &Value) -> Value {
        let mut data = data.clone();
        if let Some(members) = data.as_object_mut() {
            for root in &self.roots {
                if let Some(value) = members.remove(root) {
                    members.insert(format!("{root}{}", self.suffix), value);
                }
            }
        }
        data
    }

    fn renamed_source(&self, source: &str) -> String {
        let mut text = source.to_owned();
        for root in &self.roots {
            for before in ["package ", "data."] {
                let mut renamed = String::new();
                let mut rest = text.as_str();
                while let Some(place) = rest.find(&format!("{before}{root}")) {
                    let end = place + before.len() + root.len();
                    renamed.push_str(&rest[..end]);
                    rest = &rest[end..];
                    if !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                        renamed.push_str(&self.suffix);
                    }
                }
                renamed.push_str(rest);
                text = renamed;
            }
        }
        text
    }
}
