//! The one way from a [`BearerToken`] to an [`Authenticated`].

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::authenticated::{Authenticated, Kind};
use super::bearer::BearerToken;
use super::cache::{self, TokenCache, TokenDigest, Verified, VerifiedBy};
use super::claims::{self, Clock};
use super::dpop::{
    self, Asked, BindingSettings, Bound, Demand, ProofError, ProofHeader, Proofs, Replays,
};
use super::error::AuthnError;
use super::introspection::Introspection;
use super::jws::Jws;
use super::keys::ProviderKeys;
use super::local::Local;
use super::logout::{self, Logout, Taken};
use super::mint::{self, Issued, NotIssued};
use super::settings::{
    AuthnSettings, CLOCK_SKEW_SECONDS_MAX, LocalSettings, ProviderSettings, SECRET_BYTES_MIN,
    SecondFactorSettings, SettingsError,
};
use super::tokens::{Carried, SealingKeys, SuccessorKeys};

/// Verifies tokens. One for the process, shared behind an `Arc`.
pub struct Authenticator {
    local: Option<Local>,
    providers: Vec<Provider>,
    second_factor: SecondFactorSettings,
    binding: BindingSettings,
    proofs: Proofs,
    shared_subjects: Vec<String>,
    /// Local tokens that were used, where each serves once.
    used: Option<Replays>,
    skew: i64,
    cache: TokenCache,
    logouts: Taken,
}

/// How a provider stands.
#[derive(Debug, Clone, Copy)]
pub struct ProviderState<'a> {
    /// Its `iss`.
    pub issuer: &'a str,
    /// Whether it answers, by the last fetches of its keys.
    pub is_up: bool,
    /// Whether its tokens could be verified now.
    pub has_keys: bool,
    /// When its keys were last fetched, in Unix seconds.
    pub refreshed_at: Option<i64>,
}

struct Provider {
    settings: ProviderSettings,
    keys: Arc<ProviderKeys>,
    introspection: Option<Introspection>,
}

impl Authenticator {
    /// Builds the verifiers. Reads the CA file, but opens no connection: keys are fetched when first needed.
    ///
    /// # Errors
    /// [`SettingsError`] when nobody could ever be let in, or when too many could.
    pub fn new(settings: AuthnSettings) -> Result<Self, SettingsError> {
        validate(&settings)?;
        let skew = i64::from(settings.clock_skew_seconds);
        let once = settings.local.as_ref().filter(|local| local.once);
        let used = once.map(|local| Replays::new(i64::from(local.expiration_max) + skew));
        let local = settings.local.map(Local::new);
        let providers = settings.providers.into_iter().map(Provider::new);
        let providers = providers.collect::<Result<_, _>>()?;
        Ok(Self {
            local,
            providers,
            second_factor: settings.second_factor,
            proofs: Proofs::new(&settings.public_url, skew, settings.binding.nonce),
            binding: settings.binding,
            shared_subjects: settings.shared_subjects,
            used,
            skew,
            cache: TokenCache::new(settings.cached_tokens_max),
            logouts: Taken::default(),
        })
    }

    /// Verifies a token that stands alone, as a person's: without a request there is no proof, so that a token which is
    /// bound to a key is refused. May wait for the provider's keys, bounded by [`FETCH_DEADLINE`](super::FETCH_DEADLINE)
    /// per document.
    ///
    /// # Errors
    /// [`AuthnError`], in the order in which the token is read; a missing second factor comes last.
    pub async fn authenticate(
        &self,
        token: &BearerToken<'_>,
        now_unix: i64,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        let who = self.verified(token, now_unix).await?;
        if who.key.is_some() {
            return Err(AuthnError::Proof(ProofError::Missing));
        }
        if who.is_service {
            return Err(AuthnError::NoPerson);
        }
        self.with_second_factor(who)
    }

