//! Somebody else looks at how emergency access was used, and notes what they found.

use std::fmt::Write as _;

use safeguard_audit::{Event, EventName, Outcome, Subject};

use super::Answer;
use crate::clock;
use crate::emergency::{Record, Review, WORDS_BYTES_MAX};
use crate::sidecar::Sidecar;

/// Bytes of rows that one answer shows: even if JSON writes each of them as two, they fit into a line of the socket's.
const LISTED_BYTES_MAX: usize = 7 * 1024;
/// Characters of a name or a reason that are shown.
const SHOWN_CHARS_MAX: usize = 500;

/// What waits for a review, or all that is kept, as a text; the patients by their pseudonyms, as the audit log has them.
pub(super) fn list(sidecar: &Sidecar, all: bool, by: Subject<'static>) -> Answer {
    let records = sidecar.emergencies.all();
    let shown: Vec<&Record> = records
        .iter()
        .filter(|record| all || record.review.is_none())
        .collect();
    let mut event = Event::new(EventName::AuditLogAccessed, Outcome::Success)
        .reason("emergencies_listed")
        .detail("records", i64::try_from(shown.len()).unwrap_or(i64::MAX));
    event.subject = Some(by);
    sidecar.recorder.send(event);
    let now = clock::now_unix();
    let rows = shown.iter().map(|record| {
        let patient = sidecar.recorder.pseudonym(&record.patient).to_string();
        row(record, &patient, now)
    });
    Answer::with_text(text(rows.collect()))
}

/// Notes a review; answered when queue and event are durable.
pub(super) async fn review(
    sidecar: &Sidecar,
    id: &str,
    review: Review,
    by: Subject<'static>,
) -> Answer {
    let is_text = |text: &str| text.len() <= WORDS_BYTES_MAX && !text.chars().any(char::is_control);
    if review.reviewer.trim().is_empty() || !is_text(&review.reviewer) || !is_text(&review.note) {
        return Answer::refused(
            "a reviewer has a name, and name and note at most 500 bytes without control characters",
        );
    }
    let reviewed = match sidecar.emergencies.review(id, review).await {
        Ok(reviewed) => reviewed,
        Err(why) => return Answer::refused(why.to_string()),
    };
    let recorded = sidecar.recorder.emergency_reviewed(&reviewed, by);
    let durable = tokio::time::timeout(super::ACCESS_DEADLINE, recorded.durable()).await;
    match durable {
        Ok(Ok(_)) => Answer::with_text("reviewed\n".to_owned()),
        _ => Answer::refused("it is noted in the queue, and the audit log can't record it durably"),
    }
}

fn text(rows: Vec<String>) -> String {
    if rows.is_empty() {
        return "nothing waits for a review\n".to_owned();
    }
    let (mut text, count) = (String::new(), rows.len());
    for (number, row) in rows.into_iter().enumerate() {
        if text.len() + row.len() > LISTED_BYTES_MAX {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "and {} more: review these first", count - number);
            break;
        }
        text.push_str(&row);
    }
    text
}

fn row(record: &Record, patient: &str, now_unix: i64) -> String {
    let shown = |text: &str| {
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        plain.take(SHOWN_CHARS_MAX).collect::<String>()
    };
    let ended = match record.ended {
        None => format!("goes on until {}", moment(record.until_unix)),
        Some((at, why)) => format!("{} {}", why.code(), moment(at)),
    };
    let state = match &record.review {
        Some(review) => format!(
            "{} by {} {}",
            review.verdict.code(),
            shown(&review.reviewer),
            moment(review.at_unix)
        ),
        None if record.is_overdue(now_unix) => {
            format!("OVERDUE since {}", moment(record.review_by_unix))
        }
        None => format!("review by {}", moment(record.review_by_unix)),
    };
    format!(
        "{}\n  began    {} ({ended})\n  state    {state}\n  who      {} of {} at {}\n  patient  {patient}\n  reason   {}\n",
        record.id,
        moment(record.began_unix),
        shown(&record.subject),
        shown(&record.issuer),
        shown(&record.client),
        shown(&record.reason),
    )
}

/// A moment in UTC, to the second.
fn moment(unix: i64) -> String {
    let ((year, month, day), (hour, minute, second, _)) =
        clock::civil(unix.saturating_mul(1_000_000));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_fits_into_a_line_and_says_how_many_it_leaves_out() {
        let row = format!("id\n  reason   {}\n", "\u{1f600}\"".repeat(250));
        let text = text(vec![row; 100]);
        assert!(text.contains("more: review these first"), "{text}");
        let line = serde_json::to_vec(&Answer::with_text(text)).unwrap();
        assert!(u64::try_from(line.len()).unwrap() < super::super::LINE_BYTES_MAX);
        assert_eq!(moment(1_795_564_799), "2026-11-24T23:59:59Z");
    }
}
