//! What the demo borrows from the product's own rooms: a key, a token.

use serde_json::{Map, Value};

use crate::authn::{LocalSettings, MintRequest, Secret, mint};
use crate::demo::{TokenRequest, Workshop};

/// How long the demo's tokens live, in seconds.
const TOKEN_SECONDS: u32 = 3600;

/// The product's own key maker and mint.
#[derive(Debug, Clone, Copy)]
pub struct Workbench;

impl Workshop for Workbench {
    fn key(&self) -> Result<String, String> {
        let key = safeguard_vault::random_key().map_err(|error| error.to_string())?;
        Ok(key.to_base64().to_string())
    }

    fn mint(&self, secret: &str, wanted: &TokenRequest) -> Result<String, String> {
        let settings = LocalSettings {
            secret: Secret::new(secret.as_bytes().to_vec()),
            issuer: wanted.issuer.to_owned(),
            audience: wanted.audience.to_owned(),
            expiration_max: TOKEN_SECONDS,
        };
        let claims = wanted.claims.iter().map(|(name, text)| ((*name).to_owned(), Value::String((*text).to_owned())));
        let request = MintRequest {
            subject: wanted.subject.to_owned(),
            roles: wanted.roles.iter().map(|role| (*role).to_owned()).collect(),
            amr: wanted.amr.iter().map(|method| (*method).to_owned()).collect(),
            purpose: Some(wanted.purpose.to_owned()),
            claims: claims.collect::<Map<_, _>>(),
            expires_seconds: None,
            now: crate::clock::now_unix(),
        };
        mint(&settings, &request).map(|token| token.to_string()).map_err(|error| error.to_string())
    }
}
