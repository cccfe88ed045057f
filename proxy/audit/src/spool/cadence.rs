//! When a checkpoint is due. Only a clock that never jumps is asked.

use std::time::{Duration, Instant};

/// Records that may wait for a checkpoint.
pub(crate) const CHECKPOINT_RECORDS: u64 = 1024;
/// Time that a record may wait for a checkpoint.
pub(crate) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// What has happened since the last checkpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cadence {
    heartbeat: Duration,
    last: Instant,
    /// Records without a checkpoint, and since when.
    news: Option<(u64, Instant)>,
}

impl Cadence {
    /// From now on; a run that has nothing to say makes a checkpoint every `heartbeat`.
    pub(crate) fn new(heartbeat: Duration, now: Instant) -> Self {
        Self {
            heartbeat,
            last: now,
            news: None,
        }
    }

    /// So many records are durable.
    pub(crate) fn saw(&mut self, records: u64, now: Instant) {
        if records > 0 {
            let (before, since) = self.news.unwrap_or((0, now));
            self.news = Some((before + records, since));
        }
    }

    /// A checkpoint was made, or refused: then it is tried again an interval later.
    pub(crate) fn checked(&mut self, made: bool, now: Instant) {
        self.last = now;
        self.news = match self.news {
            Some((records, _)) if !made => Some((records.min(CHECKPOINT_RECORDS - 1), now)),
            _ => None,
        };
    }

    /// How long until one is due.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let left = |since: Instant, after: Duration| {
            after.saturating_sub(now.saturating_duration_since(since))
        };
        let beat = left(self.last, self.heartbeat);
        match self.news {
            Some((records, _)) if records >= CHECKPOINT_RECORDS => Duration::ZERO,
            Some((_, since)) => left(since, CHECKPOINT_INTERVAL).min(beat),
            None => beat,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(300);

    #[test]
    fn one_is_due_a_second_after_the_first_record_at_1024_of_them_and_when_nothing_happens() {
        let start = Instant::now();
        let mut cadence = Cadence::new(BEAT, start);
        assert_eq!(cadence.wait(start), BEAT);
        cadence.saw(1, start);
        assert_eq!(cadence.wait(start), CHECKPOINT_INTERVAL);
        let later = start + CHECKPOINT_INTERVAL / 2;
        cadence.saw(1, later);
        assert_eq!(cadence.wait(later), CHECKPOINT_INTERVAL / 2);
        cadence.saw(CHECKPOINT_RECORDS - 2, later);
        assert_eq!(cadence.wait(later), Duration::ZERO);
        cadence.checked(true, later);
        assert_eq!(cadence.wait(later), BEAT);
        assert_eq!(cadence.wait(later + BEAT), Duration::ZERO);
    }

    #[test]
    fn a_refused_one_is_tried_again_after_an_interval_and_not_at_once() {
        let start = Instant::now();
        let mut cadence = Cadence::new(BEAT, start);
        cadence.saw(2 * CHECKPOINT_RECORDS, start);
        cadence.checked(false, start);
        assert_eq!(cadence.wait(start), CHECKPOINT_INTERVAL);
        assert_eq!(cadence.wait(start + CHECKPOINT_INTERVAL), Duration::ZERO);
    }
}
