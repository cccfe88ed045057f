//! The way down: each role sees its view of a field, in the structure and in its text twin alike.

use safeguard_tests::clinic::Clinic;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{claims, physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use serde_json::{Value, json};

use crate::patients::{VALUES, assert_no_value, data, to_store};

/// Stores one record through the sidecar, and reads it as others do.
struct Ward {
    _clinic: Clinic,
    sidecar: Sidecar,
}

impl Ward {
    async fn open(clinic: Clinic) -> Self {
        let sidecar = Sidecar::start(Setup::new(&clinic.server.url())).await;
        let mut physician = sidecar.client(&sign(&physician("dr.ward"))).await;
        physician.succeed("store_record", &to_store("p-1")).await;
        Self {
            _clinic: clinic,
            sidecar,
        }
    }

    async fn read(&self, role: &str, purpose: &str) -> Value {
        let mut client = self
            .sidecar
            .client(&sign(&claims(&format!("{role}.reads"), role, purpose)))
            .await;
        client
            .succeed("read_record", &json!({"patient_id": "p-1"}))
            .await
    }

    async fn read_as_agent(&self) -> Value {
        let mut agent = self
            .sidecar
            .client_as(&self.sidecar.agent, &sign(&physician("dr.through.agent")))
            .await;
        agent
            .succeed("read_record", &json!({"patient_id": "p-1"}))
            .await
    }
}

/// The data of a record that was read; the text twin says the same.
fn shown(result: &Value) -> Value {
    let twin: Value = serde_json::from_str(result["content"][0]["text"].as_str().expect("a text"))
        .expect("JSON in the text");
    assert_eq!(
        without_tokens(&twin),
        without_tokens(&result["structuredContent"]),
        "the text says what the structure says"
    );
    result["structuredContent"]["record"]["data"].clone()
}

/// Tokens of one value differ; that they are tokens does not.
fn without_tokens(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("sgt1.") => json!("sgt1."),
        Value::Array(elements) => elements.iter().map(without_tokens).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), without_tokens(member)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// Left out, or null where the schema does not let it be left out.
fn is_withheld(data: &Value, field: &str) -> bool {
    data.get(field).is_none_or(Value::is_null)
}

async fn each_role_sees_its_view(ward: &Ward) {
    let all = data();
    let physician = shown(&ward.read("physician", "TREAT").await);
    assert_eq!(physician, all);

    let nurse = shown(&ward.read("nurse", "TREAT").await);
    assert_eq!(nurse["ssn"], "***-**-6789", "a field beats its group");
    for field in [
        "date_of_birth",
        "medical_record_number",
        "medications",
        "test_results",
        "status",
    ] {
        assert_eq!(nurse[field], all[field], "{field}");
    }
    assert!(is_withheld(&nurse, "diagnosis"));

    let billing = shown(&ward.read("billing", "HPAYMT").await);
    assert_eq!(billing["ssn"], "***-**-6789");
    assert_eq!(
        billing["date_of_birth"]
            .as_str()
            .map(str::to_owned)
            .or(billing["date_of_birth"]
                .as_i64()
                .map(|year| year.to_string())),
        Some("1980".to_owned())
    );
    for field in ["medical_record_number", "diagnosis"] {
        assert_eq!(billing[field], all[field], "{field}");
    }
    for field in ["medications", "test_results"] {
        assert!(is_withheld(&billing, field), "{field}");
    }

    let result = ward.read_as_agent().await;
    let agent = shown(&result);
    for field in ["ssn", "medical_record_number"] {
        assert!(
            agent[field]
                .as_str()
                .is_some_and(|token| token.starts_with("sgt1.")),
            "{field}: {}",
            agent[field]
        );
    }
    for field in ["medications", "test_results"] {
        assert_eq!(agent[field], all[field], "{field}");
    }
    for field in ["date_of_birth", "diagnosis"] {
        assert!(
            is_withheld(&agent, field),
            "a physician's agent sees no more than an agent may: {field}"
        );
    }
    let withheld = result["_meta"]["safeguard/withheld"].to_string();
    for field in ["date_of_birth", "diagnosis"] {
        assert!(
            withheld.contains(field),
            "the answer says what it left out: {withheld}"
        );
    }
    let text = result.to_string();
    for hidden in [VALUES[0], VALUES[1], VALUES[2], VALUES[3]] {
        assert!(!text.contains(hidden), "nowhere in the answer: {hidden}");
    }
}

#[tokio::test]
async fn each_role_sees_its_view_of_a_real_servers_json() {
    each_role_sees_its_view(&Ward::open(Clinic::start_json().await).await).await;
}

#[tokio::test]
async fn each_role_sees_its_view_of_a_real_servers_events() {
    each_role_sees_its_view(&Ward::open(Clinic::start().await).await).await;
}

#[tokio::test]
async fn resources_and_prompts_are_shown_by_view() {
    let ward = Ward::open(Clinic::start().await).await;
    let mut nurse = ward
        .sidecar
        .client(&sign(&claims("nurse.summary", "nurse", "TREAT")))
        .await;
    let summary = nurse
        .request("resources/read", &json!({"uri": "patient://p-1/summary"}))
        .await;
    let text = summary["result"]["contents"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("a text: {summary}"));
    let seen: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(seen["ssn"], "***-**-6789");
    assert_eq!(seen["medications"], data()["medications"]);
    assert!(is_withheld(&seen, "diagnosis"));

    let mut physician = ward.sidecar.client(&sign(&physician("dr.letter"))).await;
    let letter = physician
        .request(
            "prompts/get",
            &json!({"name": "discharge_letter", "arguments": {"patient_id": "p-1"}}),
        )
        .await;
    let text = letter["result"]["messages"][0]["content"]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("a text: {letter}"));
    assert_eq!(
        serde_json::from_str::<Value>(text).expect("JSON")["diagnosis"],
        VALUES[3]
    );
}

