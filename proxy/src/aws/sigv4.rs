//! AWS Signature Version 4 in a header
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>): what KMS and S3 need.
//! Held against the vectors that AWS publishes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs.
pub(crate) struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    /// Of temporary credentials; sent as `x-amz-security-token`.
    pub session_token: Option<Zeroizing<String>>,
}

/// Whose service is asked, and when.
pub(crate) struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
    /// `20150830T123600Z`
    pub time: &'a str,
}

impl Scope<'_> {
    fn date(&self) -> &str {
        self.time.split_once('T').map_or("", |(date, _)| date)
    }

    fn text(&self) -> String {
        format!(
            "{}/{}/{}/aws4_request",
            self.date(),
            self.region,
            self.service
        )
    }
}

/// A moment as AWS writes it: `20150830T123600Z`.
pub(crate) fn time(micros: i64) -> String {
    let ((year, month, day), (hour, minute, second, _)) = clock::civil(micros);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// What is signed.
pub(crate) struct Signed<'a> {
    pub method: &'a str,
    /// Its segments percent-encoded once.
    pub path: &'a str,
    /// Names and values percent-encoded, in the order of the names; empty where there is none.
    pub query: &'a str,
    /// Lower-case names, in their order, trimmed values.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body in hexadecimal digits.
    pub body_digest: &'a str,
}

/// The value of `Authorization`.
pub(crate) fn authorization(
    signed: &Signed<'_>,
    credentials: &Credentials,
    scope: &Scope<'_>,
) -> String {
    let names: Vec<&str> = signed.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical = Zeroizing::new(format!(
        "{}\n{}\n{}\n",
        signed.method, signed.path, signed.query
    ));
    for (name, value) in signed.headers {
        canonical = Zeroizing::new(format!("{}{name}:{value}\n", canonical.as_str()));
    }
    let canonical = Zeroizing::new(format!(
        "{}\n{names}\n{}",
        canonical.as_str(),
        signed.body_digest
    ));
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{}\n{}",
        scope.time,
        scope.text(),
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let signature = mac(
        signing_key(credentials, scope).as_slice(),
        to_sign.as_bytes(),
    );
    format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={names}, Signature={}",
        credentials.access_key_id,
        scope.text(),
        hex(signature.as_slice())
    )
}

fn signing_key(credentials: &Credentials, scope: &Scope<'_>) -> Zeroizing<[u8; 32]> {
    let secret = Zeroizing::new(["AWS4", credentials.secret_access_key.as_str()].concat());
    let mut key = mac(secret.as_bytes(), scope.date().as_bytes());
    for part in [scope.region, scope.service, "aws4_request"] {
        key = mac(key.as_slice(), part.as_bytes());
    }
    key
}

#[expect(
    clippy::expect_used,
    reason = "HMAC takes a key of any length, so this constructor has no failing input"
)]
fn mac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key length");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// SHA-256 of a body, as [`Signed::body_digest`] has it.
pub(crate) fn digest(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Zeroizing::new(
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            ),
            session_token: None,
        }
    }

    /// Method, headers, body, signature.
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
        &'static str,
    );

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
    const SCOPE: Scope<'static> = Scope {
        region: "us-east-1",
        service: "service",
        time: "20150830T123600Z",
    };
    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");

    /// `get-vanilla`, `post-vanilla` and `post-x-www-form-urlencoded` of AWS's test suite for Signature Version 4.
    #[test]
    fn signatures_are_those_of_the_published_suite() {
        let cases: [Case; 3] = [
            (
                "GET",
                &[HOST, DATE],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                &[HOST, DATE],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                &[FORM, HOST, DATE],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (method, headers, body, signature) in cases {
            let signed = Signed {
                method,
                path: "/",
                query: "",
                headers,
                body_digest: &digest(body.as_bytes()),
            };
            let value = authorization(&signed, &credentials(), &SCOPE);
            let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
            assert_eq!(
                value,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, Signature={signature}",
                    names.join(";")
                )
            );
        }
    }

    /// `GET Object` and `GET Bucket Lifecycle` of the documentation of S3
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
    #[test]
    fn paths_and_queries_are_signed_as_the_documentation_of_s3_does() {
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: Zeroizing::new(
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            ),
            session_token: None,
        };
        let scope = Scope {
            region: "us-east-1",
            service: "s3",
            time: "20130524T000000Z",
        };
        let empty = digest(b"");
        let host = ("host", "examplebucket.s3.amazonaws.com");
        let date = ("x-amz-date", "20130524T000000Z");
        let content = ("x-amz-content-sha256", empty.as_str());
        let range = ("range", "bytes=0-9");
        for (path, query, headers, signature) in [
            (
                "/test.txt",
                "",
                vec![host, range, content, date],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "/",
                "lifecycle=",
                vec![host, content, date],
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
        ] {
            let signed = Signed {
                method: "GET",
                path,
                query,
                headers: &headers,
                body_digest: &empty,
            };
            let value = authorization(&signed, &credentials, &scope);
            assert!(
                value.ends_with(&format!("Signature={signature}")),
                "{value}"
            );
        }
    }

    /// The key of the documentation's example of a derivation.
    #[test]
    fn the_signing_key_is_that_of_the_documentation() {
        let scope = Scope {
            service: "iam",
            ..SCOPE
        };
        assert_eq!(
            hex(signing_key(&credentials(), &scope).as_slice()),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
        assert_eq!(time(1_440_938_160_000_000), "20150830T123600Z");
    }
}
