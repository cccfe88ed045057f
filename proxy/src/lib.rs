//! The library of the binary `safeguard`: the sidecar's rooms, in the order in which a request walks through them.
//!
//! `listener` (TLS, who is at the other end) -> `sidecar` (one request of Pingora's) -> `gate` (framing) -> `authn` and
//! `session` (who asks) -> `exchange` (what is asked, decided, sent and settled) -> `rewrite` (bytes) -> `events` (the
//! trail). `settings` makes all of it from the configuration, `live` is what a reload replaces. See
//! `docs/architecture.md`.

pub mod admin;
pub mod auth;
pub mod authn;
pub(crate) mod aws;
pub mod bursts;
pub mod canary;
pub mod cli;
pub mod clock;
pub mod control;
pub mod cors;
pub mod delivery;
pub mod demo;
pub mod doctor;
pub mod downstream;
pub mod emergency;
pub mod era;
pub mod events;
pub mod exceptions;
pub mod exchange;
pub mod factor;
pub mod gate;
pub mod identity_events;
pub mod keysource;
pub mod listener;
pub mod live;
pub mod metrics;
pub mod paths;
pub mod patients;
pub mod peer_stream;
pub mod readiness;
pub mod redis;
pub mod refuse;
pub mod reload;
pub mod rewrite;
pub mod run;
pub mod session;
pub mod settings;
pub mod sidecar;
pub mod streams;
pub mod tools_lock;
pub mod upstream;
pub mod wear;
pub mod workers;
