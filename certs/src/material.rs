//! The files of `tls.*`, read together and checked, before anything uses them.
//!
//! Everything that would make a handshake fail later is an error here, with the file's name and
//! what to do; what is only unwise is a warning.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroize;

use crate::identity::parse;
use crate::names::{AllowedNames, PatternError};
use crate::provider::ProviderError;
use crate::read::{self, Content, ReadError, Stat};
use crate::server::{Mutual, TlsSettings};
use crate::subject::{rfc4514, utc};
use crate::trust::{Anchor, TrustMaterial};

/// Most certificates in one file. Each CA may cost a verifier of its own.
const CERTIFICATES_MAX: usize = 64;
/// How often the files are read again because one was replaced meanwhile.
const READ_ATTEMPTS_MAX: u32 = 5;
/// A certificate or list that ends within this many seconds is warned of: 7 days.
const ENDS_SOON_SECONDS: i64 = 7 * 86_400;

/// What becomes of a private key that other users may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyPermissions {
    /// It is refused.
    #[default]
    Enforce,
    /// It is a warning: for development.
    Warn,
}

/// Why the TLS material can't be used. Says which file and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read.
    #[error("{setting}: {source}")]
    Read {
        /// The configuration's key.
        setting: &'static str,
        /// Why.
        source: ReadError,
    },
    /// A file's content can't be used.
    #[error("{setting}: {} {why}", path.display())]
    Content {
        /// The configuration's key.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// Other users may read or change the key.
    #[error(
        "{setting}: {} has mode {mode:04o}, so other users may read or change the key; run `chmod 600 {}` (a Kubernetes Secret: `defaultMode: 0440` with an fsGroup)",
        .path.display(), .path.display()
    )]
    KeyPermissions {
        /// The configuration's key.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Certificate and key are not a pair.
    #[error(
        "{setting}: {} is not the key of the first certificate in {}; the certificate itself must come first, and both files from one issuance",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The configuration's key.
        setting: &'static str,
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// `ca_file` is missing though client certificates are asked for.
    #[error(
        "tls.ca_file is not set, but client certificates are verified; name the file of the CAs that issue them"
    )]
    NoCaFile,
    /// No DNS name is allowed.
    #[error(
        "tls.mutual_tls.allowed_dns_names is empty, so every client would be refused; list the DNS names of the clients (`*` is one label)"
    )]
    NoAllowedName,
    /// A pattern of `allowed_dns_names` can't be used.
    #[error("tls.mutual_tls.{0}")]
    Pattern(#[from] PatternError),
    /// The cipher suites can't be used.
    #[error("{0}")]
    Provider(#[from] ProviderError),
    /// The files kept changing while they were read.
    #[error(
        "the files of tls.* changed while they were read; the next attempt should find them at rest"
    )]
    Unstable,
    /// A reload can't do this.
    #[error("{0} can't be changed while the sidecar runs; restart it")]
    NeedsRestart(&'static str),
    /// rustls refused what passed every check of ours.
    #[error("TLS could not be set up: {0}")]
    Setup(String),
}

/// What the files held.
pub(crate) struct Material {
    pub(crate) certified: Arc<CertifiedKey>,
    /// First notAfter of the server's chain, seconds since 1970.
    pub(crate) server_until_unix: i64,
    /// None if clients are not asked for certificates.
    pub(crate) trust: Option<TrustMaterial>,
    pub(crate) warnings: Vec<String>,
}

/// The files' content, all of one moment.
struct Files {
    certificate: Content,
    key: Content,
    ca: Option<Content>,
    crl: Option<Content>,
}

/// Reads and checks everything that `settings` name.
pub(crate) fn load(settings: &TlsSettings, now_unix: i64) -> Result<Material, TlsError> {
    let files = read_together(settings)?;
    let mut warnings = Vec::new();
    let (certified, server_until_unix) = server(settings, &files, now_unix, &mut warnings)?;
    let trust = match settings.mutual {
        Mutual::Off => None,
        Mutual::Required | Mutual::Optional | Mutual::Accepted => {
            Some(trust(settings, &files, now_unix, &mut warnings)?)
        }
    };
    Ok(Material {
        certified,
        server_until_unix,
        trust,
        warnings,
    })
}

