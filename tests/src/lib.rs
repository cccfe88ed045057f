//! What the integration tests stand on: the sidecar as a process of its own, driven from outside over mTLS, with real
//! parts around it and an upstream that records every byte.
//!
//! Nothing here knows the product's code. The harness knows what the outside knows: the binary, its configuration files,
//! its ports, its exit codes. `tests/run` starts what outlives one test and says where it is in environment variables;
//! each test starts the rest itself, in a temporary folder, on loopback ports that it picks.

pub mod arrival;
pub mod browser;
pub mod client;
pub mod clinic;
pub mod collector;
pub mod configuration;
pub mod crowd;
pub mod database;
pub mod detour;
pub mod endings;
pub mod front;
pub mod keycloak;
pub mod load;
pub mod login;
pub mod memory;
pub mod otel;
pub mod pki;
pub mod proof;
pub mod real;
pub mod realm;
pub mod redis;
pub mod relay;
pub mod sdk;
pub mod sidecar;
pub mod sources;
pub mod spool;
pub mod store;
pub mod stream;
pub mod tokens;
pub mod upstream;
pub mod wait;
