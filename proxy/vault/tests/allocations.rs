//! What happens for every PHI field allocates nothing once its buffers have grown.

#![expect(clippy::unwrap_used, reason = "a test")]

use allocation_counter::measure;
use safeguard_vault::mac::RecordMac;
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_vault::search::{Normalize, Searcher};
use safeguard_vault::{Format, KeyMaterial, OpenRoom, Opener, Sealer, Wrap, canonical};
use std::sync::Arc;

/// Fields of the shapes that records have: strings, a list, objects, escapes, a number.
const FIELDS: [(&str, &str); 6] = [
    ("ssn", r#""943-71-5820""#),
    (
        "diagnosis",
        r#"["E11.65 type 2 diabetes","I10 hypertension"]"#,
    ),
    (
        "medications",
        r#"[{"name":"metformin","dose":"850 mg"},{"name":"lisinopril","dose":"10 mg"}]"#,
    ),
    (
        "test_results",
        r#"{"hba1c":8.4,"ldl":131,"note":"n\u00e9\n"}"#,
    ),
    ("note", r#""a \"quoted\" é""#),
    ("age", "93"),
];

fn ring() -> Arc<KeyRing> {
    let key = RingKey {
        id: "k".to_owned(),
        from_unix: 0,
        key: KeyMaterial::from_raw(&[7; 32]).unwrap(),
    };
    Arc::new(KeyRing::new(vec![key]).unwrap())
}

/// Allocations of `work` when it is done for the second time.
fn allocations(mut work: impl FnMut()) -> u64 {
    work();
    measure(work).count_total
}

#[test]
fn sealing_a_field_allocates_nothing() {
    let ring = ring();
    for wrap in [Wrap::Object, Wrap::String] {
        let mut sealer = Sealer::new(&ring, "clinic", Format::Native, wrap, 1).unwrap();
        let mut out = Vec::with_capacity(4096);
        let count = allocations(|| {
            out.clear();
            for (field, json) in FIELDS {
                sealer
                    .seal(field, Some("p-1"), json.as_bytes(), &mut out)
                    .unwrap();
            }
        });
        assert_eq!(count, 0, "{wrap:?}");
    }
}

#[test]
fn opening_a_field_in_a_room_that_is_kept_allocates_nothing() {
    let ring = ring();
    let mut sealer = Sealer::new(&ring, "clinic", Format::Native, Wrap::String, 1).unwrap();
    let seal = |(field, json): (&'static str, &'static str)| {
        let mut out = Vec::new();
        sealer.seal(field, None, json.as_bytes(), &mut out).unwrap();
        (
            field,
            json,
            String::from_utf8(out).unwrap().replace('"', ""),
        )
    };
    let tokens: Vec<_> = FIELDS.into_iter().map(seal).collect();
    let (opener, mut room) = (Opener::new(ring, "clinic"), OpenRoom::default());
    let count = allocations(|| {
        for (field, json, token) in &tokens {
            let opened = opener.open_in(token, field, None, &mut room).unwrap();
            assert_eq!(opened, *json);
        }
    });
    assert_eq!(count, 0);
    let (field, _, token) = tokens.first().unwrap();
    let kept = allocations(|| drop(opener.open(token, field, None).unwrap()));
    assert!(kept <= 2, "the value and what it is bound to: {kept}");
}

#[test]
fn sealing_a_searchable_field_allocates_nothing() {
    let searcher = Searcher::new(ring(), "clinic");
    let mut out = Vec::with_capacity(4096);
    let count = allocations(|| {
        out.clear();
        for normalize in [Normalize::Exact, Normalize::Digits, Normalize::Upper] {
            searcher
                .seal_into(
                    "ssn",
                    br#""943-71-5820""#,
                    normalize,
                    Wrap::String,
                    &mut out,
                )
                .unwrap();
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_canonical_form_and_its_mac_allocate_what_they_return() {
    let record = format!(
        "{{{}}}",
        FIELDS
            .map(|(name, json)| format!("\"{name}\":{json}"))
            .join(",")
    );
    let mac = RecordMac::new(b"key");
    let count = allocations(|| {
        let form = canonical::canonicalize(record.as_bytes()).unwrap();
        assert!(mac.verify(&form, &mac.hex(&form)));
    });
    assert_eq!(count, 2, "the form and the digits");
}
