//! The framer against a plain reading of WHATWG HTML §9.2.6, at every split; events rewritten.

mod whatwg;

use proptest::prelude::*;

use super::*;

const LARGE: usize = 1 << 20;

/// Frames a stream that arrives in these parts; gives the events and the rest.
fn frame(parts: &[&[u8]]) -> (Vec<Event>, Vec<u8>) {
    let mut framer = Framer::new(LARGE);
    let mut events = Vec::new();
    for part in parts {
        framer.push(part).unwrap();
        events.extend(framer.by_ref());
    }
    framer.end();
    events.extend(framer.by_ref());
    (events, framer.finish().unwrap_or_default())
}

fn raws(stream: &str) -> Vec<String> {
    let (events, _) = frame(&[stream.as_bytes()]);
    events
        .iter()
        .map(|event| String::from_utf8_lossy(event.raw()).into_owned())
        .collect()
}

fn only(stream: &str) -> Event {
    let (mut events, rest) = frame(&[stream.as_bytes()]);
    assert!(rest.is_empty());
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// Data and id of each event with a data field, read from the whole stream line by line.
fn reference(stream: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let text = stream.strip_prefix(BOM).unwrap_or(stream);
    let text = String::from_utf8_lossy(text)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let mut events = Vec::new();
    let (mut data, mut id) = (None::<Vec<String>>, None);
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop();
    for line in lines {
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((data.join("\n").into_bytes(), id.take()));
            }
            (data, id) = (None, None);
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match name {
            "data" => data.get_or_insert_default().push(value),
            "id" => id = Some(value.into_bytes()),
            _ => {}
        }
    }
    events
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        3 => "data: ?[ -~é]{0,9}",
        1 => Just("data".to_owned()),
        1 => "(id|event|retry|Data|data2|x): ?[a-z0-9]{0,4}",
        1 => ":[ -~]{0,5}",
        4 => Just(String::new()),
    ];
    let ending = prop_oneof![4 => Just("\n"), 3 => Just("\r\n"), 3 => Just("\r")];
    // One ending for a whole stream as well as all mixed.
    let mixed = prop::collection::vec((line, ending.clone()), 0..14);
    (mixed, prop::option::of(ending), any::<bool>(), "[a-z]{0,3}").prop_map(
        |(lines, one, bom, rest)| {
            let mut stream = if bom { BOM.to_vec() } else { Vec::new() };
            for (line, ending) in lines {
                stream.extend_from_slice(line.as_bytes());
                stream.extend_from_slice(one.unwrap_or(ending).as_bytes());
            }
            stream.extend_from_slice(rest.as_bytes());
            stream
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn events_do_not_depend_on_how_bytes_arrive(stream in stream(), cut in any::<prop::sample::Index>()) {
        let whole = frame(&[&stream]);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&frame(&bytes), &whole);
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            prop_assert_eq!(&frame(&[left, right]), &whole, "split at {}", at);
            // Three parts: the middle one alone may decide nothing.
            let (middle, right) = right.split_at(cut.index(right.len() + 1));
            prop_assert_eq!(&frame(&[left, middle, right]), &whole);
        }
    }

    #[test]
    fn events_put_together_are_the_stream(stream in stream()) {
        let (events, rest) = frame(&[&stream]);
        let mut together: Vec<u8> = events.iter().flat_map(|event| event.raw().to_vec()).collect();
        together.extend_from_slice(&rest);
        prop_assert_eq!(together, stream);
    }

    #[test]
    fn events_read_as_the_standard_says(stream in stream()) {
        let (events, _) = frame(&[&stream]);
        let read: Vec<_> = events
            .iter()
            .filter_map(|event| Some((event.data()?, event.id().map(<[u8]>::to_vec))))
            .collect();
        prop_assert_eq!(read, reference(&stream));
    }

    #[test]
    fn an_events_own_data_changes_nothing(stream in stream()) {
        for event in frame(&[&stream]).0 {
            let data = event.data().unwrap_or_default();
            prop_assert_eq!(event.with_data(&data), event.raw());
        }
    }

    #[test]
    fn other_data_is_all_that_changes(stream in stream(), data in "[ -~é\n]{0,20}") {
        for event in frame(&[&stream]).0 {
            if event.data().is_none() {
                continue;
            }
            let other_lines = |event: &Event| -> Vec<Vec<u8>> {
                let lines = event.lines().filter(|line| line.field(b"data").is_none());
                lines.map(|line| [line.text, line.ending].concat()).collect()
            };
            let changed = Event { raw: event.with_data(data.as_bytes()), prefix: event.prefix };
            prop_assert_eq!(changed.data(), Some(data.clone().into_bytes()));
            prop_assert_eq!(other_lines(&changed), other_lines(&event));
            // And a reader sees the one event in it.
            let read = reference(&changed.raw);
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(&read[0].0, data.as_bytes());
        }
    }
}

#[test]
fn all_line_ends_frame() {
    assert_eq!(
        raws("data: 1\n\ndata: 2\n\n"),
        ["data: 1\n\n", "data: 2\n\n"]
    );
    assert_eq!(
        raws("data: 1\r\n\r\ndata: 2\r\n\r\n"),
        ["data: 1\r\n\r\n", "data: 2\r\n\r\n"]
    );
    assert_eq!(
        raws("data: 1\r\rdata: 2\r\r"),
        ["data: 1\r\r", "data: 2\r\r"]
    );
    assert_eq!(
        raws("data: 1\r\n\ndata: 2\n\r\n"),
        ["data: 1\r\n\n", "data: 2\n\r\n"]
    );
    assert_eq!(raws("\n: ping\n\n"), ["\n", ": ping\n\n"]);
}

