//! The endpoints below `/auth/`: local tokens had, renewed and given back.

use http::StatusCode;
use safeguard_tests::client::Client;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Upstream, tools_of_the_policy};
use serde_json::json;

/// A sidecar that takes local tokens alone.
async fn plain() -> Sidecar {
    let upstream = Upstream::start(tools_of_the_policy(), |_: &_| None).await;
    Sidecar::start(Setup::new(&upstream.url())).await
}

async fn ping(client: &mut Client) -> u16 {
    let ping = client.request_message("ping", &json!({}));
    client.post(&ping).await.status
}

async fn log_out(sidecar: &Sidecar, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let mut connection = sidecar.connect().await;
    connection
        .send("POST", "/auth/logout", &headers, "")
        .await
        .expect("an answer")
}

#[tokio::test]
async fn a_logout_ends_the_session_with_its_reason() {
    let sidecar = plain().await;
    let token = sign(&physician("dr.leaves"));
    let mut client = sidecar.client(&token).await;
    assert_eq!(ping(&mut client).await, 200);
    assert_eq!(
        log_out(&sidecar, &token).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(ping(&mut client).await, 401, "the session is over");
    assert_eq!(
        log_out(&sidecar, &token).await.status,
        401,
        "it is over already"
    );
    let left = |event: &serde_json::Value| event["subject"]["sub"] == "dr.leaves";
    let event = sidecar.event("user_logout", left).await;
    assert_eq!(event["reason"], "logout");
}

#[tokio::test]
async fn what_is_no_endpoint_is_not_found_and_what_asks_too_often_is_told_to_wait() {
    let sidecar = plain().await;
    let mut connection = sidecar.connect().await;
    let found = connection.send("POST", "/auth/", &[], "").await;
    assert_eq!(found.expect("an answer").status, 404);
    let got = connection.send("GET", "/auth/logout", &[], "").await;
    assert_eq!(got.expect("an answer").status, 405);
    let mut last = None;
    for _ in 0..1_000 {
        let answer = connection.send("POST", "/auth/logout", &[], "").await;
        let answer = answer.expect("an answer");
        if answer.status == 429 {
            last = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
        answer.bytes().await;
    }
    let answer = last.expect("a source has a bound");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("cache-control"), "no-store");
    let limited = sidecar
        .metric("safeguard_limits_reached_total", &["auth_rate_source"])
        .await;
    assert!(limited >= 1.0);
}
