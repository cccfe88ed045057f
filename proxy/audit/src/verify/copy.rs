//! A copy of the log judged by somebody who has the public key and nothing else: segments as they lie in the spool, or an export with a record a line.
//!
//! Without the key `keys.audit` a record's own MAC says nothing, and there is no head. What is left proves as much: each record holds the hash of
//! the one before it, and a checkpoint signs the tree over all of them. What stands behind the last checkpoint is followed, and said to be without a signature.

use std::io::{self, BufRead};
use std::path::Path;

use super::cover::{Cover, Trust};
use super::finding::{Fault, Notice, Place, Problem};
use super::{Anchors, Report};
use crate::checkpoint::{SignedCheckpoint, VerifierKey};
use crate::record::Record;
use crate::spool::disk::{list, segment_name, segment_number};
use crate::spool::{
    FRAME_BYTES_MAX, FrameError, Position, Walk, WalkError, claimed, content, decode_unproved,
};

/// Verifies a copy of a spool's directory.
///
/// # Errors
/// Only where it can't be read; what is wrong with the log stands in the report.
pub fn directory(
    directory: &Path,
    keys: &[VerifierKey],
    anchors: &Anchors,
    mut each: impl FnMut(&Record),
) -> io::Result<Report> {
    let mut reading = Reading::new(keys, anchors);
    let names = list(directory)?;
    let (mut expected, mut end) = (None, Position::default());
    for (name, _) in &names {
        let at = |segment| Position { segment, offset: 0 };
        let Some(segment) = segment_number(name) else {
            let next = at(expected.unwrap_or_default());
            return Ok(reading.failed(next, Fault::Foreign(name.clone())));
        };
        if let Some(missing) = expected.filter(|expected| *expected != segment) {
            return Ok(reading.failed(at(missing), Fault::Missing));
        }
        expected = segment.checked_add(1);
        let bytes = std::fs::read(directory.join(segment_name(segment)))?;
        let is_last = names.last().is_some_and(|(last, _)| last == name);
        if !reading.segment(segment, &bytes, is_last, &mut each) {
            return Ok(reading.report);
        }
        end = Position {
            segment,
            offset: bytes.len() as u64,
        };
    }
    Ok(reading.finish(end, None))
}

/// Verifies an export: a record a line, in the order of the log.
///
/// # Errors
/// Only where it can't be read.
pub fn lines(
    input: &mut impl BufRead,
    keys: &[VerifierKey],
    anchors: &Anchors,
    mut each: impl FnMut(&Record),
) -> io::Result<Report> {
    let mut reading = Reading::new(keys, anchors);
    let mut line = Vec::new();
    let mut at = Position::default();
    let mut number = 0;
    loop {
        number += 1;
        line.clear();
        let read =
            io::Read::take(&mut *input, FRAME_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let bytes = line.strip_suffix(b"\n").unwrap_or(&line);
        let record = Record::parse(bytes).map_err(WalkError::Record);
        reading.report.bytes += read as u64;
        if !reading.next(at, Some(number), record, &mut each) {
            return Ok(reading.report);
        }
        at.offset += read as u64;
    }
    Ok(reading.finish(at, Some(number)))
}

/// A record and where it stands.
struct Held {
    at: Position,
    line: Option<u64>,
    place: Place,
    record: Record,
}

struct Reading<'a> {
    trust: Trust<'a>,
    walk: Walk,
    cover: Cover<'a>,
    report: Report,
    /// The last two records that follow on.
    before: Option<Place>,
    last: Option<Held>,
    /// One that follows on by its number and not by its hash: either it or the last one was changed, which the next one tells.
    doubt: Option<Held>,
}

impl<'a> Reading<'a> {
    fn new(keys: &'a [VerifierKey], anchors: &'a Anchors) -> Self {
        let trust = Trust::Public(keys);
        Self {
            trust,
            walk: Walk::from_any(),
            cover: Cover::new(trust, anchors),
            report: Report::default(),
            before: None,
            last: None,
            doubt: None,
        }
    }

