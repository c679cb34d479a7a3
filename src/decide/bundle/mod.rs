//! A policy as files: Rego sources, data, and a manifest in the OPA bundle layout.
//!
//! A directory is the operator's own, reviewed source. An archive is a stranger's: [`Bundle::verified`] takes one in.

mod archive;
mod canonical;
mod keys;
mod manifest;
mod revision;
mod signature;
#[cfg(test)]
mod tests;
mod verification;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

pub use archive::{ARCHIVE_BYTES, Archive, ENTRIES, MODULE_BYTES, PATH_BYTES, RATIO, UNPACKED_BYTES};
pub use keys::{BundleKey, BundleKeys, BundleSigner};
pub use manifest::{Manifest, Metadata, WasmModule};
pub use revision::{Accepted, Revision};
pub use signature::BundleSignature;
pub use verification::{Trust, Verification};

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
/// The manifest of a bundle.
const MANIFEST: &str = ".manifest";
/// The signature of a bundle.
pub const SIGNATURES: &str = ".signatures.json";

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
        let mut files = Vec::new();
        let mut module = None;
        for (path, place) in files_of(directory)? {
            if path == MODULE {
                module = Some(read_file(&place, &path)?);
            } else if is_part(&path) {
                let text = String::from_utf8(read_file(&place, &path)?);
                let text = text.map_err(|_| DecideError::unusable(format!("{}: not UTF-8", place.display())))?;
                files.push(BundleFile { path, text });
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
        let mut values = canonical::VALUES;
        for file in files {
            let mut plain = || {
                canonical::canonical(&file.text, &mut values)
                    .map_err(|wrong| DecideError::unusable(format!("{}:{}: {}", file.path, wrong.line, wrong.why)))
            };
            if file.path.starts_with("cases/") {
                plain()?;
                cases.push(file);
                continue;
            }
            let read = (file.path == MANIFEST).then(|| plain().and_then(|_| parse::<Manifest>(&file))).transpose()?;
            // Whatever its spacing, as signatures see it; a manifest without the list of compiled modules.
            let content = match &read {
                Some(manifest) => &serde_json::to_vec(&Manifest { wasm: Vec::new(), ..manifest.clone() })
                    .map_err(|error| DecideError::unusable(error.to_string()))?,
                None if file.path.ends_with(".rego") => file.text.as_bytes(),
                None => &plain()?,
            };
            // Lengths first, so that no two bundles hash alike by moving bytes between a path and a content.
            for part in [file.path.as_bytes(), content] {
                hasher.update(&(part.len() as u64).to_be_bytes());
                hasher.update(part);
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
        let data = Value::Object(data);
        manifest.check(&data)?;
        let Manifest { revision, metadata, .. } = &manifest;
        Ok(Self {
            identity: PolicyIdentity::new(metadata.id.clone(), revision.clone(), hasher.finish()),
            manifest,
            sources,
            data,
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
    path == MANIFEST
        || (path.ends_with(".rego") && !path.ends_with("_test.rego"))
        || name == "data.json"
        || (path.starts_with("cases/") && path.ends_with(".json"))
}

/// The files below a directory, with their paths inside it.
fn files_of(directory: &Path) -> Result<Vec<(String, PathBuf)>, DecideError> {
    let mut paths = Vec::new();
    collect(directory, &mut paths)?;
    let inside = |path: &Path| path.strip_prefix(directory).unwrap_or(path).to_string_lossy().replace('\\', "/");
    Ok(paths.into_iter().map(|path| (inside(&path), path)).collect())
}

/// Reads the file at `place` that is `path` inside its bundle, if it is not too large.
fn read_file(place: &Path, path: &str) -> Result<Vec<u8>, DecideError> {
    let most = if path == MODULE { MODULE_BYTES as u64 } else { FILE_BYTES };
    let bytes = read_up_to(place, most + 1)?;
    if bytes.len() as u64 > most {
        let why = format!("{}: more than {most} bytes, the most of such a file: ship less data", place.display());
        return Err(DecideError::unusable(why));
    }
    Ok(bytes)
}

/// The beginning of a file.
fn read_up_to(place: &Path, most: u64) -> Result<Vec<u8>, DecideError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(place).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|error| DecideError::unusable(format!("{}: {error}", place.display())))?;
    Ok(bytes)
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
