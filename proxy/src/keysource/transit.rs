//! The transit engine of OpenBao and Vault (API: <https://openbao.org/api-docs/secret/transit/>): the key that wraps
//! stays there, and each ring's key comes from there in clear once, when it is needed.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderName;
use safeguard_policy::{SourceText, Transit, TransitLogin};
use safeguard_vault::KeyMaterial;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::http::{Ask, Http, encoded, encoded_path, read};
use super::login::{Life, Token};
use super::{KeySource, SourceError, key_from_base64, token_file};

static TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
static NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// The source, with the token of its last login.
pub(super) struct TransitSource {
    http: Http,
    settings: Arc<Transit>,
    token: Mutex<Option<Token>>,
}

#[derive(Serialize)]
struct Decrypt<'a> {
    ciphertext: &'a str,
}

#[derive(Serialize)]
struct NewKey {
    bits: u32,
}

#[derive(Serialize)]
struct PodLogin<'a> {
    role: &'a str,
    jwt: &'a str,
}

#[derive(Serialize)]
struct RoleLogin<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Wrapped {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Login<'a> {
    #[serde(borrow)]
    auth: Auth<'a>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    #[serde(borrow)]
    client_token: Cow<'a, str>,
    /// Seconds; 0: it does not end.
    lease_duration: u64,
}

/// How long a token is kept that says of itself that it does not end, in seconds.
const ENDLESS_KEPT_SECONDS: u64 = 3600;

impl TransitSource {
    pub(super) fn new(settings: &Arc<Transit>) -> Result<Self, SourceError> {
        Ok(Self {
            http: Http::new(settings.ca_file.as_deref())?,
            settings: Arc::clone(settings),
            token: Mutex::new(None),
        })
    }

    fn named<'a>(&self, ask: Ask<'a>) -> Ask<'a> {
        match &self.settings.namespace {
            Some(namespace) => ask.header(NAMESPACE.clone(), namespace),
            None => ask,
        }
    }

    async fn login(&self, mount: &str, body: &impl Serialize) -> Result<Token, SourceError> {
        let url = format!(
            "{}/v1/auth/{}/login",
            self.settings.url,
            encoded_path(mount)
        );
        let ask = self.named(Ask::post(url, body)?);
        let body = self
            .http
            .ask(ask)
            .await?
            .well()
            .map_err(SourceError::of_login)?;
        let Login { auth } = read(&body)?;
        let seconds = match auth.lease_duration {
            0 => ENDLESS_KEPT_SECONDS,
            seconds => seconds,
        };
        Ok(Token::new(&auth.client_token, seconds))
    }

    async fn new_token(&self) -> Result<Token, SourceError> {
        match &self.settings.login {
            TransitLogin::Token(token) => {
                let token = token
                    .as_ref()
                    .ok_or(SourceError::Credential("token has no value"))?;
                Ok(Token::new(token.expose(), ENDLESS_KEPT_SECONDS))
            }
            TransitLogin::Kubernetes {
                role,
                mount,
                token_file: path,
            } => {
                let jwt = token_file(path)?;
                self.login(mount, &PodLogin { role, jwt: &jwt }).await
            }
            TransitLogin::AppRole {
                role_id,
                secret_id,
                mount,
            } => {
                let secret_id = secret_id
                    .as_ref()
                    .ok_or(SourceError::Credential("secret_id has no value"))?
                    .expose();
                self.login(mount, &RoleLogin { role_id, secret_id }).await
            }
        }
    }

    async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        token: &Token,
    ) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let url = format!(
            "{}/v1/{}/{path}/{}",
            self.settings.url,
            encoded_path(&self.settings.mount),
            encoded(&self.settings.key)
        );
        let ask = self
            .named(Ask::post(url, body)?)
            .header(TOKEN.clone(), token.text.as_str());
        self.http.ask(ask).await?.well()
    }

    /// Asks with the kept token if it is good, and once more with that of a new login if it was revoked meanwhile.
    async fn ask(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.take().filter(|token| token.life() == Life::Good) {
            let answer = self.post(path, body, &token).await;
            if answer != Err(SourceError::Denied) {
                *kept = Some(token);
                return answer;
            }
        }
        let token = self.new_token().await?;
        let answer = self.post(path, body, &token).await;
        if answer != Err(SourceError::Denied) {
            *kept = Some(token);
        }
        answer
    }
}

#[async_trait]
impl KeySource for TransitSource {
    async fn resolve(&self, text: &SourceText) -> Result<KeyMaterial, SourceError> {
        let ciphertext = text.text.as_str();
        let body = self.ask("decrypt", &Decrypt { ciphertext }).await?;
        let Data { data } = read::<Data<Plain<'_>>>(&body)?;
        key_from_base64(&data.plaintext)
    }

    /// Made there: its clear bytes are never seen here.
    async fn new_wrapped(&self) -> Result<String, SourceError> {
        let body = self.ask("datakey/wrapped", &NewKey { bits: 256 }).await?;
        let Data { data } = read::<Data<Wrapped>>(&body)?;
        Ok(data.ciphertext)
    }
}