/// Reads all files, and again if one was replaced meanwhile: a certificate of one issuance with the
/// key of another would be an error that nobody can find afterwards.
fn read_together(settings: &TlsSettings) -> Result<Files, TlsError> {
    for _ in 0..READ_ATTEMPTS_MAX {
        let files = read_each(settings)?;
        let same = |path: &Path, content: &Content| Stat::now(path).as_ref() == Some(&content.stat);
        let optional = |path: Option<&PathBuf>, content: &Option<Content>| match (path, content) {
            (Some(path), Some(content)) => same(path, content),
            _ => true,
        };
        if same(&settings.cert_file, &files.certificate)
            && same(&settings.key_file, &files.key)
            && optional(settings.ca_file.as_ref(), &files.ca)
            && optional(settings.crl_file.as_ref(), &files.crl)
        {
            return Ok(files);
        }
    }
    Err(TlsError::Unstable)
}

fn read_each(settings: &TlsSettings) -> Result<Files, TlsError> {
    let read = |setting, path: &Path| {
        read::read(path).map_err(|source| TlsError::Read { setting, source })
    };
    let clients = settings.mutual != Mutual::Off;
    let wanted = |path: &Option<PathBuf>| path.clone().filter(|_| clients);
    Ok(Files {
        certificate: read("tls.cert_file", &settings.cert_file)?,
        key: read("tls.key_file", &settings.key_file)?,
        ca: wanted(&settings.ca_file)
            .map(|path| read("tls.ca_file", &path))
            .transpose()?,
        crl: wanted(&settings.crl_file)
            .map(|path| read("tls.crl_file", &path))
            .transpose()?,
    })
}

fn server(
    settings: &TlsSettings,
    files: &Files,
    now_unix: i64,
    warnings: &mut Vec<String>,
) -> Result<(Arc<CertifiedKey>, i64), TlsError> {
    let path = &settings.cert_file;
    let bad = |why: String| content("tls.cert_file", path, why);
    let chain = certificates("tls.cert_file", path, &files.certificate.bytes)?;
    let mut until = i64::MAX;
    for (place, der) in chain.iter().enumerate() {
        let certificate = parse(der).map_err(|_| {
            bad(format!(
                "has a malformed certificate (number {})",
                place + 1
            ))
        })?;
        let (from, to) = validity(&certificate);
        if now_unix > to {
            return Err(bad(format!("expired at {}; renew it", utc(to))));
        }
        if now_unix < from {
            return Err(bad(format!(
                "is valid only from {}; check the clock",
                utc(from)
            )));
        }
        until = until.min(to);
        if place == 0 {
            judge_server(&certificate, path, warnings);
        }
    }
    if until - now_unix < ENDS_SOON_SECONDS {
        warnings.push(format!(
            "tls.cert_file: {} expires at {}",
            path.display(),
            utc(until)
        ));
    }
    let key_setting = "tls.key_file";
    permissions(
        key_setting,
        &settings.key_file,
        settings.key_permissions,
        &files.key,
        warnings,
    )?;
    let key = private_key(key_setting, &settings.key_file, &files.key.bytes)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| TlsError::Mismatch {
        setting: key_setting,
        certificate: path.clone(),
        key: settings.key_file.clone(),
    })?;
    Ok((Arc::new(certified), until))
}

/// What clients will not like about a server's certificate.
fn judge_server(certificate: &X509Certificate<'_>, path: &Path, warnings: &mut Vec<String>) {
    let named = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .is_some_and(|san| {
            san.value
                .general_names
                .iter()
                .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
        });
    if !named {
        warnings.push(format!(
            "tls.cert_file: {} names no DNS name or address in its subjectAltName; clients will refuse it",
            path.display()
        ));
    }
    let usage = certificate.extended_key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        warnings.push(format!(
            "tls.cert_file: {} is not meant for TLS servers (extended key usage); clients will refuse it",
            path.display()
        ));
    }
}

