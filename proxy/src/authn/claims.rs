//! From a verified payload to an [`Authenticated`]: every claim that anything later relies on is checked here.

use serde_json::{Map, Value};

use super::authenticated::{Authenticated, Kind};
use super::error::AuthnError;
use super::jws::{Jws, Typ};
use super::mfa;
use super::settings::{LocalSettings, ProviderSettings, SecondFactorSettings};

/// The longest `sub`, in bytes (OpenID Connect Core §2).
const SUBJECT_BYTES_MAX: usize = 255;
/// The longest `sid`, `jti`, `azp`, `acr`, `purpose_of_use`, role or method, in bytes.
const WORD_BYTES_MAX: usize = 512;
/// The last second of the year 9999: no sane time claim is above it.
const TIME_MAX: f64 = 253_402_300_799.0;
/// The payload's `typ` of Keycloak's access tokens; ID and refresh tokens share issuer and keys.
const ACCESS: &str = "Bearer";
/// The same of those that are bound to a key.
const BOUND_ACCESS: &str = "DPoP";

/// The clock and what it forgives.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// Unix seconds.
    pub(super) now: i64,
    /// How far claims may be ahead, in seconds.
    pub(super) skew: i64,
}

impl Clock {
    /// Whether a token with these times is valid now. Asked again on every use.
    pub(super) fn within(self, not_before: Option<i64>, expires_at: i64) -> Result<(), AuthnError> {
        if self.now >= expires_at {
            return Err(AuthnError::Expired);
        }
        if not_before.is_some_and(|nbf| self.ahead(nbf)) {
            return Err(AuthnError::NotYetValid);
        }
        Ok(())
    }

    fn ahead(self, time: i64) -> bool {
        time > self.now.saturating_add(self.skew)
    }
}

/// Judges a local token whose signature has been verified.
pub(super) fn local(
    jws: Jws<'_>,
    digest: [u8; 32],
    settings: &LocalSettings,
    factors: &SecondFactorSettings,
    clock: Clock,
) -> Result<Authenticated, AuthnError> {
    let claims = Claims(&jws.payload);
    claims.issuer(&settings.issuer)?;
    match claims.word("typ")? {
        _ if jws.typ == Typ::Logout => return Err(AuthnError::TypeRefused),
        None | Some(ACCESS) => {}
        Some(_) => return Err(AuthnError::TypeRefused),
    }
    claims.audience(|aud| aud == settings.audience)?;
    let issued_at = match (claims.time("iat")?, claims.auth_time()?) {
        (Some(iat), _) => iat,
        (None, Some(auth_time)) => auth_time,
        (None, None) => return Err(AuthnError::ClaimMissing("iat")),
    };
    let made = claims.principal(
        Kind::Local,
        issued_at,
        &["roles".to_owned()],
        factors,
        clock,
    )?;
    if made.expires_at.saturating_sub(issued_at) > i64::from(settings.expiration_max) {
        return Err(AuthnError::LifetimeTooLong);
    }
    let login = claims.login(made.sid.as_deref())?;
    let made = Authenticated {
        issued_at: login
            .as_ref()
            .map_or(issued_at, |login| login.since.min(issued_at)),
        login_issuer: login.map(|login| login.issuer),
        ..made
    };
    Ok(sealed(made, jws.payload, digest))
}

/// Judges an identity provider's token whose signature has been verified.
pub(super) fn keycloak(
    jws: Jws<'_>,
    digest: [u8; 32],
    settings: &ProviderSettings,
    factors: &SecondFactorSettings,
    clock: Clock,
) -> Result<Authenticated, AuthnError> {
    let claims = Claims(&jws.payload);
    claims.issuer(&settings.issuer)?;
    let is_bound = claims.confirmation()?.key.is_some();
    let is_access = match claims.word("typ")? {
        Some(ACCESS) => true,
        Some(BOUND_ACCESS) => is_bound,
        // RFC 9068 §2.1: the header alone tells an access token from one that says who logged in.
        None => settings.by_rfc9068 && jws.typ == Typ::AccessToken,
        Some(_) => false,
    };
    if !matches!(jws.typ, Typ::Jwt | Typ::AccessToken) || !is_access {
        return Err(AuthnError::TypeRefused);
    }
    let resource = settings.resource.trim_end_matches('/');
    claims.audience(|aud| {
        aud.trim_end_matches('/') == resource || settings.audiences.iter().any(|a| a == aud)
    })?;
    let issued_at = claims.time("iat")?.ok_or(AuthnError::ClaimMissing("iat"))?;
    let mut made = claims.principal(
        Kind::Keycloak,
        issued_at,
        &settings.roles_from,
        factors,
        clock,
    )?;
    if let Some(granted) = &settings.roles {
        made.roles.retain(|role| granted.contains(role));
    }
    if claims.is_service_account(made.azp.as_deref())? {
        made.is_service = true;
        made.second_factor = None;
    }
    Ok(sealed(made, jws.payload, digest))
}

