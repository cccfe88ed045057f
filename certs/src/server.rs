//! What the listener serves with, and its swap while it serves.
//!
//! The `rustls::ServerConfig` is made once and never replaced: its certificate and its trust are
//! looked up anew in each handshake, so a reload drops no connection and no listener.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use crate::identity::PeerIdentity;
use crate::material::{self, KeyPermissions, Material, TlsError};
use crate::provider::{self, Suite};
use crate::reason::PeerError;
use crate::trust::{HotVerifier, Trust};
use crate::watch::now_unix;

/// Application protocols offered, preferred first (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", HTTP_1];
const HTTP_1: &[u8] = b"http/1.1";

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mutual {
    /// Each must.
    #[default]
    Required,
    /// One that is shown must be good; none is let in too, and the caller must refuse it whatever needs one.
    Optional,
    /// One that is shown must be good; who shows none is nobody, and served as such. For development.
    Accepted,
    /// None is asked for. For development.
    Off,
}

/// The section `tls` of the configuration.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// PEM: the server's certificate first, then its intermediates.
    pub cert_file: PathBuf,
    /// PEM: the server's private key, unencrypted.
    pub key_file: PathBuf,
    /// PEM: the CAs that issue client certificates. Needed unless `mutual` is off.
    pub ca_file: Option<PathBuf>,
    /// PEM: revocation lists. If set, every certificate of a client's chain must be covered by a
    /// list that is not past its nextUpdate.
    pub crl_file: Option<PathBuf>,
    /// The suites offered; the server's order decides.
    pub suites: Vec<Suite>,
    /// Whether clients show a certificate.
    pub mutual: Mutual,
    /// DNS names of clients let in; `*` is one label. At least one unless `mutual` is off.
    pub allowed_dns_names: Vec<String>,
    /// What becomes of a key file that other users may read.
    pub key_permissions: KeyPermissions,
}

/// What a reload changed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Changed {
    /// The certificate that new connections see.
    pub server_certificate: bool,
    /// The CAs trusted.
    pub ca: bool,
    /// The revocation lists.
    pub crl: bool,
    /// `allowed_dns_names`.
    pub allowed_names: bool,
    /// What is unwise about the new material; as [`ServerTls::warnings`].
    pub warnings: Vec<String>,
}

impl Changed {
    /// True if anything is different now.
    #[must_use]
    pub fn any(&self) -> bool {
        self.server_certificate || self.trust()
    }

    /// True if peers may be judged differently now; then the trust epoch moved.
    #[must_use]
    pub fn trust(&self) -> bool {
        self.ca || self.crl || self.allowed_names
    }

    /// The words for what changed, for an audit event.
    #[must_use]
    pub fn parts(&self) -> Vec<&'static str> {
        [
            (self.server_certificate, "server_certificate"),
            (self.ca, "ca"),
            (self.crl, "crl"),
            (self.allowed_names, "allowed_dns_names"),
        ]
        .into_iter()
        .filter_map(|(changed, part)| changed.then_some(part))
        .collect()
    }
}

/// When what is in use ends, in seconds since 1970: the gauge
/// `certificate_expiry_timestamp_seconds{use}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiries {
    /// The first to end in the server's chain.
    pub server: i64,
    /// The first to end among the trusted CAs.
    pub ca: Option<i64>,
    /// The first nextUpdate among the revocation lists.
    pub crl: Option<i64>,
}

impl Expiries {
    /// Pairs of the label `use` and seconds since 1970.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> {
        [
            ("server", Some(self.server)),
            ("ca", self.ca),
            ("crl", self.crl),
        ]
        .into_iter()
        .filter_map(|(name, end)| end.map(|end| (name, end)))
    }
}

