//! What is set up once, before anything else: no core dumps, panics without their words, log lines without secrets.

use std::io::Write;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};

use env_logger::{Builder, Env, Logger};
use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Only our own modules may say more than errors: what libraries say holds headers and bodies, and even their warnings
/// quote what a peer sent (Pingora's of a `Content-Length` that is no number).
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

/// The level that was set while the process runs, as a number of [`LevelFilter`]; [`AS_STARTED`] until then.
static LEVEL: AtomicUsize = AtomicUsize::new(AS_STARTED);
const AS_STARTED: usize = usize::MAX;

/// One line a record on standard error; the level from `RUST_LOG`, `info` by default, until [`set_log_level`].
pub fn start_log() {
    let mut builder =
        Builder::from_env(Env::default().default_filter_or(LevelFilter::Info.as_str()));
    let started = with_lines(&mut builder);
    let level = started.filter();
    let everything = with_lines(Builder::new().filter_level(LevelFilter::Trace));
    let logger = Adjustable {
        started,
        everything,
    };
    // A second call, in a test, keeps the first logger.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// Logs this much from now on.
pub fn set_log_level(level: LevelFilter) {
    LEVEL.store(level as usize, Ordering::Relaxed);
    log::set_max_level(level);
}

fn with_lines(builder: &mut Builder) -> Logger {
    builder
        .format(|buffer, record| {
            if !is_shown(record.target(), record.level()) {
                return Ok(());
            }
            writeln!(buffer, "{} {}", buffer.timestamp_micros(), line(record))
        })
        .build()
}

/// A log whose level can change: as the environment said at the start, or one level for all.
struct Adjustable {
    started: Logger,
    everything: Logger,
}

impl Adjustable {
    fn chosen(&self) -> &Logger {
        match LEVEL.load(Ordering::Relaxed) {
            AS_STARTED => &self.started,
            _ => &self.everything,
        }
    }
}

impl Log for Adjustable {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() as usize <= LEVEL.load(Ordering::Relaxed)
            && self.chosen().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.chosen().log(record);
        }
    }

    fn flush(&self) {}
}

fn is_shown(target: &str, level: Level) -> bool {
    let is_own = target
        .strip_prefix(OWN_TARGET)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_']));
    level <= Level::Error || is_own
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
    fn libraries_say_nothing_but_errors() {
        assert!(
            is_shown("safeguard::run", Level::Trace) && is_shown("safeguard_audit", Level::Debug)
        );
        assert!(is_shown("pingora", Level::Error) && !is_shown("pingora", Level::Warn));
        assert!(!is_shown("safeguardian", Level::Debug));
    }

    #[test]
    fn core_dumps_can_be_forbidden_twice() {
        assert_eq!((forbid_core_dumps(), forbid_core_dumps()), (Ok(()), Ok(())));
    }
}
