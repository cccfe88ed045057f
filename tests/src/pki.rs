//! Certificates made for one test: an authority, the server's certificate, clients good and bad, revocation lists.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams,
    SerialNumber,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use time::{Duration, OffsetDateTime};

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's PEM.
    pub certificate_pem: String,
    /// PEM of the key, PKCS #8.
    pub key_pem: String,
    key_der: Vec<u8>,
    serial: Vec<u8>,
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key` to `folder`.
    pub fn write(&self, folder: &Path, name: &str) {
        write(&folder.join(format!("{name}.pem")), &self.certificate_pem);
        write_secret(&folder.join(format!("{name}.key")), &self.key_pem);
    }

    /// This certificate beside the key of another, which no server can use.
    #[must_use]
    pub fn with_key_of(self, other: &Self) -> Self {
        Self {
            key_pem: other.key_pem.clone(),
            key_der: other.key_der.clone(),
            ..self
        }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der.clone()).into()
    }
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub enum Validity {
    /// From an hour ago, for two days.
    Current,
    /// It ended an hour ago.
    Expired,
    /// It begins in an hour.
    Future,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    /// PEM of its certificate.
    pub pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, which nobody knows yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a CA certificate");
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The one that signed the real parts' certificates, and that Keycloak trusts.
    ///
    /// # Panics
    /// If its key is not beside its certificate.
    #[must_use]
    pub fn of_the_parts() -> Self {
        let read = |path| std::fs::read_to_string(path).expect("a file of the parts' authority");
        let pem = read(crate::real::ca());
        let key = KeyPair::from_pem(&read(crate::real::ca().with_file_name("ca.key")));
        Self {
            der: CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate"),
            issuer: Issuer::from_ca_cert_pem(&pem, key.expect("a key")).expect("an authority"),
            pem,
        }
    }

    /// A server certificate for `names`.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        self.issue(
            names,
            ExtendedKeyUsagePurpose::ServerAuth,
            Validity::Current,
        )
    }

    /// A client certificate with `name` as its DNS name.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        self.issue(
            &[name],
            ExtendedKeyUsagePurpose::ClientAuth,
            Validity::Current,
        )
    }

    /// Any certificate.
    #[must_use]
    pub fn issue(
        &self,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> Identity {
        let now = OffsetDateTime::now_utc();
        let hour = Duration::hours(1);
        let (from, until) = match validity {
            Validity::Current => (now - hour, now + hour * 48),
            Validity::Expired => (now - hour * 2, now - hour),
            Validity::Future => (now + hour, now + hour * 2),
        };
        let serial = uuid::Uuid::new_v4().as_bytes().to_vec();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .expect("DNS names");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, names[0]);
        params.not_before = from;
        params.not_after = until;
        params.serial_number = Some(SerialNumber::from_slice(&positive(&serial)));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            chain: vec![certificate.der().clone()],
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key_der: key.serialize_der(),
            serial: positive(&serial),
        }
    }

    /// PEM of a revocation list that names `revoked`.
    #[must_use]
    pub fn revocation_list(&self, revoked: &[&Identity]) -> String {
        let now = OffsetDateTime::now_utc();
        CertificateRevocationListParams {
            this_update: now - Duration::minutes(1),
            next_update: now + Duration::days(1),
            crl_number: SerialNumber::from(
                u64::try_from(now.unix_timestamp()).expect("after 1970"),
            ),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|identity| revocation(identity, now))
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .and_then(|list| list.pem())
        .expect("a revocation list")
    }

    /// A TLS 1.3 server that shows `identity` and lets in only clients that this authority has certified.
    #[must_use]
    pub fn server_config(&self, identity: &Identity) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a CA certificate");
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .expect("an authority");
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(clients)
            .with_single_cert(identity.chain.clone(), identity.key())
            .expect("a key that fits")
    }

    /// A TLS client that trusts this authority's servers, showing `identity` if there is one.
    #[must_use]
    pub fn client_config(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a CA certificate");
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("versions of TLS")
            .with_root_certificates(roots);
        match identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key())
                .expect("a key that fits"),
            None => builder.with_no_client_auth(),
        }
    }
}

/// The harness's own cryptography, chosen here so that no default of the process decides.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Serial numbers are positive: their first bit is 0, and their first byte not.
fn positive(serial: &[u8]) -> Vec<u8> {
    let mut serial = serial.to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

fn revocation(identity: &Identity, now: OffsetDateTime) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(&identity.serial),
        revocation_time: now - Duration::minutes(1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    }
}

/// Writes what only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    write(path, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
