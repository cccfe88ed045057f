//! The output `siem` by `protocol: otlp` and `protocol: hec`: every event is at a real OpenTelemetry Collector, in order, over outages and kills and new certificates;
//! what a collector says that can't be asked of a real one (429, 503, a refusal of one event) a recorder says.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use safeguard_tests::configuration::Setup;
use safeguard_tests::load::{Load, assert_recorded_once};
use safeguard_tests::otel::{Arrived, Otel, Speaks, TOKEN, text_of};
use safeguard_tests::pki::Authority;
use safeguard_tests::sidecar::{Sidecar, path_text};
use safeguard_tests::spool;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured};
use safeguard_tests::wait::eventually;
use serde_json::{Deserializer, Value, json};

use crate::patients::assert_no_value;

/// What fewer than forty events take, and more than one.
const SHORT_BYTES: usize = 40_000;

type Places = BTreeSet<(String, u64)>;

async fn patients() -> Upstream {
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    Upstream::answering(structured(&patients)).await
}

/// The events of the spool, by chain and number.
fn recorded(sidecar: &Sidecar) -> Places {
    let events = spool::events(&sidecar.setup.spool());
    events
        .iter()
        .map(|event| {
            let chain = event["chain"].as_str().expect("a chain").to_owned();
            (chain, event["seq"].as_u64().expect("a number"))
        })
        .collect()
}

fn places(arrived: &[Arrived]) -> Places {
    arrived.iter().map(|one| one.place.clone()).collect()
}

async fn all_arrive(collector: &Otel, expected: &Places) {
    eventually("every event of the spool at the collector", || async {
        places(&collector.arrived())
            .is_superset(expected)
            .then_some(())
    })
    .await;
}

/// Each event at its first arrival stands behind those before it in its chain.
fn assert_in_order(arrived: &[Arrived]) {
    let mut seen = Places::new();
    for one in arrived {
        let (chain, number) = &one.place;
        if seen.insert(one.place.clone()) && *number > 0 {
            let before = (chain.clone(), number - 1);
            assert!(seen.contains(&before), "{number} of {chain} came first");
        }
    }
}

fn assert_nowhere(sidecar: &Sidecar, secret: &str) {
    let events = Value::from(sidecar.events()).to_string();
    for (place, text) in [("log", sidecar.log()), ("events", events)] {
        assert!(!text.contains(secret), "the token in the {place}");
    }
}

async fn over_an_outage_and_a_kill(speaks: Speaks) {
    let upstream = patients().await;
    let mut setup = Setup::new(&upstream.url());
    let mut collector = Otel::of(&mut setup, speaks, "");
    collector.up().await;
    let mut sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician("dr.collector"))).await;
    client.succeed("find_patient", &json!({})).await;
    let first = recorded(&sidecar);
    all_arrive(&collector, &first).await;
    collector.down();
    for _ in 0..10 {
        client.succeed("find_patient", &json!({})).await;
    }
    sidecar
        .event("sink_failed", |event| event["details"]["sink"] == "siem")
        .await;
    sidecar.kill().await;
    collector.up().await;
    sidecar.launch_again();
    sidecar.ready().await;
    let expected = recorded(&sidecar);
    assert!(expected.len() > first.len() + 20);
    all_arrive(&collector, &expected).await;
    assert_in_order(&collector.arrived());
    assert_no_value(&collector.text(), "the collector");
    assert!(!collector.text().contains(TOKEN));
    assert_nowhere(&sidecar, TOKEN);
    assert!(!sidecar.metrics().await.contains(TOKEN));
}

#[tokio::test]
async fn every_event_reaches_an_otlp_collector_over_its_outage_and_a_killed_sidecar() {
    over_an_outage_and_a_kill(Speaks::Otlp).await;
}

