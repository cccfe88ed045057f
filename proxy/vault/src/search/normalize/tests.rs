use super::*;

fn normalized(normalize: Normalize, json: &str) -> Option<String> {
    let mut out = Vec::new();
    normalize.append(json.as_bytes(), &mut out).ok()?;
    assert!(out.len() <= longest(json.len()), "{json}");
    Some(String::from_utf8(out).unwrap())
}

fn gives(normalize: Normalize, cases: &[(&str, &str)]) {
    for (json, expected) in cases {
        assert_eq!(
            normalized(normalize, json).as_deref(),
            Some(*expected),
            "{json}"
        );
    }
}

fn refuses(normalize: Normalize, cases: &[&str]) {
    for json in cases {
        assert_eq!(normalized(normalize, json), None, "{json}");
    }
}

#[test]
fn exact_drops_nothing_but_the_spelling_of_json() {
    gives(
        Normalize::Exact,
        &[
            ("\"Doe, Jane\"", "\"Doe, Jane\""),
            ("\"\\u0044oe\"", "\"Doe\""),
            (" \"a\\/b\" ", "\"a/b\""),
            ("\"é\"", "\"\\u00e9\""),
            ("\" \"", "\" \""),
            ("42", "42"),
            ("-0", "0"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
        ],
    );
    refuses(
        Normalize::Exact,
        &["\"\"", "null", "true", "1.0", "[]", "{}"],
    );
}

#[test]
fn digits_keep_digits_and_refuse_what_would_be_lost() {
    gives(
        Normalize::Digits,
        &[
            ("\"943-71-5820\"", "\"943715820\""),
            ("\"+1 (555) 010.12/34\"", "\"15550101234\""),
            ("\"\\u0031-2\"", "\"12\""),
            ("943715820", "943715820"),
        ],
    );
    refuses(
        Normalize::Digits,
        &[
            "\"A123\"",
            "\"12x\"",
            "\"\"",
            "\"- -\"",
            "\"١٢\"",
            "\"12\\n\"",
        ],
    );
}

#[test]
fn upper_drops_case_and_separators_and_keeps_all_else() {
    gives(
        Normalize::Upper,
        &[
            ("\"mrn-00 12\"", "\"MRN0012\""),
            ("\"Mrn#00_12:3/4.5\"", "\"MRN0012345\""),
            ("\"é-a\"", "\"\\u00e9A\""),
            ("\"a\\\"b\\\\c\"", "\"A\\\"B\\\\C\""),
            ("\"a,b\"", "\"A,B\""),
        ],
    );
    refuses(
        Normalize::Upper,
        &["\"\"", "\"-/ \"", "\"\\u0020\"", "null"],
    );
}

#[test]
fn dates_are_read_in_the_forms_of_iso_8601() {
    let date = "\"1957-03-28\"";
    gives(
        Normalize::Date,
        &[
            (date, date),
            ("\"19570328\"", date),
            ("\"1957-03-28T00:00:00\"", date),
            ("\"1957-03-28t00:00:00.000z\"", date),
            ("\"1957-03-28 00:00\"", date),
            ("\"1957-03-28T00:00:00+01:00\"", date),
            ("\"1957-03-28T000000-0500\"", date),
            ("\"1957-03-28T00:00:00,0+00\"", date),
            ("\"1957\\u002d03-28\"", date),
            ("\"2000-02-29\"", "\"2000-02-29\""),
            ("\"2024-12-31\"", "\"2024-12-31\""),
            ("19570328", "19570328"),
        ],
    );
    refuses(
        Normalize::Date,
        &[
            "\"1957-03-28T08:30:00\"",
            "\"1957-03-28T00:00:01\"",
            "\"1957-03-28T00:00:00.001\"",
            "\"1957-03-28T00:00:00.\"",
            "\"1957-03-28T\"",
            "\"1957-03-28Z\"",
            "\"1957-03-28T00:00:00+1\"",
            "\"1957-03-28T00:00:00+01:0x\"",
            "\"1900-02-29\"",
            "\"2023-02-29\"",
            "\"1957-04-31\"",
            "\"1957-00-01\"",
            "\"1957-13-01\"",
            "\"1957-01-00\"",
            "\"1957-1-1\"",
            "\"1957-0328\"",
            "\"57-03-28\"",
            "\"28.03.1957\"",
            "\"03/28/1957\"",
            "\"1957\"",
            "\"1957-03\"",
            "\"+957-03-28\"",
            "\"1957-03-28x\"",
            "\"\"",
        ],
    );
}

#[test]
fn a_normalized_value_normalizes_to_itself() {
    for (normalize, json) in [
        (Normalize::Exact, "\"\\u00e9\\n\""),
        (Normalize::Digits, "\"943-71-5820\""),
        (Normalize::Upper, "\"mrn-é 7\""),
        (Normalize::Date, "\"19570328T000000Z\""),
        (Normalize::Date, "7"),
    ] {
        let once = normalized(normalize, json).unwrap();
        assert_eq!(normalized(normalize, &once), Some(once));
    }
}

#[test]
fn the_words_are_the_configuration_s() {
    assert_eq!(
        Normalize::ALL.map(Normalize::word),
        ["exact", "digits", "upper", "date"]
    );
}
