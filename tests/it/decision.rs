//! Who may call what: one decision for the list and the call, and nothing between denied and unknown.

use safeguard_tests::client::Client;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{claims, now, physician, sign, with};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use serde_json::{Value, json};

use crate::patients::to_store;

/// The code of everything that the policy denies.
const DENIED: i64 = -32050;

/// An upstream that would do everything, and list everything.
async fn willing() -> Upstream {
    Upstream::start(tools_of_the_policy(), |request: &Recorded| {
        let message = request.message();
        let record = json!({"record": {"patient_id": "p-1", "data": {}}, "patients": [], "records": [], "departments": []});
        match message["method"].as_str()? {
            "tools/call" => Some(Reply::Result(structured(&record))),
            "resources/templates/list" => Some(Reply::Result(json!({"resourceTemplates": [
                {"name": "summary", "uriTemplate": "patient://{id}/summary"}, {"name": "other", "uriTemplate": "file:///{path}"}]}))),
            "resources/list" => Some(Reply::Result(json!({"resources": [
                {"name": "one", "uri": "patient://p-1/summary"}, {"name": "secret", "uri": "file:///etc/passwd"}]}))),
            "resources/read" => Some(Reply::Result(json!({"contents": [{"uri": message["params"]["uri"], "mimeType": "application/json", "text": "{}"}]}))),
            "prompts/list" => Some(Reply::Result(json!({"prompts": [{"name": "discharge_letter"}, {"name": "other"}]}))),
            "prompts/get" => Some(Reply::Result(json!({"messages": [{"role": "user", "content": {"type": "text", "text": "{}"}}]}))),
            _ => None,
        }
    })
    .await
}

