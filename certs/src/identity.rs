//! Who the peer is, by its certificate.

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::names::{self, AllowedNames};
use crate::reason::PeerError;
use crate::subject;

/// A client's name as its certificate gives it. That it is *verified* is said by where it comes
/// from: [`crate::ServerTls::recheck`] and [`crate::Peer`] verify, [`crate::ServerTls::identify`]
/// relies on a handshake that did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// DNS names of the subjectAltName: lower case, no final dot, wildcards and malformed names
    /// left out, in the certificate's order.
    pub dns_names: Vec<String>,
    /// URIs of the subjectAltName (SPIFFE ids for instance), as written.
    pub uri_names: Vec<String>,
    /// The first of `dns_names` that `allowed_dns_names` lets in: the name that audit records.
    pub name: String,
    /// The subject's distinguished name by RFC 4514; may be empty.
    pub subject: String,
    /// Serial number: lower case hex, without separators.
    pub serial: String,
    /// SHA-256 of the certificate's DER.
    pub leaf_sha256: [u8; 32],
    /// The same as `x5t#S256` has it (RFC 8705 §3.1): base64url without padding.
    pub x5t_s256: String,
    /// notAfter of the certificate, seconds since 1970.
    pub not_after_unix: i64,
    /// From this second on the identity has to be verified again, though nothing was reloaded: the
    /// first end of validity among the chain, the trusted CAs and the revocation lists.
    pub recheck_after_unix: i64,
    /// The trust epoch under which it was verified; 0 if it wasn't by us.
    pub trust_epoch: u64,
}

impl PeerIdentity {
    /// Reads the names. Verifies nothing but that one of them is allowed.
    pub(crate) fn read(
        chain: &[CertificateDer<'_>],
        allowed: &AllowedNames,
    ) -> Result<PeerIdentity, PeerError> {
        let leaf = chain.first().ok_or(PeerError::NoCertificate)?;
        let parsed = parse(leaf)?;
        let (dns_names, uri_names) = names_of(&parsed)?;
        let name = dns_names
            .iter()
            .find(|name| allowed.allow(name))
            .ok_or(PeerError::WrongName)?
            .clone();
        let leaf_sha256: [u8; 32] = Sha256::digest(leaf.as_ref()).into();
        let mut ends = Vec::with_capacity(chain.len());
        for certificate in chain {
            ends.push(parse(certificate)?.validity().not_after.timestamp());
        }
        Ok(PeerIdentity {
            dns_names,
            uri_names,
            name,
            subject: subject::rfc4514(parsed.subject()),
            serial: subject::hex(parsed.raw_serial()),
            leaf_sha256,
            x5t_s256: base64_simd::URL_SAFE_NO_PAD.encode_to_string(leaf_sha256),
            not_after_unix: parsed.validity().not_after.timestamp(),
            recheck_after_unix: ends.into_iter().min().unwrap_or_default(),
            trust_epoch: 0,
        })
    }
}

/// Parses one certificate; bytes behind it are an error.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PeerError> {
    match X509Certificate::from_der(der.as_ref()) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(PeerError::BadCertificate),
    }
}

/// The DNS names and URIs of the subjectAltName. The common name is not asked.
fn names_of(certificate: &X509Certificate<'_>) -> Result<(Vec<String>, Vec<String>), PeerError> {
    let mut dns = Vec::new();
    let mut uris = Vec::new();
    let alternative = certificate
        .subject_alternative_name()
        .map_err(|_| PeerError::BadCertificate)?;
    for name in alternative.iter().flat_map(|san| &san.value.general_names) {
        match name {
            GeneralName::DNSName(name) => dns.extend(names::normal(name)),
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            _ => {}
        }
    }
    Ok((dns, uris))
}
