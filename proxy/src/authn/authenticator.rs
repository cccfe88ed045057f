//! The one way from a [`BearerToken`] to an [`Authenticated`].

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey};

use super::authenticated::Authenticated;
use super::bearer::BearerToken;
use super::cache::{self, TokenCache, TokenDigest, Verified, VerifiedBy};
use super::claims::{self, Clock};
use super::error::AuthnError;
use super::jws::Jws;
use super::keys::ProviderKeys;
use super::settings::{
    AuthnSettings, CLOCK_SKEW_SECONDS_MAX, KeycloakSettings, LocalSettings, SECRET_BYTES_MIN,
    SecondFactorSettings, SettingsError,
};

/// Verifies tokens. One for the process, shared behind an `Arc`.
pub struct Authenticator {
    local: Option<Local>,
    provider: Option<Provider>,
    second_factor: SecondFactorSettings,
    skew: i64,
    cache: TokenCache,
}

struct Local {
    settings: LocalSettings,
    key: DecodingKey,
}

struct Provider {
    settings: KeycloakSettings,
    keys: Arc<ProviderKeys>,
}

impl Authenticator {
    /// Builds the verifiers. Reads the CA file, but opens no connection: keys are fetched when first needed.
    ///
    /// # Errors
    /// [`SettingsError`] when nobody could ever be let in, or when too many could.
    pub fn new(settings: AuthnSettings) -> Result<Self, SettingsError> {
        validate(&settings)?;
        let local = settings.local.map(|settings| Local {
            key: DecodingKey::from_secret(settings.secret.expose()),
            settings,
        });
        let provider = settings.keycloak.map(Provider::new).transpose()?;
        Ok(Self {
            local,
            provider,
            second_factor: settings.second_factor,
            skew: i64::from(settings.clock_skew_seconds),
            cache: TokenCache::new(settings.cached_tokens_max),
        })
    }

    /// Verifies a token, now. May wait for the provider's keys, bounded by [`FETCH_DEADLINE`](super::FETCH_DEADLINE)
    /// per document.
    ///
    /// # Errors
    /// [`AuthnError`], in the order in which the token is read; a missing second factor comes last.
    pub async fn authenticate(
        &self,
        token: &BearerToken<'_>,
        now_unix: i64,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        let clock = Clock {
            now: now_unix,
            skew: self.skew,
        };
        let digest = cache::digest(token.expose());
        let who = match self.remembered(&digest) {
            Some(who) => self.still_valid(who, &digest, clock)?,
            None => self.verify(token, digest, clock).await?,
        };
        if self.second_factor.required && who.second_factor.is_none() {
            return Err(AuthnError::SecondFactorMissing(who));
        }
        Ok(who)
    }

    /// Keeps the provider's keys fresh; never returns where a provider is configured. To be run as a background task.
    pub async fn keep_keys_fresh(&self) {
        if let Some(provider) = &self.provider {
            provider.keys.keep_fresh().await;
        }
    }

    /// Asks the provider for its discovery document and its keys, once; nothing to do where no provider is configured.
    ///
    /// # Errors
    /// It can't be reached, or doesn't answer as the provider that is configured.
    pub async fn ask_provider(&self) -> Result<(), super::FetchError> {
        match &self.provider {
            Some(provider) => provider.keys.discover().await.map(drop),
            None => Ok(()),
        }
    }

    /// When the provider's keys were last fetched, in Unix seconds: `safeguard_jwks_last_refresh_timestamp_seconds`.
    pub fn keys_refreshed_at(&self) -> Option<i64> {
        self.provider
            .as_ref()
            .and_then(|provider| provider.keys.last_refresh_unix())
    }

    /// Whether the provider's tokens could be verified now; true where no provider is configured.
    pub fn keys_available(&self) -> bool {
        self.provider
            .as_ref()
            .is_none_or(|provider| provider.keys.generation().is_some())
    }

