//! Logout tokens: the identity provider says that a login is over (OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6).
//!
//! A logout token is signed as access tokens are and is none: `events` says what it is, `nonce` is forbidden so that no ID
//! token passes, and another `typ` than its own or `JWT` is refused. One that was seen before is refused.
//!
//! **Audience.** With `sub` alone it must name `keycloak.client_id`. With `sid` any one client of the provider may stand
//! there: agents log in as clients of their own, which no configuration lists, and the session that `sid` names has ended
//! whichever client was told.

use std::collections::HashMap;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::claims::{Claims, Clock};
use super::error::AuthnError;
use super::jws::{Jws, Typ};
use super::settings::ProviderSettings;

/// Logout tokens that are remembered until they expire. When as many are, further ones are refused until some expire.
pub const LOGOUTS_MAX: usize = 65_536;
/// The longest life of a logout token, in seconds: what lives longer would have to be remembered as long.
pub const LOGOUT_LIFE_MAX: i64 = 3600;
/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What a verified logout token ends. `Debug` shows nothing of it.
pub struct Logout {
    /// The provider.
    pub issuer: String,
    /// The provider's session; none: every session of the subject.
    pub sid: Option<String>,
    /// Whose.
    pub subject: Option<String>,
}

impl std::fmt::Debug for Logout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logout(..)")
    }
}

/// A logout token whose signature has been verified, judged.
pub(super) struct Judged {
    pub(super) logout: Logout,
    pub(super) jti: [u8; 32],
    pub(super) expires_at: i64,
}

/// Judges a logout token whose signature has been verified.
pub(super) fn judge(
    jws: &Jws<'_>,
    settings: &ProviderSettings,
    clock: Clock,
) -> Result<Judged, AuthnError> {
    let claims = Claims(&jws.payload);
    claims.issuer(&settings.issuer)?;
    if !matches!(jws.typ, Typ::Logout | Typ::Jwt) || jws.payload.contains_key("nonce") {
        return Err(AuthnError::TypeRefused);
    }
    let events = jws
        .payload
        .get("events")
        .and_then(|events| events.get(EVENT));
    if !events.is_some_and(serde_json::Value::is_object) {
        return Err(AuthnError::TypeRefused);
    }
    let sid = claims.owned("sid")?;
    claims.audience(|aud| match sid {
        Some(_) => !aud.is_empty(),
        None => !aud.is_empty() && aud == settings.client_id,
    })?;
    let issued_at = claims.time("iat")?.ok_or(AuthnError::ClaimMissing("iat"))?;
    let expires_at = claims.time("exp")?.ok_or(AuthnError::ClaimMissing("exp"))?;
    clock.within(Some(issued_at), expires_at)?;
    if expires_at.saturating_sub(issued_at) > LOGOUT_LIFE_MAX {
        return Err(AuthnError::LifetimeTooLong);
    }
    let jti = claims.word("jti")?.ok_or(AuthnError::ClaimMissing("jti"))?;
    let subject = match jws.payload.contains_key("sub") {
        true => Some(claims.subject()?),
        false => None,
    };
    if sid.is_none() && subject.is_none() {
        return Err(AuthnError::ClaimMissing("sub"));
    }
    Ok(Judged {
        jti: Sha256::digest(jti.as_bytes()).into(),
        expires_at,
        logout: Logout {
            issuer: settings.issuer.clone(),
            sid,
            subject,
        },
    })
}

/// The logout tokens that were taken, by `jti`.
#[derive(Debug, Default)]
pub(super) struct Taken(Mutex<HashMap<[u8; 32], i64>>);

