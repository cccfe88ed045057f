//! Other ways to a server that listens on loopback: a unix socket, and TLS that asks for a client certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::pki::{Authority, Identity};

async fn pass(mut near: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) {
    if let Ok(mut far) = TcpStream::connect(to).await {
        let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

/// Listens on a unix socket and passes connections on.
///
/// # Panics
/// If the socket can't be made.
pub fn unix(socket: &Path, to: SocketAddr) {
    let listener = UnixListener::bind(socket).expect("a unix socket");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(pass(near, to));
        }
    });
}

/// A TLS server in front of another.
#[derive(Debug)]
pub struct TlsFront {
    /// The port to connect to.
    pub port: u16,
    shown: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

impl TlsFront {
    /// Listens on loopback as `identity`, for clients that `authority` has certified.
    pub async fn start(authority: &Authority, identity: &Identity, to: SocketAddr) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(authority.server_config(identity)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let port = listener.local_addr().expect("its address").port();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&shown);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let leaf = chain.first().map(|leaf| leaf.clone().into_owned());
                    seen.lock().expect("no test panicked here").extend(leaf);
                    pass(stream, to).await;
                });
            }
        });
        Self { port, shown }
    }

    /// The certificates that clients have shown so far, one a connection.
    #[must_use]
    pub fn shown(&self) -> Vec<CertificateDer<'static>> {
        self.shown.lock().expect("no test panicked here").clone()
    }
}
