use super::super::client::{Client, ClientError};
use super::*;
use serde_json::{Value, json};
use tokio::net::TcpStream;

struct House {
    client: Client,
    dir: tempfile::TempDir,
    address: SocketAddr,
}

async fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clinic =
        Arc::new(Clinic::open(dir.path().join("store.json"), &dir.path().join("got")).unwrap());
    tokio::spawn(async move { serve(&listener, &clinic).await });
    let mut client = connect(address, &address.to_string()).await;
    client.initialize().await.unwrap();
    House {
        client,
        dir,
        address,
    }
}

async fn connect(address: SocketAddr, host: &str) -> Client {
    let stream = TcpStream::connect(address).await.unwrap();
    Client::over(stream, host, None).await.unwrap()
}

async fn stored(house: &mut House) -> Value {
    let arguments = json!({"patient_id": "p1", "department": "x", "record": {"patient_id": "p1",
        "data": {"department": "x", "status": "in", "diagnosis": {"_encrypted": true, "_value": "hs1.AAAA"}}}});
    house.client.tool("store_record", arguments).await.unwrap()
}

#[tokio::test]
async fn the_lifecycle_begins_a_session() {
    let mut house = house().await;
    let pong = house.client.request("ping", json!({})).await.unwrap();
    assert_eq!(pong["result"], json!({}));
    let seen = house.client.into_seen();
    assert_eq!(seen[0]["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn the_older_revision_is_spoken_too() {
    let mut house = house().await;
    let hello = house
        .client
        .request("initialize", json!({"protocolVersion": "2025-06-18"}))
        .await
        .unwrap();
    assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
}

#[tokio::test]
async fn six_tools_are_listed_with_their_schemas() {
    let mut house = house().await;
    let listed = house.client.request("tools/list", json!({})).await.unwrap();
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 6);
    assert!(
        tools
            .iter()
            .all(|tool| tool["inputSchema"]["type"] == "object")
    );
}

#[tokio::test]
async fn a_record_is_stored_and_read_as_it_came() {
    let mut house = house().await;
    assert_eq!(
        stored(&mut house).await["result"]["content"][0]["text"],
        "stored"
    );
    let read = house
        .client
        .tool("read_record", json!({"patient_id": "p1"}))
        .await
        .unwrap();
    let structured = &read["result"]["structuredContent"];
    assert_eq!(
        structured["record"]["data"]["diagnosis"]["_value"],
        "hs1.AAAA"
    );
    let twin: Value =
        serde_json::from_str(read["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(&twin, structured);
}

#[test]
fn the_store_keeps_every_byte_of_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::Store::new(dir.path().join("s"));
    let text = r#"{ "b": 1.50, "a": 123456789012345678901234567890, "b": "\u00e9" }"#;
    let raw: Box<serde_json::value::RawValue> = serde_json::from_str(text).unwrap();
    store.put("p", &raw).unwrap();
    assert_eq!(store.load().unwrap()["p"].get(), text);
}

#[tokio::test]
async fn departments_and_patients_are_found() {
    let mut house = house().await;
    stored(&mut house).await;
    let departments = house
        .client
        .tool("list_departments", json!({}))
        .await
        .unwrap();
    assert_eq!(
        departments["result"]["structuredContent"]["departments"],
        json!(["x"])
    );
    let found = house
        .client
        .tool("find_patient", json!({"department": "x"}))
        .await
        .unwrap();
    let patients = &found["result"]["structuredContent"]["patients"];
    assert_eq!(
        patients,
        &json!([{"patient_id": "p1", "department": "x", "status": "in"}])
    );
    let none = house
        .client
        .tool("find_patient", json!({"department": "y"}))
        .await
        .unwrap();
    assert_eq!(none["result"]["structuredContent"]["patients"], json!([]));
}

#[tokio::test]
async fn an_export_streams_progress_and_then_its_result() {
    let mut house = house().await;
    stored(&mut house).await;
    let done = house
        .client
        .tool("export_records", json!({"department": "x"}))
        .await
        .unwrap();
    assert_eq!(
        done["result"]["structuredContent"]["records"][0]["patient_id"],
        "p1"
    );
    let seen = house.client.into_seen();
    let progress = seen
        .iter()
        .filter(|m| m["method"] == "notifications/progress");
    assert_eq!(progress.count(), 1);
}

#[tokio::test]
async fn a_deleted_record_is_gone() {
    let mut house = house().await;
    stored(&mut house).await;
    let of_patient = json!({"patient_id": "p1"});
    let deleted = house
        .client
        .tool("delete_record", of_patient.clone())
        .await
        .unwrap();
    assert_eq!(deleted["result"]["structuredContent"]["status"], "deleted");
    for tool in ["delete_record", "read_record"] {
        let again = house.client.tool(tool, of_patient.clone()).await.unwrap();
        assert_eq!(again["result"]["isError"], true, "{tool}");
    }
}

#[tokio::test]
async fn resources_and_prompts_hold_the_patients_summary() {
    let mut house = house().await;
    stored(&mut house).await;
    let listed = house
        .client
        .request("resources/list", json!({}))
        .await
        .unwrap();
    let uri = listed["result"]["resources"][0]["uri"].clone();
    assert_eq!(uri, "patient://p1/summary");
    let read = house
        .client
        .request("resources/read", json!({"uri": uri}))
        .await
        .unwrap();
    let summary = read["result"]["contents"][0]["text"].as_str().unwrap();
    assert!(summary.contains("hs1.AAAA") && summary.contains("\"p1\""));
    let templates = house
        .client
        .request("resources/templates/list", json!({}))
        .await
        .unwrap();
    assert_eq!(
        templates["result"]["resourceTemplates"][0]["uriTemplate"],
        "patient://{id}/summary"
    );
    let prompts = house
        .client
        .request("prompts/list", json!({}))
        .await
        .unwrap();
    assert_eq!(prompts["result"]["prompts"][0]["name"], "discharge_letter");
    let wanted = json!({"name": "discharge_letter", "arguments": {"patient_id": "p1"}});
    let letter = house.client.request("prompts/get", wanted).await.unwrap();
    assert!(letter["result"]["messages"][1]["content"]["resource"]["text"].is_string());
}

#[tokio::test]
async fn unknown_methods_tools_resources_and_shapes_are_errors() {
    let mut house = house().await;
    let code = |answer: Value| answer["error"]["code"].as_i64().unwrap();
    assert_eq!(
        code(house.client.request("sampling/x", json!({})).await.unwrap()),
        -32601
    );
    assert_eq!(
        code(house.client.tool("run_sql", json!({})).await.unwrap()),
        -32602
    );
    assert_eq!(
        code(house.client.tool("read_record", json!({})).await.unwrap()),
        -32602
    );
    let absent = json!({"uri": "patient://p9/summary"});
    assert_eq!(
        code(
            house
                .client
                .request("resources/read", absent)
                .await
                .unwrap()
        ),
        -32002
    );
}

#[tokio::test]
async fn every_received_message_is_recorded_as_it_came() {
    let mut house = house().await;
    stored(&mut house).await;
    let text = std::fs::read_to_string(house.dir.path().join("got")).unwrap();
    let methods: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["method"].clone())
        .collect();
    assert_eq!(
        methods,
        ["initialize", "notifications/initialized", "tools/call"]
    );
}

#[tokio::test]
async fn a_foreign_host_is_refused_and_a_session_is_needed() {
    let house = house().await;
    let mut foreign = connect(house.address, "clinic.example.com").await;
    let refused = foreign.request("ping", json!({})).await.unwrap_err();
    assert!(matches!(refused, ClientError::Status { status, .. } if status == 403));
    let mut stranger = connect(house.address, "localhost").await;
    let refused = stranger.request("ping", json!({})).await.unwrap_err();
    assert!(matches!(refused, ClientError::Status { status, .. } if status == 400));
}
