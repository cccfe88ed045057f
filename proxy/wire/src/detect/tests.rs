//! What is found and what isn't, shape by shape.

use std::ops::Range;

use super::{
    Detectors, Find, Kind, MATCH_BYTES_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX, PatternError, Wanted,
    What,
};

fn pattern(name: &str, regex: &str) -> (String, String) {
    (name.to_owned(), regex.to_owned())
}

pub(super) fn detectors() -> Detectors {
    Detectors::new(&[pattern("mrn", "MRN-?[0-9]{7}")], Wanted::ALL).expect("detectors")
}

pub(super) fn find(text: &str) -> Vec<Find> {
    let mut finds = Vec::new();
    detectors().find(text, &mut finds);
    finds
}

pub(super) fn part(text: &str, span: Range<usize>) -> &str {
    text.get(span).expect("whole characters")
}

/// What is found, as the detector's word and the text.
pub(super) fn found(text: &str) -> Vec<(&'static str, &str)> {
    let word = |what| match what {
        What::Kind(kind) => Kind::word(kind),
        What::Site(_) => "mrn",
        What::Unsettled => "text",
    };
    find(text)
        .into_iter()
        .map(|find| (word(find.what), part(text, find.span)))
        .collect()
}

/// Texts in which the part between `«` and `»` is found as this kind, and nothing else.
#[track_caller]
fn finds(word: &str, texts: &[&str]) {
    for marked in texts {
        let text = marked.replace(['«', '»'], "");
        let start = marked.find('«').expect("a mark");
        let end = marked.find('»').expect("a mark") - '«'.len_utf8();
        assert_eq!(found(&text), [(word, part(&text, start..end))], "{text}");
    }
}

