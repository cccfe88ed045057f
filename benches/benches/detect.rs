//! The detectors on prose without an identifier, on notes dense with numbers that are none, on notes with one in each line, and on
//! prose outside ASCII, beside a `regex` set of the same forms (without validators, context or folding).

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use regex::{Regex, RegexSet};
use safeguard_wire::detect::{Detectors, Wanted};
use support::CpuTime;

/// The sidecar's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a text is, in bytes, about.
const SIZE: usize = 256 * 1024;

const PROSE: &str = "The patient was seen in clinic with her daughter, who reports that the cough has improved since the last visit. \
    No fever, no weight loss; sleeping well. Lungs clear, heart regular. Plan: continue the inhaler, return if worse. ";
const VALUES: &str = "BP 120/80, HR 72, RR 16, SpO2 98% on RA. Na 138, K 4.1, Cl 102, CO2 26, BUN 14, Cr 0.9. WBC 7.2, Hgb 13.5, \
    platelets 250. Metformin 500 mg 2 times a day; pain 3/10. ICD-10 E11.9. Follow up in 6 weeks. ";
const FINDS: &str = "Jane, SSN 512-34-6789, called from (212) 555-0147 on 3/12/2024 about the results; write to jane@example.org. \
    She is a 92-year-old woman of Albany, NY 12207 with heart failure, seen by the team for her cough and doing well. ";
const FRENCH: &str = "La patiente a été vue à la clinique avec sa fille, qui rapporte que la toux s'est améliorée depuis la dernière \
    visite. Pas de fièvre, pas de perte de poids ; le sommeil est réparateur. Poumons dégagés, cœur régulier. ";

/// The forms alone, as one would write them.
const FORMS: [&str; 12] = [
    r"\b[0-9]{3}[- .][0-9]{2}[- .][0-9]{4}\b",
    r"(?:\+?1[- .]?)?\(?[2-9][0-9]{2}\)?[- .]?[2-9][0-9]{2}[- .]?[0-9]{4}\b",
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
    r"(?:[a-z][a-z0-9+.-]*://|www\.)[^\s<>]+",
    r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7}",
    r"\b(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4})\b",
    r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.? [0-9]{1,2}",
    r"\b(?:9[0-9]|1[0-2][0-9])[- ]year",
    r"\b[A-Z]{2} [0-9]{5}(?:-[0-9]{4})?\b",
    r"\b[1-9][A-Z][A-Z0-9][0-9]-?[A-Z][A-Z0-9][0-9]-?[A-Z]{2}[0-9]{2}\b",
    r"\b[A-Z][A-Z9][0-9]{7}\b|\b[12][0-9]{9}\b",
    r"\b[A-HJ-NPR-Z0-9]{17}\b|\b[0-9]{4}[- ]?[0-9]{4}[- ]?[0-9]{4}[- ]?[0-9]{4}\b",
];

fn bench(criterion: &mut Criterion<CpuTime>) {
    let patterns = [("mrn".to_owned(), "MRN-?[0-9]{7}".to_owned())];
    let detectors = Detectors::new(&[], Wanted::ALL).expect("detectors");
    let with_pattern = Detectors::new(&patterns, Wanted::ALL).expect("detectors");
    let set = RegexSet::new(FORMS).expect("expressions");
    let all: Vec<Regex> = FORMS
        .iter()
        .map(|form| Regex::new(form).expect("an expression"))
        .collect();
    let mut finds = Vec::new();
    for (name, piece) in [
        ("prose", PROSE),
        ("values", VALUES),
        ("finds", FINDS),
        ("French", FRENCH),
    ] {
        let text = piece.repeat(SIZE / piece.len());
        let mut group = criterion.benchmark_group("detect");
        group.throughput(Throughput::Bytes(
            u64::try_from(text.len()).expect("a length"),
        ));
        group.bench_with_input(BenchmarkId::new("detectors", name), &text, |b, text| {
            b.iter(|| {
                detectors.find(black_box(text), &mut finds);
                finds.len()
            });
        });
        group.bench_with_input(
            BenchmarkId::new("with a pattern", name),
            &text,
            |b, text| {
                b.iter(|| {
                    with_pattern.find(black_box(text), &mut finds);
                    finds.len()
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::new("RegexSet, whether", name),
            &text,
            |b, text| {
                b.iter(|| set.matches(black_box(text)).len());
            },
        );
        group.bench_with_input(
            BenchmarkId::new("Regex each, where", name),
            &text,
            |b, text| {
                b.iter(|| {
                    all.iter()
                        .map(|one| one.find_iter(black_box(text)).count())
                        .sum::<usize>()
                });
            },
        );
        group.finish();
    }
}

criterion_group! { name = benches; config = support::short(); targets = bench }
criterion_main!(benches);
