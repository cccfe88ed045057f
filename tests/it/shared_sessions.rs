//! Login sessions of two replicas in one Redis: one table, whichever of them is asked, and whichever of them is gone.

use std::sync::Mutex;
use std::time::Duration;

use safeguard_tests::client::{Client, plain_request};
use safeguard_tests::configuration::Setup;
use safeguard_tests::redis::{PASSWORD, Redis};
use safeguard_tests::sidecar::{Sidecar, path_text};
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{now, physician, sign, with};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, tools_of_the_policy};
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Within which a replica knows what ended at another.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// An upstream whose GET streams stay open and silent.
async fn listening() -> Upstream {
    let open = Mutex::new(Vec::new());
    Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        (request.method == "GET").then(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            sender.send("event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n".to_owned()).expect("a receiver");
            // It never ends by itself.
            open.lock().expect("no panic").push(sender);
            Reply::Events(receiver)
        })
    })
    .await
}

/// A sidecar that keeps its sessions in `redis`.
async fn replica(redis: &Redis, upstream: &Upstream) -> Sidecar {
    Sidecar::start(Setup::new(&upstream.url()).extended(&redis.sessions(2))).await
}

async fn open_stream(sidecar: &Sidecar, client: &Client) -> Answer {
    let mut other = sidecar.another(client).await;
    let mut stream = other.listen().await.expect_status(200).await;
    assert!(stream.event().await.is_some(), "the stream is open");
    stream
}

async fn ping(client: &mut Client) -> u16 {
    let ping = client.request_message("ping", &json!({}));
    client.post(&ping).await.status
}

/// The events of a name and person at all replicas.
fn told(replicas: &[&Sidecar], name: &str, subject: &str) -> Vec<Value> {
    let events = replicas.iter().flat_map(|sidecar| sidecar.events());
    events
        .filter(|event| event["event"] == name && event["subject"]["sub"] == subject)
        .collect()
}

async fn is_ready(sidecar: &Sidecar) -> bool {
    let admin = sidecar.admin();
    let (status, _) = plain_request(&admin, "GET", "/readyz", &[], Vec::new()).await;
    status == 200
}

/// An administrator ends a person's sessions at one replica.
async fn end_user(sidecar: &Sidecar, user: &str) {
    let config = sidecar.setup.config();
    let command = [
        "sessions",
        "end",
        "--user",
        user,
        "--config",
        path_text(&config),
    ];
    let ended = sidecar.command(&command).await;
    let words = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{words}");
}

#[tokio::test]
async fn a_session_goes_on_at_another_replica_when_its_own_is_killed() {
    let (redis, upstream) = (Redis::start().await, listening().await);
    let (mut one, two) = (
        replica(&redis, &upstream).await,
        replica(&redis, &upstream).await,
    );
    let token = sign(&physician("dr.moves"));
    one.client(&token).await;
    one.event("user_login", |event| event["subject"]["sub"] == "dr.moves")
        .await;
    one.kill().await;
    let mut client = two.client(&token).await;
    assert_eq!(ping(&mut client).await, 200);
    end_user(&two, "dr.moves").await;
    assert_eq!(ping(&mut client).await, 401);
    two.event("session_terminated", |event| {
        event["subject"]["sub"] == "dr.moves"
    })
    .await;
    let logins = told(&[&one, &two], "user_login", "dr.moves").len();
    assert_eq!(logins, 1, "one session, one login");
}

#[tokio::test]
async fn where_the_oldest_wins_a_login_waits_until_the_session_is_over_at_whichever_replica() {
    let (redis, upstream) = (Redis::start().await, listening().await);
    let keeping = || {
        let sessions = redis.sessions(2) + "  at_limit: refuse_new\n";
        Setup::new(&upstream.url()).extended(&sessions)
    };
    let (one, two) = (
        Sidecar::start(keeping()).await,
        Sidecar::start(keeping()).await,
    );
    let login = |sid: &str| sign(&with(physician("dr.twice"), &json!({"sid": sid})));
    let (first, second) = (login("first"), login("second"));
    let mut here = one.client(&first).await;
    let mut there = Client::new(two.connect().await, &second);
    assert_eq!(ping(&mut there).await, 403);
    assert_eq!(ping(&mut here).await, 200, "the oldest goes on");
    end_user(&two, "dr.twice").await;
    let later = json!({"sid": "third", "auth_time": now() + 1, "iat": now()});
    let third = sign(&with(physician("dr.twice"), &later));
    let mut there = Client::new(two.connect().await, &third);
    assert_eq!(ping(&mut there).await, 200);
}

