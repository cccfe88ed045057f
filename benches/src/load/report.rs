//! The figures of a run: a table for people, JSON for programs.

use std::fmt;
use std::io::Write as _;

use serde_json::{Value, json};

use super::Failure;

/// From how much CPU of other processes on the latencies and throughputs are not worth much, in cores.
const FOREIGN_CORES: f64 = 0.5;

/// One turn of one target.
#[derive(Debug)]
pub(super) struct Round {
    /// How long it lasted.
    pub(super) seconds: f64,
    /// What the target's processes used, in seconds.
    pub(super) cpu: f64,
    /// Their resident memory afterwards, in bytes.
    pub(super) memory: u64,
    /// CPU that processes used which are no part of the bench, in cores.
    pub(super) foreign_cores: f64,
    /// Of every good answer, sorted, in microseconds.
    pub(super) latencies: Vec<u32>,
    /// Requests without a good answer.
    pub(super) failures: u64,
    /// What the first of them met.
    pub(super) first_failure: Option<String>,
}

impl Round {
    fn requests(&self) -> f64 {
        number(self.latencies.len())
    }

    fn rate(&self) -> f64 {
        self.requests() / self.seconds
    }

    /// Microseconds a request; infinite if there was none.
    fn cpu_micros(&self) -> f64 {
        self.cpu * 1e6 / self.requests()
    }

    /// Milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = self.latencies.len().saturating_mul(percent) / 100;
        self.latencies
            .get(at.min(last))
            .map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
    }

    fn json(&self) -> Value {
        json!({
            "requests": self.latencies.len(), "failures": self.failures, "seconds": self.seconds, "requests_per_second": self.rate(),
            "cpu_microseconds_per_request": self.cpu_micros(), "p50_ms": self.percentile(50), "p99_ms": self.percentile(99),
            "resident_bytes": self.memory, "foreign_cores": self.foreign_cores,
        })
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} req/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} us CPU a request, {} failed, {:.1} cores used by others",
            self.rate(),
            self.percentile(50),
            self.percentile(99),
            self.cpu_micros(),
            self.failures,
            self.foreign_cores
        )?;
        match &self.first_failure {
            Some(failure) => write!(f, " (first: {failure})"),
            None => Ok(()),
        }
    }
}

/// All turns of one target.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) version: String,
    pub(super) rounds: Vec<Round>,
}

impl Row {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }

    /// The median over the rounds of what this target used beside the base in the same round.
    fn beside(&self, base: &Row) -> f64 {
        let pairs = self.rounds.iter().zip(&base.rounds);
        median(
            pairs
                .map(|(own, base)| own.cpu_micros() / base.cpu_micros())
                .collect(),
        )
    }

    fn failures(&self) -> u64 {
        self.rounds.iter().map(|round| round.failures).sum()
    }
}

/// A whole run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    /// What was not measured, and why.
    pub(super) notes: Vec<String>,
    /// Events in PostgreSQL at the end, if there was one.
    pub(super) events: Option<u64>,
    pub(super) connections: u32,
    pub(super) seconds: u32,
    pub(super) threads: usize,
}

impl Report {
    /// Writes it to the standard output.
    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        let text = if as_json {
            format!("{:#}\n", self.json())
        } else {
            self.table()
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(())
    }

    fn base(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == "stock")
    }

    fn table(&self) -> String {
        let rounds = self.rows.first().map_or(0, |row| row.rounds.len());
        let mut text = format!(
            "\n{} connections, {rounds} rounds of {} s each in turns, {} worker threads; medians over the rounds.\n\
             CPU: user and system time of the target's processes; the last column is the median of the rounds' ratios.\n\n\
             | target | req/s | p50 / p99 ms | CPU us/request | memory MiB | failed | CPU against stock Pingora |\n\
             |---|---|---|---|---|---|---|\n",
            self.connections, self.seconds, self.threads
        );
        for row in &self.rows {
            let ratio = self
                .base()
                .map_or_else(|| "-".to_owned(), |base| format!("{:.2}", row.beside(base)));
            text.push_str(&format!(
                "| {} ({}) | {:.0} | {:.2} / {:.2} | {:.1} | {:.0} | {} | {ratio} |\n",
                row.title,
                row.version,
                row.median(Round::rate),
                row.median(|round| round.percentile(50)),
                row.median(|round| round.percentile(99)),
                row.median(Round::cpu_micros),
                row.median(|round| mebibytes(round.memory)),
                row.failures(),
            ));
        }
        text.push('\n');
        if let Some(events) = self.events {
            text.push_str(&format!("events in PostgreSQL at the end: {events}\n"));
        }
        let foreign = self.foreign();
        if foreign > FOREIGN_CORES {
            text.push_str(&format!(
                "OTHERS USED {foreign:.1} CORES meanwhile: throughput and latency are worth little, CPU and its ratios less than on a quiet machine\n"
            ));
        }
        for note in &self.notes {
            text.push_str(note);
            text.push('\n');
        }
        text
    }

    /// What others used, the median of all turns, in cores.
    fn foreign(&self) -> f64 {
        median(
            self.rows
                .iter()
                .flat_map(|row| &row.rounds)
                .map(|round| round.foreign_cores)
                .collect(),
        )
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "name": row.name, "title": row.title, "version": row.version,
                "requests_per_second": row.median(Round::rate), "failures": row.failures(),
                "p50_ms": row.median(|round| round.percentile(50)), "p99_ms": row.median(|round| round.percentile(99)),
                "cpu_microseconds_per_request": row.median(Round::cpu_micros),
                "cpu_against_stock": self.base().map(|base| row.beside(base)),
                "rounds": row.rounds.iter().map(Round::json).collect::<Vec<_>>(),
            })
        });
        json!({
            "connections": self.connections, "seconds": self.seconds, "threads": self.threads, "foreign_cores": self.foreign(),
            "targets": rows.collect::<Vec<_>>(), "events_in_postgresql": self.events, "notes": self.notes,
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (
        values.get(half),
        half.checked_sub(1).and_then(|below| values.get(below)),
    ) {
        (Some(upper), Some(lower)) if values.len().is_multiple_of(2) => {
            f64::midpoint(*lower, *upper)
        }
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "rounded for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_round_divides_by_good_answers() {
        let round = Round {
            seconds: 2.0,
            cpu: 0.5,
            memory: 0,
            foreign_cores: 0.0,
            latencies: (1..=100).map(|n| n * 1000).collect(),
            failures: 3,
            first_failure: None,
        };
        assert!((round.rate() - 50.0).abs() < 1e-9);
        assert!((round.cpu_micros() - 5000.0).abs() < 1e-9);
        assert!((round.percentile(50) - 51.0).abs() < 1e-9);
        assert!((round.percentile(99) - 100.0).abs() < 1e-9);
    }
}
