//! Precision and recall of each detector on the synthetic corpus, held against floors and against the document.

use std::fmt::Write as _;

use super::corpus::corpus;
use super::{Detectors, Find, Kind, Wanted, What};

/// The corpus of the document.
const SEED: u64 = 20_241_123;
/// Labelled sentences of each kind.
const EACH: usize = 1000;

/// What each detector must reach, in hundredths: recall, precision.
const FLOORS: [(Kind, usize, usize); 14] = [
    (Kind::Ssn, 98, 85),
    (Kind::Phone, 90, 85),
    (Kind::Fax, 99, 99),
    (Kind::Email, 94, 99),
    (Kind::Url, 99, 99),
    (Kind::Ip, 99, 84),
    (Kind::Date, 92, 80),
    (Kind::AgeOver89, 93, 99),
    (Kind::Zip, 93, 82),
    (Kind::Mbi, 99, 85),
    (Kind::Npi, 96, 97),
    (Kind::Dea, 98, 97),
    (Kind::Vin, 99, 99),
    (Kind::Card, 99, 97),
];

#[derive(Clone, Copy, Default)]
struct Count {
    labelled: usize,
    /// Labels that one find of their kind covers wholly.
    found: usize,
    /// Labels of which no byte is left outside finds, of whatever kind.
    covered: usize,
    /// Finds that touch a label of their kind.
    right: usize,
    /// Finds that touch none.
    wrong: usize,
}

fn measured() -> [Count; 14] {
    let detectors = Detectors::new(&[], Wanted::ALL).expect("detectors");
    let mut counts = [Count::default(); 14];
    let mut finds = Vec::new();
    for sentence in corpus(SEED, EACH) {
        detectors.find(&sentence.text, &mut finds);
        if let Some((kind, span)) = &sentence.label {
            let count = &mut counts[*kind as usize];
            let whole = |find: &&Find| find.span.start <= span.start && find.span.end >= span.end;
            let cover = finds.iter().find(whole);
            count.labelled += 1;
            count.covered += usize::from(cover.is_some());
            count.found += usize::from(cover.is_some_and(|find| find.what == What::Kind(*kind)));
        }
        for find in &finds {
            let What::Kind(kind) = find.what else {
                continue;
            };
            let right = sentence.label.as_ref().is_some_and(|(label, span)| {
                *label == kind && find.span.start < span.end && find.span.end > span.start
            });
            let count = &mut counts[kind as usize];
            count.right += usize::from(right);
            count.wrong += usize::from(!right);
        }
    }
    counts
}

/// Hundredths, rounded down so that nothing is claimed that isn't there.
fn hundredths(part: usize, whole: usize) -> usize {
    (100 * part).checked_div(whole).unwrap_or(100)
}

fn table(counts: &[Count; 14]) -> String {
    let mut table = String::from(
        "| detector | labelled | found | recall % (floor) | hidden by any find % | false finds | precision % (floor) |\n|---|---|---|---|---|---|---|\n",
    );
    for (kind, recall, precision) in FLOORS {
        let count = counts[kind as usize];
        writeln!(
            table,
            "| `{}` | {} | {} | {} ({recall}) | {} | {} | {} ({precision}) |",
            kind.word(),
            count.labelled,
            count.found,
            hundredths(count.found, count.labelled),
            hundredths(count.covered, count.labelled),
            count.wrong,
            hundredths(count.right, count.right + count.wrong),
        )
        .expect("a string");
    }
    table
}

#[test]
fn every_detector_reaches_its_floors_on_the_corpus() {
    let counts = measured();
    let table = table(&counts);
    for (kind, recall, precision) in FLOORS {
        let count = counts[kind as usize];
        assert!(
            hundredths(count.found, count.labelled) >= recall
                && hundredths(count.right, count.right + count.wrong) >= precision,
            "{}\n{table}",
            kind.word()
        );
    }
}

#[test]
fn the_document_shows_what_is_measured() {
    let document = include_str!("../../../../docs/detection.md");
    let table = table(&measured());
    assert!(
        document.contains(&table),
        "docs/detection.md must hold this table:\n{table}"
    );
}
