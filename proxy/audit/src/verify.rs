//! Whether the log is whole: reads the spool and its head, with or without a running process.
//!
//! Whole means: every byte up to the durable head belongs to the record that was written there, none is missing, moved or added. Behind the
//! head there may be whole records that follow on, and a torn one; both are notices. After a process died these are records that nobody was told of; after the
//! power failed also the acknowledged ones of the last moments ([`crate::spool`] says which), and the next opening puts the head behind them.

use std::io;
use std::path::Path;

use crate::keys::AuditKeys;
use crate::record::Record;
use crate::spool::disk::{list, read_head, segment_name, segment_number};
use crate::spool::{Head, Position, Walk, WalkError, claimed};

mod anchor;
mod copy;
mod cover;
mod finding;
mod pairs;

pub use anchor::{AnchorError, Anchors};
pub use copy::{directory, lines};
pub use cover::CheckpointFault;
pub use finding::{Fault, Notice, Place, Problem};

use cover::{Cover, Trust};

/// How often the whole log is read again when a running process let segments go meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// What `audit verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Whole records, in order.
    pub records: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes that belong to whole records.
    pub bytes: u64,
    /// Runs of the process that the log shows.
    pub chains: u64,
    /// The last whole record.
    pub last: Option<Place>,
    /// The last checkpoint that holds.
    pub checkpoint: Option<Place>,
    /// Checkpoints that hold.
    pub checkpoints: u64,
    /// Anchors that hold.
    pub anchors: u64,
    /// The first thing that is wrong; none: the log is whole up to its head.
    pub problem: Option<Problem>,
    /// What is worth knowing and no fault.
    pub notices: Vec<Notice>,
}

impl Report {
    /// Exit 0 or exit 1.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.problem.is_none()
    }
}

/// Verifies a spool.
///
/// # Errors
/// Only where a directory or file can't be read; what is wrong with the log stands in the report.
pub fn spool(directory: &Path, state: &Path, keys: &AuditKeys) -> io::Result<Report> {
    walk(directory, state, keys, |_| {})
}

/// Verifies a spool, and that it is what these anchors were made from, and shows each whole record on the way, in order.
///
/// # Errors
/// See [`spool`].
pub fn anchored(
    directory: &Path,
    state: &Path,
    keys: &AuditKeys,
    anchors: &Anchors,
    each: impl FnMut(&Record),
) -> io::Result<Report> {
    walk_anchored(directory, state, keys, anchors, each)
}

/// Verifies a spool and shows each whole record on the way, in order.
pub(crate) fn walk(
    directory: &Path,
    state: &Path,
    keys: &AuditKeys,
    each: impl FnMut(&Record),
) -> io::Result<Report> {
    walk_anchored(directory, state, keys, &Anchors::default(), each)
}

fn walk_anchored(
    directory: &Path,
    state: &Path,
    keys: &AuditKeys,
    anchors: &Anchors,
    mut each: impl FnMut(&Record),
) -> io::Result<Report> {
    let mut report = Report::default();
    let mut seen = 0;
    for _ in 0..ATTEMPTS_MAX {
        let head = Head::decode(&read_head(state)?, keys);
        let mut reading = Reading::new(directory, keys, anchors, head.clone());
        let mut place = 0;
        // A later attempt reads the same records again as far as they are still there.
        let outcome = reading.run(|record| {
            place += 1;
            if place > seen {
                seen = place;
                each(record);
            }
        });
        report = reading.report;
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) if report.whole() => return Ok(report),
            _ => {}
        }
        let now = Head::decode(&read_head(state)?, keys);
        if now.as_ref().map(|head| head.floor.max(head.base))
            == head.as_ref().map(|head| head.floor.max(head.base))
        {
            outcome?;
            return Ok(report);
        }
    }
    Ok(report)
}

struct Reading<'a> {
    directory: &'a Path,
    keys: &'a AuditKeys,
    head: Option<Head>,
    report: Report,
    cover: Cover<'a>,
    behind: u64,
}

impl<'a> Reading<'a> {
    fn new(
        directory: &'a Path,
        keys: &'a AuditKeys,
        anchors: &'a Anchors,
        head: Option<Head>,
    ) -> Self {
        Self {
            directory,
            keys,
            head,
            report: Report::default(),
            cover: Cover::new(Trust::Ring(keys), anchors),
            behind: 0,
        }
    }

