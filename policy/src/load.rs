//! Loading: sources in, a configuration and all findings out.

use std::fmt;

use crate::compile;
use crate::document::check;
use crate::document::interpolate::interpolate;
use crate::document::keys::{KEY_SOURCES, ROOT};
use crate::document::merge::merge;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Kind, Node, Place};
use crate::document::{Environment, Source, yaml};
use crate::finding::{Finding, codes};
use crate::settings::{self, Configuration, KeySources, Profile, SwitchedOff};

pub(crate) mod places;

/// What came of loading.
pub struct Loaded {
    /// There is one exactly if no finding is an error (and, in `check`, none is [`codes::UNOPENED`]).
    pub configuration: Option<Configuration>,
    /// Everything there is to say, in the order of the sources.
    pub findings: Vec<Finding>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("whole", &self.configuration.is_some())
            .field("findings", &self.findings)
            .finish()
    }
}

/// Loads a configuration: parses each source, merges them by key, puts variables in, checks it against the table of
/// keys, builds the settings and compiles the policy. Nothing stops at the first finding; a source that is no YAML
/// does, since what it would have said is missing everywhere else.
#[must_use]
pub fn load(sources: &[Source], env: &dyn Environment) -> Loaded {
    let mut report = Report::new(sources);
    let configuration = build(sources, env, &mut report);
    let whole = configuration.filter(|_| !report.has_errors());
    if whole.is_none() && !report.has_errors() {
        // A builder gave up without an error: say so rather than run on half a configuration.
        match report.unopened {
            Some(place) => report
                .warning(codes::UNOPENED, place, "this value is in a file that is not opened here: what depends on it is not checked")
                .fix("nothing, unless the rest must be checked too"),
            None => report.error(codes::BAD_VALUE, Place::default(), "the configuration is incomplete"),
        };
    }
    Loaded {
        configuration: whole,
        findings: report.finish(),
    }
}

fn build(
    sources: &[Source],
    env: &dyn Environment,
    report: &mut Report<'_>,
) -> Option<Configuration> {
    let mut tree = read(sources, report)?;
    interpolate(&mut tree, env, report);
    check::mapping(&tree, ROOT, "", report);
    let hash = compile::hash::of(&tree, report);

    let root = Section::new(&tree, ROOT);
    let _ = root.text("version");
    let profile = match root.text("profile") {
        Some("development") => Profile::Development,
        _ => Profile::Production,
    };
    let mut off = SwitchedOff::default();
    let listen = settings::listen(root, report);
    let authentication = settings::authentication(root, &mut off, report);
    let has_provider = root.section("keycloak").is_written();
    let keycloak = if has_provider {
        settings::keycloak(root, report)
    } else {
        None
    };
    let sessions = settings::sessions(root, report);
    let session_store = settings::session_store(root, report);
    let identity = settings::identity(root, report);
    let audit = settings::audit_logging(root, env, &mut off, report);
    let tls = settings::tls(root, &mut off, report);
    let admin = settings::admin(root, listen.as_ref(), report);
    let upstream = settings::upstream(root, listen.as_ref(), report);
    let state = settings::state(root, audit.as_ref().map(|a| &a.spool), report);
    let key_sources = settings::key_sources(root, env, report);
    let keys = settings::keys(root, report);
    let mut directories: Vec<(&'static str, &std::path::Path)> = [
        audit
            .as_ref()
            .map(|a| ("audit_logging.spool.directory", &*a.spool.directory)),
        state.as_ref().map(|s| ("state.directory", &*s.directory)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(mfa) = authentication.as_ref().map(|a| &a.mfa)
        && let Some(enrolment) = &mfa.enrolment
    {
        let around = settings::enrolment::Around {
            directories: &directories,
            webauthn: mfa.providers.contains(&settings::MfaProvider::Webauthn),
            certificates: tls.as_ref().is_none_or(|tls| tls.mutual_tls.required),
            shared: session_store.as_ref().is_some_and(Option::is_some),
            listen: listen.as_ref(),
        };
        settings::enrolment::judge(root, enrolment, &around, report);
        directories.push((
            "authentication.mfa.enrolment.directory",
            &*enrolment.directory,
        ));
    }
    let around = compile::Around {
        second_factor: authentication.as_ref().is_none_or(|a| a.mfa.required),
        clock_skew: authentication
            .as_ref()
            .map_or(0, |a| a.clock_skew.as_secs()),
        mutual_tls: tls.as_ref().map(|t| &t.mutual_tls),
        directories,
        shared_sessions: session_store.as_ref().is_some_and(Option::is_some),
    };
    let policy = compile::policy(root, &around, &mut off, report);
    off.judge(profile, listen.as_ref(), report);
    Some(Configuration {
        profile,
        identity: identity?,
        authentication: authentication?,
        keycloak: if has_provider { Some(keycloak?) } else { None },
        sessions: sessions?,
        session_store: session_store?,
        audit: audit?,
        tls: tls?,
        listen: listen?,
        admin: admin?,
        upstream: upstream?,
        state: state?,
        keys: keys?,
        key_sources: key_sources?,
        policy: policy?,
        hash,
    })
}

/// Loads the section `key_sources` alone, for making keys before there is a ring to put them into. Nothing else of the
/// sources is looked at, and no other variable or file of theirs is needed.
#[must_use]
pub fn load_key_sources(
    sources: &[Source],
    env: &dyn Environment,
) -> (Option<KeySources>, Vec<Finding>) {
    let mut report = Report::new(sources);
    let built = read(sources, &mut report).and_then(|mut tree| {
        if let Kind::Map(entries) = &mut tree.kind {
            entries.retain(|entry| entry.name == "key_sources");
        }
        interpolate(&mut tree, env, &mut report);
        if let Some(entry) = tree.entry("key_sources") {
            check::mapping(&entry.value, KEY_SOURCES, "key_sources", &mut report);
        }
        settings::key_sources(Section::new(&tree, ROOT), env, &mut report)
    });
    let whole = built.filter(|_| !report.has_errors());
    (whole, report.finish())
}

/// All sources as one tree; `None` if one of them is no YAML.
fn read(sources: &[Source], report: &mut Report<'_>) -> Option<Node> {
    let mut whole = Node {
        place: Place {
            source: 0,
            line: 1,
            column: 1,
            width: 1,
            last_line: 1,
        },
        kind: Kind::Null,
    };
    for (number, source) in sources.iter().enumerate() {
        if let Some(node) = yaml::parse(number, &source.text, report) {
            merge(&mut whole, node, "", report);
        }
    }
    if report.has(codes::SYNTAX) {
        return None;
    }
    if matches!(whole.kind, Kind::Null) {
        report
            .error(
                codes::MISSING_KEY,
                Place::default(),
                "there is no configuration",
            )
            .fix("name its files or directories with --config");
        return None;
    }
    Some(whole)
}

#[cfg(test)]
pub(crate) mod tests;
