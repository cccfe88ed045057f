//! `phi` beside its fields: how values are sealed, what tokens are bound to, what detectors find.

use super::fields::{Fields, Named};
use super::patient_keys;
use crate::document::keys::FIELD;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Node;
use crate::field::{BinaryView, Shown, TextView, Unlisted};
use crate::finding::codes;
use crate::names::nearest;
use crate::policy::{
    Detection, FernetReading, Format, Normalize, Pattern, Phi, Storage, Tokens, Wrap,
};
use crate::settings::SwitchedOff;

/// Longest life of a token: a year, in seconds.
const LASTS_SECONDS_MAX: u32 = 365 * 24 * 3600;

pub(super) fn phi(
    section: Section<'_>,
    fields: &Fields,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Phi> {
    let unlisted = section.section("unlisted");
    let detection = detection(section, fields, report);
    let tokens = tokens(section.section("tokens"), report);
    let storage = match section.text("storage")? {
        "clear" => Storage::Clear,
        _ => Storage::Encrypted,
    };
    if storage == Storage::Clear {
        off.note(section.place_of("storage"), "sealing is switched off");
    }
    let format = match section.text("format")? {
        "fernet" => Format::Fernet,
        "jwe" => Format::Jwe,
        _ => Format::Native,
    };
    searchable(section, fields, format, storage, report);
    Some(Phi {
        domain: section.owned("domain")?,
        storage,
        format,
        wrap: match section.text("wrap")? {
            "string" => Wrap::String,
            _ => Wrap::Object,
        },
        unlisted_results: unlisted_view(unlisted.text("results")?),
        unlisted_arguments: unlisted_view(unlisted.text("arguments")?),
        text: text_view(section.text("text")?),
        binary: binary_view(section.text("binary")?),
        fernet: match section.text("fernet")? {
            "lenient" => FernetReading::Lenient,
            _ => FernetReading::Strict,
        },
        bind_patient: binds(section.items("bind"), "patient"),
        patient_keys: patient_keys::read(section),
        tokens,
        detection,
    })
}

fn unlisted_view(word: &str) -> Unlisted {
    match word {
        "reveal" | "pass" => Unlisted::Reveal,
        "detect" => Unlisted::Detect,
        _ => Unlisted::Withhold,
    }
}

pub(super) fn text_view(word: &str) -> TextView {
    match word {
        "reveal" => TextView::Reveal,
        "detect" => TextView::Detect,
        _ => TextView::Withhold,
    }
}

pub(super) fn binary_view(word: &str) -> BinaryView {
    match word {
        "reveal" => BinaryView::Reveal,
        _ => BinaryView::Withhold,
    }
}

fn binds(items: &[Node], word: &str) -> bool {
    items.iter().any(|item| item.text() == Some(word))
}

fn tokens(section: Section<'_>, report: &mut Report<'_>) -> Tokens {
    let written = section.node_of("lasts");
    let lasts_seconds = written.and_then(Node::text).and_then(duration);
    if let Some(node) = written.filter(|_| lasts_seconds.is_none()) {
        report
            .error(
                codes::BAD_VALUE,
                node.place,
                "`phi.tokens.lasts` is no duration of at most a year",
            )
            .fix("write it as 90s, 30m, 8h or 7d");
    }
    Tokens {
        bind_patient: binds(section.items("bind"), "patient"),
        bind_session: binds(section.items("bind"), "session"),
        lasts_seconds,
    }
}

/// `90s`, `30m`, `8h`, `7d` in seconds.
pub(super) fn duration(text: &str) -> Option<u32> {
    let unit = text.chars().last()?;
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let seconds = count.checked_mul(seconds)?;
    (1..=LASTS_SECONDS_MAX)
        .contains(&seconds)
        .then_some(seconds)
}

fn detection(phi: Section<'_>, fields: &Fields, report: &mut Report<'_>) -> Detection {
    let mut detection = Detection {
        built_in: Detection::WORDS
            .iter()
            .map(|word| by_name(word, fields))
            .collect(),
        patterns: patterns(phi, fields, report),
    };
    for entry in phi.named("detect") {
        let Some(shown) = shown(&entry.value, fields, report) else {
            continue;
        };
        match slot(&mut detection, &entry.name) {
            Some(place) => *place = shown,
            None => {
                report
                    .error(
                        codes::BAD_VALUE,
                        entry.place,
                        format!("`phi.detect.{}` is no detector", entry.name),
                    )
                    .meant(nearest(&entry.name, Detection::WORDS))
                    .fix(format!(
                        "the detectors are {}, and those of phi.patterns",
                        Detection::WORDS.join(", ")
                    ));
            }
        }
    }
    detection
}

/// Where a detector's view is kept.
fn slot<'d>(detection: &'d mut Detection, name: &str) -> Option<&'d mut Shown> {
    let built_in = Detection::WORDS.iter().position(|word| *word == name);
    if let Some(place) = built_in {
        return detection.built_in.get_mut(place);
    }
    let own = detection.patterns.iter_mut().find(|own| own.name == name);
    own.map(|own| &mut own.shown)
}

