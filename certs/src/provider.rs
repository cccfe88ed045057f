//! The cryptography that TLS uses in this process: AWS-LC through rustls, narrowed to what the
//! configuration allows.
//!
//! The provider is also installed as the process default, because libraries that build their own
//! TLS configuration (upstream connections, drivers) take the default: with only TLS 1.3 suites in
//! it, none of them can fall back to an older protocol.

use std::fmt;
use std::str::FromStr;

use rustls::SupportedCipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// A cipher suite of TLS 1.3 (RFC 8446, appendix B.4); the older protocols have none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `TLS_AES_256_GCM_SHA384`
    Aes256GcmSha384,
    /// `TLS_CHACHA20_POLY1305_SHA256`
    Chacha20Poly1305Sha256,
    /// `TLS_AES_128_GCM_SHA256`
    Aes128GcmSha256,
}

impl Suite {
    /// Every suite, strongest first: the order to use where the configuration gives none.
    pub const ALL: [Suite; 3] = [
        Suite::Aes256GcmSha384,
        Suite::Chacha20Poly1305Sha256,
        Suite::Aes128GcmSha256,
    ];

    /// The name in IANA's registry, as configurations write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Suite::Aes256GcmSha384 => "TLS_AES_256_GCM_SHA384",
            Suite::Chacha20Poly1305Sha256 => "TLS_CHACHA20_POLY1305_SHA256",
            Suite::Aes128GcmSha256 => "TLS_AES_128_GCM_SHA256",
        }
    }

    fn supported(self) -> SupportedCipherSuite {
        use aws_lc_rs::cipher_suite as suites;
        match self {
            Suite::Aes256GcmSha384 => suites::TLS13_AES_256_GCM_SHA384,
            Suite::Chacha20Poly1305Sha256 => suites::TLS13_CHACHA20_POLY1305_SHA256,
            Suite::Aes128GcmSha256 => suites::TLS13_AES_128_GCM_SHA256,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no suite of TLS 1.3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cipher suite `{0}` is not one of TLS 1.3; use TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256 or TLS_AES_128_GCM_SHA256"
)]
pub struct UnknownSuite(pub String);

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(name: &str) -> Result<Self, UnknownSuite> {
        Suite::ALL
            .into_iter()
            .find(|suite| suite.as_str() == name)
            .ok_or_else(|| UnknownSuite(name.to_owned()))
    }
}

/// Why no provider could be made or installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The list of suites is empty.
    #[error("tls.cipher_suites is empty; name at least one suite of TLS 1.3")]
    NoSuite,
    /// A suite stands in the list twice, so its place in the order is unclear.
    #[error("cipher suite {0} is listed twice; remove one")]
    Twice(Suite),
    /// Something else was installed before: by another call with other suites, or by a library.
    #[error(
        "another TLS provider is already installed in this process; changing tls.cipher_suites needs a restart"
    )]
    Other,
}

/// A provider with exactly `suites`, in that order, and the key exchange groups X25519MLKEM768
/// (post-quantum hybrid), X25519, secp256r1, secp384r1.
///
/// # Errors
/// An empty list, or a suite named twice.
pub fn provider(suites: &[Suite]) -> Result<CryptoProvider, ProviderError> {
    if suites.is_empty() {
        return Err(ProviderError::NoSuite);
    }
    for (place, suite) in suites.iter().enumerate() {
        if suites.iter().take(place).any(|earlier| earlier == suite) {
            return Err(ProviderError::Twice(*suite));
        }
    }
    use aws_lc_rs::kx_group;
    Ok(CryptoProvider {
        cipher_suites: suites.iter().map(|suite| suite.supported()).collect(),
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}

/// Makes [`provider`] the default of this process. To be called first in `main`: libraries that
/// come later keep what they find. A second call with equal suites is well.
///
/// # Errors
/// As [`provider`]; and [`ProviderError::Other`] if a different one is installed already.
pub fn install_provider(suites: &[Suite]) -> Result<(), ProviderError> {
    let wanted = provider(suites)?;
    let same = |installed: &CryptoProvider| offers(installed) == offers(&wanted);
    if let Some(installed) = CryptoProvider::get_default() {
        return if same(installed) {
            Ok(())
        } else {
            Err(ProviderError::Other)
        };
    }
    match wanted.clone().install_default() {
        Ok(()) => Ok(()),
        // Another thread was faster; what counts is what stands there now.
        Err(installed) if same(&installed) => Ok(()),
        Err(_) => Err(ProviderError::Other),
    }
}

/// What a provider lets a peer choose from: suites and groups, each in order.
fn offers(provider: &CryptoProvider) -> (Vec<rustls::CipherSuite>, Vec<rustls::NamedGroup>) {
    (
        provider
            .cipher_suites
            .iter()
            .map(SupportedCipherSuite::suite)
            .collect(),
        provider
            .kx_groups
            .iter()
            .map(|group| group.name())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_parses_from_its_own_name() {
        for suite in Suite::ALL {
            assert_eq!(suite.as_str().parse(), Ok(suite));
        }
    }

    #[test]
    fn a_suite_of_tls_1_2_is_refused() {
        assert!(
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
                .parse::<Suite>()
                .is_err()
        );
    }

    #[test]
    fn an_empty_or_repeated_list_is_refused() {
        assert_eq!(provider(&[]).err(), Some(ProviderError::NoSuite));
        let twice = [Suite::Aes256GcmSha384, Suite::Aes256GcmSha384];
        assert_eq!(
            provider(&twice).err(),
            Some(ProviderError::Twice(Suite::Aes256GcmSha384))
        );
    }

    #[test]
    fn a_second_install_is_well_only_if_equal() {
        assert_eq!(install_provider(&Suite::ALL), Ok(()));
        assert_eq!(install_provider(&Suite::ALL), Ok(()));
        assert_eq!(
            install_provider(&[Suite::Aes128GcmSha256]),
            Err(ProviderError::Other)
        );
        let installed = CryptoProvider::get_default().expect("installed");
        assert_eq!(
            installed.kx_groups.first().map(|group| group.name()),
            Some(rustls::NamedGroup::X25519MLKEM768)
        );
    }
}
