//! A certificate authority for development, demo and tests: made in a moment, trusted by nobody.
//!
//! Keys are ECDSA P-256, written with mode 0600 and never over an existing file. The CA's name has
//! a random part, so that two development CAs are never taken for one another.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    RevokedCertParams, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use zeroize::{Zeroize, Zeroizing};

use crate::read::{self, ReadError};
use crate::subject::hex;

/// The client's DNS name where `certs init` is given none.
pub const DEFAULT_CLIENT: &str = "client.safeguard.test";

/// How long a development CA is valid, in days.
const CA_DAYS: i64 = 1825;
/// How long what it issues is valid, in days.
const LEAF_DAYS: i64 = 397;
/// How long a revocation list is valid, in days.
const CRL_DAYS: i64 = 30;
/// Validity begins this many seconds ago: clocks differ.
const CLOCK_SKEW_SECONDS: i64 = 300;
/// Random octets of a serial number (CA/Browser Forum asks for 8).
const SERIAL_BYTES: usize = 16;

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// A file of that name exists.
    #[error("{} exists already and is not overwritten; remove it or name another directory", .0.display())]
    Exists(PathBuf),
    /// Others could replace what is written there.
    #[error("{} may be written to by every user; choose a directory of your own", .0.display())]
    OpenDirectory(PathBuf),
    /// The name can't stand in a certificate.
    #[error("`{0}` is no DNS name; use letters, digits, `-`, `_` and dots")]
    Name(String),
    /// The file system said no.
    #[error("can't write {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The CA's files can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The CA's files are no certificate and key.
    #[error("{} and ca.key beside it are no usable CA; make one with `safeguard certs init`", .0.display())]
    NoCa(PathBuf),
    /// The library that makes certificates failed.
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Where [`init`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `ca.pem`
    pub ca: PathBuf,
    /// `ca.key`
    pub ca_key: PathBuf,
    /// `server.pem`
    pub server: PathBuf,
    /// `server.key`
    pub server_key: PathBuf,
    /// `client.pem`
    pub client: PathBuf,
    /// `client.key`
    pub client_key: PathBuf,
}

/// Where [`issue`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, mode 0600.
    pub key: PathBuf,
    /// Its serial number, lower case hex, as [`Authority::revoke`] takes it.
    pub serial: String,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A TLS server; also gets `localhost`, 127.0.0.1 and ::1.
    Server,
    /// A TLS client.
    Client,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Validity {
    /// Now, for 397 days.
    #[default]
    Now,
    /// It ended yesterday.
    Expired,
    /// It begins tomorrow.
    Future,
    /// Now, for so many seconds.
    Seconds(u32),
}

/// What to issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// What it is for.
    pub role: Role,
    /// DNS names of the subjectAltName; the first is the common name too.
    pub dns_names: Vec<String>,
    /// URIs of the subjectAltName.
    pub uri_names: Vec<String>,
    /// When it is valid.
    pub validity: Validity,
}

impl Leaf {
    /// A client's certificate of one name, valid now.
    #[must_use]
    pub fn client(name: &str) -> Leaf {
        Leaf {
            role: Role::Client,
            dns_names: vec![name.to_owned()],
            uri_names: Vec::new(),
            validity: Validity::Now,
        }
    }

    /// A server's certificate, valid now.
    #[must_use]
    pub fn server(dns_names: &[String]) -> Leaf {
        Leaf {
            role: Role::Server,
            dns_names: dns_names.to_vec(),
            uri_names: Vec::new(),
            validity: Validity::Now,
        }
    }

    /// The same with another validity.
    #[must_use]
    pub fn valid(self, validity: Validity) -> Leaf {
        Leaf { validity, ..self }
    }
}

/// A certificate and its key, in memory.
pub struct Issued {
    /// PEM.
    pub certificate: String,
    key: Zeroizing<String>,
    /// Lower case hex.
    pub serial: String,
}

