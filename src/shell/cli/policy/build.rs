//! `sekisho policy build`: a bundle for both engines, out of a directory and with OPA as the compiler.
//!
//! `opa build -t wasm` takes the entrypoint out of the Rego that it packs. So only its module is used here, and the
//! sources go into the archive as they are: what a regulator reads is what was compiled.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::decide::{Archive, Bundle, DecideError, MODULE};
use crate::shell::cli::Verdict;
use crate::types::Digest;

/// How to come by the compiler, at the release that the project is tested with.
const INSTALL: &str = "install it with `go install github.com/open-policy-agent/opa@v1.10.1`, or name it with --opa";
/// The manifest of a bundle.
const MANIFEST: &str = ".manifest";

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct Options {
    /// Policy directory
    #[arg(value_name = "DIR")]
    policy: PathBuf,
    /// Archive to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The compiler
    #[arg(long, value_name = "PATH", default_value = "opa")]
    opa: PathBuf,
    /// Print what was built as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<Verdict> {
    let sources =
        match Bundle::read(&options.policy).and_then(|bundle| Ok((bundle, Archive::of_directory(&options.policy)?))) {
            Ok(sources) => sources,
            Err(error) => return Ok(refuse(&error)),
        };
    let (bundle, directory) = sources;
    let module = match compile(&bundle, &directory, &options.opa)? {
        Ok(module) => module,
        Err(findings) => {
            eprintln!("sekisho: opa does not compile the policy:\n{findings}");
            return Ok(Verdict::No);
        }
    };
    let size = module.len();
    let packed = match assemble(&bundle, directory, module) {
        Ok(packed) => packed,
        Err(error) => return Ok(refuse(&error)),
    };
    super::replace(&options.out, &packed)?;
    let identity = bundle.identity();
    if options.json {
        let (file, digest) = (options.out.display().to_string(), Digest::of(&packed));
        println!(
            "{}",
            json!({ "file": file, "bytes": packed.len(), "sha256": digest.hex(), "module_bytes": size, "policy": identity })
        );
    } else {
        println!("{}", options.out.display());
        eprintln!("{} {} {}: {} bytes, not signed yet", identity.id, identity.revision, identity.digest, packed.len());
    }
    Ok(Verdict::Yes)
}

/// Says why a policy is refused.
fn refuse(error: &DecideError) -> Verdict {
    eprintln!("sekisho: {}: {error}", error.code());
    Verdict::No
}

/// The policy's module, or what OPA finds wrong with its sources.
fn compile(bundle: &Bundle, directory: &Archive, opa: &Path) -> Result<Result<Vec<u8>, String>> {
    let version = opa_command(opa, Path::new("."), &["version"])?;
    if !String::from_utf8_lossy(&version.stdout).contains("Rego Version: v1") {
        bail!("{} is no opa that speaks Rego v1: {INSTALL}", opa.display());
    }
    let scratch = Scratch::new()?;
    let policy = scratch.0.join("policy");
    // Exactly what the gateway reads, so that nothing else gets into the module.
    let took_part = |path: &str| {
        let data = path == "data.json" || path.ends_with("/data.json");
        path == MANIFEST || data || bundle.sources().iter().any(|source| source.path == path)
    };
    for (path, content) in directory.files().filter(|(path, _)| took_part(path)) {
        // The archive's rules for paths hold here: none leads out of the directory.
        let place = policy.join(path);
        let parent = place.parent().unwrap_or(&policy);
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let content = if path == MANIFEST { manifest(content, None)? } else { content.to_vec() };
        std::fs::write(&place, content).with_context(|| format!("writing {}", place.display()))?;
    }
    let built = opa_command(
        opa,
        &scratch.0,
        &[
            "build",
            "--target",
            "wasm",
            "--entrypoint",
            bundle.entrypoint(),
            "--output",
            "bundle.tar.gz",
            "--bundle",
            "policy",
        ],
    )?;
    if !built.status.success() {
        let said = [built.stderr, built.stdout].concat();
        return Ok(Err(String::from_utf8_lossy(&said).trim().to_owned()));
    }
    let archive = Archive::open(&scratch.0.join("bundle.tar.gz")).context("what opa built")?;
    match archive.file(MODULE) {
        Some(module) => Ok(Ok(module.to_vec())),
        None => bail!("opa built a bundle without {MODULE}"),
    }
}

fn opa_command(opa: &Path, directory: &Path, arguments: &[&str]) -> Result<Output> {
    match Command::new(opa).args(arguments).current_dir(directory).output() {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("there is no {}, which compiles policies: {INSTALL}", opa.display())
        }
        Err(error) => Err(error).with_context(|| format!("running {}: {INSTALL}", opa.display())),
    }
}

/// The directory's files with the module and a manifest that lists it.
fn assemble(bundle: &Bundle, mut archive: Archive, module: Vec<u8>) -> Result<Vec<u8>, DecideError> {
    archive.insert(MODULE, module)?;
    let listed = json!([{ "entrypoint": bundle.entrypoint(), "module": format!("/{MODULE}") }]);
    let text = archive.file(MANIFEST).unwrap_or_default();
    let text = manifest(text, Some(listed)).map_err(|error| DecideError::unusable(format!("{MANIFEST}: {error}")))?;
    archive.insert(MANIFEST, text)?;
    let packed = archive.pack()?;
    let loaded = Bundle::from_archive(&archive)?;
    if loaded.identity() != bundle.identity() {
        return Err(DecideError::unusable("the archive is not the policy of the directory: it changed meanwhile"));
    }
    Ok(packed)
}

/// A manifest with this list of modules and no other.
fn manifest(text: &[u8], modules: Option<Value>) -> Result<Vec<u8>, serde_json::Error> {
    let mut manifest: serde_json::Map<String, Value> = serde_json::from_slice(text)?;
    manifest.remove("wasm");
    manifest.extend(modules.map(|modules| ("wasm".to_owned(), modules)));
    serde_json::to_vec_pretty(&manifest)
}

/// A directory for one build, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("sekisho-build-{}", ulid::Ulid::generate()));
        // Ours alone; and an error, not somebody else's directory, if the name is taken.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is a copy of the policy and does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
