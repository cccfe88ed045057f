//! The accept loop of the data port.
//!
//! Ours, because Pingora's own listener can neither switch session resumption off (a resumed session skips
//! the client certificate check), nor report a failed handshake, nor cap connections. It promises: a handshake
//! ends within its deadline, no more than `connections_max` connections live at once, a failed handshake is
//! counted and audited, and every later step knows the peer that the handshake proved.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::tls::TlsRef;
use pingora::protocols::tls::server::handshake_with_callback;
use safeguard_certs::{Peer, PeerError, PeerIdentity, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::sidecar::Sidecar;

/// How long the accept loop waits after the kernel refused it a socket (out of descriptors), before it tries again.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What the handshake proved about one connection. One value, shared by all of its requests (HTTP/1.1 keep-alive and
/// HTTP/2 streams alike).
#[derive(Debug)]
pub struct Connection {
    source: SocketAddr,
    opened: Instant,
    /// None where the configuration asks for no certificate and none was shown.
    peer: Option<Result<Peer, PeerError>>,
}

impl Connection {
    /// The client's address.
    pub fn source(&self) -> IpAddr {
        self.source.ip()
    }

    /// How long this connection has been open.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Who the peer is, if the certificate that it showed still holds: trust may have changed since the handshake.
    ///
    /// # Errors
    /// Why the peer is not to be trusted any more (revoked, expired, its CA removed, its name not allowed).
    pub fn peer(
        &self,
        tls: &ServerTls,
        now_unix: i64,
    ) -> Result<Option<Arc<PeerIdentity>>, PeerError> {
        match &self.peer {
            None => Ok(None),
            Some(Ok(peer)) => peer.verified(tls, now_unix).map(Some),
            Some(Err(error)) => Err(*error),
        }
    }
}

/// Keeps what the handshake saw where the HTTP layer finds it: in the connection's TLS digest.
struct RememberPeer {
    source: SocketAddr,
    sidecar: Arc<Sidecar>,
}

#[async_trait]
impl TlsAccept for RememberPeer {
    async fn handshake_complete_callback(
        &self,
        tls: &TlsRef,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let chain = tls
            .peer_cert_chain_der()
            .map(<[_]>::to_vec)
            .filter(|chain| !chain.is_empty());
        let now = crate::clock::now_unix();
        let peer = chain.map(|chain| Peer::new(self.sidecar.tls(), chain, now));
        Some(Arc::new(Arc::new(Connection {
            source: self.source,
            opened: Instant::now(),
            peer,
        })))
    }
}

/// Bounds of the listener, each from `listen.limits`.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Connections open at once; one more waits in the kernel's queue.
    pub connections_max: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a connection may live, whatever runs on it.
    pub connection_age: Duration,
}

/// Accepts connections until `shutdown` turns true, then lets those that are open finish by themselves.
pub async fn serve(
    listener: TcpListener,
    sidecar: Arc<Sidecar>,
    limits: ListenerLimits,
    mut shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let place = tokio::select! {
            _ = shutdown.changed() => return,
            place = Arc::clone(&places).acquire_owned() => match place {
                Ok(place) => place,
                Err(_closed) => return,
            },
        };
        let (socket, source) = tokio::select! {
            _ = shutdown.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    log::warn!("accepting a connection failed: {error}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            },
        };
        let sidecar = Arc::clone(&sidecar);
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            connection(socket, source, sidecar, limits, shutdown).await;
            drop(place);
        });
    }
}

async fn connection(
    socket: TcpStream,
    source: SocketAddr,
    sidecar: Arc<Sidecar>,
    limits: ListenerLimits,
    shutdown: watch::Receiver<bool>,
) {
    // Small answers must not wait for an acknowledgement; a socket that refuses the option still works.
    let _ = socket.set_nodelay(true);
    let acceptor = Acceptor::from_server_config(sidecar.tls().server_config());
    let remember = RememberPeer {
        source,
        sidecar: Arc::clone(&sidecar),
    };
    let handshake = handshake_with_callback(&acceptor, L4Stream::from(socket), &remember);
    let stream = match tokio::time::timeout(limits.handshake, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            sidecar.handshake_failed(
                source.ip(),
                safeguard_certs::classify_chain(error.root_cause()).code(),
            );
            return;
        }
        Err(_elapsed) => {
            sidecar.handshake_failed(source.ip(), "handshake_deadline");
            return;
        }
    };
    sidecar.metrics().handshake("ok");
    let served = sidecar.process_new(Box::new(stream), &shutdown);
    // A long-lived stream ends here at the latest; requests in flight on an aged connection were told to close before.
    let _ = tokio::time::timeout(limits.connection_age, served).await;
}
