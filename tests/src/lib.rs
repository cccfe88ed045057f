//! Integration tests against the real parts, and their harness.