/// A detector whose name is a field's shows its finds as that field.
fn by_name(word: &str, fields: &Fields) -> Shown {
    match fields.resolve(word) {
        Some(Named::Field(id)) => Shown::As(id),
        Some(Named::Group(_)) | None => fields.aliased(word).map_or(Shown::Not, Shown::As),
    }
}

fn shown(node: &Node, fields: &Fields, report: &mut Report<'_>) -> Option<Shown> {
    match node.text()? {
        "withhold" => Some(Shown::Not),
        "reveal" => Some(Shown::Plainly),
        name => match by_name(name, fields) {
            Shown::As(id) => Some(Shown::As(id)),
            Shown::Plainly | Shown::Not => {
                report
                    .error(
                        codes::UNDEFINED_FIELD,
                        node.place,
                        format!("`{}` is no field", node.shown()),
                    )
                    .meant(fields.suggest(node.shown()))
                    .fix("write a field's name, withhold or reveal");
                None
            }
        },
    }
}

fn patterns(phi: Section<'_>, fields: &Fields, report: &mut Report<'_>) -> Vec<Pattern> {
    let entries = phi.named("patterns");
    if entries.len() > Detection::PATTERNS_MAX {
        let message = format!("`phi.patterns` has more than {}", Detection::PATTERNS_MAX);
        report.error(codes::BAD_VALUE, phi.place_of("patterns"), message);
    }
    let mut patterns = Vec::new();
    for entry in entries.iter().take(Detection::PATTERNS_MAX) {
        let Some(expression) = entry.value.text() else {
            continue;
        };
        if Detection::WORDS.contains(&entry.name.as_str()) {
            report
                .error(
                    codes::NAME_CLASH,
                    entry.place,
                    format!("`phi.patterns.{}` is a detector's own name", entry.name),
                )
                .fix("give the pattern another name");
        }
        match usable(expression) {
            Ok(()) => patterns.push(Pattern {
                name: entry.name.clone(),
                expression: expression.to_owned(),
                shown: by_name(&entry.name, fields),
            }),
            Err(why) => {
                report
                    .error(
                        codes::BAD_VALUE,
                        entry.value.place,
                        format!("`phi.patterns.{}` {why}", entry.name),
                    )
                    .fix("write a regular expression without look-around or back-references, as in MRN-[0-9]{7}");
            }
        }
    }
    patterns
}

/// Whether a pattern compiles within bounds and finds no empty text everywhere.
fn usable(expression: &str) -> Result<(), &'static str> {
    if expression.len() > Detection::PATTERN_BYTES_MAX {
        return Err("is too long");
    }
    let pattern = regex_lite::Regex::new(expression).map_err(|_| "is no regular expression")?;
    if pattern.is_match("") {
        return Err("matches nothing at all, everywhere");
    }
    Ok(())
}

/// A searchable field needs a form that is the same each time.
fn searchable(
    phi: Section<'_>,
    fields: &Fields,
    format: Format,
    storage: Storage,
    report: &mut Report<'_>,
) {
    for (entry, how) in phi.named("fields").iter().zip(&fields.searchable) {
        if how.is_none() {
            continue;
        }
        let place = Section::new(&entry.value, FIELD).place_of("searchable");
        if format != Format::Native && storage == Storage::Encrypted {
            report
                .error(
                    codes::CONTRADICTION,
                    place,
                    format!(
                        "`phi.fields.{}` is searchable, which only format: native can be",
                        entry.name
                    ),
                )
                .fix("write format: native, or searchable: false");
        }
        if fields.group_of(&entry.name) == Some("clinical") {
            report
                .warning(
                    codes::EQUAL_VALUES,
                    place,
                    format!("`phi.fields.{}` is searchable: who reads the upstream's store sees which patients have equal values, and how often each is", entry.name),
                )
                .fix("make only identifiers searchable that differ from patient to patient");
        }
    }
}

/// The word of `searchable`.
pub(super) fn normalize(word: Option<&str>) -> Option<Normalize> {
    match word? {
        "true" => Some(Normalize::Exact),
        word => Normalize::parse(word),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_have_a_unit_and_a_bound() {
        assert_eq!(duration("90s"), Some(90));
        assert_eq!(duration("8h"), Some(28_800));
        assert_eq!(duration("365d"), Some(31_536_000));
        for none in ["", "8", "h", "0s", "366d", "-1h", "8 h", "99999999999s"] {
            assert_eq!(duration(none), None, "{none}");
        }
    }
}
