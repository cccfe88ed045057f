//! Event catalogue, hash chain, durable spool, sinks, verification and queries.