/// The owner alone; and the group, reading only, of a file that root owns: so Kubernetes hands
/// secrets to a user that is not root.
pub(crate) fn permissions(
    setting: &'static str,
    path: &Path,
    judged: KeyPermissions,
    key: &Content,
    warnings: &mut Vec<String>,
) -> Result<(), TlsError> {
    let forbidden = if key.owner == 0 { 0o037 } else { 0o077 };
    if key.mode & forbidden == 0 {
        return Ok(());
    }
    let error = TlsError::KeyPermissions {
        setting,
        path: path.to_owned(),
        mode: key.mode,
    };
    match judged {
        KeyPermissions::Enforce => Err(error),
        KeyPermissions::Warn => {
            warnings.push(error.to_string());
            Ok(())
        }
    }
}

pub(crate) fn private_key(
    setting: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Arc<dyn rustls::sign::SigningKey>, TlsError> {
    let bad = |why: &str| content(setting, path, why.to_owned());
    let mut key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        bad("holds no private key in PEM (PKCS#8, SEC1 or PKCS#1, not encrypted); convert it with `openssl pkey`")
    })?;
    let signing = aws_lc_rs::sign::any_supported_type(&key);
    key.zeroize();
    signing.map_err(|_| bad("holds a key of an unsupported kind; use ECDSA P-256 or P-384, RSA from 2048 bits, or Ed25519"))
}

fn trust(
    settings: &TlsSettings,
    files: &Files,
    now_unix: i64,
    warnings: &mut Vec<String>,
) -> Result<TrustMaterial, TlsError> {
    let (Some(path), Some(file)) = (settings.ca_file.as_ref(), files.ca.as_ref()) else {
        return Err(TlsError::NoCaFile);
    };
    let names = AllowedNames::new(&settings.allowed_dns_names)?;
    if names.is_empty() {
        return Err(TlsError::NoAllowedName);
    }
    let ders = certificates("tls.ca_file", path, &file.bytes)?;
    let anchors = anchors(path, &ders, now_unix, warnings)?;
    let (crls, crl_until_unix) = match (settings.crl_file.as_ref(), files.crl.as_ref()) {
        (Some(path), Some(file)) => crls(path, &file.bytes, &ders, now_unix, warnings)?,
        _ => (Vec::new(), None),
    };
    Ok(TrustMaterial {
        anchors,
        crls,
        crl_until_unix,
        names,
    })
}

