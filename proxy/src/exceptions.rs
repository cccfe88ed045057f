//! Exceptions of the configuration in force: their ends as a metric, an event 14 days before each end and one at it.

use std::collections::HashSet;

use safeguard_audit::{Event, EventName, Outcome};
use safeguard_policy::exceptions::{Exception, Standing};

use crate::sidecar::Sidecar;

/// What was told already, by rule, last day and standing: each is told once a process.
#[derive(Debug, Default)]
pub struct Exceptions {
    told: HashSet<(String, String, Standing)>,
    /// The configuration whose ends the metric has.
    of: Option<[u8; 32]>,
}

impl Exceptions {
    /// Takes the ends over to the metric and tells what has changed by the time.
    pub fn look(&mut self, sidecar: &Sidecar, now_unix: i64) {
        let live = sidecar.live.load();
        let metric = &sidecar.metrics.exception_expiry_timestamp_seconds;
        // A scrape never comes between, but at a reload.
        if self.of.replace(live.hash) != Some(live.hash) {
            metric.reset();
        }
        for exception in live.policy.exceptions() {
            metric
                .with_label_values(&[exception.allow.as_str(), &exception.rule])
                .set(exception.ends_unix);
            let standing = exception.standing(now_unix);
            let key = (
                exception.rule.to_string(),
                exception.until.clone(),
                standing,
            );
            if standing != Standing::Holds && self.told.insert(key) {
                sidecar.recorder.send(event(exception, standing, live.hash));
            }
        }
    }
}

fn event(exception: &Exception, standing: Standing, hash: [u8; 32]) -> Event<'static> {
    let reason = match standing {
        Standing::Over => "exception_over",
        Standing::Holds | Standing::EndsSoon => "exception_ends_soon",
    };
    log::warn!(
        "exceptions: {} for {} {reason}: its last day is {}",
        exception.allow.as_str(),
        exception.rule,
        exception.until
    );
    let mut event = Event::new(EventName::ConfigurationChange, Outcome::Success)
        .reason(reason)
        .detail("allow", exception.allow.as_str())
        .detail("for", exception.rule.to_string())
        .detail("until", exception.until.clone())
        .detail("approved_by", exception.approved_by.clone());
    event.configuration_hash = Some(hash);
    event
}
