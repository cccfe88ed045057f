//! Logins of people at Keycloak's own pages, in a real browser, with what proves a second factor; and what is asked of them when it is missing or old.

use safeguard_tests::browser::Browser;
use safeguard_tests::client::{Client, Connection};
use safeguard_tests::configuration::Setup;
use safeguard_tests::login::{Ask, Login, Person};
use safeguard_tests::real;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::eventually;
use serde_json::json;

async fn browser() -> Browser {
    Browser::start(&[real::ca()]).await
}

/// A sidecar in front of an upstream that answers everything, with further keys.
async fn sidecar(more: &str) -> (Sidecar, Upstream) {
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let setup = Setup::new(&upstream.url()).with_keycloak().extended(more);
    (Sidecar::start(setup).await, upstream)
}

fn answers(request: &Recorded) -> Option<Reply> {
    let called = request.message()["method"] == "tools/call";
    called.then(|| Reply::Result(structured(&json!({"departments": ["cardiology"]}))))
}

/// The challenge of the answer to a call; none if it was let in.
async fn challenge(sidecar: &Sidecar, login: &Login, tool: &str) -> Option<String> {
    let connection = Connection::open(&sidecar.target(), sidecar.tls(&sidecar.web))
        .await
        .expect("a connection");
    let mut client = Client::new(connection, &login.token);
    let arguments = json!({"name": tool, "arguments": {"patient_id": "p-1"}});
    let call = client.request_message("tools/call", &arguments);
    let answer = client.post(&call).await;
    match answer.status {
        200 => {
            let answer = answer.message(&mut client.others).await;
            assert!(answer["result"].is_object(), "{tool}: {answer}");
            None
        }
        401 => Some(answer.header("www-authenticate").to_owned()),
        other => panic!("{tool} is answered with {other}"),
    }
}

/// A parameter of a challenge.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = challenge.split_once(&format!(", {name}=\""))?;
    rest.split('"').next()
}

const BROWSER: Person = Person {
    name: "dr.browser",
    secret: Some("browser-secret-totp"),
};
const KEY: Person = Person {
    name: "dr.key",
    secret: None,
};
const STEP_UP: Person = Person {
    name: "dr.stepup",
    secret: Some("stepup-secret-for-totp"),
};
const SCOPE: Person = Person {
    name: "dr.scope",
    secret: Some("scope-secret-for-totp"),
};

const ONLY_WEBAUTHN: (&str, &str) = ("      - totp\n", "");

#[tokio::test]
async fn one_time_codes_and_security_keys_prove_a_second_factor_as_the_providers_say() {
    let (both, _one) = sidecar("").await;
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let mut setup = Setup::new(&upstream.url()).with_keycloak();
    setup.replace("auth.yaml", ONLY_WEBAUTHN.0, ONLY_WEBAUTHN.1);
    let only_keys = Sidecar::start(setup).await;
    let browser = browser().await;

    // No parameter says so: the realm asks this client's users for a second factor.
    let code = BROWSER.sign_in(&browser, Ask::default()).await;
    assert_eq!(code.asked, ["password", "code"]);
    let claims = code.claims();
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("mfa"), &json!(["pwd", "otp"])),
        "{claims}"
    );
    assert_eq!(
        challenge(&both, &code, "list_departments").await,
        None,
        "a one-time code is taken"
    );
    let refused = challenge(&only_keys, &code, "list_departments")
        .await
        .expect("a challenge");
    assert_eq!(
        parameter(&refused, "error"),
        Some("insufficient_user_authentication"),
        "{refused}"
    );
    only_keys
        .event("mfa_challenge", |event| {
            event["reason"] == "second_factor_missing"
        })
        .await;

    browser.forget().await;
    let key = browser.plug_in_key().await;
    let enrolled = KEY
        .sign_in(
            &browser,
            Ask {
                acr_values: Some("pwd"),
                ..Ask::default()
            },
        )
        .await;
    assert_eq!(
        enrolled.asked,
        ["password", "new key"],
        "a person without a factor enrols one"
    );
    let refused = challenge(&both, &enrolled, "list_departments")
        .await
        .expect("a challenge");
    assert_eq!(
        parameter(&refused, "error"),
        Some("insufficient_user_authentication"),
        "to enrol proves nothing"
    );

    // In the same session, the key alone is asked for.
    let mfa = Ask {
        acr_values: Some("mfa"),
        ..Ask::default()
    };
    let stronger = KEY.sign_in(&browser, mfa).await;
    assert_eq!(stronger.asked, ["key"]);
    let claims = stronger.claims();
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("mfa"), &json!(["pwd", "hwk"])),
        "{claims}"
    );
    assert_eq!(
        challenge(&only_keys, &stronger, "list_departments").await,
        None,
        "a security key is taken"
    );
    browser.unplug_key(&key).await;
}

