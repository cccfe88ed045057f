//! Where events go from the spool.

use std::future::Future;

use crate::record::Record;

pub mod collector;
mod fitting;
mod links;
pub mod postgres;
pub mod s3;
mod seal;
pub mod syslog;
mod tls;

pub use seal::{OpenPayloadError, open_payload};
pub use tls::{ClientPem, Material, TlsMaterial, TlsMaterialError, client_config};

/// What a sink did with a batch. Every event of it is in the sink, or named as refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Events that the sink did not have before.
    pub new: u64,
    /// Events that it had already.
    pub duplicates: u64,
    /// Events that it will never take, by their place in the batch, each with the sink's code for why.
    pub refused: Vec<(usize, String)>,
}

/// The sink took nothing for now; the batch comes again.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{what}")]
pub struct SinkError {
    /// A stable code: `unreachable`, `refused`, or the sink's own.
    pub code: String,
    /// What happened, without any content of events.
    pub what: String,
}

/// A destination. Taking the same batch twice must be the same as taking it once.
pub trait Sink: Send {
    /// Its name in metrics and events, and of its cursor.
    fn name(&self) -> &str;

    /// Takes a batch whole, durably.
    fn take(&mut self, batch: &[Record]) -> impl Future<Output = Result<Taken, SinkError>> + Send;
}
