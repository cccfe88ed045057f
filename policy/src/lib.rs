//! The configuration as written, checked and compiled, and the pure decision.
