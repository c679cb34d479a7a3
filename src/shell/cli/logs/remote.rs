//! A log that is read over HTTP: from a partner's gateway over mutual TLS, or from any server that has a copy of its files.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;

use crate::record::tiles::{BundleId, FULL, HASH, TileId, TileSource, bundle_bytes};
use crate::record::verify::{Directory, Source};
use crate::shell::cli::person::{read, secret};
use crate::shell::client::{self, Credentials, Reply};

/// Who reads a log over TLS, and whom it believes.
#[derive(Debug, Args)]
pub(super) struct TlsOptions {
    /// Our certificate, for a log at an https:// address
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The certificate's private key
    #[arg(long = "key-file", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The anchors of the server's certificate
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
}

/// The log at a place: an address or a directory.
pub(super) fn open(place: &str, tls: &TlsOptions) -> Result<Box<dyn Source>> {
    if !is_address(place) {
        return Ok(Box::new(Directory::new(Path::new(place))));
    }
    let address: Uri = place.trim_end_matches('/').parse().with_context(|| format!("{place} is no address"))?;
    let host = address.host().context("the address names no host")?.to_owned();
    let secure = address.scheme_str() == Some("https");
    let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let credentials = match (secure, &tls.certificate, &tls.key_file, &tls.anchors) {
        (false, ..) => None,
        (true, Some(certificate), Some(key), Some(anchors)) => {
            Some(Credentials::read(&read(certificate)?, &secret(key)?, &read(anchors)?)?)
        }
        _ => bail!("an https:// address takes --certificate, --key-file and --anchors"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(Box::new(Remote {
        place: place.to_owned(),
        dialled: format!("{host}:{port}"),
        name: host.trim_matches(['[', ']']).to_owned(),
        prefix: address.path().trim_end_matches('/').to_owned(),
        credentials,
        runtime: std::sync::Mutex::new(runtime),
    }))
}

/// Whether a place is an address.
pub(super) fn is_address(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// A file for the owner alone that nobody finds, and that is gone when it is closed.
fn nameless() -> io::Result<File> {
    let mut name = [0; 16];
    aws_lc_rs::rand::fill(&mut name).map_err(|_| io::Error::other("no random bytes"))?;
    let path = std::env::temp_dir().join(format!("sekisho-{:032x}", u128::from_be_bytes(name)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

struct Remote {
    place: String,
    dialled: String,
    name: String,
    prefix: String,
    credentials: Option<Credentials>,
    runtime: std::sync::Mutex<tokio::runtime::Runtime>,
}

impl Remote {
    fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        let reply = self.ask(path, None)?;
        if reply.bytes == reply.body.len() as u64 {
            return Ok(reply.body);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} has {} bytes, too many", reply.bytes)))
    }

    /// The answer to a request for a path; the body goes into the file, if there is one.
    fn ask(&self, path: &str, file: Option<&mut File>) -> io::Result<Reply> {
        let authority = &self.dialled;
        let request = Request::get(format!("{}/{path}", self.prefix))
            .header(http::header::HOST, authority)
            .body(Full::new(Bytes::new()))
            .map_err(io::Error::other)?;
        let runtime = self.runtime.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let reply = runtime.block_on(async {
            let tls = self.credentials.as_ref().map(|credentials| (self.name.as_str(), credentials));
            match (file, tls) {
                (Some(file), tls) => client::into_file(&self.dialled, tls, request, file).await,
                (None, None) => client::plain(&self.dialled, request).await,
                (None, Some((name, credentials))) => {
                    client::mutual_tls(&self.dialled, name, credentials, request).await
                }
            }
        });
        let reply = reply.map_err(|error| io::Error::other(format!("{error:#}")))?;
        let error = |kind, what: String| Err(io::Error::new(kind, what));
        match reply.status {
            StatusCode::OK => Ok(reply),
            StatusCode::NOT_FOUND => error(io::ErrorKind::NotFound, format!("{path} is not there")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let code = reply.code().unwrap_or_default();
                error(io::ErrorKind::PermissionDenied, format!("{path} is not for us {code}"))
            }
            status => error(io::ErrorKind::Other, format!("{path} was answered {status}")),
        }
    }
}

impl TileSource for Remote {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let got = self.get(path);
        if !matches!(&got, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return got;
        }
        // A copy of the files may have the full one already.
        let cut = || io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not what its name says"));
        if let Some(tile) = TileId::parse(path).filter(|tile| tile.width < FULL) {
            let mut full = self.get(&TileId { width: FULL, ..tile }.path())?;
            full.truncate(usize::from(tile.width) * HASH);
            Ok(full)
        } else if let Some(bundle) = BundleId::parse(path).filter(|bundle| bundle.width < FULL) {
            let mut full = self.get(&BundleId { width: FULL, ..bundle }.path())?;
            full.truncate(bundle_bytes(&full, bundle.width).ok_or_else(cut)?);
            Ok(full)
        } else {
            got
        }
    }
}

impl Source for Remote {
    fn name(&self) -> String {
        self.place.clone()
    }

    fn whole(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let bytes = self.get(path)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} has more than {most} bytes")));
        }
        Ok(bytes)
    }

    fn lines(&self, path: &str) -> io::Result<Box<dyn BufRead + '_>> {
        // A busy day's checkpoints are more than memory should hold, and are read more slowly than a server waits.
        let mut file = nameless()?;
        self.ask(path, Some(&mut file))?;
        file.rewind()?;
        Ok(Box::new(BufReader::new(file)))
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}
