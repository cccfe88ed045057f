//! Where the rings' keys come from when the configuration does not hold them: Infisical, the transit engine of OpenBao
//! or Vault, AWS KMS, a PKCS#11 module.
//!
//! Promises:
//! - the keys of a ring are had all together or not at all: nothing is swapped for a part of them;
//! - every attempt, their number, their time together and the bytes of every answer are bounded;
//! - no error, log line or `Debug` holds a key, a credential, a wrapped key or anything that a source answered;
//! - the key that wraps never comes here, only the 32 bytes of a ring's key, which are wiped when they are dropped.

mod aws_kms;
mod error;
pub(crate) mod http;
mod infisical;
pub(crate) mod login;
mod pkcs11;
mod resolver;
mod transit;
mod waiting;

use async_trait::async_trait;
use safeguard_policy::SourceText;
use safeguard_vault::KeyMaterial;
use zeroize::Zeroizing;

pub use error::{SourceError, Unresolved};
pub use resolver::{ATTEMPTS_MAX, Resolver, Rings, source_of};
pub use waiting::{Backoff, trail_keys, while_probed};

/// A source of keys, set up and ready to be asked.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The key that a text refers to. One attempt, within a bound of time.
    ///
    /// # Errors
    /// Why it can't be had.
    async fn resolve(&self, text: &SourceText) -> Result<KeyMaterial, SourceError>;

    /// A new key, wrapped: what stands behind the prefix of a `source`.
    ///
    /// # Errors
    /// Why it can't be made.
    async fn new_wrapped(&self) -> Result<String, SourceError>;
}

/// 32 bytes from the base64 that a source gave.
fn key_from_base64(text: &str) -> Result<KeyMaterial, SourceError> {
    KeyMaterial::from_base64(text).map_err(|_| SourceError::NotAKey)
}

/// The bytes of a token's file, as Kubernetes and cloud agents keep it fresh.
pub(crate) fn token_file(path: &std::path::Path) -> Result<Zeroizing<String>, SourceError> {
    /// The longest token, in bytes.
    const TOKEN_BYTES_MAX: u64 = 64 * 1024;
    use std::io::Read as _;
    let unreadable = |_| SourceError::Credential("the token's file can't be read");
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(TOKEN_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() {
        return Err(SourceError::Credential("the token's file is empty"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests;
