//! Where the upstream listens, and a connection to it: loopback, a unix socket, or TLS 1.3.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use safeguard_certs::ClientTls;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::stream::UpstreamStream;

/// Where the upstream listens.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the clear, on loopback.
    Loopback(SocketAddr),
    /// A socket in the file system, which only its permissions guard.
    Unix(PathBuf),
    /// Over TLS 1.3.
    Tls {
        /// A name, looked up for each connection, or an address.
        host: String,
        /// The port.
        port: u16,
        /// What the server's certificate must carry.
        name: ServerName<'static>,
        /// Whom we believe and what we show.
        tls: Arc<ClientTls>,
    },
}

impl Place {
    /// Whether it can be reached: connects and closes.
    ///
    /// # Errors
    /// Why not, in the system's words or those of TLS.
    pub async fn reach(&self) -> std::io::Result<()> {
        self.connect().await.map(|_| ())
    }

    /// Connects, and shakes hands where that is asked for.
    pub(super) async fn connect(&self) -> std::io::Result<UpstreamStream> {
        match self {
            Self::Loopback(address) => TcpStream::connect(address).await.map(UpstreamStream::tcp),
            Self::Unix(path) => UnixStream::connect(path).await.map(UpstreamStream::unix),
            Self::Tls {
                host,
                port,
                name,
                tls,
            } => {
                let socket = TcpStream::connect((host.as_str(), *port)).await?;
                let _ = socket.set_nodelay(true);
                let connector = TlsConnector::from(tls.client_config());
                let stream = connector.connect(name.clone(), socket).await;
                if let Err(error) = &stream {
                    log::warn!("the TLS handshake with the MCP server failed: {error}");
                }
                stream.map(UpstreamStream::tls)
            }
        }
    }
}
