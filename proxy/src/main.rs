//! The binary `safeguard`.

fn main() {}
