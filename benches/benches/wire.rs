//! JSON: what a strict scan and a splice of six PHI values cost, with and without sealing them, and what finding a
//! message's places costs; beside parsing into a tree, changing and printing it.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use safeguard_benches::messages::{DOMAIN, NOW_UNIX, PHI, long_answer, ring, update_call};
use safeguard_vault::ring::KeyRing;
use safeguard_vault::{Format, Sealer, Wrap};
use safeguard_wire::json::{Limits, Splice, Tree};
use safeguard_wire::mcp;
use serde_json::Value;
use support::CpuTime;

/// The sidecar's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What an envelope of a short value is long, so that only JSON is measured and no cipher.
const ENVELOPE: &str = r#"{"_encrypted":true,"_value":"hs1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;

/// The six names, as a compiled match: finding them shall cost both sides as little as it can.
fn is_phi(name: &str) -> bool {
    matches!(
        name,
        "ssn"
            | "date_of_birth"
            | "medical_record_number"
            | "diagnosis"
            | "medications"
            | "test_results"
    )
}

fn scan_and_splice(text: &[u8]) -> Vec<u8> {
    let tree = Tree::parse(text, &Limits::default()).expect("JSON");
    let mut splice = Splice::new(&tree);
    for value in tree.root().descendants() {
        if value.key().is_some_and(|name| is_phi(&name)) {
            splice.replace(value, ENVELOPE);
        }
    }
    splice.apply()
}

fn scan_and_seal(text: &[u8], ring: &KeyRing) -> Vec<u8> {
    let tree = Tree::parse(text, &Limits::default()).expect("JSON");
    let mut splice = Splice::new(&tree);
    let sealer = Sealer::new(ring, DOMAIN, Format::Native, Wrap::Object, NOW_UNIX);
    let mut sealer = sealer.expect("a key that seals now");
    for value in tree.root().descendants() {
        if let Some(name) = value.key().filter(|name| is_phi(name)) {
            splice
                .replace_with(value, |out| sealer.seal(&name, None, value.raw(), out))
                .expect("a sealed value");
        }
    }
    splice.apply()
}

/// Every place of the message, as the rewriting asks for them.
fn places(text: &[u8]) -> usize {
    let tree = Tree::parse(text, &Limits::default()).expect("JSON");
    let member = |name| tree.root().get(name).expect("no duplicates");
    let places = match (member("params"), member("result")) {
        (Some(params), _) => mcp::request("tools/call", params),
        (_, Some(result)) => mcp::tool_result(result),
        _ => panic!("neither request nor result"),
    };
    places.expect("no duplicates").len()
}

fn parse_and_print(text: &[u8], envelope: &Value) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(text).expect("JSON");
    replace(&mut value, envelope);
    serde_json::to_vec(&value).expect("JSON")
}

fn replace(value: &mut Value, envelope: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if is_phi(name) {
                    *member = envelope.clone();
                } else {
                    replace(member, envelope);
                }
            }
        }
        Value::Array(elements) => elements
            .iter_mut()
            .for_each(|element| replace(element, envelope)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn bench(criterion: &mut Criterion<CpuTime>) {
    let envelope: Value = serde_json::from_str(ENVELOPE).expect("JSON");
    let ring = ring();
    assert!(PHI.iter().all(|(name, _)| is_phi(name)));
    for (size, text) in [("1 KB", update_call()), ("1 MB", long_answer(1_000_000))] {
        let text = text.into_bytes();
        assert_eq!(
            serde_json::from_slice::<Value>(&scan_and_splice(&text)).expect("JSON"),
            serde_json::from_slice::<Value>(&parse_and_print(&text, &envelope)).expect("JSON"),
        );
        let mut group = criterion.benchmark_group("json");
        group.throughput(Throughput::Bytes(
            u64::try_from(text.len()).expect("a length"),
        ));
        group.bench_with_input(BenchmarkId::new("scan", size), &text, |b, text| {
            b.iter(|| {
                Tree::parse(black_box(text), &Limits::default())
                    .expect("JSON")
                    .node_count()
            });
        });
        group.bench_with_input(BenchmarkId::new("scan + splice", size), &text, |b, text| {
            b.iter(|| scan_and_splice(black_box(text)));
        });
        group.bench_with_input(
            BenchmarkId::new("scan + splice, sealed", size),
            &text,
            |b, text| {
                b.iter(|| scan_and_seal(black_box(text), &ring));
            },
        );
        group.bench_with_input(BenchmarkId::new("scan + places", size), &text, |b, text| {
            b.iter(|| places(black_box(text)));
        });
        group.bench_with_input(
            BenchmarkId::new("serde_json::Value, changed and printed", size),
            &text,
            |b, text| {
                b.iter(|| parse_and_print(black_box(text), &envelope));
            },
        );
        group.finish();
    }
}

criterion_group! { name = benches; config = support::short(); targets = bench }
criterion_main!(benches);
