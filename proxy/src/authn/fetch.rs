//! The HTTP client that fetches the provider's documents and, for `keysource`, keys: one request a connection, no redirects, no proxies.
//!
//! TLS 1.3 only, the server's certificate verified against the configured CA or the system's roots.
//! Plain http is for loopback only. Both time and size are bounded, so that a slow or endless
//! answer costs a deadline and nothing else.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::settings::SettingsError;

/// The longest answer body, in bytes.
pub const FETCHED_BYTES_MAX: usize = 512 * 1024;
/// The longest time for one answer, from name resolution to the last byte.
pub const FETCH_DEADLINE: Duration = Duration::from_secs(5);
/// The largest header block of an answer, in bytes.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Why an answer of the provider wasn't had. Holds nothing of what the provider sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL isn't https, nor http on loopback.
    #[error("the url is not https (http is allowed on loopback only)")]
    Url,
    /// The name has no address, or nothing answers there.
    #[error("no connection to the identity provider")]
    Connect,
    /// The TLS handshake failed: certificate, name or version.
    #[error("the tls handshake with the identity provider failed")]
    Tls,
    /// The answer is no HTTP, or broke off.
    #[error("the identity provider's answer is broken")]
    Broken,
    /// The body is above [`FETCHED_BYTES_MAX`].
    #[error("the identity provider's answer is longer than {FETCHED_BYTES_MAX} bytes")]
    TooLarge,
    /// No whole answer within [`FETCH_DEADLINE`].
    #[error("the identity provider did not answer in time")]
    Deadline,
    /// The answer isn't the document that was asked for.
    #[error("the identity provider's answer is not the expected document")]
    Unexpected,
    /// The document is another issuer's.
    #[error("the identity provider names another issuer")]
    OtherIssuer,
    /// The key set has no usable signing key.
    #[error("the identity provider has no usable signing key")]
    NoKeys,
}

/// The client. Cheap to share behind an `Arc`.
pub(crate) struct Fetcher {
    tls: TlsConnector,
}

impl Fetcher {
    /// Sets up TLS; reads the CA file, or else the system's roots.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, SettingsError> {
        let roots = match ca_file {
            Some(path) => roots_of(path)?,
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| SettingsError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::of(config))
    }

    /// With TLS that was set up elsewhere: 1.3 only, and with the server's certificate verified.
    pub(crate) fn of(config: rustls::ClientConfig) -> Self {
        Self {
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// One exchange, within [`FETCH_DEADLINE`] and [`FETCHED_BYTES_MAX`].
    ///
    /// # Errors
    /// [`FetchError`], whatever the status of an answer that was had.
    pub(crate) async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        self.fetch_within(request, FETCH_DEADLINE, FETCHED_BYTES_MAX)
            .await
    }

    /// One exchange, within bounds of the caller's.
    pub(crate) async fn fetch_within(
        &self,
        request: HttpRequest,
        deadline: Duration,
        bytes_max: usize,
    ) -> Result<HttpResponse, FetchError> {
        tokio::time::timeout(deadline, self.exchange(request, bytes_max))
            .await
            .unwrap_or(Err(FetchError::Deadline))
    }

    async fn exchange(
        &self,
        request: HttpRequest,
        bytes_max: usize,
    ) -> Result<HttpResponse, FetchError> {
        let target = Target::of(request.uri())?;
        let stream = target.connect().await?;
        if !target.tls {
            return converse(stream, request, &target, bytes_max).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| FetchError::Url)?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|_| FetchError::Tls)?;
        converse(stream, request, &target, bytes_max).await
    }
}

impl<'c> AsyncHttpClient<'c> for Fetcher {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.fetch(request))
    }
}

/// Whether a URL may be fetched: https, or http with a loopback host.
pub(super) fn may_fetch(url: &str) -> bool {
    url.parse::<Uri>()
        .ok()
        .is_some_and(|uri| Target::of(&uri).is_ok())
}

struct Target {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, FetchError> {
        let authority = uri.authority().ok_or(FetchError::Url)?;
        if authority.as_str().contains('@') {
            return Err(FetchError::Url);
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback_name(&host) => false,
            _ => return Err(FetchError::Url),
        };
        Ok(Self {
            tls,
            host,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
        })
    }

    async fn connect(&self) -> Result<TcpStream, FetchError> {
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|_| FetchError::Connect)?;
        for address in addresses {
            if !self.tls && !address.ip().is_loopback() {
                return Err(FetchError::Url);
            }
            if let Ok(stream) = TcpStream::connect(address).await {
                return Ok(stream);
            }
        }
        Err(FetchError::Connect)
    }
}

fn is_loopback_name(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

async fn converse<S>(
    stream: S,
    request: HttpRequest,
    target: &Target,
    bytes_max: usize,
) -> Result<HttpResponse, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| FetchError::Broken)?;
    let answer = async {
        let answer = sender
            .send_request(in_origin_form(request, target)?)
            .await
            .map_err(|_| FetchError::Broken)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, bytes_max).collect().await.map_err(|e| {
            if e.is::<http_body_util::LengthLimitError>() {
                FetchError::TooLarge
            } else {
                FetchError::Broken
            }
        })?;
        Ok(HttpResponse::from_parts(parts, body.to_bytes().to_vec()))
    };
    // The connection only moves while it is polled; it must not outlive the answer.
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

fn in_origin_form(
    request: HttpRequest,
    target: &Target,
) -> Result<http::Request<Full<Bytes>>, FetchError> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    parts.uri = path.parse().map_err(|_| FetchError::Url)?;
    let host = target.authority.parse().map_err(|_| FetchError::Url)?;
    parts.headers.insert(http::header::HOST, host);
    Ok(http::Request::from_parts(parts, Full::new(body.into())))
}

fn roots_of(path: &Path) -> Result<RootCertStore, SettingsError> {
    let unusable = |what: &str| SettingsError::CaFile(format!("{}: {what}", path.display()));
    let pem = std::fs::read(path).map_err(|e| unusable(&e.kind().to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| unusable("not pem"))?;
        roots
            .add(certificate)
            .map_err(|_| unusable("not a ca certificate"))?;
    }
    if roots.is_empty() {
        return Err(unusable("no certificate in it"));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(SettingsError::NoRoots);
    }
    Ok(roots)
}
