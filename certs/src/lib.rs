//! TLS material: load, watch, swap, verify, name the peer; the development CA.
