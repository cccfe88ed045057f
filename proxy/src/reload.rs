//! Taking a new configuration, new certificates or new keys into use without dropping a connection.
//!
//! Looked at on SIGHUP and whenever a watched file changed. A good configuration replaces the old one at once and
//! whole; one that is not accepted, or that changes what only a restart can change, is reported, audited and the old
//! one kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use safeguard_audit::{Event, EventName, Outcome};
use safeguard_certs::{Changed, ClientTls, Watch};
use safeguard_policy::Configuration;
use safeguard_policy::diff::{Difference, difference};
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::authn::LocalSettings;
pub use crate::cli::Reload;
use crate::keysource::{Backoff, Resolver, Rings, Unresolved};
use crate::live::Live;
use crate::settings;
use crate::sidecar::Sidecar;

/// How often watched files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The sections that only a restart can change, each as its text; secrets are not in it.
#[derive(PartialEq, Eq)]
struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    fn of(configuration: &Configuration) -> Self {
        let audit_keys: Vec<_> = configuration
            .keys
            .audit
            .iter()
            .map(|key| (&key.id, key.from_unix))
            .collect();
        Self(vec![
            ("profile", format!("{:?}", configuration.profile)),
            ("identity", format!("{:?}", configuration.identity)),
            (
                "authentication",
                format!("{:?}", configuration.authentication),
            ),
            ("keycloak", format!("{:?}", configuration.keycloak)),
            ("audit_logging", format!("{:?}", configuration.audit)),
            ("listen", format!("{:?}", configuration.listen)),
            ("admin", format!("{:?}", configuration.admin)),
            ("upstream", format!("{:?}", configuration.upstream)),
            ("state", format!("{:?}", configuration.state)),
            (
                "phi.patient_keys",
                format!("{:?}", configuration.policy.phi().patient_keys),
            ),
            ("keys.audit", format!("{audit_keys:?}")),
        ])
    }

    /// The sections in which another configuration differs.
    fn changed(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs
            .filter(|(old, new)| old != new)
            .map(|(old, _)| old.0)
            .collect()
    }
}

/// Watches the files and takes their changes into use.
pub struct Reloader {
    sidecar: Arc<Sidecar>,
    fixed: Fixed,
    read: Reload,
    resolver: Resolver,
    backoff: Backoff,
}

/// Why the configuration is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// A file changed, or SIGHUP.
    Change,
    /// A key is awaited from its source. What fails then was said already.
    Awaited,
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reloader")
    }
}

impl Reloader {
    /// A reloader of what `read` reads, for a sidecar that was built from `configuration`'s fixed sections.
    pub(crate) fn new(
        sidecar: Arc<Sidecar>,
        fixed: Sections,
        read: Reload,
        resolver: Resolver,
    ) -> Self {
        Self {
            sidecar,
            fixed: fixed.0,
            read,
            resolver,
            backoff: Backoff::default(),
        }
    }

    /// Watches until the sidecar stops.
    pub async fn watch(
        mut self,
        config_files: Vec<PathBuf>,
        mut hangup: Signal,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut configuration = Watch::new(config_files);
        let mut certificates = Watch::new(self.sidecar.tls.files());
        let upstream = self.sidecar.upstream.tls();
        let mut upstream = Watch::new(upstream.map(ClientTls::files).unwrap_or_default());
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        loop {
            let forced = tokio::select! {
                _ = ticks.tick() => false,
                _ = hangup.recv() => true,
                _ = stopping.changed() => return,
            };
            // Both are polled, whatever the first says: each poll takes note of what it saw.
            let new_certificates = !certificates.poll().is_empty();
            let new_configuration = !configuration.poll().is_empty();
            if new_configuration || forced {
                self.configuration(Trigger::Change).await;
            } else if self.is_awaited() && self.backoff.is_due() {
                self.configuration(Trigger::Awaited).await;
                self.backoff.later();
            }
            let new_upstream = !upstream.poll().is_empty();
            if new_certificates || forced {
                self.certificates();
            }
            if new_upstream || forced {
                self.upstream_certificates();
            }
        }
    }

