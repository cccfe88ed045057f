//! The proof that a token was verified: who, how authenticated, until when.

use serde_json::Value;

/// Which rules the token was verified under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Signed with `authentication.jwt.secret`.
    Local,
    /// Signed by the identity provider.
    Keycloak,
}

impl Kind {
    /// A stable lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Keycloak => "keycloak",
        }
    }
}

/// A verified principal. Only this room makes one. Times are Unix seconds.
pub struct Authenticated {
    pub(in crate::authn) kind: Kind,
    pub(in crate::authn) issuer: String,
    pub(in crate::authn) subject: String,
    pub(in crate::authn) roles: Vec<String>,
    pub(in crate::authn) claims: Value,
    pub(in crate::authn) purpose: Option<String>,
    pub(in crate::authn) amr: Vec<String>,
    pub(in crate::authn) acr: Option<String>,
    pub(in crate::authn) auth_time: Option<i64>,
    pub(in crate::authn) expires_at: i64,
    pub(in crate::authn) not_before: Option<i64>,
    pub(in crate::authn) issued_at: i64,
    pub(in crate::authn) sid: Option<String>,
    pub(in crate::authn) login_issuer: Option<String>,
    pub(in crate::authn) jti: Option<String>,
    pub(in crate::authn) azp: Option<String>,
    pub(in crate::authn) certificate: Option<[u8; 32]>,
    pub(in crate::authn) key: Option<[u8; 32]>,
    pub(in crate::authn) is_service: bool,
    pub(in crate::authn) token_digest: [u8; 32],
    pub(in crate::authn) second_factor: Option<Vec<String>>,
    pub(in crate::authn) proved_at: Option<i64>,
}

impl Authenticated {
    /// Which rules the token was verified under.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`: 1 to 255 bytes without control characters.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The roles that the configured claim grants; empty without the claim.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// The whole payload, always an object: what policies call `claims`.
    pub fn claims(&self) -> &Value {
        &self.claims
    }

    /// `purpose_of_use`.
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }

    /// `amr`: the methods of authentication (RFC 8176).
    pub fn amr(&self) -> &[String] {
        &self.amr
    }

    /// `acr`: the level of assurance, as the issuer names it.
    pub fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    /// When the person authenticated: `auth_time`.
    pub fn authenticated_at(&self) -> Option<i64> {
        self.auth_time
    }

    /// `exp`. Valid strictly before it.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// `iat`, or `auth_time` where a local token has no `iat`, or `iat` of the login that a local token was had for: since
    /// when its session is known to run.
    pub fn issued_at(&self) -> i64 {
        self.issued_at
    }

    /// `sid`: the provider's session.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Whose session [`Authenticated::sid`] names: the provider that a local token was exchanged at (its claim `login`),
    /// else the token's issuer. What a login session belongs to, so that a login and the tokens had for it are in one.
    pub fn login_issuer(&self) -> &str {
        self.login_issuer.as_deref().unwrap_or(&self.issuer)
    }

    /// `jti`: the token's id.
    pub fn jti(&self) -> Option<&str> {
        self.jti.as_deref()
    }

    /// `azp`, else `client_id`: the software that the token was issued to.
    pub fn authorized_party(&self) -> Option<&str> {
        self.azp.as_deref()
    }

    /// `cnf.x5t#S256`: the SHA-256 of the client certificate that the token is bound to (RFC 8705 §3.1).
    pub fn bound_certificate(&self) -> Option<&[u8; 32]> {
        self.certificate.as_ref()
    }

    /// `cnf.jkt`: the thumbprint of the key whose proof each use needs (RFC 9449 §6.1).
    pub fn bound_key(&self) -> Option<&[u8; 32]> {
        self.key.as_ref()
    }

    /// Whether it is of software without a person: no login stands behind it.
    pub fn is_service(&self) -> bool {
        self.is_service
    }

    /// What the token is bound to, as a word for events: `certificate`, `dpop`, `certificate+dpop`; none for a bearer token.
    pub fn confirmed_by(&self) -> Option<&'static str> {
        match (self.certificate.is_some(), self.key.is_some()) {
            (true, true) => Some("certificate+dpop"),
            (true, false) => Some("certificate"),
            (false, true) => Some("dpop"),
            (false, false) => None,
        }
    }

    /// The methods that prove a second factor: members of `amr`, or `acr=` and the value that does.
    pub fn second_factor(&self) -> Option<&[String]> {
        self.second_factor.as_deref()
    }

    /// When the person last proved who they are: `auth_time`, or a second factor proved to this sidecar since. What
    /// `step_up.max_age` is measured from; a session's limits are not.
    pub fn last_proved_at(&self) -> Option<i64> {
        self.proved_at.max(self.auth_time)
    }

    /// The same principal, with a second factor that it proved to this sidecar: a method of RFC 8176, and Unix seconds.
    pub(crate) fn proved_here(&self, method: &'static str, at: i64) -> Self {
        let with = |methods: &[String]| {
            let mut methods = methods.to_vec();
            if !methods.iter().any(|known| known == method) {
                methods.push(method.to_owned());
            }
            methods
        };
        Self {
            kind: self.kind,
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            roles: self.roles.clone(),
            claims: self.claims.clone(),
            purpose: self.purpose.clone(),
            amr: with(&self.amr),
            acr: self.acr.clone(),
            auth_time: self.auth_time,
            expires_at: self.expires_at,
            not_before: self.not_before,
            issued_at: self.issued_at,
            sid: self.sid.clone(),
            login_issuer: self.login_issuer.clone(),
            jti: self.jti.clone(),
            azp: self.azp.clone(),
            certificate: self.certificate,
            key: self.key,
            is_service: self.is_service,
            token_digest: self.token_digest,
            second_factor: Some(with(self.second_factor.as_deref().unwrap_or_default())),
            proved_at: Some(at),
        }
    }

    /// SHA-256 of the token: names a login that has neither `sid` nor `jti`.
    pub fn token_digest(&self) -> &[u8; 32] {
        &self.token_digest
    }
}

impl std::fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authenticated({})", self.kind.as_str())
    }
}

#[cfg(test)]
impl Authenticated {
    /// A principal for the tests of other rooms.
    pub(crate) fn for_tests(
        subject: &str,
        sid: Option<&str>,
        auth_time: Option<i64>,
        issued_at: i64,
        expires_at: i64,
    ) -> Self {
        Self {
            kind: Kind::Local,
            issuer: "issuer".to_owned(),
            subject: subject.to_owned(),
            roles: Vec::new(),
            amr: vec!["otp".to_owned()],
            auth_time,
            expires_at,
            issued_at,
            sid: sid.map(str::to_owned),
            token_digest: [7; 32],
            ..Self::nobody()
        }
    }

    /// The same, bound to a certificate.
    pub(crate) fn bound_to(mut self, certificate: [u8; 32]) -> Self {
        self.certificate = Some(certificate);
        self
    }
}
