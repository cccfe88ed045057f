//! Emergency access (45 CFR 164.312(a)(2)(ii)): one patient more for a while, with an alert, a record and a review.

use std::sync::Mutex;

use safeguard_tests::client::Client;
use safeguard_tests::clinic::Clinic;
use safeguard_tests::configuration::Setup;
use safeguard_tests::realm::Realm;
use safeguard_tests::sidecar::{Sidecar, metric_reaches, path_text};
use safeguard_tests::tokens::{claims, physician, sign, with};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::patients::{VALUES, assert_no_value, data, to_store};

const START: &str = "safeguard_emergency_start";
const STOP: &str = "safeguard_emergency_stop";
/// What nobody but the reviewer reads.
const REASON: &str = "collapsed in the corridor, nobody of her ward is here";
/// A field that no nurse sees.
const HIDDEN: &str = "diagnosis";

fn section(more: &str) -> String {
    format!(
        "emergency:\n  roles: [nurse]\n  grants: {{ view: physician, tools: [find_patient, read_record] }}\n  needs: [reason, patient]\n{more}"
    )
}

fn nurse(subject: &str) -> String {
    sign(&claims(subject, "nurse", "TREAT"))
}

/// Two stored patients, and an emergency section.
struct Ward {
    _clinic: Clinic,
    sidecar: Sidecar,
}

impl Ward {
    async fn open(clinic: Clinic, more: &str) -> Self {
        let setup = Setup::new(&clinic.server.url()).extended(&section(more));
        let sidecar = Sidecar::start(setup).await;
        let mut physician = sidecar.client(&sign(&physician("dr.ward"))).await;
        for patient in ["p-1", "p-2"] {
            physician.succeed("store_record", &to_store(patient)).await;
        }
        Self {
            _clinic: clinic,
            sidecar,
        }
    }

    /// `safeguard emergency`: what it says, or its complaint.
    async fn emergency(&self, arguments: &[&str]) -> Result<String, String> {
        let config = self.sidecar.setup.config();
        let line = [&["emergency"], arguments, &["--config", path_text(&config)]].concat();
        let ended = self.sidecar.command(&line).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match ended.status.success() {
            true => Ok(text(&ended.stdout)),
            false => Err(text(&ended.stderr)),
        }
    }

    async fn stopped(&self, why: &'static str) -> Value {
        let is_it = move |event: &Value| event["reason"] == why;
        self.sidecar.event("emergency_access_stop", is_it).await
    }
}

async fn begin(client: &mut Client, patient: &str) -> Value {
    let begun = client
        .succeed(START, &json!({"patient": patient, "reason": REASON}))
        .await;
    assert_eq!(begun["isError"], false, "{begun}");
    begun
}

/// Whether the client sees a patient's diagnosis.
async fn sees(client: &mut Client, patient: &str) -> bool {
    let read = client
        .succeed("read_record", &json!({"patient_id": patient}))
        .await;
    let seen = &read["structuredContent"]["record"]["data"];
    assert_eq!(seen["medications"], data()["medications"]);
    seen[HIDDEN] == VALUES[3]
}

async fn one_patient_more_until_it_is_stopped(clinic: Clinic) {
    let ward = Ward::open(clinic, "").await;
    let mut client = ward.sidecar.client(&nurse("nurse.one")).await;
    let mut other = ward.sidecar.client(&nurse("nurse.two")).await;
    let names = client.names("tools/list", "tools").await;
    for tool in [START, STOP, "read_record"] {
        assert!(names.iter().any(|name| name == tool), "{names:?}");
    }
    assert!(!sees(&mut client, "p-1").await);
    begin(&mut client, "p-1").await;
    assert!(sees(&mut client, "p-1").await);
    assert!(
        !sees(&mut client, "p-2").await,
        "for the patient named alone"
    );
    assert!(!sees(&mut other, "p-1").await, "for whoever began it alone");
    let stopped = client.succeed(STOP, &json!({})).await;
    assert_eq!(stopped["isError"], false, "{stopped}");
    assert!(!sees(&mut client, "p-1").await);

    let started = ward.sidecar.event("emergency_access_start", |_| true).await;
    assert_eq!(started["severity"], "critical");
    assert_eq!(started["subject"]["sub"], "nurse.one");
    assert_eq!(started["subject"]["second_factor"], json!(["otp"]));
    assert_eq!(started["purpose"], "BTG");
    let stopped = ward.stopped("stopped").await;
    assert_eq!(stopped["patients"], started["patients"]);
    assert_eq!(
        stopped["details"]["emergency"],
        started["details"]["emergency"]
    );
    let reads: Vec<Value> = ward.sidecar.events();
    let reads = reads.iter().filter(|event| event["event"] == "phi_read");
    let of_emergency = reads.filter(|event| event["purpose"] == "BTG").count();
    assert_eq!(of_emergency, 1, "each call says by which purpose");
    let spool = Setup::contents(&ward.sidecar.setup.spool());
    let state = Setup::contents(&ward.sidecar.setup.state());
    let metrics = ward.sidecar.metrics().await;
    for (text, what) in [
        (&spool, "the spool"),
        (&state, "the state"),
        (&metrics, "the metrics"),
        (&ward.sidecar.log(), "the log"),
    ] {
        assert!(!text.contains("corridor"), "{what} holds no reason");
        assert_no_value(text, what);
    }
    assert!(metrics.contains("safeguard_emergency_access_started_total 1"));
}

