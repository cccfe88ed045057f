//! The loader held against the example files and against documents that are wrong.

use std::collections::BTreeMap;

use super::*;
use crate::finding::Severity;

/// Variables and files of a test; files are opened only if there are any.
#[derive(Default)]
pub(crate) struct Fake {
    pub vars: BTreeMap<String, String>,
    pub files: Option<BTreeMap<String, String>>,
}

impl Environment for Fake {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }

    fn file(&self, path: &str) -> Result<Option<String>, String> {
        match &self.files {
            None => Ok(None),
            Some(files) => files
                .get(path)
                .cloned()
                .map(Some)
                .ok_or("no such file".to_owned()),
        }
    }
}

pub(crate) const CANARY: &str = "canary-0123456789-0123456789-0123456789";

/// What the example files need.
pub(crate) fn example_env() -> Fake {
    let key = |c: &str| format!("hex:{}", c.repeat(64));
    let vars = [
        ("JWT_SECRET", CANARY.to_owned()),
        ("KEYCLOAK_CLIENT_SECRET", CANARY.to_owned()),
        ("PHI_KEY", key("a")),
        ("INTEGRITY_KEY", key("b")),
        ("AUDIT_KEY", key("c")),
        ("PGUSER", "safeguard".to_owned()),
        ("PGPASSWORD", CANARY.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", CANARY.to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
    ];
    Fake {
        vars: vars.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        files: None,
    }
}

/// The example files as they are in the repository.
pub(crate) fn example() -> Vec<Source> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/config");
    ["auth", "keycloak", "audit", "tls", "policy"]
        .map(|name| Source {
            name: format!("{name}.yaml"),
            text: std::fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap(),
        })
        .to_vec()
}

#[test]
fn the_example_files_load_unchanged() {
    let loaded = load(&example(), &example_env());
    let lines: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    assert!(
        loaded
            .findings
            .iter()
            .all(|f| f.severity == Severity::Warning),
        "{lines:#?}"
    );
    let codes: Vec<&str> = loaded.findings.iter().map(|f| f.code).collect();
    assert_eq!(codes, [codes::WEAK_TRANSPORT], "{lines:#?}");
    let c = loaded.configuration.unwrap();
    assert_eq!(c.listen.path, "/mcp");
    assert_eq!(
        c.state.directory.to_str(),
        Some("/var/lib/safeguard/spool-state")
    );
    assert_eq!(c.keys.phi[0].from_unix, 1_793_491_200);
    assert_eq!(c.policy.tools().len(), 6);
}

/// The example with one text of one file replaced by another.
pub(crate) fn with(file: &str, from: &str, to: &str) -> Vec<Source> {
    let mut sources = example();
    let source = sources.iter_mut().find(|s| s.name == file).unwrap();
    assert!(source.text.contains(from), "{file} has no {from:?}");
    source.text = source.text.replacen(from, to, 1);
    sources
}

/// `severity[code] file:line:column message` of all but the example's own two warnings.
pub(crate) fn findings(sources: &[Source], env: &Fake) -> Vec<String> {
    let own = [codes::WEAK_TRANSPORT];
    load(sources, env)
        .findings
        .iter()
        .filter(|f| f.is_error() || !own.contains(&f.code))
        .map(|f| {
            let severity = f.severity.as_str();
            format!(
                "{severity}[{}] {}:{}:{} {}",
                f.code, f.file, f.line, f.column, f.message
            )
        })
        .collect()
}

/// file, text, its replacement, and the one finding that comes of it.
type Case = (&'static str, &'static str, &'static str, &'static str);

