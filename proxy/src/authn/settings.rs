//! What the configuration says about authentication, as plain values.

use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::dpop::BindingSettings;
use super::introspection::IntrospectionSettings;
use super::tokens::{SealingKeys, SuccessorKeys};

/// The shortest secret for local tokens, in bytes (RFC 7518 §3.2: as long as the hash).
pub const SECRET_BYTES_MIN: usize = 32;
/// The largest clock skew that may be configured, in seconds.
pub const CLOCK_SKEW_SECONDS_MAX: u32 = 120;
/// Verified tokens that are remembered, by default.
pub const CACHED_TOKENS_DEFAULT: usize = 4096;
/// The shortest time between two fetches of the provider's keys, by default.
pub const REFRESH_MIN_INTERVAL: Duration = Duration::from_secs(10);
/// How often the provider's keys are fetched without a reason, by default.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// How long keys serve while the provider can't be reached, by default.
pub const KEYS_STALE_MAX: Duration = Duration::from_secs(3600);

/// A secret's bytes: wiped on drop, never shown.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(in crate::authn) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// What secrets are compared by, so that no comparison's time tells of their bytes.
    fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `authentication.jwt`: tokens that this organisation signs itself (HS256).
#[derive(Debug)]
pub struct LocalSettings {
    /// The HMAC key, at least [`SECRET_BYTES_MIN`] bytes.
    pub secret: Secret,
    /// The secret before it, which still verifies.
    pub previous: Option<PreviousSecret>,
    /// The exact `iss`.
    pub issuer: String,
    /// The `aud` that a token must name.
    pub audience: String,
    /// The longest lifetime (`exp - iat`), in seconds.
    pub expiration_max: u32,
    /// Whether a token serves one request only, by its `jti`.
    pub once: bool,
}

/// `authentication.jwt.previous`: a secret that signs nothing any more.
#[derive(Debug)]
pub struct PreviousSecret {
    /// The HMAC key, at least [`SECRET_BYTES_MIN`] bytes.
    pub secret: Secret,
    /// Unix seconds: it verifies before this.
    pub until_unix: i64,
}

impl LocalSettings {
    /// The keys that turn refresh tokens.
    pub(super) fn successor_keys(&self) -> SuccessorKeys {
        SuccessorKeys::derive(self.secrets())
    }

    /// The keys that seal their families.
    pub(super) fn sealing_keys(&self) -> SealingKeys {
        SealingKeys::derive(self.secrets())
    }

    /// The secrets, the one in force first.
    fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        let previous = self.previous.iter().map(|old| old.secret.expose());
        std::iter::once(self.secret.expose()).chain(previous)
    }

    /// Whether other settings have the same secrets.
    pub(super) fn has_secrets_of(&self, other: &Self) -> bool {
        let secrets = |settings: &Self| {
            let old = settings.previous.as_ref();
            let old = old.map(|old| (old.secret.digest(), old.until_unix));
            (settings.secret.digest(), old)
        };
        secrets(self) == secrets(other)
    }
}

/// `keycloak`, or one of `identity.issuers`: tokens of an OpenID provider.
#[derive(Debug)]
pub struct ProviderSettings {
    /// The exact `iss` and base of discovery: `server_url` + `/realms/` + `realm`.
    pub issuer: String,
    /// `listen.public_url`; as an audience it is compared without a trailing slash.
    pub resource: String,
    /// Further audiences, exact.
    pub audiences: Vec<String>,
    /// `keycloak.client_id`: who logout tokens without a session are for. Empty: nobody.
    pub client_id: String,
    /// The claim that grants roles, as a path: `["realm_access", "roles"]`.
    pub roles_from: Vec<String>,
    /// The only roles that count; none: whatever the claim names.
    pub roles: Option<Vec<String>>,
    /// Whether access tokens as RFC 9068 §2 shapes them are taken beside Keycloak's own.
    pub by_rfc9068: bool,
    /// PEM certificates that the provider's server certificate must chain to; the system's roots without it.
    pub ca_file: Option<PathBuf>,
    /// The shortest time between two fetches of keys.
    pub refresh_min_interval: Duration,
    /// How often keys are fetched without a reason.
    pub refresh_interval: Duration,
    /// How long fetched keys serve while the provider can't be reached.
    pub keys_stale_max: Duration,
    /// Whether logins that begin while the provider can't be reached are let in.
    pub serves_new_when_down: bool,
    /// Whether and how the provider is asked about each token.
    pub introspection: Option<IntrospectionSettings>,
}