/// The server's side of TLS: certificate, trust, and both reloadable. A cheap handle.
#[derive(Clone, Debug)]
pub struct ServerTls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held through a reload, so that two don't mix.
    settings: Mutex<TlsSettings>,
    provider: Arc<CryptoProvider>,
    resolver: Arc<Resolver>,
    trust: Option<Arc<ArcSwap<Trust>>>,
    needed: bool,
    warnings: ArcSwap<Vec<String>>,
    config: Arc<ServerConfig>,
    open: Arc<ServerConfig>,
}

/// The server's certificate with the end of its chain.
#[derive(Debug)]
struct Served {
    certified: Arc<CertifiedKey>,
    until_unix: i64,
}

#[derive(Debug)]
struct Resolver {
    served: ArcSwap<Served>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.served.load().certified))
    }
}

impl ServerTls {
    /// Reads and checks all files. Blocking.
    ///
    /// # Errors
    /// Anything that would make handshakes fail later, with the file and the fix.
    pub fn load(settings: TlsSettings) -> Result<ServerTls, TlsError> {
        let provider = Arc::new(provider::provider(&settings.suites)?);
        let material = material::load(&settings, now_unix())?;
        let resolver = Arc::new(Resolver {
            served: ArcSwap::from_pointee(served(&material)),
        });
        let trust = material
            .trust
            .map(|trust| Trust::build(trust, 1, &provider).map_err(TlsError::Setup))
            .transpose()?
            .map(|trust| Arc::new(ArcSwap::from_pointee(trust)));
        let mut open = config(&provider, &resolver, None, Mutual::Off)?;
        // One request at a time on a connection of somebody who proved nothing.
        open.alpn_protocols = vec![HTTP_1.to_vec()];
        let config = config(&provider, &resolver, trust.as_ref(), settings.mutual)?;
        Ok(ServerTls {
            shared: Arc::new(Shared {
                needed: matches!(settings.mutual, Mutual::Required | Mutual::Optional),
                settings: Mutex::new(settings),
                provider,
                resolver,
                trust,
                warnings: ArcSwap::from_pointee(material.warnings),
                config: Arc::new(config),
                open: Arc::new(open),
            }),
        })
    }

