//! The data services behind the demo's gateways: the example datasets over plain HTTP, a stream of any length, and an
//! inbox for what partners send.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};

/// The example datasets, each with its media type, as they are when this binary is built.
const DATASETS: [(&str, &str, &[u8]); 6] = [
    ("usgs-earthquakes", "application/geo+json", include_bytes!("../../../examples/data/earthquakes.json")),
    ("landsat-stac", "application/json", include_bytes!("../../../examples/data/landsat-c2-l2-pc.json")),
    ("sentinel-stac", "application/json", include_bytes!("../../../examples/data/sentinel-2-l2a-pc.json")),
    ("covid-case-reports", "text/csv", include_bytes!("../../../examples/data/covid_testing.csv")),
    ("qpu-calibration", "application/json", include_bytes!("../../../examples/data/props_kawasaki.json")),
    ("litho-process", "text/csv", include_bytes!("../../../examples/data/lithography_process.csv")),
];

/// The bytes of an example dataset.
pub(super) fn dataset(name: &str) -> Option<&'static [u8]> {
    DATASETS.iter().find(|(id, _, _)| *id == name).map(|(_, _, bytes)| *bytes)
}

/// What `sekisho data-service` takes.
#[derive(Debug, Args)]
pub(in crate::shell) struct DataServiceOptions {
    /// Loopback address to listen on
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Directory for what is sent to /inbox/NAME
    #[arg(long, value_name = "DIR")]
    inbox: PathBuf,
}

/// Serves until it is ended.
pub(in crate::shell) fn data_service(options: &DataServiceOptions) -> Result<()> {
    if !options.listen.ip().is_loopback() {
        bail!("{} is not a loopback address; this service has no access control", options.listen);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("starting the runtime")?.block_on(async {
        let listener = tokio::net::TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("listening on {}", options.listen))?;
        let inbox: Arc<Path> = options.inbox.clone().into();
        loop {
            let (stream, _) = listener.accept().await.context("taking a connection")?;
            let inbox = Arc::clone(&inbox);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&inbox)));
                let mut http = hyper::server::conn::http1::Builder::new();
                // How a gateway ends its connections is its own matter.
                let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>, inbox: Arc<Path>) -> Result<Response<Payload>, Infallible> {
    let path = request.uri().path().trim_matches('/').to_owned();
    let (status, content_type, payload) = match (request.method(), path.split_once('/')) {
        (&Method::GET, None) => match DATASETS.iter().find(|(id, _, _)| *id == path) {
            Some((_, content_type, bytes)) => (StatusCode::OK, *content_type, Payload::fixed(bytes)),
            None => (StatusCode::NOT_FOUND, "text/plain", Payload::fixed(b"no such dataset\n")),
        },
        (&Method::GET, Some(("stream", bytes))) => match bytes.parse() {
            Ok(bytes) => (StatusCode::OK, "application/octet-stream", Payload::Repeated { left: bytes }),
            Err(_) => (StatusCode::BAD_REQUEST, "text/plain", Payload::fixed(b"not a number of bytes\n")),
        },
        (&Method::PUT, Some(("inbox", name))) if is_plain(name) => {
            let target = inbox.join(name);
            match receive(request.into_body(), &target).await {
                Ok(()) => (StatusCode::CREATED, "text/plain", Payload::fixed(b"kept\n")),
                Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Payload::fixed(b"not kept\n")),
            }
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", Payload::fixed(b"no such dataset\n")),
    };
    let mut response = Response::new(payload);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    Ok(response)
}

/// A file name that leads nowhere else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Keeps a payload; a broken one is never seen under its name. Writes block: the demo's payloads are small.
async fn receive(mut body: Incoming, target: &Path) -> Result<()> {
    if let Some(directory) = target.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let part = target.with_extension("part");
    let mut file = std::fs::File::create(&part)?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            file.write_all(&data)?;
        }
    }
    std::fs::rename(&part, target)?;
    Ok(())
}

/// What the service answers with.
enum Payload {
    Fixed { bytes: Option<Bytes> },
    Repeated { left: u64 },
}

/// One piece of a stream.
static PIECE: [u8; 64 * 1024] = [0x5e; 64 * 1024];

impl Payload {
    fn fixed(bytes: &'static [u8]) -> Self {
        Self::Fixed { bytes: Some(Bytes::from_static(bytes)) }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match &mut *self {
            Self::Fixed { bytes } => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Self::Repeated { left: 0 } => None,
            Self::Repeated { left } => {
                let length = usize::try_from(*left).map_or(PIECE.len(), |left| left.min(PIECE.len()));
                *left -= length as u64;
                Some(Ok(Frame::data(Bytes::from_static(&PIECE[..length]))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Fixed { bytes: None } | Self::Repeated { left: 0 })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Fixed { bytes } => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Repeated { left } => *left,
        })
    }
}
