//! What an event of Keycloak's means here: which event of the trail it is, who did it to whom, and whose sessions end.
//!
//! Read are ids, codes, names of roles, and whether a person may still log in. User names, addresses and whatever else Keycloak
//! keeps of a change stay where they are: the members are not even declared here.

use std::net::IpAddr;

use safeguard_audit::{EventName, Outcome};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::source::List;

/// The user events that mean something here: what the provider is asked for.
pub(super) const USER_EVENTS: &[&str] = &[
    "LOGIN",
    "LOGIN_ERROR",
    "LOGOUT",
    "IMPERSONATE",
    "REGISTER",
    "DELETE_ACCOUNT",
    "UPDATE_CREDENTIAL",
    "REMOVE_CREDENTIAL",
    "USER_DISABLED_BY_TEMPORARY_LOCKOUT",
    "USER_DISABLED_BY_PERMANENT_LOCKOUT",
];
/// The longest code or id that is taken over, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// Names of roles that one event tells.
const ROLES_MAX: usize = 16;
/// The longest text of a change that is looked into, in bytes.
const REPRESENTATION_BYTES_MAX: usize = 256 * 1024;

/// Whose sessions end with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ends {
    Nothing,
    /// Every session of this user.
    User(String),
    /// One login, by its `sid`.
    Login(String),
}

