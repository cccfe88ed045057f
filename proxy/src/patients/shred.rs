//! Destroying one patient's key on order: recorded before it begins and before it is answered, signed for.

use std::time::Duration;

use safeguard_audit::{Event, EventName, NotDurable, Outcome, Subject, Trail};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::receipt::{self, Order};
use super::{PatientKeys, StoreError};
use crate::clock;

/// Until an event of a destruction is durable, or it is refused.
pub const EVENT_DEADLINE: Duration = Duration::from_secs(3);
/// The longest name of a patient, in bytes.
pub const PATIENT_BYTES_MAX: usize = 1024;
/// Characters of a reason that event and receipt keep.
pub const REASON_CHARS_MAX: usize = 200;

/// Why a key was not destroyed, or its destruction not answered for.
#[derive(Debug, Error)]
pub enum ShredError {
    /// Nothing was done: it could not be recorded.
    #[error("the audit log can't record it, so nothing was destroyed: {0}")]
    NotRecorded(NotDurable),
    /// The key is gone; that it is could not be recorded.
    #[error(
        "the key is destroyed, and the audit log can't record it: ask again once it can, for the receipt ({0})"
    )]
    OutcomeNotRecorded(NotDurable),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The order names nobody.
    #[error("name the patient: a text of at most {PATIENT_BYTES_MAX} bytes that is not empty")]
    Nobody,
}

/// Who wants whose key destroyed, and why.
pub struct Wish {
    /// The patient, by the id that rules and arguments use.
    pub patient: Zeroizing<String>,
    /// In the operator's words; no identifier of a patient.
    pub reason: String,
    /// Who asks.
    pub by: Subject<'static>,
}

impl std::fmt::Debug for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wish")
    }
}

/// Destroys the key and gives the signed receipt; asked again, the one of the first time.
///
/// # Errors
/// [`ShredError`].
pub async fn shred(
    trail: &Trail,
    patients: &PatientKeys,
    wish: &Wish,
) -> Result<String, ShredError> {
    if wish.patient.is_empty() || wish.patient.len() > PATIENT_BYTES_MAX {
        return Err(ShredError::Nobody);
    }
    let who = trail.pseudonym(&wish.patient);
    let reason: String = wish.reason.chars().take(REASON_CHARS_MAX).collect();
    let about = |outcome, what: &'static str| {
        let mut event = Event::new(EventName::KeyRotated, outcome).reason(what);
        event.subject = Some(wish.by.clone());
        event.patients = std::iter::once(who).collect();
        event.detail("why", reason.clone())
    };
    let asked = about(Outcome::Success, "patient_key_destruction_begins");
    let asked = durable(trail, asked).await;
    asked.map_err(ShredError::NotRecorded)?;
    let now_micros = clock::now_micros();
    let seed = trail
        .receipt_seed(now_micros.div_euclid(1_000_000))
        .map_err(|error| StoreError::NoReceipt(error.to_string()))?;
    let order = Order {
        domain: patients.store().domain().to_owned(),
        pseudonym: who,
        by: wish.by.sub.to_string(),
        reason: reason.clone(),
        now_micros,
    };
    let done = patients
        .shred(who, move |gone| receipt::sign(&order, gone, &seed))
        .await;
    let event = match &done {
        Ok(text) => {
            let hash: [u8; 32] = Sha256::digest(text.trim_end().as_bytes()).into();
            about(Outcome::Success, "patient_key_destroyed").detail("receipt_sha256", hex(&hash))
        }
        Err(_) => about(Outcome::Failure, "patient_key_not_destroyed"),
    };
    let recorded = durable(trail, event).await;
    let text = done?;
    recorded.map_err(ShredError::OutcomeNotRecorded)?;
    Ok(text)
}

async fn durable(trail: &Trail, event: Event<'_>) -> Result<(), NotDurable> {
    match timeout(EVENT_DEADLINE, trail.record(event).durable()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_late) => Err(NotDurable::Failed),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
