//! A relay in front of a server, which can be cut: an outage without touching the server.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that a TLS client sends once it has the server's part of the handshake, and not before.
const FINISHED_BYTES: usize = 40;

/// What a relay does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// The request passes, and no byte of its answer.
    Deaf,
    Cut,
}

/// Passes connections on, as long as it is open.
#[derive(Debug)]
pub struct Relay {
    /// The port to connect to.
    pub port: u16,
    way: watch::Sender<Way>,
}

impl Relay {
    /// An open one toward a loopback port.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let port = listener.local_addr().expect("its address").port();
        let (way, state) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(pass(socket, to, state.clone()));
            }
        });
        Self { port, way }
    }

    /// Ends every connection and takes no new one.
    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Of new connections, what the client asks over TLS passes, and what the server answers does not.
    pub fn deafen(&self) {
        self.way.send_replace(Way::Deaf);
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.way.send_replace(Way::Open);
    }
}

async fn pass(mut near: TcpStream, to: u16, mut way: watch::Receiver<Way>) {
    let now = *way.borrow_and_update();
    if now == Way::Cut {
        return;
    }
    let Ok(mut far) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, to))).await else {
        return;
    };
    let passing = async {
        match now {
            Way::Deaf => deaf(&mut near, &mut far).await,
            _ => tokio::io::copy_bidirectional(&mut near, &mut far)
                .await
                .map(drop),
        }
    };
    tokio::select! {
        _ended = passing => {}
        _ended = way.wait_for(|way| *way == Way::Cut || (now == Way::Deaf && *way != now)) => {}
    }
}

/// Both ways until the client's part of the handshake follows on the server's; then only what the client sends.
async fn deaf(near: &mut TcpStream, far: &mut TcpStream) -> std::io::Result<()> {
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    let (mut is_answered, mut behind) = (false, 0);
    loop {
        tokio::select! {
            read = near.read(&mut asked) => {
                let length = read?;
                if length == 0 {
                    return Ok(());
                }
                if is_answered {
                    behind += length;
                }
                far.write_all(&asked[..length]).await?;
            }
            read = far.read(&mut answered) => {
                let length = read?;
                if length == 0 {
                    return Ok(());
                }
                is_answered = true;
                if behind < FINISHED_BYTES {
                    near.write_all(&answered[..length]).await?;
                }
            }
        }
    }
}
