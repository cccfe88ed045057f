//! Bursts of failed logins: counted by person and by source, in a table of bounded size, so that an alert can tell guessing from typing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

/// Failures within [`WINDOW`] that make a burst.
pub const FAILURES: u32 = 10;
/// How long failures count together.
pub const WINDOW: Duration = Duration::from_secs(300);
/// Persons and sources that are counted at once. Were there more, the oldest counts are begun anew.
pub const COUNTED_MAX: usize = 4_096;

type Key = [u8; 32];

/// The counts.
#[derive(Debug, Default)]
pub struct Bursts(Mutex<HashMap<Key, Count>>);

#[derive(Debug, Clone, Copy)]
struct Count {
    began: Instant,
    failures: u32,
}

impl Bursts {
    /// Counts a failure; by what it just became a burst: `subject`, `source`. A burst is told once a window.
    pub fn failed(
        &self,
        subject: Option<&str>,
        source: Option<IpAddr>,
        now: Instant,
    ) -> Vec<&'static str> {
        let subject = subject.map(|subject| ("subject", key("subject", subject)));
        let source = source.map(|source| ("source", key("source", &source.to_string())));
        let mut counts = self.0.lock();
        subject
            .into_iter()
            .chain(source)
            .filter(|(_, key)| count(&mut counts, *key, now) == FAILURES)
            .map(|(by, _)| by)
            .collect()
    }
}

fn count(counts: &mut HashMap<Key, Count>, key: Key, now: Instant) -> u32 {
    if counts.len() >= COUNTED_MAX && !counts.contains_key(&key) {
        make_room(counts, now);
    }
    let count = counts.entry(key).or_insert(Count {
        began: now,
        failures: 0,
    });
    if now.saturating_duration_since(count.began) >= WINDOW {
        *count = Count {
            began: now,
            failures: 0,
        };
    }
    count.failures = count.failures.saturating_add(1);
    count.failures
}

fn make_room(counts: &mut HashMap<Key, Count>, now: Instant) {
    counts.retain(|_, count| now.saturating_duration_since(count.began) < WINDOW);
    if counts.len() < COUNTED_MAX {
        return;
    }
    // The older half goes, so that a flood of names pays for a sort once in a while and not each time.
    let mut begun: Vec<Instant> = counts.values().map(|count| count.began).collect();
    begun.sort_unstable();
    let middle = begun.get(begun.len() / 2).copied().unwrap_or(now);
    counts.retain(|_, count| count.began > middle);
}

fn key(kind: &str, text: &str) -> Key {
    let mut hash = Sha256::new();
    hash.update(kind);
    hash.update([0]);
    hash.update(text);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(bursts: &Bursts, subject: &str, number: u32, now: Instant) -> usize {
        (0..number)
            .map(|_| bursts.failed(Some(subject), None, now).len())
            .sum()
    }

    #[test]
    fn the_tenth_failure_in_a_window_is_a_burst_and_is_told_once() {
        let (bursts, now) = (Bursts::default(), Instant::now());
        assert_eq!(failures(&bursts, "a", FAILURES - 1, now), 0);
        assert_eq!(failures(&bursts, "b", FAILURES - 1, now), 0, "another's");
        assert_eq!(failures(&bursts, "a", 50, now), 1);
        assert_eq!(
            failures(&bursts, "a", FAILURES, now + WINDOW),
            1,
            "the next window"
        );
    }

    #[test]
    fn typing_errors_over_a_day_are_no_burst() {
        let (bursts, now) = (Bursts::default(), Instant::now());
        let told = (0..200).map(|hour| bursts.failed(Some("a"), None, now + WINDOW * hour).len());
        assert_eq!(told.sum::<usize>(), 0);
    }

    #[test]
    fn person_and_source_are_counted_apart() {
        let (bursts, now) = (Bursts::default(), Instant::now());
        let source = IpAddr::from([192, 0, 2, 1]);
        let mut told = Vec::new();
        for number in 0..FAILURES {
            told.extend(bursts.failed(Some(&number.to_string()), Some(source), now));
        }
        assert_eq!(told, ["source"], "one source, many names: spraying");
    }

    #[test]
    fn a_flood_of_names_takes_bounded_room() {
        let (bursts, now) = (Bursts::default(), Instant::now());
        for number in 0..COUNTED_MAX * 3 {
            bursts.failed(
                Some(&number.to_string()),
                None,
                now + Duration::from_micros(number as u64),
            );
        }
        assert!(bursts.0.lock().len() <= COUNTED_MAX);
    }
}
