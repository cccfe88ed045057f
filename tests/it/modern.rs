//! The modern revision (2026-07-28) beside the legacy ones: headers that mirror the body, rounds, subscriptions.

use base64_simd::STANDARD as BASE64;
use safeguard_tests::client::Connection;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, tools_of_the_policy};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::patients::{VALUES, assert_no_value};

const REVISION: &str = "2026-07-28";
const DENIED: i64 = -32050;
const HEADER_MISMATCH: i64 = -32020;

/// A sidecar whose upstream speaks both eras.
async fn both_eras(upstream: &Upstream, change: impl FnOnce(Setup) -> Setup) -> Sidecar {
    let setup = Setup::new(&upstream.url()).with_policy(
        "upstream:\n",
        "upstream:\n  protocol_versions: [\"2025-11-25\", \"2026-07-28\"]\n",
    );
    Sidecar::start(change(setup)).await
}

/// A modern client: each request by itself.
struct Modern {
    connection: Connection,
    token: String,
    id: u64,
}

impl Modern {
    async fn of(sidecar: &Sidecar, subject: &str) -> Self {
        Self {
            connection: sidecar.connect().await,
            token: sign(&physician(subject)),
            id: 0,
        }
    }

    fn message(&mut self, method: &str, mut params: Value) -> Value {
        self.id += 1;
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        });
        json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params})
    }

    async fn send(&mut self, message: &Value, headers: &[(&str, &str)]) -> Answer {
        let authorization = format!("Bearer {}", self.token);
        let method = message["method"].as_str().expect("a method");
        let params = &message["params"];
        let name = params["name"].as_str().or(params["uri"].as_str());
        let mut all = vec![
            ("authorization", authorization.as_str()),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", REVISION),
            ("mcp-method", method),
        ];
        all.extend(name.map(|name| ("mcp-name", name)));
        all.extend_from_slice(headers);
        let body = message.to_string();
        let sent = self.connection.send("POST", "/mcp", &all, body).await;
        sent.expect("an answer")
    }

    /// One request; status and message.
    async fn ask(&mut self, method: &str, params: Value) -> (u16, Value) {
        let message = self.message(method, params);
        self.ask_with(&message, &[]).await
    }

    async fn ask_with(&mut self, message: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.send(message, headers).await;
        let status = answer.status;
        let message = answer.message(&mut Vec::new()).await;
        (status, message)
    }
}

fn legacy_alone(request: &Recorded) -> Option<Reply> {
    (request.message()["method"] == "initialize").then(|| {
        Reply::Error(json!({"code": -32022, "message": "Unsupported protocol version", "data": {"supported": [REVISION]}}))
    })
}

#[tokio::test]
async fn a_modern_request_reaches_an_upstream_only_once_it_is_known_to_speak_it() {
    let upstream = Upstream::start(tools_of_the_policy(), legacy_alone).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = Modern::of(&sidecar, "dr.probe").await;
    let probe = client.message("server/discover", json!({}));
    let answer = client.send(&probe, &[]).await.expect_status(400).await;
    assert!(
        serde_json::from_slice::<Value>(&answer.bytes().await).is_err(),
        "no JSON: from that clients fall back"
    );
    assert_eq!(upstream.requests().len(), 0, "the upstream never saw it");

    // The client falls back, and the upstream itself says what it speaks.
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let authorization = format!("Bearer {}", client.token);
    let headers = [
        ("authorization", authorization.as_str()),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ];
    let answer = client
        .connection
        .send("POST", "/mcp", &headers, hello.to_string())
        .await;
    let answer = answer.expect("an answer").message(&mut Vec::new()).await;
    assert_eq!(
        answer["error"]["data"]["supported"],
        json!([REVISION]),
        "the error passes"
    );
    let (status, listed) = client.ask("tools/list", json!({})).await;
    assert_eq!(status, 200, "{listed}");
    assert!(listed["result"]["tools"].is_array(), "{listed}");
}