const DOCUMENTS: &[Case] = &[
    (
        "keycloak.yaml",
        "idle_timeout:",
        "idel_timeout:",
        "error[unknown_key] keycloak.yaml:11:3 `keycloak.idel_timeout` is no key of the configuration",
    ),
    (
        "tls.yaml",
        "\"1.3\"",
        "\"1.2\"",
        "error[bad_value] tls.yaml:4:16 `tls.min_version` is one of: 1.3",
    ),
    (
        "tls.yaml",
        "  cert_file: /secrets/tls/cert.pem\n",
        "",
        "error[missing_key] tls.yaml:4:3 `tls.cert_file` is missing",
    ),
    (
        "tls.yaml",
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "error[given_twice] tls.yaml:8:7 a cipher suite is given twice",
    ),
    (
        "tls.yaml",
        "*.healthcare.example.com\"",
        "*.healthcare.example.com\"\n      - \"*x\"",
        "error[bad_value] tls.yaml:21:9 `tls.mutual_tls.allowed_dns_names` has an entry that is no DNS name",
    ),
    (
        "tls.yaml",
        "verify_client_cert: true",
        "verify_client_cert: false",
        "error[unsafe_profile] tls.yaml:18:25 client certificates are switched off: only for development on a loopback listener",
    ),
    (
        "auth.yaml",
        "expiration: 3600",
        "expiration: \"3600\"",
        "error[wrong_type] auth.yaml:8:17 `authentication.jwt.expiration` is a whole number, not a quoted text",
    ),
    (
        "auth.yaml",
        "expiration: 3600",
        "expiration: 0",
        "error[bad_value] auth.yaml:8:17 `authentication.jwt.expiration` is between 1 and 86400",
    ),
    (
        "auth.yaml",
        "refresh_expiration: 86400",
        "refresh_expiration: 60",
        "error[contradiction] auth.yaml:10:25 a refresh token lives shorter than the access token that it renews",
    ),
    (
        "auth.yaml",
        "issuer: ",
        "previous: { secret: \"${PGUSER}\", until: 2026-12-01 }\n    issuer: ",
        "error[bad_key] auth.yaml:6:25 `authentication.jwt.previous.secret` is shorter than 32 bytes",
    ),
    (
        "auth.yaml",
        "issuer: ",
        "previous: { secret: \"${JWT_SECRET}\", until: 2026-12-01 }\n    issuer: ",
        "error[bad_key] auth.yaml:6:25 `authentication.jwt.previous.secret` is the secret itself: nothing was rotated",
    ),
    (
        "auth.yaml",
        "issuer: ",
        "previous: { secret: \"${AUDIT_KEY}\" }\n    issuer: ",
        "error[missing_key] auth.yaml:6:15 `authentication.jwt.previous.until` is missing",
    ),
    (
        "policy.yaml",
        "  public_url:",
        "  account: { address: \"0.0.0.0:8443\" }\n  public_url:",
        "error[contradiction] policy.yaml:45:23 `listen.account.address` and listen.address have the same port",
    ),
    (
        "policy.yaml",
        "  public_url:",
        "  account: { address: \"0.0.0.0:9464\" }\n  public_url:",
        "error[contradiction] policy.yaml:48:12 `admin.address` and listen.account.address have the same port",
    ),
    (
        "policy.yaml",
        "  public_url:",
        "  account: { address: \"0.0.0.0:8444\", hosts: [\"a:8444\"] }\n  public_url:",
        "error[bad_value] policy.yaml:45:47 `listen.account.hosts` has an entry that is no host name",
    ),
    (
        "policy.yaml",
        "healthcare.example.com/mcp",
        "healthcare.example.com/auth/token",
        "error[contradiction] policy.yaml:45:15 `listen.public_url` has a path below /auth or /.well-known, where the sidecar answers itself",
    ),
    (
        "auth.yaml",
        "    enabled: true",
        "    enabled: false",
        "warning[contradiction] auth.yaml:9:22 `authentication.jwt.refresh_enabled` does nothing: refresh tokens are had for logins at `keycloak` or one of `identity.issuers`, with local tokens",
    ),
    (
        "auth.yaml",
        "refresh_enabled: true",
        "refresh_enabled: yes",
        "error[wrong_type] auth.yaml:9:22 `authentication.jwt.refresh_enabled` is true or false",
    ),
    (
        "auth.yaml",
        "- webauthn",
        "- webautn",
        "error[bad_value] auth.yaml:16:9 `authentication.mfa.providers` is one of: totp, webauthn",
    ),
    (
        "auth.yaml",
        "grace_period: 0",
        "grace_period: 60",
        "warning[not_built] auth.yaml:17:19 `authentication.mfa.grace_period` does nothing: a second factor is needed from the first call",
    ),
    (
        "auth.yaml",
        "${JWT_SECRET}",
        "${JWT_SECRT}",
        "error[unset] auth.yaml:5:13 the variable JWT_SECRT is not set",
    ),
    (
        "auth.yaml",
        "${JWT_SECRET}",
        "${JWT_SECRT:-short}",
        "error[bad_key] auth.yaml:5:13 `authentication.jwt.secret` is shorter than 32 bytes",
    ),
    (
        "auth.yaml",
        "${JWT_SECRET}",
        "\"${JWT_SECRET\"",
        "error[bad_interpolation] auth.yaml:5:13 `${` is not closed",
    ),
    (
        "keycloak.yaml",
        "idle_timeout: 300",
        "idle_timeout: 1000",
        "error[contradiction] keycloak.yaml:11:17 `keycloak.idle_timeout` is longer than session_timeout",
    ),
    (
        "keycloak.yaml",
        "https://auth",
        "http://auth",
        "error[weak_transport] keycloak.yaml:4:15 `keycloak.server_url` is plain http to another host",
    ),
    (
        "audit.yaml",
        "enabled: true",
        "enabled: false",
        "error[bad_value] audit.yaml:3:12 `audit_logging.enabled` is false: no PHI passes without an audit trail",
    ),
    (
        "audit.yaml",
        "2555  #",
        "2191  #",
        "error[bad_value] audit.yaml:4:19 `audit_logging.retention_days` is under 2192, six years",
    ),
    (
        "audit.yaml",
        "2555  #",
        "5y  #",
        "error[bad_value] audit.yaml:4:19 `audit_logging.retention_days` is under 2192, six years",
    ),
    (
        "audit.yaml",
        "2555  #",
        "7 years  #",
        "error[bad_value] audit.yaml:4:19 `audit_logging.retention_days` is no number of days between 1 and 36500",
    ),
    (
        "audit.yaml",
        "2555  #",
        "365\n  short_retention_reason: a pilot with synthetic records\n  #",
        "warning[short_retention] audit.yaml:4:19 events are kept for less than the six years of 45 CFR 164.316(b)(2)(i)",
    ),
    (
        "audit.yaml",
        "2555  #",
        "2192\n  short_retention_reason: none\n  #",
        "warning[contradiction] audit.yaml:5:27 `audit_logging.short_retention_reason` stands beside a retention of six years or more",
    ),
    (
        "audit.yaml",
        "2555_days",
        "6y",
        "error[contradiction] audit.yaml:44:18 `audit_logging.output.lifecycle` is shorter than retention_days",
    ),
    (
        "audit.yaml",
        "- user_login\n",
        "- user_logn\n",
        "error[bad_value] audit.yaml:8:7 `user_logn` is no event",
    ),
    (
        "audit.yaml",
        "2555_days",
        "90_days",
        "error[bad_value] audit.yaml:44:18 `audit_logging.output.lifecycle` is under 2192 days, six years",
    ),
    (
        "audit.yaml",
        "bucket: hipaa-audit-logs",
        "bucket: hipaa/../audit",
        "error[bad_value] audit.yaml:42:15 `audit_logging.output.bucket` is no name of a bucket",
    ),
    (
        "audit.yaml",
        "bucket: hipaa-audit-logs",
        "bucket: hipaa-audit-logs\n      prefix: /audit",
        "error[bad_value] audit.yaml:43:15 `audit_logging.output.prefix` is no folder's name",
    ),
    (
        "audit.yaml",
        "bucket: hipaa-audit-logs",
        "bucket: hipaa-audit-logs\n      region: eu/central",
        "error[bad_value] audit.yaml:43:15 `audit_logging.output.region` is no region",
    ),
    (
        "audit.yaml",
        "bucket: hipaa-audit-logs",
        "bucket: hipaa-audit-logs\n      endpoint: http://minio.example.com:9000",
        "error[weak_transport] audit.yaml:43:17 `audit_logging.output.endpoint` is plain http to another host",
    ),
    (
        "audit.yaml",
        "bucket: hipaa-audit-logs",
        "bucket: hipaa-audit-logs\n      encrypted: false",
        "error[unsafe_profile] audit.yaml:43:18 sealing of audit objects is switched off: only for development on a loopback listener",
    ),
    (
        "audit.yaml",
        "bucket: hipaa-audit-logs",
        "bucket: hipaa-audit-logs\n      kms_key_id: alias/audit",
        "error[contradiction] audit.yaml:43:19 `audit_logging.output.kms_key_id` stands beside encryption AES-256, which uses no key of KMS",
    ),
    (
        "audit.yaml",
        "bucket: hipaa-audit-logs",
        "bucket: hipaa-audit-logs\n      object_lock: none",
        "warning[unlocked] audit.yaml:43:20 the objects of the sink s3 are not locked: whoever may delete them can remove the trail",
    ),
    (
        "audit.yaml",
        "2555_days",
        "2200_days",
        "error[contradiction] audit.yaml:44:18 `audit_logging.output.lifecycle` is shorter than retention_days",
    ),
    (
        "audit.yaml",
        "2555_days",
        "2555",
        "error[bad_value] audit.yaml:44:18 `audit_logging.output.lifecycle` is no number of days",
    ),
    (
        "audit.yaml",
        "type: postgresql",
        "type: postgres",
        "error[bad_value] audit.yaml:33:13 `audit_logging.output.type` is one of: postgresql, siem, s3",
    ),
    (
        "audit.yaml",
        "encrypted: true",
        "encrypted: false",
        "error[unsafe_profile] audit.yaml:35:18 sealing of audit payloads is switched off: only for development on a loopback listener",
    ),
    (
        "audit.yaml",
        "table: audit_logs",
        "table: \"a; drop\"",
        "error[bad_value] audit.yaml:34:14 `audit_logging.output.table` is no plain name of a table",
    ),
    (
        "policy.yaml",
        "version: 1",
        "version: 2",
        "error[bad_value] policy.yaml:3:10 `version` is one of: 1",
    ),
    (
        "policy.yaml",
        "from: 2026-11-01, source: \"${PHI_KEY}\"",
        "from: 2026-13-01, source: \"${PHI_KEY}\"",
        "error[bad_value] policy.yaml:10:40 `keys.phi.from` is no date",
    ),
    (
        "policy.yaml",
        "\"${PHI_KEY}\" }]",
        "\"${PHI_KEY}\" }, { id: phi-2026-11, from: 2026-12-01, source: \"${PHI_KEY}\" }]",
        "error[kid_collision] policy.yaml:10:82 two ids of `keys.phi` have the same short form",
    ),
    (
        "policy.yaml",
        "\"${PHI_KEY}\"",
        "\"${PHI_KEY}00\"",
        "error[bad_key] policy.yaml:10:60 `keys.phi` has a source that is not 32 bytes",
    ),
    (
        "policy.yaml",
        "storage: encrypted",
        "storage: clear",
        "error[unsafe_profile] policy.yaml:16:12 sealing is switched off: only for development on a loopback listener",
    ),
    (
        "policy.yaml",
        "[dob, birth_date]",
        "[dob, birth_date, SSN]",
        "error[name_clash] policy.yaml:23:63 `SSN` already means something else",
    ),
    (
        "policy.yaml",
        "not_phi: [patient_id",
        "not_phi: [patientSsn",
        "error[name_clash] policy.yaml:28:13 `patientSsn` already means something else",
    ),
    (
        "policy.yaml",
        "reveal: [identity, clinical] }",
        "reveal: [identity, clinicl] }",
        "error[undefined_field] policy.yaml:31:55 `clinicl` is no field or group",
    ),
    (
        "policy.yaml",
        "token: [ssn, medical",
        "token: [medications, ssn, medical",
        "error[view_conflict] policy.yaml:34:81 `medications` is given two views by this role",
    ),
    (
        "policy.yaml",
        "test_results], mask: { ssn: last4 }",
        "test_results], mask: { ssn: last4, date_of_birth: last4 }",
        "error[view_conflict] policy.yaml:33:101 `date_of_birth` has two different masks",
    ),
    (
        "policy.yaml",
        "test_results], mask: { ssn: last4 }",
        "test_results], mask: { ssn: last4, diagnosis: year }",
        "warning[mask_mismatch] policy.yaml:32:103 the mask year shows nothing of `diagnosis` unless it is a date",
    ),
    (
        "policy.yaml",
        "purposes: [HPAYMT]",
        "purposes: [HPAYMNT]",
        "error[unknown_purpose] policy.yaml:33:28 `HPAYMNT` is no purpose of use",
    ),
    (
        "policy.yaml",
        "purposes: [HPAYMT]",
        "purposes: [HPAYMT, BTG]",
        "warning[unknown_purpose] policy.yaml:33:36 the purpose BTG comes by `emergency` alone: in a role it does nothing",
    ),
    (
        "policy.yaml",
        "at_most: care_agent",
        "at_most: care_agnt",
        "error[undefined_role] policy.yaml:38:69 `care_agnt` is no role",
    ),
    (
        "policy.yaml",
        "certificate: web.healthcare",
        "certificate: web.elsewhere",
        "warning[dead_rule] policy.yaml:37:30 `clients.chart-web` can never connect: tls.mutual_tls.allowed_dns_names has no name for it",
    ),
    (
        "policy.yaml",
        "http://127.0.0.1:3000/mcp",
        "https://127.0.0.1:3000/mcp",
        "error[missing_key] policy.yaml:42:8 `upstream.url` is https and `upstream.tls` is missing",
    ),
    (
        "policy.yaml",
        "http://127.0.0.1:3000/mcp",
        "unix:run/mcp.sock:/mcp",
        "error[bad_value] policy.yaml:42:8 `upstream.url` names no socket and endpoint",
    ),
    (
        "policy.yaml",
        "url: http://127.0.0.1:3000/mcp",
        "url: https://mcp.example.com/mcp\n  tls: { ca_file: /ca.pem }",
        "error[weak_transport] policy.yaml:43:8 `upstream.url` is not on loopback and upstream.tls shows no certificate",
    ),
    (
        "policy.yaml",
        "url: http://127.0.0.1:3000/mcp",
        "url: https://127.0.0.1:3000/mcp\n  tls: { ca_file: /ca.pem, key: /key.pem }",
        "error[missing_key] policy.yaml:43:8 `upstream.tls` has one of certificate and key",
    ),
    (
        "policy.yaml",
        "url: http://127.0.0.1:3000/mcp",
        "url: http://127.0.0.1:3000/mcp\n  tls: { ca_file: /ca.pem }",
        "error[contradiction] policy.yaml:43:8 `upstream.tls` is written for an upstream.url that is not https",
    ),
    (
        "policy.yaml",
        "url: http://127.0.0.1:3000/mcp",
        "url: http://127.0.0.1:3000/mcp\n  transport: sse\n  batches: allow",
        "error[contradiction] policy.yaml:44:12 `upstream.batches` is allow for the transport sse",
    ),
    (
        "policy.yaml",
        "address: 0.0.0.0:8443",
        "address: 0.0.0.0:8443\n  cors: { origins: [\"*\"] }",
        "error[bad_value] policy.yaml:45:21 `listen.cors.origins` has an entry that is no origin",
    ),
    (
        "policy.yaml",
        "http://127.0.0.1:3000/mcp",
        "http://10.0.0.1:3000/mcp",
        "error[weak_transport] policy.yaml:42:8 `upstream.url` is not http on loopback",
    ),
    (
        "policy.yaml",
        "address: 0.0.0.0:8443",
        "address: localhost:8443",
        "error[bad_value] policy.yaml:44:12 `listen.address` is no IP address and port",
    ),
    (
        "policy.yaml",
        "https://agents",
        "http://agents",
        "error[bad_value] policy.yaml:45:15 `listen.public_url` is no https URL",
    ),
    (
        "policy.yaml",
        "    patient: args.patient_id\n    record: result.record ",
        "    record: result.record ",
        "error[missing_key] policy.yaml:55:5 `tools.read_record.patient` is missing",
    ),
    (
        "policy.yaml",
        "roles: [physician]\n    patient: args.patient_id\n    record: args.record",
        "roles: [physicien]\n    patient: args.patient_id\n    record: args.record",
        "error[undefined_role] policy.yaml:61:13 `physicien` is no role",
    ),
    (
        "policy.yaml",
        "record: args.record ",
        "record: result.record ",
        "error[bad_path] policy.yaml:63:13 `tools.store_record.record` cannot begin with result",
    ),
    (
        "policy.yaml",
        "claims.department == args.department",
        "claims.department = args.department",
        "error[bad_condition] policy.yaml:65:30 `tools.store_record.when` does not compile: `=` alone is no operator; write `==`",
    ),
    (
        "policy.yaml",
        "claims.department == args.department",
        "claim.department == args.department",
        "error[bad_condition] policy.yaml:65:12 `tools.store_record.when` does not compile: `claim` is not known; a condition reads args, claims and uri",
    ),
    (
        "policy.yaml",
        "claims.department == args.department",
        "claims.department == uri.department",
        "error[bad_condition] policy.yaml:65:11 `tools.store_record.when` reads uri, which this rule does not have",
    ),
    (
        "policy.yaml",
        "step_up: { max_age: 300 }\n  delete",
        "step_up: {}\n  delete",
        "error[bad_value] policy.yaml:70:14 `tools.export_records.step_up` asks for nothing",
    ),
    (
        "policy.yaml",
        "patient://{id}/summary",
        "patient://{id}summary",
        "error[bad_template] policy.yaml:74:3 `patient://{id}summary` is no URI template: what follows a variable could be a part of it",
    ),
    (
        "policy.yaml",
        "patient: uri.id",
        "patient: uri.name",
        "error[bad_path] policy.yaml:74:84 `resources.patient://{id}/summary.patient` names no variable of the URI template",
    ),
    (
        "policy.yaml",
        "roles: any",
        "roles: all",
        "error[wrong_type] policy.yaml:72:47 `tools.list_departments.roles` is a list, or the word any",
    ),
    (
        "policy.yaml",
        "version: 1",
        "version: &a 1",
        "error[syntax] policy.yaml:3:10 anchors and tags are not accepted",
    ),
];

