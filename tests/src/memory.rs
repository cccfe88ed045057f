//! A process's memory over time, and whether it was flat.

use std::fmt;
use std::time::Duration;

/// How much more memory may be in use at the end than after the warm-up, in bytes.
pub const GROWTH_MAX: u64 = 16 * 1024 * 1024;
/// How much it may grow each minute of undisturbed load, in bytes: 16 MiB would take longer than a night.
pub const SLOPE_MAX: f64 = 32.0 * 1024.0;
/// How much more than after the warm-up it may hold for a while, as in catching up after an outage, in bytes.
pub const PEAK_MAX: u64 = 64 * 1024 * 1024;

const MINUTE: f64 = 60.0;

/// One look at a process.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Since the load began.
    pub at: Duration,
    /// Resident memory, in bytes.
    pub bytes: u64,
}

/// What happened when, since the load began.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// Until when everything is used for the first time.
    pub warm: Duration,
    /// When the outage began.
    pub cut: Duration,
    /// When it ended.
    pub mended: Duration,
    /// When what had waited was delivered, if it was.
    pub caught_up: Option<Duration>,
}

/// Memory over time, judged.
#[derive(Debug, Clone)]
pub struct Report {
    samples: Vec<Sample>,
    course: Course,
}

impl Report {
    /// A report of samples in order of time.
    #[must_use]
    pub fn new(samples: Vec<Sample>, course: Course) -> Self {
        Self { samples, course }
    }

    fn between(&self, from: Duration, to: Duration) -> Vec<Sample> {
        let within = |sample: &&Sample| (from..to).contains(&sample.at);
        self.samples.iter().filter(within).copied().collect()
    }

    /// The load undisturbed and warm: before the outage, and after what had waited was delivered.
    fn steady(&self) -> [Vec<Sample>; 2] {
        let settled = self.course.caught_up.unwrap_or(Duration::MAX);
        [
            self.between(self.course.warm, self.course.cut),
            self.between(settled, Duration::MAX),
        ]
    }

    /// The median after the warm-up and before the outage.
    fn base(&self) -> u64 {
        median(&self.steady()[0])
    }

    /// How much more was in use at the end: the median of the last quarter of what came after the outage.
    fn growth(&self) -> u64 {
        let [_, after] = self.steady();
        let last = after.len() - after.len() / 4;
        median(&after[last.min(after.len().saturating_sub(1))..]).saturating_sub(self.base())
    }

    fn peak(&self) -> u64 {
        let most = self.between(self.course.warm, Duration::MAX);
        let most = most.iter().map(|sample| sample.bytes).max();
        most.unwrap_or_default().saturating_sub(self.base())
    }

    /// Whether memory was flat, and everything that was said of it holds.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        let [before, after] = self.steady();
        !before.is_empty()
            && !after.is_empty()
            && self.growth() <= GROWTH_MAX
            && self.peak() <= PEAK_MAX
            && slope(&before) <= SLOPE_MAX.max(noise(&before))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "     time       memory")?;
        let last = self.samples.last().map(|sample| sample.at);
        let mut next = 0.0;
        for sample in &self.samples {
            let seconds = sample.at.as_secs_f64();
            if seconds < next * MINUTE && Some(sample.at) != last {
                continue;
            }
            next = (seconds / MINUTE).floor() + 1.0;
            let outage = (self.course.cut..self.course.mended).contains(&sample.at);
            let note = if outage { "  outage" } else { "" };
            writeln!(
                f,
                "{:7.1} min {:7} KiB{note}",
                seconds / MINUTE,
                sample.bytes / 1024
            )?;
        }
        let [before, after] = self.steady();
        match self.course.caught_up {
            Some(at) => {
                let took = at.saturating_sub(self.course.mended).as_secs_f64();
                writeln!(f, "caught up {took:.0} s after the outage")?;
            }
            None => writeln!(f, "what waited in the outage was not delivered by the end")?,
        }
        for (when, samples) in [("before the outage", before), ("after it", after)] {
            let slope = slope(&samples) / 1024.0;
            writeln!(
                f,
                "{when}: {slope:+.0} KiB a minute over {} samples",
                samples.len()
            )?;
        }
        writeln!(
            f,
            "at most {} KiB over the level after the warm-up (bound {})",
            self.peak() / 1024,
            PEAK_MAX / 1024
        )?;
        writeln!(
            f,
            "at the end {} KiB over it (bound {})",
            self.growth() / 1024,
            GROWTH_MAX / 1024
        )?;
        write!(f, "{}", if self.is_flat() { "flat" } else { "NOT FLAT" })
    }
}

