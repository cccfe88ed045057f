//! Who asks: bearer tokens in, [`Authenticated`] principals out.
//!
//! Owns the `Authorization` header's value, the verification of local HS256 tokens and of identity providers'
//! RS256, ES256 and EdDSA tokens, the key sets of these, the proof of a second factor,
//! and the challenges that a refused caller gets.
//!
//! Promises:
//! - an [`Authenticated`] exists only for a token whose signature, type, issuer, audience, times and
//!   subject were all checked, and [`Authenticator::authenticate`] hands one out only while the token is valid
//!   and, where configured, proves a second factor;
//! - whatever can't be checked is refused ([`AuthnError::KeysUnavailable`] when the provider is down too long);
//! - no error, log line or `Debug` output holds a token, a claim's value or a secret.

mod authenticated;
mod authenticator;
mod bearer;
mod cache;
mod challenge;
mod claims;
mod dpop;
mod error;
pub(crate) mod fetch;
mod inspect;
mod introspection;
mod json;
mod jws;
mod key_set;
mod keys;
mod local;
mod logout;
mod mfa;
mod mint;
mod remembered;
mod settings;
pub mod tokens;

#[cfg(test)]
mod tests;

pub use authenticated::{Authenticated, Kind};
pub use authenticator::{Authenticator, ProviderState};
pub use bearer::{BearerToken, TOKEN_BYTES_MAX};
pub use challenge::{Challenges, PublicUrlInvalid, StepUp};
pub use dpop::{
    Asked, BindingSettings, Demand, NONCE_SECONDS, PROOF_ALGORITHMS, PROOF_BYTES_MAX,
    PROOF_SECONDS_MAX, PROOFS_MAX, ProofError, ProofHeader,
};
pub use error::{AuthnError, Fault};
pub use fetch::{FETCH_DEADLINE, FETCHED_BYTES_MAX, FetchError};
pub use inspect::{Inspection, inspect};
pub use introspection::{ANSWERS_MAX, IntrospectionSettings};
pub use logout::{LOGOUT_LIFE_MAX, LOGOUTS_MAX, Logout};
pub use mint::{Issued, MintError, MintRequest, NotIssued, mint};
pub use settings::{
    AuthnSettings, CACHED_TOKENS_DEFAULT, CLOCK_SKEW_SECONDS_MAX, KEYS_STALE_MAX, LocalSettings,
    PreviousSecret, ProviderSettings, REFRESH_INTERVAL, REFRESH_MIN_INTERVAL, SECRET_BYTES_MIN,
    SecondFactorSettings, Secret, SettingsError,
};
