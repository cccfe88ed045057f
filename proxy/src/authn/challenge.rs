//! What a refused caller is told: `WWW-Authenticate` (RFC 6750, RFC 9470) and the metadata of the
//! protected resource (RFC 9728).
//!
//! All URLs come from `listen.public_url`, never from a request. Everything written into a quoted string is
//! first reduced to what RFC 6750 §3 allows there.

use http::{HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};

use super::dpop::{PROOF_ALGORITHMS, ProofError};
use super::error::{AuthnError, Fault};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// `listen.public_url` is no absolute http(s) URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("listen.public_url is not an absolute http or https url without query")]
pub struct PublicUrlInvalid;

/// What a step-up asks for (RFC 9470 §3). Nothing set: just a fresh login with a second factor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepUp {
    /// Any of these levels would do, best first.
    pub acr_values: Vec<String>,
    /// The login may be at most this old, in seconds.
    pub max_age: Option<u32>,
}

/// Renders challenges for one resource.
#[derive(Debug, Clone)]
pub struct Challenges {
    resource: String,
    metadata_url: String,
    metadata_paths: Vec<String>,
    authorization_servers: Vec<String>,
    scopes: Vec<String>,
}

impl Challenges {
    /// For the resource at `public_url`. `scopes` are asked of clients; `authorization_servers` are the
    /// identity providers' issuers, none where only local tokens are taken.
    ///
    /// # Errors
    /// [`PublicUrlInvalid`].
    pub fn new(
        public_url: &str,
        scopes: &[String],
        authorization_servers: &[String],
    ) -> Result<Self, PublicUrlInvalid> {
        let uri: Uri = public_url.parse().map_err(|_| PublicUrlInvalid)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(PublicUrlInvalid);
        };
        if uri.query().is_some() || !matches!(scheme, "http" | "https") {
            return Err(PublicUrlInvalid);
        }
        let path = uri.path().trim_end_matches('/');
        let mut metadata_paths = vec![WELL_KNOWN.to_owned()];
        if !path.is_empty() {
            metadata_paths.push(format!("{WELL_KNOWN}{path}"));
        }
        Ok(Self {
            resource: public_url.to_owned(),
            metadata_url: format!("{scheme}://{authority}{WELL_KNOWN}{path}"),
            metadata_paths,
            authorization_servers: authorization_servers.to_vec(),
            scopes: scopes.to_vec(),
        })
    }

    /// The answer to a failed authentication: status, and the challenge where a login would help.
    /// A missing second factor becomes a step-up to `step_up`.
    pub fn answer(
        &self,
        error: &AuthnError,
        step_up: &StepUp,
    ) -> (StatusCode, Option<HeaderValue>) {
        if error.fault() == Fault::IdentityProvider {
            return (StatusCode::SERVICE_UNAVAILABLE, None);
        }
        let challenge = match error {
            AuthnError::SecondFactorMissing(_) => self.step_up(step_up, None),
            AuthnError::Proof(error) => self.invalid_proof(*error),
            other => self.invalid_token(&other.to_string()),
        };
        (StatusCode::UNAUTHORIZED, Some(challenge))
    }

    /// 401: no or a bad token, an ended session. `description` is one of our own sentences.
    pub fn invalid_token(&self, description: &str) -> HeaderValue {
        self.bearer(&[
            ("error", "invalid_token"),
            ("error_description", description),
            ("scope", &self.scopes.join(" ")),
        ])
    }

    /// 401: a proof is missing or bad. A second challenge tells of it (RFC 9449 §7.1), for what reads the first alone.
    fn invalid_proof(&self, error: ProofError) -> HeaderValue {
        let word = match error {
            ProofError::Nonce => "use_dpop_nonce",
            ProofError::Missing | ProofError::Unbound => "invalid_token",
            _ => "invalid_dpop_proof",
        };
        let first = self.invalid_token(&error.to_string());
        let text = format!(
            "{}, DPoP error=\"{word}\", algs=\"{PROOF_ALGORITHMS}\"",
            first.to_str().unwrap_or("Bearer")
        );
        HeaderValue::try_from(text).unwrap_or(first)
    }

    /// 403: more scope would help.
    pub fn insufficient_scope(&self, scopes: &[String]) -> HeaderValue {
        self.bearer(&[
            ("error", "insufficient_scope"),
            (
                "error_description",
                "the token lacks a scope that this needs",
            ),
            ("scope", &scopes.join(" ")),
        ])
    }

    /// 401: no or an old second factor (RFC 9470 §3); `page` is where a person can prove one (`error_uri`, RFC 6750 §3).
    pub fn step_up(&self, step_up: &StepUp, page: Option<&str>) -> HeaderValue {
        let max_age = step_up.max_age.map(|age| age.to_string());
        self.bearer(&[
            ("error", "insufficient_user_authentication"),
            (
                "error_description",
                match page {
                    Some(_) => {
                        "a second factor is needed: open error_uri in a browser, then try again"
                    }
                    None => "a fresh login with a second factor is needed",
                },
            ),
            ("error_uri", page.unwrap_or_default()),
            ("acr_values", &step_up.acr_values.join(" ")),
            ("max_age", max_age.as_deref().unwrap_or_default()),
            ("scope", &self.scopes.join(" ")),
        ])
    }

    /// The absolute URL of the metadata.
    pub fn metadata_url(&self) -> &str {
        &self.metadata_url
    }

    /// The paths at which the metadata is served: the bare one, and with the resource's path behind it.
    pub fn metadata_paths(&self) -> &[String] {
        &self.metadata_paths
    }

    /// The metadata document (RFC 9728 §2). For anybody to read.
    pub fn metadata(&self) -> Value {
        let mut document = json!({
            "resource": self.resource,
            "bearer_methods_supported": ["header"],
        });
        if let Some(members) = document.as_object_mut() {
            if !self.authorization_servers.is_empty() {
                let servers = json!(self.authorization_servers);
                members.insert("authorization_servers".to_owned(), servers);
            }
            if !self.scopes.is_empty() {
                members.insert("scopes_supported".to_owned(), json!(self.scopes));
            }
        }
        document
    }

    fn bearer(&self, parameters: &[(&str, &str)]) -> HeaderValue {
        let mut text = format!(
            "Bearer resource_metadata=\"{}\"",
            quotable(&self.metadata_url)
        );
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!(", {name}=\"{}\"", quotable(value)));
        }
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

