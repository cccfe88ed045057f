//! A relay in front of a server, which can be cut: an outage without touching the server.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on, as long as it is open.
#[derive(Debug)]
pub struct Relay {
    /// The port to connect to.
    pub port: u16,
    open: watch::Sender<bool>,
}

impl Relay {
    /// An open one toward a loopback port.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let port = listener.local_addr().expect("its address").port();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(pass(socket, to, state.clone()));
            }
        });
        Self { port, open }
    }

    /// Ends every connection and takes no new one.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn pass(mut near: TcpStream, to: u16, mut open: watch::Receiver<bool>) {
    if !*open.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, to))).await else {
        return;
    };
    tokio::select! {
        _ended = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _cut = open.changed() => {}
    }
}
