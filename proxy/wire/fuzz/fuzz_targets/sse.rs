//! Events do not depend on how bytes arrive, together they are the stream, none is over the bound, their own data
//! changes nothing, and other data reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_wire::sse::{Event, Framer};

fn frame(parts: &[&[u8]], event_bytes_max: usize) -> (Vec<Event>, Option<Vec<u8>>) {
    let mut framer = Framer::new(event_bytes_max);
    let mut events = Vec::new();
    for part in parts {
        let pushed = framer.push(part);
        events.extend(framer.by_ref());
        if pushed.is_err() {
            return (events, None);
        }
    }
    framer.end();
    events.extend(framer.by_ref());
    (events, Some(framer.finish().unwrap_or_default()))
}

fuzz_target!(|input: (u16, u8, Vec<u8>, Vec<u8>)| {
    let (cut, bound, data, stream) = input;
    let whole = frame(&[&stream], 1 << 20);
    let (left, right) = stream.split_at(usize::from(cut) % (stream.len() + 1));
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(frame(&[left, right], 1 << 20), whole);
    assert_eq!(frame(&bytes, 1 << 20), whole);
    let small = usize::from(bound);
    let (fitting, _) = frame(&bytes, small);
    assert!(fitting.iter().all(|event| event.raw().len() <= small));
    let (events, rest) = whole;
    assert!(events.starts_with(&fitting));
    let mut together = Vec::new();
    for event in &events {
        together.extend_from_slice(event.raw());
        let Some(own) = event.data() else { continue };
        assert_eq!(event.with_data(&own), event.raw());
        let changed = frame(&[&event.with_data(&data)], 1 << 20).0;
        let read = changed.first().and_then(Event::data);
        assert_eq!(read, Some(lines(&data)));
    }
    together.extend_from_slice(&rest.unwrap_or_default());
    assert_eq!(together, stream);
});

/// Data as a reader has it: every line end is a LF.
fn lines(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut bytes = data.iter().peekable();
    while let Some(&byte) = bytes.next() {
        if byte == b'\r' {
            bytes.next_if_eq(&&b'\n');
            out.push(b'\n');
        } else {
            out.push(byte);
        }
    }
    out
}
