//! Which client certificates are trusted, as a value that a reload swaps whole.
//!
//! Revocation, where `crl_file` is set, is checked for every certificate of the chain, and one that
//! no list covers is refused: a list that is configured but silent about an issuer would otherwise
//! look like a check that passed. A list past its nextUpdate counts for nothing.
//!
//! The path is built by webpki, which takes a trusted CA without looking at its dates. A CA past
//! its notAfter is left out here: the verifier is made once for each moment at which one of the
//! CAs ends, and the clock picks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::identity::PeerIdentity;
use crate::names::AllowedNames;
use crate::reason::PeerError;

/// A CA of `ca_file`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Anchor {
    /// notAfter, seconds since 1970.
    pub(crate) not_after_unix: i64,
    pub(crate) der: Vec<u8>,
}

/// What decides whether a peer is trusted; two equal ones decide alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustMaterial {
    /// Sorted, no duplicates.
    pub(crate) anchors: Vec<Anchor>,
    pub(crate) crls: Vec<CertificateRevocationListDer<'static>>,
    /// The first nextUpdate among the lists, seconds since 1970.
    pub(crate) crl_until_unix: Option<i64>,
    pub(crate) names: AllowedNames,
}

/// One verifier and the second up to which (included) all its CAs are valid.
struct Stage {
    until_unix: i64,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Material made ready, with its number.
pub(crate) struct Trust {
    pub(crate) material: TrustMaterial,
    /// Counts up with every change of the material; begins at 1.
    pub(crate) epoch: u64,
    /// By rising end.
    stages: Vec<Stage>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Trust {
    pub(crate) fn build(
        material: TrustMaterial,
        epoch: u64,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Trust, String> {
        let mut ends: Vec<i64> = material.anchors.iter().map(|a| a.not_after_unix).collect();
        ends.dedup();
        let stages = ends
            .into_iter()
            .map(|until_unix| {
                let alive = material
                    .anchors
                    .iter()
                    .filter(|a| a.not_after_unix >= until_unix);
                let verifier = verifier(alive, &material.crls, provider)?;
                Ok(Stage {
                    until_unix,
                    verifier,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Trust {
            material,
            epoch,
            stages,
        })
    }

    /// Verifies a chain as the handshake does.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let stage = self.stage(unix(now)).ok_or(PeerError::UnknownCa)?;
        stage
            .verifier
            .verify_client_cert(leaf, intermediates, now)?;
        PeerIdentity::read(std::slice::from_ref(leaf), &self.material.names)?;
        Ok(())
    }

    /// Verifies a chain and says whose it is.
    pub(crate) fn recheck(
        &self,
        chain: &[CertificateDer<'_>],
        now_unix: i64,
    ) -> Result<PeerIdentity, PeerError> {
        let (leaf, intermediates) = chain.split_first().ok_or(PeerError::NoCertificate)?;
        let since = Duration::from_secs(u64::try_from(now_unix).unwrap_or_default());
        self.verify(leaf, intermediates, UnixTime::since_unix_epoch(since))
            .map_err(|error| PeerError::of(&error))?;
        let mut identity = PeerIdentity::read(chain, &self.material.names)?;
        identity.trust_epoch = self.epoch;
        let ends = self.stage(now_unix).map(|s| s.until_unix).into_iter();
        identity.recheck_after_unix = ends
            .chain(self.material.crl_until_unix)
            .fold(identity.recheck_after_unix, i64::min);
        Ok(identity)
    }

    fn stage(&self, now_unix: i64) -> Option<&Stage> {
        self.stages
            .iter()
            .find(|stage| now_unix <= stage.until_unix)
    }
}

fn unix(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn verifier<'a>(
    anchors: impl Iterator<Item = &'a Anchor>,
    crls: &[CertificateRevocationListDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots
            .add(CertificateDer::from(anchor.der.as_slice()).into_owned())
            .map_err(|error| error.to_string())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(crls.iter().cloned())
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| error.to_string())
}

/// The verifier that the listener keeps while what it trusts is swapped.
#[derive(Debug)]
pub(crate) struct HotVerifier {
    pub(crate) trust: Arc<ArcSwap<Trust>>,
    pub(crate) mandatory: bool,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for HotVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// Empty: a client may choose freely. Names of CAs would be a borrow of what can be swapped,
    /// and would tell whoever connects whom we trust.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust.load().verify(leaf, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