/// The CAs that are still valid; the others are left out with a warning, so that a bundle may carry
/// an old one through a rotation.
fn anchors(
    path: &Path,
    ders: &[CertificateDer<'static>],
    now_unix: i64,
    warnings: &mut Vec<String>,
) -> Result<Vec<Anchor>, TlsError> {
    let bad = |why: String| content("tls.ca_file", path, why);
    let mut anchors = Vec::new();
    for (place, der) in ders.iter().enumerate() {
        let certificate = parse(der).map_err(|_| {
            bad(format!(
                "has a malformed certificate (number {})",
                place + 1
            ))
        })?;
        let subject = rfc4514(certificate.subject());
        if !certificate.is_ca() {
            return Err(bad(format!(
                "holds `{subject}`, which is no CA certificate; list only CAs there"
            )));
        }
        let (_, to) = validity(&certificate);
        let file = path.display();
        if now_unix > to {
            warnings.push(format!(
                "tls.ca_file: {file}: `{subject}` expired at {} and is left out",
                utc(to)
            ));
            continue;
        }
        if to - now_unix < ENDS_SOON_SECONDS {
            warnings.push(format!(
                "tls.ca_file: {file}: `{subject}` expires at {}",
                utc(to)
            ));
        }
        anchors.push(Anchor {
            not_after_unix: to,
            der: der.to_vec(),
        });
    }
    if anchors.is_empty() {
        return Err(bad("holds no CA that is still valid; renew it".to_owned()));
    }
    anchors.sort();
    anchors.dedup();
    Ok(anchors)
}

type Crls = (Vec<CertificateRevocationListDer<'static>>, Option<i64>);

fn crls(
    path: &Path,
    pem: &[u8],
    cas: &[CertificateDer<'static>],
    now_unix: i64,
    warnings: &mut Vec<String>,
) -> Result<Crls, TlsError> {
    let bad = |why: String| content("tls.crl_file", path, why);
    let mut lists: Vec<CertificateRevocationListDer<'static>> =
        CertificateRevocationListDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| bad("is no valid PEM".to_owned()))?;
    if lists.is_empty() {
        return Err(bad(
            "holds no revocation list in PEM (`BEGIN X509 CRL`)".to_owned()
        ));
    }
    if lists.len() > CERTIFICATES_MAX {
        return Err(bad(format!("holds more than {CERTIFICATES_MAX} lists")));
    }
    let mut until = i64::MAX;
    let mut covered: Vec<Vec<u8>> = Vec::new();
    for der in &lists {
        let (_, list) = CertificateRevocationList::from_der(der.as_ref())
            .map_err(|_| bad("has a malformed list".to_owned()))?;
        let issuer = rfc4514(list.issuer());
        let next = list.next_update().ok_or_else(|| {
            bad(format!(
                "has a list of `{issuer}` without nextUpdate; issue it with one"
            ))
        })?;
        if now_unix >= next.timestamp() {
            return Err(bad(format!(
                "has a list of `{issuer}` that expired at {}; renew it",
                utc(next.timestamp())
            )));
        }
        until = until.min(next.timestamp());
        if forged(&list, cas) {
            return Err(bad(format!(
                "has a list of `{issuer}` whose signature is not that CA's; renew it"
            )));
        }
        covered.push(list.issuer().as_raw().to_vec());
    }
    for subject in uncovered(cas, &covered) {
        warnings.push(format!(
            "tls.crl_file: {} has no list of `{subject}`, so every client certificate that it issued is refused",
            path.display()
        ));
    }
    lists.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
    Ok((lists, Some(until)))
}

/// True if a CA has the issuer's name and none of them signed the list. (A list of an intermediate
/// CA is checked when a chain brings that CA along.)
fn forged(list: &CertificateRevocationList<'_>, cas: &[CertificateDer<'static>]) -> bool {
    let mut named = false;
    for ca in cas.iter().filter_map(|der| parse(der).ok()) {
        if ca.subject().as_raw() == list.issuer().as_raw() {
            named = true;
            if list.verify_signature(ca.public_key()).is_ok() {
                return false;
            }
        }
    }
    named
}

fn uncovered(cas: &[CertificateDer<'static>], covered: &[Vec<u8>]) -> Vec<String> {
    cas.iter()
        .filter_map(|der| parse(der).ok())
        .filter(|ca| !covered.iter().any(|issuer| issuer == ca.subject().as_raw()))
        .map(|ca| rfc4514(ca.subject()))
        .collect()
}

pub(crate) fn certificates(
    setting: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| content(setting, path, "is no valid PEM".to_owned()))?;
    match found.len() {
        0 => Err(content(
            setting,
            path,
            "holds no certificate in PEM (`BEGIN CERTIFICATE`)".to_owned(),
        )),
        1..=CERTIFICATES_MAX => Ok(found),
        _ => Err(content(
            setting,
            path,
            format!("holds more than {CERTIFICATES_MAX} certificates"),
        )),
    }
}

fn validity(certificate: &X509Certificate<'_>) -> (i64, i64) {
    let validity = certificate.validity();
    (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    )
}

pub(crate) fn content(setting: &'static str, path: &Path, why: String) -> TlsError {
    TlsError::Content {
        setting,
        path: path.to_owned(),
        why,
    }
}