#[test]
fn each_wrong_document_has_its_one_finding_at_its_place() {
    let mut wrong = Vec::new();
    for (file, from, to, expected) in DOCUMENTS {
        let found = findings(&with(file, from, to), &example_env());
        if found != [*expected]
            && !(expected.contains("[syntax]") && found.contains(&(*expected).to_owned()))
        {
            wrong.push(format!("expected {expected}\n     got {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_findings_come_at_once() {
    let mut sources = with("keycloak.yaml", "idle_timeout:", "idel_timeout:");
    sources[2].text = sources[2].text.replace("2555  #", "10  #");
    sources[4].text = sources[4]
        .text
        .replace("at_most: care_agent", "at_most: nobody");
    let found = findings(&sources, &Fake::default());
    let unset = found.iter().filter(|f| f.contains("[unset]")).count();
    assert_eq!(unset, 5, "{found:#?}");
    for code in ["unknown_key", "bad_value", "undefined_role"] {
        assert!(found.iter().any(|f| f.contains(code)), "{code}: {found:#?}");
    }
}

#[test]
fn a_value_given_twice_names_both_places() {
    let mut sources = example();
    sources.push(Source {
        name: "z.yaml".into(),
        text: "keycloak:\n  realm: other\n".into(),
    });
    let loaded = load(&sources, &example_env());
    let f = loaded
        .findings
        .iter()
        .find(|f| f.code == codes::GIVEN_TWICE)
        .unwrap();
    assert_eq!((f.file.as_str(), f.line, f.column), ("z.yaml", 2, 3));
    let first = &f.related[0];
    assert_eq!(
        (first.file.as_str(), first.line, first.column),
        ("keycloak.yaml", 3, 3)
    );
    let once = with(
        "keycloak.yaml",
        "  realm: healthcare\n",
        "  realm: healthcare\n  realm: x\n",
    );
    assert!(
        findings(&once, &example_env())
            .iter()
            .any(|f| f.starts_with("error[given_twice] keycloak.yaml:4:3"))
    );
}

#[test]
fn software_without_a_person_names_its_roles() {
    let changed = |to| {
        findings(
            &with("policy.yaml", "at_most: care_agent", to),
            &example_env(),
        )
    };
    let unnamed = changed("service: true");
    assert!(
        unnamed
            .iter()
            .any(|f| f.starts_with("error[contradiction] policy.yaml:38:")),
        "{unnamed:?}"
    );
    let unknown = changed("service: true, roles: [nobody]");
    assert!(
        unknown
            .iter()
            .any(|f| f.starts_with("error[undefined_role] policy.yaml:38:")),
        "{unknown:?}"
    );
    let well = changed("service: true, roles: [nurse]");
    assert!(well.iter().all(|f| !f.starts_with("error")), "{well:?}");
}

#[test]
fn a_further_issuer_is_another_than_the_rest_reached_safely_and_grants_roles_of_the_policy() {
    let changed = |issuer: &str| {
        let to = format!("identity:\n  issuers:\n    partner: {{ {issuer} }}\n");
        let loaded = load(&with("policy.yaml", "identity:\n", &to), &example_env());
        let errors = loaded.findings.iter().filter(|f| f.is_error());
        let errors: Vec<_> = errors.map(|f| (f.code, f.line)).collect();
        (errors, loaded.configuration)
    };
    let (errors, well) =
        changed("issuer: https://idp.example.org/x, roles: [nurse], roles_from: a.b");
    assert_eq!(errors, []);
    let partner = &well.unwrap().identity.issuers[0];
    assert_eq!(partner.name, "partner");
    assert_eq!(partner.roles_from, ["a", "b"]);
    assert_eq!(partner.roles, ["nurse"]);
    for (issuer, code) in [
        (
            "issuer: http://idp.example.org, roles: [nurse]",
            codes::WEAK_TRANSPORT,
        ),
        ("issuer: https://idp.example.org", codes::MISSING_KEY),
        ("roles: [nurse]", codes::MISSING_KEY),
        (
            "issuer: https://idp.example.org, roles: [nobody]",
            codes::UNDEFINED_ROLE,
        ),
        (
            "issuer: https://idp.example.org, roles: [nurse], roles_from: a..b",
            codes::BAD_PATH,
        ),
        (
            "issuer: https://auth.healthcare.example.com/realms/healthcare, roles: [nurse]",
            codes::CONTRADICTION,
        ),
        ("issuer: mcp-server-prod, roles: [nurse]", codes::BAD_VALUE),
        (
            "issuer: https://idp.example.org, roles: [nurse], keys_stale_max_seconds: 60",
            codes::CONTRADICTION,
        ),
    ] {
        let (errors, configuration) = changed(issuer);
        assert!(
            errors.iter().any(|(found, _)| *found == code),
            "{issuer}: {errors:?}"
        );
        assert!(configuration.is_none(), "{issuer}");
    }
}

#[test]
fn a_client_without_a_certificate_is_one_is_no_software_and_is_let_in_at_all() {
    let found = |to: &str| findings(&with("policy.yaml", "\n  chart-web:", to), &example_env());
    for (to, code) in [
        (
            "\n  desktop: { at_most: nurse }\n  chart-web:",
            "error[missing_key]",
        ),
        (
            "\n  desktop: { without_certificate: true }\n  chart-web:",
            "warning[dead_rule]",
        ),
        (
            "\n  one: { without_certificate: true }\n  two: { without_certificate: true }\n  chart-web:",
            "error[contradiction]",
        ),
        (
            "\n  sync: { without_certificate: true, service: true, roles: [nurse] }\n  chart-web:",
            "error[contradiction]",
        ),
        (
            "\n  sync: { certificate: a.example.com, dpop: true }\n  chart-web:",
            "",
        ),
    ] {
        let findings = found(to);
        assert!(
            findings.iter().any(|f| f.starts_with(code)) || code.is_empty(),
            "{to}: {findings:?}"
        );
    }
}

#[test]
fn each_reserved_key_refuses_or_warns_as_it_restricts_or_permits() {
    let cases = [(
        "upstream:\n",
        "upstream:\n  require_loopback: off\n",
        "warning",
    )];
    for (from, to, severity) in cases {
        let loaded = load(&with("policy.yaml", from, to), &example_env());
        let found: Vec<_> = loaded
            .findings
            .iter()
            .filter(|f| f.code == codes::NOT_BUILT)
            .collect();
        assert!(!found.is_empty(), "{to}");
        let worst = found.iter().map(|f| f.severity).max().unwrap();
        assert_eq!(worst.as_str(), severity, "{to}: {found:#?}");
        let others: Vec<_> = loaded
            .findings
            .iter()
            .filter(|f| f.is_error() && f.code != codes::NOT_BUILT)
            .collect();
        assert!(others.is_empty(), "{to}: {others:#?}");
        assert_eq!(loaded.configuration.is_none(), severity == "error", "{to}");
    }
}

#[test]
fn where_sessions_are_kept_is_judged_with_how_many_replicas_there_are() {
    let found = |sessions: &str| {
        let text = format!("sessions: {sessions}\nidentity:\n");
        let loaded = load(&with("policy.yaml", "identity:\n", &text), &example_env());
        let errors = loaded.findings.iter().filter(|f| f.is_error());
        let words: Vec<_> = errors.map(|f| f.message.clone()).collect();
        (words.join("; "), loaded.configuration)
    };
    for (sessions, words) in [
        ("{ replicas: 2 }", "in the memory of each"),
        ("{ store: memory, replicas: 3 }", "in the memory of each"),
        ("{ store: memory, username: me }", "the store is memory"),
        ("{ store: redis }", "neither `memory` nor the URL"),
        ("{ store: \"http://h\" }", "neither `memory` nor the URL"),
        ("{ store: \"rediss://h\", key_file: k }", "go together"),
        ("{ store: \"rediss://h\", when_down: permit }", "when_down"),
    ] {
        let (message, configuration) = found(sessions);
        assert!(message.contains(words), "{sessions}: {message}");
        assert!(configuration.is_none(), "{sessions}");
    }
    for (sessions, shared) in [
        ("{ store: memory, replicas: 1, when_down: refuse }", false),
        (
            "{ store: \"rediss://h:1\", username: u, password: canary-password, replicas: 3 }",
            true,
        ),
    ] {
        let (message, configuration) = found(sessions);
        let store = configuration
            .unwrap_or_else(|| panic!("{message}"))
            .session_store;
        assert_eq!(store.is_some(), shared);
        assert!(!format!("{store:?}").contains("canary"));
    }
    let warned = |store: &str| {
        let text = format!("sessions: {{ store: \"{store}\" }}\nidentity:\n");
        let loaded = load(&with("policy.yaml", "identity:\n", &text), &example_env());
        loaded
            .findings
            .iter()
            .any(|f| f.code == codes::SECRET_IN_FILE)
    };
    assert!(
        !warned("memory") && !warned("rediss://h:1"),
        "no secret is in it"
    );
    assert!(warned("rediss://me:canary-password@h:1"));
}

#[test]
fn every_key_of_the_full_policy_is_known() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/policy-full.yaml"
    ));
    let sources = [Source {
        name: "policy-full.yaml".into(),
        text: text.unwrap(),
    }];
    let loaded = load(&sources, &example_env());
    assert!(loaded.configuration.is_none());
    let expected = [codes::NOT_BUILT, codes::MISSING_KEY, codes::UNDEFINED_ROLE];
    for f in &loaded.findings {
        let of_a_whole = f.code == codes::BAD_PATH || f.code == codes::DEAD_RULE;
        assert!(expected.contains(&f.code) || of_a_whole, "{f}");
    }
}

#[test]
fn protections_may_be_off_for_development_on_loopback() {
    let mut sources = with("policy.yaml", "storage: encrypted", "storage: clear");
    sources[4].text = sources[4].text.replace("0.0.0.0:8443", "127.0.0.1:8443");
    sources[4].text.push_str("profile: development\n");
    sources[3].text = sources[3]
        .text
        .replace("    enabled: true", "    enabled: false");
    sources[0].text = sources[0]
        .text
        .replace("    enabled: true  # REQ", "    enabled: false  # REQ");
    sources[1].text = sources[1]
        .text
        .replace("require_mfa: true", "require_mfa: false");
    assert_eq!(findings(&sources, &example_env()), Vec::<String>::new());
    let c = load(&sources, &example_env()).configuration.unwrap();
    assert!(!c.authentication.mfa.required && !c.tls.mutual_tls.required);
    sources[4].text = sources[4].text.replace("127.0.0.1:8443", "0.0.0.0:8443");
    let found = findings(&sources, &example_env());
    assert_eq!(
        found
            .iter()
            .filter(|f| f.contains("[unsafe_profile]"))
            .count(),
        3,
        "{found:#?}"
    );
}

#[test]
fn either_switch_requires_a_second_factor() {
    let sources = with("keycloak.yaml", "require_mfa: true", "require_mfa: false");
    assert!(
        load(&sources, &example_env())
            .configuration
            .unwrap()
            .authentication
            .mfa
            .required
    );
    let sources = with(
        "auth.yaml",
        "    enabled: true  # REQ",
        "    enabled: false  # REQ",
    );
    assert!(
        load(&sources, &example_env())
            .configuration
            .unwrap()
            .authentication
            .mfa
            .required
    );
}

#[test]
fn without_keycloak_there_are_local_tokens_with_its_limits() {
    let mut sources = example();
    sources.remove(1);
    let c = load(&sources, &example_env()).configuration.unwrap();
    assert!(c.keycloak.is_none());
    assert_eq!(c.sessions.absolute.as_secs(), 900);
    assert_eq!(c.sessions.idle.as_secs(), 300);
    assert_eq!(c.sessions.max_per_user, 1);
}

#[test]
fn a_sink_without_credential_is_a_warning_that_run_can_raise() {
    let mut env = example_env();
    env.vars.remove("PGPASSWORD");
    let loaded = load(&example(), &env);
    let f = loaded
        .findings
        .iter()
        .find(|f| f.code == codes::SINK_CREDENTIAL)
        .unwrap();
    assert_eq!((f.file.as_str(), f.line, f.column), ("audit.yaml", 33, 13));
    assert!(!f.is_error() && f.clone().raised().is_error());
    assert!(loaded.configuration.is_some());
}

/// The collector of a configuration.
fn collector(sources: &[Source], env: &Fake) -> crate::Siem {
    let outputs = load(sources, env).configuration.unwrap().audit.outputs;
    let mut found = outputs.into_iter().filter_map(|output| match output {
        crate::Output::Siem(siem) => Some(siem),
        crate::Output::Postgresql(_) | crate::Output::S3(_) => None,
    });
    found.next().unwrap()
}

/// Host and port of one that speaks syslog.
fn syslog(siem: &crate::Siem) -> (&str, u16) {
    match &siem.protocol {
        crate::SiemProtocol::Syslog { host, port } => (host, *port),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_https_endpoint_of_syslog_means_tls_on_6514_and_is_warned_of() {
    let siem = collector(&example(), &example_env());
    assert_eq!(
        (syslog(&siem), siem.message_bytes_max),
        (("siem.healthcare.example.com", 6514), 8192)
    );
    let seed = "https://siem.healthcare.example.com";
    for (written, port) in [
        ("syslog+tls://siem.healthcare.example.com", 6514),
        ("syslog+tls://siem.healthcare.example.com:601/", 601),
        ("https://siem.healthcare.example.com:8443", 8443),
    ] {
        let sources = with("audit.yaml", seed, written);
        let siem = collector(&sources, &example_env());
        assert_eq!(syslog(&siem).1, port, "{written}");
    }
}

#[test]
fn events_in_the_formats_of_others_have_room_in_a_message() {
    let short = "protocol: syslog\n      message_bytes_max: 4096";
    let sources = with("audit.yaml", "protocol: syslog", short);
    let found = findings(&sources, &example_env());
    assert!(
        found
            .iter()
            .any(|found| found.starts_with("error[contradiction] audit.yaml:")),
        "{found:?}"
    );
    let native = format!("{short}\n      format: native");
    let sources = with("audit.yaml", "protocol: syslog", &native);
    let siem = collector(&sources, &example_env());
    assert_eq!(
        (siem.format.as_str(), siem.message_bytes_max),
        ("native", 4096)
    );
}

#[test]
fn two_outputs_of_one_type_would_share_a_cursor_and_are_refused() {
    let more = "  output:\n    - type: siem\n      endpoint: syslog+tls://second.example.com:6514\n      protocol: syslog";
    let found = findings(&with("audit.yaml", "  output:", more), &example_env());
    let found: Vec<_> = found.iter().filter(|f| f.starts_with("error")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("two outputs of the type siem"),
        "{found:?}"
    );
}

#[test]
fn an_endpoint_in_clear_or_of_no_host_is_refused() {
    let seed = "https://siem.healthcare.example.com";
    for (written, code) in [
        ("syslog://siem.example.com", "weak_transport"),
        ("tcp://siem.example.com:514", "weak_transport"),
        ("siem.example.com", "bad_value"),
        ("https://siem.example.com/collector", "bad_value"),
    ] {
        let found = findings(&with("audit.yaml", seed, written), &example_env());
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("error[{code}] audit.yaml:38:")),
            "{written}: {found:?}"
        );
    }
}

#[test]
fn a_collectors_certificates_come_from_the_file_or_the_environment_in_pairs() {
    let mut env = example_env();
    env.vars
        .insert("SAFEGUARD_SIEM_CERT".into(), "/c.pem".into());
    let found = findings(&example(), &env);
    assert!(
        found.len() == 1 && found[0].starts_with("error[contradiction]"),
        "{found:?}"
    );
    env.vars
        .insert("SAFEGUARD_SIEM_KEY".into(), "/c.key".into());
    let siem = collector(&example(), &env);
    assert_eq!(siem.cert_file.unwrap().to_str(), Some("/c.pem"));
    assert_eq!(siem.key_file.unwrap().to_str(), Some("/c.key"));
    assert_eq!(siem.ca_file, None);
}

/// What `audit.yaml` says of its collector, in place of the example's.
fn with_collector(lines: &str) -> Vec<Source> {
    let seed = "endpoint: https://siem.healthcare.example.com\n      protocol: syslog";
    with("audit.yaml", seed, lines)
}

/// Base and token of one that HTTP reaches.
fn reached(siem: &crate::Siem) -> (&str, Option<&str>) {
    let (crate::SiemProtocol::Otlp(http) | crate::SiemProtocol::Hec(http, _)) = &siem.protocol
    else {
        panic!("{siem:?}");
    };
    let token = http.token.as_ref().map(crate::Secret::expose);
    (&http.base, token)
}

#[test]
fn otlp_and_hec_go_to_a_base_behind_which_the_protocol_has_its_path() {
    for (protocol, endpoint, base) in [
        ("otlp", "https://otel:4318", "https://otel:4318"),
        ("otlp", "https://otel:4318/", "https://otel:4318"),
        ("otlp", "https://otel/otlp/v1/logs", "https://otel/otlp"),
        ("hec", "https://splunk:8088", "https://splunk:8088"),
        (
            "hec",
            "https://splunk:8088/services/collector",
            "https://splunk:8088",
        ),
        (
            "hec",
            "https://splunk/services/collector/event/",
            "https://splunk",
        ),
    ] {
        let sources = with_collector(&format!(
            "endpoint: {endpoint}\n      protocol: {protocol}\n      token: ${{SIEM}}"
        ));
        let mut env = example_env();
        env.vars.insert("SIEM".into(), CANARY.into());
        assert_eq!(findings(&sources, &env), Vec::<String>::new());
        let siem = collector(&sources, &env);
        assert_eq!(reached(&siem), (base, Some(CANARY)), "{endpoint}");
        assert_eq!(siem.message_bytes_max, 65_536);
        assert!(!format!("{siem:?}").contains(CANARY));
    }
}

#[test]
fn an_http_collector_in_clear_is_for_development_on_loopback() {
    let found = |endpoint: &str| {
        let sources = with_collector(&format!("endpoint: {endpoint}\n      protocol: otlp"));
        findings(&sources, &example_env())
    };
    for (endpoint, code) in [
        ("http://127.0.0.1:4318", "unsafe_profile"),
        ("http://otel.example.com:4318", "weak_transport"),
        ("syslog+tls://otel.example.com", "weak_transport"),
        ("https://user@otel.example.com", "bad_value"),
        ("https://otel.example.com/a b", "bad_value"),
        ("https://otel.example.com/a%2fb", "bad_value"),
    ] {
        let found = found(endpoint);
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("error[{code}] audit.yaml:")),
            "{endpoint}: {found:?}"
        );
    }
}

