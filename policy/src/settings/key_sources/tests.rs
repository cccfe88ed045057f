//! Sources of keys, held against the example's rings.

use super::*;
use crate::finding::codes;
use crate::load::tests::{CANARY, Fake, example, example_env};
use crate::{Configuration, KeyState, Loaded, Source, load};

const INFISICAL: &str = "infisical: { url: https://secrets.example.com, project: p1, environment: prod, universal_auth: { client_id: id, client_secret: \"${SECRET}\" } }";
const TRANSIT: &str =
    "transit: { url: https://vault.example.com:8200/, key: phi, token: \"${SECRET}\" }";
const AWS: &str = "aws_kms: { region: eu-central-1 }";
const HSM: &str =
    "pkcs11: { module: /usr/lib/hsm.so, token: clinic, pin: \"${SECRET}\", key: kek }";

fn env() -> Fake {
    let mut env = example_env();
    env.vars.insert("SECRET".into(), CANARY.into());
    env
}

/// The example with another source of its PHI key, and these `key_sources`.
fn loaded(source: &str, sections: &[&str]) -> Loaded {
    with("source: \"${PHI_KEY}\"", source, sections, &env())
}

fn with(from: &str, to: &str, sections: &[&str], env: &Fake) -> Loaded {
    let mut sources = example();
    let policy = sources
        .iter_mut()
        .find(|s| s.name == "policy.yaml")
        .unwrap();
    assert!(policy.text.contains(from), "{from}");
    policy.text = policy.text.replacen(from, to, 1);
    if !sections.is_empty() {
        sources.push(Source {
            name: "more.yaml".into(),
            text: format!("key_sources:\n  {}\n", sections.join("\n  ")),
        });
    }
    load(&sources, env)
}

fn accepted(source: &str, sections: &[&str]) -> Configuration {
    let loaded = loaded(source, sections);
    loaded
        .configuration
        .unwrap_or_else(|| panic!("{:?}", loaded.findings))
}

/// `code message` of every error.
fn errors(loaded: &Loaded) -> Vec<String> {
    let errors = loaded.findings.iter().filter(|f| f.is_error());
    errors
        .map(|f| format!("{} {}", f.code, f.message))
        .collect()
}

#[test]
fn each_prefix_names_its_source_and_the_key_is_not_there_yet() {
    for (text, kind, section) in [
        ("infisical:PHI_KEY", SourceKind::Infisical, INFISICAL),
        ("transit:vault:v12:AAAA+/8=", SourceKind::Transit, TRANSIT),
        ("aws-kms:AQICAHg=", SourceKind::AwsKms, AWS),
        ("pkcs11:AAAA", SourceKind::Pkcs11, HSM),
    ] {
        let configuration = accepted(&format!("source: \"{text}\""), &[section]);
        let key = &configuration.keys.phi[0];
        let remote = key.remote.as_ref().unwrap();
        assert_eq!((remote.kind, key.state), (kind, KeyState::Active), "{text}");
        assert_eq!(text, format!("{}:{}", kind.word(), remote.text));
        assert!(key.key.is_none());
    }
}

#[test]
fn a_reference_in_the_file_is_no_secret_in_the_file() {
    let loaded = loaded("source: transit:vault:v1:AAAA", &[TRANSIT]);
    let secrets = loaded
        .findings
        .iter()
        .filter(|f| f.code == codes::SECRET_IN_FILE);
    assert_eq!(secrets.count(), 0);
}

#[test]
fn a_source_without_its_section_or_of_a_wrong_form_is_refused() {
    for (source, section, expected) in [
        (
            "transit:vault:v1:AAAA",
            AWS,
            "missing_key `keys.phi` has a source in `key_sources.transit`, which is missing",
        ),
        (
            "transit:AAAA",
            TRANSIT,
            "bad_key `keys.phi` has a source that transit can't have made",
        ),
        (
            "transit:vault:v1:",
            TRANSIT,
            "bad_key `keys.phi` has a source that transit can't have made",
        ),
        (
            "infisical:a/b",
            INFISICAL,
            "bad_key `keys.phi` has a source that infisical can't have made",
        ),
        (
            "aws-kms:!",
            AWS,
            "bad_key `keys.phi` has a source that aws-kms can't have made",
        ),
        (
            "pkcs11:",
            HSM,
            "bad_key `keys.phi` has a source that pkcs11 can't have made",
        ),
        (
            "vault:v1:AAAA",
            TRANSIT,
            "bad_key `keys.phi` has a source that is not 32 bytes",
        ),
    ] {
        let loaded = loaded(&format!("source: \"{source}\""), &[section]);
        assert_eq!(errors(&loaded), [expected], "{source}");
    }
}

