//! An administrator looks at the login sessions of a running sidecar, and ends some of them.

use std::fmt::Write as _;

use safeguard_audit::{Event, EventName, Outcome, Subject};
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::clock;
use crate::session::{EndReason, Listed};
use crate::sidecar::Sidecar;

/// Sessions that one answer shows, so that it fits into a line of the socket's.
pub const LISTED_MAX: usize = 40;
/// Characters of a subject that are shown.
const SUBJECT_CHARS_MAX: usize = 64;

/// Which sessions are to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Those of this subject, of every issuer that the sidecar trusts.
    User(String),
    /// The one of this id, as the audit log names it: 64 hexadecimal digits.
    Session(String),
    /// Everybody's.
    All,
}

/// The live sessions as a table: id, subject, seconds silent, seconds left. No token, nothing of a patient.
pub(super) async fn list(sidecar: &Sidecar, by: Subject<'static>) -> Answer {
    let listed = match sidecar.sessions.list(clock::now_unix()).await {
        Ok(listed) => listed,
        Err(why) => return Answer::refused(why.to_string()),
    };
    let count = i64::try_from(listed.len()).unwrap_or(i64::MAX);
    let mut event =
        Event::new(EventName::AuditLogAccessed, Outcome::Success).reason("sessions_listed");
    event.subject = Some(by);
    sidecar.recorder.send(event.detail("records", count));
    Answer::with_text(table(&listed))
}

fn table(listed: &[Listed]) -> String {
    let mut text = format!("{:64}  {:>6}  {:>6}  USER\n", "SESSION", "SILENT", "LEFT");
    for session in listed.iter().take(LISTED_MAX) {
        let name = session.who.subject().chars().take(SUBJECT_CHARS_MAX);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}  {:>5}s  {:>5}s  {}",
            session.id,
            session.silent,
            session.left,
            name.collect::<String>()
        );
    }
    let more = listed.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        let _ = writeln!(text, "and {more} more, which were used more lately");
    }
    text
}

/// Ends them, each an event `session_terminated`, and what was had for them; the answer says how many.
pub(super) async fn end(sidecar: &Sidecar, which: &Which, by: Subject<'static>) -> Answer {
    let (table, reason, now) = (&sidecar.sessions, EndReason::Terminated, clock::now_unix());
    let ended = match which {
        Which::All => table.end_all(reason, now).await,
        Which::Session(id) => table.end_id(id, reason, now).await,
        Which::User(subject) => {
            let mut ended = Vec::new();
            for issuer in sidecar.authenticator.issuers() {
                match table.end_user(&issuer, subject, reason, now).await {
                    Ok(more) => ended.extend(more),
                    Err(why) => return Answer::refused(why.to_string()),
                }
            }
            Ok(ended)
        }
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(why) => return Answer::refused(why.to_string()),
    };
    for event in &ended {
        sidecar.auth.families.end_session(&event.session).await;
    }
    // Who asked: the sessions' own events name whose they were.
    let mut asked =
        Event::new(EventName::ConfigurationChange, Outcome::Success).reason("sessions_ended");
    asked.subject = Some(by);
    let count = i64::try_from(ended.len()).unwrap_or(i64::MAX);
    sidecar.recorder.send(asked.detail("sessions", count));
    sidecar.recorder.session_events(&ended, None);
    log::info!("control: {count} login sessions were ended");
    Answer::with_text(format!("{count} ended\n"))
}