#[test]
fn an_event_collector_without_a_token_is_warned_of_and_a_token_that_is_none_refused() {
    let sources = with_collector("endpoint: https://splunk:8088\n      protocol: hec");
    let found = findings(&sources, &example_env());
    assert!(
        found.len() == 1 && found[0].starts_with("warning[sink_credential] audit.yaml:"),
        "{found:?}"
    );
    let mut env = example_env();
    let mut named = |token: &str| {
        env.vars.insert("SAFEGUARD_SIEM_TOKEN".into(), token.into());
        findings(&sources, &env)
    };
    assert_eq!(named(CANARY), Vec::<String>::new());
    for token in ["two words", "a\nb", "ä"] {
        let found = named(token);
        assert!(
            found.len() == 1 && found[0].starts_with("error[bad_value]"),
            "{found:?}"
        );
        assert!(!found[0].contains(token));
    }
}

#[test]
fn what_a_protocol_has_no_use_for_is_a_contradiction() {
    for (protocol, endpoint, line) in [
        ("syslog", "syslog+tls://siem", "token: x"),
        ("syslog", "syslog+tls://siem", "request_bytes_max: 65536"),
        ("otlp", "https://otel", "index: main"),
        ("otlp", "https://otel", "acknowledge: true"),
        ("otlp", "https://otel", "sourcetype: a"),
        ("otlp", "https://otel", "source: a"),
    ] {
        let sources = with_collector(&format!(
            "endpoint: {endpoint}\n      protocol: {protocol}\n      {line}"
        ));
        let found = findings(&sources, &example_env());
        assert!(
            found
                .iter()
                .any(|found| found.starts_with("error[contradiction]")),
            "{line}: {found:?}"
        );
    }
}

