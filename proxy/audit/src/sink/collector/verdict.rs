//! What an answer means for the events that were sent. Statuses are read alike for both protocols; what stands in the body is each one's own.
//!
//! Only what names the *content* as the fault (400, 413, 422, rejected records) can make an event a poison event. A credential that is refused, a path that is not
//! there, a proxy that answers in the collector's place: those are no fault of an event, and it stays behind the cursor.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::post::Answer;
use crate::sink::SinkError;

/// The longest rest that a collector may ask for: a wrong number must not silence the sink.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// How long a collector is left alone that says it is busy and not for how long.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it is there; the number by which its indexing is asked for, where it has one.
    Taken(Option<u64>),
    /// None of it, for its content; the collector's code.
    Refused(String),
    /// Some of it, and nobody says which.
    Partly,
    /// Later, and not before this.
    Busy(Duration),
    /// Not so: a matter of the configuration, or of the collector.
    Failed(SinkError),
}

/// What the status alone says; none: it is well, and the body has the word.
pub(super) fn of_status(answer: &Answer, code: &str) -> Option<Verdict> {
    let fix = match answer.status {
        200..=299 => return None,
        400 | 413 | 422 => return Some(Verdict::Refused(code.to_owned())),
        // OTLP names these as worth another try; HEC says 503 when its queue is full.
        408 | 429 | 502..=504 => return Some(Verdict::Busy(rest(answer.retry_after.as_deref()))),
        401 | 403 => {
            ": correct audit_logging.output.token, or what the collector knows of it and of our certificate"
        }
        404 | 405 => ": nothing of this protocol is there: correct audit_logging.output.endpoint",
        300..=399 => {
            ": redirects are not followed: name the place itself in audit_logging.output.endpoint"
        }
        _ => "",
    };
    Some(failed(code, format!("it answered {}{fix}", answer.status)))
}

/// A failure in words that hold nothing of what the collector said.
pub(super) fn failed(code: &str, what: impl std::fmt::Display) -> Verdict {
    Verdict::Failed(SinkError {
        code: code.to_owned(),
        what: format!("the siem collector: {what}"),
    })
}

/// How long it wants to be left alone: seconds, or until a date (RFC 9110 §10.2.3).
fn rest(retry_after: Option<&str>) -> Duration {
    let until = |text: &str| {
        let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        Some(Duration::try_from(date - OffsetDateTime::now_utc()).unwrap_or_default())
    };
    let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
    retry_after
        .map(str::trim)
        .and_then(|text| seconds(text).or_else(|| until(text)))
        .unwrap_or(RETRY_AFTER_DEFAULT)
        .min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16) -> Option<Verdict> {
        let answer = Answer {
            status,
            ..Answer::default()
        };
        of_status(&answer, "code")
    }

    #[test]
    fn only_a_fault_of_the_content_can_poison_an_event() {
        assert_eq!((of(200), of(204)), (None, None));
        for status in [400, 413, 422] {
            assert_eq!(of(status), Some(Verdict::Refused("code".to_owned())));
        }
        for status in [408, 429, 502, 503, 504] {
            assert_eq!(of(status), Some(Verdict::Busy(RETRY_AFTER_DEFAULT)));
        }
        for status in [100, 301, 401, 403, 404, 405, 407, 415, 500, 501, 511] {
            assert!(matches!(of(status), Some(Verdict::Failed(_))), "{status}");
        }
    }

    #[test]
    fn a_rest_is_of_seconds_or_until_a_date_and_never_for_long() {
        assert_eq!(rest(Some(" 7 ")), Duration::from_secs(7));
        assert_eq!(rest(Some("0")), Duration::ZERO);
        assert_eq!(rest(Some("99999999999")), RETRY_AFTER_MAX);
        assert_eq!(rest(Some("Fri, 31 Dec 9998 23:59:59 GMT")), RETRY_AFTER_MAX);
        assert_eq!(rest(Some("Sun, 06 Nov 1994 08:49:37 GMT")), Duration::ZERO);
        for nonsense in [None, Some(""), Some("-1"), Some("soon")] {
            assert_eq!(rest(nonsense), RETRY_AFTER_DEFAULT, "{nonsense:?}");
        }
    }
}
