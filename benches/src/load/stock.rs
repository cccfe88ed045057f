//! Stock Pingora passing through: its own listener and its own proxy path, nothing of ours but the few lines that name
//! the upstream. What the sidecar is compared with.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use safeguard_certs::{Suite, install_provider};

use super::Failure;
use super::arguments::Stock;

struct Pass {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Pass {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(
            &self.upstream,
            false,
            String::new(),
        )))
    }
}

/// Serves until the process is ended.
///
/// # Errors
/// When the TLS material can't be used.
pub fn serve(arguments: &Stock) -> Result<(), Failure> {
    install_provider(&[Suite::Aes256GcmSha384])?;
    let file = |name: &str| arguments.tls.join(name).display().to_string();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem"))?)?;
    let mut settings = TlsSettings::intermediate(&file("server.pem"), &file("server.key"))?;
    settings.set_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build()?);

    let conf = ServerConf {
        threads: arguments.threads,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let pass = Pass {
        upstream: format!("127.0.0.1:{}", arguments.upstream),
    };
    let mut service = http_proxy_service(&server.configuration, pass);
    service.add_tls_with_settings(&format!("127.0.0.1:{}", arguments.port), None, settings);
    server.add_service(service);
    server.run_forever()
}
