//! The items of a Keycloak realm, each judged against the configuration. Which roles the sidecar's client needs to see them, and what each means, is said in `docs/keycloak/README.md`.

#![expect(
    clippy::indexing_slicing,
    reason = "reading serde_json's Value by name gives null for what is absent"
)]

use safeguard_policy::{Configuration, Keycloak, MfaProvider};
use serde_json::Value;

use super::realm::{self, Realm};
use super::{Item, Unavailable};

/// Bytes that a client secret has at least: Keycloak makes 32.
const SECRET_BYTES_MIN: usize = 32;
/// Seconds that an access token may live: what a lost one is good for where back-channel logout does not reach.
const TOKEN_SECONDS_MAX: u64 = 300;
/// Characters that a password policy asks for at least (NIST SP 800-63B-4, §3.1.1.2, beside a second factor: 8).
const PASSWORD_CHARACTERS_MIN: u64 = 8;
/// Failures after which a login must be locked at the latest.
const FAILURES_MAX: u64 = 30;
/// Clients that every realm has, for Keycloak's own pages.
const BUILT_IN: [&str; 6] = [
    "account",
    "account-console",
    "admin-cli",
    "broker",
    "realm-management",
    "security-admin-console",
];
/// The events of people that are read into the trail.
const EVENTS: [&str; 10] = [
    "LOGIN",
    "LOGIN_ERROR",
    "LOGOUT",
    "REGISTER",
    "UPDATE_CREDENTIAL",
    "RESET_PASSWORD",
    "DELETE_ACCOUNT",
    "REMOVE_CREDENTIAL",
    "USER_DISABLED_BY_TEMPORARY_LOCKOUT",
    "USER_DISABLED_BY_PERMANENT_LOCKOUT",
];
/// What Keycloak shows in place of a setting that its authenticator does not declare, the reference value among them.
const MASK: &str = "**********";
const RECONFIGURE: &str = "run docs/keycloak/configure.py on the realm";
const GIVE_ROLES: &str = "give the service account of the client the roles view-realm, view-clients and view-events of realm-management";

/// Looks at the realm of the configuration.
///
/// # Errors
/// Nothing answers there, or what answers is no Keycloak.
pub async fn examine(configuration: &Configuration) -> Result<Vec<Item>, Unavailable> {
    let Some(keycloak) = &configuration.keycloak else {
        return Ok(vec![Item::not_configured("keycloak")]);
    };
    let realm = realm::read(keycloak).await?;
    let look = Look {
        configuration,
        keycloak,
        realm: &realm,
    };
    let mut items = look.at_the_outside();
    if let Some(why) = &realm.no_token {
        let wanted = "a token for the client, with which the realm can be seen";
        let mend = "correct client_id and client_secret; turn on the client's service account";
        items.push(Item::judged("keycloak.client", false, why, wanted, mend));
        return Ok(items);
    }
    items.extend(look.at_the_realm());
    items.extend(look.at_the_clients());
    items.extend(look.at_the_flow());
    items.push(look.events());
    items.push(look.admin_events());
    Ok(items)
}

struct Look<'a> {
    configuration: &'a Configuration,
    keycloak: &'a Keycloak,
    realm: &'a Realm,
}

