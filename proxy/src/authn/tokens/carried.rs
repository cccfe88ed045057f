//! What a local token says of the login that it was had for: all that a policy may ask about, and nothing of the
//! protocol between the provider and its client.

use serde_json::{Map, Value, json};

use crate::authn::Authenticated;

/// Claims of the provider's token that are about that token, and are not carried over. Some are written anew.
const OWN: [&str; 24] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "typ",
    "azp",
    "client_id",
    "sid",
    "session_state",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "cnf",
    "login",
    "roles",
    "amr",
    "acr",
    "auth_time",
    "purpose_of_use",
    "allowed-origins",
];

/// Why no token is had for a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCarried {
    /// The token is a local one already.
    #[error("the subject token is a local one: only a login at the identity provider is exchanged")]
    Local,
    /// The login has no `sid`, so that nothing could end it.
    #[error("the subject token names no session (sid)")]
    NoSession,
    /// The scope that is asked for is not within the token's.
    #[error("the scope is wider than the subject token's")]
    Scope,
}

/// The claims of a login that its local tokens have, from the first to the last.
#[derive(Clone)]
pub struct Carried(pub(in crate::authn) Map<String, Value>);

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Carried(..)")
    }
}

/// Takes over what a verified login says. `certificate` is the SHA-256 of the client's; the token is bound to it
/// (RFC 8705 §3.1). `scope` narrows the login's; none keeps it.
///
/// # Errors
/// [`NotCarried`].
pub fn carried(
    who: &Authenticated,
    certificate: Option<&[u8; 32]>,
    scope: Option<&str>,
) -> Result<Carried, NotCarried> {
    if who.kind() == crate::authn::Kind::Local {
        return Err(NotCarried::Local);
    }
    let sid = who.sid().ok_or(NotCarried::NoSession)?;
    let mut claims = who.claims().as_object().cloned().unwrap_or_default();
    claims.retain(|name, _| !OWN.contains(&name.as_str()));
    narrow(&mut claims, scope)?;
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("sub", json!(who.subject()));
    set("sid", json!(sid));
    let login = json!({ "iss": who.issuer(), "sid": sid, "since": who.issued_at() });
    set("login", login);
    set("roles", json!(who.roles()));
    let optional = [
        ("auth_time", who.authenticated_at().map(Value::from)),
        ("acr", who.acr().map(Value::from)),
        ("purpose_of_use", who.purpose().map(Value::from)),
        ("azp", who.authorized_party().map(Value::from)),
        ("amr", (!who.amr().is_empty()).then(|| json!(who.amr()))),
        ("cnf", confirmation(who, certificate)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            set(name, value);
        }
    }
    Ok(Carried(claims))
}

/// RFC 6749 §3.3: words between single spaces, each of which the login must have been granted.
fn narrow(claims: &mut Map<String, Value>, scope: Option<&str>) -> Result<(), NotCarried> {
    let Some(wanted) = scope else { return Ok(()) };
    let granted = claims.get("scope").and_then(Value::as_str).unwrap_or("");
    let has = |word: &str| granted.split(' ').any(|own| own == word);
    if !wanted.split(' ').all(|word| !word.is_empty() && has(word)) {
        return Err(NotCarried::Scope);
    }
    claims.insert("scope".to_owned(), json!(wanted));
    Ok(())
}

/// `cnf` (RFC 7800): the client's certificate, and the DPoP key that the login is bound to (RFC 9449 §6.1).
fn confirmation(who: &Authenticated, certificate: Option<&[u8; 32]>) -> Option<Value> {
    let mut members = Map::new();
    if let Some(digest) = certificate {
        let text = base64_simd::URL_SAFE_NO_PAD.encode_to_string(digest);
        members.insert("x5t#S256".to_owned(), json!(text));
    }
    if let Some(key) = who.claims().get("cnf").and_then(|cnf| cnf.get("jkt")) {
        members.insert("jkt".to_owned(), key.clone());
    }
    (!members.is_empty()).then_some(Value::Object(members))
}

impl Carried {
    /// `scope`, as the token says it.
    pub fn scope(&self) -> Option<&str> {
        self.0.get("scope").and_then(Value::as_str)
    }

    /// Whether the login is bound to a DPoP key.
    pub fn is_bound_to_key(&self) -> bool {
        let confirmation = self.0.get("cnf");
        confirmation.is_some_and(|cnf| cnf.get("jkt").is_some())
    }

    /// As a store keeps it.
    pub fn to_bytes(&self) -> Vec<u8> {
        Value::Object(self.0.clone()).to_string().into_bytes()
    }

    /// As a store kept it; none for what is no such thing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }
}
