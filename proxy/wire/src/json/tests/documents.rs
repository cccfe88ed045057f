//! Generated documents: as text, so that spacing, escapes, odd numbers and duplicates come up.

use proptest::prelude::*;

/// White space as people and printers write it.
fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 2 => Just(" "), 1 => Just("\n\t "), 1 => Just("\r\n")]
}

/// A string literal.
pub(super) fn literal() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[ -!#-\\[\\]-~]{0,12}",
        2 => any::<char>().prop_map(|one| match one {
            '"' | '\\' | '\0'..='\u{1f}' => format!("\\u{:04X}", one as u32),
            _ => one.to_string(),
        }),
        2 => prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\r", "\\t", "\\u0073", "\\u00e9", "\\ud83d\\ude00"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec!["\\ud800", "\\udfff", "\\uD83D\\n"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => prop::sample::select(vec!["null", "true", "false", "0", "-0", "1e999", "[]", "{}"]).prop_map(str::to_owned),
        3 => "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        4 => literal(),
    ]
}

/// Names: some come up often, so that duplicates do.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => prop::sample::select(vec!["\"ssn\"", "\"\\u0073sn\"", "\"mrn\"", "\"\""]).prop_map(str::to_owned),
        3 => literal(),
    ]
}

/// A document with white space around everything.
pub(super) fn document() -> impl Strategy<Value = String> {
    let value = scalar().prop_recursive(5, 48, 6, |inner| {
        let padded = (space(), inner, space())
            .prop_map(|(before, value, after)| format!("{before}{value}{after}"))
            .boxed();
        let member = (space(), name(), space(), padded.clone())
            .prop_map(|(before, name, after, value)| format!("{before}{name}{after}:{value}"));
        prop_oneof![
            prop::collection::vec(padded, 0..6)
                .prop_map(|elements| format!("[{}]", elements.join(","))),
            prop::collection::vec(member, 0..6)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    });
    (space(), value, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

/// One change to a text's bytes; positions are taken modulo its length.
#[derive(Debug, Clone)]
pub(super) enum Mutation {
    Put(usize, u8),
    Insert(usize, u8),
    Delete(usize, usize),
    Cut(usize),
    Repeat(usize, usize),
}

pub(super) fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"{}[]:,\"\\ 0123456789.eE+-utfn\n\t\r/\0\x1f\x7f\x80\xc3\xff".to_vec()),
        1 => any::<u8>(),
    ];
    let at = any::<usize>();
    prop_oneof![
        3 => (at, byte.clone()).prop_map(|(at, byte)| Mutation::Put(at, byte)),
        3 => (at, byte).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        3 => (at, 1..4_usize).prop_map(|(at, count)| Mutation::Delete(at, count)),
        1 => at.prop_map(Mutation::Cut),
        1 => (at, 1..8_usize).prop_map(|(at, count)| Mutation::Repeat(at, count)),
    ]
}

impl Mutation {
    pub(super) fn apply(&self, text: &mut Vec<u8>) {
        let length = text.len();
        let place = |at: usize| at % (length + 1);
        match *self {
            Self::Put(at, byte) => {
                if let Some(old) = text.get_mut(place(at)) {
                    *old = byte;
                }
            }
            Self::Insert(at, byte) => text.insert(place(at), byte),
            Self::Delete(at, count) => drop(text.drain(place(at)..(place(at) + count).min(length))),
            Self::Cut(at) => text.truncate(place(at)),
            Self::Repeat(at, count) => {
                let again = text[place(at)..(place(at) + count).min(length)].to_vec();
                text.splice(place(at)..place(at), again);
            }
        }
    }
}