/// Drops whatever RFC 6750 §3 keeps out of quoted values: control and non-ASCII characters, `"` and `\`.
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenges() -> Challenges {
        let scopes = ["openid".to_owned()];
        Challenges::new(
            "https://a.example.com:8443/mcp",
            &scopes,
            &["https://i/realms/r".to_owned()],
        )
        .unwrap()
    }

    #[test]
    fn a_missing_token_is_told_where_the_metadata_is() {
        let (status, challenge) = challenges().answer(&AuthnError::Missing, &StepUp::default());
        assert_eq!(status, 401);
        assert_eq!(
            challenge.unwrap(),
            "Bearer resource_metadata=\"https://a.example.com:8443/.well-known/oauth-protected-resource/mcp\", \
             error=\"invalid_token\", error_description=\"no bearer token: send one in the authorization header\", \
             scope=\"openid\""
        );
    }

    #[test]
    fn a_step_up_names_levels_and_age() {
        let step_up = StepUp {
            acr_values: vec!["mfa".to_owned(), "gold\"\r\nx: y".to_owned()],
            max_age: Some(300),
        };
        let text = challenges().step_up(&step_up, None);
        let text = text.to_str().unwrap();
        assert!(text.contains("error=\"insufficient_user_authentication\""));
        assert!(text.contains("acr_values=\"mfa goldx: y\""));
        assert!(text.contains("max_age=\"300\""));
    }

    #[test]
    fn a_step_up_names_the_page_where_there_is_one() {
        let page = "https://a.example.com:8444/auth/factor?t=abc_-";
        let text = challenges().step_up(&StepUp::default(), Some(page));
        let text = text.to_str().unwrap();
        assert!(text.contains(&format!("error_uri=\"{page}\"")), "{text}");
        let without = challenges().step_up(&StepUp::default(), None);
        assert!(!without.to_str().unwrap().contains("error_uri"));
    }

    #[test]
    fn keys_that_are_not_available_are_not_the_callers_fault() {
        let (status, challenge) =
            challenges().answer(&AuthnError::KeysUnavailable, &StepUp::default());
        assert_eq!((status.as_u16(), challenge), (503, None));
    }

    #[test]
    fn metadata_names_the_resource_and_only_what_there_is() {
        let full = challenges();
        assert_eq!(
            full.metadata(),
            json!({"resource": "https://a.example.com:8443/mcp",
                   "authorization_servers": ["https://i/realms/r"],
                   "bearer_methods_supported": ["header"], "scopes_supported": ["openid"]})
        );
        assert_eq!(full.metadata_paths().len(), 2);
        let local = Challenges::new("https://a.example.com/", &[], &[]).unwrap();
        assert_eq!(
            local.metadata(),
            json!({"resource": "https://a.example.com/", "bearer_methods_supported": ["header"]})
        );
        assert_eq!(
            local.metadata_paths(),
            ["/.well-known/oauth-protected-resource"]
        );
    }

    #[test]
    fn a_public_url_that_is_not_absolute_is_refused() {
        for url in [
            "",
            "/mcp",
            "a.example.com",
            "ftp://a/mcp",
            "https://a/mcp?x=1",
        ] {
            assert!(Challenges::new(url, &[], &[]).is_err(), "{url}");
        }
    }
}
