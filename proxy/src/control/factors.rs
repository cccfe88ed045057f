//! An administrator invites people to enrol a second factor, looks at who did, and takes enrolments away.

use std::fmt::Write as _;

use safeguard_audit::{Event, EventName, Outcome, Subject};
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::clock;
use crate::factor::Factors;
use crate::factor::record::Record;
use crate::factor::store::PersonId;
use crate::sidecar::Sidecar;

/// Bytes of people that one answer shows: even if JSON writes each of them as two, it fits into a line of the socket's.
const LISTED_BYTES_MAX: usize = 7 * 1024;
/// Characters of a subject or an issuer that are shown.
const NAME_CHARS_MAX: usize = 96;
/// The longest subject, in bytes: a token's has no more.
const SUBJECT_BYTES_MAX: usize = 255;
/// The shortest and the longest life of an invitation, in seconds.
const VALID_SECONDS: std::ops::RangeInclusive<u32> = 60..=604_800;

const OFF: &str =
    "authentication.mfa.enrolment is not configured: second factors are not verified here";

/// Whose second factors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whose {
    /// The subject, as tokens name it.
    pub subject: String,
    /// Its issuer; none where there is but one.
    #[serde(default)]
    pub issuer: Option<String>,
}

/// Somebody of whom the sidecar takes tokens.
struct Known {
    issuer: String,
    subject: String,
}

impl Whose {
    fn known(&self, sidecar: &Sidecar) -> Result<Known, String> {
        let issuers = sidecar.authenticator.issuers();
        let issuer = match (&self.issuer, issuers.as_slice()) {
            (Some(issuer), known) if known.contains(issuer) => issuer.clone(),
            (None, [only]) => only.clone(),
            (_, known) => return Err(format!("say whose issuer, one of: {}", known.join(" "))),
        };
        let subject = self.subject.clone();
        let is_subject = (1..=SUBJECT_BYTES_MAX).contains(&subject.len())
            && !subject.chars().any(char::is_control);
        match is_subject {
            true => Ok(Known { issuer, subject }),
            false => Err("a subject has 1 to 255 bytes and no control characters".to_owned()),
        }
    }
}

impl Known {
    fn person(&self) -> PersonId {
        PersonId::new(&self.issuer, &self.subject)
    }

    fn event(&self, reason: &'static str, by: Subject<'static>) -> Event<'static> {
        let mut event = Event::new(EventName::ConfigurationChange, Outcome::Success)
            .reason(reason)
            .detail("of_subject", self.subject.clone())
            .detail("of_issuer", self.issuer.clone());
        event.subject = Some(by);
        event
    }
}

/// Opens an invitation; the answer is the link, which is shown this once.
pub(super) async fn invite(
    sidecar: &Sidecar,
    whose: &Whose,
    valid_seconds: u32,
    by: Subject<'static>,
) -> Answer {
    let (factors, known) = match (&sidecar.factors, whose.known(sidecar)) {
        (None, _) => return Answer::refused(OFF),
        (_, Err(why)) => return Answer::refused(why),
        (Some(factors), Ok(known)) => (factors, known),
    };
    if !VALID_SECONDS.contains(&valid_seconds) {
        return Answer::refused("an invitation is valid for 60 to 604800 seconds");
    }
    let until = clock::now_unix().saturating_add(i64::from(valid_seconds));
    let person = known.person();
    let opened = factors.with_record(person.clone(), move |record| record.invite(until));
    match opened.await {
        Ok(Some(secret)) => {
            let event = known.event("second_factor_invited", by);
            sidecar
                .recorder
                .send(event.detail("valid_seconds", i64::from(valid_seconds)));
            let url = factors.invitation_url(&person, &secret);
            Answer::with_text(format!("{}\n", *url))
        }
        Ok(None) => Answer::refused("there is no randomness now"),
        Err(why) => Answer::refused(why.to_string()),
    }
}

