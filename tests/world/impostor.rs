//! A partner's gateway that answers what a test tells it, byte for byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sekisho::shell::certs::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The head of a request: its lines.
pub struct Asked(Vec<String>);

impl Asked {
    /// A header as it came.
    ///
    /// # Panics
    /// When it did not come.
    pub fn header(&self, name: &str) -> &str {
        let found = self.0.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// The request line.
    pub fn line(&self) -> &str {
        &self.0[0]
    }
}

type Script = Box<dyn FnMut(&Asked) -> Vec<u8> + Send>;

/// The listener. Each connection gets one answer and is closed.
pub struct Impostor {
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Impostor {
    /// Listens with the certificate of `identity`.
    pub async fn start(identity: &Identity, script: impl FnMut(&Asked) -> Vec<u8> + Send + 'static) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(identity.gateway.certificate_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.gateway.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await.unwrap();
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            // Kept open and given up without a request.
                            Err(_) => return,
                        }
                    }
                    let lines = String::from_utf8(head).unwrap();
                    let asked = Asked(lines.lines().map(str::to_owned).collect());
                    let answer = script.lock().unwrap()(&asked);
                    stream.write_all(&answer).await.unwrap();
                    stream.shutdown().await.unwrap();
                });
            }
        });
        Self { address, server }
    }
}
