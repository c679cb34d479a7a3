//! `sekisho log verify`: a log, a part of one or one entry, checked by somebody who trusts none of them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

use super::prove::beside as entry_beside;
use super::remote::{self, TlsOptions};
use crate::record::proof::consistency;
use crate::record::tiles::TileReader;
use crate::record::verify::{
    self as checks, Beside, MOST_POLICY, MOST_PROOF_FILE, Other, Parties, Policy, Report, Source, TimestampAnchors,
    is_cose, is_proof_file, verify_cose, verify_log, verify_proof_file, verify_with,
};
use crate::shell::cli::Verdict;
use crate::shell::cli::progress::Progress;

/// The largest key set of a party.
const MOST_JWKS: u64 = 1024 * 1024;
/// The largest file of authorities' certificates.
const MOST_ANCHORS: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct Options {
    /// A log's directory or address, an exported bundle, a proof file or a COSE receipt
    what: String,
    /// The key that the log must be signed with: a verifier key, or a file that holds one
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The witnesses to believe, and how many of them it takes (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// PEM certificates of the time-stamping authorities to believe (RFC 3161); for a log's directory
    #[arg(long, value_name = "FILE")]
    tsa_anchors: Option<PathBuf>,
    /// A party's public keys, to tell whose signatures the entries keep; may be given several times
    #[arg(long = "party", value_name = "PARTY=JWKS_FILE")]
    parties: Vec<String>,
    /// Another organisation's log or bundle, which must tell the same; may be given several times
    #[arg(long = "with", value_name = "LOG")]
    with: Vec<String>,
    /// The key of the other log, in the order of --with
    #[arg(long = "with-key", value_name = "KEY")]
    with_keys: Vec<String>,
    /// Leave out the entries' signatures
    #[arg(long)]
    without_signatures: bool,
    #[command(flatten)]
    tls: TlsOptions,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What is to be verified.
enum What {
    Log(Box<dyn Source>),
    Bundle(String, BufReader<File>),
    Proof(String, Vec<u8>),
    /// A COSE receipt, and the entry that lies beside it.
    Cose(String, Vec<u8>, Vec<u8>),
}

pub(in crate::shell::cli) fn verify(options: &Options) -> Result<Verdict> {
    let policy = match &options.policy {
        None => None,
        Some(path) => {
            let file = read_file(path, MOST_POLICY)?;
            Some(Policy::parse(&file).with_context(|| path.display().to_string())?)
        }
    };
    let mut parties = Parties::default();
    for given in &options.parties {
        let (party, path) = given.split_once('=').context("--party takes PARTY=JWKS_FILE")?;
        let file = read_file(Path::new(path), MOST_JWKS)?;
        if let Err(what) = parties.add(party, &file) {
            bail!("{path}: {what}");
        }
    }
    let mut progress = Progress::new("verifying", options.json);
    let report = judge(options, policy.as_ref(), &parties, |done, total| progress.show(done, total));
    drop(progress);
    let report = report.with_context(|| format!("verifying {}", options.what))?;
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.render());
    }
    Ok(if report.verified { Verdict::Yes } else { Verdict::No })
}

