//! MCP's own conformance suites, through the sidecar as without it: what passes directly passes, and nothing else does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use safeguard_tests::clinic::Server;
use safeguard_tests::configuration::Setup;
use safeguard_tests::front::Front;
use safeguard_tests::real;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use serde_json::Value;
use tokio::process::Command;

/// How long a suite may take: a scenario that waits in vain for a server's request takes a minute of it.
const PATIENCE: Duration = Duration::from_secs(300);

/// A version of the suite and what of it is run.
struct Suite {
    package: &'static str,
    arguments: &'static [&'static str],
    /// How many checks pass against the Go SDK's everything-server: fewer would mean that less was run.
    baseline: usize,
}

/// Everything that 0.1.16 holds ready for servers.
const FIRST: Suite = Suite {
    package: "conformance-2025",
    arguments: &[],
    baseline: 40,
};
/// What 2025-11-25 requires, frozen at its release, and three scenarios that came later.
const SESSIONS: Suite = Suite {
    package: "conformance-2026",
    arguments: &["--requirements", "2025-11-25"],
    baseline: 82,
};
/// What 2026-07-28 requires, its headers, and scenarios of extensions that the server does not have.
const STATELESS: Suite = Suite {
    package: "conformance-2026",
    arguments: &["--requirements", "2026-07-28"],
    baseline: 153,
};

/// Extensions that the everything-server does not implement: their scenarios fail without a sidecar, too, and aren't compared.
const UNSUPPORTED: &str = "tasks-";

/// The outcome of each check, by its scenario, its id and how often it came before.
type Outcomes = BTreeMap<(String, String, usize), (String, Value)>;

impl Suite {
    async fn run(&self, url: &str) -> Outcomes {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let modules = real::node_modules();
        let process = Command::new(real::modern_node())
            .arg(modules.join(self.package).join("dist/index.js"))
            .args(["server", "--url", url, "-o"])
            .arg(folder.path())
            .args(self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the suite");
        // Its exit code is that of its own baseline.
        let ended = tokio::time::timeout(PATIENCE, process.wait_with_output()).await;
        let said = ended.map_or_else(
            |_| format!("not within {PATIENCE:?}"),
            |output| String::from_utf8_lossy(&output.expect("a process").stderr).into_owned(),
        );
        let outcomes = outcomes(folder.path());
        assert!(!outcomes.is_empty(), "no scenario ran: {said}");
        outcomes
    }
}

/// Reads the results, a folder a scenario: `server-SCENARIO-TIME/checks.json`.
fn outcomes(folder: &Path) -> Outcomes {
    const TIME: usize = "-2026-11-23T08-28-36-830Z".len();
    let mut outcomes = Outcomes::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("a name").trim_start_matches("server-");
        let scenario = &name[..name.len() - TIME];
        if scenario.starts_with(UNSUPPORTED) {
            continue;
        }
        let text = std::fs::read_to_string(path.join("checks.json")).expect("results");
        let checks: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        for check in checks {
            let id = check["id"].as_str().expect("an id").to_owned();
            let status = check["status"].as_str().expect("a status").to_owned();
            let place = (0..)
                .map(|place| (scenario.to_owned(), id.clone(), place))
                .find(|key| !outcomes.contains_key(key))
                .expect("a place");
            outcomes.insert(place, (status, check));
        }
    }
    outcomes
}

/// Asserts that every check came to the same as without the sidecar.
fn assert_equal(direct: &Outcomes, through: &Outcomes, sidecar: &Sidecar) {
    let mut differences = String::new();
    let keys: std::collections::BTreeSet<_> = direct.keys().chain(through.keys()).collect();
    for key in keys {
        let status = |outcomes: &Outcomes| outcomes.get(key).map(|(status, _)| status.clone());
        let (before, after) = (status(direct), status(through));
        if before != after {
            let why = through
                .get(key)
                .map(|(_, check)| format!("{} {}", check["errorMessage"], check["details"]));
            let why: String = why.unwrap_or_default().chars().take(600).collect();
            writeln!(differences, "{key:?}: {before:?} became {after:?}: {why}").expect("a text");
        }
    }
    assert!(differences.is_empty(), "{differences}\n{}", sidecar.log());
}

async fn is_the_same_through_the_sidecar(suite: &Suite, server: Server, policy: Setup) -> Sidecar {
    let sidecar = Sidecar::start(policy).await;
    let front = Front::start(&sidecar, &sign(&physician("dr.conformance"))).await;
    let direct = suite.run(&server.url()).await;
    let passed = direct.values().filter(|(status, _)| status == "SUCCESS");
    assert_eq!(
        passed.count(),
        suite.baseline,
        "as published for this server"
    );
    let through = suite.run(&front.url()).await;
    assert_equal(&direct, &through, &sidecar);
    front.assert_no_fault("the conformance suite");
    sidecar
}

