//! What a certificate allows, said so that a person understands it (`certs show`).

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::identity::parse;
use crate::read::{self, ReadError};
use crate::subject::{hex, rfc4514, utc};

/// A name or text of a certificate is shown up to this many characters.
const TEXT_CHARS_MAX: usize = 200;

/// Why a file can't be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShowError {
    /// It can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// It holds no certificate and no revocation list.
    #[error("{} holds no certificate and no revocation list, in PEM or DER", .0.display())]
    Nothing(PathBuf),
    /// It holds a private key and nothing else.
    #[error("{} holds a private key, which is not shown; name the certificate's file", .0.display())]
    Key(PathBuf),
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its certificates, in order.
    pub certificates: Vec<Certificate>,
    /// Its revocation lists, in order.
    pub lists: Vec<RevocationList>,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// RFC 4514.
    pub subject: String,
    /// RFC 4514.
    pub issuer: String,
    /// Issuer and subject are the same name.
    pub self_issued: bool,
    /// Lower case hex.
    pub serial: String,
    /// Seconds since 1970.
    pub not_before_unix: i64,
    /// Seconds since 1970.
    pub not_after_unix: i64,
    /// DNS names of the subjectAltName, as written.
    pub dns_names: Vec<String>,
    /// Addresses of the subjectAltName.
    pub addresses: Vec<IpAddr>,
    /// URIs of the subjectAltName.
    pub uri_names: Vec<String>,
    /// Whether it is a CA's.
    pub ca: bool,
    /// Most CAs below this one.
    pub path_length: Option<u32>,
    /// RFC 5280's words; empty: not restricted.
    pub key_usage: Vec<String>,
    /// RFC 5280's words or the object identifier; empty: not restricted.
    pub extended_key_usage: Vec<String>,
    /// Kind and size of the public key.
    pub key: String,
    /// SHA-256 of the DER, lower case hex.
    pub sha256: String,
}

/// What a revocation list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// RFC 4514.
    pub issuer: String,
    /// Seconds since 1970.
    pub this_update_unix: i64,
    /// Seconds since 1970; without it the list is not accepted.
    pub next_update_unix: Option<i64>,
    /// How many certificates are revoked.
    pub revoked: usize,
}

/// Reads `path` (PEM, or one certificate in DER) and describes it. Keys in it are passed over.
///
/// # Errors
/// The file can't be read or holds nothing to show.
pub fn show(path: &Path) -> Result<Shown, ShowError> {
    let content = read::read(path)?;
    let bytes = content.bytes.as_slice();
    let nothing = || ShowError::Nothing(path.to_owned());
    let mut ders = pem::<CertificateDer<'static>>(bytes);
    let lists = pem::<CertificateRevocationListDer<'static>>(bytes);
    if ders.is_empty() && lists.is_empty() {
        if bytes.windows(11).any(|window| window == b"PRIVATE KEY") {
            return Err(ShowError::Key(path.to_owned()));
        }
        ders.push(CertificateDer::from(bytes.to_vec()));
    }
    let certificates = ders
        .iter()
        .map(|der| {
            parse(der)
                .map(|parsed| describe(&parsed, der))
                .map_err(|_| nothing())
        })
        .collect::<Result<_, _>>()?;
    let lists = lists
        .iter()
        .map(
            |der| match CertificateRevocationList::from_der(der.as_ref()) {
                Ok((_, list)) => Ok(describe_list(&list)),
                Err(_) => Err(nothing()),
            },
        )
        .collect::<Result<_, _>>()?;
    Ok(Shown {
        certificates,
        lists,
    })
}

/// The sections of one kind; what is no PEM has none.
fn pem<T: PemObject>(bytes: &[u8]) -> Vec<T> {
    T::pem_slice_iter(bytes).map_while(Result::ok).collect()
}

