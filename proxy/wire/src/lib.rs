//! Bytes to meaning: JSON spans, server-sent events, JSON-RPC, where PHI can stand in MCP messages.
//!
//! Nothing here does I/O, keeps a key or knows the policy. The promise of the crate is about bytes:
//! what is not edited comes out as it went in, whatever its number format, spacing, escapes or order.

pub mod detect;
pub mod json;
pub mod jsonrpc;
pub mod mcp;
pub mod mirror;
pub mod sse;
pub mod uri;
