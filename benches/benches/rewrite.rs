//! What the exchange does to a message: decided, its PHI sealed and its record hashed on the way up, opened and
//! verified on the way down; with the load bench's own messages and configurations.

mod support;

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use safeguard::paths::CallArguments;
use safeguard::rewrite::answer::{Call, Method, answer};
use safeguard::rewrite::request::{Stamp, request};
use safeguard::rewrite::shapes::Absence;
use safeguard::rewrite::{HeldKey, Holder, LIMITS, Workshop};
use safeguard_benches::configuration::{CLIENT, Places, Variables, Work, parsed, yaml};
use safeguard_benches::messages::{
    NOW_UNIX, READ, SECRETS, UPDATE, claims, integrity, read_call, ring, sealed_answers,
    update_call,
};
use safeguard_policy::action::Action;
use safeguard_policy::decide::{Decision, Permit, decide};
use safeguard_policy::principal::Principal;
use safeguard_wire::json::{Tree, Value};
use serde_json::Value as Json;
use support::CpuTime;

/// The sidecar's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ARGUMENTS: [&str; 2] = ["params", "arguments"];
const HOLDER: Holder<'_> = Holder {
    patient: Some("p-000123"),
    session: Some(b"2c1f"),
    round: None,
    key: HeldKey::Unavailable,
};

fn workshop(work: Work) -> Workshop {
    let places = Places {
        tls: Path::new("/run/bench/tls"),
        spool: Path::new("/run/bench/spool"),
        port: 8443,
        admin_port: 9464,
        upstream: "http://127.0.0.1:3000/sealed",
        issuer: "http://127.0.0.1:3001",
        postgresql: false,
    };
    let texts = [("bench.yaml", yaml(work, &places))];
    let configuration = parsed(&texts, &Variables::default())
        .unwrap_or_else(|findings| panic!("the bench's configuration:\n{findings}"));
    safeguard::settings::live(configuration, None)
        .expect("a configuration that can run")
        .workshop
}

fn arguments<'t>(tree: &'t Tree<'_>) -> Option<Value<'t>> {
    let params = tree.root().get("params").ok()??;
    params.get("arguments").ok()?
}

fn decided(workshop: &Workshop, tool: &str, tree: &Tree<'_>, claims: &Json) -> Permit {
    let roles = ["physician".to_owned()];
    let names = [CLIENT.to_owned()];
    let principal = Principal {
        subject: "2f6f1b6e-8b57-4f3c-9d53-4f0b2a9d7c11",
        issuer: "http://127.0.0.1:3001/realms/bench",
        roles: &roles,
        claims,
        purpose: Some("TREAT"),
        certificate_names: &names,
        service: false,
        second_factor: true,
        authenticated_at: Some(NOW_UNIX),
        acr: None,
        emergency: None,
    };
    let args = CallArguments::new(arguments(tree));
    let action = Action::Tool {
        name: tool,
        args: &args,
    };
    match decide(&workshop.policy, &principal, &action, NOW_UNIX) {
        Decision::Permit(permit) => permit,
        Decision::Denial(denial) => panic!("{denial:?}"),
    }
}

fn up(workshop: &Workshop, permit: &Permit, text: &[u8]) -> Option<Vec<u8>> {
    let tree = Tree::parse(text, &LIMITS).expect("JSON");
    let stamp = Stamp {
        created_by: "dr-0417",
        now_micros: NOW_UNIX * 1_000_000,
    };
    request(&tree, &ARGUMENTS, permit, workshop, HOLDER, stamp, false)
        .expect("a request that may go up")
        .body
}

fn down(workshop: &Workshop, permit: &Permit, text: &[u8]) -> Option<Vec<u8>> {
    let tree = Tree::parse(text, &LIMITS).expect("JSON");
    let call = Call {
        method: Method::Tool,
        permit,
        holder: HOLDER,
        uri: None,
        absence: Absence::Anything,
        now_unix: NOW_UNIX,
    };
    answer(&tree, &call, workshop)
        .expect("an answer that may come down")
        .body
}

fn bench(criterion: &mut Criterion<CpuTime>) {
    let claims = claims(
        "http://127.0.0.1:3001/realms/bench",
        "mcp-bench",
        NOW_UNIX,
        900,
    );
    let answers = sealed_answers(4096, &ring(), &integrity());
    for (what, work) in [("pass", Work::Pass), ("everything", Work::Everything)] {
        let workshop = workshop(work);
        let mut group = criterion.benchmark_group(what);
        for (tool, text) in [(UPDATE, update_call()), (READ, read_call())] {
            let tree = Tree::parse(text.as_bytes(), &LIMITS).expect("JSON");
            let permit = decided(&workshop, tool, &tree, &claims);
            let sealed = up(&workshop, &permit, text.as_bytes());
            if work == Work::Everything {
                let sealed = String::from_utf8(sealed.expect("sealed values")).expect("text");
                assert!(SECRETS.iter().all(|secret| !sealed.contains(secret)));
                let opened = down(&workshop, &permit, answers[0].as_bytes());
                let opened = String::from_utf8(opened.expect("opened values")).expect("text");
                assert!(SECRETS.iter().all(|secret| opened.contains(secret)));
            }
            group.bench_function(format!("{tool}: parsed"), |b| {
                b.iter(|| Tree::parse(black_box(text.as_bytes()), &LIMITS));
            });
            group.bench_function(format!("{tool}: decided"), |b| {
                b.iter(|| decided(&workshop, tool, black_box(&tree), &claims));
            });
            group.bench_function(format!("{tool}: parsed and rewritten, up"), |b| {
                b.iter(|| up(&workshop, &permit, black_box(text.as_bytes())));
            });
            let mut next = answers.iter().cycle();
            group.bench_function(format!("{tool}: parsed and rewritten, down"), |b| {
                b.iter(|| {
                    next.next()
                        .map(|text| down(&workshop, &permit, text.as_bytes()))
                });
            });
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = support::short(); targets = bench }
criterion_main!(benches);