fn judge(
    options: &Options,
    policy: Option<&Policy>,
    parties: &Parties,
    progress: impl FnMut(u64, u64),
) -> Result<Report> {
    let what = open(&options.what, &options.tls)?;
    let mut others = Vec::new();
    for place in &options.with {
        others.push(open(place, &options.tls)?);
    }
    let anchors = options.tsa_anchors.as_deref().map(timestamp_anchors).transpose()?;
    if anchors.is_some() && !matches!(what, What::Log(_)) {
        bail!("--tsa-anchors is for a log: a bundle or a proof holds no timestamps");
    }
    let checked = checks::Options {
        key: options.key.as_deref(),
        policy,
        timestamp_anchors: anchors.as_ref(),
        parties: Some(parties),
        signatures: !options.without_signatures,
        ..checks::Options::default()
    };
    match what {
        What::Proof(name, file) if others.is_empty() => Ok(verify_proof_file(&name, &file, &checked)?),
        What::Cose(name, file, entry) if others.is_empty() => Ok(verify_cose(&name, &file, &entry, &checked)?),
        What::Proof(..) | What::Cose(..) => bail!("a proof is about one entry: there is nothing to compare"),
        What::Log(log) => {
            let prove = prover(&*log);
            let checked = checks::Options { prove: Some(&prove), ..checked };
            if others.is_empty() {
                return Ok(verify_log(&*log, &checked, progress)?);
            }
            beside(&mut Other::Log(&*log), &checked, &mut others, options, progress)
        }
        What::Bundle(name, mut file) => {
            if others.is_empty() {
                return Ok(checks::verify_bundle(&name, &mut file, &checked, progress)?);
            }
            beside(&mut Other::Bundle(name, &mut file), &checked, &mut others, options, progress)
        }
    }
}

fn beside(
    first: &mut Other<'_>,
    checked: &checks::Options<'_>,
    others: &mut [What],
    options: &Options,
    progress: impl FnMut(u64, u64),
) -> Result<Report> {
    let (mut logs, mut provers) = (Vec::new(), Vec::new());
    for other in others {
        let (log, prover) = match other {
            What::Log(log) => (Other::Log(&**log), Some(prover(&**log))),
            What::Bundle(name, file) => (Other::Bundle(name.clone(), file as &mut dyn BufRead), None),
            What::Proof(..) | What::Cose(..) => bail!("a proof is about one entry: there is nothing to compare"),
        };
        logs.push(log);
        provers.push(prover);
    }
    let keys = options.with_keys.iter().map(|key| Some(key.as_str())).chain(std::iter::repeat(None));
    let with = logs.into_iter().zip(keys).zip(&provers);
    let mut with: Vec<_> = with.map(|((log, key), prover)| Beside { log, key, prove: prover.as_deref() }).collect();
    Ok(verify_with(first, checked, &mut with, progress)?)
}

/// Makes proofs of a log's tiles.
type Prover<'a> = Box<dyn Fn(u64, u64) -> std::io::Result<Vec<[u8; 32]>> + 'a>;

fn prover(log: &dyn Source) -> Prover<'_> {
    let source = TileReader::new(Borrowed(log));
    Box::new(move |old, new| consistency(old, new, |level, index| source.node(level, index, new)))
}

/// Opens what was named: an address and a directory are logs, a file says itself what it is.
fn open(place: &str, tls: &TlsOptions) -> Result<What> {
    if remote::is_address(place) || !Path::new(place).is_file() {
        return Ok(What::Log(remote::open(place, tls)?));
    }
    let mut file = BufReader::new(File::open(place).with_context(|| place.to_owned())?);
    if is_cose(file.fill_buf().with_context(|| place.to_owned())?) {
        let entry = read_file(&entry_beside(Path::new(place)), MOST_PROOF_FILE)?;
        return Ok(What::Cose(place.to_owned(), read_file(Path::new(place), MOST_PROOF_FILE)?, entry));
    }
    if is_proof_file(file.fill_buf().with_context(|| place.to_owned())?) {
        return Ok(What::Proof(place.to_owned(), read_file(Path::new(place), MOST_PROOF_FILE)?));
    }
    Ok(What::Bundle(place.to_owned(), file))
}

fn timestamp_anchors(path: &Path) -> Result<TimestampAnchors> {
    TimestampAnchors::parse(&read_file(path, MOST_ANCHORS)?).map_err(|what| anyhow!("{} {what}", path.display()))
}

/// A file of at most so many bytes.
pub(super) fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| path.display().to_string())?;
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        bail!("{} has more than {most} bytes", path.display());
    }
    Ok(bytes)
}

/// A source that is read through a reference.
pub(super) struct Borrowed<'a>(pub(super) &'a dyn Source);

impl crate::record::tiles::TileSource for Borrowed<'_> {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        self.0.read(path)
    }
}