/// The tools of the Go SDK's everything-server.
const TOOLS: [&str; 28] = [
    "json_schema_2020_12_tool",
    "test_audio_content",
    "test_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_embedded_resource",
    "test_error_handling",
    "test_image_content",
    "test_input_required_result_capabilities",
    "test_input_required_result_elicitation",
    "test_input_required_result_list_roots",
    "test_input_required_result_multi_round",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_request_state",
    "test_input_required_result_sampling",
    "test_input_required_result_tampered_state",
    "test_logging_tool",
    "test_missing_capability",
    "test_multiple_content_types",
    "test_reconnection",
    "test_sampling",
    "test_simple_text",
    "test_streaming_elicitation",
    "test_tool_with_logging",
    "test_tool_with_progress",
    "test_trigger_prompt_change",
    "test_trigger_tool_change",
    "test_x_mcp_header",
];
/// Its resources, and one that it does not have: that is for the server to say.
const RESOURCES: [&str; 3] = [
    "test://template/{id}/data",
    "test://watched-resource",
    "test://{name}",
];
/// Its prompts.
const PROMPTS: [&str; 5] = [
    "test_input_required_result_prompt",
    "test_prompt_with_arguments",
    "test_prompt_with_embedded_resource",
    "test_prompt_with_image",
    "test_simple_prompt",
];

/// What is denied unless a policy names it.
const METHODS: [&str; 8] = [
    "completion/complete",
    "elicitation/create",
    "logging/setLevel",
    "notifications/message",
    "resources/subscribe",
    "roots/list",
    "sampling/createMessage",
    "subscriptions/listen",
];

/// A policy that permits all of it to anyone.
fn permissive() -> String {
    let mut text = String::new();
    for (section, names) in [
        ("tools", TOOLS.as_slice()),
        ("resources", &RESOURCES),
        ("prompts", &PROMPTS),
    ] {
        writeln!(text, "{section}:").expect("a text");
        for name in names {
            writeln!(
                text,
                "  \"{name}\": {{ operation: none, roles: any, patient: none }}"
            )
            .expect("a text");
        }
    }
    text.push_str("methods:\n");
    for name in METHODS {
        let patient = if name == "completion/complete" {
            ", patient: none"
        } else {
            ""
        };
        writeln!(
            text,
            "  \"{name}\": {{ operation: none, roles: any{patient} }}"
        )
        .expect("a text");
    }
    text
}

/// What the server without sessions speaks: it is asked for nothing else.
const BOTH_ERAS: &str = "upstream:\n  protocol_versions: [2025-11-25, 2026-07-28]\n";

#[tokio::test]
async fn conformance_0_1_16_is_the_same_through_the_sidecar() {
    let server = Server::go_everything().await;
    let policy = Setup::new(&server.url()).extended(&permissive());
    is_the_same_through_the_sidecar(&FIRST, server, policy).await;
}

#[tokio::test]
async fn conformance_with_2025_11_25_is_the_same_through_the_sidecar() {
    let server = Server::go_everything().await;
    let policy = Setup::new(&server.url()).extended(&permissive());
    is_the_same_through_the_sidecar(&SESSIONS, server, policy).await;
}

#[tokio::test]
async fn conformance_with_2026_07_28_is_the_same_through_the_sidecar() {
    let server = Server::go_stateless().await;
    let policy = Setup::new(&server.url())
        .extended(&permissive())
        .extended(BOTH_ERAS);
    is_the_same_through_the_sidecar(&STATELESS, server, policy).await;
}

/// PHI where the suites write: a prompt for a model, an argument that a header mirrors, what a person types into a form.
const REWRITING: &str = "phi:
  fields:
    prompt: { group: clinical }
    region: { group: identity }
    username: { group: identity }
";

fn rewriting(server: &Server) -> Setup {
    Setup::new(&server.url())
        .with_policy("wrap: object", "wrap: string")
        .extended(&permissive())
        .extended(REWRITING)
}

/// Asserts that values were sealed on the way to the server.
async fn assert_sealed(sidecar: &Sidecar) {
    let sealed = sidecar.metric("safeguard_phi_fields_total", &["action=\"sealed\""]);
    assert!(sealed.await > 0.0, "{}", sidecar.metrics().await);
}

#[tokio::test]
async fn conformance_0_1_16_is_the_same_where_the_policy_rewrites() {
    let server = Server::go_everything().await;
    let policy = rewriting(&server);
    assert_sealed(&is_the_same_through_the_sidecar(&FIRST, server, policy).await).await;
}

#[tokio::test]
async fn conformance_with_2025_11_25_is_the_same_where_the_policy_rewrites() {
    let server = Server::go_everything().await;
    let policy = rewriting(&server);
    assert_sealed(&is_the_same_through_the_sidecar(&SESSIONS, server, policy).await).await;
}

#[tokio::test]
async fn conformance_with_2026_07_28_is_the_same_where_the_policy_rewrites() {
    let server = Server::go_stateless().await;
    let policy = rewriting(&server).extended(BOTH_ERAS);
    assert_sealed(&is_the_same_through_the_sidecar(&STATELESS, server, policy).await).await;
}
