//! AWS KMS (API: <https://docs.aws.amazon.com/kms/latest/APIReference/>), with the credentials of the standard variables
//! or those of a web identity (STS). No SDK: two operations of KMS and one of STS.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderName;
use http::header::AUTHORIZATION;
use safeguard_policy::{AwsCredentials, AwsKms, SourceText};
use safeguard_vault::KeyMaterial;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::http::{Answer, Ask, Http, encoded, read};
use super::login::{Life, Token};
use super::sigv4::{Credentials, Scope, authorization, time};
use super::{KeySource, SourceError, key_from_base64, token_file};
use crate::clock;

const MEDIA: &str = "application/x-amz-json-1.1";
const FORM: &str = "application/x-www-form-urlencoded";
static DATE: HeaderName = HeaderName::from_static("x-amz-date");
static TARGET: HeaderName = HeaderName::from_static("x-amz-target");
static TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// The life of a session that a web identity is given, in seconds: the least that is sure to be allowed is 900.
const SESSION_SECONDS: u64 = 900;

/// The source, with the credentials of its last login.
pub(super) struct AwsKmsSource {
    http: Http,
    settings: Arc<AwsKms>,
    session: Mutex<Option<Session>>,
}

/// Credentials that end.
struct Session {
    credentials: Credentials,
    life: Token,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypt<'a> {
    ciphertext_blob: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plain<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewKey<'a> {
    key_id: &'a str,
    number_of_bytes: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wrapped {
    ciphertext_blob: String,
}

#[derive(Deserialize)]
struct Fault<'a> {
    #[serde(rename = "__type", borrow)]
    kind: Cow<'a, str>,
}

impl AwsKmsSource {
    pub(super) fn new(settings: &Arc<AwsKms>) -> Result<Self, SourceError> {
        Ok(Self {
            http: Http::new(settings.ca_file.as_deref())?,
            settings: Arc::clone(settings),
            session: Mutex::new(None),
        })
    }

