//! Keycloak's events as version 26.7 answers them, and what is made of them.

use serde_json::json;

use super::*;

const ADMIN: &str = "0532d2d9-907c-41d4-8260-22b0a45e0a84";
const USER: &str = "569855f2-6932-4319-ac00-476dac43c3be";

fn admin(operation: &str, resource: &str, path: &str, representation: Option<&str>) -> Happened {
    let event = json!({
        "id": "3b0ba8b0-15b9-4592-80f5-bcc06d3fd1e3", "time": 1_795_441_704_999_i64, "realmId": "here",
        "authDetails": {"realmId": "master", "clientId": "c", "userId": ADMIN, "ipAddress": "192.0.2.7"},
        "operationType": operation, "resourceType": resource, "resourcePath": path, "representation": representation,
    });
    read(List::Admin, &event).expect("an event")
}

fn user(kind: &str, more: &Value) -> Option<Happened> {
    let mut event = json!({
        "id": "66be39a2-f60f-41bc-8623-7afd120bc3aa", "time": 1_795_441_702_698_i64, "type": kind, "realmId": "here",
        "clientId": "mcp-server", "userId": USER, "sessionId": "2sR25UgKwBPceUimTECrDm2A", "ipAddress": "127.0.0.1",
        "details": {"username": "dr.who", "email": "who@example.org"},
    });
    for (name, value) in more.as_object().expect("an object") {
        event[name] = value.clone();
    }
    read(List::User, &event)
}

#[test]
fn what_an_administrator_does_to_a_person_is_named_and_ends_what_it_must() {
    let at = format!("users/{USER}");
    let below = |part: &str| format!("{at}/{part}");
    let ended = Ends::User(USER.to_owned());
    for (operation, resource, path, name, ends) in [
        (
            "CREATE",
            "USER",
            at.clone(),
            EventName::UserCreated,
            Ends::Nothing,
        ),
        (
            "DELETE",
            "USER",
            at.clone(),
            EventName::UserDeleted,
            ended.clone(),
        ),
        (
            "ACTION",
            "USER",
            below("reset-password"),
            EventName::PasswordReset,
            ended.clone(),
        ),
        (
            "ACTION",
            "USER",
            below("logout"),
            EventName::UserLogout,
            ended.clone(),
        ),
        (
            "ACTION",
            "USER",
            below("execute-actions-email"),
            EventName::PermissionChange,
            Ends::Nothing,
        ),
        (
            "CREATE",
            "REALM_ROLE_MAPPING",
            below("role-mappings/realm"),
            EventName::RoleAssigned,
            Ends::Nothing,
        ),
        (
            "DELETE",
            "REALM_ROLE_MAPPING",
            below("role-mappings/realm"),
            EventName::PermissionChange,
            ended.clone(),
        ),
        (
            "CREATE",
            "GROUP_MEMBERSHIP",
            below("groups/g"),
            EventName::RoleAssigned,
            Ends::Nothing,
        ),
        (
            "DELETE",
            "USER_SESSION",
            "sessions/s-1".to_owned(),
            EventName::UserLogout,
            Ends::Login("s-1".to_owned()),
        ),
        (
            "UPDATE",
            "CLIENT",
            "clients/c".to_owned(),
            EventName::PermissionChange,
            Ends::Nothing,
        ),
        (
            "UPDATE",
            "SOMETHING_NEW",
            "x/y".to_owned(),
            EventName::PermissionChange,
            Ends::Nothing,
        ),
    ] {
        let happened = admin(operation, resource, &path, None);
        assert_eq!(
            (happened.name, &happened.ends),
            (name, &ends),
            "{operation} {resource} {path}"
        );
        assert_eq!(happened.actor.as_deref(), Some(ADMIN));
        assert!(!happened.actor_here, "an administrator of the master realm");
    }
}

