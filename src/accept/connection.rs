//! One connection's HTTP: hyper with every limit set, ended by silence, by drain, or by the peer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Accepted, Drain, Handler, Limits};

/// HTTP/2 pings a silent peer so that one that vanished is found out.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// And this long it has to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a peer reset before we took them up: past this the connection is a rapid-reset attack (CVE-2023-44487).
const PENDING_RESETS: usize = 20;

/// Serves HTTP/1.1 on `io`.
pub(super) async fn http1<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: &Limits,
    handler: Arc<H>,
    session: Arc<H::Session>,
    drain: Drain,
) {
    let activity = Activity::default();
    let service = Service { handler, session, activity: activity.clone() };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes.max(8192))
        .max_headers(limits.headers)
        .half_close(false)
        .serve_connection(TokioIo::new(io), service);
    run(connection, activity, limits.idle, drain).await;
}

/// Serves HTTP/2 on `io`.
pub(super) async fn http2<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: &Limits,
    handler: Arc<H>,
    session: Arc<H::Session>,
    drain: Drain,
) {
    let activity = Activity::default();
    let service = Service { handler, session, activity: activity.clone() };
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_send_buf_size(limits.stream_window as usize)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(io), service);
    run(connection, activity, limits.idle, drain).await;
}

/// Requests in progress, and how many there have been: what tells a silent connection from a busy one.
#[derive(Debug, Clone, Default)]
struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
    /// How often the connection was looked at.
    turn: AtomicUsize,
    /// Answers of which a part was handed over and nothing was asked for since, by the turn in which that was, modulo
    /// three: this turn, the one before, and the one before that, in which none may be left.
    handed: [AtomicUsize; TURNS],
}

/// Turns that are told apart.
const TURNS: usize = 3;

/// Counts a request as ended even when its future is dropped midway.
struct InProgress {
    counts: Arc<Counts>,
    /// The turn in which a part of the answer was handed over, as long as no more was asked for since.
    handed: Option<usize>,
}

impl InProgress {
    /// A part of the answer was handed over. No more will be asked for until the peer made room for it.
    fn handed(&mut self) {
        let turn = self.counts.turn.load(Ordering::Relaxed) % TURNS;
        if self.handed != Some(turn) {
            self.taken();
            self.counts.handed[turn].fetch_add(1, Ordering::Relaxed);
            self.handed = Some(turn);
        }
    }

    /// What was handed over had room to go.
    fn taken(&mut self) {
        if let Some(turn) = self.handed.take() {
            self.counts.handed[turn].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.taken();
        self.counts.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Activity {
    fn begin(&self) -> InProgress {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        InProgress { counts: Arc::clone(&self.0), handed: None }
    }

    /// Begins the next turn. Whether an answer was not taken any further in the whole of the last one.
    fn is_stuck(&self) -> bool {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.0.handed[turn.wrapping_add(1) % TURNS].load(Ordering::Relaxed) > 0
    }

    /// The number of requests so far, if none is in progress.
    fn idle_since(&self) -> Option<u64> {
        let ended = self.0.ended.load(Ordering::Relaxed);
        (ended == self.0.begun.load(Ordering::Relaxed)).then_some(ended)
    }
}

/// An answer's payload that keeps its request counted as in progress until the last byte is handed over, and notes
/// whether it is the peer that keeps it waiting.
struct Counted<B> {
    body: Pin<Box<B>>,
    in_progress: InProgress,
}

impl<B: http_body::Body> http_body::Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        let polled = self.body.as_mut().poll_frame(context);
        match &polled {
            std::task::Poll::Ready(Some(Ok(_))) => self.in_progress.handed(),
            // Its source is silent, which is not for this room to judge.
            _ => self.in_progress.taken(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// The handler as hyper wants it: a request in, an answer out, never an error.
struct Service<H: Handler> {
    handler: Arc<H>,
    session: Arc<H::Session>,
    activity: Activity,
}

impl<H: Handler> hyper::service::Service<hyper::Request<Incoming>> for Service<H> {
    type Response = hyper::Response<Counted<H::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let (handler, session) = (Arc::clone(&self.handler), Arc::clone(&self.session));
        let in_progress = self.activity.begin();
        Box::pin(async move {
            let response = handler.handle(session, Accepted { request }).await;
            Ok(response.map(|body| Counted { body: Box::pin(body), in_progress }))
        })
    }
}

/// A connection that can be asked to finish what it has begun and then close.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<I, S, B> Graceful for hyper::server::conn::http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B, E> Graceful for hyper::server::conn::http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection to its end. How it ends is each exchange's own story, which its record tells.
async fn run(connection: impl Graceful, activity: Activity, idle: Duration, drain: Drain) {
    let mut connection = pin!(connection);
    let mut ordered = pin!(drain.wait());
    let mut ticks = tokio::time::interval(idle);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let (mut finishing, mut idle_before) = (false, None);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = ordered.as_mut(), if !finishing => {
                connection.as_mut().finish();
                finishing = true;
            }
            _ = ticks.tick() => {
                if activity.is_stuck() {
                    // HTTP has no milder way: over HTTP/1.1 the rest of the answer would have to come first.
                    tracing::info!("a connection was cut whose peer does not read an answer");
                    return;
                }
                let idle_now = activity.idle_since();
                if idle_now.is_some() && idle_now == idle_before {
                    if finishing {
                        return;
                    }
                    connection.as_mut().finish();
                    finishing = true;
                }
                idle_before = idle_now;
            }
        }
    }
}
