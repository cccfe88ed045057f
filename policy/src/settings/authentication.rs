//! `authentication`, `keycloak`, `identity`, `sessions`.

use std::time::Duration;

use super::SwitchedOff;
use super::types::{
    Authentication, Binding, BoundTokens, Identity, IdentityEvents, Jwt, Keycloak, Mfa,
    MfaProvider, PreviousSecret, SessionStore, Sessions,
};
use crate::document::check::date;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Node;
use crate::finding::codes;
use crate::secret::Secret;

/// Bytes that an HS256 key has at least (RFC 7518 §3.2).
const JWT_SECRET_BYTES_MIN: usize = 32;
/// A day of the UTC calendar.
const DAY_SECONDS: i64 = 86_400;

pub(crate) fn authentication(
    root: Section<'_>,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Authentication> {
    let section = root.section("authentication");
    let jwt = jwt(section, super::issuers::has_provider(root), report);
    let mfa = mfa(root, off, report);
    let bound_tokens = bound_tokens(section.section("bound_tokens"), off);
    Some(Authentication {
        jwt: jwt?,
        mfa,
        bound_tokens,
        clock_skew: section.seconds("clock_skew_seconds")?,
    })
}

fn jwt(section: Section<'_>, has_provider: bool, report: &mut Report<'_>) -> Option<Jwt> {
    let jwt = section.section("jwt");
    let enabled = jwt.is_written() && jwt.flag("enabled");
    if !enabled && !has_provider {
        report
            .error(
                codes::MISSING_KEY,
                jwt.place_of("enabled"),
                "no token is taken: neither authentication.jwt nor keycloak nor identity.issuers is there",
            )
            .fix("add one of them");
    }
    for name in ["secret", "issuer", "audience"] {
        if enabled && jwt.entry_of(name).is_none() {
            report
                .error(
                    codes::MISSING_KEY,
                    jwt.place(),
                    format!("`authentication.jwt.{name}` is missing"),
                )
                .fix("local tokens need it; or set authentication.jwt.enabled: false");
        }
    }
    let secret = jwt.text("secret").map(|text| Secret::new(text.to_owned()));
    if secret
        .as_ref()
        .is_some_and(|s| s.len() < JWT_SECRET_BYTES_MIN)
    {
        report
            .error(
                codes::BAD_KEY,
                jwt.place_of("secret"),
                "`authentication.jwt.secret` is shorter than 32 bytes",
            )
            .fix("take a new one from `safeguard keys generate`");
    }
    let previous = previous(jwt, report);
    let expiration = jwt.seconds("expiration")?;
    let refresh_expiration = jwt.seconds("refresh_expiration")?;
    let refresh_enabled = jwt.flag("refresh_enabled");
    if refresh_enabled && refresh_expiration < expiration {
        report
            .error(
                codes::CONTRADICTION,
                jwt.place_of("refresh_expiration"),
                "a refresh token lives shorter than the access token that it renews",
            )
            .fix("make refresh_expiration at least expiration")
            .related(jwt.place_of("expiration"), "the access token's life");
    }
    if refresh_enabled && !(enabled && has_provider) {
        report
            .warning(
                codes::CONTRADICTION,
                jwt.place_of("refresh_enabled"),
                "`authentication.jwt.refresh_enabled` does nothing: refresh tokens are had for logins at `keycloak` or one of `identity.issuers`, with local tokens",
            )
            .fix("write false, or add what is missing");
    }
    Some(Jwt {
        enabled,
        secret,
        previous,
        issuer: jwt.owned("issuer").unwrap_or_default(),
        audience: jwt.owned("audience").unwrap_or_default(),
        expiration,
        once: jwt.flag("once"),
        refresh_enabled,
        refresh_expiration,
    })
}

fn bound_tokens(section: Section<'_>, off: &mut SwitchedOff) -> BoundTokens {
    let mut binding = |name, words| match section.text(name) {
        Some("required") => Binding::Required,
        Some("ignored") => {
            off.note(section.place_of(name), words);
            Binding::Ignored
        }
        _ => Binding::Accepted,
    };
    BoundTokens {
        dpop: binding(
            "dpop",
            "tokens that are bound to a key pass without its proof",
        ),
        certificate: binding(
            "certificate",
            "tokens that are bound to a certificate pass without it",
        ),
        nonce: section.flag("nonce"),
    }
}

