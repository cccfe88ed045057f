//! A log collector that speaks HTTP as a sink: OTLP, or Splunk's HTTP event collector.
//!
//! The collector's answer is the receipt: no batch counts before each of its requests was answered well (and, with `acknowledge`, was indexed). Nothing else is believed: a
//! success whose body is not the protocol's may come from a proxy. After a break the batch comes again from the cursor; repetitions carry the same `uid`, `chain` and `seq`.
//!
//! A collector that refuses a request for its content does not say which event is at fault, so the request is halved until the one is found. It is set aside only if the
//! collector took another event of the same batch: one that refuses everything is set up wrongly, or we are, and no event is to blame. A lone event waits for company,
//! which the `sink_failed` about it already is.

use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep};

use super::fitting::fitted;
use super::{Sink, SinkError, Taken};
use crate::record::Record;
use crate::render::EventFormat;

mod hec;
mod otlp;
mod post;
#[cfg(test)]
mod tests;
mod verdict;

pub use hec::HecSettings;
pub use post::{Answer, Ask, Post};

use hec::Hec;
use verdict::Verdict;

/// Events written before others get their turn.
const WRITTEN_AT_ONCE: usize = 64;
/// Requests of a batch that a collector may refuse before it has taken anything: enough to find some events at fault among the 2,048 of a batch.
const REFUSALS_MAX: usize = 64;
/// How long indexing is waited for.
const INDEXED_MAX: Duration = Duration::from_secs(120);
/// Between two questions whether it is done: at first, and at most.
const ASK_AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// What is spoken.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// OTLP/HTTP logs, in JSON.
    Otlp,
    /// Splunk's HTTP event collector.
    Hec(HecSettings),
}

/// How events are sent.
#[derive(Debug, Clone)]
pub struct CollectorSettings {
    /// What is spoken.
    pub protocol: Protocol,
    /// How an event is written.
    pub format: EventFormat,
    /// The longest event, in bytes; what is longer is shortened.
    pub message_bytes_max: usize,
    /// The longest request, in bytes, unless one event alone is longer.
    pub request_bytes_max: usize,
}

/// The sink. Sends with what it is given.
#[derive(Debug)]
pub struct Collector<P> {
    post: P,
    settings: CollectorSettings,
    hec: Option<Hec>,
    /// The collector wants to be left alone until then.
    not_before: Option<Instant>,
}

/// An event as it is sent, and its place in the batch.
struct Entry<'r> {
    place: usize,
    record: &'r Record,
    bytes: Vec<u8>,
}

/// What became of a batch so far.
#[derive(Default)]
struct Course {
    taken: Taken,
    /// Something was accepted: the collector takes events of ours.
    proved: bool,
    requests_refused: usize,
    numbers: Vec<u64>,
}

impl<P: Post> Collector<P> {
    /// The sink, which has not sent anything yet.
    pub fn new(post: P, settings: CollectorSettings) -> Self {
        let hec = match &settings.protocol {
            Protocol::Otlp => None,
            Protocol::Hec(settings) => Some(Hec::new(settings.clone())),
        };
        Self {
            post,
            settings,
            hec,
            not_before: None,
        }
    }

    /// Sends a request without an event: whether the collector is there and knows us.
    ///
    /// # Errors
    /// It is not, or does not.
    pub async fn reach(&self) -> Result<(), SinkError> {
        let answer = self.post.post(self.ask(&[])).await?;
        if self.hec.is_some() && Hec::is_there(&answer) {
            return Ok(());
        }
        match self.verdict(&answer, 0) {
            Verdict::Taken(_) => Ok(()),
            Verdict::Failed(error) => Err(error),
            Verdict::Busy(_) => Err(error("busy", "it says that it can't take more now")),
            Verdict::Refused(code) => Err(error(&code, "it refuses an empty request")),
            Verdict::Partly => Err(error("rejected", "it rejects an empty request")),
        }
    }

    fn ask(&self, entries: &[Entry<'_>]) -> Ask {
        match &self.hec {
            None => Ask::new(otlp::PATH, otlp::body(entries)),
            Some(_) if entries.is_empty() => Ask::new(hec::PATH, Bytes::new()),
            Some(hec) => hec.ask(entries),
        }
    }

    fn verdict(&self, answer: &Answer, sent: usize) -> Verdict {
        match &self.hec {
            None => otlp::verdict(answer, sent),
            Some(hec) => hec.verdict(answer),
        }
    }

    fn entry(&self, record: &Record) -> Option<Vec<u8>> {
        let format = self.settings.format;
        let event = fitted(record, format, self.settings.message_bytes_max)?;
        match &self.hec {
            None => otlp::entry(record, &event),
            Some(hec) => hec.entry(record, format, &event),
        }
    }

    /// The batch as it is sent, and what of it fits in no way.
    async fn entries<'r>(&self, batch: &'r [Record], taken: &mut Taken) -> Vec<Entry<'r>> {
        let mut entries = Vec::with_capacity(batch.len());
        for (place, record) in batch.iter().enumerate() {
            match self.entry(record) {
                Some(bytes) => entries.push(Entry {
                    place,
                    record,
                    bytes,
                }),
                None => taken.refused.push((place, "too_long".to_owned())),
            }
            if place % WRITTEN_AT_ONCE == WRITTEN_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        entries
    }

