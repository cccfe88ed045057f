//! The audit trail: what happened, in an order that cannot be changed unseen, on disk before PHI moves.
//!
//! [`Trail::record`] takes an [`Event`] and gives a [`Pending`]; its [`Pending::durable`] resolves to a [`Receipt`] once the
//! event is on disk and the head that proves it is written, or to [`NotDurable`]. Nothing that touches PHI goes on without a receipt.
//! From the spool a [`delivery`] task carries the events to a sink, each one exactly once there. [`verify`] and [`query`]
//! read the spool without the running process.
//!
//! An event never holds a value of a PHI field: it names fields, and stands for patients by [`Pseudonym`].
//! Floats don't exist here, so the canonical form (RFC 8785) is integers and strings only.

mod canonical;
mod catalogue;
mod checkpoint;
pub mod delivery;
mod event;
pub mod export;
mod keys;
mod metrics;
mod proof;
pub mod query;
mod record;
mod render;
pub mod sink;
pub mod spool;
mod trail;
mod tree;
pub mod verify;

pub use catalogue::{EventName, Severity};
pub use checkpoint::{Checkpoint, NoteError, SignedCheckpoint, VerifierKey};
pub use event::{Detail, Event, FieldAction, FieldTouched, Mcp, Outcome, Subject};
pub use keys::{AuditKey, AuditKeys, KEY_BYTES, KeyError, PSEUDONYM_BYTES, Pseudonym, ReceiptSeed};
pub use metrics::{Metrics, SinkMetrics};
pub use proof::{InclusionProof, ProofError, ProveError, prove};
pub use record::{Record, RecordError};
pub use render::EventFormat;
pub use spool::{OpenError, Retention, SpoolSettings};
pub use trail::{Health, NotDurable, Pending, Receipt, SpoolState, Trail};