impl ProviderSettings {
    /// Settings with the default times, no further audience, the system's roots and `realm_access.roles`.
    pub fn new(server_url: &str, realm: &str, resource: &str) -> Self {
        Self {
            issuer: format!("{}/realms/{realm}", server_url.trim_end_matches('/')),
            resource: resource.to_owned(),
            audiences: Vec::new(),
            client_id: String::new(),
            roles_from: vec!["realm_access".to_owned(), "roles".to_owned()],
            roles: None,
            by_rfc9068: false,
            ca_file: None,
            refresh_min_interval: REFRESH_MIN_INTERVAL,
            refresh_interval: REFRESH_INTERVAL,
            keys_stale_max: KEYS_STALE_MAX,
            serves_new_when_down: false,
            introspection: None,
        }
    }
}

/// `authentication.mfa` and `keycloak.require_mfa`.
#[derive(Debug, Clone, Default)]
pub struct SecondFactorSettings {
    /// Whether a token without proof is refused. There is no grace period.
    pub required: bool,
    /// `amr` `otp` or `totp` proves it.
    pub totp: bool,
    /// `amr` `hwk`, `swk` or `webauthn` proves it.
    pub webauthn: bool,
    /// `acr` values that prove it, for logins of people only.
    pub acr_values: Vec<String>,
}

/// Everything that [`Authenticator::new`](super::Authenticator::new) needs.
#[derive(Debug)]
pub struct AuthnSettings {
    /// Local tokens, if taken.
    pub local: Option<LocalSettings>,
    /// The providers whose tokens are taken.
    pub providers: Vec<ProviderSettings>,
    /// The second factor.
    pub second_factor: SecondFactorSettings,
    /// What tokens are bound to.
    pub binding: BindingSettings,
    /// `listen.public_url`: what proofs must be for.
    pub public_url: String,
    /// Names that several people share, in lower case: nobody is let in as one of them.
    pub shared_subjects: Vec<String>,
    /// How far `nbf`, `iat` and `auth_time` may be ahead of this clock, in seconds. `exp` gets no leeway.
    pub clock_skew_seconds: u32,
    /// Verified tokens that are remembered.
    pub cached_tokens_max: usize,
}

impl AuthnSettings {
    /// Settings that take local tokens only; a second factor by TOTP or WebAuthn is required.
    pub fn local_only(local: LocalSettings) -> Self {
        Self {
            local: Some(local),
            providers: Vec::new(),
            second_factor: SecondFactorSettings {
                required: true,
                totp: true,
                webauthn: true,
                acr_values: Vec::new(),
            },
            binding: BindingSettings::default(),
            public_url: String::new(),
            shared_subjects: Vec::new(),
            clock_skew_seconds: 5,
            cached_tokens_max: CACHED_TOKENS_DEFAULT,
        }
    }
}

/// Settings that no authenticator can be built from: the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Neither kind of token is taken: nobody could ever get in.
    #[error(
        "neither local tokens nor keycloak nor identity.issuers are configured: nobody could log in"
    )]
    NoIssuer,
    /// Two have the same issuer: which rules count would be a guess.
    #[error(
        "two of authentication.jwt, keycloak and identity.issuers have one issuer: tell them apart"
    )]
    SameIssuer,
    /// The secret is too short.
    #[error("authentication.jwt.secret is shorter than {SECRET_BYTES_MIN} bytes")]
    SecretTooShort,
    /// An issuer, audience or claim path is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The skew is above [`CLOCK_SKEW_SECONDS_MAX`].
    #[error("the clock skew is above {CLOCK_SKEW_SECONDS_MAX} seconds")]
    SkewTooLarge,
    /// Nothing could ever prove the second factor that is required.
    #[error("a second factor is required, but no provider or acr value proves one")]
    NoProof,
    /// An issuer is no https URL (http is for loopback only).
    #[error("the issuer {0} is not an https url (http is allowed on loopback only)")]
    IssuerUrl(String),
    /// The CA file can't be used.
    #[error("keycloak's ca file cannot be used: {0}")]
    CaFile(String),
    /// The system has no usable root certificates.
    #[error("the system has no usable root certificates: name keycloak's ca file")]
    NoRoots,
    /// The TLS client could not be set up.
    #[error("the tls client for keycloak cannot be set up")]
    Tls,
}
