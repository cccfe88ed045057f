//! Pieces of real URIs, and the promises that nothing is left out and nothing else changes.

use proptest::prelude::*;

use super::*;

/// Pieces as `component text`, `name=` in front where it has one.
fn told(uri: &str) -> Vec<String> {
    pieces(uri)
        .iter()
        .map(|piece| {
            let name = piece
                .name_text(uri)
                .map_or(String::new(), |name| format!("{name}="));
            let text = piece.text(uri).unwrap_or(Cow::Borrowed("<no text>"));
            format!("{:?} {name}{text}", piece.component)
        })
        .collect()
}

#[test]
fn identifiers_are_found_wherever_a_uri_can_hold_them() {
    let cases: [(&str, &[&str]); 12] = [
        (
            "ehr://patients/40718265/labs?name=Jane%20Doe&dob=1957-03-28#visit-3",
            &[
                "Scheme ehr",
                "Host patients",
                "Segment 40718265",
                "Segment labs",
                "Query name=Jane Doe",
                "Query dob=1957-03-28",
                "Fragment visit-3",
            ],
        ),
        (
            "https://jane:secret@[2001:db8::1]:8443/a;mrn=1;flag/b",
            &[
                "Scheme https",
                "UserInfo jane:secret",
                "Host [2001:db8::1]",
                "Port 8443",
                "Segment a",
                "Parameter mrn=1",
                "Parameter flag",
                "Segment b",
            ],
        ),
        (
            "urn:mrn:40718265",
            &["Scheme urn", "Segment mrn", "Segment 40718265"],
        ),
        ("Patient/1", &["Segment Patient", "Segment 1"]),
        ("//host", &["Host host"]),
        ("?a+b=c+d", &["Query a b=c d"]),
        ("a+b", &["Segment a+b"]),
        (
            "?40718265=&a={b}c",
            &["Query 40718265", "Expression a={b}", "Query a=c"],
        ),
        (
            "file:///home/Jane%2FDoe.txt",
            &["Scheme file", "Segment home", "Segment Jane/Doe.txt"],
        ),
        (
            "ehr://{clinic}/patients/{id}/x{?from,to}",
            &[
                "Scheme ehr",
                "Expression {clinic}",
                "Segment patients",
                "Expression {id}",
                "Segment x",
                "Expression {?from,to}",
            ],
        ),
        (
            "DATA:text/plain;base64,SmFuZQ==",
            &["Scheme DATA", "Data text/plain;base64,SmFuZQ=="],
        ),
        ("%ff/%zz", &["Segment <no text>", "Segment %zz"]),
    ];
    for (uri, expected) in cases {
        assert_eq!(told(uri), expected, "{uri}");
    }
}

#[test]
fn another_value_is_encoded_and_the_rest_stays() {
    let put = |uri: &str, old: &str, new: &str| {
        replaced(uri, |piece| {
            (piece.text(uri).as_deref() == Some(old)).then(|| new.to_owned())
        })
    };
    assert_eq!(
        put("ehr://p/%31/labs?a=1&b=2#1", "1", "Jane Doe/ü")
            .unwrap()
            .unwrap(),
        "ehr://p/Jane%20Doe%2F%C3%BC/labs?a=Jane%20Doe%2F%C3%BC&b=2#Jane%20Doe%2F%C3%BC"
    );
    assert_eq!(put("ehr://p/1", "absent", "x"), Ok(None));
    for (uri, old, new) in [
        ("ehr://p/1", "ehr", "x"),
        ("ehr://p:80/1", "80", "x"),
        ("ehr://p/{id}", "{id}", "x"),
        ("data:,x", ",x", "y"),
        ("ehr://p/1", "1", ".."),
        ("ehr://p/1", "1", ""),
        ("ehr://p/1", "p", ""),
        ("1:2", "1", "urn"),
    ] {
        assert_eq!(put(uri, old, new), Err(NotReplaceable), "{uri} {old}");
    }
    assert!(!NotReplaceable.to_string().is_empty());
}

#[test]
fn a_uri_of_any_length_takes_no_square_of_time_and_bounded_pieces() {
    for part in ["{/", "a/", "@:", "a=b&", "{}", "=", ";{"] {
        let uri = part.repeat(1 << 19);
        let pieces = pieces(&uri);
        assert!(pieces.len() <= PIECES_MAX + 1);
        if pieces.len() > PIECES_MAX {
            let rest = pieces.last().unwrap();
            assert_eq!(
                (rest.component, rest.span.end),
                (Component::Rest, uri.len())
            );
        }
    }
}

#[test]
fn data_uris_say_what_they_hold() {
    let uri = "data:application/fhir+json;charset=utf-8;base64,e30=";
    let held = data(uri).unwrap();
    assert_eq!(
        (held.mime, held.base64, uri.get(held.payload).unwrap()),
        ("application/fhir+json;charset=utf-8", true, "e30=")
    );
    let held = data("Data:,a%20b,c").unwrap();
    assert_eq!((held.mime, held.base64, held.payload), ("", false, 6..13));
    for none in ["data:text/plain", "dat:a,b", "a", "x/data:a,b"] {
        assert_eq!(data(none), None, "{none}");
    }
}

/// Texts of the characters that divide URIs, in places right and wrong.
fn uri() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        ":", "/", "//", "?", "#", "[", "]", "@", "&", "=", ";", "+", "%", "%41", "%c3%a9", "%ff",
        "{", "}", "{id}", "{?a,b}", "a", "Jane", "1", "-", ".", "..", " ", "é", "data:", "ehr",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn every_byte_is_in_a_piece_or_a_name_or_divides(uri in uri()) {
        let mut at = 0;
        let divides = |between: Range<usize>| uri.as_bytes()[between].iter().all(|byte| b":/?#@&=;".contains(byte));
        for piece in pieces(&uri) {
            prop_assert!(!piece.span.is_empty() && piece.span.start >= at);
            let start = match &piece.name {
                // Behind an expression in the middle of a value the name is behind us.
                Some(name) if name.start >= at => {
                    prop_assert!(divides(at..name.start), "{}", uri);
                    name.end
                }
                _ => at,
            };
            prop_assert!(divides(start..piece.span.start), "{} {:?}", uri, piece);
            at = piece.span.end;
        }
        prop_assert!(divides(at..uri.len()), "{}", uri);
    }

    #[test]
    fn a_new_value_reads_back_and_nothing_else_changes(uri in uri(), pick in any::<prop::sample::Index>(), new in "[ -~é]{1,12}") {
        let all = pieces(&uri);
        prop_assume!(!all.is_empty());
        let picked = all[pick.index(all.len())].clone();
        let result = replaced(&uri, |piece| (*piece == picked).then(|| new.clone()));
        let Ok(out) = result else {
            prop_assert!(!picked.can_hold(&new) || scheme(&uri).is_none());
            return Ok(());
        };
        let out = out.unwrap();
        prop_assert!(out.as_bytes().starts_with(&uri.as_bytes()[..picked.span.start]));
        prop_assert!(out.as_bytes().ends_with(&uri.as_bytes()[picked.span.end..]));
        let after = pieces(&out);
        prop_assert_eq!(after.len(), all.len());
        let back = after.iter().find(|piece| piece.span.start == picked.span.start).unwrap();
        let text = back.text(&out);
        prop_assert_eq!(text.as_deref(), Some(new.as_str()));
        prop_assert_eq!(back.component, picked.component);
    }
}
