//! Why a peer was refused, as a closed set of words for audit events and metric labels.

use std::error::Error as StdError;
use std::io;

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why a handshake failed or a peer is no longer trusted. The codes are stable: dashboards and
/// audit queries hold on to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The client offers no TLS 1.3.
    TlsVersion,
    /// The client showed no certificate.
    NoCertificate,
    /// The certificate can't be parsed, has an unknown critical extension, a bad signature, …
    BadCertificate,
    /// Past its notAfter.
    Expired,
    /// Before its notBefore.
    NotYetValid,
    /// No path to a CA of `ca_file`.
    UnknownCa,
    /// Listed in a CRL.
    Revoked,
    /// A `crl_file` is configured and none of its lists covers the certificate.
    RevocationUnknown,
    /// The CRL that covers the certificate is past its nextUpdate.
    CrlExpired,
    /// The CRL that covers the certificate is not valid.
    CrlInvalid,
    /// None of its DNS names is in `allowed_dns_names`.
    WrongName,
    /// Not meant for TLS clients (extended key usage), or a CA's own certificate.
    WrongUsage,
    /// No cipher suite in common.
    NoCommonSuite,
    /// No key exchange group in common.
    NoCommonGroup,
    /// No signature scheme in common.
    NoCommonSignature,
    /// No application protocol (ALPN) in common.
    NoCommonProtocol,
    /// What came is no TLS, plain HTTP for instance.
    NotTls,
    /// The client broke TLS's rules.
    Protocol,
    /// The client refused us with an alert.
    PeerAlert,
    /// The connection ended before the handshake did.
    ConnectionClosed,
    /// The handshake took too long.
    Timeout,
    /// Our own failure.
    Internal,
}

impl Reason {
    /// Every reason, for metrics that start at zero.
    pub const ALL: [Reason; 22] = [
        Reason::TlsVersion,
        Reason::NoCertificate,
        Reason::BadCertificate,
        Reason::Expired,
        Reason::NotYetValid,
        Reason::UnknownCa,
        Reason::Revoked,
        Reason::RevocationUnknown,
        Reason::CrlExpired,
        Reason::CrlInvalid,
        Reason::WrongName,
        Reason::WrongUsage,
        Reason::NoCommonSuite,
        Reason::NoCommonGroup,
        Reason::NoCommonSignature,
        Reason::NoCommonProtocol,
        Reason::NotTls,
        Reason::Protocol,
        Reason::PeerAlert,
        Reason::ConnectionClosed,
        Reason::Timeout,
        Reason::Internal,
    ];

    /// The stable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Reason::TlsVersion => "tls_version",
            Reason::NoCertificate => "no_certificate",
            Reason::BadCertificate => "bad_certificate",
            Reason::Expired => "expired",
            Reason::NotYetValid => "not_yet_valid",
            Reason::UnknownCa => "unknown_ca",
            Reason::Revoked => "revoked",
            Reason::RevocationUnknown => "revocation_unknown",
            Reason::CrlExpired => "crl_expired",
            Reason::CrlInvalid => "crl_invalid",
            Reason::WrongName => "wrong_name",
            Reason::WrongUsage => "wrong_usage",
            Reason::NoCommonSuite => "no_common_suite",
            Reason::NoCommonGroup => "no_common_group",
            Reason::NoCommonSignature => "no_common_signature",
            Reason::NoCommonProtocol => "no_common_protocol",
            Reason::NotTls => "not_tls",
            Reason::Protocol => "protocol",
            Reason::PeerAlert => "peer_alert",
            Reason::ConnectionClosed => "connection_closed",
            Reason::Timeout => "timeout",
            Reason::Internal => "internal",
        }
    }
}

/// Why a peer's certificate chain is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// There is none.
    #[error("the client showed no certificate")]
    NoCertificate,
    /// It can't be parsed or its signature is bad.
    #[error("the client's certificate is malformed or badly signed")]
    BadCertificate,
    /// Past its notAfter.
    #[error("the client's certificate is expired")]
    Expired,
    /// Before its notBefore.
    #[error("the client's certificate is not valid yet")]
    NotYetValid,
    /// No path to a trusted CA.
    #[error("the client's certificate comes from no CA of tls.ca_file")]
    UnknownCa,
    /// Listed in a CRL.
    #[error("the client's certificate is revoked")]
    Revoked,
    /// No CRL covers it.
    #[error("no list in tls.crl_file covers the client's certificate or its issuer")]
    RevocationUnknown,
    /// The CRL is past its nextUpdate.
    #[error("the revocation list for the client's certificate is expired; renew tls.crl_file")]
    CrlExpired,
    /// The CRL is not valid.
    #[error("the revocation list for the client's certificate is not valid; renew tls.crl_file")]
    CrlInvalid,
    /// None of its DNS names is allowed.
    #[error("none of the DNS names in the client's certificate is in allowed_dns_names")]
    WrongName,
    /// Not a TLS client's certificate.
    #[error("the client's certificate is not meant for TLS clients")]
    WrongUsage,
    /// Our own failure.
    #[error("the client's certificate could not be checked")]
    Internal,
}