#[test]
fn a_change_of_a_person_ends_sessions_unless_it_says_that_he_stays_enabled() {
    let at = format!("users/{USER}");
    let ended = Ends::User(USER.to_owned());
    for (representation, ends) in [
        (None, &ended),
        (Some("{"), &ended),
        (Some(r#"{"firstName":"A"}"#), &ended),
        (Some(r#"{"enabled":false}"#), &ended),
        (
            Some(r#"{"enabled":true,"email":"who@example.org"}"#),
            &Ends::Nothing,
        ),
    ] {
        assert_eq!(
            &admin("UPDATE", "USER", &at, representation).ends,
            ends,
            "{representation:?}"
        );
    }
}

#[test]
fn roles_are_told_by_bounded_names() {
    let long = "r".repeat(500);
    let roles =
        json!([{"id": "1", "name": "physician"}, {"name": "a,b\nc"}, {"name": long}]).to_string();
    let path = format!("users/{USER}/role-mappings/realm");
    let told = admin("CREATE", "REALM_ROLE_MAPPING", &path, Some(&roles)).roles;
    assert_eq!(
        told,
        ["physician", "a_b_c", "r".repeat(WORD_BYTES_MAX).as_str()]
    );
    let many: Vec<_> = (0..100).map(|n| json!({"name": n.to_string()})).collect();
    let many = Value::from(many).to_string();
    assert_eq!(
        admin("CREATE", "CLIENT_ROLE_MAPPING", &path, Some(&many))
            .roles
            .len(),
        ROLES_MAX
    );
}

#[test]
fn an_event_without_a_resource_path_is_read() {
    let event = json!({"id": "a", "time": 5, "realmId": "here", "operationType": "UPDATE", "resourceType": "REALM"});
    let happened = read(List::Admin, &event).expect("an event");
    assert_eq!(
        (happened.name, happened.reason.as_str()),
        (EventName::PermissionChange, "realm_update")
    );
}

#[test]
fn user_events_are_named_and_nothing_of_the_person_but_the_id_is_read() {
    for (kind, more, name, outcome, reason) in [
        (
            "LOGIN",
            json!({}),
            EventName::UserLogin,
            Outcome::Success,
            "login",
        ),
        (
            "LOGIN_ERROR",
            json!({"error": "invalid_user_credentials"}),
            EventName::FailedLoginAttempt,
            Outcome::Denied,
            "invalid_user_credentials",
        ),
        (
            "LOGOUT",
            json!({}),
            EventName::UserLogout,
            Outcome::Success,
            "logout",
        ),
        (
            "UPDATE_CREDENTIAL",
            json!({"details": {"credential_type": "otp"}}),
            EventName::PasswordReset,
            Outcome::Success,
            "otp_updated",
        ),
        (
            "DELETE_ACCOUNT",
            json!({}),
            EventName::UserDeleted,
            Outcome::Success,
            "own_account",
        ),
    ] {
        let happened = user(kind, &more).expect("an event");
        assert_eq!(
            (happened.name, happened.outcome, happened.reason.as_str()),
            (name, outcome, reason)
        );
        let all = format!("{happened:?}");
        assert!(
            !all.contains("dr.who") && !all.contains("example.org"),
            "{all}"
        );
    }
    assert_eq!(user("CODE_TO_TOKEN", &json!({})), None);
}

#[test]
fn who_locks_another_out_by_guessing_does_not_end_that_persons_work() {
    let locked = user("USER_DISABLED_BY_TEMPORARY_LOCKOUT", &json!({})).expect("an event");
    assert_eq!(locked.ends, Ends::Nothing);
    let lasting = user("USER_DISABLED_BY_PERMANENT_LOCKOUT", &json!({})).expect("an event");
    assert_eq!(lasting.ends, Ends::User(USER.to_owned()));
}

#[test]
fn an_event_without_an_id_is_named_by_its_content() {
    let event = json!({"time": 5, "type": "LOGIN"});
    let (at_ms, id) = place(&event).expect("an event");
    assert_eq!((at_ms, id.len()), (5, 32));
    assert_eq!(place(&event), Some((at_ms, id)));
    assert_ne!(place(&event), place(&json!({"time": 5, "type": "LOGOUT"})));
    assert_eq!(place(&json!({"type": "LOGIN"})), None, "no time");
}

#[test]
fn nothing_that_keycloak_sends_gets_into_a_code_as_it_is() {
    let happened = user(
        "LOGIN_ERROR",
        &json!({"error": "Bad\n<b>\u{202e}", "clientId": "x\r\ny"}),
    )
    .expect("an event");
    assert_eq!(happened.reason, "bad__b__");
    assert_eq!(happened.client.as_deref(), Some("x__y"));
}
