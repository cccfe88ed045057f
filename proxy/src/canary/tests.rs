//! The canary finds what it is there to find.

use super::patient::{Finding, What, examine};
use super::*;
use crate::rewrite::RewriteError;
use crate::rewrite::answer::Method;
use crate::rewrite::tests::World;
use safeguard_policy::decide::Permit;

const NOW: i64 = 1_800_000_000;

/// A workshop that fails in one way.
struct Broken<'w> {
    workshop: &'w Workshop,
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// What goes up is not sealed.
    Up,
    /// What comes down is not judged.
    Down,
    /// Only errors are not judged.
    Errors,
    /// Nothing is opened.
    Shut,
}

impl Rewriter for Broken<'_> {
    fn up(&self, text: &[u8], permit: &Permit, now_unix: i64) -> Result<Vec<u8>, RewriteError> {
        match self.how {
            How::Up => Ok(text.to_vec()),
            How::Down | How::Errors | How::Shut => self.workshop.up(text, permit, now_unix),
        }
    }

    fn down(
        &self,
        text: &[u8],
        permit: &Permit,
        method: Method,
        now_unix: i64,
    ) -> Result<Vec<u8>, RewriteError> {
        let is_error = text.windows(7).any(|word| word == b"\"error\"");
        match self.how {
            How::Down => Ok(text.to_vec()),
            How::Errors if is_error => Ok(text.to_vec()),
            How::Shut => Ok(b"{}".to_vec()),
            How::Up | How::Errors => self.workshop.down(text, permit, method, now_unix),
        }
    }
}

fn found(how: How) -> Finding {
    let world = World::new();
    let workshop = &world.workshop;
    examine(workshop, &Broken { workshop, how }, NOW).unwrap_err()
}

#[test]
fn the_canary_of_a_sound_workshop_sings_under_every_policy() {
    let own_patient = "patient: args.patient_id";
    for changes in [
        vec![("", "")],
        vec![("results: withhold", "results: reveal")],
        vec![("format: native", "format: fernet")],
        vec![("format: native", "format: jwe")],
        vec![("wrap: object", "wrap: string")],
        vec![("arguments: pass", "arguments: refuse")],
        vec![
            (
                "results: withhold, arguments: pass",
                "results: detect, arguments: detect",
            ),
            ("text: withhold  ", "text: detect  "),
        ],
        vec![(
            "phi:\n  domain",
            "phi:\n  presets: [safe-harbor@1, fhir-r4@1]\n  domain",
        )],
        vec![
            ("also: [mrn]", "also: [mrn], searchable: upper"),
            (
                "ssn: { group: identity",
                "ssn: { searchable: digits, group: identity",
            ),
        ],
        vec![
            (
                "phi:\n  domain",
                "phi:\n  bind: [patient]\n  tokens: { bind: [patient, session], lasts: 8h }\n  domain",
            ),
            ("patient: result.patients[*].patient_id", own_patient),
            ("patient: result.records[*].patient_id", own_patient),
        ],
    ] {
        let world = World::with(|text| {
            let change = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
            changes.iter().fold(text.to_owned(), change)
        });
        assert_eq!(run(&world.workshop, NOW), Ok(()), "{changes:?}");
    }
}

#[test]
fn a_value_that_goes_up_in_clear_is_a_leak() {
    let finding = found(How::Up);
    assert_eq!(
        (finding.path, finding.what, finding.role.as_str()),
        ("tools/call arguments", What::Leaked, "")
    );
}

#[test]
fn a_value_that_a_role_sees_against_its_view_is_a_leak_wherever_it_stands() {
    let finding = found(How::Down);
    assert_eq!(
        (finding.path, finding.what),
        ("tools/call result", What::Leaked)
    );
    let finding = found(How::Errors);
    assert_eq!((finding.path, finding.what), ("error", What::Leaked));
}

#[test]
fn a_value_that_is_not_shown_to_who_may_see_it_is_told() {
    let finding = found(How::Shut);
    assert_eq!(finding.what, What::Lost);
    assert!(!finding.is_leak());
}

#[test]
fn a_finding_names_the_path_the_field_and_the_role() {
    let text = found(How::Up).to_string();
    assert!(
        text.starts_with("a value would have leaked: tools/call arguments, field \""),
        "{text}"
    );
    assert!(text.ends_with("toward the MCP server"), "{text}");
}
