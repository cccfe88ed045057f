//! The events of emergencies. None has the reason or the patient but by its pseudonym.

use safeguard_audit::{Event, EventName, Outcome, Pending, Subject};
use safeguard_policy::emergency::PURPOSE;

use super::record::Record;
use crate::events::{Recorder, about_caller};
use crate::exchange::Caller;

/// One that begins, and who begins it.
#[derive(Debug)]
pub struct Begun<'a> {
    /// The record.
    pub record: &'a Record,
    /// The caller.
    pub caller: &'a Caller,
    /// The hash of the configuration that permits it.
    pub hash: [u8; 32],
}

impl Recorder {
    /// Break-glass access begins.
    pub fn emergency_began(&self, begun: &Begun<'_>) -> Pending {
        let record = begun.record;
        let mut event = self.of_emergency(EventName::EmergencyAccessStart, record);
        event.reason = Some("started".into());
        about_caller(&mut event, begun.caller, None);
        event.configuration_hash = Some(begun.hash);
        self.record(event.detail("until", record.until_unix))
    }

    /// Break-glass access is over.
    pub fn emergency_ended(&self, record: &Record) {
        let mut event = self.of_emergency(EventName::EmergencyAccessStop, record);
        if let Some((at, why)) = record.ended {
            event.reason = Some(why.code().into());
            let lasted = at.saturating_sub(record.began_unix);
            event = event.detail("lasted_seconds", lasted);
        }
        self.send(event);
    }

    /// Nobody has reviewed one in time.
    pub fn emergency_overdue(&self, record: &Record) -> Pending {
        let mut event = self.of_emergency(EventName::EmergencyReviewOverdue, record);
        event.outcome = Outcome::Failure;
        self.record(event.detail("review_by", record.review_by_unix))
    }

    /// One was reviewed; `by` is who asked for that over the control socket.
    pub fn emergency_reviewed(&self, record: &Record, by: Subject<'static>) -> Pending {
        let mut event = self.of_emergency(EventName::EmergencyReviewed, record);
        event = event.detail("of_subject", record.subject.clone());
        event.subject = Some(by);
        if let Some(review) = &record.review {
            event.reason = Some(review.verdict.code().into());
            event = event.detail("reviewer", review.reviewer.clone());
            if !review.note.is_empty() {
                event = event.detail("note", review.note.clone());
            }
        }
        self.record(event)
    }

    fn of_emergency(&self, name: EventName, record: &Record) -> Event<'static> {
        let mut event = Event::new(name, Outcome::Success).detail("emergency", record.id.clone());
        event.purpose = Some(PURPOSE.into());
        event.patients = vec![self.pseudonym(&record.patient)];
        event.session = Some(record.session.clone().into());
        event.subject = Some(Subject {
            sub: record.subject.clone().into(),
            iss: record.issuer.clone().into(),
            mtls_name: (!record.client.is_empty()).then(|| record.client.clone().into()),
            ..Subject::default()
        });
        event
    }
}
