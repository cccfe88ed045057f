//! Keycloak's admin REST: its two lists of events, asked as the sidecar's own client, page by page.
//!
//! An answer has a bound in bytes; a page that is over it is asked for again at half its length. The token is had by the client's
//! credentials (RFC 6749 §4.4) and lives no longer than the provider says.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use super::happened::USER_EVENTS;
use crate::authn::fetch::Fetcher;
use crate::authn::{FetchError, SettingsError};

/// Events of one page.
pub(super) const PAGE_EVENTS: usize = 100;
/// The longest page, in bytes: what a realm keeps of a change may be whole documents.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// The longest answer with a token, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// The longest time for one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long before its end a token is not used any more.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);

/// Where the events are, and as whom they are asked for.
pub struct SourceSettings {
    /// `server_url` + `/realms/` + `realm`.
    pub issuer: String,
    /// `server_url` + `/admin/realms/` + `realm`.
    pub admin: String,
    /// The sidecar's own client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Zeroizing<String>,
    /// PEM of the authorities for the server's certificate; without it the system's.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for SourceSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceSettings({})", self.issuer)
    }
}

/// Why events were not had. Holds nothing of what the provider sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SourceError {
    /// Not reached, or no whole answer.
    #[error("{0}")]
    Fetch(#[from] FetchError),
    /// No token for the client's credentials.
    #[error(
        "it gives the client no token (HTTP {0}): are keycloak.client_id and client_secret right, and is the client's service account enabled?"
    )]
    NoToken(u16),
    /// The client may not read them.
    #[error(
        "it does not show its events to the client (HTTP {0}): give the client's service account the role view-events of realm-management"
    )]
    Forbidden(u16),
    /// Another answer than the list.
    #[error("its answer is not the list of events (HTTP {0})")]
    Unexpected(u16),
}

impl SourceError {
    /// The metric's word.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Fetch(_) => "unreachable",
            Self::NoToken(_) => "no_token",
            Self::Forbidden(_) => "forbidden",
            Self::Unexpected(_) => "unexpected",
        }
    }
}

/// One of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    User,
    Admin,
}

/// A part of a list, oldest first.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) events: Vec<Value>,
    /// The list may go on behind it.
    pub(super) full: bool,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

struct Token {
    bearer: Zeroizing<String>,
    until: Instant,
}

/// The client.
pub(super) struct Source {
    fetcher: Fetcher,
    settings: SourceSettings,
    token: Option<Token>,
}

impl Source {
    pub(super) fn new(settings: SourceSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            fetcher: Fetcher::new(settings.ca_file.as_deref())?,
            settings,
            token: None,
        })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Events from a time on (Unix milliseconds), `skip` of them left out.
    pub(super) async fn page(
        &mut self,
        list: List,
        from_ms: i64,
        skip: usize,
    ) -> Result<Page, SourceError> {
        let mut most = PAGE_EVENTS;
        loop {
            match self.ask(&self.url(list, from_ms, skip, most)).await {
                Err(SourceError::Fetch(FetchError::TooLarge)) if most > 1 => most /= 2,
                Err(error) => return Err(error),
                Ok(events) => {
                    let full = events.len() >= most;
                    return Ok(Page { events, full });
                }
            }
        }
    }

    fn url(&self, list: List, from_ms: i64, skip: usize, most: usize) -> String {
        let admin = &self.settings.admin;
        let range = format!("dateFrom={from_ms}&first={skip}&max={most}&direction=asc");
        match list {
            List::Admin => format!("{admin}/admin-events?{range}"),
            List::User => USER_EVENTS
                .iter()
                .fold(format!("{admin}/events?{range}"), |url, kind| {
                    url + "&type=" + *kind
                }),
        }
    }

    async fn ask(&mut self, url: &str) -> Result<Vec<Value>, SourceError> {
        let bearer = self.bearer().await?;
        let mut authorization = header::HeaderValue::from_str(&format!("Bearer {}", &*bearer))
            .map_err(|_| SourceError::NoToken(200))?;
        authorization.set_sensitive(true);
        let request = http::Request::builder()
            .method(Method::GET)
            .uri(url)
            .header(header::AUTHORIZATION, authorization)
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|_| FetchError::Url)?;
        let answer = self.fetcher.fetch_within(request, DEADLINE, PAGE_BYTES_MAX);
        let answer = answer.await?;
        let status = answer.status();
        if status == StatusCode::UNAUTHORIZED {
            // Revoked, or of another boot of the provider: the next one is had anew.
            self.token = None;
        }
        match status {
            StatusCode::OK => serde_json::from_slice(answer.body())
                .map_err(|_| SourceError::Unexpected(status.as_u16())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(SourceError::Forbidden(status.as_u16()))
            }
            other => Err(SourceError::Unexpected(other.as_u16())),
        }
    }

    async fn bearer(&mut self) -> Result<Zeroizing<String>, SourceError> {
        if let Some(token) = &self.token
            && Instant::now() < token.until
        {
            return Ok(token.bearer.clone());
        }
        let token = self.grant().await?;
        let bearer = token.bearer.clone();
        self.token = Some(token);
        Ok(bearer)
    }

    async fn grant(&self) -> Result<Token, SourceError> {
        let asked = Instant::now();
        let quoted =
            |text: &str| Zeroizing::new(utf8_percent_encode(text, NON_ALPHANUMERIC).to_string());
        let form = Zeroizing::new(format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            *quoted(&self.settings.client_id),
            *quoted(&self.settings.client_secret)
        ));
        let url = format!("{}/protocol/openid-connect/token", self.settings.issuer);
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(form.as_bytes().to_vec())
            .map_err(|_| FetchError::Url)?;
        let answer = self
            .fetcher
            .fetch_within(request, DEADLINE, TOKEN_BYTES_MAX);
        let (parts, mut body) = answer.await?.into_parts();
        let status = parts.status.as_u16();
        let token = match parts.status {
            StatusCode::OK => serde_json::from_slice::<TokenAnswer>(&body).ok(),
            status if status.is_server_error() => {
                return Err(SourceError::Unexpected(status.as_u16()));
            }
            _ => None,
        };
        body.zeroize();
        let token = token.ok_or(SourceError::NoToken(status))?;
        let life = Duration::from_secs(token.expires_in).saturating_sub(TOKEN_MARGIN);
        Ok(Token {
            bearer: Zeroizing::new(token.access_token),
            until: asked + life.min(Duration::from_secs(3600)),
        })
    }
}
