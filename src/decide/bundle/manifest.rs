//! A bundle's `.manifest`, as OPA knows it, with what Sekisho asks of it under `metadata`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decide::{DecideError, Granularity, InputPaths};

/// The manifest. Members that neither OPA nor Sekisho acts on are left alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// The revision that its author gave it.
    pub revision: String,
    /// The parts of `data` that the bundle owns; absent or `[""]` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<Vec<String>>,
    /// The version of Rego; only 1 is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rego_version: Option<u8>,
    /// Versions of Rego for single files, which OPA knows too; only none are taken.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub file_rego_versions: BTreeMap<String, u8>,
    /// Compiled modules, as `opa build -t wasm` lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wasm: Vec<WasmModule>,
    /// What Sekisho asks for.
    pub metadata: Metadata,
}

impl Manifest {
    /// What the gateway asks of a manifest beyond its shape: one language, and data only where the bundle owns it.
    pub(super) fn check(&self, data: &Value) -> Result<(), DecideError> {
        if !matches!(self.rego_version, None | Some(1)) || self.file_rego_versions.values().any(|version| *version != 1)
        {
            let why = ".manifest: only version 1 of Rego is read: bring the policy up to it (opa fmt --rewrite) and say \"rego_version\": 1";
            return Err(DecideError::unusable(why));
        }
        let Some(roots) = &self.roots else { return Ok(()) };
        let roots: Vec<Vec<&str>> = roots.iter().map(|root| parts(root).collect()).collect();
        match outside(data, &mut Vec::new(), &roots) {
            None => Ok(()),
            Some(path) => Err(DecideError::Bundle {
                code: "bundle_outside_roots",
                why: format!(
                    ".manifest: the bundle has data at {path}, which is below none of its roots: move the data or add the root"
                ),
            }),
        }
    }

    /// The compiled module that answers for the entrypoint, if the manifest lists one.
    pub(super) fn entrypoint_module(&self) -> Option<&WasmModule> {
        self.wasm.iter().find(|module| parts(&module.entrypoint).eq(parts(&self.metadata.entrypoint)))
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// The first path of `data` that no root covers.
fn outside<'a>(data: &'a Value, at: &mut Vec<&'a str>, roots: &[Vec<&str>]) -> Option<String> {
    if roots.iter().any(|root| at.starts_with(root)) {
        return None;
    }
    // Every bundle has a data document, if an empty one.
    let above = at.is_empty() || roots.iter().any(|root| root.starts_with(at));
    match data {
        Value::Object(members) if above => members.iter().find_map(|(name, value)| {
            at.push(name);
            let found = outside(value, at, roots);
            at.pop();
            found
        }),
        _ => Some(at.join("/")),
    }
}

/// One compiled module of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmModule {
    /// The rule that it answers for, such as `dfft/decision`.
    pub entrypoint: String,
    /// Its file, such as `/policy.wasm`.
    pub module: String,
}

/// `metadata` of the manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metadata {
    /// The policy's id.
    pub id: String,
    /// Path of the rule that decides, such as `dfft/decision`.
    pub entrypoint: String,
    /// What the policy reads of a question.
    pub inputs: InputPaths,
    /// How exactly it sees the time.
    #[serde(default)]
    pub time: Granularity,
}
