//! Counters as plain data, for whoever exports them.

use crate::catalogue::EventName;

/// The trail in numbers since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Records written, by event, for every event of the catalogue.
    pub events: Vec<(EventName, u64)>,
    /// Events that could not be made durable.
    pub refused: u64,
    /// Bytes of the log.
    pub spool_bytes: u64,
    /// Records in the log.
    pub spool_records: u64,
    /// Bytes of the log that are kept in memory for the sinks.
    pub recent_bytes: u64,
    /// When the last durable checkpoint of this run was made, Unix microseconds; 0 before the first.
    pub last_checkpoint_micros: i64,
    /// The sinks by name.
    pub sinks: Vec<(String, SinkMetrics)>,
}

/// One sink in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkMetrics {
    /// Events that the sink has.
    pub delivered: u64,
    /// Of those, the ones that it already had (after a crash between its commit and our cursor).
    pub duplicates: u64,
    /// Events that it refused, set aside with a `sink_failed` of their own.
    pub set_aside: u64,
    /// Events that `audit_logging.events` keeps from the outputs.
    pub unselected: u64,
    /// Events read back from the disk: the sink was behind what is kept in memory, or the process has started anew.
    pub read_back: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// The last attempt worked.
    pub healthy: bool,
    /// Age of the oldest durable event that the sink has not got, microseconds; none if it has all.
    pub oldest_unsent_age_micros: Option<i64>,
    /// When the oldest unsent event happened, Unix microseconds.
    pub(crate) oldest_unsent_micros: Option<i64>,
}

impl SinkMetrics {
    /// With the age as of `now` (Unix microseconds).
    pub(crate) fn aged(&self, now: i64) -> Self {
        Self {
            oldest_unsent_age_micros: self
                .oldest_unsent_micros
                .map(|then| now.saturating_sub(then).max(0)),
            ..self.clone()
        }
    }
}