fn arguments(tool: &str) -> Value {
    match tool {
        "store_record" => to_store("p-1"),
        "read_record" | "delete_record" => json!({"patient_id": "p-1"}),
        _ => json!({}),
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[tokio::test]
async fn the_list_holds_exactly_what_the_call_permits() {
    let upstream = willing().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let all = [
        "delete_record",
        "export_records",
        "find_patient",
        "list_departments",
        "maintenance",
        "read_record",
        "store_record",
    ];
    for (role, purpose, expected) in [
        (
            "physician",
            "TREAT",
            &[
                "delete_record",
                "export_records",
                "find_patient",
                "list_departments",
                "read_record",
                "store_record",
            ][..],
        ),
        (
            "nurse",
            "TREAT",
            &["find_patient", "list_departments", "read_record"],
        ),
        (
            "billing",
            "HPAYMT",
            &["find_patient", "list_departments", "read_record"],
        ),
        (
            "care_agent",
            "TREAT",
            &["find_patient", "list_departments", "read_record"],
        ),
        ("janitor", "TREAT", &[]),
        ("nurse", "HPAYMT", &["list_departments"]),
    ] {
        let mut client = sidecar
            .client(&sign(&claims(&format!("{role}.{purpose}"), role, purpose)))
            .await;
        let listed = sorted(client.names("tools/list", "tools").await);
        assert_eq!(listed, expected, "{role} for {purpose} sees");
        for tool in all {
            let answer = client.call(tool, &arguments(tool)).await;
            let code = answer["error"]["code"].as_i64();
            // read_record's answer has no hash, which is no denial.
            let permitted = code != Some(DENIED);
            assert_eq!(
                permitted,
                listed.contains(&tool.to_owned()),
                "{role} for {purpose} calls {tool}: {answer}"
            );
        }
    }
    let went_up = upstream.messages("tools/call");
    assert!(
        went_up
            .iter()
            .all(|call| call["params"]["name"] != "maintenance"),
        "an unnamed tool is never called"
    );
}

#[tokio::test]
async fn a_denied_tool_is_answered_like_one_that_does_not_exist() {
    let upstream = willing().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut nurse = sidecar
        .client(&sign(&claims("nurse.curious", "nurse", "TREAT")))
        .await;
    let mut errors = Vec::new();
    for tool in [
        "maintenance",
        "export_records",
        "delete_record",
        "no_such_tool",
    ] {
        let mut error = nurse.call(tool, &arguments(tool)).await["error"].clone();
        assert_eq!(error["code"], DENIED);
        // A random reference to the trail tells nothing.
        error["data"]
            .as_object_mut()
            .expect("data")
            .remove("reference");
        errors.push(error);
    }
    assert!(
        errors.iter().all(|error| *error == errors[0]),
        "none tells more than another: {errors:?}"
    );
    assert_eq!(
        upstream.messages("tools/call").len(),
        0,
        "nothing denied goes up"
    );
    let denied = sidecar
        .event("phi_access_denied", |event| {
            event["subject"]["sub"] == "nurse.curious"
        })
        .await;
    assert_eq!(denied["outcome"], "denied");
}

#[tokio::test]
async fn a_condition_that_does_not_hold_denies() {
    let upstream = willing().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut own = sidecar.client(&sign(&physician("dr.cardiology"))).await;
    own.succeed("store_record", &to_store("p-1")).await;
    let mut other = sidecar
        .client(&sign(&with(
            physician("dr.radiology"),
            &json!({"department": "radiology"}),
        )))
        .await;
    assert_eq!(
        other.refused("store_record", &to_store("p-1")).await,
        DENIED
    );
    let mut nameless = sidecar
        .client(&sign(&with(
            physician("dr.nowhere"),
            &json!({"department": null}),
        )))
        .await;
    assert_eq!(
        nameless.refused("store_record", &to_store("p-1")).await,
        DENIED,
        "an absent name denies"
    );
    let mut arguments = to_store("p-1");
    arguments
        .as_object_mut()
        .expect("an object")
        .remove("department");
    assert_eq!(
        own.refused("store_record", &arguments).await,
        DENIED,
        "an absent argument denies"
    );
    assert_eq!(upstream.messages("tools/call").len(), 1);
}

#[tokio::test]
async fn a_call_without_a_purpose_that_its_role_has_is_denied() {
    let upstream = willing().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    // The only purpose of the role stands in for one that the token does not name.
    let mut silent = sidecar
        .client(&sign(&with(
            physician("dr.silent"),
            &json!({"purpose_of_use": null}),
        )))
        .await;
    silent.succeed("find_patient", &json!({})).await;
    let both = with(
        physician("dr.both"),
        &json!({"purpose_of_use": null, "roles": ["physician", "billing"]}),
    );
    let mut both = sidecar.client(&sign(&both)).await;
    assert_eq!(
        both.refused("find_patient", &json!({})).await,
        DENIED,
        "two purposes, and none named"
    );
    let mut wrong = sidecar
        .client(&sign(&with(
            physician("dr.wrong"),
            &json!({"purpose_of_use": "HRESCH"}),
        )))
        .await;
    assert_eq!(wrong.refused("find_patient", &json!({})).await, DENIED);
}

#[tokio::test]
async fn a_login_too_old_for_a_tool_is_asked_for_again() {
    let upstream = willing().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let old = with(physician("dr.old"), &json!({"auth_time": now() - 400}));
    let mut client = sidecar.client(&sign(&old)).await;
    client.succeed("find_patient", &json!({})).await;
    assert!(
        client
            .names("tools/list", "tools")
            .await
            .contains(&"export_records".to_owned()),
        "a fresh second factor would permit it"
    );
    let call = client.request_message(
        "tools/call",
        &json!({"name": "export_records", "arguments": {}}),
    );
    let answer = client.post(&call).await;
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.contains("insufficient_user_authentication")
            && challenge.contains("max_age=\"300\""),
        "RFC 9470: {challenge}"
    );
    sidecar
        .event("mfa_challenge", |event| event["subject"]["sub"] == "dr.old")
        .await;

    let mut fresh = sidecar.client(&sign(&physician("dr.fresh"))).await;
    fresh.succeed("export_records", &json!({})).await;
}

#[tokio::test]
async fn software_that_the_policy_does_not_name_is_denied() {
    let upstream = willing().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let stranger = sidecar
        .setup
        .authority
        .client("stranger.healthcare.example.com");
    let mut client = sidecar
        .client_as(&stranger, &sign(&physician("dr.stranger")))
        .await;
    assert_eq!(
        client.names("tools/list", "tools").await,
        Vec::<String>::new()
    );
    assert_eq!(client.refused("find_patient", &json!({})).await, DENIED);
    assert_eq!(upstream.messages("tools/call").len(), 0);
}

async fn code(client: &mut Client, method: &str, params: &Value) -> Option<i64> {
    client.request(method, params).await["error"]["code"].as_i64()
}

#[tokio::test]
async fn resources_and_prompts_obey_the_same_decision() {
    let upstream = willing().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let summary = json!({"uri": "patient://p-1/summary"});
    let letter = json!({"name": "discharge_letter", "arguments": {"patient_id": "p-1"}});
    for (role, purpose, templates, prompts) in [
        (
            "physician",
            "TREAT",
            &["summary"][..],
            &["discharge_letter"][..],
        ),
        ("nurse", "TREAT", &["summary"], &[]),
        ("billing", "HPAYMT", &[], &[]),
    ] {
        let mut client = sidecar
            .client(&sign(&claims(&format!("{role}.lists"), role, purpose)))
            .await;
        assert_eq!(
            client
                .names("resources/templates/list", "resourceTemplates")
                .await,
            templates,
            "{role}"
        );
        let resources = client.names("resources/list", "resources").await;
        assert_eq!(
            resources,
            if templates.is_empty() {
                vec![]
            } else {
                // The rule shows no text, and a resource's name is the server's words about it.
                vec!["[withheld]".to_owned()]
            },
            "{role}"
        );
        assert_eq!(
            client.names("prompts/list", "prompts").await,
            prompts,
            "{role}"
        );
        assert_eq!(
            code(&mut client, "resources/read", &summary).await,
            templates.is_empty().then_some(DENIED),
            "{role}"
        );
        assert_eq!(
            code(&mut client, "prompts/get", &letter).await,
            prompts.is_empty().then_some(DENIED),
            "{role}"
        );
        assert_eq!(
            code(
                &mut client,
                "resources/read",
                &json!({"uri": "file:///etc/passwd"})
            )
            .await,
            Some(DENIED),
            "{role}"
        );
        assert_eq!(
            code(
                &mut client,
                "resources/read",
                &json!({"uri": "patient://p-1/../p-2/summary"})
            )
            .await,
            Some(DENIED),
            "{role}"
        );
        assert_eq!(
            code(&mut client, "prompts/get", &json!({"name": "other"})).await,
            Some(DENIED),
            "{role}"
        );
    }
}

#[tokio::test]
async fn methods_that_no_rule_names_are_denied() {
    let upstream = willing().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.methods"))).await;
    let known = upstream.requests().len();
    for method in [
        "completion/complete",
        "logging/setLevel",
        "resources/subscribe",
        "tasks/get",
        "sampling/createMessage",
        "admin/secret",
    ] {
        assert_eq!(
            code(&mut client, method, &json!({})).await,
            Some(DENIED),
            "{method}"
        );
    }
    let notification = client
        .post(&json!({"jsonrpc": "2.0", "method": "notifications/admin/secret"}))
        .await;
    assert_eq!(
        notification.status, 403,
        "a notification has no answer but its status"
    );
    assert_eq!(upstream.requests().len(), known, "nothing denied goes up");
    assert_eq!(code(&mut client, "ping", &json!({})).await, None);
}

#[tokio::test]
async fn what_the_policy_denies_is_neither_offered_nor_asked_for() {
    let offers = json!({"logging": {}, "completions": {}, "resources": {"subscribe": true, "listChanged": true}, "tools": {"listChanged": true}});
    let said = offers.clone();
    let upstream = Upstream::start(tools_of_the_policy(), move |request| {
        (request.message()["method"] == "initialize").then(|| {
            Reply::Result(json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "s", "version": "1"}, "capabilities": said}))
        })
    })
    .await;
    let hello = json!({"protocolVersion": "2025-11-25", "clientInfo": {"name": "c", "version": "1"},
        "capabilities": {"sampling": {}, "elicitation": {}, "roots": {"listChanged": true}, "experimental": {"x": 1}}});
    let rules = "methods:\n  logging/setLevel: { roles: any, patient: none }\n  sampling/createMessage: { roles: [physician], patient: none }\n";
    for (setup, role, offered, asked) in [
        (
            Setup::new(&upstream.url()),
            "physician",
            json!({"resources": {"listChanged": true}, "tools": {"listChanged": true}}),
            json!({"experimental": {"x": 1}}),
        ),
        (
            Setup::new(&upstream.url()).extended(rules),
            "physician",
            json!({"logging": {}, "resources": {"listChanged": true}, "tools": {"listChanged": true}}),
            json!({"sampling": {}, "experimental": {"x": 1}}),
        ),
        (
            Setup::new(&upstream.url()).extended(rules),
            "nurse",
            json!({"logging": {}, "resources": {"listChanged": true}, "tools": {"listChanged": true}}),
            json!({"experimental": {"x": 1}}),
        ),
    ] {
        let sidecar = Sidecar::start(setup).await;
        let token = sign(&claims(&format!("{role}.offers"), role, "TREAT"));
        let mut client = Client::new(sidecar.connect().await, &token);
        let answer = client.request("initialize", &hello).await;
        assert_eq!(answer["result"]["capabilities"], offered, "{role}");
        let sent = upstream.messages("initialize").pop().expect("a request");
        assert_eq!(sent["params"]["capabilities"], asked, "{role}");
    }
}
