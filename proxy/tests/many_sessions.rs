//! As many login sessions as the table has room for, each by a token as Keycloak writes them: what they take, and that the next
//! one is refused while they live on. The one test of its process, whose memory it looks at.

#![cfg(test)]

use std::sync::Arc;

use safeguard::authn::{Authenticated, Authenticator};
use safeguard::clock::now_unix;
use safeguard::session::{SessionLimits, SessionTable};
use safeguard::settings::SESSIONS_MAX;
use serde_json::{Map, Value, json};

mod person;

/// Bytes of memory that a session may take, its share of the remembered tokens included.
const SESSION_BYTES_MAX: usize = 3 * 1024;
/// Bytes of a page of memory, as the kernel counts them here.
const PAGE: usize = 4096;

/// What Keycloak's tokens hold beside what is read.
fn claims(number: usize) -> Map<String, Value> {
    let claims = json!({
        "azp": "mcp-server", "scope": "openid profile email acr",
        "allowed-origins": ["https://agents.healthcare.example.com"], "email_verified": true, "session_state": format!("00000000-0000-4000-8000-{number:012}"),
        "resource_access": {"account": {"roles": ["manage-account", "manage-account-links", "view-profile"]}},
        "realm_access": {"roles": ["physician", "offline_access", "uma_authorization", "default-roles-healthcare"]},
        "name": "Given Family", "preferred_username": format!("person.{number}"), "given_name": "Given", "family_name": "Family",
        "email": format!("person.{number}@healthcare.example.com"),
    });
    claims.as_object().expect("an object").clone()
}

async fn login(authenticator: &Authenticator, number: usize, now: i64) -> Arc<Authenticated> {
    let subject = format!("00000000-0000-4000-9000-{number:012}");
    person::login(authenticator, &subject, claims(number), now).await
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split_whitespace().nth(1).expect("the second number");
    pages.parse::<usize>().expect("a number") * PAGE
}

#[tokio::test]
async fn a_hundred_thousand_sessions_take_bounded_memory_and_the_next_is_refused() {
    assert_eq!(SESSIONS_MAX, 100_000);
    let now = now_unix();
    let authenticator = person::authenticator();
    let limits = SessionLimits {
        table_max: SESSIONS_MAX,
        ..SessionLimits::default()
    };
    let table = SessionTable::in_memory(limits, now);
    let first = login(&authenticator, 0, now).await;
    table.admit(&first, None, now).await.expect("a session");
    let before = resident();
    for number in 1..SESSIONS_MAX {
        let who = login(&authenticator, number, now).await;
        table.admit(&who, None, now).await.expect("a session");
    }
    let each = (resident() - before) / SESSIONS_MAX;
    println!("{each} bytes a session");
    assert!(each <= SESSION_BYTES_MAX, "{each} bytes a session");

    let newcomer = login(&authenticator, SESSIONS_MAX, now).await;
    let refused = table.admit(&newcomer, None, now).await;
    assert_eq!(
        refused.expect_err("no room").refusal.code(),
        "session_table_full"
    );
    table.admit(&first, None, now).await.expect("it goes on");
    assert_eq!(table.active(), SESSIONS_MAX);
}
