//! `sekisho log rotate-key`: the log gets a new key, and stays one log.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use crate::record::{FileKey, LogConfig, Signer, SigningKey as _, rotate_key};
use crate::shell::assemble;
use crate::shell::cli::Verdict;
use crate::shell::cli::person::secret;
use crate::types::SystemClock;

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct Options {
    /// Configuration file (TOML), which names the key that the log has now; the gateway must not run
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The new key: Ed25519 PKCS#8 PEM, mode 0600, such as `openssl genpkey -algorithm ed25519` makes
    #[arg(long, value_name = "FILE")]
    new_key: PathBuf,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn rotate(options: &Options) -> Result<Verdict> {
    let resolved = assemble::load(&options.config)?;
    let new = Signer::from_pkcs8(&secret(&options.new_key)?).with_context(|| options.new_key.display().to_string())?;
    let old = Signer::from_pkcs8(resolved.record_key.expose()).context("record.key")?;
    let passes = FileKey::from_pkcs8(resolved.pass_key.expose()).context("passes.key")?;
    let witness = resolved.witness_key.as_ref().map(|key| FileKey::from_pkcs8(key.expose())).transpose();
    let witness = witness.context("witness.key")?;
    if old.public_key() == new.public_key() {
        bail!("{} is the key that the configuration names already", options.new_key.display());
    }
    let elsewhere = [Some(&passes), witness.as_ref()].into_iter().flatten();
    if elsewhere.into_iter().any(|other| other.public_key() == new.public_key()) {
        bail!("{} signs something else already: make a key of its own for the log", options.new_key.display());
    }
    let config = LogConfig::new(&resolved.record_directory, resolved.config.record.origin.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rotated = runtime.block_on(rotate_key(config, old, new, Arc::new(SystemClock)));
    let rotated = rotated.context("handing the log over")?;
    let place = resolved.config.record.key.place();
    if options.json {
        println!("{}", json!({ "rotated": rotated, "configuration": place }));
    } else {
        match rotated.entry {
            Some(entry) => println!("entry {entry} hands the log over to {}", rotated.key),
            None => println!("the log was handed over to {} before", rotated.key),
        }
        println!("now: {place}: [record] key = the name of the new file, and start the gateway");
        println!("then: send partners the new key, for log_key beside the old one, which they keep");
    }
    Ok(Verdict::Yes)
}