/// The bucket of a configuration.
fn bucket(sources: &[Source], env: &Fake) -> crate::S3 {
    let outputs = load(sources, env).configuration.unwrap().audit.outputs;
    let mut found = outputs.into_iter().filter_map(|output| match output {
        crate::Output::S3(bucket) => Some(bucket),
        crate::Output::Postgresql(_) | crate::Output::Siem(_) => None,
    });
    found.next().unwrap()
}

#[test]
fn the_seeds_bucket_is_sealed_encrypted_and_locked_for_seven_years() {
    let s3 = bucket(&example(), &example_env());
    assert_eq!(
        (s3.bucket.as_str(), s3.prefix.as_str(), s3.region.as_str()),
        ("hipaa-audit-logs", "audit/", "eu-central-1")
    );
    assert!(s3.encrypted && s3.endpoint.is_none() && s3.keep_days == 2555);
    assert_eq!(s3.encryption, crate::S3Encryption::Aes256);
    assert_eq!(s3.lock, Some(crate::S3Lock::Compliance));
    assert_eq!(s3.sts_endpoint, "https://sts.eu-central-1.amazonaws.com");
    let name = "bucket: hipaa-audit-logs";
    let own = with(
        "audit.yaml",
        name,
        &format!(
            "{name}\n      endpoint: https://minio.example.com:9000/\n      lock_mode: GOVERNANCE"
        ),
    );
    let mut env = example_env();
    env.vars.remove("AWS_REGION");
    let s3 = bucket(&own, &env);
    assert_eq!(
        (s3.endpoint.as_deref(), s3.region.as_str()),
        (Some("https://minio.example.com:9000"), "us-east-1")
    );
    assert_eq!(s3.lock, Some(crate::S3Lock::Governance));
    let mut without = with("audit.yaml", "lifecycle: 2555_days", "prefix: a/b/");
    for source in &mut without {
        source.text = source.text.replace("2555  #", "3000  #");
    }
    assert_eq!(bucket(&without, &example_env()).keep_days, 3000);
}