    /// What rustls serves with. Stays the same through reloads.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shared.config)
    }

    /// The same certificate for a listener that asks nobody for one and speaks HTTP/1.1 alone. Stays the same through
    /// reloads, and shows what they bring.
    #[must_use]
    pub fn open_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shared.open)
    }

    /// Reads all files again and swaps them in, if all are good. Blocking.
    ///
    /// # Errors
    /// As [`ServerTls::load`]; what was in use stays in use.
    pub fn reload(&self) -> Result<Changed, TlsError> {
        let settings = self
            .shared
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.swap(&settings)
    }

    /// Takes new settings (other files, other names) and swaps them in, if all is good. Blocking.
    ///
    /// # Errors
    /// As [`ServerTls::load`]; and if suites or `mutual` differ, which need a restart. What was in
    /// use stays in use, the old settings too.
    pub fn reload_with(&self, new: TlsSettings) -> Result<Changed, TlsError> {
        let mut settings = self
            .shared
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if new.suites != settings.suites {
            return Err(TlsError::NeedsRestart("tls.cipher_suites"));
        }
        if new.mutual != settings.mutual {
            return Err(TlsError::NeedsRestart("tls.mutual_tls"));
        }
        let changed = self.swap(&new)?;
        *settings = new;
        Ok(changed)
    }

    fn swap(&self, settings: &TlsSettings) -> Result<Changed, TlsError> {
        let shared = &self.shared;
        let material = material::load(settings, now_unix())?;
        let mut changed = Changed {
            warnings: material.warnings.clone(),
            ..Changed::default()
        };
        let new = served(&material);
        changed.server_certificate =
            new.certified.cert != shared.resolver.served.load().certified.cert;
        // Everything that can fail comes before the first store.
        if let (Some(trust), Some(wanted)) = (&shared.trust, material.trust) {
            let old = trust.load();
            changed.ca = wanted.anchors != old.material.anchors;
            changed.crl = wanted.crls != old.material.crls;
            changed.allowed_names = wanted.names != old.material.names;
            if changed.trust() {
                let epoch = old.epoch.saturating_add(1);
                let built =
                    Trust::build(wanted, epoch, &shared.provider).map_err(TlsError::Setup)?;
                trust.store(Arc::new(built));
            }
        }
        if changed.server_certificate {
            shared.resolver.served.store(Arc::new(new));
        }
        shared.warnings.store(Arc::new(material.warnings));
        Ok(changed)
    }

    /// Whether clients need certificates, for the handshake or for what comes after it.
    #[must_use]
    pub fn needs_certificates(&self) -> bool {
        self.shared.needed
    }

    /// A number that moves whenever peers may be judged differently; never 0. A peer verified under
    /// another one is to be verified again.
    #[must_use]
    pub fn trust_epoch(&self) -> u64 {
        self.shared
            .trust
            .as_ref()
            .map_or(1, |trust| trust.load().epoch)
    }

    /// Verifies the certificate chain of an open connection again, leaf first, as a handshake at
    /// `now_unix` (seconds since 1970) would. About 0.1 ms of processor time.
    ///
    /// # Errors
    /// Why the peer is no longer trusted. Without client certificates: always
    /// [`PeerError::NoCertificate`].
    pub fn recheck(
        &self,
        chain: &[CertificateDer<'_>],
        now_unix: i64,
    ) -> Result<PeerIdentity, PeerError> {
        match &self.shared.trust {
            Some(trust) => trust.load().recheck(chain, now_unix),
            None => Err(PeerError::NoCertificate),
        }
    }

    /// Names the peer of a handshake that has just verified it. Verifies nothing itself but that a
    /// DNS name is allowed; its `trust_epoch` is 0, so that the first comparison leads to a
    /// [`ServerTls::recheck`]. [`crate::Peer`] does both.
    ///
    /// # Errors
    /// No certificate, a malformed one, none of its names allowed.
    pub fn identify(&self, chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, PeerError> {
        match &self.shared.trust {
            Some(trust) => PeerIdentity::read(chain, &trust.load().material.names),
            None => Err(PeerError::NoCertificate),
        }
    }

    /// When what is in use ends.
    #[must_use]
    pub fn expiries(&self) -> Expiries {
        let trust = self.shared.trust.as_ref().map(|trust| trust.load());
        let material = trust.as_ref().map(|trust| &trust.material);
        Expiries {
            server: self.shared.resolver.served.load().until_unix,
            ca: material.and_then(|m| m.anchors.iter().map(|a| a.not_after_unix).min()),
            crl: material.and_then(|m| m.crl_until_unix),
        }
    }

    /// What is unwise about the material in use, ready to be logged.
    #[must_use]
    pub fn warnings(&self) -> Arc<Vec<String>> {
        self.shared.warnings.load_full()
    }

    /// The files to watch, as [`crate::Watch::new`] takes them.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.shared
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .files()
    }
}

impl TlsSettings {
    /// The files that are read, in the order of the configuration.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let clients = self.mutual != Mutual::Off;
        let optional = [&self.ca_file, &self.crl_file].into_iter().flatten();
        [&self.cert_file, &self.key_file]
            .into_iter()
            .chain(optional.filter(|_| clients))
            .cloned()
            .collect()
    }
}

fn served(material: &Material) -> Served {
    Served {
        certified: Arc::clone(&material.certified),
        until_unix: material.server_until_unix,
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    resolver: &Arc<Resolver>,
    trust: Option<&Arc<ArcSwap<Trust>>>,
    mutual: Mutual,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    let builder = match trust {
        Some(trust) => builder.with_client_cert_verifier(Arc::new(HotVerifier {
            trust: Arc::clone(trust),
            mandatory: mutual == Mutual::Required,
            algorithms: provider.signature_verification_algorithms,
        })),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::<Resolver>::clone(resolver));
    config.ignore_client_order = true;
    // A resumed session shows no certificate, so one revoked meanwhile would pass.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}
