//! Policies of others: a small one, compiled and signed as its author would, and a server that hands out archives.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sekisho::decide::{Archive, BundleKey, BundleKeys, BundleSigner};
use sekisho::shell::certs::Leaf;
use sekisho::types::{Digest, Timestamp};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::START;

/// A policy that denies one dataset and asks for deletion of all others.
#[derive(Clone)]
pub struct SmallPolicy {
    pub id: &'static str,
    pub revision: &'static str,
    /// The dataset that it denies.
    pub stopped: &'static str,
    /// A worked case: the decision that it expects on a dataset called `stopped`.
    pub expects: &'static str,
}

impl SmallPolicy {
    pub fn new(revision: &'static str, stopped: &'static str) -> Self {
        Self { id: "curfew", revision, stopped, expects: "deny" }
    }

    fn files(&self) -> Vec<(&'static str, String)> {
        let Self { id, revision, stopped, expects } = self;
        let manifest = format!(
            r#"{{"revision": "{revision}", "rego_version": 1, "roots": ["{id}"],
               "wasm": [{{"entrypoint": "{id}/decision", "module": "/policy.wasm"}}],
               "metadata": {{"id": "{id}", "entrypoint": "{id}/decision", "inputs": ["dataset.id"]}}}}"#
        );
        let rego = format!(
            r#"# METADATA
# title: Small policy
# description: Stops one dataset, and asks for the deletion of all others.
package {id}

default stopped := false

# METADATA
# title: Stopped
# description: The dataset that the ministry stopped.
stopped if input.dataset.id == "{stopped}"

# METADATA
# title: Decision
# description: Deny what is stopped, permit the rest for thirty days.
# entrypoint: true
decision := {{
	"decision": "deny",
	"reasons": [{{"rule": "SMALL-1", "effect": "deny", "why": "The dataset is stopped.", "remedy": "Ask the ministry."}}],
	"obligations": [],
}} if {{
	stopped
}}

decision := {{
	"decision": "permit",
	"reasons": [],
	"obligations": [{{"rule": "SMALL-2", "do": "delete_after_days", "days": 30}}],
}} if {{
	not stopped
}}
"#
        );
        let deny = if *expects == "deny" { r#", "deny": ["SMALL-1"]"# } else { "" };
        let cases = format!(
            r#"[{{"id": "SMALL-1", "input": {{"dataset": {{"id": "{stopped}"}}}}, "expect": {{"decision": "{expects}"{deny}}}}}]"#
        );
        vec![(".manifest", manifest), ("small.rego", rego), ("cases/small.json", cases)]
    }

    /// Writes it as a directory of one's own, without a module.
    pub fn write(&self, directory: &Path) {
        for (path, text) in self.files() {
            let place = directory.join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, text).unwrap();
        }
    }

    /// Packs it with its compiled module.
    pub fn archive(&self) -> Archive {
        let mut archive = Archive::default();
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in self.files() {
            if path.ends_with(".rego") {
                std::fs::write(directory.path().join(path), &text).unwrap();
            }
            archive.insert(path, text.into_bytes()).unwrap();
        }
        let built = directory.path().join("bundle.tar.gz");
        let output = Command::new(opa())
            .args(["build", "-t", "wasm", "-e", &format!("{}/decision", self.id), "-o"])
            .arg(&built)
            .arg(directory.path().join("small.rego"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let unpacked = Command::new("tar").arg("-xzOf").arg(&built).arg("/policy.wasm").output().unwrap();
        assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        archive.insert("policy.wasm", unpacked.stdout).unwrap();
        archive
    }

    /// Packed, compiled and signed at the world's start.
    pub fn signed(&self, ministry: &Ministry) -> Bytes {
        ministry.sign(&self.archive())
    }
}

fn opa() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/find-opa.sh");
    let found = Command::new(script).output().unwrap();
    assert!(found.status.success(), "policies are compiled with opa: run scripts/prepare-tests.sh");
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
}

/// Somebody who signs policies.
pub struct Ministry {
    signer: BundleSigner,
    pub public_pem: String,
}