    /// Verifies a request's token and what it is bound to. Whether the certificate it is bound to is the peer's,
    /// the session asks; a proof is judged here, and serves once. Software without a person needs a token that is bound to a
    /// certificate in place of a second factor.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`], and [`AuthnError::Proof`].
    pub async fn present(
        &self,
        token: &BearerToken<'_>,
        proof: ProofHeader<'_>,
        asked: Asked<'_>,
        now_unix: i64,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        let who = self.verified(token, now_unix).await?;
        match &who.key {
            Some(_) if !token.is_dpop() => return Err(AuthnError::Proof(ProofError::Missing)),
            Some(key) => {
                let token = &who.token_digest;
                self.proofs
                    .judge(proof, Bound { key, token }, asked, now_unix)?;
            }
            None if self.binding.dpop == Demand::Required
                || (token.is_dpop() && self.binding.dpop == Demand::Accepted) =>
            {
                return Err(AuthnError::Proof(ProofError::Unbound));
            }
            None => {}
        }
        if self.binding.certificate == Demand::Required && who.certificate.is_none() {
            return Err(AuthnError::CertificateUnbound);
        }
        self.once(&who, now_unix)?;
        match (who.is_service, who.certificate) {
            (true, None) => Err(AuthnError::NoPerson),
            (true, Some(_)) => Ok(who),
            (false, _) => self.with_second_factor(who),
        }
    }

    /// The nonce that a proof must carry now, where nonces are asked for.
    pub fn proof_nonce(&self, now_unix: i64) -> Option<String> {
        self.proofs.nonce(now_unix)
    }

    async fn verified(
        &self,
        token: &BearerToken<'_>,
        now_unix: i64,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        let clock = Clock {
            now: now_unix,
            skew: self.skew,
        };
        let digest = cache::digest(token.expose());
        let who = match self.remembered(&digest, now_unix) {
            Some(who) => self.still_valid(who, &digest, clock)?,
            None => self.verify(token, digest, clock).await?,
        };
        let provider = self.provider_of(who.issuer());
        if let Some(introspection) = provider.and_then(|provider| provider.introspection.as_ref()) {
            introspection
                .judge(token.expose(), &digest, now_unix)
                .await?;
        }
        Ok(who)
    }

    /// A local token serves once, where it is to.
    fn once(&self, who: &Authenticated, now_unix: i64) -> Result<(), AuthnError> {
        let Some(used) = self.used.as_ref().filter(|_| who.kind == Kind::Local) else {
            return Ok(());
        };
        let jti = who.jti.as_deref().ok_or(AuthnError::ClaimMissing("jti"))?;
        used.take(
            dpop::replay_id(&[who.subject(), jti]),
            who.issued_at,
            now_unix,
        )
        .map_err(|_| AuthnError::UsedBefore)
    }

    /// Whether a token is of somebody, and not of a name that several people share.
    fn is_somebody(&self, who: &Authenticated) -> bool {
        let name = who.claims.get("preferred_username");
        let name = name.and_then(serde_json::Value::as_str);
        !std::iter::once(who.subject()).chain(name).any(|name| {
            let name = name.to_lowercase();
            self.shared_subjects.contains(&name)
        })
    }

    fn with_second_factor(
        &self,
        who: Arc<Authenticated>,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        if self.second_factor.required && who.second_factor.is_none() {
            return Err(AuthnError::SecondFactorMissing(who));
        }
        Ok(who)
    }

    /// Whose tokens are taken: what a login session's issuer may be.
    pub fn issuers(&self) -> Vec<String> {
        let local = self.local.as_ref();
        let local = local.map(|local| local.with_settings(|settings| settings.issuer.clone()));
        let providers = self.providers.iter();
        let providers = providers.map(|provider| provider.settings.issuer.clone());
        local.into_iter().chain(providers).collect()
    }

