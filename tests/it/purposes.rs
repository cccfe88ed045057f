//! `identity.purpose_from: call`: a call names its purpose in `_meta`, where the token does not and the policy believes it.

use safeguard_tests::client::Client;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{claims, sign, with};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use serde_json::{Value, json};

fn answers(request: &Recorded) -> Option<Reply> {
    let called = request.message()["method"] == "tools/call";
    called.then(|| Reply::Result(structured(&json!({"patients": []}))))
}

async fn house(words: &str) -> (Upstream, Sidecar) {
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let section =
        format!("identity:\n  purpose_from: {words}\nphi:\n  unlisted:\n    arguments: refuse\n");
    let mut setup = Setup::new(&upstream.url());
    setup.replace("policy.yaml", ", arguments: pass }", " }");
    (upstream, Sidecar::start(setup.extended(&section)).await)
}

/// Somebody of two roles whose purposes differ, and whose token names none.
async fn client(sidecar: &Sidecar) -> Client {
    let claims = claims("both", "nurse", "TREAT");
    let changes = json!({"roles": ["nurse", "billing"], "purpose_of_use": null});
    sidecar.client(&sign(&with(claims, &changes))).await
}

/// What a call is answered that names a purpose: none where it is permitted, else the code.
async fn code(client: &mut Client, purpose: Value) -> Option<i64> {
    let meta = json!({"safeguard/purpose": purpose});
    let params = json!({"name": "find_patient", "arguments": {}, "_meta": meta});
    let answer = client.request("tools/call", &params).await;
    answer["error"]["code"].as_i64()
}

#[tokio::test]
async fn a_call_names_its_purpose_where_the_token_names_none_and_only_one_of_its_roles() {
    let (_upstream, sidecar) = house("[token, call, only]").await;
    let mut client = client(&sidecar).await;
    let names = client.names("tools/list", "tools").await;
    assert!(names.iter().any(|name| name == "find_patient"), "{names:?}");
    assert_eq!(client.refused("find_patient", &json!({})).await, -32050);
    for purpose in ["TREAT", "HPAYMT"] {
        assert_eq!(code(&mut client, json!(purpose)).await, None, "{purpose}");
        let named = move |event: &Value| event["purpose"] == purpose;
        sidecar.event("phi_read", named).await;
    }
    for other in [
        json!("HOPERAT"),
        json!("BTG"),
        json!(["TREAT"]),
        json!(null),
    ] {
        assert_eq!(
            code(&mut client, other.clone()).await,
            Some(-32050),
            "{other}"
        );
    }
}

#[tokio::test]
async fn a_call_is_not_believed_unless_the_policy_says_so() {
    let (upstream, sidecar) = house("[token, only]").await;
    let mut client = client(&sidecar).await;
    assert_eq!(code(&mut client, json!("TREAT")).await, Some(-32050));
    assert!(upstream.messages("tools/call").is_empty());
}