#[tokio::test]
async fn a_logout_at_one_replica_ends_requests_and_streams_at_another_within_a_second() {
    let (redis, upstream) = (Redis::start().await, listening().await);
    let (one, two) = (
        replica(&redis, &upstream).await,
        replica(&redis, &upstream).await,
    );
    let token = sign(&physician("dr.leaves"));
    one.client(&token).await;
    let mut there = two.client(&token).await;
    let mut stream = open_stream(&two, &there).await;

    end_user(&one, "dr.leaves").await;
    let end = tokio::time::timeout(KNOWN_WITHIN, stream.event()).await;
    assert!(end.expect("the stream ends within the bound").is_none());
    assert_eq!(ping(&mut there).await, 401);
    one.event("session_terminated", |event| {
        event["subject"]["sub"] == "dr.leaves"
    })
    .await;
    let told = told(&[&one, &two], "session_terminated", "dr.leaves");
    assert_eq!(told.len(), 1, "once, by one of them");
}

#[tokio::test]
async fn a_newer_login_at_one_replica_displaces_the_older_one_at_another() {
    let (redis, upstream) = (Redis::start().await, listening().await);
    let (one, two) = (
        replica(&redis, &upstream).await,
        replica(&redis, &upstream).await,
    );
    let mut older = one.client(&sign(&physician("dr.twice"))).await;
    let mut stream = open_stream(&one, &older).await;
    let mut newer = two.client(&sign(&physician("dr.twice"))).await;
    let end = tokio::time::timeout(KNOWN_WITHIN, stream.event()).await;
    assert!(end.expect("the stream ends within the bound").is_none());
    assert_eq!(ping(&mut older).await, 401);
    assert_eq!(ping(&mut newer).await, 200);
    let logout = two
        .event("user_logout", |event| event["subject"]["sub"] == "dr.twice")
        .await;
    assert_eq!(logout["reason"], "displaced");
}

#[tokio::test]
async fn without_its_store_a_sidecar_refuses_and_says_so_and_recovers_by_itself() {
    let (mut redis, upstream) = (Redis::start().await, listening().await);
    let sidecar = replica(&redis, &upstream).await;
    let mut client = sidecar.client(&sign(&physician("dr.waits"))).await;
    let mut stream = open_stream(&sidecar, &client).await;

    redis.kill().await;
    assert_eq!(ping(&mut client).await, 503);
    eventually("a sidecar that is not ready", || async {
        (!is_ready(&sidecar).await).then_some(())
    })
    .await;
    assert!(stream.event().await.is_none(), "what nobody knows of ends");

    redis.start_again().await;
    eventually("a sidecar that is ready", || async {
        is_ready(&sidecar).await.then_some(())
    })
    .await;
    assert_eq!(ping(&mut client).await, 200, "the session was kept");
}

#[tokio::test]
async fn nobody_reads_in_redis_who_was_there() {
    let (redis, upstream) = (Redis::start().await, listening().await);
    let sidecar = replica(&redis, &upstream).await;
    let claims = physician("dr.canary-subject");
    let token = sign(&claims);
    sidecar.client(&token).await;
    let kept = redis.kept();
    assert!(!kept.is_empty(), "it keeps the session");
    let text = String::from_utf8_lossy(&kept);
    let sid = claims["sid"].as_str().expect("a sid");
    for secret in [
        "canary-subject",
        sid,
        &token,
        "physician",
        "mcp-server-prod",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(!sidecar.log().contains(PASSWORD));
}

#[tokio::test]
async fn a_logout_is_not_undone_by_a_token_that_no_replica_had_seen() {
    let (redis, upstream) = (Redis::start().await, listening().await);
    let (one, two) = (
        replica(&redis, &upstream).await,
        replica(&redis, &upstream).await,
    );
    end_user(&one, "dr.unseen").await;
    let before = with(physician("dr.unseen"), &json!({ "auth_time": now() - 60 }));
    let mut client = Client::new(two.connect().await, &sign(&before));
    assert_eq!(ping(&mut client).await, 401);
}
