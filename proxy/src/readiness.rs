//! Whether the sidecar may be sent requests: each condition with its name, so that an operator sees which one fails.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::authn::ProviderState;
use crate::sidecar::Sidecar;

/// One condition.
struct Check {
    name: &'static str,
    passes: bool,
    /// Whether it decides. What every replica would share, and what none could mend, only tells.
    decides: bool,
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
                decides: true,
                detail: "the spool takes events durably".into(),
            },
            Check {
                name: "keys",
                passes: live.can_seal(now),
                decides: true,
                detail: "a PHI key is in force".into(),
            },
            Check {
                name: "canary",
                passes: sidecar.canary.sings(),
                decides: true,
                detail: "no value of the synthetic patient leaks".into(),
            },
            Check {
                name: "key_sources",
                passes: live.awaited.is_none(),
                decides: true,
                detail: match &live.awaited {
                    None => "every key was had from its source".into(),
                    Some(why) => why.load().to_string().into(),
                },
            },
            Check {
                name: "certificates",
                passes: certificate,
                decides: true,
                detail: "no certificate of ours has run out".into(),
            },
            Check {
                name: "draining",
                passes: !sidecar.is_draining(),
                decides: true,
                detail: "not shutting down".into(),
            },
            Check {
                name: "sessions",
                passes: sidecar.sessions.is_up(),
                decides: true,
                detail: "the store of login sessions answers".into(),
            },
            Check {
                name: "identity_provider",
                passes: sidecar.authenticator.providers().all(|one| one.is_up),
                decides: false,
                detail: identity_provider(sidecar),
            },
        ])
    }

    /// Whether every condition holds.
    pub fn ready(&self) -> bool {
        self.0.iter().all(|check| check.passes || !check.decides)
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
            let mark = match (check.passes, check.decides) {
                (true, _) => "+",
                (false, true) => "-",
                (false, false) => "!",
            };
            let _ = writeln!(text, "[{mark}] {}: {}", check.name, check.detail);
        }
        text + &self.brief()
    }
}

/// How the identity providers stand. They decide nothing: sessions go on without them, and every replica has the same ones.
fn identity_provider(sidecar: &Sidecar) -> Cow<'static, str> {
    let away = |one: ProviderState<'_>| match one.has_keys {
        _ if one.is_up => None,
        true => Some(format!(
            "{} does not answer; its keys that are known still serve",
            one.issuer
        )),
        false => Some(format!(
            "{} does not answer, and its keys are absent or too old",
            one.issuer
        )),
    };
    let mut providers = sidecar.authenticator.providers().peekable();
    if providers.peek().is_none() {
        return "none is configured".into();
    }
    let away: Vec<_> = providers.filter_map(away).collect();
    match away.is_empty() {
        true => "it answers".into(),
        false => away.join("; ").into(),
    }
}
