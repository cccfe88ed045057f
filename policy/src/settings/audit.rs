//! `audit_logging`: retention, events, outputs, spool.

use super::SwitchedOff;
use super::types::{AuditLogging, Output, Postgresql, Spool};
use crate::document::Environment;
use crate::document::keys::OUTPUTS;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Node;
use crate::finding::codes;
use crate::names::nearest;
use crate::secret::Secret;

mod s3;
mod siem;

/// Six years (§164.316(b)(2)(i)), two leap days in them.
pub(crate) const RETENTION_DAYS_MIN: u32 = 2192;

/// The events that `audit_logging.events` selects from.
pub const SELECTABLE_EVENTS: [&str; 17] = [
    "user_login",
    "user_logout",
    "failed_login_attempt",
    "mfa_challenge",
    "password_reset",
    "phi_access_granted",
    "phi_access_denied",
    "permission_change",
    "phi_read",
    "phi_create",
    "phi_update",
    "phi_delete",
    "phi_export",
    "configuration_change",
    "user_created",
    "user_deleted",
    "role_assigned",
];

/// Events that are always delivered, whether they are named or not.
pub const ALWAYS_DELIVERED: [&str; 18] = [
    "integrity_violation",
    "decrypt_failure",
    "session_terminated",
    "token_revoked",
    "node_authentication_failed",
    "emergency_access_start",
    "emergency_access_stop",
    "emergency_reviewed",
    "emergency_review_overdue",
    "audit_started",
    "audit_stopped",
    "audit_checkpoint",
    "audit_log_accessed",
    "key_rotated",
    "policy_reload_rejected",
    "sink_failed",
    "sink_recovered",
    "bulk_access_alert",
];

pub(crate) fn audit_logging(
    root: Section<'_>,
    env: &dyn Environment,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<AuditLogging> {
    let section = root.section("audit_logging");
    if !section.flag("enabled") {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("enabled"),
                "`audit_logging.enabled` is false: no PHI passes without an audit trail",
            )
            .fix("remove the line or write true");
    }
    let retention = retention(section, report);
    let events = events(section, report);
    let mut outputs = Vec::new();
    let mut kinds: Vec<&Node> = Vec::new();
    for item in section.items("output") {
        if let Some(kind) = item.entry("type").map(|entry| &entry.value) {
            once(kind, &kinds, report);
            kinds.push(kind);
        }
        outputs.extend(output(item, retention, env, off, report));
    }
    Some(AuditLogging {
        retention_days: retention.days?,
        events,
        outputs,
        spool: spool(section.section("spool"), report)?,
    })
}

/// An output's cursor bears the name of its type.
fn once(kind: &Node, before: &[&Node], report: &mut Report<'_>) {
    let Some(first) = before.iter().find(|other| other.text() == kind.text()) else {
        return;
    };
    report
        .error(
            codes::CONTRADICTION,
            kind.place,
            format!(
                "two outputs of the type {}: one cursor can't say what each of them has",
                kind.shown()
            ),
        )
        .fix("keep one, and let it pass events on to the other")
        .related(first.place, "the other output");
}

/// How long events are kept, and what that is at least.
#[derive(Clone, Copy)]
struct Retention {
    days: Option<u32>,
    /// Six years, or less where a reason for that is given.
    least: u32,
}

fn retention(section: Section<'_>, report: &mut Report<'_>) -> Retention {
    let days: Option<u32> = section.number("retention_days");
    let short = days.filter(|days| *days < RETENTION_DAYS_MIN);
    let reason = section.text("short_retention_reason");
    let place = section.place_of("retention_days");
    match (short, reason) {
        (Some(_), None) => {
            report
                .error(
                    codes::BAD_VALUE,
                    place,
                    "`audit_logging.retention_days` is under 2192, six years",
                )
                .fix("write 2192 or more, or 6y: HIPAA has documentation kept so long (45 CFR 164.316(b)(2)(i)) and disclosures accounted for (164.528), and names no period for audit logs; or say in short_retention_reason why less is right");
        }
        (Some(_), Some(_)) => {
            report
                .warning(
                    codes::SHORT_RETENTION,
                    place,
                    "events are kept for less than the six years of 45 CFR 164.316(b)(2)(i)",
                )
                .fix("write 2192 or more, or 6y, and remove short_retention_reason: what is older can't be accounted for (45 CFR 164.528)");
        }
        (None, Some(_)) if days.is_some() => {
            report
                .warning(
                    codes::CONTRADICTION,
                    section.place_of("short_retention_reason"),
                    "`audit_logging.short_retention_reason` stands beside a retention of six years or more",
                )
                .fix("remove it");
        }
        _ => {}
    }
    let least = short.filter(|_| reason.is_some());
    Retention {
        days,
        least: least.unwrap_or(RETENTION_DAYS_MIN),
    }
}

