//! The families of refresh tokens in a real Redis, as two replicas see them.
//!
//! Where `redis-server` is not installed the tests say so and pass, unless `SAFEGUARD_REQUIRE_REAL` is set: then they fail.

#![cfg(test)]

use std::sync::Arc;

use safeguard::authn::tokens::{
    Families, Family, FamilyStore, NotKept, RedisStore, RefreshToken, Shown, SuccessorKeys, Turned,
    Unusable,
};
use safeguard::authn::{Authenticator, AuthnSettings, LocalSettings, Secret};
use safeguard::clock::now_unix as now;
use safeguard::redis::{Redis, RedisSettings};

mod server;
use server::Server;

const SECRET: &str = "test-only-secret-of-local-tokens-0123456789";

/// Before all names in Redis.
const PREFIX: &str = "tests:";
const CERTIFICATE: [u8; 32] = [1; 32];

fn authenticator() -> Arc<Authenticator> {
    let local = LocalSettings {
        secret: Secret::new(SECRET.as_bytes().to_vec()),
        previous: None,
        issuer: "mcp-server-prod".to_owned(),
        audience: "healthcare-agents".to_owned(),
        expiration_max: 3600,
        once: false,
    };
    let settings = AuthnSettings::local_only(local);
    Arc::new(Authenticator::new(settings).unwrap())
}

fn store(url: &str) -> RedisStore {
    let settings = RedisSettings {
        url: url.to_owned().into(),
        ..RedisSettings::default()
    };
    let redis = Redis::new(&settings).unwrap();
    RedisStore::new(redis, PREFIX, authenticator())
}

/// One replica.
fn replica(server: &Server) -> Families {
    Families::kept_in(Box::new(store(&server.url)))
}

fn keys() -> SuccessorKeys {
    authenticator().successor_keys().unwrap()
}

fn family(session: &str, token: &RefreshToken) -> Family {
    Family {
        session: session.into(),
        carried: br#"{"sub":"dr.canary"}"#[..].into(),
        certificate: Some(CERTIFICATE),
        current: token.hash(),
        previous: None,
        turned_at: now(),
        ends_at: now() + 900,
    }
}

async fn begin(families: &Families, session: &str) -> RefreshToken {
    let token = RefreshToken::first().unwrap();
    let begun = families.begin(&token, family(session, &token), now()).await;
    begun.unwrap();
    token
}

async fn turn(families: &Families, token: &RefreshToken) -> Result<Turned, Unusable> {
    let keys = keys();
    let shown = Shown {
        certificate: Some(&CERTIFICATE),
        now: now(),
        keys: &keys,
    };
    families.turn(token, shown).await
}

#[tokio::test]
async fn replicas_turn_a_family_once_and_both_see_a_token_used_before() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (here, there) = (replica(&server), replica(&server));
    let first = begin(&here, "s").await;
    let (one, other) = tokio::join!(turn(&here, &first), turn(&there, &first));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.next.text(), other.next.text(), "one of them turned it");
    assert!(
        one.family.carried().is_some(),
        "what it carries is had back"
    );
    let third = turn(&there, &one.next).await.unwrap().next;
    let reused = turn(&here, &first).await;
    assert!(matches!(reused, Err(Unusable::Reused(family)) if &*family.session == "s"));
    let over = turn(&there, &third).await.map(drop);
    assert_eq!(
        over,
        Err(Unusable::Unknown),
        "the family has ended for both"
    );
}

#[tokio::test]
async fn a_sessions_families_are_bounded_and_end_with_it_for_all_replicas() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (here, there) = (replica(&server), replica(&server));
    let oldest = begin(&here, "s").await;
    let mut tokens = Vec::new();
    for _ in 0..16 {
        tokens.push(begin(&here, "s").await);
    }
    assert!(turn(&there, &oldest).await.is_err(), "the oldest made room");
    let last = tokens.pop().unwrap();
    let last = turn(&there, &last).await.unwrap().next;
    here.end_session("s").await;
    for token in tokens.iter().chain([&last]) {
        let ended = turn(&there, token).await.map(drop);
        assert_eq!(ended, Err(Unusable::Unknown));
    }
}

#[tokio::test]
async fn redis_holds_no_token_and_nothing_of_the_login_in_clear_and_forgets_by_itself() {
    let Some(server) = Server::start().await else {
        return;
    };
    let families = replica(&server);
    let token = begin(&families, "s").await;
    let settings = RedisSettings {
        url: server.url.clone().into(),
        ..RedisSettings::default()
    };
    let redis = Redis::new(&settings).unwrap();
    let mut all = redis::cmd("KEYS");
    let names: Vec<String> = redis.command(all.arg(format!("{PREFIX}*"))).await.unwrap();
    assert_eq!(names.len(), 2, "the family and its session's list");
    for name in &names {
        let mut life = redis::cmd("TTL");
        let life: i64 = redis.command(life.arg(name)).await.unwrap();
        assert!((1..=900).contains(&life), "{name} goes by itself: {life}");
        let mut dump = redis::cmd("DUMP");
        let bytes: Vec<u8> = redis.command(dump.arg(name)).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("dr.canary"), "{name}");
        let secret = base64_simd::URL_SAFE_NO_PAD
            .decode_to_vec(token.text().strip_prefix("sgr1.").unwrap())
            .unwrap();
        assert!(
            !bytes.windows(32).any(|window| window == &secret[16..]),
            "{name}"
        );
    }
    let foreign = format!("{PREFIX}family:{}", "0".repeat(32));
    let mut forge = redis::cmd("HSET");
    let forged = forge
        .arg(&foreign)
        .arg("session")
        .arg("s")
        .arg("carried")
        .arg("{}");
    let _: i64 = redis.command(forged).await.unwrap();
    let store = store(&server.url);
    assert_eq!(
        store.get(&[0; 16]).await,
        Ok(None),
        "what we did not seal is nothing"
    );
}

#[tokio::test]
async fn without_its_store_no_refresh_token_is_judged() {
    let down = store("redis://127.0.0.1:1");
    let token = RefreshToken::first().unwrap();
    assert_eq!(down.get(token.family()).await, Err(NotKept::Unreachable));
    let families = Families::kept_in(Box::new(down));
    let judged = turn(&families, &token).await.map(drop);
    assert_eq!(judged, Err(Unusable::Unavailable));
}
