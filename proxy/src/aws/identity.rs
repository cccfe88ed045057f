//! Who asks Amazon's services: the credentials of the standard variables, or those of a web identity (STS), renewed before they end.

use std::path::PathBuf;
use std::sync::Arc;

use safeguard_policy::AwsCredentials;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::sigv4::Credentials;
use crate::keysource::http::{Ask, Http, encoded};
use crate::keysource::login::{Life, Token};
use crate::keysource::{SourceError, token_file};

const FORM: &str = "application/x-www-form-urlencoded";
/// The life of a session that a web identity is given, in seconds: the least that is sure to be allowed is 900.
const SESSION_SECONDS: u64 = 900;

/// From where credentials come.
pub(crate) struct IdentitySettings {
    pub credentials: Arc<AwsCredentials>,
    /// Base URL without a slash at its end.
    pub sts_endpoint: String,
    /// PEM of the authorities for its certificate; `None`: the system's.
    pub ca_file: Option<PathBuf>,
}

/// Credentials, kept as long as they live.
pub(crate) struct Identity {
    http: Http,
    settings: IdentitySettings,
    session: Mutex<Option<Session>>,
}

/// Credentials that end.
struct Session {
    credentials: Arc<Credentials>,
    life: Token,
}

impl Identity {
    pub(crate) fn new(settings: IdentitySettings) -> Result<Self, SourceError> {
        Ok(Self {
            http: Http::new(settings.ca_file.as_deref())?,
            settings,
            session: Mutex::new(None),
        })
    }

    /// Those to sign with now.
    pub(crate) async fn credentials(&self) -> Result<Arc<Credentials>, SourceError> {
        match &*self.settings.credentials {
            AwsCredentials::Absent => Err(SourceError::Credential(
                "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
            )),
            AwsCredentials::Static {
                access_key_id,
                secret_access_key,
                session_token,
            } => {
                let wiped =
                    |secret: &safeguard_policy::Secret| Zeroizing::new(secret.expose().to_owned());
                Ok(Arc::new(Credentials {
                    access_key_id: access_key_id.clone(),
                    secret_access_key: wiped(secret_access_key),
                    session_token: session_token.as_ref().map(wiped),
                }))
            }
            AwsCredentials::WebIdentity { .. } => {
                let mut kept = self.session.lock().await;
                let session = match kept.take() {
                    Some(session) if session.life.life() == Life::Good => session,
                    _ => self.assume_role().await?,
                };
                let credentials = Arc::clone(&session.credentials);
                *kept = Some(session);
                Ok(credentials)
            }
        }
    }

    /// After a refusal: the next question begins with a login.
    pub(crate) async fn forget(&self) {
        *self.session.lock().await = None;
    }

    /// The credentials of the role that the pod's identity may assume (`AssumeRoleWithWebIdentity`, unsigned).
    async fn assume_role(&self) -> Result<Session, SourceError> {
        let AwsCredentials::WebIdentity {
            role_arn,
            token_file: path,
            session_name,
        } = &*self.settings.credentials
        else {
            return Err(SourceError::Credential("there is no web identity"));
        };
        let token = Zeroizing::new(encoded(&token_file(path)?));
        let form = Zeroizing::new(format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&DurationSeconds={SESSION_SECONDS}&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            encoded(role_arn),
            encoded(session_name),
            token.as_str()
        ));
        let mut ask = Ask::get(format!("{}/", self.settings.sts_endpoint));
        ask.method = http::Method::POST;
        ask.media = FORM;
        ask.body = Zeroizing::new(form.as_bytes().to_vec());
        let answer = self.http.ask(ask).await?;
        let body = answer.well().map_err(SourceError::of_login)?;
        let text =
            std::str::from_utf8(&body).map_err(|_| SourceError::Answer("STS answers no text"))?;
        let part =
            |name| element(text, name).ok_or(SourceError::Answer("STS gives no credentials"));
        let secret = |name| part(name).map(|text| Zeroizing::new(text.to_owned()));
        Ok(Session {
            credentials: Arc::new(Credentials {
                access_key_id: part("AccessKeyId")?.to_owned(),
                secret_access_key: secret("SecretAccessKey")?,
                session_token: Some(secret("SessionToken")?),
            }),
            life: Token::new("", SESSION_SECONDS),
        })
    }
}

/// The text of the only element with a name. What STS puts into these is base64 and letters: nothing is escaped.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inside, _) = rest.split_once('<')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "+/=_-.~:%".contains(c);
    (!inside.is_empty() && inside.chars().all(plain)).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_of_sts_is_taken_only_if_it_is_what_it_should_be() {
        let text = "<C><AccessKeyId>ASIA1</AccessKeyId><SessionToken>a+/=</SessionToken><X>a&amp;b</X><E></E></C>";
        assert_eq!(element(text, "AccessKeyId"), Some("ASIA1"));
        assert_eq!(element(text, "SessionToken"), Some("a+/="));
        assert_eq!(element(text, "X"), None);
        assert_eq!(element(text, "E"), None);
        assert_eq!(element(text, "SecretAccessKey"), None);
    }
}