fn sealed(mut made: Authenticated, payload: Map<String, Value>, digest: [u8; 32]) -> Authenticated {
    made.claims = Value::Object(payload);
    made.token_digest = digest;
    made
}

/// The login that a local token was had for.
struct Login {
    /// Whose `sid` it is.
    issuer: String,
    /// `iat` of the provider's token: a session that has no `auth_time` is as old as that at least.
    since: i64,
}

/// Typed, bounded reads of a payload. A claim of the wrong type is refused, never skipped.
pub(super) struct Claims<'p>(pub(super) &'p Map<String, Value>);

/// What a token is bound to, as SHA-256.
#[derive(Default)]
struct Confirmation {
    certificate: Option<[u8; 32]>,
    key: Option<[u8; 32]>,
}

impl<'p> Claims<'p> {
    fn principal(
        &self,
        kind: Kind,
        issued_at: i64,
        roles_from: &[String],
        factors: &SecondFactorSettings,
        clock: Clock,
    ) -> Result<Authenticated, AuthnError> {
        let expires_at = self.time("exp")?.ok_or(AuthnError::ClaimMissing("exp"))?;
        let not_before = self.time("nbf")?;
        let auth_time = self.auth_time()?;
        clock.within(not_before, expires_at)?;
        if clock.ahead(issued_at) || auth_time.is_some_and(|time| clock.ahead(time)) {
            return Err(AuthnError::FromTheFuture);
        }
        if issued_at >= expires_at {
            return Err(AuthnError::ClaimInvalid("iat"));
        }
        let (sid, acr, amr) = (self.owned("sid")?, self.owned("acr")?, self.words("amr")?);
        let person = sid.is_some() || auth_time.is_some();
        let confirmation = self.confirmation()?;
        Ok(Authenticated {
            kind,
            issuer: self.word("iss")?.unwrap_or_default().to_owned(),
            subject: self.subject()?,
            roles: self.roles(roles_from)?,
            claims: Value::Null,
            purpose: self.owned("purpose_of_use")?,
            second_factor: mfa::proof(factors, &amr, acr.as_deref(), person),
            is_service: !person && amr.is_empty(),
            amr,
            acr,
            auth_time,
            expires_at,
            not_before,
            issued_at,
            sid,
            login_issuer: None,
            jti: self.owned("jti")?,
            azp: self.owned("azp")?.or(self.owned("client_id")?),
            certificate: confirmation.certificate,
            key: confirmation.key,
            token_digest: [0; 32],
            proved_at: None,
        })
    }

    pub(super) fn issuer(&self, expected: &str) -> Result<(), AuthnError> {
        match self.0.get("iss").and_then(Value::as_str) {
            Some(issuer) if issuer == expected => Ok(()),
            _ => Err(AuthnError::UnknownIssuer),
        }
    }

    pub(super) fn audience(&self, accepts: impl Fn(&str) -> bool) -> Result<(), AuthnError> {
        let named = match self.0.get("aud") {
            None => return Err(AuthnError::ClaimMissing("aud")),
            Some(Value::String(one)) => accepts(one),
            Some(Value::Array(many)) if many.iter().all(Value::is_string) => {
                many.iter().filter_map(Value::as_str).any(accepts)
            }
            Some(_) => return Err(AuthnError::ClaimInvalid("aud")),
        };
        if named {
            Ok(())
        } else {
            Err(AuthnError::WrongAudience)
        }
    }

    pub(super) fn subject(&self) -> Result<String, AuthnError> {
        match self.0.get("sub") {
            None => Err(AuthnError::ClaimMissing("sub")),
            Some(Value::String(sub))
                if (1..=SUBJECT_BYTES_MAX).contains(&sub.len())
                    && sub.trim() == sub
                    && !sub.chars().any(char::is_control) =>
            {
                Ok(sub.clone())
            }
            Some(_) => Err(AuthnError::ClaimInvalid("sub")),
        }
    }

