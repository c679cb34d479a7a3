//! A policy as files: Rego sources, data, and a manifest in the OPA bundle layout.

use std::path::{Path, PathBuf};

mod manifest;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use manifest::{Manifest, Metadata, WasmModule};

use crate::decide::{DecideError, PolicyIdentity};
use crate::types::Hasher;

/// The largest file of a bundle, in bytes.
const FILE_BYTES: u64 = 8 * 1024 * 1024;
/// The most files of a bundle.
const FILES: usize = 1024;

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BundleFile {
    /// Path inside the bundle, with `/`.
    pub path: String,
    /// Content.
    pub text: String,
}

/// A policy's files, read and sorted by kind.
#[derive(Debug, Clone)]
pub struct Bundle {
    identity: PolicyIdentity,
    manifest: Manifest,
    sources: Vec<BundleFile>,
    data: Value,
    cases: Vec<BundleFile>,
    module: Option<Arc<[u8]>>,
}

/// The compiled module of a bundle, where OPA puts it.
pub const MODULE: &str = "policy.wasm";

macro_rules! built_in {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../policies/dfft/", $path)))),*]
    };
}

/// The reference policy as it was when this binary was built, so that the first command needs no other file.
const BUILT_IN: &[(&str, &str)] = built_in![
    ".manifest",
    "decision.rego",
    "dfft/facts/data.json",
    "intellectual_property.rego",
    "privacy.rego",
    "request.rego",
    "security.rego",
    "trust.rego",
];

impl Bundle {
    /// The reference policy that is part of this binary, without its cases.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] never, unless the binary was built from a broken policy.
    pub fn built_in() -> Result<Self, DecideError> {
        let file = |(path, text): &(&str, &str)| BundleFile { path: (*path).to_owned(), text: (*text).to_owned() };
        Self::new(BUILT_IN.iter().map(file).collect(), None)
    }

    /// Reads a bundle directory: `.manifest`, `*.rego`, `data.json` files (placed by their directory), `cases/*.json`.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] naming the file that is missing, too large or not what it should be.
    pub fn read(directory: &Path) -> Result<Self, DecideError> {
        let mut paths = Vec::new();
        collect(directory, &mut paths)?;
        let mut files = Vec::new();
        let mut module = None;
        for path in paths {
            let inside = path.strip_prefix(directory).unwrap_or(&path);
            let name = inside.to_string_lossy().replace('\\', "/");
            if is_part(&name) || name == MODULE {
                let broken =
                    |error: &dyn std::fmt::Display| DecideError::unusable(format!("{}: {error}", path.display()));
                let size = std::fs::metadata(&path).map_err(|error| broken(&error))?.len();
                if size > FILE_BYTES {
                    return Err(broken(&format_args!("{size} bytes are more than the {FILE_BYTES} of a policy file")));
                }
                if name == MODULE {
                    module = Some(std::fs::read(&path).map_err(|error| broken(&error))?);
                    continue;
                }
                let text = std::fs::read_to_string(&path).map_err(|error| broken(&error))?;
                files.push(BundleFile { path: name, text });
            }
        }
        Self::new(files, module)
    }

    /// A bundle of files that are in memory already, without a module.
    ///
    /// # Errors
    /// [`DecideError::Bundle`] naming the file that is missing or not what it should be.
    pub fn from_files(files: Vec<BundleFile>) -> Result<Self, DecideError> {
        Self::new(files, None)
    }

