//! Whether each intent has an outcome, and each outcome an intent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::finding::{Notice, Place};
use crate::catalogue::EventName;
use crate::record::Record;

/// Settled exchanges that are remembered, for further outcomes (each message of a stream has one).
const SETTLED_MAX: usize = 1 << 20;
/// Intents that wait for their outcome at once; what is beyond is not judged.
const WAITING_MAX: usize = 1 << 20;

/// The exchanges of the run that is read.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// By exchange: the intents without an outcome so far, with their places in the order of the log.
    waiting: BTreeMap<u128, (u64, Place)>,
    settled: BTreeSet<u128>,
    /// The order in which they are forgotten.
    order: VecDeque<u128>,
    seen: u64,
    no_outcome: Option<(u64, Place)>,
    no_intent: Option<(u64, Place)>,
    /// The run began before the copy: its first outcomes may have their intents there.
    middle: bool,
}

impl Pairs {
    /// A new run: no exchange spans two.
    pub(crate) fn begin(&mut self, middle: bool) {
        self.close();
        self.settled.clear();
        self.order.clear();
        self.middle = middle;
    }

    pub(crate) fn see(&mut self, record: &Record) {
        let Some(exchange) = record
            .text(&["exchange"])
            .and_then(|text| uuid::Uuid::try_parse(text).ok())
            .map(|uuid| uuid.as_u128())
        else {
            return;
        };
        self.seen += 1;
        if record.name() == EventName::PhiAccessGranted {
            if self.waiting.len() < WAITING_MAX {
                self.waiting
                    .insert(exchange, (self.seen, Place::of(record)));
            }
        } else if self.waiting.remove(&exchange).is_some() {
            self.settle(exchange);
        } else if is_outcome(record.name()) && !self.middle && !self.settled.contains(&exchange) {
            note(&mut self.no_intent, || Place::of(record));
        }
    }

    fn settle(&mut self, exchange: u128) {
        self.settled.insert(exchange);
        self.order.push_back(exchange);
        if self.order.len() > SETTLED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.settled.remove(&oldest);
        }
    }

    /// What still waits never had an outcome.
    fn close(&mut self) {
        let mut left: Vec<_> = std::mem::take(&mut self.waiting).into_values().collect();
        left.sort_unstable_by_key(|(order, _)| *order);
        for (_, place) in left {
            note(&mut self.no_outcome, || place);
        }
    }

    pub(crate) fn notices(&mut self, into: &mut Vec<Notice>) {
        self.close();
        let notices = [
            self.no_outcome.take().map(|(n, p)| Notice::NoOutcome(n, p)),
            self.no_intent.take().map(|(n, p)| Notice::NoIntent(n, p)),
        ];
        into.extend(notices.into_iter().flatten());
    }
}

fn is_outcome(name: EventName) -> bool {
    matches!(
        name,
        EventName::PhiRead
            | EventName::PhiCreate
            | EventName::PhiUpdate
            | EventName::PhiDelete
            | EventName::PhiExport
    )
}

/// One more; the first keeps its place.
pub(crate) fn note(noted: &mut Option<(u64, Place)>, place: impl FnOnce() -> Place) {
    match noted {
        Some((times, _)) => *times += 1,
        None => *noted = Some((1, place())),
    }
}
