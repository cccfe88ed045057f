//! Login sessions in a real Redis, asked by replicas whose wall clocks jump.
//!
//! Where `redis-server` is not installed the tests say so and pass, unless `SAFEGUARD_REQUIRE_REAL` is set: then they fail.

#![cfg(test)]

use std::sync::Arc;

use safeguard::authn::Authenticated;
use safeguard::clock::now_unix;
use safeguard::redis::{Redis, RedisSettings};
use safeguard::session::{EndReason, SessionLimits, SessionSeal, SessionTable};
use serde_json::Map;

mod person;
mod server;
use server::Server;

/// How far a clock jumps, in seconds.
const DAY: i64 = 86_400;

/// A replica that started at `now`.
fn replica(server: &Server, now: i64) -> SessionTable {
    let settings = RedisSettings {
        url: server.url.clone().into(),
        ..RedisSettings::default()
    };
    let redis = Redis::new(&settings).unwrap();
    let seal = SessionSeal::derive(std::iter::once(&[7; 32][..]));
    SessionTable::shared(SessionLimits::default(), now, redis, "tests:", seal)
}

/// A person's login at `at`.
async fn login(subject: &str, at: i64) -> Arc<Authenticated> {
    person::login(&person::authenticator(), subject, Map::new(), at).await
}

async fn code(table: &SessionTable, who: &Arc<Authenticated>, wall: i64) -> &'static str {
    let admitted = table.admit(who, None, wall).await;
    admitted.map_or_else(|refused| refused.refusal.code(), |_| "ok")
}

#[tokio::test]
async fn a_wall_clock_that_goes_back_revives_nothing_at_any_replica() {
    let Some(server) = Server::start().await else {
        return;
    };
    let now = now_unix();
    let (one, two) = (replica(&server, now), replica(&server, now));
    let who = login("ann", now).await;
    assert_eq!(code(&one, &who, now).await, "ok");
    one.end(&who, EndReason::Logout, now).await.unwrap();
    assert_eq!(code(&two, &who, now - DAY).await, "logout");
    two.sweep(now - DAY).await;
    assert_eq!(code(&two, &who, now - DAY).await, "logout");
    assert_eq!(code(&one, &who, now).await, "logout");
}

#[tokio::test]
async fn a_replica_whose_clock_is_ahead_ends_sessions_early_and_makes_none_longer_or_forgotten() {
    let Some(server) = Server::start().await else {
        return;
    };
    let now = now_unix();
    let (good, ahead) = (replica(&server, now), replica(&server, now));
    let left = login("ann", now).await;
    assert_eq!(code(&good, &left, now).await, "ok");
    good.end(&left, EndReason::Logout, now).await.unwrap();
    let open = login("bob", now).await;
    assert_eq!(code(&good, &open, now).await, "ok");

    let ended = ahead.sweep(now + DAY).await;
    assert_eq!(ended.len(), 1, "by its clock bob's session is long over");
    assert_eq!(code(&good, &open, now + 1).await, "absolute_limit");
    assert_eq!(code(&good, &left, now + 1).await, "logout", "not forgotten");
    let again = login("bob", now + 2).await;
    assert_eq!(code(&good, &again, now + 2).await, "ok");
    let admitted = good.admit(&again, None, now + 3).await.unwrap();
    let limit = SessionLimits::default().absolute.as_secs();
    assert_eq!(admitted.session.until(), now + 2 + limit.cast_signed());
}