#[track_caller]
fn passes(texts: &[&str]) {
    for text in texts {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn a_social_security_number_is_found_by_its_form_or_by_the_word_before_it() {
    finds(
        "ssn",
        &[
            "seen «512-34-6789» today",
            "«512 34 6789»",
            "«512.34.6789»",
            "«512–34–6789»",
            "«512\u{2011}34\u{2212}6789»",
            "«512 - 34 - 6789»",
            "«512-34-\n6789»",
            "«５１２-３４-６７８９»",
            "«٥١٢-٣٤-٦٧٨٩»",
            "«5\u{ad}12-3\u{200b}4-67\u{2060}89»",
            "«512\u{a0}34\u{a0}6789»",
            "SSN«512-34-6789»A",
            "SSN: «512346789».",
            "Social Security No. «512346789»",
            "ss# «5 1 2 3 4 6 7 8 9»",
            "ssn «987-65-4321»",
        ],
    );
    passes(&[
        "000-34-6789",
        "666-34-6789",
        "912-34-6789",
        "512-00-6789",
        "512-34-0000",
        "512346789",
        "MRN 512346789",
        "order 77-512-34-6789",
        "512-34-6789-1",
        "512-34-67890",
        "SSN on file, account 512346789",
    ]);
}

#[test]
fn a_phone_number_is_found_by_the_rules_of_its_plan() {
    finds(
        "phone",
        &[
            "at «212-555-0147»",
            "at «(212) 555-0147»",
            "at «(212)555-0147»",
            "at «212.555.0147»",
            "at «212 555 0147»",
            "at «212–555–0147»",
            "at «+1 (212) 555-0147»",
            "at «1-212-555-0147»",
            "at «+12125550147»",
            "at «+44 20 7946 0958»",
            "at «212-5550147»",
            "at «２１２-５５５-０１４７»",
            "at «212\u{200b}-555\u{ad}-0147»",
            "at «212-555-0147 ext. 22»",
            "at «212-555-0147 x22»",
            "cell: «2125550147»",
            "phone number is «123-456-7890»",
            "call «555-0147»",
            "tel «2 1 2 5 5 5 0 1 4 7»",
            "(h) «212/555-0147»",
        ],
    );
    finds("fax", &["Fax: «212-555-0147»", "faxed to «(212) 555-0147»"]);
    passes(&[
        "2125550143",
        "112-555-0147",
        "212-155-0147",
        "211-555-0147",
        "212-911-0147",
        "99-212-555-0147",
        "212-555-0147-88",
        "ext. 4417",
        "platelets 212 5550",
    ]);
}

#[test]
fn addresses_of_the_net_are_found() {
    finds(
        "email",
        &[
            "mail «jane.doe+lab@clinic.example.org», or",
            "<«j_doe@x.co»>",
            "«jane @ clinic.org»",
            "«jane＠clinic．org»",
            "«josé@clínica.es»",
            "«2125550147@example.com»",
        ],
    );
    finds(
        "url",
        &[
            "see «https://portal.example.org/p?id=5&d=2024-03-12#x».",
            "(«http://x.org/a»)",
            "«www.example.org/me», then",
            "on «example.org».",
            "(«my.clinic.example.com/p/1»)",
            "«ftp://10.0.0.1/x»",
            "«https://[2001:db8::1]:8443/x»",
            "«https://x.org/512-34-6789»",
        ],
    );
    finds(
        "ip",
        &[
            "from «10.20.30.40».",
            "from «10.20.30.40»:8080",
            "from «2001:db8::8a2e:370:7334»,",
            "«::1»",
            "«fe80::1»",
            "«::ffff:10.1.2.3»",
        ],
    );
    passes(&[
        "doctor @ the clinic",
        "a@b",
        "@home",
        "std::fmt::Display",
        "at 10:30:45",
        "note: see below",
        "version 1.2.3.4",
        "1.2.3.4.5",
        "256.1.1.1",
        "://x",
        "face::book",
    ]);
}

#[test]
fn a_date_is_found_when_it_says_more_than_its_year() {
    finds(
        "date",
        &[
            "on «2024-03-12»,",
            "«2024-03-12T10:30:00Z».",
            "«2024/3/12»",
            "«2024-03»",
            "«3/12/2024»",
            "«03-12-2024»",
            "«3.12.2024»",
            "«25/12/2024»",
            "«3/12/24»",
            "«3 / 12 / 2024»",
            "«3/2024»",
            "since «3/12»",
            "DOB «3/12»",
            "DOB: «19800312»",
            "born «03121980»",
            "discharged «20150910»",
            "«March 3, 2024»",
            "«Mar. 3rd», at noon",
            "«March 3-5, 2024»",
            "«March 2024»",
            "«MARCH 3»",
            "«Sept 9»",
            "«3 March 2024»",
            "«3rd of March», two",
            "«03-MAR-2024»",
            "«03MAR2024»",
            "«Mar '24»",
            "«May 5»",
            "«２０２４-０３-１２»",
        ],
    );
    passes(&[
        "in 2024",
        "2019-2024",
        "120/80",
        "10/12 pain",
        "rated 3/10",
        "since 1/2 tablet",
        "they may 5 times",
        "2024-13",
        "13/32/2024",
        "10:30",
        "1.2.24",
        "take 2 marbles",
        "section 3.12.1",
    ]);
}

#[test]
fn ages_from_ninety_on_and_zip_codes_are_found_where_their_surroundings_tell() {
    finds(
        "age_over_89",
        &[
            "a «92»-year-old woman",
            "a «92» year old",
            "«101» yrs old",
            "«95» y/o man",
            "«95»yo",
            "«95» y.o.",
            "age: «91»",
            "aged «90»",
            "in her late «90»s",
            "«93» years of age",
            "«94» year male",
            "She is «95».",
            "pt was «91» and frail",
        ],
    );
    finds(
        "zip",
        &[
            "New York, NY «10001»",
            "Albany, New York «12207»",
            "NY «10001-1234»",
            "zip code «60614»",
            "«60614-1234»",
        ],
    );
    passes(&[
        "89-year-old",
        "a 45 year old",
        "SpO2 92%",
        "sats in the 90s",
        "HR 95",
        "BP 120/92",
        "age 9.95",
        "She is 95% on air",
        "he was 98.6 F",
        "pt is 95 kg",
        "Patient ID 90210",
        "NY 90210",
        "CPT 99213",
        "LOINC 12345-6",
        "10001",
        "WBC 12000",
    ]);
}

#[test]
fn codes_are_found_by_their_classes_and_check_digits() {
    finds(
        "mbi",
        &["MBI «1EG4-TE5-MK73».", "«1EG4TE5MK73»", "«1eg4 te5 mk73»"],
    );
    finds(
        "npi",
        &["NPI «1234567893»", "by «1245319599».", "npi «1234-567-893»"],
    );
    finds(
        "dea",
        &["DEA «AB1234563»", "«F91234563»", "DEA: «MK 2345672»"],
    );
    finds("vin", &["VIN «1HGCM82633A004352»", "«1M8GDM9AXKP042788»"]);
    finds(
        "card",
        &[
            "card «4111 1111 1111 1111»",
            "«4111-1111-1111-1111»",
            "«378282246310005»",
            "«3782 822463 10005»",
            "«5555555555554444».",
            "«6011000990139424»",
            "«４１１１ １１１１ １１１１ １１１１»",
        ],
    );
    finds(
        "mrn",
        &[
            "chart «MRN-1234567»",
            "«MRN1234567»",
            "«MRN‑１２３４５６７»",
        ],
    );
    passes(&[
        "1SG4-TE5-MK73",
        "0EG4TE5MK73",
        "x1EG4TE5MK73",
        "NPI 1234567890",
        "AB1234564",
        "1HGCM82633A004353",
        "4111 1111 1111 1112",
        "9111111111111111",
        "accession 1234567893",
    ]);
}

#[test]
fn finds_that_overlap_become_one_under_the_name_of_the_longest() {
    let sites = [pattern("triple", "[0-9]{3}"), pattern("tail", "789 x{1,5}")];
    let detectors = Detectors::new(&sites, Wanted::ALL).expect("detectors");
    let mut finds = Vec::new();
    detectors.find("a 512-34-6789 xx.", &mut finds);
    let ssn = What::Kind(Kind::Ssn);
    assert_eq!(
        finds,
        [Find {
            what: ssn,
            span: 2..16
        }]
    );
    assert_eq!(detectors.site_name(1), Some("tail"));
}

/// Found by the fuzzer: each look frees the next date.
#[test]
fn a_text_that_never_settles_is_one_find() {
    let text = "14411=7=733 14:5$\u{1}:.\u{3}&5 .March::5/12, March::5/12, March::5/12, March::5/12, Mar, Mar 92-yea2, Mar 92-y5";
    assert_eq!(found(text), [("text", text)]);
}

#[test]
fn what_is_not_wanted_is_not_found_and_hides_nothing() {
    let text = "https://x.org/p/512-34-6789";
    let mut finds = Vec::new();
    let without = Wanted::ALL.without(What::Kind(Kind::Url));
    detectors().find_among(without, text, &mut finds);
    let ssn = What::Kind(Kind::Ssn);
    assert_eq!(
        finds,
        [Find {
            what: ssn,
            span: 16..27
        }]
    );
    detectors().find_among(Wanted::NONE, text, &mut finds);
    assert_eq!(finds, []);
    let none = Detectors::new(&[], Wanted::NONE.with(ssn)).expect("detectors");
    none.find("jane@x.org", &mut finds);
    assert_eq!(finds, []);
}

#[test]
fn a_site_pattern_is_bounded_and_named() {
    let new = |name: &str, regex: &str| Detectors::new(&[pattern(name, regex)], Wanted::ALL);
    let refused = |name: &str, regex: &str| new(name, regex).expect_err("refused");
    assert_eq!(refused("MRN", "x"), PatternError::Name("MRN".to_owned()));
    assert_eq!(refused("ssn", "x"), PatternError::Taken("ssn".to_owned()));
    let long = "x".repeat(PATTERN_BYTES_MAX + 1);
    assert_eq!(refused("a", &long), PatternError::TooLong("a".to_owned()));
    assert!(matches!(refused("a", "("), PatternError::Syntax(..)));
    assert!(matches!(refused("a", r"(x)\1"), PatternError::Syntax(..)));
    assert_eq!(
        refused("a", "x?"),
        PatternError::MatchesNothing("a".to_owned())
    );
    assert_eq!(refused("a", "x+"), PatternError::Unbounded("a".to_owned()));
    let wide = format!("x{{{}}}", MATCH_BYTES_MAX + 1);
    assert_eq!(refused("a", &wide), PatternError::Unbounded("a".to_owned()));
    assert_eq!(
        refused("a", r"\w{60}"),
        PatternError::TooBig("a".to_owned())
    );
    let many: Vec<_> = (0..=PATTERNS_MAX)
        .map(|n| pattern(&format!("p{n}"), "x"))
        .collect();
    let error = Detectors::new(&many, Wanted::ALL).expect_err("refused");
    assert_eq!(error, PatternError::TooMany(PATTERNS_MAX + 1));
    let twice = [pattern("p", "x"), pattern("p", "y")];
    let error = Detectors::new(&twice, Wanted::ALL).expect_err("refused");
    assert_eq!(error, PatternError::Taken("p".to_owned()));
    assert!(new("a", r"\bAB[0-9]{2,9}\b").is_ok());
}