/// The secret before the last rotation.
fn previous(jwt: Section<'_>, report: &mut Report<'_>) -> PreviousSecret {
    let previous = jwt.section("previous");
    let text = previous.text("secret");
    let words = match (text, jwt.text("secret")) {
        (Some(old), _) if old.len() < JWT_SECRET_BYTES_MIN => {
            Some("`authentication.jwt.previous.secret` is shorter than 32 bytes")
        }
        (Some(old), Some(new)) if old == new => {
            Some("`authentication.jwt.previous.secret` is the secret itself: nothing was rotated")
        }
        _ => None,
    };
    if let Some(words) = words {
        report
            .error(codes::BAD_KEY, previous.place_of("secret"), words)
            .fix("write the secret that was in force before, or remove `previous`");
    }
    let last_day = previous.text("until").and_then(date);
    let secret = text.map(|text| Secret::new(text.to_owned()));
    last_day.map_or_else(PreviousSecret::default, |day| {
        PreviousSecret::new(secret, day.saturating_add(DAY_SECONDS))
    })
}

fn mfa(root: Section<'_>, off: &mut SwitchedOff, report: &mut Report<'_>) -> Mfa {
    let mfa = root.section("authentication").section("mfa");
    let keycloak = root.section("keycloak");
    let by_provider = keycloak.is_written() && keycloak.flag("require_mfa");
    let required = mfa.flag("enabled") || by_provider;
    if !required {
        off.note(mfa.place_of("enabled"), "the second factor is switched off");
    }
    if mfa
        .integer("grace_period")
        .is_some_and(|seconds| seconds > 0)
    {
        report
            .warning(codes::NOT_BUILT, mfa.place_of("grace_period"), "`authentication.mfa.grace_period` does nothing: a second factor is needed from the first call")
            .fix("write 0");
    }
    let providers = match mfa.node_of("providers") {
        None => vec![MfaProvider::Totp, MfaProvider::Webauthn],
        Some(list) => list
            .items()
            .iter()
            .filter_map(Node::text)
            .filter_map(provider)
            .collect(),
    };
    let acr = mfa.texts("acr");
    if required && providers.is_empty() && acr.is_empty() {
        report
            .error(
                codes::CONTRADICTION,
                mfa.place_of("providers"),
                "a second factor is required, but nothing proves one",
            )
            .fix("name totp, webauthn or an acr");
    }
    Mfa {
        required,
        providers,
        acr,
        scope: scope(mfa, report),
        enrolment: super::enrolment::read(root, required, report),
    }
}

/// One scope: visible ASCII without `"` and `\` (RFC 6749 §3.3).
fn scope(mfa: Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let scope = mfa.text("scope")?;
    let allowed = |c: char| matches!(c, '!'..='~') && !matches!(c, '"' | '\\');
    if scope.is_empty() || !scope.chars().all(allowed) {
        report
            .error(
                codes::BAD_VALUE,
                mfa.place_of("scope"),
                "`authentication.mfa.scope` is no scope",
            )
            .fix("name one scope of the provider's, such as mfa");
    }
    Some(scope.to_owned())
}

fn provider(word: &str) -> Option<MfaProvider> {
    match word {
        "totp" => Some(MfaProvider::Totp),
        "webauthn" => Some(MfaProvider::Webauthn),
        _ => None,
    }
}

pub(crate) fn keycloak(root: Section<'_>, report: &mut Report<'_>) -> Option<Keycloak> {
    let section = root.section("keycloak");
    let client_secret = section
        .text("client_secret")
        .map(|t| Secret::new(t.to_owned()));
    let server_url = section.text("server_url")?.trim_end_matches('/');
    server(section, "server_url", "keycloak.server_url", report)?;
    Some(Keycloak {
        realm: section.owned("realm")?,
        server_url: server_url.to_owned(),
        client_id: section.owned("client_id")?,
        client_secret,
        audiences: section.texts("audiences"),
        ca_file: section.text("ca_file").map(Into::into),
        keys_refresh: section.seconds("keys_refresh_seconds")?,
        keys_stale_max: keys_stale_max(section, "keycloak", report)?,
        serves_new_when_down: section.text("when_down") == Some("serve"),
        introspection: introspection(section, report)?,
        events: identity_events(section, report)?,
    })
}