#[test]
fn years_are_calendar_years_at_their_longest_and_a_short_retention_with_its_reason_holds_for_the_bucket()
 {
    let days = |written: &str| {
        let mut sources = with("audit.yaml", "      lifecycle: 2555_days\n", "");
        for source in &mut sources {
            source.text = source.text.replace("2555  #", &format!("{written}  #"));
        }
        bucket(&sources, &example_env()).keep_days
    };
    for (written, expected) in [
        ("2555", 2555),
        ("6y", 2192),
        ("7y", 2557),
        ("2200_days", 2200),
        (
            "90\n  short_retention_reason: a pilot with synthetic records\n  #",
            90,
        ),
    ] {
        assert_eq!(days(written), expected, "{written}");
    }
}

#[test]
fn a_bucket_without_credentials_or_region_is_a_warning_that_run_can_raise() {
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        let mut env = example_env();
        env.vars.remove(name);
        let loaded = load(&example(), &env);
        let warned = |f: &&crate::Finding| f.code == codes::SINK_CREDENTIAL;
        let found: Vec<_> = loaded.findings.iter().filter(warned).collect();
        assert_eq!((found.len(), found[0].line), (1, 41), "{name}");
        assert!(loaded.configuration.is_some());
    }
    let mut env = example_env();
    env.vars.remove("AWS_ACCESS_KEY_ID");
    for (name, value) in [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/audit"),
    ] {
        env.vars.insert(name.into(), value.into());
    }
    let web = bucket(&example(), &env);
    assert!(matches!(
        *web.credentials,
        crate::AwsCredentials::WebIdentity { .. }
    ));
}