fn describe(parsed: &X509Certificate<'_>, der: &CertificateDer<'_>) -> Certificate {
    let mut shown = Certificate {
        subject: rfc4514(parsed.subject()),
        issuer: rfc4514(parsed.issuer()),
        self_issued: parsed.subject().as_raw() == parsed.issuer().as_raw(),
        serial: hex(parsed.raw_serial()),
        not_before_unix: parsed.validity().not_before.timestamp(),
        not_after_unix: parsed.validity().not_after.timestamp(),
        dns_names: Vec::new(),
        addresses: Vec::new(),
        uri_names: Vec::new(),
        ca: parsed.is_ca(),
        path_length: parsed
            .basic_constraints()
            .ok()
            .flatten()
            .and_then(|basic| basic.value.path_len_constraint),
        key_usage: key_usage(parsed),
        extended_key_usage: extended_key_usage(parsed),
        key: key(parsed.public_key()),
        sha256: hex(&Sha256::digest(der.as_ref())),
    };
    let alternative = parsed.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|san| &san.value.general_names) {
        match name {
            GeneralName::DNSName(name) => shown.dns_names.push((*name).to_owned()),
            GeneralName::URI(uri) => shown.uri_names.push((*uri).to_owned()),
            GeneralName::IPAddress(octets) => shown.addresses.extend(address(octets)),
            _ => {}
        }
    }
    shown
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(octets).map(IpAddr::from).ok())
}

fn key_usage(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Some(usage) = parsed.key_usage().ok().flatten().map(|usage| usage.value) else {
        return Vec::new();
    };
    let words = [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
    ];
    words
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, word)| word.to_owned())
        .collect()
}

fn extended_key_usage(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Some(usage) = parsed
        .extended_key_usage()
        .ok()
        .flatten()
        .map(|usage| usage.value)
    else {
        return Vec::new();
    };
    let words = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    words
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, word)| word.to_owned())
        .chain(usage.other.iter().map(|oid| oid.to_id_string()))
        .collect()
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> String {
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {} bits", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA {} bits", point.key_size()),
        _ => match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => format!("algorithm {other}"),
        },
    }
}

fn describe_list(list: &CertificateRevocationList<'_>) -> RevocationList {
    RevocationList {
        issuer: rfc4514(list.issuer()),
        this_update_unix: list.last_update().timestamp(),
        next_update_unix: list.next_update().map(|next| next.timestamp()),
        revoked: list.iter_revoked_certificates().count(),
    }
}

impl Certificate {
    /// What the holder may do with it, a sentence each.
    #[must_use]
    pub fn allows(&self) -> Vec<String> {
        let mut allows = Vec::new();
        let listed = |words: &[String], word: &str| {
            words.is_empty()
                || words
                    .iter()
                    .any(|w| w == word || w == "anyExtendedKeyUsage")
        };
        if self.ca {
            if listed(&self.key_usage, "keyCertSign") {
                allows.push("issue certificates that whoever trusts it accepts".to_owned());
            }
            if listed(&self.key_usage, "cRLSign") {
                allows.push("revoke what it issued (sign revocation lists)".to_owned());
            }
            return allows;
        }
        let signs = listed(&self.key_usage, "digitalSignature");
        let named = !self.dns_names.is_empty() || !self.addresses.is_empty();
        if signs && named && listed(&self.extended_key_usage, "serverAuth") {
            allows.push("serve TLS under its DNS names and addresses".to_owned());
        }
        if signs && listed(&self.extended_key_usage, "clientAuth") {
            allows.push(if self.dns_names.is_empty() {
                "show itself as a TLS client (but without a DNS name no `allowed_dns_names` matches)"
                    .to_owned()
            } else {
                "show itself as a TLS client under its DNS names".to_owned()
            });
        }
        allows
    }

    fn state(&self, now_unix: i64) -> &'static str {
        if now_unix > self.not_after_unix {
            "EXPIRED"
        } else if now_unix < self.not_before_unix {
            "not valid yet"
        } else {
            "valid now"
        }
    }

    fn lines(&self, now_unix: i64) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("subject", self.subject.clone()),
            ("issuer", self.issuer.clone()),
            (
                "valid",
                format!(
                    "{} to {} ({})",
                    utc(self.not_before_unix),
                    utc(self.not_after_unix),
                    self.state(now_unix)
                ),
            ),
        ];
        if self.self_issued {
            lines.push(("", "issued by itself".to_owned()));
        }
        lines.extend(self.dns_names.iter().map(|name| ("DNS name", name.clone())));
        lines.extend(self.addresses.iter().map(|a| ("address", a.to_string())));
        lines.extend(self.uri_names.iter().map(|uri| ("URI", uri.clone())));
        let allows = self.allows();
        if allows.is_empty() {
            lines.push(("allows", "nothing that TLS needs".to_owned()));
        }
        lines.extend(allows.into_iter().map(|text| ("allows", text)));
        let limit = match (self.ca, self.path_length) {
            (false, _) => "no".to_owned(),
            (true, None) => "yes, of any depth".to_owned(),
            (true, Some(depth)) => format!("yes, with {depth} CAs below it"),
        };
        lines.push(("CA", limit));
        lines.push(("key usage", words(&self.key_usage)));
        lines.push(("extended", words(&self.extended_key_usage)));
        lines.push(("key", self.key.clone()));
        lines.push(("serial", self.serial.clone()));
        lines.push(("SHA-256", self.sha256.clone()));
        lines
    }
}

