//! Official SDKs from no token to an authorized call: 401, the resource's metadata (RFC 9728), the provider's (RFC 8414), PKCE in a real browser.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use safeguard_tests::browser::Browser;
use safeguard_tests::configuration::Setup;
use safeguard_tests::login::{CLIENT, Person, parameter};
use safeguard_tests::real;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::within;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

const TOOL: &str = "list_departments";

struct Stage {
    sidecar: Sidecar,
    _upstream: Upstream,
    /// Both authorities: the sidecar's and Keycloak's.
    authorities: PathBuf,
    folder: PathBuf,
}

fn answers(request: &Recorded) -> Option<Reply> {
    let called = request.message()["method"] == "tools/call";
    called.then(|| Reply::Result(structured(&json!({"departments": ["cardiology"]}))))
}

async fn stage() -> Stage {
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let more = "authentication:\n  mfa:\n    scope: mfa\n";
    let setup = Setup::new(&upstream.url()).with_keycloak().extended(more);
    let folder = setup.folder.path().to_owned();
    let authorities = folder.join("authorities.pem");
    let keycloak = std::fs::read_to_string(real::ca()).expect("a CA");
    std::fs::write(&authorities, format!("{}\n{keycloak}", setup.authority.pem)).expect("a file");
    let sidecar = Sidecar::start(setup).await;
    sidecar.web.write(&folder, "web");
    Stage {
        sidecar,
        _upstream: upstream,
        authorities,
        folder,
    }
}

/// Lets a client find its way, with a person at the pages that it opens; what its call gave.
async fn find_the_way(mut command: Command, back: TcpListener, person: Person) -> Value {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .expect("a client");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut say = child.stdin.take().expect("a pipe");
    let line = within("what to open", lines.next_line())
        .await
        .expect("text")
        .expect("a URL to open");
    let open: Value = serde_json::from_str(&line).expect("JSON");
    let url = open["open"].as_str().expect("a URL");
    assert!(
        url.contains("code_challenge_method=S256") && url.contains("resource="),
        "{url}"
    );
    assert!(
        url.contains("mfa"),
        "the scope of the challenge is asked for: {url}"
    );

    let browser = Browser::start(&[real::ca()]).await;
    let (target, asked) = person.follow(&browser, url, back).await;
    assert_eq!(asked, ["password", "code"], "{target} of {url}");
    let given = json!({"code": parameter(&target, "code"), "state": parameter(&target, "state"), "iss": parameter(&target, "iss")});
    say.write_all(format!("{given}\n").as_bytes())
        .await
        .expect("a client that listens");
    let line = within("the call's result", lines.next_line())
        .await
        .expect("text")
        .expect("a result");
    serde_json::from_str(&line).expect("JSON")
}

async fn back() -> (TcpListener, String) {
    let back = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = back.local_addr().expect("an address").port();
    (back, format!("http://127.0.0.1:{port}/callback"))
}

async fn was_let_in(stage: &Stage, answer: &Value) {
    assert!(answer["result"]["content"].is_array(), "{answer}");
    assert_ne!(answer["result"]["isError"], true, "{answer}");
    let login = stage.sidecar.event("user_login", |_| true).await;
    assert!(
        login["subject"]["second_factor"]
            .to_string()
            .contains("otp"),
        "{login}"
    );
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[tokio::test]
async fn the_typescript_sdk_finds_its_way_from_no_token_to_a_call() {
    let stage = stage().await;
    let (back, redirect) = back().await;
    let mut command = Command::new("node");
    command
        .arg(real::fixture("clients/discover.mjs"))
        .args([path(&real::node_modules()), &stage.sidecar.url()])
        .args([&stage.folder.join("web.pem"), &stage.folder.join("web.key")])
        .args([CLIENT, &redirect, TOOL])
        .env("NODE_EXTRA_CA_CERTS", &stage.authorities);
    let person = Person {
        name: "dr.findts",
        secret: Some("findts-secret-for-totp"),
    };
    let answer = find_the_way(command, back, person).await;
    was_let_in(&stage, &answer).await;
}

#[tokio::test]
async fn the_python_sdk_finds_its_way_from_no_token_to_a_call() {
    let stage = stage().await;
    let (back, redirect) = back().await;
    let mut command = Command::new(real::python());
    command
        .arg(real::fixture("clients/discover.py"))
        .arg(stage.sidecar.url())
        .args([
            &stage.authorities,
            &stage.folder.join("web.pem"),
            &stage.folder.join("web.key"),
        ])
        .args([CLIENT, &redirect, TOOL]);
    let person = Person {
        name: "dr.findpy",
        secret: Some("findpy-secret-for-totp"),
    };
    let answer = find_the_way(command, back, person).await;
    was_let_in(&stage, &answer).await;
}
