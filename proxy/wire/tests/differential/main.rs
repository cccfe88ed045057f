//! The scanner against `serde_json` and a live CPython, on documents by the hundred thousand: what is accepted, what
//! is refused, where each value stands, what each text says, and that an edit changes nothing outside its span.
//!
//! `SAFEGUARD_DOCUMENTS` says how many (200,000 unless said otherwise; `tests/run` takes a million). The known
//! differences, and no others:
//!
//! | | we | `serde_json::Value` | Python's `json` |
//! |---|---|---|---|
//! | lone surrogates (`"\ud800"`) | pass, but are no text | refused | pass, as surrogates |
//! | numbers beyond `f64` (`1e999`) | pass as text | refused | pass, as `inf` |
//! | duplicate members | all kept | last one | last one |
//! | `NaN`, `Infinity` | refused | refused | pass unless told otherwise: it is told |
//! | nesting | 128 levels | 127 | as deep as the stack |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test: its helpers may fail and say why"
)]

mod generator;
mod model;
mod python;
mod splicing;

use generator::documents;

/// Always the same, so that a failure comes back.
const SEED: u64 = 4;

/// How many documents to compare.
fn count() -> usize {
    std::env::var("SAFEGUARD_DOCUMENTS").map_or(200_000, |count| count.parse().unwrap())
}

/// A seed that changes from run to run, so that over time ever new documents are compared; shown on failure.
fn seed() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    since.as_nanos() as u64
}

#[test]
fn documents_are_read_as_serde_json_reads_them() {
    for (seed, count) in [(SEED, count() / 2), (seed(), count() / 2)] {
        let mut accepted = 0;
        for text in documents(seed, count) {
            accepted += usize::from(model::agrees(&text).unwrap_or_else(|difference| {
                panic!(
                    "seed {seed}: {difference}: {:?}",
                    String::from_utf8_lossy(&text)
                )
            }));
        }
        // Both sides of the grammar were met.
        assert!(
            accepted > count / 2 && accepted < count,
            "{accepted} of {count}"
        );
    }
}

#[test]
fn documents_are_read_as_python_reads_them() {
    let Some(python) = python::interpreter() else {
        return;
    };
    for (seed, count) in [(SEED, count() / 2), (seed(), count() / 2)] {
        let judged = python::judge(&python, documents(seed, count));
        assert_eq!(judged, format!("{count} agree\n"), "seed {seed}");
    }
}

#[test]
fn edits_change_nothing_outside_their_spans() {
    for (seed, count) in [(SEED, count() / 4), (seed(), count() / 4)] {
        splicing::hold(seed, count);
    }
}
