//! What is set up once, before anything else: no core dumps, panics without their words, log lines without secrets.

use std::io::Write;
use std::panic;

use env_logger::{Builder, Env};
use log::{Level, LevelFilter, Record};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Our own modules may say more than `info`; what libraries say there holds headers and bodies.
const OWN_TARGET: &str = "safeguard";

/// No core file, and no other process of this user that reads this one's memory: both hold keys and PHI.
///
/// # Errors
/// What the system refused, and why.
pub fn forbid_core_dumps() -> Result<(), String> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .map_err(|error| format!("core dumps can't be switched off: {error}"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("the process can't be made undumpable: {error}"))
}

/// A panic says where it happened; what it says may hold a value.
pub fn quiet_panics() {
    panic::set_hook(Box::new(|information| {
        let place = information.location().map_or_else(
            || "an unknown place".to_owned(),
            |at| format!("{}:{}", at.file(), at.line()),
        );
        // Nobody is left to tell if standard error is gone.
        let _gone = writeln!(std::io::stderr(), "error: internal fault at {place}");
    }));
}

/// One line a record on standard error; the level from `RUST_LOG`, `info` by default.
pub fn start_log() {
    let mut builder =
        Builder::from_env(Env::default().default_filter_or(LevelFilter::Info.as_str()));
    builder.format(|buffer, record| {
        if !is_shown(record.target(), record.level()) {
            return Ok(());
        }
        writeln!(buffer, "{} {}", buffer.timestamp_micros(), line(record))
    });
    // A second call, in a test, keeps the first logger.
    let _already = builder.try_init();
}

fn is_shown(target: &str, level: Level) -> bool {
    let is_own = target
        .strip_prefix(OWN_TARGET)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_']));
    level <= Level::Info || is_own
}

fn line(record: &Record<'_>) -> String {
    let text = record.args().to_string();
    let text: String = text
        .trim_end()
        .chars()
        .map(|c| {
            if c == '\n' {
                '⏎'
            } else if c.is_control() {
                '·'
            } else {
                c
            }
        })
        .collect();
    format!("{:<5} {}: {text}", record.level(), record.target())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_it_holds() {
        let record = |text: &str| {
            line(
                &Record::builder()
                    .level(Level::Warn)
                    .target("t")
                    .args(format_args!("{text}"))
                    .build(),
            )
        };
        assert_eq!(record("a\nb\u{1b}[2J\n"), "WARN  t: a⏎b·[2J");
    }

    #[test]
    fn libraries_say_nothing_below_info() {
        assert!(
            is_shown("safeguard::run", Level::Trace) && is_shown("safeguard_audit", Level::Debug)
        );
        assert!(is_shown("pingora", Level::Info) && !is_shown("pingora", Level::Debug));
        assert!(!is_shown("safeguardian", Level::Debug));
    }

    #[test]
    fn core_dumps_can_be_forbidden_twice() {
        assert_eq!((forbid_core_dumps(), forbid_core_dumps()), (Ok(()), Ok(())));
    }
}