    /// One operation, signed with what the variables or a web identity give.
    async fn operation(
        &self,
        name: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        match &self.settings.credentials {
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
                let credentials = Credentials {
                    access_key_id: access_key_id.clone(),
                    secret_access_key: wiped(secret_access_key),
                    session_token: session_token.as_ref().map(wiped),
                };
                self.signed(name, body, &credentials).await
            }
            AwsCredentials::WebIdentity { .. } => {
                let mut kept = self.session.lock().await;
                let session = match kept.take() {
                    Some(session) if session.life.life() == Life::Good => session,
                    _ => self.assume_role().await?,
                };
                let answer = self.signed(name, body, &session.credentials).await;
                if answer != Err(SourceError::Denied) {
                    *kept = Some(session);
                }
                answer
            }
        }
    }

    async fn signed(
        &self,
        name: &str,
        body: &impl Serialize,
        credentials: &Credentials,
    ) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let settings = &self.settings;
        let mut ask = Ask::post(format!("{}/", settings.endpoint), body)?;
        ask.media = MEDIA;
        let host = settings
            .endpoint
            .split_once("://")
            .map_or("", |(_, host)| host);
        let target = format!("TrentService.{name}");
        let now = time(clock::now_micros());
        let mut headers = vec![
            ("content-type", MEDIA),
            ("host", host),
            ("x-amz-date", &now),
        ];
        if let Some(token) = &credentials.session_token {
            headers.push(("x-amz-security-token", token));
            ask = ask.header(TOKEN.clone(), token.as_str());
        }
        headers.push(("x-amz-target", &target));
        let scope = Scope {
            region: &settings.region,
            service: "kms",
            time: &now,
        };
        let signature = authorization("POST", &headers, &ask.body, credentials, &scope);
        let ask = ask
            .header(DATE.clone(), now.as_str())
            .header(TARGET.clone(), target.as_str())
            .header(AUTHORIZATION, signature);
        fault(self.http.ask(ask).await?)
    }

    /// The credentials of the role that the pod's identity may assume (`AssumeRoleWithWebIdentity`, unsigned).
    async fn assume_role(&self) -> Result<Session, SourceError> {
        let AwsCredentials::WebIdentity {
            role_arn,
            token_file: path,
            session_name,
        } = &self.settings.credentials
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
        let body = self
            .http
            .ask(ask)
            .await?
            .well()
            .map_err(|error| match error {
                SourceError::Refused => SourceError::Denied,
                other => other,
            })?;
        let text =
            std::str::from_utf8(&body).map_err(|_| SourceError::Answer("STS answers no text"))?;
        let part =
            |name| element(text, name).ok_or(SourceError::Answer("STS gives no credentials"));
        let secret = |name| part(name).map(|text| Zeroizing::new(text.to_owned()));
        Ok(Session {
            credentials: Credentials {
                access_key_id: part("AccessKeyId")?.to_owned(),
                secret_access_key: secret("SecretAccessKey")?,
                session_token: Some(secret("SessionToken")?),
            },
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

/// KMS says with one status what it means by the fault's name.
fn fault(answer: Answer) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    if answer.status != http::StatusCode::BAD_REQUEST {
        return answer.well();
    }
    let fault: Fault<'_> = read(&answer.body)?;
    let name = fault.kind.rsplit('#').next().unwrap_or_default();
    Err(match name {
        "NotFoundException" => SourceError::Missing,
        "InvalidCiphertextException"
        | "IncorrectKeyException"
        | "InvalidKeyUsageException"
        | "ValidationException" => SourceError::Refused,
        "ThrottlingException"
        | "Throttling"
        | "DependencyTimeoutException"
        | "KeyUnavailableException" => SourceError::Unavailable("it says that it can't answer now"),
        "DisabledException" | "KMSInvalidStateException" => {
            SourceError::Unavailable("the key that wraps is disabled or about to be deleted")
        }
        _ => SourceError::Denied,
    })
}

#[async_trait]
impl KeySource for AwsKmsSource {
    async fn resolve(&self, text: &SourceText) -> Result<KeyMaterial, SourceError> {
        let ask = Decrypt {
            ciphertext_blob: &text.text,
            key_id: self.settings.key_id.as_deref(),
        };
        let body = self.operation("Decrypt", &ask).await?;
        key_from_base64(&read::<Plain<'_>>(&body)?.plaintext)
    }

    /// Made there: its clear bytes are never seen here.
    async fn new_wrapped(&self) -> Result<String, SourceError> {
        let key_id = self.settings.key_id.as_deref();
        let ask = NewKey {
            key_id: key_id.ok_or(SourceError::Credential(
                "key_sources.aws_kms.key_id is missing: it says which key wraps",
            ))?,
            number_of_bytes: 32,
        };
        let body = self
            .operation("GenerateDataKeyWithoutPlaintext", &ask)
            .await?;
        Ok(read::<Wrapped>(&body)?.ciphertext_blob)
    }
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

    #[test]
    fn the_faults_of_kms_are_told_apart_by_their_names() {
        let of = |status: u16, body: &str| {
            let answer = Answer {
                status: http::StatusCode::from_u16(status).unwrap(),
                body: Zeroizing::new(body.as_bytes().to_vec()),
            };
            fault(answer).unwrap_err()
        };
        let named = |name: &str| of(400, &format!("{{\"__type\":\"com.amazonaws.kms#{name}\"}}"));
        assert_eq!(named("AccessDeniedException"), SourceError::Denied);
        assert_eq!(named("NotFoundException"), SourceError::Missing);
        assert_eq!(named("IncorrectKeyException"), SourceError::Refused);
        assert!(named("ThrottlingException").may_pass() && of(500, "").may_pass());
        assert_eq!(of(403, "{}"), SourceError::Denied);
    }
}
