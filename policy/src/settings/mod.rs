//! The configuration as the rest of the program uses it: every value typed, defaulted and checked.

mod types;

pub use types::*;

pub use crate::secret::KeyBytes;
