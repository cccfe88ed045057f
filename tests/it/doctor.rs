//! `doctor` against the real Keycloak: the shipped realm has no finding, and each thing made worse in it is that finding.

use safeguard_tests::configuration::Setup;
use safeguard_tests::keycloak::{administer, administrator};
use safeguard_tests::real;
use serde_json::{Value, json};
use tokio::process::Command;

/// The shipped realm as it is, which nothing but this test changes.
const REALM: &str = "as-shipped";

/// The secret of `mcp-server` there.
const SECRET: &str = "test-only-client-secret-of-full-length";

fn setup(realm: &str) -> Setup {
    let mut setup = Setup::new("http://127.0.0.1:9/mcp").with_keycloak();
    setup.replace(
        "keycloak.yaml",
        "realm: healthcare",
        &format!("realm: {realm}"),
    );
    setup.set("KEYCLOAK_CLIENT_SECRET", SECRET);
    setup.extended("authentication:\n  mfa:\n    acr: [mfa]\n    scope: mfa\n")
}

/// What `doctor` says: its exit code, and the names of the items that are to be mended.
async fn doctor(setup: &Setup) -> (i32, Vec<String>) {
    let output = Command::new(real::binary())
        .args(["doctor", "--format", "json", "--config"])
        .arg(setup.write())
        .envs(&setup.environment)
        .output()
        .await
        .expect("the program");
    let code = output.status.code().expect("an exit code");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains(SECRET), "no secret is said");
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{code}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    let items = report["items"].as_array().expect("items");
    let bad = items.iter().filter(|item| {
        ["finding", "unknown"].contains(&item["standing"].as_str().expect("a word"))
    });
    (
        code,
        bad.map(|item| item["what"].as_str().expect("a name").to_owned())
            .collect(),
    )
}

/// One thing of the realm that a mutation changes: where it is, and the members that become other.
struct Mutation {
    item: &'static str,
    path: String,
    change: Value,
}

fn of(item: &'static str, path: &str, change: Value) -> Mutation {
    Mutation {
        item,
        path: path.to_owned(),
        change,
    }
}

/// `change` laid over `under`, member by member.
fn laid_over(under: &Value, change: &Value) -> Value {
    match (under, change) {
        (Value::Object(under), Value::Object(change)) => {
            let mut whole = under.clone();
            for (name, value) in change {
                let before = under.get(name).unwrap_or(&Value::Null);
                whole.insert(name.clone(), laid_over(before, value));
            }
            Value::Object(whole)
        }
        _ => change.clone(),
    }
}

async fn get(path: &str) -> Value {
    let (status, found) = administer("GET", &format!("/{REALM}{path}"), &Value::Null).await;
    assert_eq!(status, 200, "{path}");
    found
}

async fn put(path: &str, value: &Value) {
    let (status, said) = administer("PUT", &format!("/{REALM}{path}"), value).await;
    assert!((200..300).contains(&status), "{path}: {status} {said}");
}

/// The identifier of what has `value` as its `member` in the list at `path`.
async fn id_of(path: &str, member: &str, value: &str) -> String {
    let list = get(path).await;
    let list = list.as_array().expect("a list");
    let found = list.iter().find(|one| one[member] == value);
    found.unwrap_or_else(|| panic!("{path} has {value}"))["id"]
        .as_str()
        .expect("an identifier")
        .to_owned()
}

/// The settings of the step of the flow for browsers that has `provider`.
async fn settings_of(provider: &str) -> String {
    let executions = get("/authentication/flows/safeguard%20browser/executions").await;
    let executions = executions.as_array().expect("executions").clone();
    let step = executions
        .iter()
        .find(|one| one["providerId"] == provider)
        .expect("a step");
    format!(
        "/authentication/config/{}",
        step["authenticationConfig"].as_str().expect("settings")
    )
}

