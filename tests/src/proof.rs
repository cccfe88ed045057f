//! The key of a client, and its proofs of possession (DPoP, RFC 9449), made here and not by the product.

use base64_simd::URL_SAFE_NO_PAD as BASE64;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::tokens::now;

/// A client that holds an Ed25519 key.
#[expect(missing_debug_implementations, reason = "it holds a key")]
pub struct Holder {
    key: KeyPair,
}

impl Default for Holder {
    fn default() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        Self { key }
    }
}

impl Holder {
    fn point(&self) -> String {
        BASE64.encode_to_string(self.key.der_bytes())
    }

    /// The key's thumbprint (RFC 7638), as `cnf.jkt` has it.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.point());
        BASE64.encode_to_string(Sha256::digest(canonical))
    }

    /// A proof for one request, with a `jti` of its own; without a token for where there is none yet.
    #[must_use]
    pub fn proof(&self, method: &str, url: &str, token: Option<&str>) -> String {
        self.proof_with(method, url, token, &json!({}))
    }

    /// The same with further claims, such as a nonce.
    ///
    /// # Panics
    /// If those are no object.
    #[must_use]
    pub fn proof_with(&self, method: &str, url: &str, token: Option<&str>, more: &Value) -> String {
        let hash = token.map(|token| BASE64.encode_to_string(Sha256::digest(token)));
        let mut claims =
            json!({"jti": uuid::Uuid::new_v4(), "htm": method, "htu": url, "iat": now()});
        if let Some(hash) = hash {
            claims["ath"] = Value::String(hash);
        }
        let claims = crate::tokens::with(claims, more);
        let header = json!({
            "typ": "dpop+jwt", "alg": "EdDSA",
            "jwk": {"kty": "OKP", "crv": "Ed25519", "x": self.point()},
        });
        let signed = format!(
            "{}.{}",
            BASE64.encode_to_string(header.to_string()),
            BASE64.encode_to_string(claims.to_string())
        );
        let signature = self.key.sign(signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", BASE64.encode_to_string(signature))
    }
}
