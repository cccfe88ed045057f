//! A double of an OpenID provider on loopback, and the keys that it signs with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::ProviderSettings;
use super::{b64, signing_input};

pub(super) enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

impl Signer {
    pub(super) fn rsa() -> Self {
        let size = aws_lc_rs::rsa::KeySize::Rsa2048;
        let key = aws_lc_rs::rsa::KeyPair::generate(size).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(der.as_ref()).unwrap()))
    }

    pub(super) fn ec() -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        Self::Ec(Box::new(
            EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref()).unwrap(),
        ))
    }

    pub(super) fn ed() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Box::new(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap()))
    }

    pub(super) fn alg(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                json!({"kty": "RSA",
                       "n": b64(public.modulus().big_endian_without_leading_zero()),
                       "e": b64(public.exponent().big_endian_without_leading_zero())})
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Self::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().as_ref())})
            }
        };
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.alg());
        jwk
    }

    /// The public key as an attacker who knows it would use it as an HMAC secret.
    pub(super) fn public_bytes(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.public_key().as_ref().to_vec(),
            Self::Ec(key) => key.public_key().as_ref().to_vec(),
            Self::Ed(key) => key.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn sign(&self, header: &str, payload: &str) -> String {
        let input = signing_input(header, payload);
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            Self::Ec(key) => key
                .sign(&random, input.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Self::Ed(key) => key.sign(input.as_bytes()).as_ref().to_vec(),
        };
        format!("{input}.{}", b64(signature))
    }

    /// As Keycloak signs its access tokens.
    pub(super) fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": self.alg(), "typ": "JWT", "kid": kid});
        self.sign(&header.to_string(), &claims.to_string())
    }
}

/// How the double answers.
#[derive(Clone)]
pub(super) enum Mood {
    Good,
    /// Closes every connection.
    Down,
    OtherIssuer,
    Redirects,
    EndlessBody,
    NoJson,
}

pub(super) struct Provider {
    pub(super) base: String,
    jwks: Mutex<Value>,
    mood: Mutex<Mood>,
    fetches: AtomicUsize,
}

impl Provider {
    /// Plain http on a loopback port.
    pub(super) async fn start(keys: &[Value]) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(listener, base, None, keys)
    }

    /// The same over TLS, as `localhost`.
    pub(super) async fn start_tls(acceptor: TlsAcceptor, keys: &[Value]) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::serve(
            listener,
            format!("https://localhost:{port}"),
            Some(acceptor),
            keys,
        )
    }

    fn serve(
        listener: TcpListener,
        base: String,
        tls: Option<TlsAcceptor>,
        keys: &[Value],
    ) -> Arc<Self> {
        let provider = Arc::new(Self {
            base,
            jwks: Mutex::new(json!({ "keys": keys })),
            mood: Mutex::new(Mood::Good),
            fetches: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&provider);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => serving.answer(stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serving.answer(stream).await;
                        }
                    }
                }
            }
        });
        provider
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        *self.jwks.lock() = json!({ "keys": keys });
    }

    pub(super) fn feel(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// How often the key set was asked for.
    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    pub(super) fn settings(&self) -> ProviderSettings {
        ProviderSettings::new(&self.base, "healthcare", "https://agents.example.com/mcp")
    }

    pub(super) fn issuer(&self) -> String {
        format!("{}/realms/healthcare", self.base)
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                return;
            }
            request.extend(byte);
        }
        let request = String::from_utf8(request).unwrap();
        let mood = self.mood.lock().clone();
        let (status, media, body) = match mood {
            Mood::Down => return,
            Mood::Redirects => (
                "302 Found\r\nLocation: /x",
                "application/json",
                json!({}).to_string(),
            ),
            Mood::EndlessBody => ("200 OK", "application/json", " ".repeat(4 * 1024 * 1024)),
            Mood::NoJson => ("200 OK", "text/html", "<html>".to_owned()),
            Mood::Good => (
                "200 OK",
                "application/json",
                self.document(&request, &self.issuer()),
            ),
            Mood::OtherIssuer => {
                let other = format!("{}x", self.issuer());
                (
                    "200 OK",
                    "application/json",
                    self.document(&request, &other),
                )
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // The other side may hang up on what it doesn't like.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn document(&self, request: &str, issuer: &str) -> String {
        if request.starts_with("GET /realms/healthcare/.well-known/openid-configuration ") {
            return json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{}/auth", self.base),
                "jwks_uri": format!("{}/certs", self.base),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA", "PS256"],
            })
            .to_string();
        }
        assert!(request.starts_with("GET /certs HTTP/1.1\r\n"), "{request}");
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.jwks.lock().to_string()
    }
}
