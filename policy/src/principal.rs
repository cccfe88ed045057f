//! Who asks: the facts about a caller that the engine may see.

use serde_json::Value;

/// A verified caller. Whoever builds one has checked the token and the certificate; nothing is verified here.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// The token's stable subject.
    pub subject: &'a str,
    /// The token's issuer.
    pub issuer: &'a str,
    /// The roles that the token grants, as `identity.roles_from` finds them.
    pub roles: &'a [String],
    /// All claims of the token, for conditions.
    pub claims: &'a Value,
    /// The token's `purpose_of_use`, if it has one.
    pub purpose: Option<&'a str>,
    /// DNS names of the peer's verified certificate; they decide which client this is.
    pub certificate_names: &'a [String],
    /// Whether this is software without a person, proved by a token that is bound to its certificate.
    pub service: bool,
    /// Whether the token proves a second factor, by `amr` or a mapped `acr`.
    pub second_factor: bool,
    /// When the person authenticated (`auth_time`), in seconds since the epoch.
    pub authenticated_at: Option<i64>,
    /// The token's `acr`.
    pub acr: Option<&'a str>,
    /// The emergency access that this caller's session has begun, if it has.
    pub emergency: Option<ActiveEmergency<'a>>,
}

/// Break-glass access that a session began: a fact like any other, judged by the policy's `emergency`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ActiveEmergency<'a> {
    /// The one patient whom it is for.
    pub patient: &'a str,
    /// Its end, in seconds since the epoch: from then on it counts for nothing.
    pub until_unix: i64,
}

impl std::fmt::Debug for ActiveEmergency<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ActiveEmergency(until {})", self.until_unix)
    }
}
