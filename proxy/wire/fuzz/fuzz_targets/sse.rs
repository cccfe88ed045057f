//! Events do not depend on how bytes arrive, together they are the stream, and their own data changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_wire::sse::{Event, Framer};

fn frame(parts: &[&[u8]]) -> (Vec<Event>, Vec<u8>) {
    let mut framer = Framer::new(1 << 20);
    let mut events = Vec::new();
    for part in parts {
        if framer.push(part).is_err() {
            return (events, Vec::new());
        }
        events.extend(framer.by_ref());
    }
    framer.end();
    events.extend(framer.by_ref());
    (events, framer.finish().unwrap_or_default())
}

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (cut, stream) = input;
    let whole = frame(&[&stream]);
    let (left, right) = stream.split_at(usize::from(cut) % (stream.len() + 1));
    assert_eq!(frame(&[left, right]), whole);
    assert_eq!(frame(&stream.chunks(1).collect::<Vec<_>>()), whole);
    let (events, rest) = whole;
    let mut together = Vec::new();
    for event in &events {
        together.extend_from_slice(event.raw());
        if let Some(data) = event.data() {
            assert_eq!(event.with_data(&data), event.raw());
        }
    }
    together.extend_from_slice(&rest);
    assert_eq!(together, stream);
});