    fn certificates(&self) {
        match self.sidecar.tls.reload() {
            Ok(changed) => self.certificates_changed(&changed),
            Err(error) => self.rejected("certificates_unusable", &error.to_string()),
        }
    }

    fn certificates_changed(&self, changed: &Changed) {
        if !changed.any() {
            return;
        }
        let parts = changed.parts().join(",");
        log::info!("certificates were reloaded: {parts}");
        // Who is at the other end of an open stream was judged by the old ones, and is judged again.
        self.sidecar.generation.send_modify(|moved| *moved += 1);
        let event = Event::new(EventName::ConfigurationChange, Outcome::Success)
            .reason("certificates_reloaded");
        self.sidecar.recorder.send(event.detail("changed", parts));
    }

    fn upstream_certificates(&self) {
        match self.sidecar.upstream.reload() {
            Ok(false) => {}
            Ok(true) => {
                log::info!("the certificates of upstream.tls were reloaded");
                let event = Event::new(EventName::ConfigurationChange, Outcome::Success)
                    .reason("certificates_reloaded");
                self.sidecar
                    .recorder
                    .send(event.detail("changed", "upstream".to_owned()));
            }
            Err(error) => self.rejected("certificates_unusable", &error.to_string()),
        }
    }

    fn is_awaited(&self) -> bool {
        self.sidecar.live.load().awaited.is_some()
    }

    async fn configuration(&mut self, trigger: Trigger) {
        let mut new = match (self.read)() {
            Ok(new) => new,
            Err(words) => return self.refused(trigger, "configuration_invalid", &words),
        };
        let changed = self.fixed.changed(&Fixed::of(&new));
        if !changed.is_empty() {
            let words = format!(
                "{} can't change while the sidecar runs: restart it",
                changed.join(", ")
            );
            return self.refused(trigger, "needs_restart", &words);
        }
        // Before anything is swapped: all keys of the rings, or none.
        let had = self
            .resolver
            .resolve(&mut new.keys, Rings::PhiAndIntegrity, &new.key_sources)
            .await;
        if let Err(why) = had {
            return self.not_had(trigger, &why);
        }
        match self.sidecar.tls.reload_with(settings::tls(&new)) {
            Ok(changed) => self.certificates_changed(&changed),
            Err(error) => {
                return self.refused(trigger, "certificates_unusable", &error.to_string());
            }
        }
        let local = match settings::local(&new) {
            Ok(local) => local,
            Err(error) => {
                return self.refused(trigger, "configuration_invalid", &error.to_string());
            }
        };
        let before = self.sidecar.live.load();
        match settings::live(new, Some(&before)) {
            Ok(new) => {
                self.take(new);
                self.take_secret(trigger, local);
            }
            Err(error) => self.refused(trigger, "configuration_invalid", &error.to_string()),
        }
    }

    /// The old keys stay; if there are none yet, readiness says why.
    fn not_had(&self, trigger: Trigger, why: &Unresolved) {
        let words = why.to_string();
        if let Some(awaited) = &self.sidecar.live.load().awaited {
            if **awaited.load() != words {
                log::error!("{words}; until it comes, every call about PHI is refused");
            }
            awaited.store(Arc::new(words.clone()));
        }
        self.refused(trigger, why.error.code(), &words);
    }

    fn refused(&self, trigger: Trigger, reason: &'static str, words: &str) {
        if trigger == Trigger::Change {
            self.rejected(reason, words);
        }
    }

