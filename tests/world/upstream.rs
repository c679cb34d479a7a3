//! A data service behind a gateway: gives what a test put there, remembers every request, takes pushes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{ClientBody, Feeder, fed, whole};
use super::soon;

/// One request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    /// What came of the body so far.
    pub body: Vec<u8>,
    /// Whether the body ended, and whether as it should.
    pub ended: Option<bool>,
}

enum Body {
    Whole(Bytes),
    /// Fed by the test; serves one request.
    Fed(Option<ClientBody>),
}

struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Default)]
struct Shelf {
    answers: Mutex<HashMap<String, Answer>>,
    /// Paths where a push is read no further than its first piece, and what it is answered then, if anything.
    unread: Mutex<HashMap<String, Option<StatusCode>>>,
    seen: Mutex<Vec<Seen>>,
    changed: watch::Sender<()>,
}

/// The running service.
pub struct Upstream {
    address: SocketAddr,
    shelf: Arc<Shelf>,
    server: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Upstream {
    pub async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let shelf = Arc::new(Shelf::default());
        let server = tokio::spawn(serve(socket, Arc::clone(&shelf)));
        Self { address, shelf, server }
    }

    /// Its base URL for a dataset: the dataset's id is the first segment of every path.
    pub fn base(&self, dataset: &str) -> String {
        format!("http://{}/{dataset}", self.address)
    }

    /// Answers GET `path` with these bytes, and with headers that must not cross. A path that ends in `*` stands for
    /// all that begin like it.
    pub fn offer(&self, path: &str, content_type: &str, body: impl Into<Bytes>) {
        self.put(path, StatusCode::OK, content_type, None, Body::Whole(body.into()));
    }

    /// Answers GET `path` with this status.
    pub fn fail(&self, path: &str, status: StatusCode) {
        self.put(path, status, "text/plain", None, Body::Whole(Bytes::from_static(b"internal details")));
    }

    /// Answers the next GET `path` with what the feeder is given, under a declared length if there is one; an error
    /// breaks the answer off midway.
    pub fn feed(&self, path: &str, content_type: &str, length: Option<usize>) -> Feeder {
        let (feeder, body) = fed();
        self.put(path, StatusCode::OK, content_type, length, Body::Fed(Some(body)));
        feeder
    }

    /// Reads no more than the first piece of a push to `path`, answers it with this status, if there is one, and then
    /// neither reads on nor closes.
    pub fn stop_reading(&self, path: &str, status: Option<StatusCode>) {
        self.shelf.unread.lock().unwrap().insert(path.to_owned(), status);
    }

    fn put(&self, path: &str, status: StatusCode, content_type: &str, length: Option<usize>, body: Body) {
        let headers = [
            ("content-type", content_type),
            ("etag", "\"v1\""),
            ("server", "data-service/9.1 (internal-host-7)"),
            ("set-cookie", "session=hunter2"),
            ("x-internal-route", "rack-12"),
        ];
        let mut headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        headers.extend(length.map(|length| ("content-length".to_owned(), length.to_string())));
        self.shelf.answers.lock().unwrap().insert(path.to_owned(), Answer { status, headers, body });
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shelf.seen.lock().unwrap().clone()
    }

    /// Waits until what was seen is as `condition` wants it.
    pub async fn until(&self, what: &str, condition: impl Fn(&[Seen]) -> bool) {
        let mut changes = self.shelf.changed.subscribe();
        soon(what, async {
            while !condition(&self.shelf.seen.lock().unwrap()) {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }
}

async fn serve(socket: TcpListener, shelf: Arc<Shelf>) {
    loop {
        let (stream, _) = socket.accept().await.unwrap();
        let shelf = Arc::clone(&shelf);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| answer(Arc::clone(&shelf), request));
            // A connection that a test breaks off ends in an error, as it should.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shelf: Arc<Shelf>, request: Request<Incoming>) -> Result<Response<ClientBody>, Infallible> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path_and_query().unwrap().to_string();
    let place = {
        let mut seen = shelf.seen.lock().unwrap();
        let (method, path, headers) = (head.method.clone(), path.clone(), head.headers);
        seen.push(Seen { method, path, headers, body: Vec::new(), ended: None });
        seen.len() - 1
    };
    shelf.changed.send_replace(());
    loop {
        let frame = body.frame().await;
        {
            let seen = &mut shelf.seen.lock().unwrap()[place];
            match &frame {
                Some(Ok(frame)) => seen.body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Some(Err(_)) => seen.ended = Some(false),
                None => seen.ended = Some(true),
            }
        }
        shelf.changed.send_replace(());
        if !matches!(frame, Some(Ok(_))) {
            break;
        }
        let unread = shelf.unread.lock().unwrap().get(&path).copied();
        if let Some(status) = unread {
            let (silent, mut response) = (status.is_none(), Response::new(whole("enough\n")));
            *response.status_mut() = status.unwrap_or_default();
            // Kept until the other side gives the connection up.
            let held = async move {
                std::future::pending::<()>().await;
                drop(body);
            };
            if silent {
                held.await;
            } else {
                tokio::spawn(held);
            }
            return Ok(response);
        }
    }
    if matches!(head.method, Method::PUT | Method::POST) {
        let mut response = Response::new(whole("stored\n"));
        *response.status_mut() = StatusCode::CREATED;
        return Ok(response);
    }
    let mut answers = shelf.answers.lock().unwrap();
    let wildcard = answers.keys().find(|key| key.strip_suffix('*').is_some_and(|stem| path.starts_with(stem))).cloned();
    let path = wildcard.unwrap_or(path);
    let Some(answer) = answers.get_mut(&path) else {
        let mut response = Response::new(whole("nothing here\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let body = match &mut answer.body {
        Body::Whole(bytes) => whole(bytes.clone()),
        Body::Fed(body) => body.take().unwrap(),
    };
    Ok(response.body(body).unwrap())
}