fn words(words: &[String]) -> String {
    if words.is_empty() {
        "not restricted".to_owned()
    } else {
        words.join(", ")
    }
}

impl RevocationList {
    fn lines(&self, now_unix: i64) -> Vec<(&'static str, String)> {
        let until = match self.next_update_unix {
            None => "without an end, so it is not accepted".to_owned(),
            Some(end) if now_unix >= end => format!("{} (EXPIRED)", utc(end)),
            Some(end) => utc(end),
        };
        vec![
            ("issuer", self.issuer.clone()),
            (
                "valid",
                format!("{} to {until}", utc(self.this_update_unix)),
            ),
            ("revoked", format!("{} certificates", self.revoked)),
        ]
    }
}

impl Shown {
    /// For a terminal, as of `now_unix` (seconds since 1970). Text of the certificate is shortened
    /// and stripped of control characters.
    #[must_use]
    pub fn render(&self, now_unix: i64) -> String {
        let mut out = String::new();
        let certificates = self
            .certificates
            .iter()
            .map(|c| ("certificate", c.lines(now_unix)));
        let lists = self
            .lists
            .iter()
            .map(|l| ("revocation list", l.lines(now_unix)));
        for (place, (title, lines)) in certificates.chain(lists).enumerate() {
            if place > 0 {
                out.push('\n');
            }
            out.push_str(title);
            out.push('\n');
            let mut before = "";
            for (label, text) in lines {
                // A label is written once for several lines of its kind.
                let written = if label == before { "" } else { label };
                before = label;
                let text: String = text
                    .chars()
                    .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                    .take(TEXT_CHARS_MAX)
                    .collect();
                out.push_str(&format!("  {written:<10} {text}\n"));
            }
        }
        out
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(crate::watch::now_unix()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dev;

    #[test]
    fn a_development_directory_is_described() {
        let dir = tempfile::tempdir().unwrap();
        let files = dev::init(
            dir.path(),
            &["mcp.example.com".to_owned()],
            "web.example.com",
        )
        .unwrap();
        let server = show(&files.server).unwrap();
        let names = &server.certificates[0].dns_names;
        assert_eq!(names, &["mcp.example.com", "localhost"]);
        assert_eq!(server.certificates[0].addresses.len(), 2);
        assert_eq!(server.certificates[0].extended_key_usage, ["serverAuth"]);
        assert_eq!(server.certificates[0].key, "ECDSA 256 bits");
        let client = show(&files.client).unwrap();
        assert_eq!(
            client.certificates[0].allows(),
            ["show itself as a TLS client under its DNS names"]
        );
        let ca = show(&files.ca).unwrap();
        assert!(ca.certificates[0].ca && ca.certificates[0].self_issued);
        let text = format!("{ca}{client}");
        assert!(
            text.contains("valid now") && text.contains("web.example.com"),
            "{text}"
        );
    }

    #[test]
    fn a_key_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let files = dev::init(dir.path(), &[], dev::DEFAULT_CLIENT).unwrap();
        assert!(matches!(show(&files.client_key), Err(ShowError::Key(_))));
    }

    #[test]
    fn der_and_revocation_lists_are_shown_and_noise_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let ca = dev::Authority::generate().unwrap();
        fs::write(&path, ca.revoke(&["4101"], dev::Validity::Expired).unwrap()).unwrap();
        let shown = show(&path).unwrap();
        assert_eq!(shown.lists[0].revoked, 1);
        assert!(shown.to_string().contains("EXPIRED"));
        let der = CertificateDer::from_pem_slice(ca.certificate().as_bytes()).unwrap();
        fs::write(&path, &der).unwrap();
        assert_eq!(show(&path).unwrap().certificates.len(), 1);
        fs::write(&path, "noise").unwrap();
        assert!(matches!(show(&path), Err(ShowError::Nothing(_))));
    }
}