    fn take(&self, new: Live) {
        let sidecar = &self.sidecar;
        let old = sidecar.live.load_full();
        let keys_differ = new.keys_differ(&old);
        let tools_differ = new.tools_lock != old.tools_lock;
        if new.hash == old.hash && !keys_differ && !tools_differ {
            return;
        }
        let permissions = difference(&old.policy, &new.policy);
        let event = |name, reason: &'static str| {
            let mut event = Event::new(name, Outcome::Success)
                .reason(reason)
                .detail("previous", old.hash_text());
            event.configuration_hash = Some(new.hash);
            event
        };
        let were_awaited = old.awaited.is_some();
        let mut events = Vec::new();
        if tools_differ {
            let name = EventName::PermissionChange;
            events.push(event(name, "tools_lock_reloaded"));
        }
        if new.hash != old.hash || !were_awaited {
            let name = EventName::ConfigurationChange;
            events.push(event(name, "configuration_reloaded"));
        }
        if !permissions.is_none() {
            let changed = event(EventName::PermissionChange, "policy_reloaded");
            events.push(in_words(changed, &permissions));
        }
        if keys_differ {
            let reason = if were_awaited {
                "keys_had_from_source"
            } else {
                "keys_reloaded"
            };
            events.push(event(EventName::KeyRotated, reason));
        }
        crate::run::announce(&sidecar.metrics, &new);
        match were_awaited {
            true => log::info!("every key was had from its source: PHI passes"),
            false => log::info!("the configuration was reloaded"),
        }
        sidecar.live.store(Arc::new(new));
        // What was decided under another policy is not carried on: such streams end, and their clients come again.
        sidecar
            .generation
            .send_modify(|generation| *generation += 1);
        for event in events {
            sidecar.recorder.send(event);
        }
    }

    /// The secrets of local tokens: a secret may rotate while the document stays, and takes nothing else with it.
    fn take_secret(&self, trigger: Trigger, local: Option<LocalSettings>) {
        let Some(local) = local else { return };
        match self.sidecar.authenticator.rotate_secret(local) {
            Ok(false) => {}
            Ok(true) => {
                log::info!("authentication.jwt: the secrets of local tokens were reloaded");
                // Who opened a stream may have done so with a token that nothing verifies any more.
                self.sidecar.generation.send_modify(|moved| *moved += 1);
                let event = Event::new(EventName::KeyRotated, Outcome::Success);
                let event = event.reason("jwt_secret_reloaded");
                self.sidecar.recorder.send(event);
            }
            Err(error) => self.refused(trigger, "configuration_invalid", &error.to_string()),
        }
    }

    fn rejected(&self, reason: &'static str, words: &str) {
        log::error!("the change is not taken into use, the old configuration stays: {words}");
        self.sidecar.metrics.config_last_reload_successful.set(0);
        let event = Event::new(EventName::PolicyReloadRejected, Outcome::Failure);
        self.sidecar.recorder.send(event.reason(reason));
    }
}

/// The fixed sections of the configuration that a run was started with.
pub(crate) struct Sections(Fixed);

impl Sections {
    pub(crate) fn of(configuration: &Configuration) -> Self {
        Self(Fixed::of(configuration))
    }
}

/// Lines of each kind that one event tells: the whole difference is what `check --diff` prints.
const SEES_MORE: [&str; 8] = [
    "more_1", "more_2", "more_3", "more_4", "more_5", "more_6", "more_7", "more_8",
];
const SEES_LESS: [&str; 8] = [
    "less_1", "less_2", "less_3", "less_4", "less_5", "less_6", "less_7", "less_8",
];
const UNORDERED: [&str; 8] = [
    "unordered_1",
    "unordered_2",
    "unordered_3",
    "unordered_4",
    "unordered_5",
    "unordered_6",
    "unordered_7",
    "unordered_8",
];

/// Tells who sees more and who sees less, as far as one event has room, and how many lines there are of each.
fn in_words(mut event: Event<'static>, difference: &Difference) -> Event<'static> {
    for (count, names, lines) in [
        ("more", SEES_MORE, &difference.more),
        ("less", SEES_LESS, &difference.less),
        ("unordered", UNORDERED, &difference.unordered),
    ] {
        event = event.detail(count, i64::try_from(lines.len()).unwrap_or(i64::MAX));
        for (name, line) in names.into_iter().zip(lines) {
            event = event.detail(name, line.clone());
        }
    }
    event
}