    /// Walks one segment; false when the copy ends here for good or ill.
    fn segment(
        &mut self,
        segment: u64,
        bytes: &[u8],
        is_last: bool,
        each: &mut impl FnMut(&Record),
    ) -> bool {
        self.report.segments += 1;
        let mut offset = 0;
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let at = Position {
                segment,
                offset: offset as u64,
            };
            match decode_unproved(rest) {
                Ok(frame) => {
                    self.report.bytes += frame.length as u64;
                    offset += frame.length;
                    if !self.next(at, None, content(&frame), each) {
                        return false;
                    }
                }
                Err(FrameError::Torn) if is_last && !holds_a_frame(rest) => {
                    self.report.notices.push(Notice::Torn(rest.len() as u64));
                    return true;
                }
                Err(error) => {
                    let claims = claimed(rest).and_then(|json| Record::parse(json).ok());
                    self.fall(at, None, claims.as_ref(), Fault::Record(error.into()));
                    return false;
                }
            }
        }
        true
    }

    /// The next record; false when the copy is judged.
    fn next(
        &mut self,
        at: Position,
        line: Option<u64>,
        record: Result<Record, WalkError>,
        each: &mut impl FnMut(&Record),
    ) -> bool {
        if let Some(doubt) = self.doubt.take() {
            let next = record.as_ref().ok();
            let is_intact = next.is_some_and(|next| *next.prev() == doubt.record.hash());
            self.resolve(&doubt, is_intact);
            return false;
        }
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                self.fall(at, line, None, Fault::Record(error));
                return false;
            }
        };
        let held = Held {
            at,
            line,
            place: Place::of(&record),
            record,
        };
        if self.is_doubtful(&held) {
            self.doubt = Some(held);
            return true;
        }
        let followed = self.walk.follow(&held.record).map_err(Fault::Record);
        if let Err(fault) = followed.and_then(|()| self.cover.see(&held.record)) {
            self.fall(at, line, Some(&held.record), fault);
            return false;
        }
        each(&held.record);
        self.before = self.last.replace(held).map(|last| last.place);
        true
    }

    fn is_doubtful(&self, next: &Held) -> bool {
        self.last.as_ref().is_some_and(|last| {
            last.place.chain == next.place.chain
                && last.place.seq.checked_add(1) == Some(next.place.seq)
                && last.record.hash() != *next.record.prev()
        })
    }

    /// The record in doubt is intact if its successor knows it, or if it is signed: then the one before it was changed.
    fn resolve(&mut self, doubt: &Held, known: bool) {
        let signed = || {
            SignedCheckpoint::of(&doubt.record)
                .is_some_and(|read| read.is_ok_and(|checkpoint| self.trust.signed(&checkpoint)))
        };
        match self.last.take() {
            Some(last) if known || signed() => {
                self.fall(last.at, last.line, Some(&last.record), Fault::Changed);
                if let Some(problem) = &mut self.report.problem {
                    problem.after = self.before.take();
                }
            }
            _ => self.fall(
                doubt.at,
                doubt.line,
                Some(&doubt.record),
                Fault::Record(WalkError::Prev),
            ),
        }
    }

    fn fall(&mut self, at: Position, line: Option<u64>, claims: Option<&Record>, what: Fault) {
        self.cover.fill(&mut self.report);
        self.report.problem = Some(Problem {
            at,
            line,
            after: self.report.last.clone(),
            claims: claims.map(Place::of),
            what,
        });
    }

    fn failed(mut self, at: Position, what: Fault) -> Report {
        match self.doubt.take() {
            Some(doubt) => self.resolve(&doubt, false),
            None => self.fall(at, None, None, what),
        }
        self.report
    }

    /// There is no further record.
    fn finish(mut self, at: Position, line: Option<u64>) -> Report {
        if let Some(doubt) = self.doubt.take() {
            self.resolve(&doubt, false);
            return self.report;
        }
        if let Err(fault) = self.cover.finish() {
            self.fall(at, line, None, fault);
            return self.report;
        }
        self.cover.fill(&mut self.report);
        if self.report.records > 0 && self.report.checkpoints == 0 {
            self.fall(at, line, None, Fault::Unsigned);
        }
        self.report
    }
}

/// Whether whole frames stand behind the start of `bytes`: then what stands there is no torn end.
fn holds_a_frame(bytes: &[u8]) -> bool {
    (1..bytes.len()).any(|at| {
        bytes
            .get(at..)
            .is_some_and(|rest| decode_unproved(rest).is_ok())
    })
}