    fn remembered(&self, digest: &TokenDigest) -> Option<Arc<Authenticated>> {
        let verified = self.cache.get(digest)?;
        let current = match verified.by {
            VerifiedBy::LocalSecret => true,
            VerifiedBy::Provider(generation) => self
                .provider
                .as_ref()
                .is_some_and(|provider| provider.keys.generation() == Some(generation)),
        };
        current.then_some(verified.who)
    }

    fn still_valid(
        &self,
        who: Arc<Authenticated>,
        digest: &TokenDigest,
        clock: Clock,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        clock
            .within(who.not_before, who.expires_at)
            .inspect_err(|_| self.cache.remove(digest))?;
        Ok(who)
    }

    async fn verify(
        &self,
        token: &BearerToken<'_>,
        digest: TokenDigest,
        clock: Clock,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        let jws = Jws::parse(token.expose())?;
        let issuer = jws.issuer()?;
        let (who, by) = if let Some(local) = self.local_of(issuer) {
            let who = local.verify(jws, digest, &self.second_factor, clock)?;
            (who, VerifiedBy::LocalSecret)
        } else if let Some(provider) = self.provider_of(issuer) {
            let generation = provider.keys.verify(&jws).await?;
            let factors = &self.second_factor;
            let who = claims::keycloak(jws, digest, &provider.settings, factors, clock)?;
            (who, VerifiedBy::Provider(generation))
        } else {
            return Err(AuthnError::UnknownIssuer);
        };
        let who = Arc::new(who);
        let verified = Verified {
            who: Arc::clone(&who),
            by,
        };
        self.cache.put(digest, verified);
        Ok(who)
    }

    fn local_of(&self, issuer: &str) -> Option<&Local> {
        self.local
            .as_ref()
            .filter(|local| local.settings.issuer == issuer)
    }

    fn provider_of(&self, issuer: &str) -> Option<&Provider> {
        self.provider
            .as_ref()
            .filter(|provider| provider.settings.issuer == issuer)
    }
}

impl Local {
    fn verify(
        &self,
        jws: Jws<'_>,
        digest: TokenDigest,
        factors: &SecondFactorSettings,
        clock: Clock,
    ) -> Result<Authenticated, AuthnError> {
        if jws.algorithm != Algorithm::HS256 {
            return Err(AuthnError::AlgorithmRefused);
        }
        jws.verify(&self.key)?;
        claims::local(jws, digest, &self.settings, factors, clock)
    }
}

impl Provider {
    fn new(settings: KeycloakSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            keys: Arc::new(ProviderKeys::new(&settings)?),
            settings,
        })
    }
}

fn validate(settings: &AuthnSettings) -> Result<(), SettingsError> {
    if settings.local.is_none() && settings.keycloak.is_none() {
        return Err(SettingsError::NoIssuer);
    }
    if let Some(local) = &settings.local {
        not_empty("authentication.jwt.issuer", &local.issuer)?;
        not_empty("authentication.jwt.audience", &local.audience)?;
        if local.secret.expose().len() < SECRET_BYTES_MIN {
            return Err(SettingsError::SecretTooShort);
        }
    }
    if let Some(keycloak) = &settings.keycloak {
        not_empty("listen.public_url", keycloak.resource.trim_end_matches('/'))?;
        not_empty("identity.roles_from", &keycloak.roles_from.concat())?;
        if keycloak.audiences.iter().any(String::is_empty) {
            return Err(SettingsError::Empty("keycloak.audiences"));
        }
    }
    if let (Some(local), Some(keycloak)) = (&settings.local, &settings.keycloak)
        && local.issuer == keycloak.issuer
    {
        return Err(SettingsError::SameIssuer);
    }
    if settings.clock_skew_seconds > CLOCK_SKEW_SECONDS_MAX {
        return Err(SettingsError::SkewTooLarge);
    }
    let factors = &settings.second_factor;
    if factors.required && !factors.totp && !factors.webauthn && factors.acr_values.is_empty() {
        return Err(SettingsError::NoProof);
    }
    Ok(())
}

fn not_empty(name: &'static str, text: &str) -> Result<(), SettingsError> {
    if text.is_empty() {
        return Err(SettingsError::Empty(name));
    }
    Ok(())
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authenticator(..)")
    }
}