impl Taken {
    /// Notes one that was never seen.
    pub(super) fn once(&self, judged: &Judged, now: i64) -> Result<(), AuthnError> {
        let mut taken = self.0.lock();
        if taken.len() >= LOGOUTS_MAX {
            taken.retain(|_, expires_at| now < *expires_at);
        }
        if taken.len() >= LOGOUTS_MAX || taken.contains_key(&judged.jti) {
            return Err(AuthnError::ClaimInvalid("jti"));
        }
        taken.insert(judged.jti, judged.expires_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64_simd::URL_SAFE_NO_PAD as BASE64;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn settings() -> ProviderSettings {
        let mut settings = ProviderSettings::new("https://kc", "r", "https://mcp");
        settings.client_id = "mcp-server".to_owned();
        settings
    }

    fn good() -> Value {
        json!({
            "iss": "https://kc/realms/r", "aud": "mcp-server", "iat": NOW, "exp": NOW + 120, "jti": "j",
            "sid": "s", "sub": "ann", "typ": "Logout", "events": { EVENT: {} },
        })
    }

    fn judged(typ: &str, claims: &Value) -> Result<Judged, AuthnError> {
        let header = json!({"alg": "RS256", "kid": "k", "typ": typ}).to_string();
        let parts = [header, claims.to_string(), "sig".to_owned()];
        let parts = parts.map(|part| BASE64.encode_to_string(part));
        let token = parts.join(".");
        let clock = Clock { now: NOW, skew: 60 };
        judge(&Jws::parse(&token).unwrap(), &settings(), clock)
    }

    #[test]
    fn a_logout_token_names_the_session_that_ended_and_is_taken_once() {
        for typ in ["logout+jwt", "JWT", "application/logout+jwt"] {
            let judged = judged(typ, &good()).map_err(|error| error.code()).unwrap();
            assert_eq!(judged.logout.sid.as_deref(), Some("s"));
            assert_eq!(judged.logout.subject.as_deref(), Some("ann"));
            let taken = Taken::default();
            assert!(taken.once(&judged, NOW).is_ok());
            assert!(taken.once(&judged, NOW + 1).is_err(), "a replay");
        }
    }

    #[test]
    fn whatever_is_not_wholly_a_logout_token_is_refused() {
        let without = |name: &str| {
            let mut claims = good();
            claims.as_object_mut().unwrap().remove(name);
            claims
        };
        let with = |name: &str, value: Value| {
            let mut claims = good();
            claims[name] = value;
            claims
        };
        let mut wrong = vec![
            with("nonce", json!("n")),
            with("nonce", json!(null)),
            with("iss", json!("https://kc/realms/other")),
            with("events", json!({})),
            with("events", json!({ EVENT: "" })),
            with("events", json!([EVENT])),
            with("exp", json!(NOW)),
            with("exp", json!(NOW + LOGOUT_LIFE_MAX + 1)),
            with("iat", json!(NOW + 61)),
            with("sid", json!(7)),
            with("sub", json!("")),
            with("aud", json!(7)),
        ];
        wrong.extend(["iss", "aud", "iat", "exp", "jti", "events"].map(without));
        let mut nobody = without("sid");
        nobody.as_object_mut().unwrap().remove("sub");
        wrong.push(nobody);
        let mut anothers = without("sid");
        anothers["aud"] = json!("another-client");
        wrong.push(anothers);
        for claims in wrong {
            assert!(judged("logout+jwt", &claims).is_err(), "{claims}");
        }
        assert!(judged("at+jwt", &good()).is_err(), "an access token");
        assert!(judged("logout+jwt", &without("sub")).is_ok());
        assert!(judged("logout+jwt", &without("sid")).is_ok());
        assert!(judged("logout+jwt", &with("aud", json!("agent"))).is_ok());
    }

    #[test]
    fn tokens_that_are_remembered_are_bounded_and_a_full_memory_refuses() {
        let taken = Taken::default();
        let mut judged = judged("JWT", &good())
            .map_err(|error| error.code())
            .unwrap();
        for number in 0..LOGOUTS_MAX {
            judged.jti = Sha256::digest(number.to_be_bytes()).into();
            taken.once(&judged, NOW).unwrap();
        }
        judged.jti = [0; 32];
        assert!(taken.once(&judged, NOW + 119).is_err());
        assert!(taken.once(&judged, NOW + 120).is_ok(), "all have expired");
    }
}
