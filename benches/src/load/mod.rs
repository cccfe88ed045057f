//! The side-by-side load bench: the sidecar beside stock Pingora, nginx and Envoy, in one alternating run.
//!
//! All of them stand on loopback, demand the same client certificate, speak TLS 1.3 with the same suite and forward to
//! one MCP server that answers at once with a fixed text. One client sends all of them the same requests over the
//! same number of kept connections. What counts is the CPU time that a target's processes spent on a request (user
//! and system, from `/proc`): unlike throughput it says the same on a machine that does other things beside it.
//!
//! Nothing is measured before it is seen to work: each target must give the answer byte for byte, and behind the
//! sidecar that does everything the MCP server must have received no PHI value and a record with its hash.

pub mod arguments;
mod client;
mod cpu;
mod issuer;
mod postgresql;
mod process;
mod report;
mod run;
pub mod stock;
mod targets;
mod tls;
pub mod upstream;

pub use run::run;

/// Why a bench could not be run; for a person to read.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
