//! Whether a bucket or a table leaves nothing out: of each chain the stretches of events seen, joined where one follows another.
//!
//! Objects come in the order of their names and rows in that of their times, which is the order of events as long as clocks go forward; nothing here depends on it.

use std::collections::HashMap;

use crate::record::Record;

/// Chains that are followed; beyond it further ones are read and not linked.
const CHAINS_MAX: usize = 65_536;
/// Stretches of all chains together: each that is not the only one of its chain is a gap.
const STRETCHES_MAX: usize = 262_144;

/// Events of a chain without a gap between them.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    first: u64,
    last: u64,
    /// What the first one says of the event before it.
    prev: [u8; 32],
    /// Of the last one.
    hash: [u8; 32],
}

/// Everything seen.
#[derive(Debug, Default)]
pub(in crate::sink) struct Links {
    chains: HashMap<String, Vec<Stretch>>,
    stretches: usize,
    /// Neighbours whose hashes fit.
    pub(in crate::sink) links: u64,
    /// Events that were seen before.
    pub(in crate::sink) duplicates: u64,
}

/// Two events that can't both be right, by chain and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sink) struct Fork {
    /// The later one.
    pub(in crate::sink) seq: u64,
}

/// Events that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sink) enum Gap {
    /// From one number to another of a chain.
    Between(String, u64, u64),
    /// Of a chain that began before: those before this number.
    Before(String, u64),
    /// The end of the run before this chain, or all of it.
    RunBefore(String),
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Between(chain, from, to) => write!(f, "numbers {from} to {to} of chain {chain}"),
            Self::Before(chain, seq) => {
                write!(f, "what stands before number {seq} of chain {chain}")
            }
            Self::RunBefore(chain) => {
                write!(
                    f,
                    "the end of the run before chain {chain}, or all of it, unless a snapshot from before that end was restored"
                )
            }
        }
    }
}

impl Links {
    /// Takes records of one chain in their order: an object's, or a row's one.
    pub(in crate::sink) fn take(&mut self, records: &[Record]) -> Result<(), Fork> {
        let mut open: Option<Stretch> = None;
        let chain = records.first().map(Record::chain).unwrap_or_default();
        for record in records {
            let one = Stretch {
                first: record.seq(),
                last: record.seq(),
                prev: *record.prev(),
                hash: record.hash(),
            };
            open = Some(match open.take() {
                Some(open) if open.last + 1 == one.first => {
                    if open.hash != one.prev {
                        return Err(Fork { seq: one.first });
                    }
                    self.links += 1;
                    Stretch {
                        last: one.last,
                        hash: one.hash,
                        ..open
                    }
                }
                Some(done) => {
                    self.put(chain, done)?;
                    one
                }
                None => one,
            });
        }
        open.map_or(Ok(()), |done| self.put(chain, done))
    }

    /// Joins a stretch with those of its chain that it touches or covers.
    fn put(&mut self, chain: &str, mut new: Stretch) -> Result<(), Fork> {
        let is_known = self.chains.contains_key(chain);
        if !is_known && self.chains.len() >= CHAINS_MAX || self.stretches >= STRETCHES_MAX {
            return Ok(());
        }
        let stretches = self.chains.entry(chain.to_owned()).or_default();
        self.stretches -= stretches.len();
        let touches = |one: &Stretch| {
            one.first <= new.last.saturating_add(1) && new.first <= one.last.saturating_add(1)
        };
        let (touched, mut apart): (Vec<_>, Vec<_>) = stretches.drain(..).partition(touches);
        for one in touched {
            if one.last + 1 == new.first {
                if one.hash != new.prev {
                    return Err(Fork { seq: new.first });
                }
                self.links += 1;
                new = Stretch {
                    first: one.first,
                    prev: one.prev,
                    ..new
                };
                continue;
            }
            if new.last + 1 == one.first {
                if new.hash != one.prev {
                    return Err(Fork { seq: one.first });
                }
                self.links += 1;
                new = Stretch {
                    last: one.last,
                    hash: one.hash,
                    ..new
                };
                continue;
            }
            self.duplicates += one.last.min(new.last) - one.first.max(new.first) + 1;
            let differs = (one.last == new.last && one.hash != new.hash)
                || (one.first == new.first && one.prev != new.prev);
            if differs {
                return Err(Fork {
                    seq: new.first.max(one.first),
                });
            }
            let (begin, end) = (
                if one.first < new.first { one } else { new },
                if one.last > new.last { one } else { new },
            );
            new = Stretch {
                first: begin.first,
                prev: begin.prev,
                last: end.last,
                hash: end.hash,
            };
        }
        apart.push(new);
        apart.sort_unstable_by_key(|stretch| stretch.first);
        self.stretches += apart.len();
        *stretches = apart;
        Ok(())
    }

    /// Distinct events.
    pub(in crate::sink) fn events(&self) -> u64 {
        let all = self.chains.values().flatten();
        all.map(|stretch| stretch.last - stretch.first + 1).sum()
    }

