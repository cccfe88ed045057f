//! The decision, with the example's policy: permits and denials, and the classification of one member's name.

mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use safeguard_benches::configuration::{Variables, parsed};
use safeguard_benches::messages::{AUDIT_KEY, INTEGRITY_KEY, NOW_UNIX, PHI_KEY, claims};
use safeguard_policy::Configuration;
use safeguard_policy::action::Action;
use safeguard_policy::decide::{Decision, decide};
use safeguard_policy::principal::Principal;
use serde_json::{Value, json};
use support::CpuTime;

/// The sidecar's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn configuration() -> Configuration {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/config"
    ));
    let texts: Vec<(&str, String)> = ["auth.yaml", "audit.yaml", "tls.yaml", "policy.yaml"]
        .into_iter()
        .map(|name| {
            (
                name,
                std::fs::read_to_string(folder.join(name)).expect("a fixture"),
            )
        })
        .collect();
    let texts: Vec<(&str, String)> = texts
        .into_iter()
        .chain([(
            "bench.yaml",
            "audit_logging: { spool: { directory: /run/bench/spool } }".to_owned(),
        )])
        .collect();
    let variables = [
        ("JWT_SECRET", "bench-only-secret-of-local-tokens-0123456789"),
        ("PHI_KEY", PHI_KEY),
        ("INTEGRITY_KEY", INTEGRITY_KEY),
        ("AUDIT_KEY", AUDIT_KEY),
        ("PGUSER", "bench"),
        ("PGPASSWORD", "bench-only-password"),
    ];
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    parsed(&texts, &Variables(variables))
        .unwrap_or_else(|findings| panic!("the example's configuration:\n{findings}"))
}

/// Who asks, owned.
struct Asker {
    roles: Vec<String>,
    names: Vec<String>,
    claims: Value,
}

impl Asker {
    fn new(roles: &[&str]) -> Self {
        Self {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            names: vec!["web.healthcare.example.com".to_owned()],
            claims: claims(
                "https://auth.bench.example/realms/bench",
                "mcp-bench",
                NOW_UNIX,
                900,
            ),
        }
    }

    fn principal(&self) -> Principal<'_> {
        Principal {
            subject: "2f6f1b6e-8b57-4f3c-9d53-4f0b2a9d7c11",
            issuer: "https://auth.bench.example/realms/bench",
            roles: &self.roles,
            claims: &self.claims,
            purpose: Some("TREAT"),
            certificate_names: &self.names,
            service: false,
            second_factor: true,
            authenticated_at: Some(NOW_UNIX),
            acr: None,
            emergency: None,
        }
    }
}

fn bench(criterion: &mut Criterion<CpuTime>) {
    let configuration = configuration();
    let policy = &configuration.policy;
    let physician = Asker::new(&["physician", "offline_access", "uma_authorization"]);
    let nurse = Asker::new(&["nurse"]);
    let arguments = json!({"patient_id": "p-000123", "department": "cardiology", "record": {"patient_id": "p-000123", "data": {}}});
    let cases = [
        ("permit a read", &physician, "read_record", true),
        (
            "permit a create with a condition",
            &physician,
            "store_record",
            true,
        ),
        ("deny by role", &nurse, "store_record", false),
        ("deny an unknown tool", &physician, "no_such_tool", false),
    ];
    let mut group = criterion.benchmark_group("policy");
    for (what, who, name, permitted) in cases {
        let action = Action::Tool {
            name,
            args: &arguments,
        };
        let decision = decide(policy, &who.principal(), &action, NOW_UNIX);
        assert_eq!(
            matches!(decision, Decision::Permit(_)),
            permitted,
            "{what}: {decision:?}"
        );
        group.bench_function(what, |b| {
            b.iter(|| {
                decide(
                    policy,
                    black_box(&who.principal()),
                    black_box(&action),
                    NOW_UNIX,
                )
            });
        });
    }
    for name in [
        "medical_record_number",
        "MedicalRecordNumber",
        "department",
        "not_listed_anywhere",
    ] {
        group.bench_function(format!("classify {name}"), |b| {
            b.iter(|| policy.classify(black_box(name)))
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = support::short(); targets = bench }
criterion_main!(benches);
