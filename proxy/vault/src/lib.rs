//! Sealing and opening of PHI values, and what stands around it: key rings, Fernet, JWE, searchable values, Python's
//! canonical JSON form, the record MACs over it, keys of patients, masks, and the tokens that an agent carries in
//! place of a value.
//!
//! The crate is pure: no I/O, no async, no logging, and the clock is an argument. It promises that
//!
//! - keys, derived keys and opened values are wiped when they are dropped and never shown by `Debug`;
//! - whatever does not open fails with one error that says nothing about the reason ([`OpenError`]), but that its key
//!   was destroyed;
//! - every use of a ring key has keys of its own, derived under its own label, but for Fernet and the seed's hash;
//! - a value that is sealed or opened is one valid JSON text, so that it may be spliced into a document.
//!
//! A body is sealed by one [`Sealer`] (one salt, one key derivation) and opened by an [`Opener`], which keeps the
//! derived keys of recent bodies.
//!
//! ```
//! use safeguard_vault::ring::{KeyRing, RingKey};
//! use safeguard_vault::{Format, Opener, Sealer, Wrap, random_key};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ring = Arc::new(KeyRing::new(vec![RingKey { id: "phi-2026-01".into(), from_unix: 0, key: random_key()? }])?);
//! let mut sealed = Vec::new();
//! Sealer::new(&ring, "clinic-a", Format::Native, Wrap::String, 1)?.seal("ssn", None, b"\"123-45-6789\"", &mut sealed)?;
//! let token = std::str::from_utf8(&sealed)?.trim_matches('"');
//! let opened = Opener::new(Arc::clone(&ring), "clinic-a").open(token, "ssn", None)?;
//! assert_eq!(opened.expose(), "\"123-45-6789\"");
//! # Ok(())
//! # }
//! ```

mod aead;
mod cache;
pub mod canonical;
pub mod carry;
mod envelope;
pub mod fernet;
mod json;
pub mod jwe;
mod key;
pub mod mac;
pub mod mask;
pub mod patient_keys;
mod plaintext;
pub mod python;
pub mod record;
pub mod ring;
pub mod search;

pub use aead::CONTEXT_BYTES_MAX;
pub use cache::DERIVED_KEYS_MAX;
pub use envelope::{
    Format, OpenRoom, Opener, SealError, Sealer, VALUES_PER_SEALER_MAX, Wrap, looks_sealed,
    sealed_with,
};
pub use key::{KEY_BYTES, KeyError, KeyMaterial, NoEntropy, decode_base64, decode_hex, random_key};
pub use plaintext::{OpenError, Plaintext};
