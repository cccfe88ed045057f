//! TLS 1.3 towards a sink: the authorities that its certificate may come from, and our own certificate where it asks for one.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

/// A client certificate chain and its key, PEM.
pub type ClientPem = (Vec<u8>, Zeroizing<Vec<u8>>);

/// PEM texts for a connection to a sink.
pub struct TlsMaterial {
    /// The authorities that the server's certificate may come from.
    pub ca_pem: Vec<u8>,
    /// The client certificate chain and its key, if the server asks for one.
    pub client_pem: Option<ClientPem>,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial")
            .field("client", &self.client_pem.is_some())
            .finish_non_exhaustive()
    }
}

/// The TLS material as it is now: asked for at each connection, so that renewed certificates need no restart.
pub type Material = Arc<dyn Fn() -> Result<TlsMaterial, String> + Send + Sync>;

/// The material can't work.
#[derive(Debug, thiserror::Error)]
pub enum TlsMaterialError {
    /// No authority to verify the server with.
    #[error("the CA file holds no certificate: give it the authority that issued the server's")]
    NoAuthority,
    /// A PEM text that is none.
    #[error("the {0} is not valid PEM")]
    Pem(&'static str),
    /// The TLS library refused the material.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS 1.3 with the server's name verified. Needs rustls's process default provider.
///
/// # Errors
/// Material that can't work.
pub fn client_config(
    ca_pem: &[u8],
    client_pem: Option<&ClientPem>,
) -> Result<ClientConfig, TlsMaterialError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(certificate.map_err(|_| TlsMaterialError::Pem("CA file"))?)?;
    }
    if roots.is_empty() {
        return Err(TlsMaterialError::NoAuthority);
    }
    let builder = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots);
    let Some((chain, key)) = client_pem else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsMaterialError::Pem("client certificate"))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsMaterialError::Pem("client key"))?;
    Ok(builder.with_client_auth_cert(chain, key)?)
}