/// What a role sees of one answer.
async fn seen_by(role: &str, purpose: &str, result: Value) -> Value {
    let upstream = Upstream::answering(result).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar
        .client(&sign(&claims("one.look", role, purpose)))
        .await;
    client.succeed("find_patient", &json!({})).await
}

#[tokio::test]
async fn clear_values_of_an_upstream_are_shown_by_view_too() {
    let mut patient = data();
    patient["patient_id"] = json!("p-1");
    patient["nested"] = json!({"list": [{"SSN": VALUES[0]}, {"Diagnoses": [VALUES[3]]}]});
    patient["note"] = json!(format!("call about {}", VALUES[3]));
    let result = seen_by(
        "nurse",
        "TREAT",
        structured(&json!({"patients": [patient]})),
    )
    .await;
    let text = result.to_string();
    assert!(
        !text.contains(VALUES[0]) && !text.contains(VALUES[3]),
        "{text}"
    );
    let shown = &result["structuredContent"]["patients"][0];
    assert_eq!(shown["ssn"], "***-**-6789");
    assert_eq!(shown["nested"]["list"][0]["SSN"], "***-**-6789");
    assert_eq!(shown["medications"], data()["medications"]);
    assert!(
        is_withheld(shown, "note"),
        "a member that is named nowhere is withheld"
    );
}

#[tokio::test]
async fn free_text_and_unknown_content_are_withheld() {
    let sneaky = format!("the patient's number is {}", VALUES[0]);
    let base64 = base64_simd::STANDARD.encode_to_string(&sneaky);
    let content = json!([
        {"type": "text", "text": sneaky},
        {"type": "text", "text": format!("{{\"ssn\":\"{}\"", VALUES[0])},
        {"type": "text", "text": format!("\"{}\"", VALUES[0])},
        {"type": "image", "mimeType": "image/png", "data": base64},
        {"type": "resource", "resource": {"uri": "patient://p-1/scan", "mimeType": "text/plain", "text": sneaky}},
        {"type": "resource", "resource": {"uri": "patient://p-1/scan", "mimeType": "application/octet-stream", "blob": base64}},
        {"type": "resource_link", "uri": "patient://p-1/summary", "name": sneaky, "description": sneaky},
        {"type": "novelty", "payload": sneaky},
    ]);
    for role in ["physician", "nurse"] {
        let result = seen_by(
            role,
            "TREAT",
            json!({"content": content, "_meta": {"vendor/note": sneaky}, "extra": sneaky}),
        )
        .await;
        let text = result.to_string();
        assert!(!text.contains(VALUES[0]), "{role}: {text}");
        assert!(!text.contains(&base64), "{role}: {text}");
        assert!(
            result["content"]
                .as_array()
                .is_some_and(|blocks| blocks.iter().any(|block| block["text"] == "[withheld]")),
            "{role}: {text}"
        );
    }
}

#[tokio::test]
async fn errors_of_the_upstream_leak_nothing() {
    let sneaky = format!("invalid value {:?} for field ssn", VALUES[0]);
    let message = sneaky.clone();
    let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        (request.message()["method"] == "tools/call").then(|| Reply::Error(json!({"code": -32602, "message": message, "data": {"ssn": VALUES[0], "input": message}})))
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut nurse = sidecar
        .client(&sign(&claims("nurse.error", "nurse", "TREAT")))
        .await;
    let answer = nurse.call("find_patient", &json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "an error stays an error");
    assert_no_value(&answer.to_string(), "the error");

    let result = seen_by(
        "nurse",
        "TREAT",
        json!({"isError": true, "content": [{"type": "text", "text": sneaky}]}),
    )
    .await;
    assert_eq!(result["isError"], true);
    assert_no_value(&result.to_string(), "the failed result");
}

#[tokio::test]
async fn results_still_satisfy_the_output_schema() {
    let schema = json!({"type": "object", "required": ["patients"], "additionalProperties": false, "properties": {"patients": {"type": "array", "items": {
        "type": "object", "required": ["patient_id", "ssn", "diagnosis"], "additionalProperties": false,
        "properties": {"patient_id": {"type": "string"}, "ssn": {"type": "string"}, "diagnosis": {"type": "string"}, "status": {"type": "string"}}}}}});
    let tools = json!([{"name": "find_patient", "inputSchema": {"type": "object"}, "outputSchema": schema}]);
    let patient = json!({"patient_id": "p-1", "ssn": VALUES[0], "diagnosis": VALUES[3]});
    let upstream = Upstream::start(tools, move |request: &Recorded| {
        (request.message()["method"] == "tools/call")
            .then(|| Reply::Result(structured(&json!({"patients": [patient]}))))
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut nurse = sidecar
        .client(&sign(&claims("nurse.schema", "nurse", "TREAT")))
        .await;
    let listed =
        nurse.request("tools/list", &json!({})).await["result"]["tools"][0]["outputSchema"].clone();
    let result = nurse.succeed("find_patient", &json!({})).await["structuredContent"].clone();
    assert!(is_withheld(&result["patients"][0], "diagnosis"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("case.json");
    std::fs::write(
        &file,
        json!({"schema": listed, "instance": result}).to_string(),
    )
    .expect("a file");
    let script = "import json, sys, jsonschema; case = json.load(open(sys.argv[1])); jsonschema.validate(case['instance'], case['schema'])";
    let output = tokio::process::Command::new(safeguard_tests::real::python())
        .args(["-c", script])
        .arg(&file)
        .output()
        .await
        .expect("python");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
