//! An event in the configured format, in as many bytes as a collector takes.

use serde_json::{Map, Value};

use crate::record::Record;
use crate::render::EventFormat;

/// What may be left out of an event that is too long, in this order: lists that can be long. The rest names who, what, when and with which outcome.
const SHED: [&str; 4] = ["fields", "patients", "details", "subject"];

/// The event in at most `bytes_max` bytes, whole or without some of its parts; none: it does not fit.
pub(super) fn fitted(record: &Record, format: EventFormat, bytes_max: usize) -> Option<Vec<u8>> {
    let event = match format {
        EventFormat::Native if record.bytes().len() > bytes_max => shortened(record, bytes_max)?,
        EventFormat::Native => record.bytes().to_vec(),
        format => format.render_within(record, bytes_max),
    };
    (event.len() <= bytes_max).then_some(event)
}

/// The record without as many members of `SHED` as it takes; with `is_truncated`, as OCSF calls it.
pub(super) fn shortened(record: &Record, room: usize) -> Option<Vec<u8>> {
    let mut event: Map<String, Value> = record.value().as_object()?.clone();
    event.insert("is_truncated".to_owned(), Value::Bool(true));
    SHED.iter().find_map(|member| {
        event.remove(*member);
        let bytes = serde_json::to_vec(&event).ok()?;
        (bytes.len() <= room).then_some(bytes)
    })
}