    fn run(&mut self, mut each: impl FnMut(&Record)) -> io::Result<()> {
        let names = list(self.directory)?;
        let Some(head) = self.head.clone() else {
            match names.iter().all(|(_, length)| *length == 0) {
                true if names.is_empty() => self.report.notices.push(Notice::Empty),
                _ => self.fail(Position::default(), Fault::NoHead),
            }
            return Ok(());
        };
        let Some(segments) = self.segments(&names, &head) else {
            return Ok(());
        };
        let first = segments.first().copied().unwrap_or(head.base);
        let mut walk = match first == head.base {
            true => Walk::new(head.base_prev, head.base > 0),
            false => Walk::from_any(),
        };
        let last = segments.last().copied();
        for segment in segments {
            if segment == head.base && !walk.stands_at(&head.base_prev) {
                self.fail(Position { segment, offset: 0 }, Fault::NotTheHeads);
                return Ok(());
            }
            let bytes = std::fs::read(self.directory.join(segment_name(segment)))?;
            if !self.segment(
                segment,
                &bytes,
                &mut walk,
                &head,
                last == Some(segment),
                &mut each,
            ) {
                return Ok(());
            }
            self.report.segments += 1;
        }
        self.finish();
        Ok(())
    }

    /// The segments' numbers, if the directory holds what the head says and nothing else.
    fn segments(&mut self, names: &[(String, u64)], head: &Head) -> Option<Vec<u64>> {
        let mut numbers: Vec<u64> = Vec::with_capacity(names.len());
        for (name, _) in names {
            let next = numbers.last().map_or(head.end.segment, |last| last + 1);
            match segment_number(name) {
                Some(number) => numbers.push(number),
                None => {
                    return self.problem(
                        Position {
                            segment: next,
                            offset: 0,
                        },
                        Fault::Foreign(name.clone()),
                    );
                }
            }
        }
        let first = numbers.first().copied().unwrap_or(head.base);
        if first < head.floor {
            return self.problem(
                Position {
                    segment: first,
                    offset: 0,
                },
                Fault::Foreign(segment_name(first)),
            );
        }
        let mut expected = first.min(head.base);
        for number in &numbers {
            if *number != expected {
                return self.problem(
                    Position {
                        segment: expected,
                        offset: 0,
                    },
                    Fault::Missing,
                );
            }
            expected += 1;
        }
        if expected <= head.end.segment {
            return self.problem(
                Position {
                    segment: expected,
                    offset: 0,
                },
                Fault::Missing,
            );
        }
        Some(numbers)
    }

    /// Walks one segment; false when the log ends here for good or ill.
    fn segment(
        &mut self,
        segment: u64,
        bytes: &[u8],
        walk: &mut Walk,
        head: &Head,
        last: bool,
        each: &mut impl FnMut(&Record),
    ) -> bool {
        let mut offset = 0;
        loop {
            let at = Position {
                segment,
                offset: offset as u64,
            };
            if at == head.end && head.records > 0 && !walk.stands_at(&head.hash) {
                self.fail(at, Fault::NotTheHeads);
                return false;
            }
            let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) else {
                if segment == head.end.segment && at < head.end {
                    self.fail(at, Fault::Cut);
                    return false;
                }
                return true;
            };
            match walk.next(rest, self.keys) {
                Ok((frame, record)) => {
                    offset += frame.length;
                    let end = Position {
                        segment,
                        offset: offset as u64,
                    };
                    if at < head.end && end > head.end && segment == head.end.segment {
                        self.fail(at, Fault::NotTheHeads);
                        return false;
                    }
                    if let Err(fault) = self.cover.see(&record) {
                        self.fail(at, fault);
                        return false;
                    }
                    self.behind += u64::from(at >= head.end);
                    self.report.bytes += frame.length as u64;
                    each(&record);
                }
                Err(error) if at >= head.end && last && error.torn() => {
                    self.report.notices.push(Notice::Torn(rest.len() as u64));
                    self.report.segments += 1;
                    self.finish();
                    return false;
                }
                Err(error) => {
                    let cut = matches!(error, WalkError::Frame(crate::spool::FrameError::Torn));
                    self.fail(at, if cut { Fault::Cut } else { error.into() });
                    if let Some(problem) = &mut self.report.problem {
                        let record = claimed(rest).and_then(|json| Record::parse(json).ok());
                        problem.claims = record.as_ref().map(Place::of);
                    }
                    return false;
                }
            }
        }
    }

    fn finish(&mut self) {
        if self.behind > 0 {
            self.report.notices.push(Notice::BehindHead(self.behind));
        }
        if let Err(fault) = self.cover.finish() {
            let end = self.head.as_ref().map(|head| head.end);
            self.fail(end.unwrap_or_default(), fault);
            return;
        }
        self.cover.fill(&mut self.report);
    }

    fn fail(&mut self, at: Position, what: Fault) {
        self.cover.fill(&mut self.report);
        self.report.problem = Some(Problem {
            at,
            line: None,
            after: self.report.last.clone(),
            claims: None,
            what,
        });
    }

    fn problem<T>(&mut self, at: Position, what: Fault) -> Option<T> {
        self.fail(at, what);
        None
    }
}

#[cfg(test)]
pub(crate) mod tests;
