//! Sekisho itself: the real release binary with the built-in policy, one dataset, one partner and one worker.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::identity::{CONSUMER, PROVIDER};
use crate::peer::{Cores, Peer, free_address};

/// Starts the gateway in `directory`, where the certificates are, in front of `upstream`. Its record goes to the same
/// directory: what a durable log costs depends on the disk beneath it.
pub async fn start(directory: &Path, upstream: SocketAddr, cores: Cores) -> anyhow::Result<Peer> {
    let address = free_address()?;
    let file = directory.join("sekisho.toml");
    fs::write(&file, configuration(address, upstream))?;
    let mut command = cores.command(Path::new(env!("CARGO_BIN_EXE_sekisho")));
    command.args(["serve", "--config"]).arg(&file);
    // The caller's overrides would point the gateway at somebody else's listeners or record.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SEKISHO_") {
            command.env_remove(name);
        }
    }
    Peer::start("sekisho", command, address, directory).await
}

fn configuration(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        r#"[party]
id = "{PROVIDER}"
country = "JP"
type = "company"
membership = "active"
framework = "IAP-FA:1.0"

[listen]
partner = "{address}"

[tls]
certificate = "server.pem"
key = "server.key"

[passes]
key = "pass.key"

[record]
directory = "log"
key = "log.key"

[state]
directory = "state"

[limits]
workers = 1

[[dataset]]
id = "bench"
title = "What the benchmark moves"
origin = "JP"
licence = "CC0-1.0"
purposes = ["dpv:ScientificResearch"]
tags = ["privacy:none", "ip:open", "security:tlp-clear"]
upstream = "http://{upstream}/bench"

[[partner]]
id = "{CONSUMER}"
anchors = "client-ca.pem"
jwks = "client-jwks.json"
country = "GB"
type = "academia"
membership = "active"
framework = "IAP-FA:1.0"
"#
    )
}
