//! Amazon's services without its SDK: who asks, how a question is signed, and S3's store. KMS is a source of keys ([`crate::keysource`]).

mod identity;
pub(crate) mod s3;
pub(crate) mod sigv4;

pub(crate) use identity::{Identity, IdentitySettings};