#[tokio::test]
async fn every_event_reaches_an_event_collector_over_its_outage_and_a_killed_sidecar() {
    over_an_outage_and_a_kill(Speaks::Hec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_kills_under_load() {
    const KILLS: usize = 5;
    for speaks in Speaks::ALL {
        let upstream = patients().await;
        let mut setup = Setup::new(&upstream.url());
        let mut collector = Otel::of(&mut setup, speaks, "      format: native\n");
        collector.up().await;
        let mut sidecar = Sidecar::start(setup).await;
        let mut load = Load::start(&sidecar, 4);
        for answers in 1..=KILLS {
            load.answers(10 * answers).await;
            sidecar.kill().await;
            sidecar.launch_again();
            sidecar.ready().await;
        }
        let answered = load.end().await;
        let expected = recorded(&sidecar);
        all_arrive(&collector, &expected).await;
        assert_in_order(&collector.arrived());
        assert_recorded_once(&sidecar.events(), &answered);
    }
}

#[tokio::test]
async fn a_log_record_holds_the_record_as_the_spool_has_it_and_says_whose_and_how_grave() {
    let upstream = patients().await;
    let mut setup = Setup::new(&upstream.url());
    let mut collector = Otel::of(&mut setup, Speaks::Otlp, "      format: native\n");
    collector.up().await;
    setup.set("HOSTNAME", "pod-of-the-test");
    let sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician("dr.record"))).await;
    client.succeed("find_patient", &json!({})).await;
    let read = sidecar.event("phi_read", |_| true).await;
    let arrived = eventually("the outcome at the collector", || async {
        let mut arrived = collector.arrived().into_iter();
        arrived.find(|one| one.record["eventName"] == "phi_read")
    })
    .await;
    let body = arrived.record["body"]["stringValue"].as_str();
    let body: Value = serde_json::from_str(body.expect("a text")).expect("JSON");
    assert_eq!(body, read);
    let attribute = |name| text_of(&arrived.record["attributes"], name);
    assert_eq!(attribute("log.record.uid"), read["uid"]);
    assert_eq!(attribute("safeguard.outcome"), read["outcome"]);
    assert_eq!(arrived.record["severityNumber"], 9);
    let resource = |name| text_of(&arrived.resource, name);
    assert_eq!(resource("service.name"), "safeguard");
    assert_eq!(resource("host.name"), "pod-of-the-test");
}

#[tokio::test]
async fn a_collector_that_takes_short_requests_only_gets_everything_in_shorter_ones() {
    for speaks in Speaks::ALL {
        let upstream = patients().await;
        let mut setup = Setup::new(&upstream.url());
        let mut collector = Otel::of(&mut setup, speaks, "");
        collector.limit_requests(SHORT_BYTES);
        let sidecar = Sidecar::start(setup).await;
        let mut client = sidecar.client(&sign(&physician("dr.short"))).await;
        for _ in 0..20 {
            client.succeed("find_patient", &json!({})).await;
        }
        collector.up().await;
        all_arrive(&collector, &recorded(&sidecar)).await;
        // A line is a request.
        let text = collector.text();
        let longest = text.lines().map(str::len).max().unwrap_or_default();
        assert!(longest < 2 * SHORT_BYTES && text.len() > 3 * SHORT_BYTES);
        let events = sidecar.events();
        let aside = events
            .iter()
            .find(|event| event["reason"] == "event_refused");
        assert_eq!(aside, None);
    }
}

