//! AWS KMS (API: <https://docs.aws.amazon.com/kms/latest/APIReference/>), with the credentials of the standard variables
//! or those of a web identity (STS). No SDK: two operations of KMS and one of STS.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderName;
use http::header::AUTHORIZATION;
use safeguard_policy::{AwsKms, SourceText};
use safeguard_vault::KeyMaterial;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::http::{Answer, Ask, Http, read};
use super::{KeySource, SourceError, key_from_base64};
use crate::aws::sigv4::{self, Credentials, Scope, Signed, authorization, time};
use crate::aws::{Identity, IdentitySettings};
use crate::clock;

const MEDIA: &str = "application/x-amz-json-1.1";
static DATE: HeaderName = HeaderName::from_static("x-amz-date");
static TARGET: HeaderName = HeaderName::from_static("x-amz-target");
static TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// The source, with the credentials of its last login.
pub(super) struct AwsKmsSource {
    http: Http,
    settings: Arc<AwsKms>,
    identity: Identity,
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
            identity: Identity::new(IdentitySettings {
                credentials: Arc::clone(&settings.credentials),
                sts_endpoint: settings.sts_endpoint.clone(),
                ca_file: settings.ca_file.clone(),
            })?,
            settings: Arc::clone(settings),
        })
    }

    /// One operation, signed with what the variables or a web identity give.
    async fn operation(
        &self,
        name: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let credentials = self.identity.credentials().await?;
        let answer = self.signed(name, body, &credentials).await;
        if answer == Err(SourceError::Denied) {
            self.identity.forget().await;
        }
        answer
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
        let signed = Signed {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body_digest: &sigv4::digest(&ask.body),
        };
        let signature = authorization(&signed, credentials, &scope);
        let ask = ask
            .header(DATE.clone(), now.as_str())
            .header(TARGET.clone(), target.as_str())
            .header(AUTHORIZATION, signature);
        fault(self.http.ask(ask).await?)
    }
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
