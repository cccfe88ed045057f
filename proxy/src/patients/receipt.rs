//! The receipt of a destroyed key: signed, so that who was told can show it, and anybody with the public key can hold it.
//!
//! ```text
//! {"receipt":{…},"signature":{"algorithm":"Ed25519","key_id":…,"public_key":…,"value":…}}
//! ```
//!
//! Signed is the canonical form of `receipt` (`json.dumps(json.loads(text), sort_keys=True)`) with Ed25519 (RFC 8032),
//! under a key that is derived from the audit key in force; `public_key` and `value` are base64. That a receipt
//! carries a public key proves nothing: it is held against the ring, or against the key that was handed over before.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64_simd::STANDARD;
use safeguard_audit::{AuditKeys, Pseudonym, ReceiptSeed};
use safeguard_vault::canonical::canonicalize;
use safeguard_vault::patient_keys::ShredReceipt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Gone, StoreError};

/// The one algorithm.
const ALGORITHM: &str = "Ed25519";
/// Bytes of a public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// What is said of a destruction beside what the key itself says.
#[derive(Debug, Clone)]
pub struct Order {
    /// Who shares sealed values.
    pub domain: String,
    /// Whose key.
    pub pseudonym: Pseudonym,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, in microseconds since 1970, UTC.
    pub now_micros: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    receipt: Box<RawValue>,
    signature: Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    algorithm: String,
    key_id: String,
    public_key: String,
    value: String,
}

/// What a receipt says that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// The version of its form.
    pub receipt: String,
    /// The patient's pseudonym.
    pub pseudonym: String,
    /// The key that is gone.
    pub key_id: String,
    /// Who shares sealed values.
    pub domain: String,
    /// When, in microseconds since 1970, UTC.
    pub shredded_unix_micros: i64,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Why a receipt is not believed.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum Disbelief {
    /// It is none.
    #[error("this is no receipt of a destroyed key")]
    NoReceipt,
    /// The audit key that it names is not in the ring.
    #[error("the receipt names an audit key that keys.audit does not have")]
    UnknownKey,
    /// The signature is not of that key over these words.
    #[error("the receipt's signature does not hold")]
    Forged,
}

/// Whose signatures are believed.
#[derive(Debug)]
pub enum Trust<'k> {
    /// Those of the audit ring.
    Ring(&'k AuditKeys),
    /// That of one public key.
    Key([u8; PUBLIC_KEY_BYTES]),
}

/// The signed receipt of a key that goes.
///
/// # Errors
/// It can't be signed.
pub fn sign(order: &Order, gone: &Gone, seed: &ReceiptSeed) -> Result<String, StoreError> {
    let words = |what: &str| StoreError::NoReceipt(what.to_owned());
    let pair = pair(seed).ok_or_else(|| words("the audit key gives no signing key"))?;
    let canonical = ShredReceipt {
        domain: &order.domain,
        pseudonym: &order.pseudonym.to_string(),
        key_id: &gone.key_id,
        wrapped_sha256: gone.wrapped_sha256,
        shredded_unix_micros: order.now_micros,
        by: &order.by,
        reason: &order.reason,
    }
    .canonical();
    let value = STANDARD.encode_to_string(pair.sign(&canonical).as_ref());
    let text = String::from_utf8(canonical).map_err(|_| words("it is no text"))?;
    let signed = Signed {
        receipt: RawValue::from_string(text).map_err(|_| words("it is no JSON"))?,
        signature: Signature {
            algorithm: ALGORITHM.to_owned(),
            key_id: seed.key_id.clone(),
            public_key: STANDARD.encode_to_string(pair.public_key().as_ref()),
            value,
        },
    };
    serde_json::to_string(&signed).map_err(|_| words("it is no JSON"))
}

/// What a receipt says, if its signature holds.
///
/// # Errors
/// [`Disbelief`].
pub fn verify(text: &[u8], trust: &Trust<'_>) -> Result<Said, Disbelief> {
    let signed: Signed = serde_json::from_slice(text).map_err(|_| Disbelief::NoReceipt)?;
    let signature = &signed.signature;
    let said: Said =
        serde_json::from_str(signed.receipt.get()).map_err(|_| Disbelief::NoReceipt)?;
    if signature.algorithm != ALGORITHM || said.receipt != ShredReceipt::FORM {
        return Err(Disbelief::NoReceipt);
    }
    let public = match trust {
        Trust::Key(public) => *public,
        Trust::Ring(keys) => {
            let seed = keys.receipt_seed_of(&signature.key_id);
            let seed = seed.ok_or(Disbelief::UnknownKey)?;
            public_key(&seed).ok_or(Disbelief::UnknownKey)?
        }
    };
    let canonical = canonicalize(signed.receipt.get().as_bytes());
    let canonical = canonical.map_err(|_| Disbelief::NoReceipt)?;
    let value = STANDARD.decode_to_vec(&signature.value);
    let value = value.map_err(|_| Disbelief::Forged)?;
    UnparsedPublicKey::new(&ED25519, public)
        .verify(&canonical, &value)
        .map_err(|_| Disbelief::Forged)?;
    Ok(said)
}

/// The public key of what signs receipts under an audit key.
#[must_use]
pub fn public_key(seed: &ReceiptSeed) -> Option<[u8; PUBLIC_KEY_BYTES]> {
    pair(seed)?.public_key().as_ref().try_into().ok()
}

fn pair(seed: &ReceiptSeed) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(seed.seed.as_slice()).ok()
}