fn introspection(keycloak: Section<'_>, report: &mut Report<'_>) -> Option<Option<Duration>> {
    let section = keycloak.section("introspection");
    let period = section.seconds("cache_seconds")?;
    if !section.flag("enabled") {
        return Some(None);
    }
    if keycloak.entry_of("client_secret").is_none() {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("enabled"),
                "`keycloak.introspection` needs `keycloak.client_secret`",
            )
            .fix("give the client's secret");
    }
    Some(Some(period))
}

/// The URL of a provider's server: https, or plain http that stays on this host.
pub(super) fn server(
    section: Section<'_>,
    name: &'static str,
    shown: &str,
    report: &mut Report<'_>,
) -> Option<()> {
    let url = section.text(name)?;
    let place = section.place_of(name);
    let host = super::transport::split_url(url).map(|url| (url.scheme, url.host));
    match host {
        Some(("https", _)) => {}
        Some(("http", host)) if super::transport::is_loopback_name(host) => {
            report
                .warning(
                    codes::WEAK_TRANSPORT,
                    place,
                    format!("`{shown}` is plain http; that stays on this host only"),
                )
                .fix("use https");
        }
        Some(("http", _)) => {
            report
                .error(
                    codes::WEAK_TRANSPORT,
                    place,
                    format!("`{shown}` is plain http to another host"),
                )
                .fix("use https");
        }
        _ => {
            report
                .error(codes::BAD_VALUE, place, format!("`{shown}` is no URL"))
                .fix("write it as https://auth.example.com");
        }
    }
    Some(())
}

pub(super) fn keys_stale_max(
    section: Section<'_>,
    shown: &str,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let (stale, refresh): (Duration, Duration) = (
        section.seconds("keys_stale_max_seconds")?,
        section.seconds("keys_refresh_seconds")?,
    );
    if stale <= refresh {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("keys_stale_max_seconds"),
                format!("`{shown}.keys_stale_max_seconds` is not longer than keys_refresh_seconds: keys would be refused between two fetches"),
            )
            .fix("make it several times as long")
            .related(section.place_of("keys_refresh_seconds"), "how often they are fetched");
    }
    Some(stale)
}

fn identity_events(
    keycloak: Section<'_>,
    report: &mut Report<'_>,
) -> Option<Option<IdentityEvents>> {
    let section = keycloak.section("events");
    let interval = section.seconds("interval_seconds")?;
    if !section.flag("enabled") {
        return Some(None);
    }
    if keycloak.entry_of("client_secret").is_none() {
        report
            .error(
                codes::MISSING_KEY,
                section.place_of("enabled"),
                "`keycloak.events` needs `keycloak.client_secret`: the sidecar asks as its own client",
            )
            .fix("write client_secret: ${KEYCLOAK_CLIENT_SECRET}");
    }
    Some(Some(IdentityEvents { interval }))
}

/// Limits of login sessions: `keycloak`'s, or the defaults that its table has (900 s, 300 s, 1).
pub(crate) fn sessions(root: Section<'_>, report: &mut Report<'_>) -> Option<Sessions> {
    let section = root.section("keycloak");
    let absolute: Duration = section.seconds("session_timeout")?;
    let idle = section.seconds("idle_timeout")?;
    if idle > absolute {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("idle_timeout"),
                "`keycloak.idle_timeout` is longer than session_timeout",
            )
            .fix("make it shorter")
            .related(section.place_of("session_timeout"), "the longest session");
    }
    Some(Sessions {
        absolute,
        idle,
        max_per_user: section.number("max_sessions_per_user")?,
        refuses_new: root.section("sessions").text("at_limit") == Some("refuse_new"),
    })
}