fn events(section: Section<'_>, report: &mut Report<'_>) -> Vec<String> {
    let Some(list) = section.node_of("events") else {
        return SELECTABLE_EVENTS.map(str::to_owned).to_vec();
    };
    let known = || SELECTABLE_EVENTS.into_iter().chain(ALWAYS_DELIVERED);
    let mut events: Vec<String> = Vec::new();
    for node in list.items() {
        let Some(name) = node.text() else { continue };
        if !known().any(|k| k == name) {
            let written = node.shown();
            report
                .error(
                    codes::BAD_VALUE,
                    node.place,
                    format!("`{written}` is no event"),
                )
                .meant(nearest(written, known()));
        } else if events.iter().any(|e| e == name) {
            report
                .error(
                    codes::GIVEN_TWICE,
                    node.place,
                    format!("the event {} is given twice", node.shown()),
                )
                .fix("keep one of them");
        } else {
            events.push(name.to_owned());
        }
    }
    events
}

fn spool(section: Section<'_>, report: &mut Report<'_>) -> Option<Spool> {
    let spool = Spool {
        directory: section.text("directory")?.into(),
        max_bytes: section.number("max_bytes")?,
        segment_bytes: section.number("segment_bytes")?,
        heartbeat: section.seconds("checkpoint_heartbeat_seconds")?,
    };
    if spool.directory.file_name().is_none() {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("directory"),
                "`audit_logging.spool.directory` names no directory of its own",
            )
            .fix("write a path such as /var/lib/safeguard/spool");
    }
    if spool.max_bytes < spool.segment_bytes.saturating_mul(2) {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("max_bytes"),
                "`audit_logging.spool.max_bytes` holds less than two segments",
            )
            .fix("make it larger, or segment_bytes smaller");
    }
    Some(spool)
}

fn output(
    item: &Node,
    retention: Retention,
    env: &dyn Environment,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Output> {
    let kind = item.entry("type")?.value.text()?;
    let (_, keys) = OUTPUTS.iter().find(|(name, _)| *name == kind)?;
    let section = Section::new(item, keys);
    match kind {
        "postgresql" => postgresql(section, env, off, report),
        "siem" => siem::siem(section, env, off, report),
        _ => s3::s3(section, retention, env, off, report),
    }
}

fn postgresql(
    section: Section<'_>,
    env: &dyn Environment,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Output> {
    let _ = section.text("type");
    let encrypted = section.flag("encrypted");
    if !encrypted {
        off.note(
            section.place_of("encrypted"),
            "sealing of audit payloads is switched off",
        );
    }
    let table = section.owned("table")?;
    if !is_table(&table) {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("table"),
                "`audit_logging.output.table` is no plain name of a table",
            )
            .fix("write letters, digits and _, perhaps with a schema: audit.audit_logs");
    }
    let from = |key: &'static str, variable: &str| {
        let variable = || env.var(variable).filter(|v| !v.is_empty());
        section.owned(key).or_else(variable)
    };
    let user = from("user", "PGUSER").unwrap_or_default();
    let password = from("password", "PGPASSWORD").map(Secret::new);
    let cert_file = from("cert_file", "PGSSLCERT");
    let key_file = from("key_file", "PGSSLKEY");
    let port = port(section, env, report)?;
    let unopened = section.entry_of("password").is_some();
    if user.is_empty() || (password.is_none() && !unopened && cert_file.is_none()) {
        report
            .warning(
                codes::SINK_CREDENTIAL,
                section.place_of("type"),
                "the sink postgresql has no credential",
            )
            .fix(
                "set PGUSER and PGPASSWORD (or PGSSLCERT and PGSSLKEY), or write user and password",
            );
    }
    if cert_file.is_some() != key_file.is_some() {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("cert_file"),
                "cert_file and key_file of the sink postgresql go together",
            )
            .fix("give both");
    }
    Some(Output::Postgresql(Postgresql {
        table,
        encrypted,
        host: from("host", "PGHOST").unwrap_or_else(|| "localhost".to_owned()),
        port,
        database: from("database", "PGDATABASE").unwrap_or_else(|| user.clone()),
        user,
        password,
        channel_binding: section.text("channel_binding") == Some("require"),
        ca_file: from("ca_file", "PGSSLROOTCERT").map(Into::into),
        cert_file: cert_file.map(Into::into),
        key_file: key_file.map(Into::into),
    }))
}

/// The server's port: written, or `PGPORT`, or 5432.
fn port(section: Section<'_>, env: &dyn Environment, report: &mut Report<'_>) -> Option<u16> {
    const DEFAULT: u16 = 5432;
    if section.entry_of("port").is_some() {
        return section.number("port");
    }
    let Some(text) = env.var("PGPORT").filter(|v| !v.is_empty()) else {
        return Some(DEFAULT);
    };
    let port = text.parse().ok().filter(|p| *p > 0);
    if port.is_none() {
        report
            .error(
                codes::BAD_VALUE,
                section.place(),
                "the variable PGPORT is no port",
            )
            .fix("set it to a number such as 5432");
    }
    port
}

/// One or two plain SQL names: what needs no quoting cannot smuggle anything.
fn is_table(text: &str) -> bool {
    let plain = |name: &str| {
        let mut letters = name.chars();
        let first = letters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        first && name.len() <= 63 && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    text.split('.').count() <= 2 && text.split('.').all(plain)
}
