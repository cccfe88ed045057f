//! A realm as its administration shows it to the sidecar's own client (Keycloak's Admin REST API).

#![expect(
    clippy::indexing_slicing,
    reason = "reading serde_json's Value by name gives null for what is absent"
)]

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use openidconnect::HttpRequest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use safeguard_policy::Keycloak;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Unavailable;
use crate::authn::fetch::{FetchError, Fetcher};

/// Most settings of authenticators that are read of one flow.
const EXECUTIONS_MAX: usize = 64;

/// What could be read. `None`: it may not be seen.
#[derive(Debug)]
pub(super) struct Realm {
    /// The discovery document (OpenID Connect Discovery 1.0).
    pub discovery: Value,
    /// Why nothing more was seen: the client got no token.
    pub no_token: Option<String>,
    /// The realm's own settings.
    pub settings: Option<Value>,
    /// Its clients.
    pub clients: Option<Vec<Value>>,
    /// Its client scopes, with their mappers.
    pub scopes: Option<Vec<Value>>,
    /// Which events it keeps.
    pub events: Option<Value>,
    /// The executions of the flow for browsers, each with its settings in `config`.
    pub executions: Option<Vec<Value>>,
}

/// Reads a realm with the credentials of the sidecar's client.
pub(super) async fn read(keycloak: &Keycloak) -> Result<Realm, Unavailable> {
    let fetcher = Fetcher::new(keycloak.ca_file.as_deref())
        .map_err(|error| Unavailable(error.to_string()))?;
    let reader = Reader { fetcher };
    let issuer = keycloak.issuer();
    let discovery = reader
        .get(&format!("{issuer}/.well-known/openid-configuration"), None)
        .await
        .map_err(|error| Unavailable(format!("{issuer}: {error}")))?
        .ok_or_else(|| Unavailable(format!("{issuer}: there is no such realm")))?;
    let mut realm = Realm {
        discovery,
        no_token: None,
        settings: None,
        clients: None,
        scopes: None,
        events: None,
        executions: None,
    };
    let token = match reader.token(keycloak, &issuer).await {
        Ok(token) => token,
        Err(why) => {
            realm.no_token = Some(why);
            return Ok(realm);
        }
    };
    let base = format!("{}/admin/realms/{}", keycloak.server_url, keycloak.realm);
    let lists = |value: Option<Value>| match value {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    };
    let bearer = Some(token.as_str());
    let ask = async |path: &str| {
        let answer = reader.get(&format!("{base}{path}"), bearer).await;
        answer.map_err(|error| Unavailable(format!("{base}{path}: {error}")))
    };
    // Without the role to see them, a realm shows its name alone.
    realm.settings = ask("").await?.filter(|v| v.get("browserFlow").is_some());
    realm.clients = lists(ask("/clients").await?);
    realm.scopes = lists(ask("/client-scopes").await?);
    realm.events = ask("/events/config").await?;
    let flow = realm
        .settings
        .as_ref()
        .and_then(|v| v["browserFlow"].as_str());
    if let Some(flow) = flow {
        let flow = utf8_percent_encode(flow, NON_ALPHANUMERIC);
        let path = format!("/authentication/flows/{flow}/executions");
        realm.executions = lists(ask(&path).await?);
        let executions = realm.executions.iter_mut().flatten();
        for execution in executions.take(EXECUTIONS_MAX) {
            if let Some(id) = execution["authenticationConfig"].as_str() {
                let config = ask(&format!("/authentication/config/{id}")).await?;
                let config = config.map_or(Value::Null, |mut had| had["config"].take());
                if let Some(members) = execution.as_object_mut() {
                    members.insert("config".to_owned(), config);
                }
            }
        }
    }
    Ok(realm)
}

struct Reader {
    fetcher: Fetcher,
}

impl Reader {
    /// A document; `None` where it is not there or not for us.
    async fn get(&self, url: &str, bearer: Option<&str>) -> Result<Option<Value>, FetchError> {
        let mut request = http::Request::builder().uri(url);
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request: HttpRequest = request.body(Vec::new()).map_err(|_| FetchError::Url)?;
        let answer = self.fetcher.fetch(request).await?;
        match answer.status().as_u16() {
            200 => serde_json::from_slice(answer.body())
                .map(Some)
                .map_err(|_| FetchError::Unexpected),
            401 | 403 | 404 => Ok(None),
            _ => Err(FetchError::Unexpected),
        }
    }

    /// A token of the client itself (RFC 6749 §4.4), or why there is none.
    async fn token(&self, keycloak: &Keycloak, issuer: &str) -> Result<Zeroizing<String>, String> {
        let secret = keycloak
            .client_secret
            .as_ref()
            .ok_or_else(|| "no client_secret is configured".to_owned())?;
        let form = Zeroizing::new(format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            utf8_percent_encode(&keycloak.client_id, NON_ALPHANUMERIC),
            utf8_percent_encode(secret.expose(), NON_ALPHANUMERIC)
        ));
        let request = http::Request::builder()
            .method(http::Method::POST)
            .uri(format!("{issuer}/protocol/openid-connect/token"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.as_bytes().to_vec())
            .map_err(|_| FetchError::Url.to_string())?;
        let answer = self.fetcher.fetch(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let said: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        match said["access_token"].as_str() {
            Some(token) => Ok(Zeroizing::new(token.to_owned())),
            None => Err(format!("the client gets no token: {}", answer.status())),
        }
    }
}
