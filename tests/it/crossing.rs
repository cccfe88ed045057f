//! Every official client with every official server through the sidecar: lists, calls, reads, prompts, subscriptions and
//! cancelled calls, no answer that is a server's fault, and the server alive for the next one.

use rmcp::ServiceExt;
use rmcp::model::{
    CallToolRequest, ClientConfig, ClientRequest, GetPromptRequestParams,
    ReadResourceRequestParams, SubscribeRequestParams,
};
use rmcp::service::{PeerRequestOptions, RoleClient, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use safeguard_tests::clinic::{Clinic, Server};
use safeguard_tests::configuration::Setup;
use safeguard_tests::front::Front;
use safeguard_tests::pki::Authority;
use safeguard_tests::sdk::Sdk;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::wait::within;
use serde_json::{Value, json};

use crate::clients::{call, rmcp_call};
use crate::patients::to_store;

/// A step, and a text that its answer holds.
type Visit = Vec<(Value, &'static str)>;

fn resource(uri: &str) -> Value {
    json!({"op": "read", "uri": uri})
}

fn subscribe(uri: &str) -> Value {
    json!({"op": "subscribe", "uri": uri})
}

fn prompt(name: &str, arguments: &Value) -> Value {
    json!({"op": "prompt", "name": name, "arguments": arguments})
}

/// A call that is given up once it runs, and one after it: both sides are as they were.
fn cancelled(name: &str, arguments: &Value) -> Value {
    json!({"op": "cancel", "name": name, "arguments": arguments})
}

/// What each client does at the Go SDK's everything-servers.
fn at_the_go_server() -> Visit {
    vec![
        (json!({"op": "tools"}), "test_tool_with_progress"),
        (call("test_simple_text", &json!({})), "simple text"),
        (call("test_tool_with_progress", &json!({})), "content"),
        (json!({"op": "resources"}), "test://static-text"),
        (resource("test://static-text"), "static text resource"),
        (json!({"op": "templates"}), "test://template/{id}/data"),
        (resource("test://template/7/data"), "7"),
        (json!({"op": "prompts"}), "test_prompt_with_arguments"),
        (
            prompt(
                "test_prompt_with_arguments",
                &json!({"arg1": "one", "arg2": "two"}),
            ),
            "arg2='two'",
        ),
        (subscribe("test://watched-resource"), "{"),
        (
            cancelled("test_tool_with_progress", &json!({})),
            "cancelled",
        ),
        (call("test_simple_text", &json!({})), "simple text"),
    ]
}

const GO: &str = "tools:
  test_simple_text: { operation: none, roles: any, patient: none }
  test_tool_with_progress: { operation: none, roles: any, patient: none }
resources:
  \"test://static-text\": { operation: none, roles: any, patient: none }
  \"test://template/{id}/data\": { operation: none, roles: any, patient: none }
  \"test://watched-resource\": { operation: none, roles: any, patient: none }
prompts:
  test_prompt_with_arguments: { operation: none, roles: any, patient: none }
methods:
  logging/setLevel: { roles: any }
  resources/subscribe: { roles: any }
  subscriptions/listen: { roles: any }
";

#[tokio::test]
async fn every_client_works_with_the_go_server_with_sessions() {
    let server = Server::go_everything().await;
    every_client(
        Setup::new(&server.url()).extended(GO),
        &server.url(),
        &at_the_go_server(),
    )
    .await;
}

#[tokio::test]
async fn every_client_works_with_the_go_server_of_both_eras_without_sessions() {
    let server = Server::go_stateless().await;
    every_client_of_both_eras(
        Setup::new(&server.url()).extended(GO),
        &server.url(),
        &at_the_go_server(),
    )
    .await;
}

const NPM: &str = "tools:
  echo: { operation: none, roles: any, patient: none }
  trigger-long-running-operation: { operation: none, roles: any, patient: none }
resources:
  \"demo://resource/static/document/{name}\": { operation: none, roles: any, patient: none }
  \"demo://resource/dynamic/text/{resourceId}\": { operation: none, roles: any, patient: none }
prompts:
  args-prompt: { operation: none, roles: any, patient: none }
methods:
  logging/setLevel: { roles: any }
  resources/subscribe: { roles: any }
";

#[tokio::test]
async fn every_client_works_with_the_npm_server() {
    let server = Server::npm_everything().await;
    let long = json!({"duration": 1, "steps": 4});
    let visit = vec![
        (json!({"op": "tools"}), "echo"),
        (call("echo", &json!({"message": "hello"})), "hello"),
        (call("trigger-long-running-operation", &long), "completed"),
        (json!({"op": "resources"}), "architecture.md"),
        (
            json!({"op": "templates"}),
            "demo://resource/dynamic/text/{resourceId}",
        ),
        (resource("demo://resource/dynamic/text/3"), "Resource 3"),
        (json!({"op": "prompts"}), "args-prompt"),
        (prompt("args-prompt", &json!({"city": "Ulm"})), "Ulm"),
        (subscribe("demo://resource/dynamic/text/3"), "{"),
        (
            cancelled("trigger-long-running-operation", &long),
            "cancelled",
        ),
        (call("echo", &json!({"message": "again"})), "again"),
    ];
    every_client(
        Setup::new(&server.url()).extended(NPM),
        &server.url(),
        &visit,
    )
    .await;
}

#[tokio::test]
async fn every_client_works_with_the_clinic_on_the_python_sdk() {
    let clinic = clinic_with_a_record().await;
    let url = clinic.server.url();
    every_client(Setup::new(&url), &url, &at_the_clinic()).await;
}

#[tokio::test]
async fn every_client_works_with_the_clinic_in_both_eras() {
    let clinic = clinic_with_a_record().await;
    let url = clinic.server.url();
    every_client_of_both_eras(Setup::new(&url), &url, &at_the_clinic()).await;
}

/// The diagnosis on record.
const DIAGNOSIS: &str = "hypertension";

async fn clinic_with_a_record() -> Clinic {
    let clinic = Clinic::start().await;
    let sidecar = Sidecar::start(Setup::new(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.before"))).await;
    let mut record = to_store("p-1");
    record["record"]["data"]["diagnosis"] = json!(DIAGNOSIS);
    client.succeed("store_record", &record).await;
    clinic
}

fn at_the_clinic() -> Visit {
    vec![
        (json!({"op": "tools"}), "find_patient"),
        (call("list_departments", &json!({})), "cardiology"),
        (
            call("read_record", &json!({"patient_id": "p-1"})),
            DIAGNOSIS,
        ),
        (json!({"op": "templates"}), "patient://"),
        (resource("patient://p-1/summary"), DIAGNOSIS),
        (json!({"op": "prompts"}), "discharge_letter"),
        (
            prompt("discharge_letter", &json!({"patient_id": "p-1"})),
            DIAGNOSIS,
        ),
    ]
}

const FHIR: &str = "phi:
  presets: [fhir-r4@1]
tools:
  read: { operation: read, roles: [physician], patient: args.id }
  search: { operation: search, roles: [physician], patient: \"result.entry[*].resource.id\" }
";

#[tokio::test]
async fn every_client_works_with_fhir_mcp_server_which_the_newest_revision_would_end() {
    let [server, _data] = Server::fhir().await;
    let visit = vec![
        (json!({"op": "tools"}), "search"),
        (
            call("read", &json!({"type": "Patient", "id": "p-1"})),
            "Meyer",
        ),
        (
            call(
                "search",
                &json!({"type": "Patient", "searchParam": {"active": "true"}}),
            ),
            "Meyer",
        ),
        (json!({"op": "prompts"}), "prompts"),
    ];
    // It redirects to the same with a slash behind.
    let url = server.url();
    let setup = Setup::new(&url).extended(FHIR);
    every_client(setup, &url, &visit).await;
}

/// All clients, one after another, each as a person of its own; then whoever comes without a sidecar finds the server alive.
async fn every_client(setup: Setup, url: &str, visit: &[(Value, &'static str)]) {
    visited(setup, url, visit, false).await;
}

/// The same where the configuration says that the server speaks the newest revision, too.
async fn every_client_of_both_eras(setup: Setup, url: &str, visit: &[(Value, &'static str)]) {
    let both = "upstream:\n  protocol_versions: [2025-06-18, 2025-11-25, 2026-07-28]\n";
    visited(setup.extended(both), url, visit, true).await;
}

async fn visited(setup: Setup, url: &str, visit: &[(Value, &'static str)], newest: bool) {
    let sidecar = Sidecar::start(setup).await;
    for sdk in Sdk::ALL {
        let who = format!("{sdk:?}");
        let front = Front::start(&sidecar, &sign(&physician(&format!("dr.{who}")))).await;
        let known = visit.iter().filter(|(step, _)| sdk.knows(step));
        let steps: Vec<_> = known.map(|(step, _)| step.clone()).collect();
        let answers = sdk.run_at(&front.url(), &steps).await;
        let known = visit.iter().filter(|(step, _)| sdk.knows(step));
        for ((step, expected), answer) in known.zip(&answers) {
            assert_holds(&who, step, answer, expected, &sidecar);
        }
        front.assert_no_fault(&who);
        assert_era(&who, &front, newest, sdk.asks_for_the_newest());
    }
    let front = Front::start(&sidecar, &sign(&physician("dr.rmcp"))).await;
    let client = rmcp_at(&front.url()).await;
    for (step, expected) in visit {
        let answer = within("rmcp", rmcp_step(&client, step)).await;
        assert_holds("rmcp", step, &answer, expected, &sidecar);
    }
    client.cancel().await.expect("an end");
    front.assert_no_fault("rmcp");
    let alive = Sdk::Python1.run_at(url, &[visit[0].0.clone()]).await;
    assert!(alive[0].to_string().contains(visit[0].1), "{}", alive[0]);
}

/// Asserts that who asks for the newest revision is served in it where the server speaks it, and is sent back to an older one
/// where it doesn't: nothing of it reaches such a server.
fn assert_era(who: &str, front: &Front, newest: bool, asks: bool) {
    let answers = front.newest();
    assert_eq!(!answers.is_empty(), asks, "{who}: {:?}", front.passed());
    let refused = answers.iter().filter(|status| **status == 400).count();
    let expected = if newest { 0 } else { answers.len() };
    assert_eq!(refused, expected, "{who}: {:?}", front.passed());
}

fn assert_holds(who: &str, step: &Value, answer: &Value, expected: &str, sidecar: &Sidecar) {
    assert!(
        answer.get("error").is_none() && answer.to_string().contains(expected),
        "{who}: {step} holds {expected:?}: {answer}\n{}",
        sidecar.log()
    );
}

async fn rmcp_at(url: &str) -> RunningService<RoleClient, ClientConfig> {
    // Plain, and yet reqwest wants to know who would do TLS.
    let tls = Authority::new("nobody").client_config(None, &[&rustls::version::TLS13]);
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .build();
    let transport = StreamableHttpClientTransport::with_client(
        http.expect("an HTTP client"),
        StreamableHttpClientTransportConfig::with_uri(url),
    );
    ClientConfig::default()
        .serve(transport)
        .await
        .expect("the handshake of MCP")
}

/// A step of the official Rust SDK, in this process.
async fn rmcp_step(client: &RunningService<RoleClient, ClientConfig>, step: &Value) -> Value {
    let text = |member: &str| step[member].as_str().unwrap_or_default().to_owned();
    let arguments = step.get("arguments").cloned().unwrap_or_else(|| json!({}));
    let result = match step["op"].as_str().unwrap_or_default() {
        "tools" => told(client.list_tools(None).await),
        "resources" => told(client.list_resources(None).await),
        "templates" => told(client.list_resource_templates(None).await),
        "prompts" => told(client.list_prompts(None).await),
        "call" => told(client.call_tool(rmcp_call(&text("name"), &arguments)).await),
        "read" => told(
            client
                .read_resource(ReadResourceRequestParams::new(text("uri")))
                .await,
        ),
        "prompt" => {
            let arguments = arguments.as_object().expect("an object").clone();
            let params = GetPromptRequestParams::new(text("name")).with_arguments(arguments);
            told(client.get_prompt(params).await)
        }
        "subscribe" => {
            #[expect(deprecated, reason = "sessions still subscribe so")]
            let subscribed = client
                .subscribe(SubscribeRequestParams::new(text("uri")))
                .await;
            told(subscribed.map(|()| json!({})))
        }
        "cancel" => {
            let params = rmcp_call(&text("name"), &arguments);
            let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
            let options = PeerRequestOptions::no_options();
            let handle = client.send_cancellable_request(request, options).await;
            let ended = handle.expect("a request").cancel(None).await;
            ended
                .map(|()| json!("cancelled"))
                .map_err(|error| error.to_string())
        }
        other => panic!("not a step: {other}"),
    };
    match result {
        Ok(result) => json!({ "result": result }),
        Err(error) => json!({ "error": error }),
    }
}

fn told<T: serde::Serialize>(result: Result<T, ServiceError>) -> Result<Value, String> {
    let result = result.map_err(|error| error.to_string())?;
    serde_json::to_value(result).map_err(|error| error.to_string())
}
