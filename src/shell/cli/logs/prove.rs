//! `sekisho log prove`: a file that proves one record to somebody who has nothing else of the log.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use super::remote::{self, TlsOptions};
use crate::record::extract::{Extract, provenance};
use crate::record::{FileKey, SigningKey};
use crate::shell::cli::Verdict;
use crate::shell::cli::person::secret;
use crate::types::ExchangeId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// C2SP tlog-proof, with the entry in it
    TlogProof,
    /// COSE receipt of inclusion (RFC 9942), with the entry beside it in FILE.jws
    Cose,
    /// W3C PROV-JSON of the whole exchange
    Prov,
}

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct Options {
    /// The log's directory or address
    log: String,
    /// The entry
    #[arg(required_unless_present = "exchange", conflicts_with = "exchange")]
    index: Option<u64>,
    /// An exchange, whose last entry is proven
    #[arg(long, value_name = "ID")]
    exchange: Option<ExchangeId>,
    /// What is written
    #[arg(long, value_enum, default_value = "tlog-proof")]
    format: Format,
    /// Where it is written; standard output when absent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The log's private key, which signs a COSE receipt
    #[arg(long, value_name = "FILE")]
    log_key: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsOptions,
}

pub(in crate::shell::cli) fn prove(options: &Options) -> Result<Verdict> {
    let source = remote::open(&options.log, &options.tls)?;
    let reading = || format!("reading {}", options.log);
    let (entries, index) = match (options.exchange, options.index) {
        (Some(exchange), _) => {
            // All of it that there is, also what no witness has seen yet.
            let entries = Extract::latest(&*source).with_context(reading)?.exchange(exchange)?;
            let index = entries.last().map(|(index, _)| *index).unwrap_or_default();
            (entries, index)
        }
        (None, Some(index)) => (Vec::new(), index),
        (None, None) => bail!("an index or --exchange is missing"),
    };
    let log = Extract::open(&*source, index.saturating_add(1)).with_context(reading)?;
    let text = match options.format {
        Format::TlogProof => log.proof_file(index)?,
        Format::Cose => {
            let (Some(key), Some(out)) = (&options.log_key, &options.out) else {
                bail!("--format cose takes --log-key and --out");
            };
            let key: Arc<dyn SigningKey> = Arc::new(FileKey::from_pkcs8(&secret(key)?)?);
            write(Some(&beside(out)), &log.entry(index)?)?;
            write(Some(out), &log.cose(index, &key)?)?;
            return Ok(Verdict::Yes);
        }
        Format::Prov if entries.is_empty() => bail!("--format prov takes --exchange"),
        Format::Prov => serde_json::to_string_pretty(&provenance(log.origin(), &entries))? + "\n",
    };
    write(options.out.as_deref(), text.as_bytes())?;
    Ok(Verdict::Yes)
}

/// Where the entry of a COSE receipt lies, which does not hold it.
pub(super) fn beside(receipt: &Path) -> PathBuf {
    let mut name = receipt.as_os_str().to_owned();
    name.push(".jws");
    name.into()
}

/// Writes to a file, or to standard output.
fn write(out: Option<&Path>, bytes: &[u8]) -> Result<()> {
    match out {
        Some(path) => std::fs::write(path, bytes).with_context(|| path.display().to_string()),
        None => Ok(std::io::stdout().lock().write_all(bytes)?),
    }
}
