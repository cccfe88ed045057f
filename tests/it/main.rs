//! The product from outside, a module a topic. `tests/run` starts what they need.
