//! What a session's events say of its principal: all that the table of sessions keeps of it, and what a store that replicas
//! share keeps, so that any of them can tell of the end of a session that began at another.

use serde_json::{Map, Value, json};

use super::authenticated::{Authenticated, Kind};

impl Authenticated {
    /// Somebody to tell of, not to let in: without claims, which are most of a token, without purpose or bindings.
    pub(crate) fn remembered(&self) -> Self {
        Self {
            kind: self.kind,
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            roles: self.roles.clone(),
            auth_time: self.auth_time,
            expires_at: self.expires_at,
            issued_at: self.issued_at,
            sid: self.sid.clone(),
            login_issuer: self.login_issuer.clone(),
            azp: self.azp.clone(),
            is_service: self.is_service,
            second_factor: self.second_factor.clone(),
            ..Self::nobody()
        }
    }

    /// What is not remembered of anybody.
    pub(super) fn nobody() -> Self {
        Self {
            kind: Kind::Local,
            issuer: String::new(),
            subject: String::new(),
            roles: Vec::new(),
            claims: Value::Object(Map::new()),
            purpose: None,
            amr: Vec::new(),
            acr: None,
            auth_time: None,
            expires_at: 0,
            not_before: None,
            issued_at: 0,
            sid: None,
            login_issuer: None,
            jti: None,
            azp: None,
            certificate: None,
            key: None,
            is_service: false,
            token_digest: [0; 32],
            second_factor: None,
            proved_at: None,
        }
    }

    /// What [`Authenticated::from_remembered`] reads. It names a person: seal it.
    pub(crate) fn to_remembered(&self) -> Vec<u8> {
        json!({
            "local": self.kind == Kind::Local,
            "iss": self.issuer,
            "sub": self.subject,
            "roles": self.roles,
            "auth_time": self.auth_time,
            "exp": self.expires_at,
            "iat": self.issued_at,
            "sid": self.sid,
            "login_iss": self.login_issuer,
            "azp": self.azp,
            "service": self.is_service,
            "second_factor": self.second_factor,
        })
        .to_string()
        .into_bytes()
    }

    /// As [`Authenticated::remembered`]. None where it is not what was written.
    pub(crate) fn from_remembered(bytes: &[u8]) -> Option<Self> {
        let said: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| said.get(name)?.as_str().map(str::to_owned);
        let time = |name: &str| said.get(name)?.as_i64();
        let flag = |name: &str| said.get(name)?.as_bool();
        let words = |name: &str| {
            let items = said.get(name)?.as_array()?.iter();
            items.map(|item| item.as_str().map(str::to_owned)).collect()
        };
        Some(Self {
            kind: match flag("local")? {
                true => Kind::Local,
                false => Kind::Keycloak,
            },
            issuer: text("iss")?,
            subject: text("sub")?,
            roles: words("roles")?,
            auth_time: time("auth_time"),
            expires_at: time("exp")?,
            issued_at: time("iat")?,
            sid: text("sid"),
            login_issuer: text("login_iss"),
            azp: text("azp"),
            is_service: flag("service")?,
            second_factor: words("second_factor"),
            ..Self::nobody()
        })
    }
}
