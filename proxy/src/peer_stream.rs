//! The client's TLS connection as Pingora's HTTP sessions take it.
//!
//! Ours for two reasons. Pingora's own acceptor drops rustls's error, so that a refused peer could not be told from a
//! broken connection in the audit trail. And it writes head and body of an answer as two TLS records with two system
//! calls; here both wait in one buffer until the answer is flushed.
//!
//! And a peer that says nothing at all is given up here: Pingora waits for HTTP/2's first bytes without a deadline.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::listener::Connection;

/// How much of an answer is gathered before it is encrypted: the most that one TLS record holds.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// How much is read and thrown away of a request that was refused before its head was whole.
const LINGER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long that may take.
const LINGER_DEADLINE: Duration = Duration::from_secs(2);

/// An accepted TLS connection.
#[derive(Debug)]
pub struct PeerStream {
    inner: BufWriter<TlsStream<TcpStream>>,
    connection: Arc<Connection>,
    descriptor: UniqueIDType,
    digest: Arc<SslDigest>,
    is_http2: bool,
    /// Until when a peer of HTTP/2 must have said something; none once it has.
    silence: Option<Pin<Box<Sleep>>>,
}

impl PeerStream {
    /// Wraps a connection whose handshake is done, and whose peer has so long to begin with HTTP/2.
    pub fn new(
        stream: TlsStream<TcpStream>,
        connection: Arc<Connection>,
        silence_max: Duration,
    ) -> Self {
        let (socket, session) = stream.get_ref();
        let descriptor = socket.as_raw_fd();
        let is_http2 = session.alpn_protocol() == Some(b"h2".as_slice());
        let digest = Arc::new(SslDigest::new("TLS 1.3", "TLSv1.3", None, None, Vec::new()));
        Self {
            inner: BufWriter::with_capacity(WRITE_BUFFER_BYTES, stream),
            connection,
            descriptor,
            digest,
            is_http2,
            silence: is_http2.then(|| Box::pin(tokio::time::sleep(silence_max))),
        }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.as_mut().get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buffer);
        let came = buffer.filled().len().saturating_sub(before);
        this.connection.receive(came);
        let Some(silence) = &mut this.silence else {
            return read;
        };
        if read.is_ready() {
            this.silence = None;
            return read;
        }
        let over = silence.as_mut().poll(cx);
        over.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for PeerStream {
    async fn shutdown(&mut self) {
        // The peer may be gone already; then there is nobody to say goodbye to.
        let _ = AsyncWriteExt::shutdown(&mut self.inner).await;
        if self.connection.lingers() {
            let socket = self.inner.get_mut().get_mut().0;
            let mut rest = socket.take(LINGER_BYTES_MAX);
            let mut nowhere = tokio::io::sink();
            let reading = tokio::io::copy(&mut rest, &mut nowhere);
            let _ = tokio::time::timeout(LINGER_DEADLINE, reading).await;
        }
    }
}

impl UniqueID for PeerStream {
    fn id(&self) -> UniqueIDType {
        self.descriptor
    }
}

impl Ssl for PeerStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.digest))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.is_http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for PeerStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for PeerStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for PeerStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for PeerStream {}
