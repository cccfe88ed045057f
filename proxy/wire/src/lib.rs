//! Bytes to meaning: JSON spans, server-sent events, JSON-RPC, where PHI can stand in MCP messages.
