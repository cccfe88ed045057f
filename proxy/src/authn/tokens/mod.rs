//! Tokens that the sidecar issues for a login at the identity provider: what an access token carries over (`carried`),
//! and the refresh tokens behind it (`refresh`, `families`).
//!
//! A refresh token is opaque, `sgr1.` and 48 random bytes: 16 name its family, 32 are the secret, of which only a hash is
//! kept. Each use turns the family: the secret that was used is over, and its successor is answered. Whoever shows a secret
//! that is over has it from somewhere it should not be, so the family ends, and the login session with it (RFC 9700 §4.14.2).
//!
//! The one exception is for answers that got lost and for two threads that refresh at once: for [`GRACE_SECONDS`] after a
//! turn, and only until the successor is used, the secret before it is answered with *the same* successor, to the client of
//! the same certificate alone. A thief of the secret has no such certificate, so the exception opens nothing to him; without
//! a certificate there is no exception. The successor is made from the secret by HMAC under a key that never leaves the
//! process, so that answering twice needs no copy of a token to be kept.

mod carried;
mod families;
mod memory;
mod refresh;
mod seal;
mod shared;

pub use carried::{Carried, NotCarried, carried};
pub use families::{Families, Family, FamilyId, FamilyStore, NotKept, Shown, Turned};
pub use memory::{FAMILIES_BYTES_MAX, FAMILIES_MAX, FAMILIES_PER_SESSION_MAX, MemoryStore};
pub use refresh::{GRACE_SECONDS, NoRandomness, RefreshToken, SuccessorKeys, Unusable};
pub use seal::SealingKeys;
pub use shared::RedisStore;

#[cfg(test)]
mod tests;
