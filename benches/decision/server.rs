//! OPA's own server on loopback, with the same policy, asked over one connection that stays open.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::http1::Connection;

/// Time that the server has to begin.
const START: Duration = Duration::from_secs(10);

/// A running server. It ends with this value.
pub struct Server {
    process: Child,
    runtime: Runtime,
    connection: Connection<TcpStream>,
    requests: Vec<Vec<u8>>,
}

impl Server {
    /// Starts `opa` with the policy in `bundle`.
    pub fn start(opa: &Path, bundle: &Path, entrypoint: &str, inputs: &[String]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // The port is free when it is asked for; the run fails, and says so, if somebody takes it in between.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut process = Command::new(opa)
            .args(["run", "--server", "--disable-telemetry", "--log-level", "error", "--addr"])
            .args([&format!("127.0.0.1:{port}"), "--bundle"])
            .arg(bundle)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting opa")?;
        let begun = Instant::now();
        let stream = loop {
            match runtime.block_on(TcpStream::connect((Ipv4Addr::LOCALHOST, port))) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > START || process.try_wait()?.is_some() => {
                    process.kill().ok();
                    process.wait().ok();
                    return Err(error).context("opa does not serve");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.set_nodelay(true)?;
        let requests = inputs.iter().map(|input| {
            let body = format!("{{\"input\": {input}}}");
            let head = format!(
                "POST /v1/data/{entrypoint} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            (head + &body).into_bytes()
        });
        Ok(Self { process, connection: Connection::new(stream), requests: requests.collect(), runtime })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The decision on one input.
    pub fn decide(&mut self, place: usize) -> Result<Value> {
        let mut body = Vec::new();
        self.exchange(place, |piece| body.extend_from_slice(piece))?;
        let mut answer: Value = serde_json::from_slice(&body)?;
        Ok(answer["result"].take())
    }

    /// Asks for the decision on one input and reads the answer to its end.
    pub fn ask(&mut self, place: usize) -> Result<()> {
        self.exchange(place, |_| {})
    }

    fn exchange(&mut self, place: usize, body: impl FnMut(&[u8])) -> Result<()> {
        let answer = self.runtime.block_on(self.connection.exchange(&self.requests[place], body))?;
        ensure!(answer.status == 200, "opa answers {}", answer.status);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
