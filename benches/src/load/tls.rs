//! The certificates of a run, and the load client's TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use safeguard_certs::{Suite, dev, provider};

use super::Failure;
use crate::configuration::CLIENT;

/// Writes an authority, a server's and a client's certificate to `folder`.
///
/// # Errors
/// When the folder can't be written.
pub(super) fn init(folder: &Path) -> Result<(), Failure> {
    dev::init(folder, &["localhost".to_owned()], CLIENT)?;
    Ok(())
}

/// A client that offers one suite, so that every target takes the same.
///
/// # Errors
/// When the certificates can't be read.
pub(super) fn client(folder: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
    let chain =
        CertificateDer::pem_file_iter(folder.join("client.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("client.key"))?;
    let config =
        ClientConfig::builder_with_provider(Arc::new(provider(&[Suite::Aes256GcmSha384])?))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
    Ok(Arc::new(config))
}
