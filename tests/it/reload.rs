//! Certificates and policy change without dropping a connection; a bad change is refused and the old state kept.

use safeguard_tests::client::{Connection, open_tls};
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{claims, sign};
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::wait::eventually;
use serde_json::json;

async fn nurse_and_sidecar() -> (Upstream, Sidecar, safeguard_tests::client::Client) {
    let upstream = Upstream::answering(structured(&json!({"patients": [], "records": []}))).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let client = sidecar
        .client(&sign(&claims("nurse.reload", "nurse", "TREAT")))
        .await;
    (upstream, sidecar, client)
}

const WITHOUT_NURSE: &str = "find_patient:                         # operation: none | search | read | create | update | delete | export
    operation: search
    roles: [physician, nurse, billing, care_agent]";

#[tokio::test]
async fn a_new_policy_works_on_open_connections() {
    let (_upstream, mut sidecar, mut client) = nurse_and_sidecar().await;
    client.succeed("find_patient", &json!({})).await;
    sidecar.setup.replace(
        "policy.yaml",
        WITHOUT_NURSE,
        &WITHOUT_NURSE.replace("nurse, ", ""),
    );
    sidecar.setup.write();
    sidecar.signal("HUP");
    eventually("the new policy", || async {
        (sidecar
            .events()
            .iter()
            .any(|event| event["event"] == "permission_change"
                && event["details"]["less_1"]
                    == "nurse (by care-agent, chart-web) at tools.find_patient: call: permitted -> nothing"))
        .then_some(())
    })
    .await;
    assert_eq!(
        client.refused("find_patient", &json!({})).await,
        -32050,
        "the nurse lost the tool, not the connection"
    );
    client.succeed("list_departments", &json!({})).await;
    assert_eq!(
        sidecar
            .metric("safeguard_config_last_reload_successful", &[])
            .await,
        1.0
    );
}

#[tokio::test]
async fn a_bad_policy_is_refused_and_the_old_one_kept() {
    let (_upstream, mut sidecar, mut client) = nurse_and_sidecar().await;
    sidecar.setup.replace(
        "policy.yaml",
        "roles: [physician, nurse, billing, care_agent]",
        "roles: [physician, nobody_defined]",
    );
    sidecar.setup.write();
    sidecar.signal("HUP");
    sidecar.event("policy_reload_rejected", |_| true).await;
    client.succeed("find_patient", &json!({})).await;
    assert_eq!(
        sidecar
            .metric("safeguard_config_last_reload_successful", &[])
            .await,
        0.0
    );
}

/// The certificate that the listener shows.
async fn shown(sidecar: &Sidecar) -> Vec<u8> {
    let tls = open_tls(&sidecar.target(), sidecar.tls(&sidecar.web), &["http/1.1"])
        .await
        .expect("a connection");
    tls.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (_upstream, sidecar, mut client) = nurse_and_sidecar().await;
    let new = sidecar.setup.authority.server(&["localhost"]);
    sidecar.setup.write_tls(&new, &sidecar.setup.authority.pem);
    sidecar.signal("HUP");
    eventually("the new certificate", || async {
        (shown(&sidecar).await == new.chain[0].to_vec()).then_some(())
    })
    .await;
    client.succeed("find_patient", &json!({})).await;
    sidecar.event("configuration_change", |_| true).await;
}

#[tokio::test]
async fn a_bad_certificate_is_refused_and_the_old_one_kept() {
    let (_upstream, sidecar, mut client) = nurse_and_sidecar().await;
    let before = shown(&sidecar).await;
    // The key of another certificate.
    let (one, other) = (
        sidecar.setup.authority.server(&["localhost"]),
        sidecar.setup.authority.server(&["localhost"]),
    );
    let mixed = one.with_key_of(&other);
    sidecar
        .setup
        .write_tls(&mixed, &sidecar.setup.authority.pem);
    sidecar.signal("HUP");
    eventually("the refusal", || async {
        (sidecar
            .metric("safeguard_config_last_reload_successful", &[])
            .await
            == 0.0)
            .then_some(())
    })
    .await;
    assert_eq!(shown(&sidecar).await, before);
    client.succeed("find_patient", &json!({})).await;
    assert!(
        Connection::open(&sidecar.target(), sidecar.tls(&sidecar.web))
            .await
            .is_ok()
    );
}
