//! What an unauthenticated peer may cause: the first of a kind in a window at once, the rest as one count at the window's end.
//!
//! Stands before the queue, so that a flood of strangers never takes a place that a principal's event needs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::catalogue::EventName;
use crate::event::{Detail, Event, Outcome};

/// Sources told apart in a window; more share one place.
const SOURCES_MAX: usize = 1024;
/// Events of strangers at once in a window, over all sources.
const AT_ONCE_MAX: usize = 256;

type Kind = (EventName, Outcome, Option<Cow<'static, str>>);

/// Counts of one window.
#[derive(Debug)]
pub(crate) struct Limiter {
    window: Duration,
    ends: Option<Instant>,
    seen: BTreeSet<(Option<IpAddr>, EventName)>,
    at_once: usize,
    counted: BTreeMap<Kind, Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    events: i64,
    sources: BTreeSet<Option<IpAddr>>,
}

impl Limiter {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            ends: None,
            seen: BTreeSet::new(),
            at_once: 0,
            counted: BTreeMap::new(),
        }
    }

    /// The event if it goes at once, else it is counted.
    pub(crate) fn admit<'e>(&mut self, event: Event<'e>, now: Instant) -> Option<Event<'e>> {
        self.ends.get_or_insert(now + self.window);
        let source = event
            .source
            .map(network)
            .filter(|_| self.seen.len() < SOURCES_MAX);
        let first = self.seen.insert((source, event.name));
        if first && self.at_once < AT_ONCE_MAX {
            self.at_once += 1;
            return Some(event);
        }
        // Reasons are codes of ours: few. Should a caller pass others, they share one place.
        let reason = event.reason.filter(|_| self.counted.len() < AT_ONCE_MAX);
        let reason = reason.map(|reason| Cow::Owned(reason.into_owned()));
        let counted = self
            .counted
            .entry((event.name, event.outcome, reason))
            .or_default();
        counted.events += 1;
        if counted.sources.len() < SOURCES_MAX {
            counted.sources.insert(source);
        }
        None
    }

    /// When the window ends, if one is open.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Ends the window: one event for each kind that was counted.
    pub(crate) fn close_window(&mut self) -> Vec<Event<'static>> {
        self.ends = None;
        self.seen.clear();
        self.at_once = 0;
        std::mem::take(&mut self.counted)
            .into_iter()
            .map(|(kind, counted)| summary(kind, &counted))
            .collect()
    }
}

fn summary((name, outcome, reason): Kind, counted: &Counted) -> Event<'static> {
    let mut event = Event::new(name, outcome).detail("count", counted.events);
    event.details.insert(
        "sources",
        Detail::Integer(i64::try_from(counted.sources.len()).unwrap_or(i64::MAX)),
    );
    if let [Some(only)] = counted.sources.iter().collect::<Vec<_>>()[..] {
        event.source = Some(*only);
    }
    event.reason = reason;
    event
}

/// One source is an IPv4 address or an IPv6 /64, which one host has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(source: &str) -> Event<'static> {
        let mut event =
            Event::new(EventName::FailedLoginAttempt, Outcome::Denied).reason("expired");
        event.source = Some(source.parse().unwrap());
        event
    }

    #[test]
    fn the_first_of_a_source_goes_at_once_and_the_rest_is_one_count() {
        let mut limiter = Limiter::new(Duration::from_secs(60));
        let now = Instant::now();
        assert!(limiter.admit(failed("192.0.2.1"), now).is_some());
        assert!(limiter.admit(failed("192.0.2.2"), now).is_some());
        for _ in 0..1000 {
            assert!(limiter.admit(failed("192.0.2.1"), now).is_none());
        }
        assert_eq!(limiter.ends(), Some(now + Duration::from_secs(60)));
        let counts = limiter.close_window();
        assert_eq!(counts.len(), 1);
        assert_eq!(counts[0].details["count"], Detail::Integer(1000));
        assert_eq!(counts[0].source, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(limiter.ends(), None);
        assert!(limiter.admit(failed("192.0.2.1"), now).is_some());
    }

    #[test]
    fn a_million_sources_cause_a_bounded_number_of_events() {
        let mut limiter = Limiter::new(Duration::from_secs(60));
        let now = Instant::now();
        let at_once = (0..20_000_u32)
            .filter(|n| {
                limiter
                    .admit(failed(&std::net::Ipv4Addr::from(*n).to_string()), now)
                    .is_some()
            })
            .count();
        assert_eq!(at_once, AT_ONCE_MAX);
        assert!(limiter.seen.len() <= SOURCES_MAX + EventName::ALL.len());
        let counts = limiter.close_window();
        assert_eq!(counts.len(), 1);
        assert_eq!(
            counts[0].details["count"],
            Detail::Integer(20_000 - AT_ONCE_MAX as i64)
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let mut limiter = Limiter::new(Duration::from_secs(60));
        let now = Instant::now();
        assert!(limiter.admit(failed("2001:db8::1"), now).is_some());
        assert!(limiter.admit(failed("2001:db8::2"), now).is_none());
        assert!(limiter.admit(failed("2001:db8:0:1::1"), now).is_some());
    }
}
