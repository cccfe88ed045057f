//! How often the endpoints may be asked, by each source and by all together (GCRA, the leaky bucket as a meter).
//!
//! Each bucket is one moment: when it would be empty again. A request moves it on by the interval, and is refused where
//! that would put it further ahead than the burst. Refused requests move nothing, so a source that is over its bound is let
//! in again as soon as its bucket allows, and takes nothing of the bound of all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Requests that one source may send at once.
pub const SOURCE_BURST: u32 = 100;
/// Requests of one source in a second, once its burst is used.
pub const SOURCE_PER_SECOND: u32 = 20;
/// Requests of all sources at once.
pub const OVERALL_BURST: u32 = 1_000;
/// Requests of all sources in a second.
pub const OVERALL_PER_SECOND: u32 = 200;
/// Sources that are remembered. More can't be in their windows: whoever is, was let in by the bound of all, which lets in
/// `OVERALL_BURST` and `OVERALL_PER_SECOND` for each second of a window, which is `SOURCE_BURST / SOURCE_PER_SECOND` long.
pub const SOURCES_MAX: usize = 2_048;

/// Which bound a request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    limit: &'static str,
    wait: Duration,
}

impl Over {
    /// The bound's name in `limits_reached_total`.
    pub fn limit(self) -> &'static str {
        self.limit
    }

    /// How long to wait, in whole seconds, at least one.
    pub fn seconds(self) -> u16 {
        u16::try_from(self.wait.as_secs().saturating_add(1)).unwrap_or(u16::MAX)
    }
}

/// The buckets. A request takes the lock for the look at two of them.
#[derive(Debug, Default)]
pub struct Rate(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    all: Option<Instant>,
    sources: HashMap<IpAddr, Instant>,
}

impl Rate {
    /// Takes one request's place.
    ///
    /// # Errors
    /// The bound that it is over; nothing was taken then.
    pub fn take(&self, source: IpAddr, now: Instant) -> Result<(), Over> {
        let source = network(source);
        let mut buckets = self.0.lock();
        let own = buckets.sources.get(&source).copied();
        let own = next(own, now, SOURCE_BURST, SOURCE_PER_SECOND).map_err(|wait| Over {
            limit: "auth_rate_source",
            wait,
        })?;
        let all = next(buckets.all, now, OVERALL_BURST, OVERALL_PER_SECOND);
        let all = all.map_err(|wait| Over {
            limit: "auth_rate",
            wait,
        })?;
        if buckets.sources.len() >= SOURCES_MAX && !buckets.sources.contains_key(&source) {
            buckets.sources.retain(|_, empty| *empty > now);
        }
        buckets.all = Some(all);
        buckets.sources.insert(source, own);
        Ok(())
    }
}

/// When the bucket is empty after one more request, or how long that request must wait.
fn next(
    empty: Option<Instant>,
    now: Instant,
    burst: u32,
    per_second: u32,
) -> Result<Instant, Duration> {
    let interval = Duration::from_secs(1) / per_second;
    let begin = empty.map_or(now, |empty| empty.max(now));
    let after = begin + interval;
    let ahead = after.saturating_duration_since(now);
    match ahead.checked_sub(interval * burst) {
        Some(wait) if !wait.is_zero() => Err(wait),
        _ => Ok(after),
    }
}

/// Whoever has an IPv6 address has the 2^64 of its network.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        let (rate, now) = (Rate::default(), Instant::now());
        for _ in 0..SOURCE_BURST {
            rate.take(four(1), now).unwrap();
        }
        let over = rate.take(four(1), now).unwrap_err();
        assert_eq!((over.limit(), over.seconds()), ("auth_rate_source", 1));
        rate.take(four(2), now).unwrap();
        let later = now + Duration::from_secs(1);
        for _ in 0..SOURCE_PER_SECOND {
            rate.take(four(1), later).unwrap();
        }
        assert!(rate.take(four(1), later).is_err());
    }

    #[test]
    fn one_source_over_its_bound_takes_nothing_from_the_others() {
        let (rate, now) = (Rate::default(), Instant::now());
        for _ in 0..OVERALL_BURST * 2 {
            let _ = rate.take(four(1), now);
        }
        for other in 2..=(OVERALL_BURST - SOURCE_BURST + 1) {
            rate.take(four(other), now).unwrap();
        }
        assert_eq!(rate.take(four(9), now).unwrap_err().limit(), "auth_rate");
    }

    #[test]
    fn sources_are_forgotten_and_never_more_than_the_bound() {
        let (rate, mut now) = (Rate::default(), Instant::now());
        for source in 0..20_000 {
            now += Duration::from_secs(1) / OVERALL_PER_SECOND;
            rate.take(four(source), now).unwrap();
            assert!(rate.0.lock().sources.len() <= SOURCES_MAX);
        }
        let fits = OVERALL_BURST + OVERALL_PER_SECOND * SOURCE_BURST / SOURCE_PER_SECOND;
        assert!(usize::try_from(fits).unwrap() <= SOURCES_MAX);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let (rate, now) = (Rate::default(), Instant::now());
        for host in 0..SOURCE_BURST {
            let source = format!("2001:db8::{host:x}").parse().unwrap();
            rate.take(source, now).unwrap();
        }
        assert!(rate.take("2001:db8::ffff".parse().unwrap(), now).is_err());
        assert!(rate.take("2001:db8:1::1".parse().unwrap(), now).is_ok());
    }
}