#[tokio::test]
async fn headers_that_do_not_say_what_the_body_says_are_refused() {
    let upstream = Upstream::start(tools_of_the_policy(), |_| None).await;
    let sidecar = both_eras(&upstream, |setup| setup).await;
    let mut client = Modern::of(&sidecar, "dr.headers").await;
    let call = client.message(
        "tools/call",
        json!({"name": "find_patient", "arguments": {"department": "x"}}),
    );
    for wrong in [
        ("mcp-param-department", "y"),
        ("mcp-param-department", "=?base64?!?="),
        ("mcp-name", "read_record"),
        ("mcp-method", "tools/call"),
    ] {
        let (status, answer) = client.ask_with(&call, &[wrong]).await;
        assert_eq!(status, 400, "{wrong:?}: {answer}");
        assert_eq!(
            answer["error"]["code"], HEADER_MISMATCH,
            "{wrong:?}: {answer}"
        );
        assert_eq!(answer["id"], call["id"]);
    }
    let (status, answer) = client.ask("ping", json!({})).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (404, &json!(-32601)),
        "a method that this revision has not"
    );
    assert_eq!(upstream.requests().len(), 0);
    let future = "2031-01-01";
    let mut later = client.message("tools/list", json!({}));
    later["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(future);
    let authorization = format!("Bearer {}", client.token);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("mcp-protocol-version", future),
        ("mcp-method", "tools/list"),
    ];
    let answer = client
        .connection
        .send("POST", "/mcp", &headers, later.to_string())
        .await;
    let answer = answer.expect("an answer").expect_status(400).await;
    let answer = answer.message(&mut Vec::new()).await;
    assert_eq!(answer["error"]["code"], -32022);
    assert_eq!(
        answer["error"]["data"]["supported"],
        json!(["2025-11-25", REVISION])
    );
    assert_eq!(answer["error"]["data"]["requested"], future);
}

/// A tool whose SSN is mirrored in a header, and the sidecar before it.
async fn mirroring() -> (Upstream, Sidecar) {
    let schema = json!({"type": "object", "properties": {
        "ssn": {"type": "string", "pattern": "^[0-9-]+$", "x-mcp-header": "Ssn"}, "department": {"type": "string", "x-mcp-header": "Ward"}}});
    let list = json!({"resultType": "complete", "ttlMs": 60000, "cacheScope": "public", "tools": [{"name": "find_patient", "inputSchema": schema}]});
    let upstream = Upstream::start(json!([]), move |request| match request.message()["method"]
        .as_str()
    {
        Some("tools/list") => Some(Reply::Result(list.clone())),
        Some("tools/call") => Some(Reply::Result(
            json!({"resultType": "complete", "content": []}),
        )),
        _ => None,
    })
    .await;
    let sidecar = both_eras(&upstream, |setup| {
        setup.with_policy("wrap: object", "wrap: string")
    })
    .await;
    (upstream, sidecar)
}

#[tokio::test]
async fn what_is_sealed_in_the_body_is_sealed_in_its_header() {
    let (upstream, sidecar) = mirroring().await;
    let mut client = Modern::of(&sidecar, "dr.mirror").await;
    let arguments = json!({"ssn": VALUES[0], "department": "Kardiologie\u{fc}"});
    let ward = format!(
        "=?base64?{}?=",
        BASE64.encode_to_string("Kardiologie\u{fc}")
    );
    let call = client.message(
        "tools/call",
        json!({"name": "find_patient", "arguments": arguments}),
    );
    // Before any list was seen by the argument that has the value, after it by the schema.
    for round in ["unlisted", "listed"] {
        let headers = [
            ("mcp-param-ssn", VALUES[0]),
            ("mcp-param-ward", ward.as_str()),
        ];
        let (status, answer) = client.ask_with(&call, &headers).await;
        assert_eq!(status, 200, "{round}: {answer}");
        let sent = upstream.requests().pop().expect("a request");
        let sealed = sent.message()["params"]["arguments"]["ssn"].clone();
        assert_eq!(
            Some(sent.header("mcp-param-ssn").expect("mirrored")),
            sealed.as_str(),
            "{round}"
        );
        assert_eq!(
            sent.header("mcp-param-ward"),
            Some(ward.as_str()),
            "{round}"
        );
        assert_eq!(sent.header("mcp-name"), Some("find_patient"));
        assert_eq!(sent.header("authorization"), None);
        let (_, listed) = client.ask("tools/list", json!({})).await;
        assert_eq!(
            listed["result"]["cacheScope"], "private",
            "filtered for one principal"
        );
    }
    assert_no_value(&upstream.everything(), "what the upstream received");
    let (status, answer) = client
        .ask_with(&call, &[("mcp-param-ssn", VALUES[0])])
        .await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!(HEADER_MISMATCH)),
        "the list says that the ward is mirrored"
    );
}

