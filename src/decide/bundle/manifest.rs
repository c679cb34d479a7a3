//! A bundle's `.manifest`, as OPA knows it, with what Sekisho asks of it under `metadata`.

use serde::{Deserialize, Serialize};

use crate::decide::{Granularity, InputPaths};

/// The manifest. Members that Sekisho has no use for, such as OPA's `wasm`, are left alone.
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
    /// Compiled modules, as `opa build -t wasm` lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wasm: Vec<WasmModule>,
    /// What Sekisho asks for.
    pub metadata: Metadata,
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
