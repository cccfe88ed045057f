//! The sample clinic: an honest little MCP server (Streamable HTTP, revisions 2025-06-18 and
//! 2025-11-25) that keeps patients' records in a file. It runs as a process of its own and knows
//! nothing of the sidecar: what it receives is what it stores, and what it stores is what it
//! answers with.
//!
//! It writes two files: the store, one JSON object of records by patient, each kept byte for byte
//! as it came; and the recording, one JSON-RPC message a line exactly as received, which lets the
//! demo show what an upstream gets to see.

mod http;
mod rpc;
mod store;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub(crate) use http::Clinic;

/// What `safeguard demo-upstream` is told.
#[derive(Clone, Debug)]
pub struct ClinicOptions {
    /// Where to listen; port 0 picks a free one. Loopback only: the clinic has no transport security.
    pub address: SocketAddr,
    /// The file that holds the records; made by the first record that is stored.
    pub store: PathBuf,
    /// The file that every received JSON-RPC message is appended to.
    pub record: PathBuf,
}

/// The revisions of the protocol that the clinic speaks, the newest first.
pub(crate) const REVISIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];

/// Serves until the process ends. The first line on `out` is the endpoint's URL, once it is bound.
///
/// # Errors
/// The address can't be bound or is not on loopback, the recording can't be opened, or `out` can't be written.
pub async fn clinic(options: ClinicOptions, out: &mut dyn Write) -> io::Result<()> {
    if !options.address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the sample clinic has no transport security: give it a loopback address",
        ));
    }
    let listener = TcpListener::bind(options.address).await?;
    let clinic = Arc::new(Clinic::open(options.store, &options.record)?);
    writeln!(out, "http://{}/mcp", listener.local_addr()?)?;
    out.flush()?;
    serve(&listener, &clinic).await
}

/// Accepts for ever; a connection that fails is its own affair.
pub(crate) async fn serve(listener: &TcpListener, clinic: &Arc<Clinic>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let clinic = Arc::clone(clinic);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let clinic = Arc::clone(&clinic);
                async move { clinic.handle(request).await }
            });
            let _ended = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[cfg(test)]
mod tests;
