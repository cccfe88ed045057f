//! The official SDKs, unmodified, over mTLS with tokens of the real Keycloak: they list, call, read, stream and are denied as the policy says.

use std::sync::Arc;

use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, ClientConfig};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use safeguard_tests::client::Client;
use safeguard_tests::clinic::{Clinic, Server};
use safeguard_tests::configuration::Setup;
use safeguard_tests::keycloak;
use safeguard_tests::sdk::Sdk;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{claims, physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured};
use serde_json::{Value, json};

use crate::patients::{assert_no_value, data, to_store};

/// Rules for tools of the everything-servers, which hold no PHI.
const EVERYTHING: &str = "tools:
  test_simple_text: { operation: none, roles: any, patient: none }
  test_tool_with_progress: { operation: none, roles: any, patient: none }
  echo: { operation: none, roles: any, patient: none }
  get-sum: { operation: none, roles: any, patient: none }
  get-structured-content: { operation: none, roles: any, patient: none }
  trigger-long-running-operation: { operation: none, roles: any, patient: none }
";

pub(crate) fn call(name: &str, arguments: &Value) -> Value {
    json!({"op": "call", "name": name, "arguments": arguments})
}

pub(crate) fn names(answer: &Value, member: &str) -> Vec<String> {
    let listed = answer["result"][member]
        .as_array()
        .unwrap_or_else(|| panic!("{member}: {answer}"));
    let mut names: Vec<_> = listed
        .iter()
        .map(|item| item["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

/// The day of a physician of Keycloak's at the clinic, with one SDK.
async fn a_day_at_the_clinic(sdk: Sdk, user: &str, secret: &str, clinic: Clinic) {
    let sidecar = Sidecar::start(Setup::new(&clinic.server.url()).with_keycloak()).await;
    let token = keycloak::token(user, Some(secret)).await;
    let steps = [
        json!({"op": "tools"}),
        call("store_record", &to_store("p-1")),
        call("read_record", &json!({"patient_id": "p-1"})),
        call("find_patient", &json!({"department": "cardiology"})),
        json!({"op": "templates"}),
        json!({"op": "read", "uri": "patient://p-1/summary"}),
        json!({"op": "prompts"}),
        json!({"op": "prompt", "name": "discharge_letter", "arguments": {"patient_id": "p-1"}}),
        call("maintenance", &json!({})),
        call(
            "store_record",
            &json!({"patient_id": "p-2", "department": "radiology", "record": {"data": {}}}),
        ),
        json!({"op": "read", "uri": "file:///etc/passwd"}),
    ];
    let answers = sdk.run(&sidecar, &token, &steps).await;

    // Keycloak's direct grant leaves no `auth_time`, so the two tools with `max_age` are listed, for a fresh login could permit them.
    assert_eq!(
        names(&answers[0], "tools"),
        [
            "delete_record",
            "export_records",
            "find_patient",
            "list_departments",
            "read_record",
            "store_record"
        ]
    );
    assert_eq!(
        answers[1]["result"]["content"][0]["text"], "stored",
        "{}",
        answers[1]
    );
    assert_eq!(
        answers[2]["result"]["structuredContent"]["record"]["data"],
        data(),
        "{}",
        answers[2]
    );
    assert_eq!(
        answers[3]["result"]["structuredContent"]["patients"][0]["ssn"],
        data()["ssn"],
        "{}",
        answers[3]
    );
    assert_eq!(names(&answers[4], "resourceTemplates"), ["summary"]);
    let summary: Value = serde_json::from_str(
        answers[5]["result"]["contents"][0]["text"]
            .as_str()
            .expect("a text"),
    )
    .expect("JSON");
    assert_eq!(summary["diagnosis"], data()["diagnosis"]);
    assert_eq!(names(&answers[6], "prompts"), ["discharge_letter"]);
    let letter: Value = serde_json::from_str(
        answers[7]["result"]["messages"][0]["content"]["text"]
            .as_str()
            .expect("a text"),
    )
    .expect("JSON");
    assert_eq!(letter["ssn"], data()["ssn"]);
    for denied in &answers[8..] {
        assert_eq!(
            denied["error"]["code"], -32050,
            "{sdk:?} is denied: {denied}"
        );
    }
    assert_no_value(&clinic.stored_text(), "what the clinic stores");
    assert_no_value(&Setup::contents(&sidecar.setup.spool()), "the audit spool");
}

#[tokio::test]
async fn the_python_sdk_works_as_the_policy_says() {
    a_day_at_the_clinic(
        Sdk::Python,
        "dr.python",
        "python-secret-for-totp",
        Clinic::start().await,
    )
    .await;
}

#[tokio::test]
async fn the_typescript_sdk_works_as_the_policy_says() {
    a_day_at_the_clinic(
        Sdk::TypeScript1,
        "dr.typescript",
        "typescript-secret-totp",
        Clinic::start_json().await,
    )
    .await;
}

#[tokio::test]
async fn the_second_generation_of_the_typescript_sdk_falls_back_and_works() {
    a_day_at_the_clinic(
        Sdk::TypeScript2,
        "dr.second",
        "second-secret-for-totp",
        Clinic::start().await,
    )
    .await;
}

/// rmcp's client of the sidecar, as the client `chart-web`.
pub(crate) async fn rmcp_client(
    sidecar: &Sidecar,
    token: &str,
) -> rmcp::service::RunningService<rmcp::RoleClient, ClientConfig> {
    let tls = Arc::unwrap_or_clone(Arc::new(sidecar.tls(&sidecar.web)));
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .build()
        .expect("an HTTP client");
    let configuration =
        StreamableHttpClientTransportConfig::with_uri(sidecar.url()).auth_header(token);
    let transport = StreamableHttpClientTransport::with_client(http, configuration);
    ClientConfig::default()
        .serve(transport)
        .await
        .expect("the handshake of MCP")
}

pub(crate) fn rmcp_call(name: &str, arguments: &Value) -> CallToolRequestParams {
    CallToolRequestParams::new(name.to_owned())
        .with_arguments(arguments.as_object().expect("an object").clone())
}

#[tokio::test]
async fn the_rust_sdk_works_as_the_policy_says() {
    let clinic = Clinic::start().await;
    let sidecar = Sidecar::start(Setup::new(&clinic.server.url()).with_keycloak()).await;
    let token = keycloak::token("dr.rust", Some("rust-secret-for-totp")).await;
    let client = rmcp_client(&sidecar, &token).await;

    let tools = client.list_all_tools().await.expect("a list");
    assert!(
        tools.iter().all(|tool| tool.name != "maintenance"),
        "what isn't permitted is absent"
    );
    client
        .call_tool(rmcp_call("store_record", &to_store("p-1")))
        .await
        .expect("stored");
    let read = client
        .call_tool(rmcp_call("read_record", &json!({"patient_id": "p-1"})))
        .await
        .expect("a record");
    assert_eq!(
        read.structured_content.expect("a structure")["record"]["data"],
        data()
    );
    let denied = client
        .call_tool(rmcp_call("maintenance", &json!({})))
        .await
        .expect_err("a denial");
    match denied {
        rmcp::ServiceError::McpError(error) => assert_eq!(error.code.0, -32050),
        other => panic!("a JSON-RPC error, not {other:?}"),
    }
    assert_no_value(&clinic.stored_text(), "what the clinic stores");
    client.cancel().await.expect("an end");
}

/// Every SDK against one everything-server: a call, and one whose progress streams.
async fn everything(server: Server, plain: (&str, Value, &str), streaming: (&str, Value, usize)) {
    let sidecar = Sidecar::start(Setup::new(&server.url()).extended(EVERYTHING)).await;
    for sdk in Sdk::SECURE {
        let steps = [
            json!({"op": "tools"}),
            call(plain.0, &plain.1),
            call(streaming.0, &streaming.1),
            call("get-env", &json!({})),
        ];
        let answers = sdk
            .run(&sidecar, &sign(&physician(&format!("dr.{sdk:?}"))), &steps)
            .await;
        assert!(
            names(&answers[0], "tools").contains(&plain.0.to_owned()),
            "{}",
            answers[0]
        );
        let text = answers[1]["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{sdk:?}: {}", answers[1]));
        assert!(text.contains(plain.2), "{sdk:?}: {text}");
        let steps = answers[2]["progress"].as_array().map_or(0, Vec::len);
        assert!(
            steps >= streaming.2,
            "{sdk:?} hears of progress: {}",
            answers[2]
        );
        assert_eq!(answers[3]["error"]["code"], -32050, "{sdk:?} is denied");
    }
    let mut client: Client = sidecar.client(&sign(&physician("dr.raw"))).await;
    client.succeed(plain.0, &plain.1).await;
}

#[tokio::test]
async fn every_sdk_works_with_the_everything_server_of_the_go_sdk() {
    let server = Server::go_everything().await;
    everything(
        server,
        ("test_simple_text", json!({}), "simple text"),
        ("test_tool_with_progress", json!({}), 3),
    )
    .await;
}

#[tokio::test]
async fn every_sdk_works_with_the_everything_server_of_npm() {
    let server = Server::npm_everything().await;
    let long = json!({"duration": 0.5, "steps": 3});
    everything(
        server,
        ("echo", json!({"message": "hello"}), "hello"),
        ("trigger-long-running-operation", long, 2),
    )
    .await;
}

/// A tool whose output schema any view would break: types, patterns, formats, words, lengths, and keywords that count.
fn strict_tool() -> Value {
    let patient = json!({
        "type": "object", "additionalProperties": false, "minProperties": 7, "required": ["patient_id", "ssn", "diagnosis", "medications"],
        "properties": {
            "patient_id": { "type": "string" },
            "ssn": { "type": "string", "pattern": "^[0-9]{3}-[0-9]{2}-[0-9]{4}$" },
            "date_of_birth": { "type": "string", "format": "date", "minLength": 10, "maxLength": 10 },
            "medical_record_number": { "type": "integer", "minimum": 1000 },
            "diagnosis": { "enum": ["I10", "E11.9"] },
            "medications": { "type": "array", "items": { "type": "string" }, "minItems": 1, "uniqueItems": true },
            "test_results": { "type": "object", "required": ["inr"], "properties": { "inr": { "type": "number" } } },
            "status": { "const": "active" },
            "visits": { "type": "array", "items": { "type": "integer" }, "contains": { "const": 7 }, "uniqueItems": true },
        },
    });
    let schema = json!({
        "type": "object", "required": ["patients"], "$defs": { "patient": patient },
        "properties": { "patients": { "type": "array", "items": { "$ref": "#/$defs/patient" } } },
    });
    json!([{ "name": "find_patient", "inputSchema": { "type": "object" }, "outputSchema": schema }])
}

#[tokio::test]
async fn every_sdk_accepts_every_transformed_result() {
    let content = json!({ "patients": [{
        "patient_id": "p-1", "ssn": "123-45-6789", "date_of_birth": "1980-02-03", "medical_record_number": 441_207, "diagnosis": "I10",
        "medications": ["lisinopril"], "test_results": { "inr": 2.5 }, "status": "active", "visits": [3, 7],
    }] });
    let upstream = Upstream::start(strict_tool(), move |request: &Recorded| {
        let message = request.message();
        match message["method"].as_str() {
            // A server of this revision, whatever newer one a client asks for.
            Some("initialize") => Some(Reply::Result(json!({
                "protocolVersion": "2025-11-25", "serverInfo": {"name": "strict", "version": "1"}, "capabilities": {"tools": {}},
            }))),
            Some("tools/call") => Some(Reply::Result(structured(&content))),
            _ => None,
        }
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let roles = [
        ("physician", "TREAT"),
        ("nurse", "TREAT"),
        ("billing", "HPAYMT"),
        ("care_agent", "TREAT"),
    ];
    let steps = [json!({"op": "tools"}), call("find_patient", &json!({}))];
    for (role, purpose) in roles {
        for sdk in Sdk::SECURE {
            let token = sign(&claims(&format!("{role}.{sdk:?}"), role, purpose));
            let answers = sdk.run(&sidecar, &token, &steps).await;
            let result = &answers[1]["result"];
            assert!(
                result["structuredContent"]["patients"][0].is_object(),
                "{sdk:?} as {role}: {}",
                answers[1]
            );
        }
        let client = rmcp_client(
            &sidecar,
            &sign(&claims(&format!("{role}.rust"), role, purpose)),
        )
        .await;
        client.list_all_tools().await.expect("a list");
        let result = client
            .call_tool(rmcp_call("find_patient", &json!({})))
            .await;
        assert!(
            result.expect("a result").structured_content.is_some(),
            "rmcp as {role}"
        );
        client.cancel().await.expect("an end");
    }
}
