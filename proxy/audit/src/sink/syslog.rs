//! A log collector as a sink: syslog (RFC 5424) over TLS 1.3 (RFC 5425), with a client certificate where the collector asks for one.
//!
//! Syslog has no acknowledgement: what was written to a socket may never have been read, and a collector may refuse our certificate after the first bytes have gone.
//! So a batch is a connection, and its end is the receipt. After the last message comes `close_notify`; the collector must answer with its own (RFC 5425 §4.4), which TLS
//! authenticates and which it sends only once it has read all before ours. Two cases look alike and are told apart: a collector that hangs up before we are done has not
//! read all (we wait `SETTLE` with open ears before closing); one that closes with our bytes unread makes its kernel send a reset in place of an orderly end.
//! Whatever is not confirmed so stays behind the cursor and is sent again: nothing is lost, and repetitions, which carry the same `uid`, come after a break only.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls::{Material, TlsMaterialError, client_config};
use super::{Sink, SinkError, Taken};
use crate::record::Record;
use crate::render::EventFormat;

mod message;

/// Until a connection stands, its handshake done.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Until a batch is written: a slow collector is waited for.
const WRITE_MAX: Duration = Duration::from_secs(40);
/// Until the collector has closed after us: it may still have to read what its kernel holds.
const CLOSE_MAX: Duration = Duration::from_secs(40);
/// How long a sign is waited for that the collector has finished the handshake too: its session tickets, which not every one sends.
const TICKET_MAX: Duration = Duration::from_secs(1);
/// How often that sign is looked for.
const TICKET_LOOK: Duration = Duration::from_millis(5);
/// How long a refusal is waited for after that sign, and again after the last message; twice the time of connecting if that is longer.
const SETTLE: Duration = Duration::from_millis(100);
/// Events written before others get their turn.
const WRITTEN_AT_ONCE: usize = 64;

/// Where the collector listens.
#[derive(Clone)]
pub struct SyslogSettings {
    /// The host's name or address: the server's certificate must be for it.
    pub host: String,
    /// Its port; 6514 is the registered one.
    pub port: u16,
    /// Certificates.
    pub material: Material,
    /// How an event is written.
    pub format: EventFormat,
    /// The longest message, in bytes; what is longer is shortened.
    pub message_bytes_max: usize,
}

impl fmt::Debug for SyslogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyslogSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// The settings can't work.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// Neither a DNS name nor an address.
    #[error("the siem sink's host is no name that a certificate can be for")]
    Host,
    /// A file that can't be read.
    #[error("{0}")]
    Unreadable(String),
    /// Certificates that can't be used.
    #[error("the siem sink: {0}")]
    Material(#[from] TlsMaterialError),
}

/// The sink. Connects when it has something to send.
#[derive(Debug)]
pub struct Syslog {
    settings: SyslogSettings,
    name: ServerName<'static>,
}

impl Syslog {
    /// The sink, not connected yet. Needs rustls's process default provider.
    ///
    /// # Errors
    /// A host or TLS material that can't work.
    pub fn new(settings: SyslogSettings) -> Result<Self, SyslogError> {
        let name = ServerName::try_from(settings.host.clone()).map_err(|_| SyslogError::Host)?;
        let material = (settings.material)().map_err(SyslogError::Unreadable)?;
        client_config(&material.ca_pem, material.client_pem.as_ref())?;
        Ok(Self { settings, name })
    }

    /// Connects and closes again without a message: whether the collector is there and takes our certificate.
    ///
    /// # Errors
    /// It is not, or does not.
    pub async fn reach(&self) -> Result<(), SinkError> {
        self.send(&[]).await
    }