impl Issued {
    /// The private key, PKCS#8 PEM.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// A development CA, able to issue.
pub struct Authority {
    certificate: String,
    key: Zeroizing<String>,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes one, in memory.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Authority, DevError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let serial = serial()?;
        let mark = hex(serial.get(..4).unwrap_or_default());
        let mut params = dated(Validity::Now, CA_DAYS);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name.push(
            DnType::CommonName,
            format!("Safeguard development CA {mark}"),
        );
        // No CA below it.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        let pem = Zeroizing::new(key.serialize_pem());
        Ok(Authority {
            certificate,
            key: pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads `ca.pem` and `ca.key` of a directory that [`init`] filled.
    ///
    /// # Errors
    /// The files are missing or hold no CA.
    pub fn load(dir: &Path) -> Result<Authority, DevError> {
        let path = dir.join("ca.pem");
        let no_ca = || DevError::NoCa(path.clone());
        let text = |content: read::Content| {
            std::str::from_utf8(&content.bytes)
                .map(str::to_owned)
                .map_err(|_| no_ca())
        };
        let certificate = text(read::read(&path)?)?;
        let pem = Zeroizing::new(text(read::read(&dir.join("ca.key"))?)?);
        let key = KeyPair::from_pem(&pem).map_err(|_| no_ca())?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(|_| no_ca())?;
        Ok(Authority {
            certificate,
            key: pem,
            issuer,
        })
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate with a key of its own.
    ///
    /// # Errors
    /// A name that is no DNS name.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, DevError> {
        let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let serial = serial()?;
        let mut params = dated(leaf.validity, LEAF_DAYS);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        if let Some(name) = leaf.dns_names.first() {
            params
                .distinguished_name
                .push(DnType::CommonName, name.as_str());
        }
        params.subject_alt_names = names(leaf)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match leaf.role {
            Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let pem = Zeroizing::new(key.serialize_pem());
        key.zeroize();
        Ok(Issued {
            certificate,
            key: pem,
            serial: hex(&serial),
        })
    }

    /// A revocation list, PEM, of the certificates with these serial numbers (hex, as
    /// [`Issued::serial`]), valid now for 30 days, or expired.
    ///
    /// # Errors
    /// A serial number that is no hex.
    pub fn revoke(&self, serials: &[&str], validity: Validity) -> Result<String, DevError> {
        let dates = dated(validity, CRL_DAYS);
        let revoked_certs = serials
            .iter()
            .map(|text| {
                Ok(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&unhex(text)?),
                    revocation_time: dates.not_before,
                    reason_code: None,
                    invalidity_date: None,
                })
            })
            .collect::<Result<_, DevError>>()?;
        let params = CertificateRevocationListParams {
            this_update: dates.not_before,
            next_update: dates.not_after,
            crl_number: SerialNumber::from_slice(&serial()?),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: dates.key_identifier_method,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }
}

/// Makes a development CA, a server's and a client's certificate in `dir`, which is made (0700) if
/// it doesn't exist. The server also gets `localhost`, 127.0.0.1 and ::1. An existing directory
/// keeps its permissions, an existing file is never overwritten.
///
/// # Errors
/// One of the files exists; the directory is open to all; a name is no DNS name.
pub fn init(dir: &Path, dns_names: &[String], client: &str) -> Result<Files, DevError> {
    let files = Files {
        ca: dir.join("ca.pem"),
        ca_key: dir.join("ca.key"),
        server: dir.join("server.pem"),
        server_key: dir.join("server.key"),
        client: dir.join("client.pem"),
        client_key: dir.join("client.key"),
    };
    // All is made and all is looked at before the first file is written.
    let ca = Authority::generate()?;
    let server = ca.issue(&Leaf::server(dns_names))?;
    let client = ca.issue(&Leaf::client(client))?;
    let contents = [
        (&files.ca, ca.certificate.as_str(), PUBLIC),
        (&files.ca_key, ca.key.as_str(), PRIVATE),
        (&files.server, server.certificate.as_str(), PUBLIC),
        (&files.server_key, server.key(), PRIVATE),
        (&files.client, client.certificate.as_str(), PUBLIC),
        (&files.client_key, client.key(), PRIVATE),
    ];
    prepare(dir, contents.iter().map(|(path, ..)| path.as_path()))?;
    for (path, text, mode) in contents {
        write(path, text, mode)?;
    }
    Ok(files)
}

/// Issues one more certificate with the CA in `dir`, as `<stem>.pem` and `<stem>.key` there.
///
/// # Errors
/// No CA in `dir`; one of the files exists; a name is no DNS name.
pub fn issue(dir: &Path, stem: &str, leaf: &Leaf) -> Result<Pair, DevError> {
    if crate::names::normal(stem).is_none() {
        return Err(DevError::Name(stem.to_owned()));
    }
    let issued = Authority::load(dir)?.issue(leaf)?;
    let certificate = dir.join(format!("{stem}.pem"));
    let key = dir.join(format!("{stem}.key"));
    prepare(dir, [certificate.as_path(), key.as_path()].into_iter())?;
    write(&certificate, &issued.certificate, PUBLIC)?;
    write(&key, issued.key(), PRIVATE)?;
    Ok(Pair {
        certificate,
        key,
        serial: issued.serial,
    })
}

/// Mode of a certificate.
const PUBLIC: u32 = 0o644;
/// Mode of a key.
const PRIVATE: u32 = 0o600;

fn prepare<'a>(dir: &Path, files: impl Iterator<Item = &'a Path>) -> Result<(), DevError> {
    let failed = |source| DevError::Write {
        path: dir.to_owned(),
        source,
    };
    match fs::metadata(dir) {
        Ok(meta) if meta.mode() & 0o002 != 0 => {
            return Err(DevError::OpenDirectory(dir.to_owned()));
        }
        Ok(_) => {}
        Err(_) => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?,
    }
    for file in files {
        // Dangling links count as existing.
        if file.symlink_metadata().is_ok() {
            return Err(DevError::Exists(file.to_owned()));
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => DevError::Exists(path.to_owned()),
        _ => DevError::Write {
            path: path.to_owned(),
            source,
        },
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn names(leaf: &Leaf) -> Result<Vec<SanType>, DevError> {
    let dns = |name: &str| -> Result<SanType, DevError> {
        let bad = || DevError::Name(name.to_owned());
        let name = crate::names::normal(name).ok_or_else(bad)?;
        Ok(SanType::DnsName(
            name.as_str().try_into().map_err(|_| bad())?,
        ))
    };
    let mut sans = leaf
        .dns_names
        .iter()
        .map(|name| dns(name))
        .collect::<Result<Vec<_>, _>>()?;
    for uri in &leaf.uri_names {
        let text = uri
            .as_str()
            .try_into()
            .map_err(|_| DevError::Name(uri.clone()))?;
        sans.push(SanType::URI(text));
    }
    if leaf.role == Role::Server {
        let localhost = dns("localhost")?;
        if !sans.contains(&localhost) {
            sans.push(localhost);
        }
        sans.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        sans.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    }
    Ok(sans)
}

/// Empty parameters with their dates.
fn dated(validity: Validity, days: i64) -> CertificateParams {
    let now = OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let begun = now - Duration::seconds(CLOCK_SKEW_SECONDS);
    let (from, to) = match validity {
        Validity::Now => (begun, now + Duration::days(days)),
        Validity::Expired => (now - Duration::days(days), now - Duration::days(1)),
        Validity::Future => (now + Duration::days(1), now + Duration::days(days)),
        Validity::Seconds(seconds) => (begun, now + Duration::seconds(i64::from(seconds))),
    };
    let mut params = CertificateParams::default();
    params.not_before = from;
    params.not_after = to;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

/// A random serial number: positive, and its first octet not zero, so that it has one hex form.
fn serial() -> Result<[u8; SERIAL_BYTES], DevError> {
    let mut bytes = [0; SERIAL_BYTES];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| rcgen::Error::RingUnspecified)?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(bytes)
}

fn unhex(text: &str) -> Result<Vec<u8>, DevError> {
    let bad = || DevError::Name(text.to_owned());
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Ok(digit(*high).ok_or_else(bad)? << 4 | digit(*low).ok_or_else(bad)?),
            _ => Err(bad()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_writes_private_keys_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("new");
        let files = init(&new, &["mcp.example.com".to_owned()], "web.example.com").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&new), 0o700);
        for key in [&files.ca_key, &files.server_key, &files.client_key] {
            assert_eq!(mode(key), 0o600);
        }
        let before = fs::read(&files.ca).unwrap();
        assert!(matches!(
            init(&new, &[], DEFAULT_CLIENT),
            Err(DevError::Exists(_))
        ));
        assert_eq!(fs::read(&files.ca).unwrap(), before);
    }

    #[test]
    fn nothing_is_written_if_one_file_exists() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("client.key"), "mine").unwrap();
        assert!(init(dir.path(), &[], DEFAULT_CLIENT).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_open_to_all_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = init(dir.path(), &[], DEFAULT_CLIENT).unwrap_err();
        assert!(matches!(error, DevError::OpenDirectory(_)));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let ca = Authority::generate().unwrap();
        for name in ["*.example.com", "a b", "", "ärztin.example"] {
            assert!(
                matches!(ca.issue(&Leaf::client(name)), Err(DevError::Name(_))),
                "{name}"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            issue(dir.path(), "../up", &Leaf::client("a")),
            Err(DevError::Name(_))
        ));
    }

    #[test]
    fn debug_shows_no_key() {
        let ca = Authority::generate().unwrap();
        let issued = ca.issue(&Leaf::client("web.example.com")).unwrap();
        let text = format!("{ca:?} {issued:?} {ca:#?} {issued:#?}");
        assert!(
            !text.contains("PRIVATE") && !text.contains("BEGIN"),
            "{text}"
        );
    }
}