#[tokio::test]
async fn a_collector_of_another_authority_gets_nothing_until_its_authority_is_trusted() {
    let upstream = patients().await;
    let mut setup = Setup::new(&upstream.url());
    let mut collector = Otel::of(&mut setup, Speaks::Otlp, "");
    collector.up().await;
    let sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician("dr.rotation"))).await;
    client.succeed("find_patient", &json!({})).await;
    all_arrive(&collector, &recorded(&sidecar)).await;
    // New certificates of a new authority on both sides.
    let other = Authority::new("another");
    collector.down();
    collector.certify(&other);
    let before = collector.arrived().len();
    collector.up().await;
    client.succeed("find_patient", &json!({})).await;
    let config = sidecar.setup.config();
    let check = ["check", "--online", "--config", path_text(&config)];
    let words = sidecar.command(&check).await.stdout;
    let words = String::from_utf8_lossy(&words).into_owned();
    assert!(words.contains("TLS handshake"), "{words}");
    sidecar
        .event("sink_failed", |event| event["details"]["sink"] == "siem")
        .await;
    assert_eq!(collector.arrived().len(), before);
    collector.trust(&other);
    all_arrive(&collector, &recorded(&sidecar)).await;
    sidecar
        .event("sink_recovered", |event| event["details"]["sink"] == "siem")
        .await;
}

#[tokio::test]
async fn a_refused_token_sets_no_event_aside_and_check_online_names_it() {
    for speaks in Speaks::ALL {
        let upstream = patients().await;
        let mut setup = Setup::new(&upstream.url());
        let mut collector = Otel::of(&mut setup, speaks, "");
        collector.up().await;
        setup.set("SAFEGUARD_SIEM_TOKEN", "another-canary-token");
        let mut sidecar = Sidecar::start(setup).await;
        let failed = sidecar
            .event("sink_failed", |event| event["details"]["sink"] == "siem")
            .await;
        let what = failed["details"]["what"].as_str().expect("words");
        assert!(what.contains("401") && what.contains("token"), "{what}");
        assert_eq!(failed["reason"], "401");
        let config = sidecar.setup.config();
        let check = ["check", "--online", "--config", path_text(&config)];
        let refused = sidecar.command(&check).await;
        let words = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(words.contains("audit_logging.output.token"), "{words}");
        assert_nowhere(&sidecar, "another-canary-token");
        assert!(!words.contains("another-canary-token"));
        assert!(collector.arrived().is_empty());
        assert!(sidecar.stop().await.success());
        sidecar.setup.set("SAFEGUARD_SIEM_TOKEN", TOKEN);
        let accepted = sidecar.command(&check).await;
        let words = String::from_utf8_lossy(&accepted.stdout).into_owned();
        assert!(!words.contains("siem collector"), "{words}");
        sidecar.launch_again();
        sidecar.ready().await;
        all_arrive(&collector, &recorded(&sidecar)).await;
        let aside = sidecar
            .events()
            .into_iter()
            .filter(|event| event["reason"] == "event_refused");
        assert_eq!(aside.count(), 0);
    }
}

/// A collector that is a recorder, in clear as development may have it, and a sidecar that delivers to it.
async fn recorder(
    protocol: &str,
    handler: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
) -> (Upstream, Upstream, Sidecar) {
    let upstream = patients().await;
    let double = Upstream::start(Value::Null, move |request| Some(handler(request))).await;
    let mut setup = Setup::new(&upstream.url()).extended("profile: development\n");
    setup.add_output(&format!(
        "    - type: siem\n      endpoint: http://{}\n      protocol: {protocol}\n      format: native\n      token: {TOKEN}\n",
        double.address
    ));
    let sidecar = Sidecar::start(setup).await;
    (upstream, double, sidecar)
}

fn well(protocol: &str) -> Reply {
    let body = match protocol {
        "hec" => r#"{"text":"Success","code":0}"#,
        _ => "{}",
    };
    Reply::Body(200, "application/json", body.as_bytes().to_vec())
}

/// The records of a request, as the spool has them.
fn records(request: &Recorded) -> Vec<Value> {
    if request.path == "/services/collector/event" {
        let objects = Deserializer::from_slice(&request.body).into_iter::<Value>();
        return objects
            .map(|object| object.expect("an object")["event"].clone())
            .collect();
    }
    assert_eq!(request.path, "/v1/logs");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut records = Vec::new();
    for resource in list(&request.message()["resourceLogs"]) {
        for log in list(&resource["scopeLogs"][0]["logRecords"]) {
            let text = log["body"]["stringValue"].as_str().expect("a text");
            records.push(serde_json::from_str(text).expect("a record"));
        }
    }
    records
}

