//! One of our own people at the admin listener of a running gateway.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::shell::client::{Credentials, Reply, mutual_tls};
use crate::shell::config::read_secret;

/// Where a running gateway's admin listener is, and who asks.
#[derive(Debug, Args)]
pub(super) struct AdminOptions {
    /// The admin listener of the running gateway, host:port
    #[arg(long, value_name = "ADDRESS", requires_all = ["certificate", "key_file", "anchors"])]
    pub(super) admin: Option<String>,
    /// Your certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "admin")]
    certificate: Option<PathBuf>,
    /// Its private key (PEM, for you alone to read)
    #[arg(long, value_name = "FILE", requires = "admin")]
    key_file: Option<PathBuf>,
    /// The authorities that vouch for the gateway (PEM)
    #[arg(long, value_name = "FILE", requires = "admin")]
    anchors: Option<PathBuf>,
}

impl AdminOptions {
    /// Posts a document to the gateway and gives its answer; `None` when no gateway was named.
    pub(super) fn post(&self, path: &str, document: &Value) -> Result<Option<Value>> {
        let (Some(admin), Some(certificate), Some(key), Some(anchors)) =
            (&self.admin, &self.certificate, &self.key_file, &self.anchors)
        else {
            return Ok(None);
        };
        let credentials = Credentials::read(&read(certificate)?, &secret(key)?, &read(anchors)?)?;
        let reply = post(admin, path, &credentials, document.to_string())?;
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|_| json!({}));
        if !reply.status.is_success() {
            let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("-");
            return Err(anyhow!("the gateway answers {} {}: {}", reply.status.as_u16(), text("code"), text("detail")));
        }
        Ok(Some(answer))
    }
}

/// One request to an admin listener.
pub(super) fn post(admin: &str, path: &str, credentials: &Credentials, body: String) -> Result<Reply> {
    let name = admin.rsplit_once(':').map_or(admin, |(host, _)| host).trim_matches(['[', ']']);
    let request = Request::post(path).header(header::HOST, admin);
    let request = request.body(Full::new(Bytes::from(body))).context("the address is none")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(mutual_tls(admin, name, credentials, request))
}

/// A file's bytes.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// A private key's bytes; refused where group or others may open it, too.
pub(super) fn secret(path: &Path) -> Result<Vec<u8>> {
    read_secret(path).map_err(|wrong| anyhow!("{} {wrong}", path.display()))
}
