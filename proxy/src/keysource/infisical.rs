//! Secrets of Infisical, by their names (API: <https://infisical.com/docs/api-reference>).
//!
//! A machine identity logs in with Universal Auth or Kubernetes Auth. Its access token is kept and renewed: a client
//! secret may be good for a limited number of logins.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use safeguard_policy::{Infisical, InfisicalLogin, SourceText};
use safeguard_vault::KeyMaterial;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::http::{Ask, Http, encoded, read};
use super::login::{Life, Token};
use super::{KeySource, SourceError, key_from_base64, token_file};

/// The source, with the token of its last login.
pub(super) struct InfisicalSource {
    http: Http,
    settings: Arc<Infisical>,
    token: Mutex<Option<Token>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UniversalLogin<'a> {
    client_id: &'a str,
    client_secret: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubernetesLogin<'a> {
    identity_id: &'a str,
    jwt: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewal<'a> {
    access_token: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Access<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    /// Seconds.
    expires_in: u64,
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    secret: Secret<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secret<'a> {
    #[serde(borrow)]
    secret_value: Cow<'a, str>,
}

impl InfisicalSource {
    pub(super) fn new(settings: &Arc<Infisical>) -> Result<Self, SourceError> {
        Ok(Self {
            http: Http::new(settings.ca_file.as_deref())?,
            settings: Arc::clone(settings),
            token: Mutex::new(None),
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.settings.url)
    }

    async fn login(&self) -> Result<Token, SourceError> {
        let ask = match &self.settings.login {
            InfisicalLogin::Universal {
                client_id,
                client_secret,
            } => {
                let client_secret = client_secret
                    .as_ref()
                    .ok_or(SourceError::Credential("client_secret has no value"))?
                    .expose();
                let url = self.url("/api/v1/auth/universal-auth/login");
                Ask::post(
                    url,
                    &UniversalLogin {
                        client_id,
                        client_secret,
                    },
                )?
            }
            InfisicalLogin::Kubernetes {
                identity_id,
                token_file: path,
            } => {
                let jwt = token_file(path)?;
                let url = self.url("/api/v1/auth/kubernetes-auth/login");
                Ask::post(
                    url,
                    &KubernetesLogin {
                        identity_id,
                        jwt: &jwt,
                    },
                )?
            }
        };
        self.token_of(ask).await
    }

    async fn renew(&self, token: &Token) -> Result<Token, SourceError> {
        let url = self.url("/api/v1/auth/token/renew");
        let access_token = token.text.as_str();
        self.token_of(Ask::post(url, &Renewal { access_token })?)
            .await
    }

    async fn token_of(&self, ask: Ask<'_>) -> Result<Token, SourceError> {
        let body = self
            .http
            .ask(ask)
            .await?
            .well()
            .map_err(SourceError::of_login)?;
        let access: Access<'_> = read(&body)?;
        Ok(Token::new(&access.access_token, access.expires_in))
    }

    /// A token that can be used: the kept one, the kept one renewed, or that of a new login.
    async fn fresh(&self, kept: &mut Option<Token>) -> Result<Token, SourceError> {
        let Some(token) = kept.take() else {
            return self.login().await;
        };
        match token.life() {
            Life::Good => Ok(token),
            Life::Ending => match self.renew(&token).await {
                Ok(token) => Ok(token),
                Err(error) if error.may_pass() => {
                    *kept = Some(token);
                    Err(error)
                }
                // It may have reached its longest life: only a login helps.
                Err(_) => self.login().await,
            },
            Life::Over => self.login().await,
        }
    }

    async fn secret(&self, name: &str, token: &Token) -> Result<KeyMaterial, SourceError> {
        let name = encoded(name);
        let place = format!(
            "{}&environment={}&secretPath={}&type=shared",
            encoded(&self.settings.project),
            encoded(&self.settings.environment),
            encoded(&self.settings.path),
        );
        let current = format!("/api/v4/secrets/{name}?projectId={place}");
        match self.secret_at(&current, token).await {
            // An older server has the older address only.
            Err(SourceError::Missing) => {
                let older = format!("/api/v3/secrets/raw/{name}?workspaceId={place}");
                self.secret_at(&older, token).await
            }
            found => found,
        }
    }

    async fn secret_at(&self, path: &str, token: &Token) -> Result<KeyMaterial, SourceError> {
        let bearer = ["Bearer ", token.text.as_str()].concat();
        let ask = Ask::get(self.url(path)).header(AUTHORIZATION, bearer);
        let body = self
            .http
            .ask(ask)
            .await?
            .well()
            .map_err(|error| match error {
                SourceError::Refused => SourceError::Missing,
                other => other,
            })?;
        let found: Found<'_> = read(&body)?;
        key_from_base64(&found.secret.secret_value)
    }
}

#[async_trait]
impl KeySource for InfisicalSource {
    async fn resolve(&self, text: &SourceText) -> Result<KeyMaterial, SourceError> {
        let mut kept = self.token.lock().await;
        let was_kept = kept.is_some();
        let token = self.fresh(&mut kept).await?;
        let found = match self.secret(&text.text, &token).await {
            // Revoked meanwhile: one login tells whether the identity still holds.
            Err(SourceError::Denied) if was_kept => {
                let token = self.login().await?;
                let found = self.secret(&text.text, &token).await;
                *kept = Some(token);
                return found;
            }
            found => found,
        };
        if !matches!(found, Err(SourceError::Denied)) {
            *kept = Some(token);
        }
        found
    }

    async fn new_wrapped(&self) -> Result<String, SourceError> {
        Err(SourceError::WrapsNothing)
    }
}
