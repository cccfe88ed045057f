//! TLS material: load, watch, swap, verify, name the peer; the development CA.
//!
//! Owns everything about certificates that the proxy must not get wrong: which suites and groups
//! are offered ([`install_provider`]), what the server shows and whom it trusts ([`ServerTls`]),
//! who the peer is ([`PeerIdentity`], [`Peer`]) and why one was refused ([`Reason`]).
//!
//! Promises:
//! * TLS 1.3 only, no session tickets, no early data: each connection shows its certificate anew,
//!   because a resumed session would skip the check of it.
//! * A reload takes effect as a whole or not at all, and whatever narrows trust moves
//!   [`ServerTls::trust_epoch`], so that open connections are judged again.
//! * No file is read beyond [`FILE_BYTES_MAX`]; no error holds a byte of a key.

mod client;
pub mod dev;
mod identity;
mod material;
mod names;
mod peer;
mod provider;
mod read;
mod reason;
mod server;
pub mod show;
mod subject;
mod trust;
mod watch;

#[cfg(test)]
mod tests;

pub use client::{ClientTls, ClientTlsSettings};
pub use identity::PeerIdentity;
pub use material::{KeyPermissions, TlsError};
pub use names::{AllowedNames, PatternError};
pub use peer::Peer;
pub use provider::{ProviderError, Suite, UnknownSuite, install_provider, provider};
pub use read::{FILE_BYTES_MAX, ReadError};
pub use reason::{PeerError, Reason, classify, classify_chain};
pub use server::{Changed, Expiries, Mutual, ServerTls, TlsSettings};
pub use watch::Watch;