#[tokio::test]
async fn a_login_without_a_second_factor_steps_up_as_it_is_told() {
    let (sidecar, _upstream) =
        sidecar("authentication:\n  mfa:\n    acr: [mfa]\n    scope: mfa\n").await;
    let browser = browser().await;
    let weak = STEP_UP
        .sign_in(
            &browser,
            Ask {
                acr_values: Some("pwd"),
                ..Ask::default()
            },
        )
        .await;
    assert_eq!(weak.claims()["acr"], "pwd");

    let told = challenge(&sidecar, &weak, "list_departments")
        .await
        .expect("a challenge");
    assert_eq!(
        parameter(&told, "error"),
        Some("insufficient_user_authentication"),
        "{told}"
    );
    assert_eq!(parameter(&told, "scope"), Some("openid mfa"));
    let ask = Ask {
        acr_values: parameter(&told, "acr_values"),
        max_age: parameter(&told, "max_age"),
        scope: None,
    };
    assert_eq!((ask.acr_values, ask.max_age), (Some("mfa"), Some("900")));
    let event = sidecar
        .event("mfa_challenge", |event| {
            event["reason"] == "second_factor_missing"
        })
        .await;
    assert_eq!(event["subject"]["sub"], weak.claims()["sub"]);

    let strong = STEP_UP.sign_in(&browser, ask).await;
    assert_eq!(
        strong.asked,
        ["code"],
        "in the same session only what is missing"
    );
    assert_eq!(strong.claims()["sid"], weak.claims()["sid"]);
    assert_eq!(strong.claims()["acr"], "mfa");
    assert_eq!(challenge(&sidecar, &strong, "list_departments").await, None);
}

#[tokio::test]
async fn a_client_that_knows_only_scopes_steps_up_by_one() {
    let (sidecar, _upstream) = sidecar("authentication:\n  mfa:\n    scope: mfa\n").await;
    let browser = browser().await;
    let weak = SCOPE
        .sign_in(
            &browser,
            Ask {
                acr_values: Some("pwd"),
                ..Ask::default()
            },
        )
        .await;
    let told = challenge(&sidecar, &weak, "list_departments")
        .await
        .expect("a challenge");

    let ask = Ask {
        acr_values: Some("pwd"),
        scope: parameter(&told, "scope"),
        max_age: None,
    };
    let strong = SCOPE.sign_in(&browser, ask).await;
    assert_eq!(strong.asked, ["code"]);
    assert_eq!(
        strong.claims()["amr"],
        json!(["pwd", "otp"]),
        "{}",
        strong.claims()
    );
    assert_eq!(challenge(&sidecar, &strong, "list_departments").await, None);
}

#[tokio::test]
async fn a_tool_that_wants_a_fresh_login_gets_one() {
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let setup = Setup::new(&upstream.url())
        .with_keycloak()
        .with_policy("max_age: 300", "max_age: 12, acr: mfa");
    let sidecar = Sidecar::start(setup).await;
    let browser = browser().await;
    let person = Person {
        name: "dr.pageonly",
        secret: Some("pageonly-secret-totp"),
    };
    let login = person.sign_in(&browser, Ask::default()).await;

    // Fresh now, old in a while; the rest is let in all the time.
    let told = eventually("a login that is too old", || {
        challenge(&sidecar, &login, "export_records")
    })
    .await;
    assert_eq!(challenge(&sidecar, &login, "list_departments").await, None);
    let ask = Ask {
        acr_values: parameter(&told, "acr_values"),
        max_age: parameter(&told, "max_age"),
        scope: None,
    };
    assert_eq!(
        (ask.acr_values, ask.max_age),
        (Some("mfa"), Some("12")),
        "{told}"
    );
    sidecar
        .event("mfa_challenge", |event| event["reason"] == "step_up")
        .await;

    let again = person.sign_in(&browser, ask).await;
    assert_eq!(again.asked, ["password", "code"], "all of it, anew");
    let (first, second) = (login.claims(), again.claims());
    assert_eq!(first["sid"], second["sid"], "in the same session");
    assert!(first["auth_time"].as_i64() < second["auth_time"].as_i64());
    assert_eq!(challenge(&sidecar, &again, "export_records").await, None);
}
