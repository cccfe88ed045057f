//! Events do not depend on how bytes arrive, together they are the stream, none is over the bound, their own data
//! changes nothing, and other data reads back.
//!
//! Input: where to cut (two bytes), the bound, the length of the other data, that data, the stream.
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

fuzz_target!(|input: &[u8]| {
    let [low, high, bound, length, rest @ ..] = input else {
        return;
    };
    let Some((data, stream)) = rest.split_at_checked(usize::from(*length)) else {
        return;
    };
    let whole = frame(&[stream], 1 << 20);
    let cut = usize::from(u16::from_le_bytes([*low, *high])) % (stream.len() + 1);
    let (left, right) = stream.split_at(cut);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(frame(&[left, right], 1 << 20), whole);
    assert_eq!(frame(&bytes, 1 << 20), whole);
    let small = usize::from(*bound);
    let (fitting, _) = frame(&bytes, small);
    assert!(fitting.iter().all(|event| event.raw().len() <= small));
    let (events, rest) = whole;
    assert!(events.starts_with(&fitting));
    let mut together = Vec::new();
    for (position, event) in events.iter().enumerate() {
        together.extend_from_slice(event.raw());
        let Some(own) = event.data() else { continue };
        assert_eq!(event.with_data(&own), event.raw());
        // A byte order mark means something in front of the first event only. In front of the data of another may
        // stand the LF of a line end that was cut: an event of its own.
        let front: &[u8] = if position == 0 { b"" } else { b":\n\n" };
        let changed = frame(&[front, &event.with_data(data)], 1 << 20).0;
        let read = changed.iter().find_map(Event::data);
        assert_eq!(read, Some(lines(data)));
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