impl PeerError {
    /// The stable word for audit and metrics.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            PeerError::NoCertificate => Reason::NoCertificate,
            PeerError::BadCertificate => Reason::BadCertificate,
            PeerError::Expired => Reason::Expired,
            PeerError::NotYetValid => Reason::NotYetValid,
            PeerError::UnknownCa => Reason::UnknownCa,
            PeerError::Revoked => Reason::Revoked,
            PeerError::RevocationUnknown => Reason::RevocationUnknown,
            PeerError::CrlExpired => Reason::CrlExpired,
            PeerError::CrlInvalid => Reason::CrlInvalid,
            PeerError::WrongName => Reason::WrongName,
            PeerError::WrongUsage => Reason::WrongUsage,
            PeerError::Internal => Reason::Internal,
        }
    }

    /// What a verifier's error says about the certificate.
    pub(crate) fn of(error: &Error) -> PeerError {
        match error {
            Error::NoCertificatesPresented => PeerError::NoCertificate,
            Error::InvalidCertificate(error) => PeerError::of_certificate(error),
            Error::InvalidCertRevocationList(_) => PeerError::CrlInvalid,
            _ => PeerError::Internal,
        }
    }

    fn of_certificate(error: &CertificateError) -> PeerError {
        use CertificateError as C;
        match error {
            C::Expired | C::ExpiredContext { .. } => PeerError::Expired,
            C::NotValidYet | C::NotValidYetContext { .. } => PeerError::NotYetValid,
            C::UnknownIssuer => PeerError::UnknownCa,
            C::Revoked => PeerError::Revoked,
            C::UnknownRevocationStatus => PeerError::RevocationUnknown,
            C::ExpiredRevocationList | C::ExpiredRevocationListContext { .. } => {
                PeerError::CrlExpired
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => PeerError::WrongName,
            C::InvalidPurpose | C::InvalidPurposeContext { .. } => PeerError::WrongUsage,
            // Our own verifier's verdict travels through rustls in this box.
            C::Other(other) => other
                .0
                .downcast_ref::<PeerError>()
                .copied()
                .unwrap_or(PeerError::BadCertificate),
            _ => PeerError::BadCertificate,
        }
    }
}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Error {
        Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(
            std::sync::Arc::new(error),
        )))
    }
}

/// The word for a failed handshake on the server's side.
#[must_use]
pub fn classify(error: &Error) -> Reason {
    match error {
        Error::NoCertificatesPresented
        | Error::InvalidCertificate(_)
        | Error::InvalidCertRevocationList(_) => PeerError::of(error).reason(),
        Error::PeerIncompatible(what) => incompatible(what),
        Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => Reason::TlsVersion,
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => Reason::NotTls,
        Error::NoApplicationProtocol => Reason::NoCommonProtocol,
        Error::AlertReceived(_) => Reason::PeerAlert,
        Error::InvalidMessage(_)
        | Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => Reason::Protocol,
        _ => Reason::Internal,
    }
}

fn incompatible(what: &PeerIncompatible) -> Reason {
    use PeerIncompatible as P;
    match what {
        P::SupportedVersionsExtensionRequired
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::ServerDoesNotSupportTls12Or13
        | P::Tls13RequiredForQuic => Reason::TlsVersion,
        P::NoCipherSuitesInCommon => Reason::NoCommonSuite,
        P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired | P::KeyShareExtensionRequired => {
            Reason::NoCommonGroup
        }
        P::NoSignatureSchemesInCommon
        | P::NoCertificateRequestSignatureSchemesInCommon
        | P::SignatureAlgorithmsExtensionRequired => Reason::NoCommonSignature,
        _ => Reason::Protocol,
    }
}

/// The word for an error that wraps the handshake's, however deep: the I/O error of a socket, errors
/// that name their `source`. Pingora's error names none: pass its `root_cause()`.
#[must_use]
pub fn classify_chain(error: &(dyn StdError + 'static)) -> Reason {
    let mut next = Some(error);
    // What the outermost I/O error says, should nothing inside it be more precise.
    let mut kind = None;
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<Error>() {
            return classify(tls);
        }
        if let Some(peer) = error.downcast_ref::<PeerError>() {
            return peer.reason();
        }
        next = match error.downcast_ref::<io::Error>() {
            // `source` of an I/O error skips the very error that it wraps.
            Some(io) => {
                kind = kind.or(Some(io.kind()));
                io.get_ref().map(|inner| inner as &(dyn StdError + 'static))
            }
            None => error.source(),
        };
    }
    kind.map_or(Reason::Internal, io_reason)
}

fn io_reason(kind: io::ErrorKind) -> Reason {
    match kind {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::BrokenPipe => Reason::ConnectionClosed,
        io::ErrorKind::TimedOut => Reason::Timeout,
        _ => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_a_word_of_its_own() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(
            codes
                .iter()
                .all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
    }

    #[test]
    fn an_error_wrapped_in_io_errors_is_found() {
        let inner = io::Error::new(io::ErrorKind::InvalidData, Error::NoCertificatesPresented);
        let outer = io::Error::other(inner);
        assert_eq!(classify_chain(&outer), Reason::NoCertificate);
    }

    #[test]
    fn a_verdict_of_ours_survives_the_way_through_rustls() {
        assert_eq!(classify(&PeerError::WrongName.into()), Reason::WrongName);
        assert_eq!(
            PeerError::of(&PeerError::Revoked.into()),
            PeerError::Revoked
        );
    }

    #[test]
    fn a_closed_connection_is_no_failure_of_ours() {
        assert_eq!(
            classify_chain(&io::Error::from(io::ErrorKind::UnexpectedEof)),
            Reason::ConnectionClosed
        );
        assert_eq!(
            classify_chain(&io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "tls handshake eof"
            )),
            Reason::ConnectionClosed
        );
    }
}