#[tokio::test]
async fn an_emergency_shows_one_patient_more_in_a_real_servers_json_until_it_is_stopped() {
    one_patient_more_until_it_is_stopped(Clinic::start_json().await).await;
}

#[tokio::test]
async fn an_emergency_shows_one_patient_more_in_a_real_servers_events_until_it_is_stopped() {
    one_patient_more_until_it_is_stopped(Clinic::start().await).await;
}

#[tokio::test]
async fn an_emergency_ends_by_its_time_by_logout_and_by_another() {
    let ward = Ward::open(Clinic::start_json().await, "  lasts: 3s\n").await;
    let token = nurse("nurse.three");
    let mut client = ward.sidecar.client(&token).await;
    begin(&mut client, "p-1").await;
    begin(&mut client, "p-2").await;
    assert!(!sees(&mut client, "p-1").await, "one at a time");
    ward.stopped("replaced").await;
    ward.stopped("expired").await;
    assert!(!sees(&mut client, "p-2").await);
    metric_reaches(
        &ward.sidecar,
        "safeguard_emergency_reviews_pending",
        &[],
        2.0,
    )
    .await;

    begin(&mut client, "p-1").await;
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let mut connection = ward.sidecar.connect().await;
    let left = connection.send("POST", "/auth/logout", &headers, "").await;
    assert!(left.expect("an answer").status < 300);
    ward.stopped("session_ended").await;
}

#[tokio::test]
async fn what_was_begun_is_reviewed_by_somebody_else_even_after_a_kill() {
    let mut ward = Ward::open(Clinic::start_json().await, "").await;
    let mut client = ward.sidecar.client(&nurse("nurse.four")).await;
    begin(&mut client, "p-1").await;
    ward.sidecar.kill().await;
    ward.sidecar.launch_again();
    ward.sidecar.ready().await;
    ward.stopped("restart").await;
    let mut client = ward.sidecar.client(&nurse("nurse.four")).await;
    assert!(!sees(&mut client, "p-1").await, "a restart ends it");
    metric_reaches(
        &ward.sidecar,
        "safeguard_emergency_reviews_pending",
        &[],
        1.0,
    )
    .await;

    let listed = ward.emergency(&["list"]).await.expect("a list");
    for told in [REASON, "nurse.four", "restart", "review by"] {
        assert!(listed.contains(told), "{told}: {listed}");
    }
    let id = listed.lines().next().expect("an id").to_owned();
    let review = |reviewer| {
        [
            "review",
            &id,
            "--reviewer",
            reviewer,
            "--verdict",
            "justified",
        ]
    };
    let own = ward.emergency(&review("Nurse.Four ")).await;
    assert!(own.expect_err("refused").contains("of their own"));
    ward.emergency(&review("privacy.officer"))
        .await
        .expect("a review");
    let again = ward.emergency(&review("privacy.officer")).await;
    assert!(again.expect_err("refused").contains("reviewed before"));
    let told = ward.sidecar.event("emergency_reviewed", |_| true).await;
    assert_eq!(told["details"]["reviewer"], "privacy.officer");
    assert_eq!(told["details"]["of_subject"], "nurse.four");
    assert_eq!(told["reason"], "justified");
    let listed = ward.emergency(&["list"]).await.expect("a list");
    assert!(listed.contains("nothing waits"), "{listed}");
    let all = ward.emergency(&["list", "--all"]).await.expect("a list");
    assert!(all.contains("justified by privacy.officer"), "{all}");
}