fn median(samples: &[Sample]) -> u64 {
    let mut bytes: Vec<u64> = samples.iter().map(|sample| sample.bytes).collect();
    bytes.sort_unstable();
    bytes.get(bytes.len() / 2).copied().unwrap_or_default()
}

/// Bytes a minute, by least squares.
fn slope(samples: &[Sample]) -> f64 {
    let points: Vec<(f64, f64)> = samples.iter().map(point).collect();
    let (x, y) = (
        mean(&points, |point| point.0),
        mean(&points, |point| point.1),
    );
    let over = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum::<f64>();
    let under = points
        .iter()
        .map(|point| (point.0 - x).powi(2))
        .sum::<f64>();
    if under > 0.0 { over / under } else { 0.0 }
}

/// How steep a line through samples may look that only rise by a mebibyte once: short runs see such steps.
fn noise(samples: &[Sample]) -> f64 {
    let (first, last) = (samples.first(), samples.last());
    let minutes = match (first, last) {
        (Some(first), Some(last)) => point(last).0 - point(first).0,
        _ => 0.0,
    };
    if minutes > 0.0 {
        1024.0 * 1024.0 / minutes
    } else {
        f64::MAX
    }
}

fn point(sample: &Sample) -> (f64, f64) {
    let bytes = u32::try_from(sample.bytes / 1024).unwrap_or(u32::MAX);
    (sample.at.as_secs_f64() / MINUTE, f64::from(bytes) * 1024.0)
}

fn mean(points: &[(f64, f64)], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    let count = u32::try_from(points.len()).unwrap_or(u32::MAX).max(1);
    points.iter().map(of).sum::<f64>() / f64::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn report(bytes: impl Fn(u64) -> u64) -> Report {
        let seconds = Duration::from_secs;
        let samples = (0..600).map(|second| Sample {
            at: seconds(second),
            bytes: bytes(second),
        });
        let course = Course {
            warm: seconds(120),
            cut: seconds(200),
            mended: seconds(400),
            caught_up: Some(seconds(430)),
        };
        Report::new(samples.collect(), course)
    }

    #[test]
    fn what_rises_in_the_warm_up_and_the_outage_only_is_flat() {
        let flat = report(|second| match second {
            0..100 => 20 * MIB + second * 1024,
            400..430 => 70 * MIB,
            _ => 30 * MIB,
        });
        assert!(flat.is_flat(), "{flat}");
    }

    #[test]
    fn a_leak_a_peak_and_what_is_not_given_back_are_not_flat() {
        assert!(!report(|second| 20 * MIB + second * 64 * 1024).is_flat());
        let kept = report(|second| if second < 400 { 30 * MIB } else { 50 * MIB });
        assert!(!kept.is_flat(), "{kept}");
        let peak = report(|second| if second == 410 { 100 * MIB } else { 30 * MIB });
        assert!(!peak.is_flat(), "{peak}");
    }

    #[test]
    fn a_slope_is_that_of_its_line() {
        let report = report(|second| second * 1024);
        let line = slope(&report.steady()[0]);
        assert!((line - 60.0 * 1024.0).abs() < 1.0, "{line}");
    }
}
