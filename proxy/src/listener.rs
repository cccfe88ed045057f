//! The accept loop of the data port.
//!
//! Ours, because Pingora's own listener can neither switch session resumption off (a resumed session skips
//! the client certificate check), nor report a failed handshake, nor cap connections. It promises: a handshake
//! ends within its deadline, no more than `connections_max` connections live at once, a failed handshake is
//! counted and audited, and every later step knows the peer that the handshake proved.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::apps::ServerApp;
use rustls::pki_types::CertificateDer;
use safeguard_certs::{Peer, PeerError, PeerIdentity, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::peer_stream::PeerStream;
use crate::sidecar::{Guest, Sidecar};

/// How long the accept loop waits after the kernel refused it a socket (out of descriptors), before it tries again.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Connections of the listener of accounts open at once: it asks nobody for a certificate, so it has places of its own
/// and takes none from clients.
pub const ACCOUNT_CONNECTIONS_MAX: usize = 256;

/// Which listener a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `listen.address`: clients, with their certificates.
    Clients,
    /// `listen.account`: an identity provider and people's browsers, which have none.
    Accounts,
}

impl Door {
    /// The bound on open connections, as `limits_reached_total` names it.
    fn limit(self) -> &'static str {
        match self {
            Self::Clients => "connections",
            Self::Accounts => "account_connections",
        }
    }
}

/// What the handshake proved about one connection. One value, shared by all of its requests (HTTP/1.1 keep-alive and
/// HTTP/2 streams alike).
#[derive(Debug)]
pub struct Connection {
    source: SocketAddr,
    door: Door,
    opened: Instant,
    /// Bytes of requests that have come so far.
    received: AtomicU64,
    /// Whether what still comes is to be read away when this closes.
    lingers: AtomicBool,
    /// None where the configuration asks for no certificate and none was shown.
    peer: Option<Result<Peer, PeerError>>,
}

impl Connection {
    /// What a finished handshake proved.
    fn proved(
        stream: &TlsStream<TcpStream>,
        source: SocketAddr,
        door: Door,
        tls: &ServerTls,
    ) -> Self {
        let (_, session) = stream.get_ref();
        let chain = session
            .peer_certificates()
            .filter(|chain| !chain.is_empty());
        let now = crate::clock::now_unix();
        let owned = |chain: &[CertificateDer<'_>]| {
            chain.iter().map(|one| one.clone().into_owned()).collect()
        };
        let peer = match chain {
            Some(chain) => Some(Peer::new(tls, owned(chain), now)),
            // Let through to a preflight; whatever asks who the peer is learns that it is nobody.
            None if door == Door::Clients && tls.needs_certificates() => {
                Some(Err(PeerError::NoCertificate))
            }
            None => None,
        };
        Self {
            source,
            door,
            opened: Instant::now(),
            received: AtomicU64::new(0),
            lingers: AtomicBool::new(false),
            peer,
        }
    }

    /// The client's address.
    pub fn source(&self) -> IpAddr {
        self.source.ip()
    }

    /// Which listener it came to.
    pub fn door(&self) -> Door {
        self.door
    }

    /// How long this connection has been open.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Bytes of requests, decrypted, that have come so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Notes that more has come.
    pub(crate) fn receive(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The client is still sending what was answered already: closing at once would reset the connection under its
    /// hands before it has read the answer.
    pub(crate) fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    /// Whether [`Connection::linger`] was called.
    pub(crate) fn lingers(&self) -> bool {
        self.lingers.load(Ordering::Relaxed)
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

/// A listener that was bound.
#[derive(Debug)]
pub struct Entrance {
    /// The socket.
    pub listener: TcpListener,
    /// Which one it is.
    pub door: Door,
    /// Its bounds.
    pub limits: ListenerLimits,
}

/// Accepts connections until `shutdown` turns true, then lets those that are open finish by themselves.
pub async fn serve(
    entrance: Entrance,
    sidecar: Arc<Sidecar>,
    workers: Vec<Handle>,
    mut shutdown: watch::Receiver<bool>,
) {
    let Entrance {
        listener,
        door,
        limits,
    } = entrance;
    let mut workers = workers.iter().cycle();
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        if places.available_permits() == 0 {
            // The last place is taken: whoever comes now waits in the kernel's queue.
            sidecar.limit_reached(door.limit());
        }
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
        // The worker's own runtime must be the one that is told of the socket's events.
        let (Some(worker), Ok(socket)) = (workers.next(), socket.into_std()) else {
            continue;
        };
        let sidecar = Arc::clone(&sidecar);
        let shutdown = shutdown.clone();
        worker.spawn(async move {
            if let Ok(socket) = TcpStream::from_std(socket) {
                connection(socket, (source, door), sidecar, limits, shutdown).await;
            }
            drop(place);
        });
    }
}

async fn connection(
    socket: TcpStream,
    (source, door): (SocketAddr, Door),
    sidecar: Arc<Sidecar>,
    limits: ListenerLimits,
    shutdown: watch::Receiver<bool>,
) {
    // Small answers must not wait for an acknowledgement; a socket that refuses the option still works.
    let _ = socket.set_nodelay(true);
    let acceptor = TlsAcceptor::from(match door {
        Door::Clients => sidecar.tls().server_config(),
        Door::Accounts => sidecar.tls().open_config(),
    });
    let stream = match tokio::time::timeout(limits.handshake, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let reason = safeguard_certs::classify_chain(&error).code();
            sidecar.handshake_failed(source.ip(), reason);
            return;
        }
        Err(_elapsed) => {
            sidecar.handshake_failed(source.ip(), "handshake_deadline");
            return;
        }
    };
    sidecar.metrics().handshake("ok");
    let connection = Arc::new(Connection::proved(&stream, source, door, sidecar.tls()));
    let stream = PeerStream::new(stream, Arc::clone(&connection), sidecar.limits.header);
    live(sidecar, connection, stream, limits, shutdown).await;
}

/// A connection from its handshake to its end. An aged one is drained as if the sidecar stopped: an idle one is closed,
/// HTTP/1.1 hears `Connection: close`, HTTP/2 GOAWAY, and whatever is still open at the bound of its life is cut.
async fn live(
    sidecar: Arc<Sidecar>,
    connection: Arc<Connection>,
    stream: PeerStream,
    limits: ListenerLimits,
    mut shutdown: watch::Receiver<bool>,
) {
    let (ending, ended) = watch::channel(*shutdown.borrow());
    let guest = Arc::new(Guest::new(Arc::clone(&sidecar), connection));
    let served = guest.process_new(Box::new(stream), &ended);
    let aging = async {
        let age = sidecar.limits.connection_age;
        let stops = shutdown.wait_for(|stopping| *stopping);
        if tokio::time::timeout(age, stops).await.is_err() {
            sidecar.limit_reached("connection_age");
        }
        ending.send_replace(true);
        // It ends with the connection.
        std::future::pending::<()>().await;
    };
    let lived = async {
        tokio::select! {
            _ = served => {}
            () = aging => {}
        }
    };
    let cut = tokio::time::timeout(limits.connection_age, lived).await;
    if cut.is_err() {
        sidecar.limit_reached("connection_age_cut");
    }
}
