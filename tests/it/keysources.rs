//! Keys from elsewhere: had, awaited, refused, rotated, and never seen. Infisical and transit are doubles here; `wrapped`
//! has the real ones.

use std::os::unix::fs::PermissionsExt;

use safeguard_tests::client::plain_request;
use safeguard_tests::configuration::{KEYS, Setup};
use safeguard_tests::sidecar::{Sidecar, command, path_text};
use safeguard_tests::sources::{Infisical, SoftHsm, Transit};
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Reply, Upstream, structured};
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::patients::{VALUES, assert_no_value, to_store};

const AWAITED: i64 = -32052;
/// A second key of 32 bytes.
const SECOND: &str = "c2Vjb25kLXBoaS1rZXktb2YtdGhlLXRlc3RzLTAxMjM=";

/// An upstream that answers every call alike.
pub async fn upstream() -> Upstream {
    Upstream::answering(structured(&json!({"patients": [], "records": []}))).await
}

/// The example with another source of its PHI key.
pub fn setup(upstream: &Upstream, source: &str, section: &str) -> Setup {
    let mut setup = Setup::new(&upstream.url())
        .with_policy("source: \"${PHI_KEY}\"", &format!("source: \"{source}\""))
        .extended(section);
    for (name, value) in [
        ("TRANSIT_TOKEN", Transit::TOKEN),
        ("TRANSIT_SECRET_ID", Transit::SECRET_ID),
        ("INFISICAL_SECRET", Infisical::CLIENT_SECRET),
        ("PIN", SoftHsm::PIN),
        ("RUST_LOG", "trace"),
    ] {
        setup.set(name, value);
    }
    setup
}

/// A physician at work.
pub async fn client(sidecar: &Sidecar) -> safeguard_tests::client::Client {
    sidecar.client(&sign(&physician("dr.keys"))).await
}

/// Asserts that PHI goes up sealed under a key of this id.
async fn assert_seals(sidecar: &Sidecar, upstream: &Upstream, id: &str) {
    let before = upstream.requests().len();
    client(sidecar)
        .await
        .succeed("store_record", &to_store("p-1"))
        .await;
    let requests = upstream.requests();
    let text: String = requests[before..]
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body).into_owned())
        .collect();
    assert_no_value(&text, "what goes up");
    assert!(text.contains("hs1."), "{text}");
    let opened = opened(&text, id).await;
    assert!(
        VALUES.iter().any(|value| opened.contains(value)),
        "{opened}"
    );
}

/// What `phi open` makes of the first envelope of a text with the key of an id.
async fn opened(text: &str, id: &str) -> String {
    let key = if id == "phi-2026-11" {
        KEYS[0].1
    } else {
        SECOND
    };
    let message: Value = text
        .lines()
        .flat_map(|line| serde_json::Deserializer::from_str(line).into_iter::<Value>())
        .filter_map(Result::ok)
        .find(|message| message["method"] == "tools/call")
        .expect("a call");
    let ssn = message["params"]["arguments"]["record"]["data"]["ssn"].clone();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, key).expect("a file");
    let arguments = [
        "phi",
        "open",
        "--key-file",
        path_text(&file),
        "--key-id",
        id,
        "--domain",
        "clinic-a/ehr",
        "--field",
        "ssn",
    ];
    let record = json!({"ssn": ssn}).to_string();
    safeguard_tests::sidecar::filter(&arguments, &record)
        .await
        .unwrap_or_else(|error| panic!("{id}: {error}"))
}