/// Takes away all that a person enrolled, and what was proved with it.
pub(super) async fn remove(sidecar: &Sidecar, whose: &Whose, by: Subject<'static>) -> Answer {
    let (factors, known) = match (&sidecar.factors, whose.known(sidecar)) {
        (None, _) => return Answer::refused(OFF),
        (_, Err(why)) => return Answer::refused(why),
        (Some(factors), Ok(known)) => (factors, known),
    };
    match factors.with_record(known.person(), Record::clear).await {
        Ok(true) => {}
        Ok(false) => return Answer::refused("nothing is enrolled, and nobody is invited"),
        Err(why) => return Answer::refused(why.to_string()),
    }
    factors.forget(&known.issuer, &known.subject);
    sidecar
        .recorder
        .send(known.event("second_factor_removed", by));
    Answer::with_text("removed\n".to_owned())
}

/// Who enrolled what, as a table; one subject's where one is named.
pub(super) async fn list(
    sidecar: &Sidecar,
    subject: Option<String>,
    by: Subject<'static>,
) -> Answer {
    let Some(factors) = &sidecar.factors else {
        return Answer::refused(OFF);
    };
    let rows = match rows(factors, subject).await {
        Ok(rows) => rows,
        Err(why) => return Answer::refused(why),
    };
    let mut event = Event::new(EventName::AuditLogAccessed, Outcome::Success)
        .reason("second_factors_listed")
        .detail("records", i64::try_from(rows.len()).unwrap_or(i64::MAX));
    event.subject = Some(by);
    sidecar.recorder.send(event);
    Answer::with_text(table(&rows))
}

fn table(rows: &[String]) -> String {
    let mut text = format!(
        "{:4}  {:4}  {:10}  {:8}  SUBJECT  ISSUER\n",
        "CODE", "KEYS", "ENROLLED", "STATE"
    );
    let mut shown = 0;
    for row in rows {
        if text.len() + row.len() > LISTED_BYTES_MAX {
            break;
        }
        text.push_str(row);
        shown += 1;
    }
    let more = rows.len() - shown;
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "and {more} more: name one by --subject");
    }
    text
}

async fn rows(factors: &Factors, subject: Option<String>) -> Result<Vec<String>, String> {
    let now = clock::now_unix();
    let rows = factors.all(move |record| {
        let is_wanted = subject.as_ref().is_none_or(|only| *only == record.subject);
        is_wanted.then(|| row(record, now))
    });
    let rows = rows.await.map_err(|why| why.to_string())?;
    Ok(rows.into_iter().flatten().collect())
}

fn row(record: &Record, now_unix: i64) -> String {
    let shown = |name: &str| name.chars().take(NAME_CHARS_MAX).collect::<String>();
    let state = match (record.standing(now_unix), record.is_invited(now_unix)) {
        (Err(_), _) => "locked",
        (Ok(()), true) => "invited",
        (Ok(()), false) => "",
    };
    let code = if record.has_totp() { "yes" } else { "no" };
    format!(
        "{code:4}  {:<4}  {:10}  {state:8}  {}  {}\n",
        record.keys().len(),
        record.enrolled_at().map(day).unwrap_or_default(),
        shown(&record.subject),
        shown(&record.issuer)
    )
}

/// The day of a moment, in UTC.
fn day(unix: i64) -> String {
    let ((year, month, day), _) = clock::civil(unix.saturating_mul(1_000_000));
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_into_a_line_and_says_how_many_it_leaves_out() {
        let mut record = Record::of("issuer".to_owned(), "\u{1f600}\"".repeat(50));
        assert!(row(&record, 0).starts_with("no    0 "));
        assert!(record.invite(1_800_000_060).is_some());
        let row = row(&record, 1_800_000_000);
        assert!(row.contains("invited"), "{row}");
        let text = table(&vec![row; 1_000]);
        assert!(text.contains("more: name one by --subject"), "{text}");
        let line = serde_json::to_vec(&Answer::with_text(text)).unwrap();
        assert!(u64::try_from(line.len()).unwrap() < super::super::LINE_BYTES_MAX);
        assert_eq!(day(1_795_564_799), "2026-11-24");
    }
}