    /// Sorts files by kind and reads the manifest and the data. The identity is that of the sources: a bundle is the same
    /// policy with and without its compiled module.
    fn new(mut files: Vec<BundleFile>, module: Option<Vec<u8>>) -> Result<Self, DecideError> {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let mut hasher = Hasher::new();
        let (mut manifest, mut sources, mut cases, mut data) = (None, Vec::new(), Vec::new(), Map::new());
        for file in files {
            if file.path.starts_with("cases/") {
                cases.push(file);
                continue;
            }
            let read = (file.path == ".manifest").then(|| parse::<Manifest>(&file)).transpose()?;
            let content = match &read {
                // Without the list of compiled modules, and whatever its spacing.
                Some(manifest) => &serde_json::to_string(&Manifest { wasm: Vec::new(), ..manifest.clone() })
                    .map_err(|error| DecideError::unusable(error.to_string()))?,
                None => &file.text,
            };
            // Lengths first, so that no two bundles hash alike by moving bytes between a path and a content.
            for part in [&file.path, content] {
                hasher.update(&(part.len() as u64).to_be_bytes());
                hasher.update(part.as_bytes());
            }
            if read.is_some() {
                manifest = read;
            } else if file.path.ends_with(".rego") {
                sources.push(file);
            } else {
                place(&mut data, &file)?;
            }
        }
        let manifest = manifest.ok_or_else(|| {
            DecideError::unusable(
                "the policy has no .manifest: write one with revision, metadata.id, metadata.entrypoint and metadata.inputs".to_owned(),
            )
        })?;
        if sources.is_empty() {
            return Err(DecideError::unusable("the policy has no .rego file".to_owned()));
        }
        let Manifest { revision, metadata, .. } = &manifest;
        Ok(Self {
            identity: PolicyIdentity::new(metadata.id.clone(), revision.clone(), hasher.finish()),
            manifest,
            sources,
            data: Value::Object(data),
            cases,
            module: module.map(Arc::from),
        })
    }

    /// Which policy this is.
    pub fn identity(&self) -> &PolicyIdentity {
        &self.identity
    }

    /// Path of the rule that decides, such as `dfft/decision`.
    pub fn entrypoint(&self) -> &str {
        &self.manifest.metadata.entrypoint
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The compiled module (WebAssembly as OPA makes it), if the bundle holds one.
    pub fn module(&self) -> Option<&Arc<[u8]>> {
        self.module.as_ref()
    }

    /// The Rego files.
    pub fn sources(&self) -> &[BundleFile] {
        &self.sources
    }

    /// The data document.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// The files of worked cases.
    pub fn cases(&self) -> &[BundleFile] {
        &self.cases
    }
}

/// Whether a file takes part in the policy. Others, such as a README, are left alone.
fn is_part(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path == ".manifest"
        || (path.ends_with(".rego") && !path.ends_with("_test.rego"))
        || name == "data.json"
        || (path.starts_with("cases/") && path.ends_with(".json"))
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), DecideError> {
    let broken = |error: &std::io::Error| DecideError::unusable(format!("{}: {error}", directory.display()));
    for entry in std::fs::read_dir(directory).map_err(|error| broken(&error))? {
        let entry = entry.map_err(|error| broken(&error))?;
        let kind = entry.file_type().map_err(|error| broken(&error))?;
        // A symbolic link could lead out of the bundle; it is not followed.
        if kind.is_dir() {
            collect(&entry.path(), paths)?;
        } else if kind.is_file() {
            paths.push(entry.path());
        }
        if paths.len() > FILES {
            return Err(DecideError::unusable(format!("{}: more than {FILES} files", directory.display())));
        }
    }
    Ok(())
}

fn parse<T: serde::de::DeserializeOwned>(file: &BundleFile) -> Result<T, DecideError> {
    serde_json::from_str(&file.text)
        .map_err(|error| DecideError::unusable(format!("{}:{}: {error}", file.path, error.line())))
}

/// Puts a `data.json` where its directory says: `a/b/data.json` becomes `data.a.b`.
fn place(data: &mut Map<String, Value>, file: &BundleFile) -> Result<(), DecideError> {
    let content: Map<String, Value> = parse(file)?;
    let mut at = data;
    let directories = file.path.strip_suffix("data.json").unwrap_or_default();
    for name in directories.split('/').filter(|name| !name.is_empty()) {
        let next = at.entry(name).or_insert_with(|| Value::Object(Map::new()));
        at = next.as_object_mut().ok_or_else(|| {
            DecideError::unusable(format!("{}: {name} is a value in another data.json, not an object", file.path))
        })?;
    }
    for (name, value) in content {
        if at.insert(name.clone(), value).is_some() {
            return Err(DecideError::unusable(format!("{}: {name} stands in another data.json already", file.path)));
        }
    }
    Ok(())
}