async fn mutations() -> Vec<Mutation> {
    let own = format!(
        "/clients/{}",
        id_of("/clients", "clientId", "mcp-server").await
    );
    let people = format!(
        "/clients/{}",
        id_of("/clients", "clientId", "mcp-client").await
    );
    let scopes = get("/client-scopes").await;
    let scope = scopes
        .as_array()
        .expect("scopes")
        .iter()
        .find(|s| s["name"] == "safeguard")
        .expect("the scope")
        .clone();
    let mapper = |name: &str| {
        let mapper = scope["protocolMappers"]
            .as_array()
            .expect("mappers")
            .iter()
            .find(|m| m["name"] == name)
            .expect("a mapper");
        format!(
            "/client-scopes/{}/protocol-mappers/models/{}",
            scope["id"].as_str().expect("an id"),
            mapper["id"].as_str().expect("an id")
        )
    };
    vec![
        of(
            "keycloak.session_lifespan",
            "",
            json!({"ssoSessionMaxLifespan": 36000}),
        ),
        of(
            "keycloak.session_idle",
            "",
            json!({"ssoSessionIdleTimeout": 600}),
        ),
        of(
            "keycloak.token_lifespan",
            "",
            json!({"accessTokenLifespan": 800}),
        ),
        of(
            "keycloak.brute_force",
            "",
            json!({"bruteForceProtected": false}),
        ),
        of(
            "keycloak.password_policy",
            "",
            json!({"passwordPolicy": "notUsername(undefined)"}),
        ),
        of("keycloak.ssl_required", "", json!({"sslRequired": "none"})),
        of(
            "keycloak.registration",
            "",
            json!({"registrationAllowed": true}),
        ),
        of(
            "keycloak.acr",
            "",
            json!({"attributes": {"acr.loa.map": "{\"pwd\":1}"}}),
        ),
        of(
            "keycloak.client",
            &own,
            json!({"directAccessGrantsEnabled": true}),
        ),
        of(
            "keycloak.direct_grants",
            &people,
            json!({"directAccessGrantsEnabled": true}),
        ),
        of(
            "keycloak.pkce",
            &people,
            json!({"attributes": {"pkce.code.challenge.method": ""}}),
        ),
        of(
            "keycloak.backchannel_logout",
            &people,
            json!({"attributes": {"backchannel.logout.session.required": "false"}}),
        ),
        of(
            "keycloak.audience",
            &mapper("audience of the sidecar"),
            json!({"config": {"included.custom.audience": "https://other.example.com"}}),
        ),
        of(
            "keycloak.introspection",
            &mapper("audience of introspection"),
            json!({"config": {"included.client.audience": "account"}}),
        ),
        of(
            "keycloak.amr",
            &mapper("amr"),
            json!({"config": {"access.token.claim": "false"}}),
        ),
        of(
            "keycloak.scope",
            &settings_of("conditional-client-scope").await,
            json!({"config": {"client_scope": "profile"}}),
        ),
        of(
            "keycloak.session_limit",
            &settings_of("user-session-limits").await,
            json!({"config": {"userRealmLimit": "4"}}),
        ),
        of(
            "keycloak.events",
            "/events/config",
            json!({"eventsEnabled": false}),
        ),
        of(
            "keycloak.admin_events",
            "/events/config",
            json!({"adminEventsEnabled": false}),
        ),
    ]
}

