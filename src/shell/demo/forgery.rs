//! What an outsider sees of a log that was tampered with: by somebody who can write to the disk, and by its own operator,
//! who has the key and tells the whole history anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::cast::{KANSAI, Party};
use super::stage::Stage;
use crate::record::{COSIGNED, Entries, Entry, Log, LogConfig, Means, Signer};
use crate::types::{ExchangeId, SystemClock};

/// The exchange that the operator would rather not have had.
const UNWANTED: &str = "litho-process";

/// A log that is not what it was, and what a verifier says of it.
pub(super) struct Forgery {
    /// What was done.
    pub(super) title: &'static str,
    /// What the verifier found; nothing when it noticed nothing.
    pub(super) findings: Vec<String>,
}

/// Makes two copies of a log that are lies, and lets an outsider verify each.
pub(super) async fn forge(stage: &Stage) -> Result<Vec<Forgery>> {
    let changed = stage.directory().join("forgeries").join("changed");
    change(&stage.log(&KANSAI), &changed).context("changing a copy of a log")?;
    let retold = stage.directory().join("forgeries").join("retold");
    retell(stage, &KANSAI, &retold).await.context("telling a log anew")?;
    [
        ("somebody changes one byte of an entry on the disk", changed),
        ("the operator leaves the trade secret out and signs everything anew with the log's own key", retold),
    ]
    .into_iter()
    .map(|(title, directory)| {
        let report = stage.judge(&KANSAI, &directory, &[])?;
        let findings = report.get("findings").and_then(Value::as_array).into_iter().flatten();
        let told = |finding: &Value| {
            let word = |name: &str| finding.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            format!("{}: {}", word("check"), word("what"))
        };
        Ok(Forgery { title, findings: findings.map(told).collect() })
    })
    .collect()
}

/// A copy with another bit somewhere in the first entries.
fn change(log: &Path, copy: &Path) -> Result<()> {
    copy_all(log, copy)?;
    let bundle = first_file(&copy.join("tile").join("entries"))?.context("the log has no entries")?;
    let mut bytes = fs::read(&bundle)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the entries are empty")? ^= 1;
    fs::write(&bundle, bytes)?;
    Ok(())
}

/// The same history without one exchange, under the same name and key, beside the cosignatures of the true one.
async fn retell(stage: &Stage, party: &Party, copy: &Path) -> Result<()> {
    let original = stage.log(party);
    let signer = Signer::from_pkcs8(stage.identity(party).log_key_pem.as_bytes())?;
    let origin = format!("{}/log", party.id);
    let log = Log::open(LogConfig::new(copy, origin), signer, Arc::new(SystemClock))?;
    let entries = Entries::open(&original)?.collect::<Result<Vec<_>, _>>()?;
    let word = |payload: &Value, name: &str| payload.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let unwanted = entries
        .iter()
        .rev()
        .find(|entry| word(&entry.payload, "dataset") == UNWANTED && word(&entry.payload, "decision") == "permit");
    let unwanted = word(&unwanted.context("there was no such exchange")?.payload, "exchange");
    for entry in entries.into_iter().filter(|entry| word(&entry.payload, "exchange") != unwanted) {
        log.append(log.seal(&Retold(entry.payload))?).await?;
    }
    log.close().await?;
    copy_all(&original.join(COSIGNED), &copy.join(COSIGNED))
}

/// An entry of the true log as the forger signs it again.
struct Retold(Value);

impl Serialize for Retold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Entry for Retold {
    fn means(&self) -> Means {
        let word = |name: &str| self.0.get(name).and_then(Value::as_str);
        let exchange = word("exchange").and_then(|id| id.parse::<ExchangeId>().ok());
        match (word("kind"), word("decision"), exchange) {
            (Some("decision"), Some("permit"), Some(exchange)) => Means::Opens(exchange),
            (Some("outcome"), _, Some(exchange)) => Means::Ends(exchange),
            _ => Means::Neither,
        }
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The first file of a directory, however deep.
fn first_file(directory: &Path) -> Result<Option<PathBuf>> {
    let mut entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        if !path.is_dir() {
            return Ok(Some(path));
        }
        if let Some(found) = first_file(&path)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
