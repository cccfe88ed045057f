//! Whether the provider still stands by a token (RFC 7662): what signature and claims can't say.
//!
//! Asked for tokens that passed everything else, at most once a token and period whoever comes with it, and never for
//! longer than the memory of verified tokens is wide. The provider's answer is believed for `active` alone.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use openidconnect::HttpRequest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use super::cache::TokenDigest;
use super::error::AuthnError;
use super::fetch::{FetchError, Fetcher};
use super::settings::Secret;

/// Answers that are remembered. When there are more, those used least make room and are asked for again.
pub const ANSWERS_MAX: usize = 65_536;
/// The longest answer that is read, in bytes: Keycloak repeats the token's claims.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The longest time for one answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// What `application/x-www-form-urlencoded` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// `keycloak.introspection`
pub struct IntrospectionSettings {
    /// The endpoint.
    pub url: String,
    /// The client that asks.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// How long an answer serves, in seconds.
    pub cache_seconds: u32,
}

impl std::fmt::Debug for IntrospectionSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntrospectionSettings(..)")
    }
}

/// The answer of a period of one token.
type Period = (TokenDigest, i64);

/// Asks, and remembers.
pub(super) struct Introspection {
    url: String,
    authorization: Zeroizing<String>,
    period: i64,
    fetcher: Arc<Fetcher>,
    answers: Cache<Period, bool>,
}

impl Introspection {
    pub(super) fn new(settings: &IntrospectionSettings, fetcher: Arc<Fetcher>) -> Self {
        let secret =
            Zeroizing::new(String::from_utf8_lossy(settings.client_secret.expose()).into_owned());
        // RFC 6749 §2.3.1: both are form-encoded before they are joined.
        let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let pair = Zeroizing::new(format!(
            "{}:{}",
            encoded(&settings.client_id),
            *Zeroizing::new(encoded(&secret))
        ));
        let authorization = format!(
            "Basic {}",
            base64_simd::STANDARD.encode_to_string(pair.as_bytes())
        );
        Self {
            url: settings.url.clone(),
            authorization: Zeroizing::new(authorization),
            period: i64::from(settings.cache_seconds).max(1),
            fetcher,
            answers: Cache::new(ANSWERS_MAX),
        }
    }

    /// Whether a token is active. Requests that come with it at once wait for one answer.
    pub(super) async fn judge(
        &self,
        token: &str,
        digest: &TokenDigest,
        now: i64,
    ) -> Result<(), AuthnError> {
        let period = (*digest, now.div_euclid(self.period));
        let answer = self.answers.get_or_insert_async(&period, self.ask(token));
        match answer.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(AuthnError::Revoked),
            Err(error) => {
                log::warn!("introspection: {error}");
                Err(AuthnError::IntrospectionUnavailable)
            }
        }
    }

    async fn ask(&self, token: &str) -> Result<bool, FetchError> {
        let form = format!(
            "token_type_hint=access_token&token={}",
            utf8_percent_encode(token, PLAIN)
        );
        let request: HttpRequest = http::Request::post(&self.url)
            .header(AUTHORIZATION, self.authorization.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form.into_bytes())
            .map_err(|_| FetchError::Url)?;
        let answer = self
            .fetcher
            .fetch_within(request, ANSWER_DEADLINE, ANSWER_BYTES_MAX)
            .await?;
        // A refusal of our own credential says nothing of the token.
        if answer.status() != http::StatusCode::OK {
            return Err(FetchError::Unexpected);
        }
        let said: serde_json::Value =
            serde_json::from_slice(answer.body()).map_err(|_| FetchError::Unexpected)?;
        said.get("active")
            .and_then(serde_json::Value::as_bool)
            .ok_or(FetchError::Unexpected)
    }
}