impl Look<'_> {
    fn at_the_outside(&self) -> Vec<Item> {
        let issuer = self.keycloak.issuer();
        let named = text(&self.realm.discovery, "issuer");
        let secret = self.keycloak.client_secret.as_ref();
        let bytes = secret.map_or(0, |secret| secret.expose().len());
        vec![
            Item::judged(
                "keycloak.issuer",
                named == issuer,
                named,
                issuer,
                "set Keycloak's hostname, or correct server_url",
            ),
            // The fetcher speaks nothing older: a server that had not would not have answered.
            Item::judged(
                "keycloak.tls",
                self.keycloak.server_url.starts_with("https://"),
                self.keycloak
                    .server_url
                    .split(':')
                    .next()
                    .unwrap_or_default(),
                "https with TLS 1.3",
                "serve Keycloak by https",
            ),
            Item::judged(
                "keycloak.client_secret",
                bytes >= SECRET_BYTES_MIN,
                format!("{bytes} bytes"),
                format!("at least {SECRET_BYTES_MIN} bytes"),
                "let Keycloak make a new secret for the client",
            ),
        ]
    }

    fn at_the_realm(&self) -> Vec<Item> {
        let Some(realm) = &self.realm.settings else {
            return vec![unseen("keycloak.realm", "the realm's settings")];
        };
        let limits = &self.configuration.sessions;
        let at_most = |what, member: &str, most: u64| {
            let found = number(realm, member);
            let wanted = format!("1 to {most} s");
            Item::judged(
                what,
                (1..=most).contains(&found),
                format!("{found} s"),
                wanted,
                RECONFIGURE,
            )
        };
        let failures = number(realm, "failureFactor");
        let locks = flag(realm, "bruteForceProtected") && (1..=FAILURES_MAX).contains(&failures);
        let policy = text(realm, "passwordPolicy");
        let length = policy
            .split_once("length(")
            .and_then(|(_, rest)| rest.split(')').next()?.parse::<u64>().ok());
        vec![
            at_most(
                "keycloak.session_lifespan",
                "ssoSessionMaxLifespan",
                limits.absolute.as_secs(),
            ),
            at_most(
                "keycloak.session_idle",
                "ssoSessionIdleTimeout",
                limits.idle.as_secs(),
            ),
            at_most(
                "keycloak.token_lifespan",
                "accessTokenLifespan",
                TOKEN_SECONDS_MAX,
            ),
            Item::judged(
                "keycloak.brute_force",
                locks,
                format!(
                    "{}, after {failures} failures",
                    on(flag(realm, "bruteForceProtected"))
                ),
                format!("on, after at most {FAILURES_MAX} failures"),
                RECONFIGURE,
            ),
            Item::judged(
                "keycloak.password_policy",
                length.is_some_and(|length| length >= PASSWORD_CHARACTERS_MIN),
                if policy.is_empty() { "none" } else { policy },
                format!("length({PASSWORD_CHARACTERS_MIN}) or more"),
                RECONFIGURE,
            ),
            Item::judged(
                "keycloak.ssl_required",
                text(realm, "sslRequired") != "none",
                text(realm, "sslRequired"),
                "all or external",
                RECONFIGURE,
            ),
            Item::judged(
                "keycloak.registration",
                !flag(realm, "registrationAllowed"),
                on(flag(realm, "registrationAllowed")),
                "off: people are entered by those who know them",
                RECONFIGURE,
            ),
            self.levels(realm),
        ]
    }

    /// Every `acr` that the configuration speaks of has a level.
    fn levels(&self, realm: &Value) -> Item {
        let map = realm["attributes"]["acr.loa.map"].as_str().unwrap_or("{}");
        let levels: Value = serde_json::from_str(map).unwrap_or_default();
        let wanted = &self.configuration.authentication.mfa.acr;
        let well = wanted.iter().all(|acr| levels.get(acr).is_some());
        let wanted = if wanted.is_empty() {
            "none is configured".to_owned()
        } else {
            format!("a level of {}", wanted.join(", "))
        };
        Item::judged("keycloak.acr", well, map, wanted, RECONFIGURE)
    }

    fn at_the_clients(&self) -> Vec<Item> {
        let (Some(clients), Some(_)) = (&self.realm.clients, &self.realm.scopes) else {
            return vec![unseen("keycloak.clients", "clients and client scopes")];
        };
        let own = clients
            .iter()
            .find(|c| text(c, "clientId") == self.keycloak.client_id);
        let login: Vec<&Value> = clients
            .iter()
            .filter(|c| flag(c, "enabled") && flag(c, "standardFlowEnabled"))
            .filter(|c| !BUILT_IN.contains(&text(c, "clientId")))
            .collect();
        let sees = |client: &&Value| self.mappers(client).iter().any(|m| self.is_audience(m));
        let ours: Vec<&Value> = login.iter().copied().filter(sees).collect();
        let names = |bad: Vec<&Value>| match bad.as_slice() {
            [] => "all".to_owned(),
            bad => format!(
                "not {}",
                bad.iter()
                    .map(|c| text(c, "clientId"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        let each = |what, of: &[&Value], holds: &dyn Fn(&Value) -> bool, wanted: String| {
            let bad: Vec<&Value> = of.iter().copied().filter(|client| !holds(client)).collect();
            Item::judged(what, bad.is_empty(), names(bad), wanted, RECONFIGURE)
        };
        let attribute = |client: &Value, name: &str| {
            client["attributes"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let public: Vec<&Value> = clients
            .iter()
            .filter(|c| {
                flag(c, "enabled")
                    && flag(c, "publicClient")
                    && !BUILT_IN.contains(&text(c, "clientId"))
            })
            .collect();
        let client_id = self.keycloak.client_id.as_str();
        vec![
            Item::judged(
                "keycloak.client",
                own.is_some_and(|c| {
                    !flag(c, "publicClient")
                        && !flag(c, "directAccessGrantsEnabled")
                        && !flag(c, "implicitFlowEnabled")
                }),
                own.map_or("not there", |c| {
                    if flag(c, "publicClient") {
                        "public"
                    } else if flag(c, "directAccessGrantsEnabled") {
                        "confidential, takes passwords"
                    } else {
                        "confidential"
                    }
                }),
                "confidential, without direct grants and the implicit flow",
                RECONFIGURE,
            ),
            each(
                "keycloak.direct_grants",
                &public,
                &|c| !flag(c, "directAccessGrantsEnabled") && !flag(c, "implicitFlowEnabled"),
                "no public client takes passwords or has the implicit flow".to_owned(),
            ),
            each(
                "keycloak.pkce",
                &public,
                &|c| {
                    !flag(c, "standardFlowEnabled")
                        || attribute(c, "pkce.code.challenge.method") == "S256"
                },
                "public clients must use PKCE with S256".to_owned(),
            ),
            Item::judged(
                "keycloak.audience",
                !ours.is_empty(),
                format!("{} clients", ours.len()),
                format!(
                    "a client whose tokens are for {}",
                    self.configuration.listen.public_url
                ),
                RECONFIGURE,
            ),
            each(
                "keycloak.introspection",
                &ours,
                &|c| {
                    self.mappers(c)
                        .iter()
                        .any(|m| m["config"]["included.client.audience"] == client_id)
                },
                format!("their tokens are for {client_id}, too, which may introspect them"),
            ),
            each(
                "keycloak.amr",
                &ours,
                &|c| {
                    self.mappers(c).iter().any(|m| {
                        text(m, "protocolMapper") == "oidc-amr-mapper"
                            && m["config"]["access.token.claim"] == "true"
                    })
                },
                "their access tokens hold amr".to_owned(),
            ),
            each(
                "keycloak.backchannel_logout",
                &ours,
                &|c| {
                    attribute(c, "backchannel.logout.url").ends_with("/auth/backchannel-logout")
                        && attribute(c, "backchannel.logout.session.required") == "true"
                },
                "their logouts are told to /auth/backchannel-logout, with the session".to_owned(),
            ),
            self.scope(),
        ]
    }

    /// The scope by which clients ask for a second factor.
    fn scope(&self) -> Item {
        let scopes = self.realm.scopes.as_deref().unwrap_or_default();
        let Some(wanted) = &self.configuration.authentication.mfa.scope else {
            return Item::judged("keycloak.scope", true, "", "none is configured", "");
        };
        let there = scopes.iter().any(|scope| text(scope, "name") == wanted);
        let asks = self.executions().any(|e| {
            text(e, "providerId") == "conditional-client-scope"
                && e["config"]["client_scope"] == *wanted
        });
        let found = match (there, asks) {
            (true, true) => "there, and asks",
            (true, false) => "there, but the browser's flow does not ask for it",
            (false, _) => "not there",
        };
        Item::judged(
            "keycloak.scope",
            there && asks,
            found,
            format!("the scope {wanted} makes the browser's flow ask for a second factor"),
            RECONFIGURE,
        )
    }

    /// The mappers of a client: its own, and those of its default scopes.
    fn mappers<'r>(&'r self, client: &'r Value) -> Vec<&'r Value> {
        let defaults: Vec<&str> = items(client, "defaultClientScopes")
            .filter_map(Value::as_str)
            .collect();
        let scopes = self.realm.scopes.iter().flatten();
        let scopes = scopes.filter(|scope| defaults.contains(&text(scope, "name")));
        items(client, "protocolMappers")
            .chain(scopes.flat_map(|scope| items(scope, "protocolMappers")))
            .collect()
    }

    /// Whether a mapper makes tokens for the sidecar.
    fn is_audience(&self, mapper: &Value) -> bool {
        let into_access = mapper["config"]["access.token.claim"] == "true";
        let audience = mapper["config"]["included.custom.audience"]
            .as_str()
            .unwrap_or_default();
        let resource = self.configuration.listen.public_url.trim_end_matches('/');
        let named = self.keycloak.audiences.iter().any(|one| one == audience);
        into_access && !audience.is_empty() && (audience.trim_end_matches('/') == resource || named)
    }

    fn executions(&self) -> impl Iterator<Item = &Value> {
        let all = self.realm.executions.iter().flatten();
        all.filter(|execution| text(execution, "requirement") != "DISABLED")
    }

    fn at_the_flow(&self) -> Vec<Item> {
        if self.realm.executions.is_none() {
            return vec![unseen("keycloak.flow", "the flow of logins in browsers")];
        }
        let limit = self
            .executions()
            .find(|e| text(e, "providerId") == "user-session-limits");
        let most = u64::from(self.configuration.sessions.max_per_user);
        let count = limit.map(|e| {
            e["config"]["userRealmLimit"]
                .as_str()
                .unwrap_or("0")
                .parse::<u64>()
                .unwrap_or(0)
        });
        let levels = self
            .executions()
            .any(|e| text(e, "providerId") == "conditional-level-of-authentication");
        let mut items = vec![
            Item::judged(
                "keycloak.session_limit",
                count.is_some_and(|count| (1..=most).contains(&count)),
                count.map_or("none".to_owned(), |count| format!("{count} a user")),
                format!("1 to {most} a user"),
                RECONFIGURE,
            ),
            Item::judged(
                "keycloak.step_up",
                levels,
                if levels { "by levels" } else { "none" },
                "a condition on the level of authentication, for acr_values",
                RECONFIGURE,
            ),
        ];
        let mfa = &self.configuration.authentication.mfa;
        for provider in &mfa.providers {
            items.push(self.provider(*provider));
        }
        items
    }

    /// Each kind of second factor is asked for, and says by which name it goes into `amr`.
    fn provider(&self, provider: MfaProvider) -> Item {
        let (what, authenticators, names): (_, &[&str], &[&str]) = match provider {
            MfaProvider::Totp => ("keycloak.totp", &["auth-otp-form"], &["otp", "totp"]),
            MfaProvider::Webauthn => (
                "keycloak.webauthn",
                &["webauthn-authenticator"],
                &["hwk", "swk", "webauthn"],
            ),
        };
        let steps: Vec<&Value> = self
            .executions()
            .filter(|e| authenticators.contains(&text(e, "providerId")))
            .collect();
        let named = |e: &&Value| {
            e["config"]["default.reference.value"]
                .as_str()
                .is_some_and(|name| name == MASK || names.contains(&name))
        };
        let unnamed = steps.iter().filter(|e| !named(e)).count();
        let found = match (steps.len(), unnamed) {
            (0, _) => "not in the flow".to_owned(),
            (_, 0) => "asked for, with its name".to_owned(),
            (all, some) => format!("{some} of {all} steps without its name"),
        };
        let wanted = format!("asked for, with the reference value {}", names.join(" or "));
        Item::judged(
            what,
            !steps.is_empty() && unnamed == 0,
            found,
            wanted,
            RECONFIGURE,
        )
    }

    fn events(&self) -> Item {
        let Some(events) = &self.realm.events else {
            return unseen("keycloak.events", "which events are kept");
        };
        let kept: Vec<&str> = items(events, "enabledEventTypes")
            .filter_map(Value::as_str)
            .collect();
        let missing: Vec<&str> = EVENTS
            .into_iter()
            .filter(|one| !kept.is_empty() && !kept.contains(one))
            .collect();
        let enabled = flag(events, "eventsEnabled");
        let found = match (enabled, missing.is_empty()) {
            (false, _) => "off".to_owned(),
            (true, true) => "on".to_owned(),
            (true, false) => format!("without {}", missing.join(", ")),
        };
        Item::judged(
            "keycloak.events",
            enabled && missing.is_empty(),
            found,
            "on, with what happens to logins and credentials",
            RECONFIGURE,
        )
    }

    fn admin_events(&self) -> Item {
        let Some(events) = &self.realm.events else {
            return unseen("keycloak.admin_events", "which events are kept");
        };
        let enabled = flag(events, "adminEventsEnabled");
        Item::judged(
            "keycloak.admin_events",
            enabled,
            on(enabled),
            "on",
            RECONFIGURE,
        )
    }
}

fn unseen(what: &'static str, thing: &str) -> Item {
    Item::unknown(what, "may not be seen", thing, GIVE_ROLES)
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn flag(value: &Value, member: &str) -> bool {
    value
        .get(member)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

fn number(value: &Value, member: &str) -> u64 {
    value
        .get(member)
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

fn items<'v>(value: &'v Value, member: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value
        .get(member)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

const fn on(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}