#[test]
fn a_stream_of_cr_lines_is_not_held_back() {
    let mut framer = Framer::new(LARGE);
    framer.push(b"data: 1\r\r").unwrap();
    assert_eq!(framer.next().unwrap().raw(), b"data: 1\r\r");
    // Should it have been a CRLF after all, the LF goes with what follows and ends nothing.
    framer.push(b"\ndata: 2\n\n").unwrap();
    let second = framer.next().unwrap();
    assert_eq!(
        (second.raw(), second.data().as_deref()),
        (&b"\ndata: 2\n\n"[..], Some(&b"2"[..]))
    );
    assert_eq!(second.with_data(b"3"), b"\ndata: 3\n\n");
    assert_eq!(framer.finish(), None);
}

#[test]
fn a_crlf_stream_is_not_held_back() {
    let mut framer = Framer::new(LARGE);
    framer.push(b"data: 1\r\n\r").unwrap();
    assert!(framer.next().is_none());
    framer.push(b"\n").unwrap();
    assert_eq!(framer.next().unwrap().raw(), b"data: 1\r\n\r\n");
}

#[test]
fn fields_are_read_as_the_standard_says() {
    let event = only(
        "\u{feff}id: 7\nevent: message\nretry: 10\n: note\ndata: {\"a\":\ndata:  1}\nid: 8\n\n",
    );
    assert_eq!(event.data().as_deref(), Some(&b"{\"a\":\n 1}"[..]));
    assert_eq!(event.id(), Some(&b"8"[..]));
    assert_eq!(event.name(), Some(&b"message"[..]));
    assert_eq!(only("id: a\0b\ndata\n\n").id(), None);
    assert_eq!(only("id: 1\nid: a\0b\ndata\n\n").id(), Some(&b"1"[..]));
    assert_eq!(only("id: 1\ndata:\n\n").data().as_deref(), Some(&b""[..]));
    for none in [
        ": ping\n\n",
        "retry: 1\n\n",
        "Data: 1\n\n",
        "data2: 1\n\n",
        " data: 1\n\n",
        "\n",
    ] {
        assert_eq!(only(none).data(), None, "{none}");
        assert_eq!(only(none).with_data(b"x"), none.as_bytes());
    }
}

#[test]
fn a_byte_order_mark_counts_only_at_the_start() {
    let (events, _) = frame(&["\u{feff}data: 1\n\n\u{feff}data: 2\n\n".as_bytes()]);
    assert_eq!(events[0].data().as_deref(), Some(&b"1"[..]));
    assert_eq!(events[1].data(), None);
}

#[test]
fn data_lines_are_rewritten_in_their_manner() {
    let event = only("id: 1\r\ndata:a\r\n: note\r\ndata: b\r\nretry: 5\r\n\r\n");
    let cases = [
        ("x", "id: 1\r\n: note\r\ndata: x\r\nretry: 5\r\n\r\n"),
        (
            " x\ny",
            "id: 1\r\ndata:  x\r\n: note\r\ndata: y\r\nretry: 5\r\n\r\n",
        ),
        (
            "x\ny\r\nz",
            "id: 1\r\ndata:x\r\n: note\r\ndata: y\r\ndata: z\r\nretry: 5\r\n\r\n",
        ),
        ("", "id: 1\r\n: note\r\ndata: \r\nretry: 5\r\n\r\n"),
    ];
    for (data, expected) in cases {
        assert_eq!(event.with_data(data.as_bytes()), expected.as_bytes());
    }
    assert_eq!(only("data\n\n").with_data(b"{}"), b"data:{}\n\n");
}

#[test]
fn a_dropped_data_line_lets_no_line_ends_meet() {
    let event = only("data: a\nid: 1\rdata: b\n\n");
    assert_eq!(event.with_data(b"x"), b"id: 1\rdata: x\n\n");
}

#[test]
fn a_dropped_data_line_turns_no_other_line_into_data() {
    let event = only("data: a\n\u{feff}data: hidden\ndata: b\n\n");
    let changed = event.with_data(b"x");
    let again = only(std::str::from_utf8(&changed).unwrap());
    assert_eq!(again.data().as_deref(), Some(&b"x"[..]));
}

#[test]
fn our_own_events_read_back() {
    for data in ["{\"jsonrpc\":\"2.0\"}", "", "a\n b\n", "\n"] {
        let event = only(std::str::from_utf8(&message(data.as_bytes())).unwrap());
        assert_eq!(event.data().as_deref(), Some(data.as_bytes()));
        assert_eq!(event.name(), Some(&b"message"[..]));
    }
}

#[test]
fn an_event_over_the_bound_is_an_error_however_it_arrives() {
    let fits = b"data: 12\n\n";
    let over = b"data: 123\n\n";
    for size in 1..=over.len() {
        let mut framer = Framer::new(fits.len());
        let mut result = Ok(());
        for part in [&fits[..], &fits[..], &over[..]].concat().chunks(size) {
            result = framer.push(part);
        }
        assert_eq!(
            result,
            Err(EventTooLarge {
                event_bytes_max: fits.len()
            })
        );
        assert_eq!(framer.by_ref().count(), 2);
        assert!(framer.push(b"\n\n").is_err(), "an error stays");
        assert!(framer.next().is_none());
        assert_eq!(framer.finish(), None);
    }
    let mut endless = Framer::new(fits.len());
    assert!(endless.push(&[b'a'; 11]).is_err());
}

#[test]
fn debug_output_shows_no_data() {
    let mut framer = Framer::new(LARGE);
    framer.push(b"data: 123-45-6789\n\ndata: 987").unwrap();
    let shown = format!("{framer:?} {:?}", framer.next());
    assert!(!shown.contains("123") && !shown.contains("987"));
}
