//! The vault: one field and a body of six sealed and opened, the other formats, and the canonical form with its HMAC,
//! each group beside what `serde_json::Value` takes for the same text.

mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use safeguard_benches::messages::{DOMAIN, NOW_UNIX, PHI, integrity, ring};
use safeguard_vault::canonical::canonicalize;
use safeguard_vault::mac::{RecordMac, RecordMacRing, RecordV2, RingMac};
use safeguard_vault::ring::KeyRing;
use safeguard_vault::search::{Normalize, Searcher};
use safeguard_vault::{Format, OpenRoom, Opener, Sealer, Wrap};
use serde_json::Value;
use support::CpuTime;

/// The sidecar's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bodies whose derived keys are more than an opener keeps.
const BODIES: usize = 4096;

fn sealer(ring: &KeyRing) -> Sealer<'_> {
    Sealer::new(ring, DOMAIN, Format::Native, Wrap::String, NOW_UNIX).expect("a key that seals now")
}

fn seal_body(ring: &KeyRing) -> Vec<String> {
    let mut sealer = sealer(ring);
    let mut seal = |name: &str, json: &str| {
        let mut out = Vec::with_capacity(256);
        sealer
            .seal(name, None, json.as_bytes(), &mut out)
            .expect("sealed");
        String::from_utf8(out)
            .expect("JSON")
            .trim_matches('"')
            .to_owned()
    };
    PHI.iter().map(|(name, json)| seal(name, json)).collect()
}

fn open_body(opener: &Opener, tokens: &[String]) -> usize {
    PHI.iter()
        .zip(tokens)
        .map(|((name, _), token)| {
            opener
                .open(token, name, None)
                .expect("opened")
                .expose()
                .len()
        })
        .sum()
}

fn fields(criterion: &mut Criterion<CpuTime>) {
    let ring = ring();
    let mut group = criterion.benchmark_group("vault");
    for (at, shape) in [(2, "a field"), (4, "a list of objects")] {
        let (name, json) = PHI[at];
        let mut out = Vec::with_capacity(512);
        let mut open_sealer = sealer(&ring);
        let mut used = 0_u32;
        group.bench_function(format!("seal {shape}"), |b| {
            b.iter(|| {
                // A sealer is for one body and counts its values: renewed long before its bound, which adds nothing visible.
                used += 1;
                if used.is_multiple_of(4096) {
                    open_sealer = sealer(&ring);
                }
                out.clear();
                open_sealer
                    .seal(name, None, black_box(json.as_bytes()), &mut out)
                    .expect("sealed");
            });
        });
        group.bench_function(format!("serde_json::Value of {shape}"), |b| {
            b.iter(|| serde_json::from_str::<Value>(black_box(json)).expect("JSON"));
        });
    }
    let (name, _) = PHI[2];
    let opener = Opener::new(Arc::clone(&ring), DOMAIN);
    let tokens = seal_body(&ring);
    group.bench_function("open a field, key known", |b| {
        b.iter(|| opener.open(black_box(&tokens[2]), name, None).is_ok());
    });
    let mut room = OpenRoom::default();
    group.bench_function("open a field, key known, in a room", |b| {
        b.iter(|| {
            let opened = opener.open_in(black_box(&tokens[2]), name, None, &mut room);
            opened.expect("opened").len()
        });
    });
    group.bench_function("seal a body of six", |b| {
        b.iter(|| seal_body(black_box(&ring)).len());
    });
    group.bench_function("open a body of six, key known", |b| {
        b.iter(|| open_body(&opener, black_box(&tokens)));
    });
    let bodies: Vec<Vec<String>> = (0..BODIES).map(|_| seal_body(&ring)).collect();
    let mut turn = bodies.iter().cycle();
    group.bench_function("open a body of six, key new", |b| {
        b.iter(|| open_body(&opener, black_box(turn.next().expect("a body"))));
    });
    group.finish();
}