#[tokio::test]
async fn what_is_mirrored_stays_so_where_its_schema_is_widened() {
    let (_upstream, sidecar) = mirroring().await;
    let agent = sidecar
        .setup
        .authority
        .client("agent.healthcare.example.com");
    let connection = Connection::open(&sidecar.target(), sidecar.tls(&agent))
        .await
        .expect("a connection");
    let token = sign(&safeguard_tests::tokens::claims(
        "agent",
        "care_agent",
        "TREAT",
    ));
    let mut client = Modern {
        connection,
        token,
        id: 0,
    };
    let (_, listed) = client.ask("tools/list", json!({})).await;
    let ssn = &listed["result"]["tools"][0]["inputSchema"]["properties"]["ssn"];
    assert_eq!(ssn["type"], "string", "{ssn}");
    assert_eq!(ssn["x-mcp-header"], "Ssn", "{ssn}");
    assert_eq!(ssn["anyOf"][0]["pattern"], "^[0-9-]+$", "{ssn}");
    assert!(ssn["anyOf"][0].get("x-mcp-header").is_none(), "{ssn}");
    assert_eq!(ssn["anyOf"][1], json!({"type": "string"}), "a token fits");
}

/// An upstream that asks a person first, with a state that holds what it was sent.
async fn asking() -> Upstream {
    Upstream::start(tools_of_the_policy(), |request| {
        let message = request.message();
        (message["method"] == "tools/call").then(|| match message["params"]["requestState"].as_str() {
            Some("state of 123-45-6789") => Reply::Result(json!({"resultType": "complete", "content": [], "structuredContent": {"status": "found"}})),
            Some(_) => Reply::Error(json!({"code": -32602, "message": "a foreign state"})),
            None => Reply::Result(json!({"resultType": "input_required", "requestState": "state of 123-45-6789", "inputRequests": {
                "who": {"method": "elicitation/create", "params": {"mode": "form", "message": "which?", "requestedSchema": {"type": "object", "properties": {"ssn": {"type": "string"}}}}}}})),
        })
    })
    .await
}

/// With a rule for what servers ask people.
fn with_elicitation(setup: Setup) -> Setup {
    setup.extended("methods:\n  elicitation/create: { roles: any, patient: none }\n")
}

#[tokio::test]
async fn a_state_comes_back_only_from_the_one_who_was_given_it_for_the_same_call() {
    let upstream = asking().await;
    let sidecar = both_eras(&upstream, with_elicitation).await;
    let mut client = Modern::of(&sidecar, "dr.rounds").await;
    let call = |state: &Value| json!({"name": "find_patient", "arguments": {}, "requestState": state, "inputResponses": {"who": {"action": "accept", "content": {"ssn": VALUES[0]}}}});
    let (_, asked) = client
        .ask(
            "tools/call",
            json!({"name": "find_patient", "arguments": {}}),
        )
        .await;
    let state = asked["result"]["requestState"].clone();
    assert!(
        asked["result"]["inputRequests"]["who"]["method"] == "elicitation/create",
        "{asked}"
    );
    assert_no_value(&asked.to_string(), "what the client was asked");

    let (status, done) = client.ask("tools/call", call(&state)).await;
    assert_eq!(
        (status, &done["result"]["structuredContent"]["status"]),
        (200, &json!("found")),
        "{done}"
    );
    let sent = upstream.messages("tools/call").pop().expect("a call");
    let typed = sent["params"]["inputResponses"]["who"]["content"]["ssn"].as_str();
    assert!(
        typed.is_some_and(|text| text.starts_with("hs1.")),
        "what a person typed is sealed, and a text still: {sent}"
    );

    let before = upstream.requests().len();
    let mut other_tool = call(&state);
    other_tool["name"] = json!("list_departments");
    let mut stranger = Modern::of(&sidecar, "dr.stranger").await;
    let mut forged = state.as_str().expect("a text").to_owned();
    forged.pop();
    for (who, client, params) in [
        ("another call", &mut client, other_tool),
        ("another principal", &mut stranger, call(&state)),
    ] {
        let (status, answer) = client.ask("tools/call", params).await;
        assert_eq!(status, 404, "{who}: {answer}");
        assert_eq!(answer["error"]["code"], -32602, "{who}: {answer}");
    }
    for changed in [json!(forged), json!("state of 123-45-6789"), json!(7)] {
        let (status, answer) = client.ask("tools/call", call(&changed)).await;
        assert_eq!(status, 404, "{changed}: {answer}");
    }
    assert_eq!(
        upstream.requests().len(),
        before,
        "none of them reached the upstream"
    );
}

#[tokio::test]
async fn what_a_server_asks_in_place_of_an_answer_needs_its_rule() {
    let upstream = asking().await;
    let sidecar = both_eras(&upstream, |setup| setup).await;
    let mut client = Modern::of(&sidecar, "dr.asked").await;
    let (_, answer) = client
        .ask(
            "tools/call",
            json!({"name": "find_patient", "arguments": {}}),
        )
        .await;
    assert_eq!(answer["error"]["code"], DENIED, "{answer}");
    sidecar
        .event("phi_access_denied", |event| event["reason"] == "not_listed")
        .await;
}

