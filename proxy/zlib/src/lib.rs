//! Classic zlib under zlib-ng's name: the functions and types are the same, and it builds without CMake.
#![forbid(unsafe_code)]

pub use libz_sys::*;