#[test]
fn files_that_are_not_opened_are_not_looked_at() {
    let sources = with("policy.yaml", "${PHI_KEY}", "${file:/secrets/phi}");
    let c = load(&sources, &example_env()).configuration.unwrap();
    assert!(c.keys.phi[0].key.is_none());
    let mut env = example_env();
    env.files = Some(BTreeMap::from([(
        "/secrets/phi".to_owned(),
        format!("hex:{}\n", "ab".repeat(32)),
    )]));
    let c = load(&sources, &env).configuration.unwrap();
    assert_eq!(c.keys.phi[0].key.as_ref().unwrap().expose(), &[0xab; 32]);
    env.files = Some(BTreeMap::new());
    let found = findings(&sources, &env);
    assert_eq!(
        found,
        ["error[unset] policy.yaml:10:60 the file /secrets/phi cannot be read: no such file"]
    );
}

#[test]
fn a_setting_in_a_file_that_is_not_opened_is_a_warning() {
    for (from, to) in [
        ("0.0.0.0:8443", "\"${file:/etc/address}\""),
        ("clinic-a/ehr", "\"${file:/etc/domain}\""),
    ] {
        let loaded = load(&with("policy.yaml", from, to), &example_env());
        assert!(loaded.configuration.is_none());
        assert!(
            loaded.findings.iter().all(|f| !f.is_error()),
            "{:?}",
            loaded.findings
        );
        assert!(loaded.findings.iter().any(|f| f.code == codes::UNOPENED));
    }
}

#[test]
fn a_store_of_sessions_in_a_file_that_is_not_opened_leaves_the_rest_checked() {
    let to = "sessions: { store: \"${file:/run/redis-url}\", replicas: 2 }\nidentity:\n";
    let loaded = load(&with("policy.yaml", "identity:\n", to), &example_env());
    let store = loaded.configuration.unwrap().session_store.unwrap();
    assert!(store.url.is_none());
}

#[test]
fn what_is_put_in_can_not_become_structure() {
    let mut env = example_env();
    env.vars
        .insert("DOMAIN".into(), "x\nprofile: development # }".into());
    let sources = with("policy.yaml", "clinic-a/ehr", "\"${DOMAIN}$${X}\"");
    let c = load(&sources, &env).configuration.unwrap();
    assert_eq!(c.policy.phi().domain, "x\nprofile: development # }${X}");
    assert_eq!(c.profile, Profile::Production);
}

#[test]
fn no_secret_shows_in_findings_or_debug() {
    let env = example_env();
    for (file, from, to) in [
        ("auth.yaml", "${JWT_SECRET}", CANARY),
        ("auth.yaml", "secret: ${JWT_SECRET}", "secrt: canary-4711"),
        (
            "auth.yaml",
            "issuer: \"mcp-server-prod\"",
            "isuer: ${JWT_SECRET}",
        ),
        ("auth.yaml", "expiration: 3600", "expiration: ${JWT_SECRET}"),
        ("auth.yaml", "- webauthn", "- ${JWT_SECRET}"),
        ("auth.yaml", "enabled: true", "enabled: ${JWT_SECRET}"),
        (
            "auth.yaml",
            "secret: ${JWT_SECRET}",
            "secret: \"canary-4711",
        ),
        (
            "policy.yaml",
            "from: 2026-11-01, source: \"${PHI_KEY}\"",
            "fron: 2026-11-01, source: \"canary-4711\"",
        ),
        (
            "policy.yaml",
            "certificate: web.healthcare.example.com",
            "certificate: ${JWT_SECRET}",
        ),
        (
            "policy.yaml",
            "at_most: care_agent",
            "at_most: ${JWT_SECRET}",
        ),
        (
            "policy.yaml",
            "purposes: [HPAYMT]",
            "purposes: [\"${JWT_SECRET}\"]",
        ),
        (
            "policy.yaml",
            "when: \"claims.department == args.department\"",
            "when: ${JWT_SECRET}",
        ),
        ("policy.yaml", "patient: uri.id", "patient: ${JWT_SECRET}"),
        (
            "policy.yaml",
            "roles: [physician, nurse], patient: uri",
            "roles: [\"${JWT_SECRET}\"], patient: uri",
        ),
        (
            "policy.yaml",
            "reveal: [medications, test_results], token",
            "reveal: [\"${JWT_SECRET}\"], token",
        ),
        (
            "policy.yaml",
            "group: identity, also: [patient_ssn",
            "group: identity, also: [\"${JWT_SECRET}\", \"${JWT_SECRET}[\"",
        ),
        (
            "policy.yaml",
            "not_phi: [patient_id",
            "not_phi: [\"${JWT_SECRET}\", \"${JWT_SECRET}\"",
        ),
        ("audit.yaml", "- user_login\n", "- ${JWT_SECRET}\n"),
        ("policy.yaml", "version: 1", "version: ${JWT_SECRET}"),
    ] {
        let loaded = load(&with(file, from, to), &env);
        assert!(!loaded.findings.is_empty());
        let shown = format!(
            "{loaded:?}{}",
            crate::render(&loaded.findings, crate::Colour::Off)
        );
        assert!(!shown.contains("canary"), "{from} -> {to}\n{shown}");
        let machine = format!(
            "{}{}",
            crate::to_json(&loaded.findings),
            crate::to_sarif(&loaded.findings)
        );
        assert!(!machine.contains("canary"), "{from} -> {to}");
    }
    let shown = format!("{:?}", load(&example(), &env).configuration.unwrap());
    assert!(
        !shown.contains("canary") && !shown.contains("aaaa") && !shown.contains("170, 170"),
        "{shown}"
    );
}