impl Ministry {
    pub fn new(key_id: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let signer = BundleSigner::new(key_id.to_owned(), &pair.serialize_pem()).unwrap();
        Self { signer, public_pem: pair.public_key_pem() }
    }

    /// What others need to check its signatures.
    pub fn keys(&self, key_id: &str) -> BundleKeys {
        BundleKeys::new(vec![BundleKey::new(Some(key_id.to_owned()), &self.public_pem, Some("EdDSA")).unwrap()])
            .unwrap()
    }

    pub fn sign(&self, archive: &Archive) -> Bytes {
        let now = Timestamp::from_seconds(START.seconds() - 60);
        archive.sign(&self.signer, now, None).unwrap().pack().unwrap().into()
    }

    /// Signs for so long from the start of the world.
    pub fn sign_for(&self, archive: &Archive, lifetime: Duration) -> Bytes {
        archive.sign(&self.signer, START, Some(lifetime)).unwrap().pack().unwrap().into()
    }
}

/// What a bundle server does next.
#[derive(Clone)]
pub enum Conduct {
    /// Hands out this archive, under its digest as entity tag.
    Offer(Bytes),
    /// Answers this status, with these headers and this body.
    Answer(StatusCode, HeaderMap, Bytes),
}

/// A bundle server: plain HTTP, or TLS under a certificate of the test's own.
pub struct BundleServer {
    pub address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
    server: JoinHandle<()>,
}

struct Shelf {
    conduct: Conduct,
    /// Status of every answer.
    answered: Vec<StatusCode>,
}

impl BundleServer {
    pub async fn start(archive: Bytes) -> Self {
        Self::serving(archive, None).await
    }

    pub async fn start_tls(archive: Bytes, leaf: &Leaf) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::serving(archive, Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serving(archive: Bytes, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let shelf = Arc::new(Mutex::new(Shelf { conduct: Conduct::Offer(archive), answered: Vec::new() }));
        let server = tokio::spawn(serve(socket, tls, Arc::clone(&shelf)));
        Self { address, shelf, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}/small.tar.gz", self.address)
    }

    pub fn offer(&self, archive: Bytes) {
        self.behave(Conduct::Offer(archive));
    }

    pub fn behave(&self, conduct: Conduct) {
        self.shelf.lock().unwrap().conduct = conduct;
    }

    /// The statuses that it answered since the last call.
    pub fn answered(&self) -> Vec<u16> {
        std::mem::take(&mut self.shelf.lock().unwrap().answered).into_iter().map(|status| status.as_u16()).collect()
    }

    /// Stops listening.
    pub async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl Drop for BundleServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(socket: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, shelf: Arc<Mutex<Shelf>>) {
    loop {
        let (stream, _) = socket.accept().await.unwrap();
        let (shelf, tls) = (Arc::clone(&shelf), tls.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&shelf)));
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away, or knows this server not, ends its connection; that is its business.
            let _ = match tls {
                None => http.serve_connection(TokioIo::new(stream), service).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => http.serve_connection(TokioIo::new(stream), service).await,
                    Err(_) => return,
                },
            };
        });
    }
}

async fn answer(request: Request<Incoming>, shelf: Arc<Mutex<Shelf>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut shelf = shelf.lock().unwrap();
    let mut response = match &shelf.conduct {
        Conduct::Answer(status, headers, body) => {
            let mut response = Response::new(Full::new(body.clone()));
            *response.status_mut() = *status;
            *response.headers_mut() = headers.clone();
            response
        }
        Conduct::Offer(archive) => {
            let etag = format!("\"{}\"", Digest::of(archive).hex());
            let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known == etag.as_str());
            let mut response = Response::new(Full::new(if known { Bytes::new() } else { archive.clone() }));
            *response.status_mut() = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
            response.headers_mut().insert(header::ETAG, etag.parse().unwrap());
            response
        }
    };
    response.headers_mut().insert(header::SERVER, "bundles".parse().unwrap());
    shelf.answered.push(response.status());
    Ok(response)
}