    /// Seconds since 1970 (RFC 7519 §2, NumericDate); fractions are cut off.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<i64>, AuthnError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let seconds = match value {
            Value::Number(number) => number.as_f64(),
            _ => None,
        };
        match seconds {
            #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
            Some(seconds) if (0.0..=TIME_MAX).contains(&seconds) => Ok(Some(seconds as i64)),
            _ => Err(AuthnError::ClaimInvalid(name)),
        }
    }

    /// `auth_time`; 0 is how some issuers write that they don't know it.
    fn auth_time(&self) -> Result<Option<i64>, AuthnError> {
        Ok(self.time("auth_time")?.filter(|time| *time > 0))
    }

    /// `login`: what a local token was had for. Its `sid` is the token's own.
    fn login(&self, own: Option<&str>) -> Result<Option<Login>, AuthnError> {
        const INVALID: AuthnError = AuthnError::ClaimInvalid("login");
        let Some(login) = self.0.get("login") else {
            return Ok(None);
        };
        let login = Claims(login.as_object().ok_or(INVALID)?);
        match (login.word("iss"), login.word("sid"), login.time("since")) {
            (Ok(Some(issuer)), Ok(Some(sid)), Ok(Some(since))) if own == Some(sid) => {
                let issuer = issuer.to_owned();
                Ok(Some(Login { issuer, since }))
            }
            _ => Err(INVALID),
        }
    }

    pub(super) fn word(&self, name: &'static str) -> Result<Option<&'p str>, AuthnError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if is_word(text) => Ok(Some(text)),
            Some(_) => Err(AuthnError::ClaimInvalid(name)),
        }
    }

    pub(super) fn owned(&self, name: &'static str) -> Result<Option<String>, AuthnError> {
        Ok(self.word(name)?.map(str::to_owned))
    }

    fn words(&self, name: &'static str) -> Result<Vec<String>, AuthnError> {
        self.0
            .get(name)
            .map_or_else(|| Ok(Vec::new()), |value| words(value, name))
    }

    fn roles(&self, path: &[String]) -> Result<Vec<String>, AuthnError> {
        let mut steps = path.iter();
        let Some(mut value) = steps.next().and_then(|first| self.0.get(first)) else {
            return Ok(Vec::new());
        };
        for step in steps {
            let Value::Object(members) = value else {
                return Err(AuthnError::ClaimInvalid("roles"));
            };
            match members.get(step) {
                Some(next) => value = next,
                None => return Ok(Vec::new()),
            }
        }
        words(value, "roles")
    }

    /// `cnf` (RFC 7800): the certificate (RFC 8705) and the key (RFC 9449) that the token is bound to.
    fn confirmation(&self) -> Result<Confirmation, AuthnError> {
        const INVALID: AuthnError = AuthnError::ClaimInvalid("cnf");
        let Some(cnf) = self.0.get("cnf") else {
            return Ok(Confirmation::default());
        };
        let cnf = cnf.as_object().ok_or(INVALID)?;
        let hash = |name: &str| match cnf.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => base64_simd::URL_SAFE_NO_PAD
                .decode_to_vec(text)
                .ok()
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .map(Some)
                .ok_or(INVALID),
            Some(_) => Err(INVALID),
        };
        let found = Confirmation {
            certificate: hash("x5t#S256")?,
            key: hash("jkt")?,
        };
        // A binding by a word that is not known here binds all the same.
        if found.certificate.is_none() && found.key.is_none() {
            return Err(INVALID);
        }
        Ok(found)
    }

    /// Keycloak names the account of a client `service-account-` and the client's id, even when such
    /// a login has a session.
    fn is_service_account(&self, client: Option<&str>) -> Result<bool, AuthnError> {
        let name = self.word("preferred_username")?;
        let account = name.and_then(|name| name.strip_prefix("service-account-"));
        Ok(account.is_some() && account == client.map(str::to_lowercase).as_deref())
    }
}

fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn words(value: &Value, name: &'static str) -> Result<Vec<String>, AuthnError> {
    let Value::Array(elements) = value else {
        return Err(AuthnError::ClaimInvalid(name));
    };
    elements
        .iter()
        .map(|element| match element {
            Value::String(text) if is_word(text) => Ok(text.clone()),
            _ => Err(AuthnError::ClaimInvalid(name)),
        })
        .collect()
}