/// The other formats, for one field.
fn formats(criterion: &mut Criterion<CpuTime>) {
    let ring = ring();
    let mut group = criterion.benchmark_group("formats, a field");
    let (name, json) = PHI[2];
    let opener = Opener::new(Arc::clone(&ring), DOMAIN);
    let mut out = Vec::with_capacity(1024);
    for (format, word) in [(Format::Fernet, "Fernet"), (Format::Jwe, "JWE")] {
        let mut sealer =
            Sealer::new(&ring, DOMAIN, format, Wrap::String, NOW_UNIX).expect("a key that seals");
        group.bench_function(format!("seal as {word}"), |b| {
            b.iter(|| {
                out.clear();
                sealer
                    .seal(name, None, black_box(json.as_bytes()), &mut out)
                    .expect("sealed");
            });
        });
        let token = std::str::from_utf8(&out).expect("ASCII").trim_matches('"');
        group.bench_function(format!("open {word}"), |b| {
            b.iter(|| opener.open(black_box(token), name, None).is_ok());
        });
    }
    let searcher = Searcher::new(Arc::clone(&ring), DOMAIN);
    let seal = |out: &mut Vec<u8>| {
        out.clear();
        searcher
            .seal_into(
                name,
                black_box(json.as_bytes()),
                Normalize::Upper,
                Wrap::String,
                out,
            )
            .expect("sealed");
    };
    group.bench_function("seal searchably", |b| b.iter(|| seal(&mut out)));
    let token = std::str::from_utf8(&out).expect("ASCII").trim_matches('"');
    group.bench_function("open a searchable value", |b| {
        b.iter(|| opener.open(black_box(token), name, None).is_ok());
    });
    group.finish();
}

/// A record of 500 bytes.
const RECORD: &str = r#"{"ssn":"943-71-5820","date_of_birth":"1957-03-28","medical_record_number":"MRN-40718265","diagnosis":["E11.65 type 2 diabetes","I10 hypertension"],"medications":[{"name":"metformin","dose":"850 mg"},{"name":"lisinopril","dose":"10 mg"}],"test_results":{"hba1c":8.4,"ldl":131,"egfr":"74"},"department":"cardiology","status":"active","ward":"4 North","bed":12,"admitted":"2026-11-20T08:15:00","plan":"plan-7f3a","tags":["follow-up","telemetry","diet"],"schema":"clinic.record.v3","attending":"pr-04"}"#;

/// Sorted by a tree, written without Python's spaces: less than the canonical form, to stand beside it.
fn sorted_tree(json: &str) -> String {
    let value: BTreeMap<String, Value> = serde_json::from_str(json).expect("JSON");
    serde_json::to_string(&value).expect("JSON")
}

fn records(criterion: &mut Criterion<CpuTime>) {
    let mac = integrity();
    let canonical = canonicalize(RECORD.as_bytes()).expect("a canonical form");
    let mut group = criterion.benchmark_group("integrity, 500 B");
    group.bench_function("canonical form", |b| {
        b.iter(|| canonicalize(black_box(RECORD.as_bytes())).expect("a canonical form"));
    });
    group.bench_function("HMAC-SHA256", |b| b.iter(|| mac.hex(black_box(&canonical))));
    group.bench_function("canonical form + HMAC", |b| {
        b.iter(|| mac.hex(&canonicalize(black_box(RECORD.as_bytes())).expect("a canonical form")));
    });
    let macs = RecordMacRing::new(vec![RingMac {
        id: "bench".to_owned(),
        from_unix: 0,
        mac: RecordMac::new(b"a key of the bench, nothing else"),
    }]);
    group.bench_function("canonical form + second version's HMAC", |b| {
        b.iter(|| {
            let record = RecordV2 {
                domain: DOMAIN,
                patient: Some("p-000123"),
                version: 7,
                created_by: "pr-04",
                created_at: "2026-11-20T08:15:00.000000",
                data: &canonicalize(black_box(RECORD.as_bytes())).expect("a canonical form"),
            };
            macs.seal_v2(&record, NOW_UNIX)
        });
    });
    group.bench_function("serde_json::Value", |b| {
        b.iter(|| serde_json::from_str::<Value>(black_box(RECORD)).expect("JSON"));
    });
    group.bench_function("serde_json, sorted by BTreeMap and printed", |b| {
        b.iter(|| sorted_tree(black_box(RECORD)));
    });
    group.finish();
}

criterion_group! { name = benches; config = support::short(); targets = fields, formats, records }
criterion_main!(benches);
