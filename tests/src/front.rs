//! A front for clients that can show no certificate and send no header of ours: plain HTTP on loopback, and mTLS with a
//! bearer token toward the sidecar.
//!
//! One request a connection, and every byte of a body is passed on as it comes, so that what a client sees of time and
//! order is the sidecar's. A `Host` or an `Origin` that names the front becomes the sidecar's; any other is left as it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Failure, Target, open_tls};
use crate::sidecar::Sidecar;

/// The longest head of a request or an answer, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// One exchange, as it passed.
#[derive(Debug, Clone)]
pub struct Passed {
    /// The first line of the request.
    pub request: String,
    /// The revision of MCP that it named in its header.
    pub revision: Option<String>,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// A front that runs as long as the test's runtime.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    passed: Arc<Mutex<Vec<Passed>>>,
}

/// What a connection needs to know.
struct Way {
    target: Target,
    tls: ClientConfig,
    authorization: String,
    own: [String; 2],
    passed: Arc<Mutex<Vec<Passed>>>,
}

impl Front {
    /// Starts one for the client `chart-web` with a token.
    pub async fn start(sidecar: &Sidecar, token: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let passed = Arc::default();
        let way = Arc::new(Way {
            target: sidecar.target(),
            tls: sidecar.tls(&sidecar.web),
            authorization: format!("Bearer {token}"),
            own: ["localhost", "127.0.0.1"].map(|name| format!("{name}:{}", address.port())),
            passed: Arc::clone(&passed),
        });
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let way = Arc::clone(&way);
                tokio::spawn(async move {
                    // A client that goes away, or a sidecar that closes, is the client's to notice.
                    let _ended = way.pass(socket).await;
                });
            }
        });
        Self { address, passed }
    }

    /// What clients are given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://localhost:{}/mcp", self.address.port())
    }

    /// All that passed so far.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        self.passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The statuses of all that named the revision 2026-07-28.
    #[must_use]
    pub fn newest(&self) -> Vec<u16> {
        let newest = |one: &Passed| one.revision.as_deref() == Some("2026-07-28");
        let passed = self.passed().into_iter().filter(newest);
        passed.map(|one| one.status).collect()
    }

    /// Asserts that something passed and that no answer was a server's fault.
    ///
    /// # Panics
    /// If not.
    pub fn assert_no_fault(&self, who: &str) {
        let passed = self.passed();
        assert!(!passed.is_empty(), "{who}: nothing passed");
        let faults: Vec<_> = passed.iter().filter(|one| one.status >= 500).collect();
        assert!(faults.is_empty(), "{who}: {faults:?}");
    }
}

impl Way {
    async fn pass(&self, mut near: TcpStream) -> Result<(), Failure> {
        near.set_nodelay(true)?;
        let Some((head, body)) = read_head(&mut near).await? else {
            return Ok(());
        };
        let request = head.lines().next().unwrap_or_default().to_owned();
        let revision = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let named = name.eq_ignore_ascii_case("mcp-protocol-version");
            named.then(|| value.trim().to_owned())
        });
        let mut far = open_tls(&self.target, self.tls.clone(), &["http/1.1"]).await?;
        far.write_all(self.request_head(&head).as_bytes()).await?;
        far.write_all(&body).await?;
        far.flush().await?;
        let (mut near_read, mut near_write) = near.split();
        let (mut far_read, mut far_write) = tokio::io::split(far);
        tokio::select! {
            // Neither kind of client closes one direction only: its end of stream is its end.
            _left = copy(&mut near_read, &mut far_write) => Ok(()),
            answered = async {
                let Some((head, body)) = read_head(&mut far_read).await? else { return Ok(()) };
                self.note(request, revision, &head);
                near_write.write_all(answer_head(&head).as_bytes()).await?;
                near_write.write_all(&body).await?;
                copy(&mut far_read, &mut near_write).await?;
                near_write.shutdown().await?;
                Ok(())
            } => answered,
        }
    }

    fn note(&self, request: String, revision: Option<String>, head: &str) {
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.unwrap_or_default();
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.push(Passed {
            request,
            revision,
            status,
        });
    }

    fn request_head(&self, head: &str) -> String {
        let mut lines = head.lines();
        let mut text = format!("{}\r\n", lines.next().unwrap_or_default());
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.trim();
            let value = match name.to_ascii_lowercase().as_str() {
                "connection" | "authorization" => continue,
                "host" if self.is_own(value) => self.target.host.clone(),
                "origin"
                    if value
                        .strip_prefix("http://")
                        .is_some_and(|own| self.is_own(own)) =>
                {
                    format!("https://{}", self.target.host)
                }
                _ => value.to_owned(),
            };
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!(
            "authorization: {}\r\nconnection: close\r\n\r\n",
            self.authorization
        ));
        text
    }

    fn is_own(&self, authority: &str) -> bool {
        self.own.iter().any(|own| own == authority)
    }
}

/// The head of an answer, which says that no other comes on this connection.
fn answer_head(head: &str) -> String {
    let lines = head.lines().filter(|line| !line.is_empty());
    let kept = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut text: String = kept.map(|line| format!("{line}\r\n")).collect();
    text.push_str("connection: close\r\n\r\n");
    text
}

/// A head with the empty line that ends it, and what came with it; `None` at the end of the stream.
async fn read_head(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Option<(String, Vec<u8>)>, Failure> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok(Some((String::from_utf8(bytes)?, body)));
        }
        if bytes.len() > HEAD_MAX {
            return Err("a head beyond its bound".into());
        }
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<(), Failure> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}
