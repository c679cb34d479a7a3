//! `sekisho policy sign` and `verify`: who vouches for a bundle, in OPA's format.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use crate::decide::{Archive, Bundle, BundleKey, BundleKeys, BundleSignature, BundleSigner, DecideError, Revision};
use crate::shell::cli::Verdict;
use crate::shell::cli::person::secret;
use crate::types::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct SignOptions {
    /// Archive, as `policy build` writes it; it gets the signature
    #[arg(value_name = "FILE")]
    archive: PathBuf,
    /// Private key (PEM): Ed25519, P-256 or P-384, such as `openssl genpkey -algorithm ed25519` makes
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// The key id that the signature names; OPA calls its only key so
    #[arg(long, value_name = "ID", default_value = "default")]
    key_id: String,
    /// How long the signature holds, such as 90d or 12h; for ever when absent
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// Print what was signed as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in crate::shell::cli) struct VerifyOptions {
    /// Archive
    #[arg(value_name = "FILE")]
    archive: PathBuf,
    /// Public key (PEM) of whoever must have signed it, such as `openssl pkey -in KEY.pem -pubout` writes
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// The key id that the signature must name; any when absent
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// The key's algorithm, for an RSA key that is not for RS256
    #[arg(long, value_name = "NAME")]
    algorithm: Option<String>,
    /// The scope that the signature must be for; none when absent
    #[arg(long, value_name = "SCOPE", default_value = "")]
    scope: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn sign(options: &SignOptions) -> Result<Verdict> {
    let key = String::from_utf8_lossy(&secret(&options.key)?).into_owned();
    let signer = BundleSigner::new(options.key_id.clone(), &key).with_context(|| options.key.display().to_string())?;
    let done = open(&options.archive)?.and_then(|archive| {
        // Nobody vouches for what no gateway would take.
        let bundle = Bundle::from_archive(&archive)?;
        Revision::parse(&bundle.identity().revision)?;
        let packed = archive.sign(&signer, SystemClock.now(), options.expires)?.pack()?;
        Ok((bundle, packed))
    });
    let (bundle, packed) = match done {
        Ok(done) => done,
        Err(error) => return Ok(refuse("signed", &options.archive, &error, options.json)),
    };
    super::replace(&options.archive, &packed)?;
    let file = options.archive.display().to_string();
    let (identity, algorithm) = (bundle.identity(), signer.algorithm());
    if options.json {
        println!("{}", json!({ "file": file, "policy": identity, "key_id": options.key_id, "algorithm": algorithm }));
    } else {
        println!("{file}");
        eprintln!(
            "{} {} {}: signed with {algorithm} as {}",
            identity.id, identity.revision, identity.digest, options.key_id
        );
    }
    Ok(Verdict::Yes)
}

pub(super) fn verify(options: &VerifyOptions) -> Result<Verdict> {
    let key = BundleKey::new(options.key_id.clone(), &read_key(&options.key)?, options.algorithm.as_deref())
        .with_context(|| options.key.display().to_string())?;
    let keys = BundleKeys::new(vec![key.with_scope(options.scope.clone())])?;
    let checked = open(&options.archive)?.and_then(|archive| check(&archive, &keys));
    match checked {
        Ok((bundle, signature)) => {
            let identity = bundle.identity();
            if options.json {
                println!("{}", json!({ "verified": true, "policy": identity, "signature": signature }));
            } else {
                let named = signature.key_id.as_deref().unwrap_or("a key without an id");
                let expires = signature.expires.map_or_else(|| "never".to_owned(), |at| at.to_string());
                println!(
                    "{} {} {}: signed with {} as {named}, expires {expires}",
                    identity.id, identity.revision, identity.digest, signature.algorithm
                );
            }
            Ok(Verdict::Yes)
        }
        Err(error) => Ok(refuse("verified", &options.archive, &error, options.json)),
    }
}

/// The archive in a file, or why it is none; a file that is not there is neither.
fn open(path: &Path) -> Result<Result<Archive, DecideError>> {
    if !path.is_file() {
        bail!("{} is no file: name an archive, as `sekisho policy build` writes one", path.display());
    }
    Ok(Archive::open(path))
}

/// What a gateway asks of an archive before it tries the policy, but for what it has accepted before.
fn check(archive: &Archive, keys: &BundleKeys) -> Result<(Bundle, BundleSignature), DecideError> {
    let signature = archive.verify(keys, SystemClock.now())?;
    let bundle = Bundle::from_archive(archive)?;
    Revision::parse(&bundle.identity().revision)?;
    Ok((bundle, signature))
}

/// Says why an archive is refused: that is the result, so it goes to stdout.
fn refuse(what: &str, path: &Path, error: &DecideError, as_json: bool) -> Verdict {
    if as_json {
        println!("{}", json!({ what: false, "code": error.code(), "why": error.to_string() }));
    } else {
        println!("{}: {}: {error}", path.display(), error.code());
    }
    Verdict::No
}

fn read_key(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// A time such as `90d`, `12h` or `30m`.
fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || "give a whole number above 0 with its unit: d, h or m, such as 90d".to_owned();
    let unit = text.char_indices().next_back().map_or(0, |(place, _)| place);
    let seconds = match &text[unit..] {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        _ => return Err(wrong()),
    };
    let number = text[..unit].parse::<u64>().ok().filter(|number| *number > 0);
    number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_whole_and_have_a_unit() {
        assert_eq!(lifetime("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(lifetime("12h"), Ok(Duration::from_secs(12 * 3600)));
        assert_eq!(lifetime("30m"), Ok(Duration::from_secs(1800)));
        for text in
            ["", "d", "0d", "-1d", "1.5d", "90", "90s", "90日", "999999999999999999999d", "18446744073709551615d"]
        {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
