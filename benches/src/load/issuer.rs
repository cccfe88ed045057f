//! The identity provider of a run: discovery, a key set of one RS256 key, and tokens signed by it.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64_simd::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Failure;
use crate::configuration::{AUDIENCE, REALM};
use crate::messages::claims;

const KEY_ID: &str = "bench-1";
/// How long a token lives: longer than any run.
const LIFETIME_SECONDS: i64 = 6 * 3600;

/// An issuer that listens.
pub(super) struct Issuer {
    key: KeyPair,
    base: String,
}

impl Issuer {
    /// Makes a key and serves its documents on loopback for as long as the runtime lives.
    pub(super) async fn start() -> Result<Self, Failure> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| "no RSA key")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let issuer = Self {
            key,
            base: format!("http://{}", listener.local_addr()?),
        };
        let documents = [
            (
                format!("/realms/{REALM}/.well-known/openid-configuration"),
                issuer.discovery().to_string(),
            ),
            (
                format!("/realms/{REALM}/certs"),
                issuer.key_set().to_string(),
            ),
        ];
        tokio::spawn(serve(listener, documents));
        Ok(issuer)
    }

    /// `keycloak.server_url`
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// `iss`
    pub(super) fn name(&self) -> String {
        format!("{}/realms/{REALM}", self.base)
    }

    /// RFC 7517.
    pub(super) fn key_set(&self) -> Value {
        let public = self.key.public_key();
        let text = |bytes: &[u8]| BASE64.encode_to_string(bytes);
        json!({"keys": [{
            "kid": KEY_ID, "kty": "RSA", "alg": "RS256", "use": "sig",
            "n": text(public.modulus().big_endian_without_leading_zero()),
            "e": text(public.exponent().big_endian_without_leading_zero()),
        }]})
    }

    fn discovery(&self) -> Value {
        let name = self.name();
        json!({
            "issuer": name, "jwks_uri": format!("{name}/certs"),
            "authorization_endpoint": format!("{name}/auth"), "token_endpoint": format!("{name}/token"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    /// A physician's access token.
    pub(super) fn token(&self) -> Result<String, Failure> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID});
        let claims = claims(&self.name(), AUDIENCE, now, LIFETIME_SECONDS);
        let signed = format!(
            "{}.{}",
            BASE64.encode_to_string(header.to_string()),
            BASE64.encode_to_string(claims.to_string())
        );
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| "no signature")?;
        Ok(format!("{signed}.{}", BASE64.encode_to_string(signature)))
    }
}

async fn serve(listener: TcpListener, documents: [(String, String); 2]) {
    while let Ok((stream, _peer)) = listener.accept().await {
        let documents = documents.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let found = documents
                    .iter()
                    .find(|(path, _)| path == request.uri().path());
                let response = document(found.map(|(_, text)| text.clone()));
                async move { Ok::<_, Infallible>(response) }
            });
            let _ended = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn document(text: Option<String>) -> Response<Full<Bytes>> {
    let found = text.is_some();
    let mut response = Response::new(Full::new(Bytes::from(text.unwrap_or_default())));
    if found {
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
    } else {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}