/// Names that are nobody's own (§164.312(a)(2)(i): unique user identification).
const SHARED_SUBJECTS: [&str; 12] = [
    "admin",
    "administrator",
    "anonymous",
    "generic",
    "guest",
    "nobody",
    "root",
    "service",
    "shared",
    "system",
    "test",
    "user",
];

fn shared_subjects(section: Section<'_>) -> Vec<String> {
    if section.entry_of("shared_subjects").is_none() {
        return SHARED_SUBJECTS.map(str::to_owned).to_vec();
    }
    let names = section.texts("shared_subjects");
    names.iter().map(|name| name.to_lowercase()).collect()
}

/// Where login sessions are kept: `None` within is this process.
pub(crate) fn session_store(
    root: Section<'_>,
    report: &mut Report<'_>,
) -> Option<Option<SessionStore>> {
    let section = root.section("sessions");
    // `refuse` is all there is.
    let _ = section.text("when_down");
    let replicas: u32 = section.number("replicas")?;
    // What stands in a file that is not opened is taken for a URL: `memory` is no secret.
    let store = section.text("store");
    let (certificate_file, key_file) = (section.text("certificate_file"), section.text("key_file"));
    if store == Some("memory") {
        if replicas > 1 {
            report
                .error(
                    codes::CONTRADICTION,
                    section.place_of("replicas"),
                    "several replicas, and login sessions in the memory of each: a logout at one would not hold at the others",
                )
                .fix("let sessions.store be the URL of a Redis, or run one replica");
        }
        let unused = [
            "username",
            "password",
            "ca_file",
            "certificate_file",
            "key_file",
        ];
        for key in unused.into_iter().filter(|key| section.text(key).is_some()) {
            report
                .error(
                    codes::CONTRADICTION,
                    section.place_of(key),
                    format!("`sessions.{key}` is for a Redis, and the store is memory"),
                )
                .fix("let sessions.store be the URL of a Redis, or remove it");
        }
        return Some(None);
    }
    if certificate_file.is_some() != key_file.is_some() {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("certificate_file"),
                "`sessions.certificate_file` and `sessions.key_file` go together",
            )
            .fix("set both, or neither");
    }
    let is_url = |store: &str| store.starts_with("rediss://") || store.starts_with("redis://");
    if store.is_some_and(|store| !is_url(store)) {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("store"),
                "`sessions.store` is neither `memory` nor the URL of a Redis",
            )
            .fix("write memory, or rediss://HOST:PORT");
    }
    let secret = |text: &str| Secret::new(text.to_owned());
    Some(Some(SessionStore {
        url: store.map(secret),
        username: section.text("username").map(str::to_owned),
        password: section.text("password").map(secret),
        ca_file: section.text("ca_file").map(Into::into),
        certificate: certificate_file
            .zip(key_file)
            .map(|(certificate, key)| (certificate.into(), key.into())),
    }))
}

/// `roles_from`: the member names that lead to a claim.
pub(super) fn claim_path(
    section: Section<'_>,
    shown: &str,
    report: &mut Report<'_>,
) -> Option<Vec<String>> {
    let path: Vec<String> = section
        .text("roles_from")?
        .split('.')
        .map(str::to_owned)
        .collect();
    if path.iter().any(String::is_empty) {
        report
            .error(
                codes::BAD_PATH,
                section.place_of("roles_from"),
                format!("`{shown}` is no path of claims"),
            )
            .fix("write it as realm_access.roles");
    }
    Some(path)
}

pub(crate) fn identity(root: Section<'_>, report: &mut Report<'_>) -> Option<Identity> {
    let section = root.section("identity");
    if let Some(list) = section.node_of("purpose_from") {
        let words: Vec<&str> = list.items().iter().filter_map(Node::text).collect();
        if !words.contains(&"token") {
            report
                .error(
                    codes::BAD_VALUE,
                    list.place,
                    "`identity.purpose_from` leaves out token: what a token says of its purpose always counts first",
                )
                .fix("write [token, only] or [token, call, only], or remove it");
        }
    }
    let roles_from = claim_path(section, "identity.roles_from", report)?;
    Some(Identity {
        issuers: super::issuers::issuers(root, &roles_from, report),
        roles_from,
        shared_subjects: shared_subjects(section),
    })
}
