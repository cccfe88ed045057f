//! Keys wrapped in an HSM (SoftHSM) and by AWS KMS (moto's server): made, listed, used, refused.

use safeguard_tests::client::plain_request;
use safeguard_tests::configuration::Setup;
use safeguard_tests::real;
use safeguard_tests::sidecar::{Sidecar, command, path_text};
use safeguard_tests::sources::SoftHsm;
use safeguard_tests::upstream::Upstream;
use serde_json::Value;

use crate::keysources::{client, readiness, setup, upstream};
use crate::patients::{assert_no_value, to_store};

/// `keys generate --wrap` in the environment of a setup.
async fn generated(setup: &Setup, wrap: &str) -> Result<String, (Option<i32>, String)> {
    let config = setup.write();
    let arguments = [
        "keys",
        "generate",
        "--wrap",
        wrap,
        "--config",
        path_text(&config),
    ];
    let output = command(setup, &arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err((output.status.code(), text(&output.stderr)))
    }
}

#[tokio::test]
async fn a_key_wrapped_in_an_hsm_is_made_listed_looked_at_and_used() {
    let (upstream, hsm) = (upstream().await, SoftHsm::new());
    let mut setup = setup(&upstream, "${PHI_KEY}", &hsm.section());
    setup.set("SOFTHSM2_CONF", path_text(&hsm.configuration()));
    let source = generated(&setup, "pkcs11").await.expect("a key");
    assert!(source.starts_with("pkcs11:"), "{source}");
    assert_ne!(generated(&setup, "pkcs11").await.expect("a key"), source);
    setup.replace(
        "policy.yaml",
        "source: \"${PHI_KEY}\"",
        &format!("source: \"{source}\""),
    );
    let mut sidecar = Sidecar::start(setup).await;
    let mut physician = client(&sidecar).await;
    physician.succeed("store_record", &to_store("p-1")).await;
    assert!(upstream.everything().contains("hs1."));
    assert_no_value(&upstream.everything(), "what goes up");

    let config = sidecar.setup.config();
    let listed = sidecar
        .command(&["keys", "list", "--config", path_text(&config)])
        .await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let line = listed
        .lines()
        .find(|line| line.contains("phi-2026-11"))
        .expect("its line");
    assert!(
        line.contains("pkcs11") && line.ends_with("seals"),
        "{listed}"
    );
    assert!(!listed.contains(&source[7..]), "{listed}");

    // Altered by one character: it opens to nothing.
    let altered = source.replace("pkcs11:", "pkcs11:A");
    let altered = format!("{}=", &altered[..altered.len() - 1]);
    sidecar.setup.replace("policy.yaml", &source, &altered);
    sidecar.setup.write();
    sidecar.signal("HUP");
    sidecar.event("policy_reload_rejected", |_| true).await;
    physician.succeed("store_record", &to_store("p-1")).await;
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_not_until_the_token_locks() {
    let (upstream, hsm) = (upstream().await, SoftHsm::new());
    let mut setup = setup(&upstream, "${PHI_KEY}", &hsm.section());
    setup.set("SOFTHSM2_CONF", path_text(&hsm.configuration()));
    let source = generated(&setup, "pkcs11").await.expect("a key");
    setup.replace(
        "policy.yaml",
        "source: \"${PHI_KEY}\"",
        &format!("source: \"{source}\""),
    );
    setup.set("PIN", "kestrel-of-a-wrong-pin");
    let mut sidecar = Sidecar::launch(setup);
    sidecar.serves().await;
    let (status, text) = readiness(&sidecar).await;
    assert_eq!(status, 503);
    assert!(text.contains("from pkcs11: access was refused"), "{text}");
    sidecar.stop().await;
    assert!(!sidecar.log().contains("kestrel"), "{}", sidecar.log());
}

/// Asks moto's KMS for a new key that wraps; its id.
async fn kms_key() -> String {
    let url = real::variable("SAFEGUARD_MOTO_URL");
    let authority = url.trim_start_matches("http://").to_owned();
    let headers = [
        ("x-amz-target", "TrentService.CreateKey"),
        ("content-type", "application/x-amz-json-1.1"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/kms/aws4_request, SignedHeaders=host, Signature=x",
        ),
    ];
    let (status, body) = plain_request(&authority, "POST", "/", &headers, b"{}".to_vec()).await;
    assert_eq!(status, 200);
    let made: Value = serde_json::from_slice(&body).expect("JSON");
    made["KeyMetadata"]["KeyId"]
        .as_str()
        .expect("an id")
        .to_owned()
}

async fn kms_setup(upstream: &Upstream) -> Setup {
    let url = real::variable("SAFEGUARD_MOTO_URL");
    let section = format!(
        "key_sources:\n  aws_kms: {{ region: eu-central-1, endpoint: \"{url}\", sts_endpoint: \"{url}\", key_id: {} }}\n",
        kms_key().await
    );
    setup(upstream, "${PHI_KEY}", &section)
}

#[tokio::test]
async fn a_key_wrapped_by_kms_is_made_and_used_and_another_is_refused() {
    let upstream = upstream().await;
    let mut setup = kms_setup(&upstream).await;
    let (code, words) = generated(&setup, "aws-kms")
        .await
        .expect_err("no credentials");
    assert!(
        code == Some(78) && words.contains("AWS_ACCESS_KEY_ID"),
        "{words}"
    );
    setup.set("AWS_ACCESS_KEY_ID", "AKIACANARY");
    setup.set("AWS_SECRET_ACCESS_KEY", "kestrel-aws-secret-access-key");
    let source = generated(&setup, "aws-kms").await.expect("a key");
    setup.replace(
        "policy.yaml",
        "source: \"${PHI_KEY}\"",
        &format!("source: \"{source}\""),
    );
    let mut sidecar = Sidecar::start(setup).await;
    client(&sidecar)
        .await
        .succeed("store_record", &to_store("p-1"))
        .await;
    assert_no_value(&upstream.everything(), "what goes up");

    sidecar.setup.replace(
        "policy.yaml",
        &source,
        "aws-kms:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    );
    sidecar.setup.write();
    sidecar.signal("HUP");
    sidecar.event("policy_reload_rejected", |_| true).await;
    client(&sidecar)
        .await
        .succeed("store_record", &to_store("p-1"))
        .await;
    sidecar.stop().await;
    assert!(!sidecar.log().contains("kestrel-aws"), "{}", sidecar.log());
}

#[tokio::test]
async fn kms_is_asked_with_the_credentials_of_a_web_identity() {
    let upstream = upstream().await;
    let mut setup = kms_setup(&upstream).await;
    let token = setup.folder.path().join("web-token");
    std::fs::write(&token, "kestrel.web.identity").expect("a file");
    setup.set("AWS_WEB_IDENTITY_TOKEN_FILE", path_text(&token));
    setup.set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/clinic");
    let source = generated(&setup, "aws-kms").await.expect("a key");
    setup.replace(
        "policy.yaml",
        "source: \"${PHI_KEY}\"",
        &format!("source: \"{source}\""),
    );
    let sidecar = Sidecar::start(setup).await;
    client(&sidecar)
        .await
        .succeed("store_record", &to_store("p-1"))
        .await;
    assert_no_value(&upstream.everything(), "what goes up");
}