#[tokio::test]
async fn one_that_nobody_reviews_in_time_alerts_again() {
    let ward = Ward::open(Clinic::start_json().await, "  review_within: 1s\n").await;
    let mut client = ward.sidecar.client(&nurse("nurse.five")).await;
    begin(&mut client, "p-1").await;
    client.succeed(STOP, &json!({})).await;
    let overdue = ward
        .sidecar
        .event("emergency_review_overdue", |_| true)
        .await;
    assert_eq!(overdue["severity"], "critical");
    assert_eq!(overdue["subject"]["sub"], "nurse.five");
    metric_reaches(
        &ward.sidecar,
        "safeguard_emergency_reviews_overdue",
        &[],
        1.0,
    )
    .await;
    let listed = ward.emergency(&["list"]).await.expect("a list");
    assert!(listed.contains("OVERDUE"), "{listed}");
    let id = listed.lines().next().expect("an id").to_owned();
    let review = [
        "review",
        &id,
        "--reviewer",
        "eve",
        "--verdict",
        "unjustified",
    ];
    ward.emergency(&review).await.expect("a review");
    eventually("no review is overdue", async || {
        let overdue = ward
            .sidecar
            .metric("safeguard_emergency_reviews_overdue", &[]);
        (overdue.await < 1.0).then_some(())
    })
    .await;
}

fn answers(request: &Recorded) -> Option<Reply> {
    let called = request.message()["method"] == "tools/call";
    called.then(|| Reply::Result(structured(&json!({"departments": ["cardiology"]}))))
}

#[tokio::test]
async fn nobody_breaks_the_glass_who_may_not_and_nothing_of_it_goes_up() {
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let setup = Setup::new(&upstream.url()).extended(&section(""));
    let sidecar = Sidecar::start(setup).await;
    let wish = json!({"patient": "p-1", "reason": REASON});
    let mut physician = sidecar.client(&sign(&physician("dr.not.listed"))).await;
    let names = physician.names("tools/list", "tools").await;
    assert!(names.iter().all(|name| name != START), "{names:?}");
    assert_eq!(physician.refused(START, &wish).await, -32050);
    let denied = sidecar.event("phi_access_denied", |_| true).await;
    assert_eq!(denied["reason"], "role_not_allowed");

    let one_factor = with(
        claims("nurse.six", "nurse", "TREAT"),
        &json!({"amr": ["pwd"]}),
    );
    let tls = sidecar.tls(&sidecar.web);
    let connection = safeguard_tests::client::Connection::open(&sidecar.target(), tls).await;
    let mut client = Client::new(connection.expect("a connection"), &sign(&one_factor));
    let call = client.request_message("tools/call", &json!({"name": START, "arguments": wish}));
    client.post(&call).await.expect_status(401).await;

    let mut client = sidecar.client(&nurse("nurse.seven")).await;
    for wrong in [
        json!({}),
        json!({"patient": "p-1"}),
        json!({"patient": "p-1", "reason": "help"}),
        json!({"patient": "", "reason": REASON}),
        json!({"patient": ["p-1"], "reason": REASON}),
        json!({"patient": "p-1", "reason": REASON, "for": "ever"}),
    ] {
        let answer = client.succeed(START, &wrong).await;
        assert_eq!(answer["isError"], true, "{answer}");
    }
    let answer = client.succeed(STOP, &json!({})).await;
    assert_eq!(answer["isError"], true, "there is none: {answer}");
    begin(&mut client, "p-1").await;
    assert!(!upstream.everything().contains("safeguard_emergency"));
    let events = sidecar.events();
    let starts = events
        .iter()
        .filter(|event| event["event"] == "emergency_access_start");
    assert_eq!(starts.count(), 1);
}

#[tokio::test]
async fn without_the_section_the_names_are_those_of_unknown_tools() {
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&nurse("nurse.eight")).await;
    let names = client.names("tools/list", "tools").await;
    assert!(names.iter().all(|name| name != START), "{names:?}");
    let wish = json!({"patient": "p-1", "reason": REASON});
    assert_eq!(client.refused(START, &wish).await, -32050);
}

#[tokio::test]
async fn a_queue_that_was_changed_is_never_overwritten() {
    let mut ward = Ward::open(Clinic::start_json().await, "").await;
    let mut client = ward.sidecar.client(&nurse("nurse.nine")).await;
    begin(&mut client, "p-1").await;
    ward.sidecar.stop().await;
    let file = ward.sidecar.setup.state().join("emergencies.sealed");
    let text = std::fs::read_to_string(&file).expect("the queue");
    let changed = text.replacen('A', "B", 1);
    assert_ne!(text, changed);
    std::fs::write(&file, &changed).expect("a file");
    ward.sidecar.launch_again();
    assert!(!ward.sidecar.ended().await.success());
    assert!(ward.sidecar.log().contains("no review queue that a key"));
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), changed);
}