    /// Sends one request, and its halves where it is refused for its content, down to the events that are at fault.
    async fn send(&mut self, part: &[Entry<'_>], course: &mut Course) -> Result<(), SinkError> {
        let mut open = vec![part];
        while let Some(entries) = open.pop() {
            let answer = self.post.post(self.ask(entries)).await?;
            let code = match self.verdict(&answer, entries.len()) {
                Verdict::Taken(number) => {
                    course.taken.new += entries.len() as u64;
                    course.proved = true;
                    course.numbers.extend(number);
                    continue;
                }
                Verdict::Busy(rest) => return Err(self.rests(rest)),
                Verdict::Failed(error) => return Err(error),
                Verdict::Partly => {
                    course.proved = true;
                    String::new()
                }
                Verdict::Refused(code) => code,
            };
            course.requests_refused += 1;
            if !course.proved && course.requests_refused >= REFUSALS_MAX {
                return Err(refuses_all(&code));
            }
            match entries {
                [alone] => course.taken.refused.push((alone.place, code)),
                _ => {
                    let (left, right) = entries.split_at(entries.len() / 2);
                    open.extend([right, left]);
                }
            }
        }
        Ok(())
    }

    fn rests(&mut self, rest: Duration) -> SinkError {
        self.not_before = Some(Instant::now() + rest);
        error(
            "busy",
            format!(
                "it can't take more now, and wants to be left alone for {} s",
                rest.as_secs()
            ),
        )
    }

    /// An error for as long as the collector wants to be left alone.
    fn rested(&mut self) -> Result<(), SinkError> {
        let Some(left) = self
            .not_before
            .and_then(|then| then.checked_duration_since(Instant::now()))
        else {
            self.not_before = None;
            return Ok(());
        };
        let what = format!("it is left alone for {} s more", left.as_secs());
        Err(error("busy", what))
    }

    /// Asks until all of it is indexed.
    async fn indexed(&self, mut numbers: Vec<u64>) -> Result<(), SinkError> {
        let [mut wait, longest] = ASK_AGAIN;
        let began = Instant::now();
        while let Some(hec) = self.hec.as_ref().filter(|_| !numbers.is_empty()) {
            let answer = self.post.post(hec.ask_acks(&numbers)).await?;
            let Some(indexed) = hec::acknowledged(&answer) else {
                let what = "its answer to a question about acknowledgements is none";
                return Err(error("unacknowledged", what));
            };
            numbers.retain(|number| !indexed.contains(number));
            if numbers.is_empty() {
                break;
            }
            if began.elapsed() > INDEXED_MAX {
                let what = format!("nothing was indexed within {} s", INDEXED_MAX.as_secs());
                return Err(error("unacknowledged", what));
            }
            sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
        Ok(())
    }
}

impl<P: Post> Sink for Collector<P> {
    fn name(&self) -> &str {
        "siem"
    }

    async fn take(&mut self, batch: &[Record]) -> Result<Taken, SinkError> {
        self.rested()?;
        let mut course = Course::default();
        let entries = self.entries(batch, &mut course.taken).await;
        let unfit = course.taken.refused.len();
        for part in parts(&entries, self.settings.request_bytes_max) {
            self.send(part, &mut course).await?;
        }
        if let Some((_, code)) = course.taken.refused.get(unfit).filter(|_| !course.proved) {
            return Err(refuses_all(code));
        }
        self.indexed(course.numbers).await?;
        Ok(course.taken)
    }
}

/// The entries in requests of at most so many bytes, or of one event.
fn parts<'e, 'r>(mut entries: &'e [Entry<'r>], bytes_max: usize) -> Vec<&'e [Entry<'r>]> {
    let mut parts = Vec::new();
    while !entries.is_empty() {
        let mut bytes = 0;
        let fitting = entries.iter().take_while(|entry| {
            bytes += entry.bytes.len() + 1;
            bytes <= bytes_max
        });
        let count = fitting.count().max(1);
        let (part, rest) = entries.split_at(count);
        parts.push(part);
        entries = rest;
    }
    parts
}

/// Where the event happened: the process's name.
fn pod(record: &Record) -> &str {
    record.text(&["pod"]).unwrap_or_default()
}

fn refuses_all(code: &str) -> SinkError {
    error(
        code,
        "it refuses every event, so none of them is at fault: look at its log for why",
    )
}

fn error(code: &str, what: impl std::fmt::Display) -> SinkError {
    SinkError {
        code: code.to_owned(),
        what: format!("the siem collector: {what}"),
    }
}