    /// Verifies a logout token of the provider's, which counts once.
    ///
    /// # Errors
    /// [`AuthnError`]: it ends nothing.
    pub async fn logout(&self, token: &str, now_unix: i64) -> Result<Logout, AuthnError> {
        if token.len() > super::TOKEN_BYTES_MAX {
            return Err(AuthnError::TooLarge);
        }
        let jws = Jws::parse(token)?;
        let provider = self.provider_of(jws.issuer()?);
        let provider = provider.ok_or(AuthnError::UnknownIssuer)?;
        provider.keys.verify(&jws).await?;
        let clock = Clock {
            now: now_unix,
            skew: self.skew,
        };
        let judged = logout::judge(&jws, &provider.settings, clock)?;
        self.logouts.once(&judged, now_unix)?;
        Ok(judged.logout)
    }

    /// Keeps the providers' keys fresh; never returns where one is configured. To be run as a background task.
    pub async fn keep_keys_fresh(&self) {
        let mut keeping = JoinSet::new();
        for provider in &self.providers {
            let keys = Arc::clone(&provider.keys);
            keeping.spawn(async move { keys.keep_fresh().await });
        }
        keeping.join_all().await;
    }

    /// Asks a provider for its discovery document and its keys, once; nothing to do where none has this issuer.
    ///
    /// # Errors
    /// It can't be reached, or doesn't answer as the provider that is configured.
    pub async fn ask_provider(&self, issuer: &str) -> Result<(), super::FetchError> {
        match self.provider_of(issuer) {
            Some(provider) => provider.keys.discover().await.map(drop),
            None => Ok(()),
        }
    }

    /// How each provider stands, in the order of the configuration: `keycloak` first.
    pub fn providers(&self) -> impl Iterator<Item = ProviderState<'_>> {
        self.providers.iter().map(|provider| ProviderState {
            issuer: &provider.settings.issuer,
            is_up: provider.keys.is_up(),
            has_keys: provider.keys.generation().is_some(),
            refreshed_at: provider.keys.last_refresh_unix(),
        })
    }

    /// Whether a login that is not known yet must wait until its provider is back (`keycloak.when_down`): while it is
    /// away nobody hears of it that the person was locked out meanwhile.
    pub fn must_wait(&self, who: &Authenticated) -> bool {
        let provider = self.provider_of(who.login_issuer());
        provider.is_some_and(|provider| {
            !provider.settings.serves_new_when_down && !provider.keys.is_up()
        })
    }

    /// Takes other secrets for local tokens into use; false where they are those that are in use. Tokens that neither
    /// signed are refused from now on.
    ///
    /// # Errors
    /// [`SettingsError::SecretTooShort`].
    pub fn rotate_secret(&self, settings: LocalSettings) -> Result<bool, SettingsError> {
        validate_local(&settings)?;
        let local = self.local.as_ref();
        Ok(local.is_some_and(|local| local.rotate(settings)))
    }

    /// Makes a local token of a login, and the principal that it will be verified as: nothing is answered that this
    /// sidecar would not take.
    ///
    /// # Errors
    /// No local tokens are made here, or the login can't be one of them.
    pub async fn issue(
        &self,
        carried: &Carried,
        expires_at: i64,
        now_unix: i64,
    ) -> Result<Issued, NotIssued> {
        let local = self.local.as_ref().ok_or(NotIssued::Off)?;
        let expires_at = expires_at.min(now_unix.saturating_add(local.expiration()));
        let token = local
            .with_settings(|settings| mint::issue(settings, carried, expires_at, now_unix))
            .map_err(NotIssued::Unmade)?;
        let bearer = BearerToken::from_bytes(token.as_bytes()).map_err(NotIssued::Refused)?;
        let clock = Clock {
            now: now_unix,
            skew: self.skew,
        };
        let digest = cache::digest(bearer.expose());
        let who = self.verify(&bearer, digest, clock).await;
        let who = who.map_err(NotIssued::Refused)?;
        if self.second_factor.required && who.second_factor.is_none() {
            return Err(NotIssued::Refused(AuthnError::SecondFactorMissing(who)));
        }
        Ok(Issued { token, who })
    }

    /// What turns refresh tokens; none where no local tokens are made.
    pub fn successor_keys(&self) -> Option<SuccessorKeys> {
        let local = self.local.as_ref()?;
        Some(local.with_settings(LocalSettings::successor_keys))
    }

    /// What seals families of refresh tokens in a store that is shared; none where no local tokens are made.
    pub fn sealing_keys(&self) -> Option<SealingKeys> {
        let local = self.local.as_ref()?;
        Some(local.with_settings(LocalSettings::sealing_keys))
    }

    fn remembered(&self, digest: &TokenDigest, now_unix: i64) -> Option<Arc<Authenticated>> {
        let verified = self.cache.get(digest)?;
        let current = match verified.by {
            VerifiedBy::Local(by) => self
                .local
                .as_ref()
                .is_some_and(|local| local.still_verifies(by, now_unix)),
            VerifiedBy::Provider(generation) => self
                .provider_of(verified.who.issuer())
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
            let (who, by) = local.verify(jws, digest, &self.second_factor, clock)?;
            (who, VerifiedBy::Local(by))
        } else if let Some(provider) = self.provider_of(issuer) {
            let generation = provider.keys.verify(&jws).await?;
            let factors = &self.second_factor;
            let who = claims::keycloak(jws, digest, &provider.settings, factors, clock)?;
            (who, VerifiedBy::Provider(generation))
        } else {
            return Err(AuthnError::UnknownIssuer);
        };
        if !self.is_somebody(&who) {
            return Err(AuthnError::SharedSubject);
        }
        let who = Arc::new(self.binding.looked_at(who));
        let verified = Verified {
            who: Arc::clone(&who),
            by,
        };
        self.cache.put(digest, verified);
        Ok(who)
    }

    fn local_of(&self, issuer: &str) -> Option<&Local> {
        self.local.as_ref().filter(|local| local.is_issuer(issuer))
    }

    fn provider_of(&self, issuer: &str) -> Option<&Provider> {
        let mut providers = self.providers.iter();
        providers.find(|provider| provider.settings.issuer == issuer)
    }
}