#[tokio::test]
async fn a_busy_collector_is_left_alone_for_as_long_as_it_says() {
    const REST: Duration = Duration::from_secs(3);
    for (protocol, status) in [("otlp", 429), ("hec", 503)] {
        let first: Mutex<Option<Instant>> = Mutex::new(None);
        let early: &'static Mutex<usize> = Box::leak(Box::default());
        let (_upstream, double, sidecar) = recorder(protocol, move |_| {
            let mut first = first.lock().expect("no test panicked here");
            match *first {
                None => {
                    *first = Some(Instant::now());
                    let text = format!(
                        "HTTP/1.1 {status} Busy\r\nretry-after: {}\r\ncontent-length: 0\r\n\r\n",
                        REST.as_secs()
                    );
                    Reply::Open(text.into_bytes())
                }
                Some(then) => {
                    if then.elapsed() < REST {
                        *early.lock().expect("no test panicked here") += 1;
                    }
                    well(protocol)
                }
            }
        })
        .await;
        sidecar
            .event("sink_failed", |event| event["reason"] == "busy")
            .await;
        sidecar
            .event("sink_recovered", |event| event["details"]["sink"] == "siem")
            .await;
        assert_eq!(*early.lock().expect("no test panicked here"), 0);
        assert!(double.requests().len() >= 2);
    }
}

#[tokio::test]
async fn one_poison_event_is_set_aside_by_name_while_the_others_go_on() {
    for (protocol, reply) in [
        ("otlp", r#"{"code":3,"message":"it quotes 123-45-6789"}"#),
        (
            "otlp-partial",
            r#"{"partialSuccess":{"rejectedLogRecords":"1"}}"#,
        ),
        (
            "hec",
            r#"{"text":"Invalid data format","code":6,"invalid-event-number":0}"#,
        ),
    ] {
        let is_partial = protocol == "otlp-partial";
        let protocol = protocol.trim_end_matches("-partial");
        let is_poison = |record: &Value| record["event"] == "phi_access_granted";
        let (_upstream, double, sidecar) = recorder(protocol, move |request| {
            match records(request).iter().any(is_poison) {
                true if is_partial => {
                    Reply::Body(200, "application/json", reply.as_bytes().to_vec())
                }
                true => Reply::Body(400, "application/json", reply.as_bytes().to_vec()),
                false => well(protocol),
            }
        })
        .await;
        let mut client = sidecar.client(&sign(&physician("dr.poison"))).await;
        client.succeed("find_patient", &json!({})).await;
        let aside = sidecar
            .event("sink_failed", |event| event["reason"] == "event_refused")
            .await;
        let poison = sidecar.event("phi_access_granted", |_| true).await;
        assert_eq!(aside["details"]["refused_uid"], poison["uid"]);
        assert_eq!(aside["details"]["refused_seq"], poison["seq"]);
        eventually("the events behind it, and the report", || async {
            let requests = double.requests();
            let taken: Vec<Value> = requests
                .iter()
                .map(records)
                .filter(|records| !records.iter().any(is_poison))
                .flatten()
                .collect();
            let has = |name: &str| taken.iter().any(|record| record["event"] == name);
            (has("phi_read") && taken.iter().any(|record| record["uid"] == aside["uid"]))
                .then_some(())
        })
        .await;
        assert!(!sidecar.log().contains("123-45-6789"));
        let all = double.requests();
        let scheme = if protocol == "hec" {
            "Splunk"
        } else {
            "Bearer"
        };
        assert_eq!(
            all[0].header("authorization"),
            Some(format!("{scheme} {TOKEN}").as_str())
        );
    }
}