#[tokio::test]
async fn while_keycloak_is_away_an_emergency_begins_in_a_session_that_goes_on_and_is_recorded() {
    let realm = Realm::create().await;
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let more = section("").replace("[nurse]", "[physician]");
    let more = format!("keycloak:\n  keys_refresh_seconds: 1\n{more}");
    let sidecar = Sidecar::start(realm.setup(&upstream.url(), &more)).await;
    realm.person("breaks.glass").await;
    let token = realm.token("breaks.glass").await;
    let mut client = sidecar.client(&token).await;
    realm.relay.cut();
    eventually("the provider is away", async || {
        let up = sidecar.metric("safeguard_identity_provider_up", &[]).await;
        (up < 1.0).then_some(())
    })
    .await;
    begin(&mut client, "p-1").await;
    let started = sidecar.event("emergency_access_start", |_| true).await;
    assert_eq!(started["outcome"], "success");
    realm.relay.mend();
}

#[tokio::test]
async fn without_durable_audit_no_emergency_begins() {
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    // The smallest spool there is, which a few hundred events fill.
    let mut setup = Setup::new(&upstream.url()).extended(&section(""));
    let small = "  spool:\n    max_bytes: 1048576\n    segment_bytes: 65536\n";
    setup.replace("tests.yaml", "  spool:\n", small);
    let sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&nurse("nurse.full")).await;
    let read = json!({"name": "read_record", "arguments": {"patient_id": "p-1"}});
    let call = client.request_message("tools/call", &read);
    let mut is_full = false;
    for _ in 0..2000 {
        let answer = client.post(&call).await;
        is_full = answer.status == 503;
        answer.bytes().await;
        if is_full {
            break;
        }
    }
    assert!(is_full, "a full spool refuses");
    let wish = json!({"name": START, "arguments": {"patient": "p-1", "reason": REASON}});
    let wish = client.request_message("tools/call", &wish);
    let answer = client.post(&wish).await.expect_status(503).await;
    assert_eq!(answer.json().await["error"]["code"], -32053);
    let active = sidecar.metric("safeguard_emergency_access_active", &[]);
    assert_eq!(active.await, 0.0);
}

#[tokio::test]
async fn an_answer_that_comes_after_the_end_is_not_shown() {
    let (first, heard_first) = mpsc::unbounded_channel();
    let (second, heard_second) = mpsc::unbounded_channel();
    let streams = Mutex::new(vec![heard_second, heard_first]);
    let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        let called = request.message()["method"] == "tools/call";
        let next = || streams.lock().expect("no test fails with it").pop();
        called.then(next).flatten().map(Reply::Events)
    });
    let upstream = upstream.await;
    let tool =
        "\ntools:\n  look: { operation: read, roles: [physician], patient: args.patient_id }\n";
    let granted = section("").replace("find_patient, read_record", "look");
    let setup = Setup::new(&upstream.url()).with_policy("\ntools:", tool);
    let sidecar = Sidecar::start(setup.extended(&granted)).await;
    let mut client = sidecar.client(&nurse("nurse.late")).await;
    let mut other = sidecar.another(&client).await;
    begin(&mut client, "p-1").await;
    for (says, is_in_time) in [(first, true), (second, false)] {
        let params = json!({"name": "look", "arguments": {"patient_id": "p-1"}});
        let call = client.request_message("tools/call", &params);
        let answer = client.post(&call).await.expect_status(200).await;
        if !is_in_time {
            other.succeed(STOP, &json!({})).await;
        }
        let result = structured(&json!({"diagnosis": VALUES[3]}));
        let message = json!({"jsonrpc": "2.0", "id": call["id"], "result": result});
        // A stream that is over already takes it no more.
        let _ = says.send(format!("data: {message}\n\n"));
        drop(says);
        let shown = String::from_utf8_lossy(&answer.bytes().await).into_owned();
        assert_eq!(shown.contains(VALUES[3]), is_in_time, "{shown}");
    }
    let kept_back = |event: &Value| event["outcome"] == "failure" && event["purpose"] == "BTG";
    sidecar.event("phi_read", kept_back).await;
}
