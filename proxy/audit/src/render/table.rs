//! The table of `docs/audit-formats.md`, printed from [`codes`]. With `UPDATE_DOCS` in the environment the test writes it.

use super::codes::{self, Atna, Ocsf, Subtype};
use super::facts::Facts;
use super::tests::recorded;
use crate::catalogue::EventName;
use crate::event::{Event, Outcome};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit-formats.md");
const MARKS: [&str; 2] = ["<!-- events -->\n", "<!-- /events -->"];

fn ocsf(code: Ocsf) -> String {
    format!(
        "{} {}: {} {}",
        code.class,
        codes::class_name(code.class),
        code.activity,
        code.caption
    )
}

fn atna(atna: &Atna) -> (String, String) {
    let kind = atna
        .kind
        .map_or_else(String::new, |kind| format!(" / {}", kind.0));
    let dicom = format!("{} {}{kind}, {}", atna.id.0, atna.id.1, atna.action);
    let fhir = match atna.subtype {
        Subtype::Dicom => "as DICOM".to_owned(),
        Subtype::Own => "as DICOM (own)".to_owned(),
        Subtype::Rest(code) => format!("rest / {code}"),
        Subtype::Role => format!("{} / AuthZ-Role", atna.id.0),
        Subtype::Lifecycle(code) => format!("{} / {code}", atna.id.0),
    };
    (dicom, fhir)
}

fn table() -> String {
    let mut text = "| event | OCSF 1.8 | OCSF 1.9, where it differs | DICOM: id / type, action | FHIR: type / subtype |\n|---|---|---|---|---|\n".to_owned();
    for name in EventName::ALL.iter().copied() {
        let record = recorded(&Event::new(name, Outcome::Success));
        let facts = Facts::of(&record);
        let (old, new) = (codes::ocsf(&facts, false), codes::ocsf(&facts, true));
        let new = if old == new { String::new() } else { ocsf(new) };
        let (dicom, fhir) = atna(&codes::atna(&facts));
        text += &format!(
            "| `{}` | {} | {new} | {dicom} | {fhir} |\n",
            name.as_str(),
            ocsf(old)
        );
    }
    text
}

#[test]
fn the_document_has_the_table_of_every_event() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(MARKS[0]).unwrap();
    let (is, after) = rest.split_once(MARKS[1]).unwrap();
    let ought = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = [before, MARKS[0], &ought, MARKS[1], after].concat();
        std::fs::write(DOCUMENT, text).unwrap();
    } else {
        assert_eq!(is, ought, "run the test with UPDATE_DOCS=1");
    }
}
