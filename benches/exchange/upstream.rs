//! The data service behind the peers: plain HTTP/1.1 on the generator's own thread, so that a peer under test never
//! shares its core with it.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The byte that every body consists of.
pub const FILLING: u8 = b'x';

/// The longest request head that is read; the peers add little to a pass of some 700 bytes.
const HEAD: usize = 16 * 1024;

/// What a long body is written in: pieces of 64 KiB.
const PIECE: &[u8] = &[FILLING; 64 * 1024];

/// Starts serving on a free port of the loopback address. The last segment of a path is the size of the answer: `1k`,
/// `64m`, `1g`.
pub async fn start() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for the upstream")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A peer that breaks off is its own affair: the generator sees the broken answer and counts it.
            tokio::spawn(async move { serve(stream).await.ok() });
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(HEAD);
    loop {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
                break end + 4;
            }
            anyhow::ensure!(head.len() < HEAD, "a head over {HEAD} bytes");
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        };
        match size(&head[..end]) {
            Some(size) => answer(&mut stream, size).await?,
            None => stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await?,
        }
        head.drain(..end);
    }
}

async fn answer(stream: &mut TcpStream, size: u64) -> anyhow::Result<()> {
    let mut out = Vec::with_capacity(2048);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: ");
    out.extend_from_slice(size.to_string().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    // A small answer leaves in one write.
    let first = piece(size).min(out.capacity() - out.len());
    out.extend_from_slice(&PIECE[..first]);
    stream.write_all(&out).await?;
    let mut left = size - first as u64;
    while left > 0 {
        let next = piece(left);
        stream.write_all(&PIECE[..next]).await?;
        left -= next as u64;
    }
    Ok(())
}

fn piece(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(PIECE.len())
}

/// The size that a request head such as `GET /bench/1k HTTP/1.1` asks for, in bytes.
fn size(head: &[u8]) -> Option<u64> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let path = str::from_utf8(line).ok()?.split(' ').nth(1)?;
    let last = path.rsplit('/').next()?;
    let (digits, unit) = last.split_at(last.len().checked_sub(1)?);
    let shift = match unit {
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
