//! What the benches share: the messages that are measured, and the side-by-side load bench.
//!
//! The criterion benches of each stage are in `benches/`; `load` (the binary) puts the sidecar beside other proxies and
//! measures each one's CPU time a request. `README.md` has the commands and the results.

pub mod configuration;
pub mod load;
pub mod messages;