#[tokio::test]
async fn the_shipped_realm_has_no_finding_and_each_change_for_the_worse_is_that_finding() {
    let setup = setup(REALM);
    assert_eq!(
        doctor(&setup).await,
        (0, Vec::new()),
        "the realm as shipped"
    );
    for mutation in mutations().await {
        let before = get(&mutation.path).await;
        put(&mutation.path, &laid_over(&before, &mutation.change)).await;
        let found = doctor(&setup).await;
        put(&mutation.path, &before).await;
        assert_eq!(
            found,
            (1, vec![mutation.item.to_owned()]),
            "{}",
            mutation.change
        );
    }
    for (item, provider, name) in [
        ("keycloak.totp", "auth-otp-form", "otp"),
        ("keycloak.webauthn", "webauthn-authenticator", "hwk"),
    ] {
        // What is there is shown masked, and could not be put back.
        let path = settings_of(provider).await;
        let mut settings = get(&path).await;
        settings["config"] = json!({"default.reference.maxAge": "900"});
        put(&path, &settings).await;
        let found = doctor(&setup).await;
        settings["config"]["default.reference.value"] = json!(name);
        put(&path, &settings).await;
        assert_eq!(
            found,
            (1, vec![item.to_owned()]),
            "{provider} without a name"
        );
    }
    // Without its roles the client sees nothing, and says so.
    let own = id_of("/clients", "clientId", "mcp-server").await;
    let user = get(&format!("/clients/{own}/service-account-user")).await;
    let management = id_of("/clients", "clientId", "realm-management").await;
    let roles = format!(
        "/users/{}/role-mappings/clients/{management}",
        user["id"].as_str().expect("an id")
    );
    let had = get(&roles).await;
    administer("DELETE", &format!("/{REALM}{roles}"), &had).await;
    let found = doctor(&setup).await;
    administer("POST", &format!("/{REALM}{roles}"), &had).await;
    let unknown = ["realm", "clients", "flow", "events", "admin_events"]
        .map(|item| format!("keycloak.{item}"));
    assert_eq!(
        found,
        (1, unknown.to_vec()),
        "what can't be seen is a finding"
    );
    assert_eq!(doctor(&setup).await, (0, Vec::new()), "all is as it was");
}

#[tokio::test]
async fn what_does_not_answer_or_lets_the_client_in_is_told_apart() {
    let mut setup = setup(REALM);
    setup.set(
        "KEYCLOAK_CLIENT_SECRET",
        "another-secret-of-full-length-which-is-wrong",
    );
    assert_eq!(
        doctor(&setup).await,
        (1, vec!["keycloak.client".to_owned()])
    );

    setup.replace("keycloak.yaml", "realm: as-shipped", "realm: nowhere");
    let output = Command::new(real::binary())
        .args(["doctor", "--config"])
        .arg(setup.write())
        .envs(&setup.environment)
        .output()
        .await
        .expect("the program");
    assert_eq!(output.status.code(), Some(69), "{output:?}");
}

/// Runs the script that brings a realm to what the shipped one is; its exit code and what it says.
async fn configure(realm: &str, more: &[&str]) -> (i32, String) {
    let script = real::fixture("../../docs/keycloak/configure.py");
    let output = Command::new("python3")
        .arg(script)
        .args([&real::variable("SAFEGUARD_KEYCLOAK_URL"), realm])
        .args(more)
        .env("KEYCLOAK_CA", real::ca())
        .env("KEYCLOAK_ADMIN_TOKEN", administrator().await)
        .env("KEYCLOAK_CLIENT_SECRET", SECRET)
        .output()
        .await
        .expect("python3");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code().expect("an exit code");
    assert!(code < 2 && output.stderr.is_empty(), "{output:?}");
    (code, said)
}

#[tokio::test]
async fn an_existing_realm_is_brought_there_by_the_script_once_and_keeps_the_rest() {
    let realm = json!({"realm": "existing", "enabled": true, "displayName": "Theirs", "loginTheme": "keycloak.v2"});
    let (status, said) = administer("POST", "", &realm).await;
    assert_eq!(status, 201, "{said}");
    let (code, told) = configure("existing", &["--check"]).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("flow safeguard browser: new"), "{told}");
    let (_, before) = administer("GET", "/existing", &Value::Null).await;
    assert_eq!(before["browserFlow"], "browser", "a look changes nothing");

    let (code, told) = configure("existing", &[]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(doctor(&setup("existing")).await, (0, Vec::new()));
    let (_, after) = administer("GET", "/existing", &Value::Null).await;
    assert_eq!(
        after["loginTheme"], "keycloak.v2",
        "what the script doesn't speak of stays"
    );
    let (code, told) = configure("existing", &[]).await;
    assert_eq!((code, told.as_str()), (0, "nothing differs\n"));
}
