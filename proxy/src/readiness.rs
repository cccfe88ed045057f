//! Whether the sidecar may be sent requests: each condition with its name, so that an operator sees which one fails.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::sidecar::Sidecar;

/// One condition.
struct Check {
    name: &'static str,
    passes: bool,
    detail: Cow<'static, str>,
}

/// All conditions of one moment.
pub struct Readiness(Vec<Check>);

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|check| (check.name, check.passes)))
            .finish()
    }
}

impl Readiness {
    /// The conditions of this sidecar, now.
    pub fn of(sidecar: &Sidecar) -> Self {
        let now = crate::clock::now_unix();
        let health = sidecar.trail.health();
        let live = sidecar.live.load();
        let certificate = sidecar
            .tls()
            .expiries()
            .iter()
            .all(|(_, until)| until > now);
        Self(vec![
            Check {
                name: "audit",
                passes: health.ready(),
                detail: "the spool takes events durably".into(),
            },
            Check {
                name: "keys",
                passes: live.can_seal(now),
                detail: "a PHI key is in force".into(),
            },
            Check {
                name: "canary",
                passes: sidecar.canary.sings(),
                detail: "no value of the synthetic patient leaks".into(),
            },
            Check {
                name: "key_sources",
                passes: live.awaited.is_none(),
                detail: match &live.awaited {
                    None => "every key was had from its source".into(),
                    Some(why) => why.load().to_string().into(),
                },
            },
            Check {
                name: "certificates",
                passes: certificate,
                detail: "no certificate of ours has run out".into(),
            },
            Check {
                name: "draining",
                passes: !sidecar.is_draining(),
                detail: "not shutting down".into(),
            },
        ])
    }

    /// Whether every condition holds.
    pub fn ready(&self) -> bool {
        self.0.iter().all(|check| check.passes)
    }

    /// One word.
    pub fn brief(&self) -> String {
        if self.ready() {
            "ready\n".to_owned()
        } else {
            "not ready\n".to_owned()
        }
    }

    /// A line a condition.
    pub fn verbose(&self) -> String {
        let mut text = String::new();
        for check in &self.0 {
            let mark = if check.passes { "+" } else { "-" };
            let _ = writeln!(text, "[{mark}] {}: {}", check.name, check.detail);
        }
        text + &self.brief()
    }
}
