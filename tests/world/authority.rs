//! A time-stamping authority made with OpenSSL: its certificates, its tokens, and the server behind which it answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use sekisho::record::verify::TimestampAnchors;
use sekisho::shell::config::AuthorityUrl;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// extKeyUsage: for timestamps.
pub const TIME_STAMPING: &[u8] = &[0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];
/// extKeyUsage: for clients in TLS.
pub const CLIENT_AUTH: &[u8] = &[0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];
/// extKeyUsage: for both.
pub const BOTH: &[u8] = &[0x30, 20, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];

/// The kind of keys and digests that an authority signs with.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    P256,
    P384,
    Rsa,
}

/// An authority on disk.
pub struct TimeAuthority {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    algorithm: &'static SignatureAlgorithm,
}

impl TimeAuthority {
    pub fn new(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (algorithm, digest) = match kind {
            Kind::P256 => (&PKCS_ECDSA_P256_SHA256, "sha256"),
            Kind::P384 => (&PKCS_ECDSA_P384_SHA384, "sha384"),
            Kind::Rsa => (&PKCS_RSA_SHA256, "sha512"),
        };
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Root of time");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Longer than any certificate under it, so that one that has expired is told from its root.
        (params.not_before, params.not_after) = (ago(3650), ago(-3650));
        let root = params.self_signed(&key).unwrap();
        let authority = Self { directory, issuer: Issuer::new(params, key), algorithm };
        std::fs::write(authority.path("ca.pem"), root.pem()).unwrap();
        std::fs::write(authority.path("serial"), "01\n").unwrap();
        let configuration = format!(
            "[tsa]\ndefault_tsa = it\n[it]\nserial = serial\nsigner_digest = {digest}\ndefault_policy = 1.2.3.4\n\
             digests = sha256\naccuracy = secs:1\nordering = no\ntsa_name = yes\ness_cert_id_alg = {}\n",
            // One of them as authorities did it before SHA-2.
            if digest == "sha512" { "sha1" } else { "sha256" }
        );
        std::fs::write(authority.path("tsa.conf"), configuration).unwrap();
        authority.certify("tsa", TIME_STAMPING, true, (ago(1), ago(-1)));
        authority
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn anchors(&self) -> TimestampAnchors {
        TimestampAnchors::parse(&std::fs::read(self.path("ca.pem")).unwrap()).unwrap()
    }

    /// Issues a certificate under this name, with its key beside it.
    pub fn certify(&self, name: &str, usage: &[u8], critical: bool, valid: (OffsetDateTime, OffsetDateTime)) {
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let mut usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], usage.to_vec());
        usage.set_criticality(critical);
        params.custom_extensions = vec![usage];
        (params.not_before, params.not_after) = valid;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.directory.path()).output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A token of `stamped`, signed with the certificate of this name.
    pub fn token(&self, stamped: &[u8], name: &str) -> Vec<u8> {
        std::fs::write(self.path("stamped"), stamped).unwrap();
        self.openssl("ts -query -data stamped -sha256 -cert -out query");
        self.openssl(&format!(
            "ts -reply -config tsa.conf -queryfile query -signer {name}.pem -inkey {name}.key -token_out -out token"
        ));
        std::fs::read(self.path("token")).unwrap()
    }

    /// The same, with a certificate that OpenSSL's authority would not take.
    pub fn forced_token(&self, stamped: &[u8], name: &str) -> Vec<u8> {
        self.token(stamped, "tsa");
        self.openssl("cms -verify -inform DER -in token -noverify -binary -out info");
        self.openssl(&format!(
            "cms -sign -binary -nodetach -nosmimecap -cades -md sha256 -econtent_type 1.2.840.113549.1.9.16.1.4 -in info \
             -signer {name}.pem -inkey {name}.key -outform DER -out forced"
        ));
        std::fs::read(self.path("forced")).unwrap()
    }

    /// The answer to a request.
    fn reply(&self, query: &[u8]) -> Vec<u8> {
        std::fs::write(self.path("query"), query).unwrap();
        self.openssl("ts -reply -config tsa.conf -queryfile query -signer tsa.pem -inkey tsa.key -out reply");
        std::fs::read(self.path("reply")).unwrap()
    }
}

/// A day so many days ago.
pub fn ago(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() - Duration::days(days)
}

/// How an authority's server behaves.
#[derive(Debug, Clone)]
pub enum Manner {
    Honest,
    /// It gives what it gave before.
    Repeating,
    /// It gives this, with this status.
    Saying(StatusCode, Vec<u8>),
}

/// An authority's server, until it is dropped.
pub struct TimeServer {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    task: JoinHandle<()>,
}

impl TimeServer {
    pub async fn start(authority: Arc<TimeAuthority>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let manner = Arc::new(Mutex::new(Manner::Honest));
        let (shared, last) = (Arc::clone(&manner), Arc::new(Mutex::new(Vec::new())));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (authority, manner, last) = (Arc::clone(&authority), Arc::clone(&shared), Arc::clone(&last));
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let (authority, manner, last) = (Arc::clone(&authority), Arc::clone(&manner), Arc::clone(&last));
                    async move {
                        assert_eq!(request.headers()["content-type"], "application/timestamp-query");
                        let query = request.into_body().collect().await.unwrap().to_bytes();
                        let manner = manner.lock().unwrap().clone();
                        let (status, answer) = match manner {
                            Manner::Honest => {
                                let answer = authority.reply(&query);
                                last.lock().unwrap().clone_from(&answer);
                                (StatusCode::OK, answer)
                            }
                            Manner::Repeating => (StatusCode::OK, last.lock().unwrap().clone()),
                            Manner::Saying(status, answer) => (status, answer),
                        };
                        let mut response = Response::new(Full::new(Bytes::from(answer)));
                        *response.status_mut() = status;
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, manner, task }
    }

    pub fn url(&self) -> AuthorityUrl {
        format!("http://{}/tsr", self.address).parse().unwrap()
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