#[tokio::test]
async fn a_subscription_tells_of_what_was_asked_for_and_may_be_read() {
    let (events, receiver) = mpsc::unbounded_channel();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let upstream = Upstream::start(tools_of_the_policy(), move |request| {
        (request.message()["method"] == "subscriptions/listen").then(|| {
            Reply::Events(
                receiver
                    .lock()
                    .expect("no panic")
                    .take()
                    .expect("one stream"),
            )
        })
    })
    .await;
    let rule = "methods:\n  subscriptions/listen: { roles: any, patient: none }\n";
    let sidecar = both_eras(&upstream, |setup| setup.extended(rule)).await;
    let mut client = Modern::of(&sidecar, "dr.listens").await;
    let own = "patient://p-1/summary";
    let filter = |uri: &str| json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": [uri]}});
    let (_, refused) = client
        .ask("subscriptions/listen", filter("file:///etc/passwd"))
        .await;
    assert_eq!(
        refused["error"]["code"], DENIED,
        "a resource that may not be read: {refused}"
    );

    let listen = client.message("subscriptions/listen", filter(own));
    let mut stream = client.send(&listen, &[]).await.expect_status(200).await;
    let meta = json!({"io.modelcontextprotocol/subscriptionId": listen["id"], "note": VALUES[0]});
    let say = |method: &str, mut params: Value| {
        params["_meta"] = meta.clone();
        let text = json!({"jsonrpc": "2.0", "method": method, "params": params});
        events
            .send(format!("event: message\ndata: {text}\n\n"))
            .expect("an open stream");
    };
    say(
        "notifications/subscriptions/acknowledged",
        json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": [own, "patient://p-2/summary"], "who": VALUES[0]}}),
    );
    say(
        "notifications/resources/updated",
        json!({"uri": "patient://p-2/summary"}),
    );
    say(
        "notifications/message",
        json!({"level": "info", "data": VALUES[0]}),
    );
    say(
        "notifications/resources/updated",
        json!({"uri": own, "title": VALUES[3]}),
    );
    say(
        "notifications/tools/list_changed",
        json!({"who": VALUES[0]}),
    );
    let tagged = json!({"io.modelcontextprotocol/subscriptionId": listen["id"]});
    for (method, params) in [
        (
            "notifications/subscriptions/acknowledged",
            json!({"_meta": tagged, "notifications": {"toolsListChanged": true, "resourceSubscriptions": [own]}}),
        ),
        (
            "notifications/resources/updated",
            json!({"_meta": tagged, "uri": own}),
        ),
        ("notifications/tools/list_changed", json!({"_meta": tagged})),
    ] {
        let arrived = stream.event().await.expect("an event").json();
        assert_eq!(
            arrived,
            json!({"jsonrpc": "2.0", "method": method, "params": params})
        );
    }
}

#[tokio::test]
async fn a_client_that_goes_has_cancelled_its_request() {
    let upstream = Upstream::start(tools_of_the_policy(), |request| {
        (request.message()["method"] == "tools/call").then_some(Reply::Silence)
    })
    .await;
    let sidecar = both_eras(&upstream, |setup| setup).await;
    let mut client = Modern::of(&sidecar, "dr.gone").await;
    let call = client.message(
        "tools/call",
        json!({"name": "find_patient", "arguments": {}}),
    );
    let pending = tokio::spawn(async move { client.send(&call, &[]).await });
    safeguard_tests::wait::eventually("the call upstream", || async {
        (!upstream.messages("tools/call").is_empty()).then_some(())
    })
    .await;
    pending.abort();
    sidecar
        .event("phi_read", |event| event["reason"] == "client_cancelled")
        .await;
}

#[tokio::test]
async fn discovery_names_what_is_carried_here() {
    let upstream = Upstream::start(tools_of_the_policy(), |request| {
        (request.message()["method"] == "server/discover").then(|| Reply::Result(json!({
            "resultType": "complete", "supportedVersions": ["2024-11-05", "2025-11-25", REVISION, "2027-01-01"], "capabilities": {"tools": {}}, "ttlMs": 1000, "cacheScope": "public"})))
    })
    .await;
    let sidecar = both_eras(&upstream, |setup| setup).await;
    let mut client = Modern::of(&sidecar, "dr.discovers").await;
    let (_, answer) = client.ask("server/discover", json!({})).await;
    assert_eq!(
        answer["result"]["supportedVersions"],
        json!(["2025-11-25", REVISION])
    );
    assert_eq!(answer["result"]["cacheScope"], "private");
    let text = client.send(&client_message(), &[]).await;
    assert_eq!(text.header("cache-control"), "no-store");
}

fn client_message() -> Value {
    json!({"jsonrpc": "2.0", "id": 9, "method": "server/discover", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": REVISION}}})
}