#[test]
fn the_hash_is_of_what_is_written_and_not_of_secrets_or_order() {
    let hash = |sources: &[Source], env: &Fake| load(sources, env).configuration.unwrap().hash;
    let base = hash(&example(), &example_env());
    let mut other = example_env();
    other.vars.insert("JWT_SECRET".into(), "x".repeat(40));
    assert_eq!(
        hash(&example(), &other),
        base,
        "a variable's value is not in it"
    );
    let mut turned = example();
    turned.reverse();
    assert_eq!(
        hash(&turned, &example_env()),
        base,
        "the order of files is not in it"
    );
    assert_ne!(
        hash(
            &with("auth.yaml", "expiration: 3600", "expiration: 3601"),
            &example_env()
        ),
        base
    );
    let literal = |c: &str| {
        hash(
            &with("auth.yaml", "${JWT_SECRET}", &c.repeat(40)),
            &example_env(),
        )
    };
    assert_eq!(literal("x"), literal("y"), "a literal secret is not in it");
}

#[test]
fn hostile_documents_are_refused_within_bounds() {
    let deep = "[".repeat(100_000);
    let wide = "a: [".to_owned() + &"1,".repeat(200_000) + "1]";
    let long = "x".repeat(crate::document::limits::SOURCE_BYTES_MAX + 1);
    let many: String = (0..5000).map(|n| format!("unknown_{n}: 1\n")).collect();
    for text in [
        &deep,
        &wide,
        &long,
        &many,
        &"a: *b".to_owned(),
        &"a: !!str b".to_owned(),
        &"---\na: 1\n---\nb: 1".to_owned(),
        &"? [a]\n: 1".to_owned(),
    ] {
        let sources = [Source {
            name: "x".into(),
            text: text.clone(),
        }];
        let loaded = load(&sources, &example_env());
        assert!(loaded.configuration.is_none());
        assert!(loaded.findings.len() <= crate::document::limits::FINDINGS_MAX + 1);
    }
    assert!(load(&[], &example_env()).configuration.is_none());
}

mod generated {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_loader_takes_any_text(text in "\\PC{0,200}") {
            let sources = [Source { name: "x".into(), text }];
            prop_assert!(load(&sources, &example_env()).configuration.is_none());
        }

        #[test]
        fn the_loader_takes_any_yaml_like_text(text in "([a-z_]{1,6}|[\\[\\]{}:,\"'#&*!|>%@`\\-\\\\$ \\n\\t]|tls|keys|phi|roles|tools|: |\\n  |- |\\$\\{){0,80}") {
            let sources = [Source { name: "x".into(), text }];
            let loaded = load(&sources, &example_env());
            let _ = crate::render(&loaded.findings, crate::Colour::On);
            prop_assert!(loaded.configuration.is_none());
        }

        #[test]
        fn the_example_with_a_piece_cut_or_swapped_never_panics(
            file in 0usize..5, at in 0usize..4000, len in 0usize..40, filler in "[\\[\\]{}:,\"' a-z0-9$\\n-]{0,6}",
        ) {
            let mut sources = example();
            let text = &mut sources[file].text;
            let chars: Vec<char> = text.chars().collect();
            let at = at % chars.len();
            let end = (at + len).min(chars.len());
            *text = chars[..at].iter().collect::<String>() + &filler + &chars[end..].iter().collect::<String>();
            let loaded = load(&sources, &example_env());
            let errors = loaded.findings.iter().any(crate::Finding::is_error);
            prop_assert_eq!(loaded.configuration.is_none(), errors);
            let shown = crate::render(&loaded.findings, crate::Colour::Off);
            prop_assert!(!shown.contains("canary"));
        }
    }
}

#[test]
fn revisions_are_named_once_and_by_their_own_names() {
    let well = |versions: &str| {
        let text = format!("upstream:\n  protocol_versions: {versions}\n");
        let loaded = load(&with("policy.yaml", "upstream:\n", &text), &example_env());
        loaded.configuration.is_some()
    };
    assert!(well("[\"2025-11-25\", \"2026-07-28\"]"));
    for wrong in ["[]", "[\"2025-11-25\", \"2025-11-25\"]", "[\"2026-07-29\"]"] {
        assert!(!well(wrong), "{wrong}");
    }
}

#[test]
fn client_certificates_without_a_name_that_is_let_in_are_an_error() {
    let named = "allowed_dns_names:\n      - \"*.healthcare.example.com\"";
    let loaded = load(
        &with("tls.yaml", named, "allowed_dns_names: []"),
        &example_env(),
    );
    let finding = loaded.findings.iter().find(|f| f.is_error());
    let finding = finding.expect("an error").to_string();
    assert!(finding.contains("names no client"), "{finding}");
}

#[test]
fn second_factors_of_our_own_need_a_page_that_browsers_reach_and_a_directory_of_their_own() {
    let found = |enrolment: &str, policy: (&str, &str)| {
        let mut sources = with(
            "auth.yaml",
            "    grace_period: 0",
            &format!("    grace_period: 0\n    enrolment: {enrolment}"),
        );
        let file = sources
            .iter_mut()
            .find(|source| source.name == "policy.yaml");
        let text = &mut file.unwrap().text;
        assert!(text.contains(policy.0));
        *text = text.replace(policy.0, policy.1);
        let loaded = load(&sources, &example_env());
        let words: Vec<_> = loaded.findings.iter().map(|f| f.message.clone()).collect();
        (words.join("; "), loaded.configuration)
    };
    let account = (
        "admin:\n",
        "  account: { address: 127.0.0.1:8444, hosts: [agents.healthcare.example.com] }\nadmin:\n",
    );
    let directory = "directory: /var/lib/factors";
    for (enrolment, policy, words) in [
        ("{ url: \"https://x\" }", account, "directory"),
        ("{ directory: factors }", account, "by its absolute path"),
        (
            "{ directory: /var/lib/factors, url: \"http://x\" }",
            account,
            "no origin of https",
        ),
        (
            "{ directory: /var/lib/factors, url: \"https://x/y\" }",
            account,
            "no origin of https",
        ),
        (
            "{ directory: /var/lib/factors, url: \"https://x\" }",
            account,
            "is not called by",
        ),
        (
            "{ directory: /var/lib/factors, url: \"https://x\" }",
            ("admin:\n", "admin:\n"),
            "there is no listen.account",
        ),
        (
            "{ directory: /var/lib/factors }",
            (
                "admin:\n",
                "sessions: { store: \"rediss://h\", password: p }\nadmin:\n",
            ),
            "the replica that it was given to alone",
        ),
        (
            "{ directory: /var/lib/safeguard/spool/x }",
            account,
            "within one another",
        ),
    ] {
        let (message, configuration) = found(enrolment, policy);
        assert!(message.contains(words), "{enrolment}: {message}");
        assert!(configuration.is_none(), "{enrolment}");
    }
    let (message, configuration) = found(&format!("{{ {directory} }}"), account);
    let made = configuration.unwrap_or_else(|| panic!("{message}"));
    let enrolment = made.authentication.mfa.enrolment.unwrap();
    assert_eq!(
        enrolment.origin,
        "https://agents.healthcare.example.com:8444"
    );
    assert_eq!(enrolment.host, "agents.healthcare.example.com");
    let (message, _) = found(&format!("{{ {directory} }}"), ("admin:\n", "admin:\n"));
    assert!(
        message.contains("only in browsers that have a client certificate"),
        "{message}"
    );
}
