//! When the frames of a stream arrive: from the server itself, and through the sidecar.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::open_tls;
use crate::clinic::Server;
use crate::sidecar::Sidecar;
use crate::tokens::{physician, sign};

/// The rules that the tool needs.
pub const POLICY: &str =
    "tools:\n  test_tool_with_progress: { operation: none, roles: any, patient: none }\n";
/// How often each way is gone.
const TIMES: usize = 30;
/// The tool's frames: three of its progress, 50 milliseconds apart, and the answer.
const FRAMES: usize = 4;

/// The median time of each frame since its request, both ways.
#[derive(Debug)]
pub struct Report {
    direct: Vec<Duration>,
    through: Vec<Duration>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "frames of a 50 ms progress, median of {TIMES} calls, in ms:"
        )?;
        for (direct, through) in self.direct.iter().zip(&self.through) {
            let (direct, through) = (direct.as_secs_f64() * 1e3, through.as_secs_f64() * 1e3);
            write!(f, " {direct:.1}->{through:.1} ({:+.1})", through - direct)?;
        }
        Ok(())
    }
}

/// Measures both ways in turn.
///
/// # Panics
/// If a call is refused.
pub async fn measure(server: &Server, sidecar: &Sidecar) -> Report {
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for time in 0..TIMES {
        let plain = TcpStream::connect(server.address).await.expect("a server");
        direct.push(arrivals(plain, &server.address.to_string(), "").await);
        let (target, tls) = (sidecar.target(), sidecar.tls(&sidecar.web));
        let secure = open_tls(&target, tls, &["http/1.1"]).await;
        let token = sign(&physician(&format!("dr.arrival.{time}")));
        let bearer = format!("authorization: Bearer {token}\r\n");
        through.push(arrivals(secure.expect("a connection"), &target.host, &bearer).await);
    }
    Report {
        direct: medians(&direct),
        through: medians(&through),
    }
}

fn medians(calls: &[Vec<Duration>]) -> Vec<Duration> {
    (0..FRAMES)
        .map(|frame| {
            let mut times: Vec<_> = calls.iter().map(|call| call[frame]).collect();
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect()
}

/// One call; when each of its frames was there.
async fn arrivals(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    more: &str,
) -> Vec<Duration> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "test_tool_with_progress", "arguments": {}, "_meta": {"progressToken": "frames"}}})
    .to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: {host}\r\n{more}accept: application/json, text/event-stream\r\n\
         content-type: application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let begun = Instant::now();
    socket
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    socket.flush().await.expect("a request");
    let (mut text, mut times) = (Vec::new(), Vec::new());
    while times.len() < FRAMES {
        let read = socket.read_buf(&mut text).await.expect("an answer");
        let now = begun.elapsed();
        let frames = String::from_utf8_lossy(&text).matches("data: {").count();
        assert!(
            read > 0,
            "it ended early: {}",
            String::from_utf8_lossy(&text)
        );
        times.resize(frames.min(FRAMES), now);
    }
    times
}