    /// Sends framed messages and returns once the collector has confirmed that it read them.
    async fn send(&self, framed: &[u8]) -> Result<(), SinkError> {
        let began = Instant::now();
        let mut stream = within("connecting", CONNECT_MAX, self.connect()).await?;
        let settle = SETTLE.max(began.elapsed() * 2);
        finished(&mut stream).await?;
        silence(&mut stream, settle).await?;
        within("writing", WRITE_MAX, async {
            stream.write_all(framed).await?;
            stream.flush().await
        })
        .await?;
        silence(&mut stream, settle).await?;
        within("closing", CLOSE_MAX, confirmed(stream)).await
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let source = Arc::clone(&self.settings.material);
        let config = tokio::task::spawn_blocking(move || {
            let material = source().map_err(io::Error::other)?;
            client_config(&material.ca_pem, material.client_pem.as_ref()).map_err(io::Error::other)
        })
        .await
        .map_err(io::Error::other)??;
        let tcp = TcpStream::connect((self.settings.host.as_str(), self.settings.port)).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config))
            .connect(self.name.clone(), tcp)
            .await
    }

    /// The batch, framed, and what of it fits in no way.
    async fn framed(&self, batch: &[Record]) -> (Vec<u8>, Vec<(usize, String)>) {
        let bytes = batch.iter().map(|record| record.bytes().len() + 2048);
        let mut out = Vec::with_capacity(bytes.sum());
        let mut refused = Vec::new();
        for (place, record) in batch.iter().enumerate() {
            if !message::push_framed(
                record,
                self.settings.format,
                self.settings.message_bytes_max,
                &mut out,
            ) {
                refused.push((place, "too_long".to_owned()));
            }
            if place % WRITTEN_AT_ONCE == WRITTEN_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        (out, refused)
    }
}

impl Sink for Syslog {
    fn name(&self) -> &str {
        "siem"
    }

    async fn take(&mut self, batch: &[Record]) -> Result<Taken, SinkError> {
        let (framed, refused) = self.framed(batch).await;
        if !framed.is_empty() {
            self.send(&framed).await?;
        }
        let new = batch.len().saturating_sub(refused.len()) as u64;
        Ok(Taken {
            new,
            duplicates: 0,
            refused,
        })
    }
}

/// Until the collector has finished the handshake on its side, as its session tickets show; a refusal of our certificate comes right behind them.
async fn finished(stream: &mut TlsStream<TcpStream>) -> Result<(), SinkError> {
    let began = Instant::now();
    let mut said = [0; 512];
    while stream.get_ref().1.tls13_tickets_received() == 0 && began.elapsed() < TICKET_MAX {
        match timeout(TICKET_LOOK, stream.read(&mut said)).await {
            Err(_) => {}
            Ok(Ok(0)) => return Err(refused()),
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => return Err(failed("connecting", &error)),
        }
    }
    Ok(())
}

fn refused() -> SinkError {
    SinkError {
        code: "refused".to_owned(),
        what: "the siem collector closed the connection before all was sent: look at its log for why, perhaps our client certificate".to_owned(),
    }
}

/// Waits with open ears: a collector that ends the connection now has refused us, or has not read all.
async fn silence(stream: &mut TlsStream<TcpStream>, settle: Duration) -> Result<(), SinkError> {
    match timeout(settle, end(stream)).await {
        Err(_) => Ok(()),
        Ok(Ok(())) => Err(refused()),
        Ok(Err(error)) => Err(failed("sending", &error)),
    }
}

/// Closes our side; the collector's `close_notify` and an orderly end of its connection are the receipt.
async fn confirmed(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    stream.shutdown().await?;
    end(&mut stream).await?;
    let (tcp, _) = stream.get_mut();
    let mut rest = [0; 64];
    while tcp.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Until the peer's `close_notify`. What a collector says is nothing to us.
async fn end(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    let mut said = [0; 512];
    while stream.read(&mut said).await? > 0 {}
    Ok(())
}

async fn within<T>(
    doing: &str,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, SinkError> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| failed(doing, &error)),
        Err(_) => Err(SinkError {
            code: "unreachable".to_owned(),
            what: format!(
                "the siem collector: {doing} took longer than {} s",
                limit.as_secs()
            ),
        }),
    }
}

fn failed(doing: &str, error: &io::Error) -> SinkError {
    SinkError {
        code: "unreachable".to_owned(),
        what: format!("the siem collector: {doing}: {error}"),
    }
}