    pub(in crate::sink) fn chains(&self) -> usize {
        self.chains.len()
    }

    /// What is not there. The first chain of an instance may go on from before the bucket: only its own numbers count.
    pub(in crate::sink) fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let ends = self
            .chains
            .values()
            .filter_map(|stretches| stretches.last());
        let ends: std::collections::HashSet<[u8; 32]> = ends.map(|stretch| stretch.hash).collect();
        let mut names: Vec<&String> = self.chains.keys().collect();
        names.sort_unstable_by_key(|name| run_of(name));
        let mut instance = "";
        for name in names {
            let stretches = self.chains.get(name).map(Vec::as_slice).unwrap_or_default();
            for pair in stretches.windows(2) {
                if let [one, next] = pair {
                    gaps.push(Gap::Between(name.clone(), one.last + 1, next.first - 1));
                }
            }
            let is_first = run_of(name).0 != std::mem::replace(&mut instance, run_of(name).0);
            match stretches.first() {
                Some(first) if first.first > 0 && !is_first => {
                    gaps.push(Gap::Before(name.clone(), first.first))
                }
                Some(first) if first.first == 0 && !is_first && !ends.contains(&first.prev) => {
                    gaps.push(Gap::RunBefore(name.clone()));
                }
                _ => {}
            }
        }
        gaps
    }
}

/// Letters of an instance: a UUID.
const INSTANCE_LETTERS: usize = 36;

/// The instance of a chain, and the number of its run: `INSTANCE-RUN-RANDOM`, of older versions `INSTANCE-RUN`.
fn run_of(chain: &str) -> (&str, u64) {
    let parts = chain.split_at_checked(INSTANCE_LETTERS);
    let parts = parts.and_then(|(instance, rest)| {
        let run = rest.strip_prefix('-')?.split('-').next()?;
        Some((instance, run.parse().ok()?))
    });
    parts.unwrap_or((chain, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        canonical,
        tests::{full, place},
    };

    const INSTANCE: &str = "6b0d5a39-6e0c-4a53-9a6e-0f64c3f7c3a1";

    /// Some records of a chain that begins behind `prev`.
    fn run(chain: &str, prev: [u8; 32], events: u64) -> Vec<Record> {
        let mut prev = prev;
        let record = |seq| {
            let bytes = canonical(&full(), &place(seq, &prev));
            let text = String::from_utf8(bytes).unwrap();
            let old = Record::parse(text.as_bytes()).unwrap().chain().to_owned();
            let text = text.replace(&old, &format!("{INSTANCE}-{chain}"));
            let record = Record::parse(text.as_bytes()).unwrap();
            prev = record.hash();
            record
        };
        (0..events).map(record).collect()
    }

    fn gaps(runs: &[&[Record]]) -> Vec<String> {
        let mut links = Links::default();
        for records in runs {
            links.take(records).unwrap();
        }
        links.gaps().iter().map(Gap::to_string).collect()
    }

    #[test]
    fn a_run_that_is_missing_is_told_by_the_one_behind_it() {
        let first = run("1-00000000000000aa", [0; 32], 3);
        let second = run("2-00000000000000bb", first[2].hash(), 3);
        let third = run("10-00000000000000ab", second[2].hash(), 3);
        assert_eq!(gaps(&[&third, &first, &second]), Vec::<String>::new());
        // The table or the bucket may begin late.
        assert_eq!(gaps(&[&second[1..], &third]), Vec::<String>::new());
        let missing = gaps(&[&first, &third]);
        assert_eq!(missing.len(), 1);
        assert!(
            missing[0].contains("run before") && missing[0].contains("-10-"),
            "{missing:?}"
        );
        let missing = gaps(&[&first, &second[..2], &third]);
        assert!(
            missing.len() == 1 && missing[0].contains("run before"),
            "{missing:?}"
        );
        let missing = gaps(&[&first, &second[1..], &third]);
        assert!(
            missing.len() == 1 && missing[0].contains("before number 1"),
            "{missing:?}"
        );
        let missing = gaps(&[&first[..1], &first[2..], &second]);
        assert!(
            missing.len() == 1 && missing[0].starts_with("numbers 1 to 1"),
            "{missing:?}"
        );
    }

    #[test]
    fn a_run_of_a_restored_snapshot_does_not_follow_the_end_of_the_one_that_went_on() {
        let first = run("1-00000000000000aa", [0; 32], 5);
        let restored = run("2-00000000000000bb", first[2].hash(), 2);
        let missing = gaps(&[&first, &restored]);
        assert!(
            missing.len() == 1 && missing[0].contains("snapshot"),
            "{missing:?}"
        );
    }

    #[test]
    fn names_of_runs_are_ordered_by_their_numbers() {
        assert_eq!(
            run_of(&format!("{INSTANCE}-7-00000000000000aa")),
            (INSTANCE, 7)
        );
        assert_eq!(run_of(&format!("{INSTANCE}-7")), (INSTANCE, 7));
        assert_eq!(run_of("c"), ("c", 0));
    }
}