/// An event of Keycloak's, as the trail tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happened {
    /// Keycloak's id of it.
    pub(super) id: String,
    /// When, by Keycloak's clock, in Unix milliseconds.
    pub(super) at_ms: i64,
    pub(super) name: EventName,
    pub(super) outcome: Outcome,
    /// A code.
    pub(super) reason: String,
    /// The id of the person who did it.
    pub(super) actor: Option<String>,
    /// Whether that person is of this realm.
    pub(super) actor_here: bool,
    /// The client by which.
    pub(super) client: Option<String>,
    pub(super) source: Option<IpAddr>,
    /// The id of the person to whom it was done.
    pub(super) target: Option<String>,
    /// The login session.
    pub(super) sid: Option<String>,
    /// Names of roles.
    pub(super) roles: Vec<String>,
    /// `CREATE CLIENT`: what an administrator did.
    pub(super) operation: Option<String>,
    pub(super) ends: Ends,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserEvent {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_id: Option<String>,
    user_id: Option<String>,
    session_id: Option<String>,
    ip_address: Option<String>,
    error: Option<String>,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    credential_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdminEvent {
    realm_id: Option<String>,
    auth_details: Option<AuthDetails>,
    operation_type: Option<String>,
    resource_type: Option<String>,
    resource_path: Option<String>,
    representation: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthDetails {
    realm_id: Option<String>,
    client_id: Option<String>,
    user_id: Option<String>,
    ip_address: Option<String>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

#[derive(Deserialize)]
struct Person {
    enabled: Option<bool>,
}

/// Where an event stands: its time in Unix milliseconds and its id. None for what is no event.
pub(super) fn place(event: &Value) -> Option<(i64, String)> {
    let at_ms = event.get("time")?.as_i64()?;
    let id = event.get("id").and_then(Value::as_str);
    let id = id.filter(|id| is_word(id)).map(str::to_owned);
    // Versions before 26 give none: then its content is its name.
    let id = id.unwrap_or_else(|| {
        let digest = Sha256::digest(event.to_string());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.chars().take(32).collect()
    });
    Some((at_ms, id))
}

/// What it means; none where it means nothing here, or can't be read.
pub(super) fn read(list: List, event: &Value) -> Option<Happened> {
    let (at_ms, id) = place(event)?;
    let mut happened = match list {
        List::User => UserEvent::deserialize(event).ok()?.happened()?,
        List::Admin => AdminEvent::deserialize(event).ok()?.happened()?,
    };
    (happened.at_ms, happened.id) = (at_ms, id);
    Some(happened)
}

impl UserEvent {
    fn happened(self) -> Option<Happened> {
        let error = self.error.as_deref().map(code);
        let user = self.user_id.filter(|id| is_word(id));
        let sid = self.session_id.filter(|id| is_word(id));
        let credential = self.details.and_then(|details| details.credential_type);
        let credential = credential.map_or("credential".to_owned(), |kind| code(&kind));
        let whole_user = || user.clone().map_or(Ends::Nothing, Ends::User);
        let (name, reason, ends) = match self.kind.as_deref()? {
            "LOGIN" => (EventName::UserLogin, "login".to_owned(), Ends::Nothing),
            "IMPERSONATE" => (
                EventName::UserLogin,
                "impersonation".to_owned(),
                Ends::Nothing,
            ),
            "LOGOUT" => {
                let ends = sid.clone().map_or(Ends::Nothing, Ends::Login);
                (EventName::UserLogout, "logout".to_owned(), ends)
            }
            "LOGIN_ERROR" => {
                let why = error.clone().unwrap_or_else(|| "login_error".to_owned());
                (EventName::FailedLoginAttempt, why, Ends::Nothing)
            }
            // Who fails to log in as somebody else must not be able to end that person's work.
            "USER_DISABLED_BY_TEMPORARY_LOCKOUT" => (
                EventName::FailedLoginAttempt,
                "temporary_lockout".to_owned(),
                Ends::Nothing,
            ),
            "USER_DISABLED_BY_PERMANENT_LOCKOUT" => (
                EventName::FailedLoginAttempt,
                "permanent_lockout".to_owned(),
                whole_user(),
            ),
            "REGISTER" => (
                EventName::UserCreated,
                "registered".to_owned(),
                Ends::Nothing,
            ),
            "DELETE_ACCOUNT" => (
                EventName::UserDeleted,
                "own_account".to_owned(),
                whole_user(),
            ),
            // The person changed it in a session of his own, which goes on.
            "UPDATE_CREDENTIAL" => (
                EventName::PasswordReset,
                format!("{credential}_updated"),
                Ends::Nothing,
            ),
            "REMOVE_CREDENTIAL" => (
                EventName::PasswordReset,
                format!("{credential}_removed"),
                Ends::Nothing,
            ),
            _ => return None,
        };
        let outcome = match (name, &error) {
            (EventName::FailedLoginAttempt, _) => Outcome::Denied,
            (_, Some(_)) => Outcome::Failure,
            _ => Outcome::Success,
        };
        Some(Happened {
            id: String::new(),
            at_ms: 0,
            name,
            outcome,
            reason,
            actor: user,
            actor_here: true,
            client: self.client_id.map(|id| label(&id)),
            source: self.ip_address.and_then(|address| address.parse().ok()),
            target: None,
            sid,
            roles: Vec::new(),
            operation: None,
            ends: if outcome == Outcome::Failure {
                Ends::Nothing
            } else {
                ends
            },
        })
    }
}

impl AdminEvent {
    fn happened(self) -> Option<Happened> {
        let operation = code(self.operation_type.as_deref()?);
        let resource = code(self.resource_type.as_deref().unwrap_or("realm"));
        // Missing where the realm itself was changed.
        let path: Vec<&str> = self
            .resource_path
            .iter()
            .flat_map(|path| path.split('/'))
            .collect();
        let target = match path.as_slice() {
            ["users", id, ..] if is_word(id) => Some((*id).to_owned()),
            _ => None,
        };
        let below = path.get(2).copied();
        let text = self.representation.as_deref();
        let text = text
            .filter(|text| text.len() <= REPRESENTATION_BYTES_MAX)
            .unwrap_or_default();
        let (name, does_end) = meaning(&operation, &resource, below, text);
        let failed = self.error.is_some();
        let ends = match (&target, path.as_slice()) {
            _ if failed || !does_end => Ends::Nothing,
            (Some(user), _) => Ends::User(user.clone()),
            (None, ["sessions", sid]) if is_word(sid) => Ends::Login((*sid).to_owned()),
            _ => Ends::Nothing,
        };
        let names: Vec<Role> = if resource.ends_with("role_mapping") {
            serde_json::from_str(text).unwrap_or_default()
        } else {
            Vec::new()
        };
        let by = self.auth_details;
        let realm = by.as_ref().and_then(|by| by.realm_id.as_deref());
        Some(Happened {
            id: String::new(),
            at_ms: 0,
            name,
            outcome: if failed {
                Outcome::Failure
            } else {
                Outcome::Success
            },
            reason: match (below, &target) {
                (Some(part), Some(_)) => format!("{resource}_{operation}_{}", code(part)),
                _ => format!("{resource}_{operation}"),
            },
            actor: by
                .as_ref()
                .and_then(|by| by.user_id.clone())
                .filter(|id| is_word(id)),
            actor_here: realm.is_some() && realm == self.realm_id.as_deref(),
            client: by
                .as_ref()
                .and_then(|by| by.client_id.as_deref())
                .map(label),
            source: by
                .as_ref()
                .and_then(|by| by.ip_address.as_deref()?.parse().ok()),
            target,
            sid: None,
            roles: names
                .iter()
                .take(ROLES_MAX)
                .map(|role| label(&role.name))
                .collect(),
            operation: Some(format!("{operation} {resource}")),
            ends,
        })
    }
}

/// The event of the trail, and whether the person's sessions end. What is not known is a change of permissions, which it
/// may be.
fn meaning(operation: &str, resource: &str, below: Option<&str>, text: &str) -> (EventName, bool) {
    match (resource, operation, below) {
        ("user", "create", _) => (EventName::UserCreated, false),
        ("user", "delete", None) => (EventName::UserDeleted, true),
        ("user", _, Some("reset-password" | "credentials" | "disable-credential-types")) => {
            (EventName::PasswordReset, true)
        }
        ("user", _, Some("logout")) | ("user_session", "delete", _) => {
            (EventName::UserLogout, true)
        }
        // An e-mail with a link: nothing has changed yet.
        ("user", "action", Some(_)) => (EventName::PermissionChange, false),
        // Whether the person may still log in is told only where the realm keeps what was written; else it is not to be ruled out.
        ("user", "update", _) => (EventName::PermissionChange, !is_enabled(text)),
        ("realm_role_mapping" | "client_role_mapping" | "group_membership", "create", _) => {
            (EventName::RoleAssigned, false)
        }
        ("realm_role_mapping" | "client_role_mapping" | "group_membership", "delete", _) => {
            (EventName::PermissionChange, true)
        }
        _ => (EventName::PermissionChange, false),
    }
}

fn is_enabled(text: &str) -> bool {
    serde_json::from_str::<Person>(text).is_ok_and(|person| person.enabled == Some(true))
}

/// An id as Keycloak makes them.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= WORD_BYTES_MAX
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
}

/// A stable snake_case word of another's.
fn code(text: &str) -> String {
    let word = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    text.chars().take(WORD_BYTES_MAX).map(word).collect()
}

/// A name that people gave, on one line, without what separates names.
fn label(text: &str) -> String {
    let plain = |c: char| if c.is_control() || c == ',' { '_' } else { c };
    text.chars().take(WORD_BYTES_MAX).map(plain).collect()
}

#[cfg(test)]
#[path = "happened_tests.rs"]
mod tests;
