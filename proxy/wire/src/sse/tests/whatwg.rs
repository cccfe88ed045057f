//! The framer and its events against a reader written from the standard's text (WHATWG HTML §9.2.5, §9.2.6), which
//! knows nothing of framing: it has the whole stream and goes through it line by line.

use proptest::prelude::*;

use super::*;

/// What a client is given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dispatched {
    kind: Vec<u8>,
    data: Vec<u8>,
    last_id: Vec<u8>,
}

/// "When a stream is parsed …", step by step in the standard's order and words.
fn read(stream: &[u8]) -> Vec<Dispatched> {
    // "one leading U+FEFF BYTE ORDER MARK character must be ignored if any are present"
    let mut rest = stream.strip_prefix(BOM).unwrap_or(stream);
    let (mut data, mut kind, mut id) = (Vec::new(), Vec::new(), Vec::new());
    let mut dispatched = Vec::new();
    // end-of-line = ( cr lf / cr / lf ); what no end of line follows is no line, and is discarded.
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = &rest[..end];
        let length = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + length..];
        if line.is_empty() {
            // "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty
            // string and return."
            if !data.is_empty() {
                // "If the data buffer's last character is a U+000A LINE FEED, then remove the last character"
                data.pop();
                let kind = if kind.is_empty() {
                    b"message".to_vec()
                } else {
                    kind
                };
                dispatched.push(Dispatched {
                    kind,
                    data,
                    last_id: id.clone(),
                });
            }
            (data, kind) = (Vec::new(), Vec::new());
            continue;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            // "If the line starts with a U+003A COLON character: Ignore the line."
            Some(0) => continue,
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        // "If value starts with a U+0020 SPACE character, remove it from value."
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => kind = value.to_vec(),
            b"data" => {
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            // "If the field value does not contain U+0000 NULL, then set the last event ID buffer to the field value."
            b"id" if !value.contains(&0) => id = value.to_vec(),
            _ => {}
        }
    }
    dispatched
}

/// The same from our events: the last id is the stream's, not the event's.
fn ours(events: &[Event]) -> Vec<Dispatched> {
    let mut last_id = Vec::new();
    let mut dispatched = Vec::new();
    for event in events {
        if let Some(id) = event.id() {
            last_id = id.to_vec();
        }
        let kind = event.name().filter(|name| !name.is_empty());
        dispatched.extend(event.data().map(|data| Dispatched {
            kind: kind.unwrap_or(b"message").to_vec(),
            data,
            last_id: last_id.clone(),
        }));
    }
    dispatched
}

/// Streams of whatever means something, in places right and wrong.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"data: "[..],
        b"data:",
        b"data",
        b"id: ",
        b"id:7",
        b"event: x",
        b"event:",
        b"retry: 5",
        b":",
        b": ping",
        b" ",
        b"a",
        b"{\"b\":1}",
        b"\0",
        b"\xff",
        "é".as_bytes(),
        BOM,
        b"\n",
        b"\n",
        b"\r",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\r\n\r\n",
        b"\n\n",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Frames under a bound; the events until it fails, and whether it does.
fn bounded(parts: &[&[u8]], event_bytes_max: usize) -> (Vec<Event>, bool) {
    let mut framer = Framer::new(event_bytes_max);
    let mut events = Vec::new();
    for part in parts {
        let failed = framer.push(part).is_err();
        events.extend(framer.by_ref());
        if failed {
            return (events, true);
        }
    }
    (events, false)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn events_are_those_of_the_standard(stream in stream()) {
        prop_assert_eq!(ours(&frame(&[&stream]).0), read(&stream));
    }

    #[test]
    fn any_split_of_any_stream_gives_the_same_events(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        let split = frame(&parts);
        prop_assert_eq!(&split, &frame(&[&stream]));
        let mut together: Vec<u8> = split.0.iter().flat_map(|event| event.raw().to_vec()).collect();
        together.extend_from_slice(&split.1);
        prop_assert_eq!(together, stream);
    }

    #[test]
    fn a_rewritten_stream_says_what_it_should_and_nothing_more(stream in stream(), data in "[a \n:é]{0,8}", which in any::<u32>()) {
        let (events, rest) = frame(&[&stream]);
        let mut out = Vec::new();
        let mut expected = ours(&events).into_iter();
        let mut said = Vec::new();
        for (position, event) in events.iter().enumerate() {
            let rewritten = which >> (position % 32) & 1 == 1;
            out.extend_from_slice(&if rewritten { event.with_data(data.as_bytes()) } else { event.raw().to_vec() });
            if event.data().is_some() {
                let mut one = expected.next().unwrap();
                if rewritten {
                    one.data = data.clone().into_bytes();
                }
                said.push(one);
            }
        }
        out.extend_from_slice(&rest);
        prop_assert_eq!(read(&out), said);
    }

    #[test]
    fn an_event_over_the_bound_is_refused_at_any_split(stream in stream(), bound in 1..40_usize, cut in any::<prop::sample::Index>()) {
        let whole = bounded(&[&stream], bound);
        let (left, right) = stream.split_at(cut.index(stream.len() + 1));
        prop_assert_eq!(&bounded(&[left, right], bound), &whole);
        prop_assert_eq!(&bounded(&stream.chunks(1).collect::<Vec<_>>(), bound), &whole);
        prop_assert!(whole.0.iter().all(|event| event.raw().len() <= bound));
        let all = frame(&[&stream]).0;
        prop_assert!(all.starts_with(&whole.0), "what was complete before is given out");
        if !whole.1 {
            prop_assert!(all.iter().all(|event| event.raw().len() <= bound));
        }
    }
}