impl Provider {
    fn new(settings: ProviderSettings) -> Result<Self, SettingsError> {
        let keys = Arc::new(ProviderKeys::new(&settings)?);
        let introspection = settings.introspection.as_ref();
        Ok(Self {
            introspection: introspection.map(|asked| Introspection::new(asked, keys.fetcher())),
            keys,
            settings,
        })
    }
}

fn validate(settings: &AuthnSettings) -> Result<(), SettingsError> {
    if settings.local.is_none() && settings.providers.is_empty() {
        return Err(SettingsError::NoIssuer);
    }
    if let Some(local) = &settings.local {
        validate_local(local)?;
    }
    let mut issuers = HashSet::new();
    issuers.extend(settings.local.iter().map(|local| local.issuer.as_str()));
    for provider in &settings.providers {
        not_empty("listen.public_url", provider.resource.trim_end_matches('/'))?;
        not_empty("roles_from", &provider.roles_from.concat())?;
        if provider.audiences.iter().any(String::is_empty) {
            return Err(SettingsError::Empty("audiences"));
        }
        if !issuers.insert(&provider.issuer) {
            return Err(SettingsError::SameIssuer);
        }
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

fn validate_local(local: &LocalSettings) -> Result<(), SettingsError> {
    not_empty("authentication.jwt.issuer", &local.issuer)?;
    not_empty("authentication.jwt.audience", &local.audience)?;
    let previous = local.previous.iter().map(|old| &old.secret);
    let mut secrets = std::iter::once(&local.secret).chain(previous);
    if secrets.any(|secret| secret.expose().len() < SECRET_BYTES_MIN) {
        return Err(SettingsError::SecretTooShort);
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
