//! The output `siem`: every event that belongs to an answered request is at a real collector, without a value.

use std::collections::BTreeSet;

use safeguard_tests::collector::Collector;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::spool;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::patients::assert_no_value;

/// The events of both, by chain and number.
fn numbers(events: &[Value]) -> BTreeSet<(String, u64)> {
    events
        .iter()
        .map(|event| {
            let chain = event["chain"].as_str().expect("a chain").to_owned();
            (chain, event["seq"].as_u64().expect("a number"))
        })
        .collect()
}

#[tokio::test]
async fn every_event_reaches_the_collector_over_its_outage_and_a_killed_sidecar() {
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = Upstream::answering(structured(&patients)).await;
    let mut setup = Setup::new(&upstream.url());
    let mut collector = Collector::of(&mut setup);
    collector.up().await;
    let mut sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician("dr.siem"))).await;
    client.succeed("find_patient", &json!({})).await;
    eventually("the first outcome at the collector", || async {
        collector
            .events()
            .iter()
            .any(|event| event["event"] == "phi_read")
            .then_some(())
    })
    .await;
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
    let expected = numbers(&spool::events(&sidecar.setup.spool()));
    eventually("every event of the spool at the collector", || async {
        numbers(&collector.events())
            .is_superset(&expected)
            .then_some(())
    })
    .await;
    assert_no_value(
        &Value::from(collector.events()).to_string(),
        "the collector",
    );
}