#[test]
fn an_unsafe_or_ambiguous_section_is_refused() {
    for (section, expected) in [
        (
            TRANSIT.replace("https:", "http:"),
            "weak_transport `key_sources.transit.url` is plain http to another host",
        ),
        (
            TRANSIT.replace(", token: \"${SECRET}\"", ""),
            "contradiction `key_sources.transit` has 0 ways to log in, and needs one",
        ),
        (
            TRANSIT.replace(
                " }",
                ", approle: { role_id: r, secret_id: \"${SECRET}\" } }",
            ),
            "contradiction `key_sources.transit` has 2 ways to log in, and needs one",
        ),
        (
            HSM.replace("/usr", "usr"),
            "bad_value `key_sources.pkcs11.module` is no absolute path",
        ),
        (
            AWS.replace("eu-central-1", "\"Frankfurt/x\""),
            "missing_key `key_sources.aws_kms.region` is missing, or no region",
        ),
        (
            INFISICAL.replace("project: p1, ", ""),
            "missing_key `key_sources.infisical.project` is missing",
        ),
        (
            "aws: {}".to_owned(),
            "unknown_key `key_sources.aws` is no key of the configuration",
        ),
    ] {
        let found = errors(&loaded("source: \"${PHI_KEY}\"", &[&section]));
        assert!(found.contains(&expected.to_owned()), "{section}: {found:?}");
    }
}

#[test]
fn http_is_for_this_host_and_slashes_are_trimmed() {
    let local = TRANSIT.replace("https://vault.example.com", "http://127.0.0.1");
    let sources = accepted("source: \"${PHI_KEY}\"", &[&local, HSM]).key_sources;
    let transit = sources.transit.unwrap();
    assert_eq!(
        (transit.url.as_str(), transit.mount.as_str()),
        ("http://127.0.0.1:8200", "transit")
    );
    assert_eq!(sources.timeout.as_secs(), 30);
    assert!(sources.infisical.is_none() && sources.aws_kms.is_none());
}

#[test]
fn aws_credentials_come_from_the_standard_variables() {
    let set = |pairs: &[(&str, &str)]| {
        let mut env = env();
        env.vars.retain(|name, _| !name.starts_with("AWS_"));
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        env.vars.extend(pairs);
        let loaded = with("${PHI_KEY}", "${PHI_KEY}", &["aws_kms: {}"], &env);
        loaded.configuration.unwrap().key_sources.aws_kms.unwrap()
    };
    let region = ("AWS_REGION", "cn-north-1");
    let none = set(&[region]);
    assert!(matches!(*none.credentials, AwsCredentials::Absent));
    assert_eq!(none.endpoint, "https://kms.cn-north-1.amazonaws.com.cn");
    let fixed = set(&[
        region,
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", CANARY),
    ]);
    assert!(matches!(*fixed.credentials, AwsCredentials::Static { .. }));
    let web = set(&[
        region,
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/x"),
    ]);
    assert!(matches!(
        *web.credentials,
        AwsCredentials::WebIdentity { .. }
    ));
}

#[test]
fn nothing_of_a_secret_or_a_wrapped_key_is_in_debug_or_findings() {
    let loaded = loaded(
        "source: \"transit:vault:v1:AAAACANARY\"",
        &[INFISICAL, TRANSIT, HSM],
    );
    let shown = format!("{loaded:?} {:?}", loaded.configuration);
    assert!(
        !shown.contains(CANARY) && !shown.contains("AAAACANARY"),
        "{shown}"
    );
}

#[test]
fn a_destroyed_key_has_no_source_and_a_ring_keeps_an_active_one() {
    let line = |state: &str| {
        format!("source: \"${{PHI_KEY}}\" }}, {{ id: older, from: 2026-01-01, {state}")
    };
    let two = |state: &str| loaded(&line(state), &[]);
    let keys = two("state: destroyed").configuration.unwrap().keys;
    assert_eq!(keys.phi[1].state, KeyState::Destroyed);
    let keys = two(
        "state: decrypt-only, source: \"${SECOND:-hex:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd}\"",
    );
    assert_eq!(
        keys.configuration.unwrap().keys.phi[1].state,
        KeyState::DecryptOnly
    );
    assert_eq!(
        errors(&two("state: destroyed, source: infisical:OLD")),
        ["contradiction `keys.phi` has a destroyed key with a source"]
    );
    assert_eq!(
        errors(&two("state: active")),
        ["missing_key `keys.phi.source` is missing"]
    );
    assert_eq!(
        errors(&loaded("state: destroyed", &[])),
        ["contradiction `keys.phi` has no active key"]
    );
    let audit = with("source: \"${AUDIT_KEY}\"", "state: destroyed", &[], &env());
    assert!(
        errors(&audit)[0].contains("`keys.audit` can't be destroyed"),
        "{audit:?}"
    );
}