/// What the probe of readiness says, at length.
pub async fn readiness(sidecar: &Sidecar) -> (u16, String) {
    let (status, body) =
        plain_request(&sidecar.admin(), "GET", "/readyz?verbose", &[], Vec::new()).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_key_of_transit_seals_and_rotates_by_a_reload() {
    let (upstream, transit) = (upstream().await, Transit::start().await);
    let source = format!("transit:{}", transit.wrap(KEYS[0].1));
    let mut sidecar = Sidecar::start(setup(&upstream, &source, &transit.section())).await;
    assert_seals(&sidecar, &upstream, "phi-2026-11").await;

    let second = format!("transit:{}", transit.wrap(SECOND));
    let longer =
        format!("source: \"{source}\" }}, {{ id: phi-2, from: 2026-11-02, source: \"{second}\"");
    sidecar
        .setup
        .replace("policy.yaml", &format!("source: \"{source}\""), &longer);
    sidecar.setup.write();
    sidecar.signal("HUP");
    sidecar
        .event("key_rotated", |event| event["reason"] == "keys_reloaded")
        .await;
    assert_seals(&sidecar, &upstream, "phi-2").await;
}

#[tokio::test]
async fn without_its_source_phi_is_refused_the_rest_goes_on_and_it_recovers_by_itself() {
    let (upstream, mut transit) = (upstream().await, Transit::down());
    let source = format!("transit:{}", transit.wrap(KEYS[0].1));
    let mut sidecar = Sidecar::launch(setup(&upstream, &source, &transit.section()));
    sidecar.serves().await;
    let (status, text) = readiness(&sidecar).await;
    assert_eq!(status, 503);
    assert!(
        text.contains("[-] key_sources: keys.phi `phi-2026-11` from transit: it is unavailable"),
        "{text}"
    );
    let mut physician = client(&sidecar).await;
    assert_eq!(
        physician.refused("store_record", &to_store("p-1")).await,
        AWAITED
    );
    assert_eq!(physician.refused("find_patient", &json!({})).await, AWAITED);
    physician.succeed("list_departments", &json!({})).await;
    assert!(
        !upstream.everything().contains("store_record"),
        "nothing refused goes up"
    );
    assert_eq!(sidecar.metric("safeguard_keys_awaited", &[]).await, 1.0);
    sidecar
        .event("decrypt_failure", |event| {
            event["reason"] == "key_source_unavailable"
        })
        .await;

    transit.up().await;
    sidecar.ready().await;
    assert_seals(&sidecar, &upstream, "phi-2026-11").await;
    assert_eq!(sidecar.metric("safeguard_keys_awaited", &[]).await, 0.0);
    sidecar
        .event("key_rotated", |event| {
            event["reason"] == "keys_had_from_source"
        })
        .await;
}

#[tokio::test]
async fn a_key_that_cannot_be_unwrapped_leaves_the_old_ones_in_force() {
    let (upstream, mut transit) = (upstream().await, Transit::start().await);
    let source = format!("transit:{}", transit.wrap(KEYS[0].1));
    let mut sidecar = Sidecar::start(setup(&upstream, &source, &transit.section())).await;
    let foreign = format!(
        "source: \"{source}\" }}, {{ id: phi-2, from: 2026-11-02, source: \"transit:vault:v1:Zm9yZWlnbg==\""
    );
    sidecar
        .setup
        .replace("policy.yaml", &format!("source: \"{source}\""), &foreign);
    sidecar.setup.write();
    sidecar.signal("HUP");
    let refused = |event: &Value| event["reason"] == "key_source_refused";
    sidecar.event("policy_reload_rejected", refused).await;
    assert_seals(&sidecar, &upstream, "phi-2026-11").await;

    transit.stop();
    sidecar.signal("HUP");
    let unavailable = |event: &Value| event["reason"] == "key_source_unavailable";
    sidecar.event("policy_reload_rejected", unavailable).await;
    assert_seals(&sidecar, &upstream, "phi-2026-11").await;
    assert_eq!(readiness(&sidecar).await.0, 200);
}

#[tokio::test]
async fn who_may_not_unwrap_gets_no_key_and_readiness_says_so_without_secrets() {
    let (upstream, transit) = (upstream().await, Transit::start().await);
    let source = format!("transit:{}", transit.wrap(KEYS[0].1));
    let mut setup = setup(&upstream, &source, &transit.section());
    setup.set("TRANSIT_TOKEN", "hvs.another-kestrel-that-is-refused");
    let mut sidecar = Sidecar::launch(setup);
    sidecar.serves().await;
    let (status, text) = readiness(&sidecar).await;
    assert_eq!(status, 503);
    assert!(text.contains("from transit: access was refused"), "{text}");
    let mut physician = client(&sidecar).await;
    assert_eq!(
        physician.refused("store_record", &to_store("p-1")).await,
        AWAITED
    );
    sidecar.stop().await;
    let log = sidecar.log();
    assert!(
        !log.contains("kestrel") && !text.contains("kestrel"),
        "{log}"
    );
}

#[tokio::test]
async fn a_source_that_is_silent_or_never_ends_is_given_up_within_its_bounds() {
    type Answering = fn() -> Reply;
    let cases: [(Answering, &str); 2] = [
        (|| Reply::Silence, "it did not answer in time"),
        (
            || Reply::Endless(1 << 40),
            "its answer is not understood: it is too long",
        ),
    ];
    let upstream = upstream().await;
    for (reply, words) in cases {
        let source = Upstream::start(json!([]), move |_| Some(reply())).await;
        let section = format!(
            "key_sources:\n  timeout_seconds: 1\n  transit: {{ url: \"http://{}\", key: phi, token: \"${{TRANSIT_TOKEN}}\" }}\n",
            source.address
        );
        let sidecar = Sidecar::launch(setup(&upstream, "transit:vault:v1:AAAA", &section));
        sidecar.serves().await;
        let (status, text) = readiness(&sidecar).await;
        assert!(status == 503 && text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn transit_is_logged_in_to_by_approle_and_by_the_pod() {
    let upstream = upstream().await;
    for (login, path) in [
        (
            "approle: { role_id: clinic, secret_id: \"${TRANSIT_SECRET_ID}\" }",
            "/v1/auth/approle/login",
        ),
        (
            "kubernetes: { role: clinic, token_file: pod-token }",
            "/v1/auth/kubernetes/login",
        ),
    ] {
        let transit = Transit::start().await;
        let source = format!("transit:{}", transit.wrap(KEYS[0].1));
        let setup = setup(&upstream, &source, &transit.section_with(login));
        std::fs::write(setup.folder.path().join("pod-token"), Infisical::POD_TOKEN)
            .expect("a file");
        let sidecar = Sidecar::start(setup).await;
        assert_seals(&sidecar, &upstream, "phi-2026-11").await;
        assert_eq!(transit.asked(), [path, "/v1/transit/decrypt/phi"]);
    }
}

#[tokio::test]
async fn infisical_gives_keys_and_its_token_is_renewed_and_not_had_by_another_login() {
    let (upstream, infisical) = (upstream().await, Infisical::start(20).await);
    infisical.set("PHI", KEYS[0].1);
    let login = "universal_auth: { client_id: clinic, client_secret: \"${INFISICAL_SECRET}\" }";
    let mut sidecar =
        Sidecar::start(setup(&upstream, "infisical:PHI", &infisical.section(login))).await;
    assert_seals(&sidecar, &upstream, "phi-2026-11").await;
    infisical.set("PHI_2", SECOND);
    let longer =
        "source: \"infisical:PHI\" }, { id: phi-2, from: 2026-11-02, source: \"infisical:PHI_2\"";
    sidecar
        .setup
        .replace("policy.yaml", "source: \"infisical:PHI\"", longer);
    sidecar.setup.write();
    sidecar.signal("HUP");
    sidecar.event("key_rotated", |_| true).await;
    assert_seals(&sidecar, &upstream, "phi-2").await;
    let asked = infisical.asked();
    let count = |part: &str| asked.iter().filter(|path| path.contains(part)).count();
    assert_eq!(count("universal-auth/login"), 1, "{asked:?}");
    // 20 s are below the margin: each further secret is asked for with a renewed token.
    assert!(count("token/renew") >= 2, "{asked:?}");
}

#[tokio::test]
async fn infisical_is_logged_in_to_by_the_pod_and_a_missing_secret_is_named() {
    let (upstream, infisical) = (upstream().await, Infisical::old().await);
    infisical.set("PHI", KEYS[0].1);
    let login = "kubernetes_auth: { identity_id: pod, token_file: pod-token }";
    let mut setup = setup(&upstream, "infisical:PHI", &infisical.section(login));
    std::fs::write(setup.folder.path().join("pod-token"), Infisical::POD_TOKEN).expect("a file");
    setup.replace(
        "policy.yaml",
        "source: \"${INTEGRITY_KEY}\"",
        "source: \"infisical:ABSENT\"",
    );
    let mut sidecar = Sidecar::launch(setup);
    sidecar.serves().await;
    let (_, text) = readiness(&sidecar).await;
    assert!(
        text.contains(
            "keys.integrity `int-2026-11` from infisical: what is asked for is not there"
        ),
        "{text}"
    );
    infisical.set("ABSENT", KEYS[1].1);
    sidecar.ready().await;
    assert_seals(&sidecar, &upstream, "phi-2026-11").await;
}

#[tokio::test]
async fn without_the_trails_key_nothing_is_served_but_probes_until_it_comes() {
    let (upstream, mut transit) = (upstream().await, Transit::down());
    let source = format!("transit:{}", transit.wrap(KEYS[2].1));
    let mut setup = setup(&upstream, "${PHI_KEY}", &transit.section());
    setup.replace(
        "policy.yaml",
        "source: \"${AUDIT_KEY}\"",
        &format!("source: \"{source}\""),
    );
    let mut sidecar = Sidecar::launch(setup);
    eventually("the probe that names the source", || async {
        let (status, text) = readiness_of(&sidecar).await?;
        (status == 503 && text.contains("keys.audit `aud-2026-11` from transit")).then_some(())
    })
    .await;
    let live = plain_request(&sidecar.admin(), "GET", "/livez", &[], Vec::new()).await;
    assert_eq!(live.0, 200, "it is not to be killed for it");
    transit.up().await;
    sidecar.ready().await;
    client(&sidecar)
        .await
        .succeed("find_patient", &json!({}))
        .await;
    let config = sidecar.setup.config();
    let verified = sidecar
        .command(&["audit", "verify", "--config", path_text(&config)])
        .await;
    assert!(verified.status.success(), "{verified:?}");
}

async fn readiness_of(sidecar: &Sidecar) -> Option<(u16, String)> {
    tokio::net::TcpStream::connect(sidecar.admin()).await.ok()?;
    Some(readiness(sidecar).await)
}

#[tokio::test]
async fn rotation_prints_keys_that_only_the_source_can_unwrap() {
    let (upstream, transit) = (upstream().await, Transit::start().await);
    let source = format!("transit:{}", transit.wrap(KEYS[0].1));
    let mut sidecar = Sidecar::start(setup(&upstream, &source, &transit.section())).await;
    let config = sidecar.setup.config();
    let arguments = [
        "keys",
        "rotate",
        "--ring",
        "phi",
        "--from",
        "2026-11-02",
        "--wrap",
        "transit",
        "--config",
        path_text(&config),
    ];
    let output = sidecar.command(&arguments).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let entry = text
        .lines()
        .find_map(|line| line.strip_prefix("- "))
        .expect("an entry");
    assert!(
        entry.contains("id: phi-2026-11-02") && entry.contains("transit:vault:v1:"),
        "{text}"
    );
    let line = format!("source: \"{source}\" }}");
    sidecar
        .setup
        .replace("policy.yaml", &line, &format!("{line}, {entry}"));
    sidecar.setup.write();
    sidecar.signal("HUP");
    sidecar.event("key_rotated", |_| true).await;
    client(&sidecar)
        .await
        .succeed("store_record", &to_store("p-1"))
        .await;
}

#[tokio::test]
async fn check_looks_at_the_sources_only_when_it_is_asked_to() {
    let (upstream, mut transit) = (upstream().await, Transit::start().await);
    let source = format!("transit:{}", transit.wrap(KEYS[0].1));
    let setup = setup(&upstream, &source, &transit.section());
    let config = setup.write();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o700)).expect("a folder");
    let path = path_text(&config).to_owned();
    let plain = command(&setup, &["check", "--config", &path]).await;
    assert!(
        plain.status.success() && transit.asked().is_empty(),
        "{plain:?}"
    );
    let online = command(&setup, &["check", "--online", "--config", &path]).await;
    assert_eq!(online.status.code(), Some(0), "{online:?}");
    assert_eq!(transit.asked(), ["/v1/transit/decrypt/phi"]);
    transit.stop();
    let online = command(&setup, &["check", "--online", "--config", &path]).await;
    let text = String::from_utf8_lossy(&online.stdout).into_owned();
    assert_eq!(online.status.code(), Some(1), "{text}");
    assert!(
        text.contains("error[unreachable]")
            && text.contains("policy.yaml:10")
            && text.contains("from transit"),
        "{text}"
    );
}

#[tokio::test]
async fn no_key_credential_or_wrapped_key_comes_out_of_log_metrics_probes_or_trail() {
    let (upstream, infisical) = (upstream().await, Infisical::start(20).await);
    let transit = Transit::start().await;
    infisical.set("INTEGRITY", KEYS[1].1);
    let wrapped = transit.wrap(KEYS[0].1);
    let login = "universal_auth: { client_id: clinic, client_secret: \"${INFISICAL_SECRET}\" }";
    let both = format!(
        "{}{}",
        transit.section(),
        infisical
            .section(login)
            .trim_start_matches("key_sources:\n")
    );
    let mut setup = setup(&upstream, &format!("transit:{wrapped}"), &both);
    setup.replace(
        "policy.yaml",
        "source: \"${INTEGRITY_KEY}\"",
        "source: \"infisical:INTEGRITY\"",
    );
    let mut sidecar = Sidecar::start(setup).await;
    assert_seals(&sidecar, &upstream, "phi-2026-11").await;
    infisical.set("INTEGRITY", "not a key, but a kestrel");
    sidecar.signal("HUP");
    sidecar.event("policy_reload_rejected", |_| true).await;
    let texts = [sidecar.metrics().await, readiness(&sidecar).await.1];
    sidecar.stop().await;
    let spool = Setup::contents(&sidecar.setup.spool());
    for text in texts.iter().chain([&sidecar.log(), &spool]) {
        for secret in [KEYS[0].1, KEYS[1].1, &wrapped, "kestrel"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
