//! The endpoints below `/auth/`: local tokens had, renewed and given back.

use std::collections::BTreeMap;

use http::StatusCode;
use safeguard_tests::client::{Client, Connection};
use safeguard_tests::configuration::Setup;
use safeguard_tests::keycloak;
use safeguard_tests::pki::Identity;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{SECRET, physician, sign, sign_as};
use safeguard_tests::upstream::{Upstream, tools_of_the_policy};
use serde_json::{Value, json};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A sidecar that takes local tokens alone.
async fn plain() -> (Upstream, Sidecar) {
    let upstream = Upstream::start(tools_of_the_policy(), |_: &_| None).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    (upstream, sidecar)
}

async fn with_keycloak() -> (Upstream, Sidecar) {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url()).with_keycloak()).await;
    (upstream, sidecar)
}

async fn ping(client: &mut Client) -> u16 {
    let ping = client.request_message("ping", &json!({}));
    client.post(&ping).await.status
}

/// Whether a token is taken at the MCP endpoint.
async fn is_taken(sidecar: &Sidecar, token: &str) -> bool {
    let mut client = Client::new(sidecar.connect().await, token);
    match ping(&mut client).await {
        200 => true,
        401 => false,
        other => panic!("{other} is no answer to a ping"),
    }
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    let text = |text: &str| text.bytes().map(byte).collect::<String>();
    let pairs = parameters.iter();
    let pairs = pairs.map(|(name, value)| format!("{}={}", text(name), text(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Posts a form with the certificate of a client.
async fn post(
    sidecar: &Sidecar,
    identity: &Identity,
    path: &str,
    parameters: &[(&str, &str)],
) -> (u16, Value) {
    let connection = Connection::open(&sidecar.target(), sidecar.tls(identity)).await;
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let form = encoded(parameters);
    let mut connection = connection.expect("a connection");
    let answer = connection.send("POST", path, &headers, form).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.header("cache-control"), "no-store");
    let status = answer.status;
    let body = answer.bytes().await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn token(sidecar: &Sidecar, parameters: &[(&str, &str)]) -> (u16, Value) {
    post(sidecar, &sidecar.web, "/auth/token", parameters).await
}

async fn exchange(sidecar: &Sidecar, subject: &str, more: &[(&str, &str)]) -> (u16, Value) {
    let mut parameters = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", subject),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    parameters.extend(more);
    token(sidecar, &parameters).await
}

async fn refresh(sidecar: &Sidecar, refresh_token: &str) -> (u16, Value) {
    let parameters = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
    ];
    token(sidecar, &parameters).await
}

fn text(answer: &Value, member: &str) -> String {
    let text = answer[member].as_str();
    text.unwrap_or_else(|| {
        panic!(
            "no {member}: {} {}",
            answer["error"], answer["error_description"]
        )
    })
    .to_owned()
}

/// What a JWT says.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(payload);
    serde_json::from_slice(&payload.expect("base64url")).expect("JSON")
}

async fn log_out(sidecar: &Sidecar, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let mut connection = sidecar.connect().await;
    connection
        .send("POST", "/auth/logout", &headers, "")
        .await
        .expect("an answer")
}

#[tokio::test]
async fn a_login_becomes_a_local_token_that_is_renewed_until_an_old_one_is_shown_again() {
    let (_upstream, sidecar) = with_keycloak().await;
    let login = keycloak::token("dr.second", Some("second-secret-for-totp")).await;
    let url = sidecar.url();
    let wanted = [("audience", "healthcare-agents"), ("resource", &url)];
    let (status, first) = exchange(&sidecar, &login, &wanted).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["token_type"], "Bearer");
    assert_eq!(first["issued_token_type"], ACCESS_TOKEN);
    assert!(
        (1..=900).contains(&first["expires_in"].as_i64().expect("seconds")),
        "{}",
        first["expires_in"]
    );

    let (provider, local) = (claims(&login), claims(&text(&first, "access_token")));
    for same in [
        "sub",
        "sid",
        "amr",
        "acr",
        "azp",
        "purpose_of_use",
        "department",
        "scope",
    ] {
        assert_eq!(local[same], provider[same], "{same}");
    }
    assert_eq!(local["iss"], "mcp-server-prod");
    assert_eq!(local["login"]["iss"], provider["iss"]);
    assert!(
        local["cnf"]["x5t#S256"].is_string(),
        "bound to the certificate"
    );
    assert!(
        local["roles"]
            .as_array()
            .expect("roles")
            .contains(&json!("physician"))
    );

    let mut by_local = sidecar.client(&text(&first, "access_token")).await;
    by_local.succeed("list_departments", &json!({})).await;
    assert!(
        is_taken(&sidecar, &login).await,
        "login and local token are one session"
    );
    assert!(is_taken(&sidecar, &text(&first, "access_token")).await);
    assert_eq!(sidecar.metric("safeguard_sessions_active", &[]).await, 1.0);

    let other = Connection::open(&sidecar.target(), sidecar.tls(&sidecar.agent)).await;
    let mut agent = Client::new(other.expect("a connection"), &text(&first, "access_token"));
    assert_eq!(ping(&mut agent).await, 401, "another certificate");

    let (status, second) = refresh(&sidecar, &text(&first, "refresh_token")).await;
    assert_eq!(status, 200, "{second}");
    let again = refresh(&sidecar, &text(&first, "refresh_token")).await;
    assert_eq!(
        again.1["refresh_token"], second["refresh_token"],
        "an answer that got lost"
    );
    assert!(is_taken(&sidecar, &text(&second, "access_token")).await);
    let foreign = [
        ("grant_type", "refresh_token"),
        (
            "refresh_token",
            second["refresh_token"].as_str().expect("one"),
        ),
    ];
    let (status, refused) = post(&sidecar, &sidecar.agent, "/auth/token", &foreign).await;
    assert_eq!(
        (status, &refused["error"]),
        (400, &json!("invalid_grant")),
        "another certificate"
    );
    let (status, third) = refresh(&sidecar, &text(&second, "refresh_token")).await;
    assert_eq!(status, 200, "and it changed nothing");

    let (status, reused) = refresh(&sidecar, &text(&first, "refresh_token")).await;
    assert_eq!((status, &reused["error"]), (400, &json!("invalid_grant")));
    let (status, _) = refresh(&sidecar, &text(&third, "refresh_token")).await;
    assert_eq!(status, 400, "the family has ended");
    for over in [
        &login,
        &text(&third, "access_token"),
        &text(&first, "access_token"),
    ] {
        assert!(!is_taken(&sidecar, over).await, "and the session with it");
    }
    let by_reuse = |event: &Value| event["reason"] == "refresh_token_reused";
    let revoked = sidecar.event("token_revoked", by_reuse).await;
    assert_eq!(revoked["subject"]["sub"], provider["sub"]);
    sidecar.event("user_logout", by_reuse).await;
    let events = sidecar.events();
    let logins = events.iter().filter(|event| event["event"] == "user_login");
    assert_eq!(
        logins.count(),
        1,
        "one session from the first request to the last"
    );
    let counted = sidecar
        .metric("safeguard_authentications_total", &["refresh_token_reused"])
        .await;
    assert!(counted >= 1.0);
}

#[tokio::test]
async fn what_is_no_fresh_login_with_two_factors_for_this_endpoint_is_not_exchanged() {
    let (_upstream, sidecar) = with_keycloak().await;
    let refused = |answer: (u16, Value)| (answer.0, text(&answer.1, "error"));
    let invalid = (400, "invalid_request".to_owned());
    let one_factor = keycloak::token("dr.onefactor", None).await;
    assert_eq!(refused(exchange(&sidecar, &one_factor, &[]).await), invalid);
    let missing = |event: &Value| event["reason"] == "second_factor_missing";
    sidecar.event("failed_login_attempt", missing).await;

    let service = keycloak::service_token().await;
    assert_eq!(refused(exchange(&sidecar, &service, &[]).await), invalid);
    let local = sign(&physician("dr.local"));
    assert_eq!(refused(exchange(&sidecar, &local, &[]).await), invalid);
    let is_local = |event: &Value| event["reason"] == "subject_token_local";
    sidecar.event("failed_login_attempt", is_local).await;
    assert_eq!(refused(exchange(&sidecar, "nonsense", &[]).await), invalid);

    let login = keycloak::token("dr.grey", Some("grey-secret-for-totp")).await;
    let target = (400, "invalid_target".to_owned());
    for (more, expected) in [
        (("audience", "another"), target.clone()),
        (("resource", "https://elsewhere.example.com/mcp"), target),
        (("scope", "openid admin"), (400, "invalid_scope".to_owned())),
        (
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:refresh_token",
            ),
            invalid.clone(),
        ),
        (("actor_token", login.as_str()), invalid.clone()),
        (("subject_token", login.as_str()), invalid.clone()),
    ] {
        assert_eq!(
            refused(exchange(&sidecar, &login, &[more]).await),
            expected,
            "{}",
            more.0
        );
    }
    let grant = (400, "unsupported_grant_type".to_owned());
    for (parameters, expected) in [
        (&[("grant_type", "password")][..], grant),
        (&[("grant_type", EXCHANGE)], invalid.clone()),
        (&[], invalid),
        (
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", "sgr1.AAAA"),
            ],
            (400, "invalid_grant".to_owned()),
        ),
    ] {
        assert_eq!(
            refused(token(&sidecar, parameters).await),
            expected,
            "{parameters:?}"
        );
    }
    let (status, narrow) = exchange(&sidecar, &login, &[("scope", "profile")]).await;
    assert_eq!(
        (status, &narrow["scope"]),
        (200, &json!("profile")),
        "{narrow}"
    );
}

#[tokio::test]
async fn no_token_of_these_endpoints_is_in_a_log_the_trail_or_the_metrics() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let mut setup = Setup::new(&upstream.url()).with_keycloak();
    setup.set("RUST_LOG", "trace");
    let mut sidecar = Sidecar::start(setup).await;
    let login = keycloak::token("dr.known", Some("known-secret-for-totp")).await;
    let (_, first) = exchange(&sidecar, &login, &[]).await;
    let (_, second) = refresh(&sidecar, &text(&first, "refresh_token")).await;
    let (_, third) = refresh(&sidecar, &text(&second, "refresh_token")).await;
    let (status, _) = refresh(
        &sidecar,
        &text(&second, "refresh_token").replace("sgr1.", "sgr2."),
    )
    .await;
    assert_eq!(status, 400);
    let given_back = [("token", third["refresh_token"].as_str().expect("one"))];
    let (status, _) = post(&sidecar, &sidecar.web, "/auth/logout", &given_back).await;
    assert_eq!(status, 200);
    let (status, _) = post(&sidecar, &sidecar.web, "/auth/logout", &given_back).await;
    assert_eq!(status, 200, "once more is no error (RFC 7009)");
    assert!(
        !is_taken(&sidecar, &text(&third, "access_token")).await,
        "its session is over"
    );
    let metrics = sidecar.metrics().await;
    sidecar.stop().await;
    let shown = [
        metrics,
        sidecar.log(),
        Setup::contents(&sidecar.setup.spool()),
    ]
    .concat();
    assert!(
        shown.contains("auth/token"),
        "there is something to look through"
    );
    let mut tokens = vec![login];
    for answer in [&first, &second, &third] {
        tokens.extend([text(answer, "access_token"), text(answer, "refresh_token")]);
    }
    for token in tokens {
        let signature = token.rsplit('.').next().expect("the last part");
        assert!(!shown.contains(signature), "a token was written down");
    }
}

#[tokio::test]
async fn a_restart_keeps_access_tokens_and_forgets_refresh_tokens() {
    let (_upstream, mut sidecar) = with_keycloak().await;
    let login = keycloak::token("dr.rust", Some("rust-secret-for-totp")).await;
    let (_, first) = exchange(&sidecar, &login, &[]).await;
    assert!(is_taken(&sidecar, &text(&first, "access_token")).await);
    sidecar.kill().await;
    sidecar.launch_again();
    sidecar.ready().await;
    assert!(is_taken(&sidecar, &text(&first, "access_token")).await);
    let (status, refused) = refresh(&sidecar, &text(&first, "refresh_token")).await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    let (status, anew) = exchange(&sidecar, &login, &[]).await;
    assert_eq!(status, 200, "the login is exchanged once more: {anew}");

    let newest = text(&anew, "refresh_token");
    let (one, other) = tokio::join!(refresh(&sidecar, &newest), refresh(&sidecar, &newest));
    assert_eq!((one.0, other.0), (200, 200), "two threads of one client");
    assert_eq!(
        one.1["refresh_token"], other.1["refresh_token"],
        "one of them turned the family"
    );
    let left = log_out(&sidecar, &text(&one.1, "access_token")).await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    let (status, refused) = refresh(&sidecar, &text(&one.1, "refresh_token")).await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    assert!(
        !is_taken(&sidecar, &login).await,
        "nor the login that it was had for"
    );
}

#[tokio::test]
async fn a_local_token_and_its_refresh_token_are_over_with_the_session() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let mut setup = Setup::new(&upstream.url()).with_keycloak();
    setup.replace(
        "keycloak.yaml",
        "session_timeout: 900",
        "session_timeout: 15",
    );
    setup.replace("keycloak.yaml", "idle_timeout: 300", "idle_timeout: 15");
    let sidecar = Sidecar::start(setup).await;
    let login = keycloak::token("nurse.joy", Some("joy-secret-for-totp")).await;
    let (status, first) = exchange(&sidecar, &login, &[]).await;
    assert_eq!(status, 200, "{first}");
    let life = first["expires_in"].as_i64().expect("seconds");
    assert!((1..=15).contains(&life), "{life} s, of a session of 15 s");
    let mut newest = text(&first, "refresh_token");
    let mut access = text(&first, "access_token");
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(500));
    loop {
        let (status, answer) = refresh(&sidecar, &newest).await;
        if status != 200 {
            assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
            break;
        }
        let ends_at = claims(&text(&answer, "access_token"))["exp"].as_i64();
        let began_at = claims(&login)["iat"].as_i64().expect("seconds");
        assert!(
            ends_at.expect("seconds") <= began_at + 15,
            "a refresh stretches nothing"
        );
        newest = text(&answer, "refresh_token");
        access = text(&answer, "access_token");
        ticks.tick().await;
    }
    assert!(!is_taken(&sidecar, &access).await);
    let (status, refused) = exchange(&sidecar, &login, &[]).await;
    assert_eq!(
        (status, &refused["error"]),
        (400, &json!("invalid_request")),
        "nor is the login"
    );
}

#[tokio::test]
async fn pages_of_named_origins_may_ask_for_tokens_and_no_others() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let named = "listen:\n  cors:\n    origins: [\"https://app.example.com\"]\n";
    let setup = Setup::new(&upstream.url()).with_keycloak().extended(named);
    let sidecar = Sidecar::start(setup).await;
    let mut connection = sidecar.connect().await;
    for (origin, status, shown) in [
        ("https://app.example.com", 204, "https://app.example.com"),
        ("https://evil.example.com", 403, ""),
    ] {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        let answer = connection
            .send("OPTIONS", "/auth/token", &headers, "")
            .await;
        let answer = answer.expect("an answer");
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (status, shown)
        );
    }
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (headers, body, status) in [
        (
            &[("origin", "https://app.example.com"), form][..],
            "grant_type=password",
            400,
        ),
        (&[form], &"a=b&".repeat(20_000)[..], 413),
        (&[("content-type", "application/json")], "{}", 415),
    ] {
        let mut connection = sidecar.connect().await;
        let answer = connection
            .send("POST", "/auth/token", headers, body.to_owned())
            .await;
        assert_eq!(answer.expect("an answer").status, status);
    }
    let limited = sidecar
        .metric("safeguard_limits_reached_total", &["auth_body_bytes"])
        .await;
    assert!(limited >= 1.0);
}

#[tokio::test]
async fn a_rotated_secret_is_taken_up_at_once_and_the_old_one_serves_for_its_window() {
    const NEW: &str = "test-only-new-secret-of-local-tokens-9876543210";
    let upstream = Upstream::answering(json!({"content": []})).await;
    let mut setup = Setup::new(&upstream.url());
    let folder = setup.folder.path().to_owned();
    let write = |secrets: &BTreeMap<&str, &str>| {
        for (name, secret) in secrets {
            std::fs::write(folder.join(name), secret).expect("a file");
        }
    };
    write(&BTreeMap::from([("jwt", SECRET)]));
    let file = format!("${{file:{}}}", folder.join("jwt").display());
    setup.replace("auth.yaml", "${JWT_SECRET}", &format!("\"{file}\""));
    let mut sidecar = Sidecar::start(setup).await;
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let (old, new) = (
        sign(&physician("dr.old")),
        sign_as(&header, &physician("dr.new"), NEW),
    );
    assert!(is_taken(&sidecar, &old).await && !is_taken(&sidecar, &new).await);

    write(&BTreeMap::from([("jwt", NEW), ("jwt-before", SECRET)]));
    let before = format!(
        "    previous: {{ secret: \"${{file:{}}}\", until: 2999-12-31 }}\n    issuer:",
        folder.join("jwt-before").display()
    );
    sidecar.setup.replace("auth.yaml", "    issuer:", &before);
    sidecar.setup.write();
    sidecar.signal("HUP");
    let rotated = |event: &Value| event["reason"] == "jwt_secret_reloaded";
    sidecar.event("key_rotated", rotated).await;
    assert!(is_taken(&sidecar, &old).await && is_taken(&sidecar, &new).await);

    sidecar
        .setup
        .replace("auth.yaml", "2999-12-31", "2020-12-31");
    sidecar.setup.write();
    sidecar.signal("HUP");
    safeguard_tests::wait::eventually("the end of the window", || async {
        (!is_taken(&sidecar, &old).await).then_some(())
    })
    .await;
    assert!(is_taken(&sidecar, &new).await);
}

#[tokio::test]
async fn a_logout_ends_the_session_with_its_reason() {
    let (_upstream, sidecar) = plain().await;
    let token = sign(&physician("dr.leaves"));
    let mut client = sidecar.client(&token).await;
    assert_eq!(ping(&mut client).await, 200);
    assert_eq!(
        log_out(&sidecar, &token).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(ping(&mut client).await, 401, "the session is over");
    assert_eq!(
        log_out(&sidecar, &token).await.status,
        401,
        "it is over already"
    );
    let left = |event: &Value| event["subject"]["sub"] == "dr.leaves";
    let event = sidecar.event("user_logout", left).await;
    assert_eq!(event["reason"], "logout");
}

#[tokio::test]
async fn what_is_no_endpoint_is_not_found_and_what_asks_too_often_is_told_to_wait() {
    let (_upstream, sidecar) = plain().await;
    let (status, _) = token(&sidecar, &[("grant_type", "refresh_token")]).await;
    assert_eq!(
        status, 404,
        "without a provider there is nothing to exchange"
    );
    let mut connection = sidecar.connect().await;
    let found = connection.send("POST", "/auth/", &[], "").await;
    assert_eq!(found.expect("an answer").status, 404);
    let got = connection.send("GET", "/auth/logout", &[], "").await;
    assert_eq!(got.expect("an answer").status, 405);
    let mut last = None;
    for _ in 0..1_000 {
        let answer = connection.send("POST", "/auth/logout", &[], "").await;
        let answer = answer.expect("an answer");
        if answer.status == 429 {
            last = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
        answer.bytes().await;
    }
    let answer = last.expect("a source has a bound");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("cache-control"), "no-store");
    let limited = sidecar
        .metric("safeguard_limits_reached_total", &["auth_rate_source"])
        .await;
    assert!(limited >= 1.0);
}

/// One request to the listener of accounts, as somebody without a client certificate.
async fn at_account(
    sidecar: &Sidecar,
    port: u16,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
) -> u16 {
    let mut target = sidecar.target();
    target.address.set_port(port);
    let tls = sidecar
        .setup
        .authority
        .client_config(None, &[&rustls::version::TLS13]);
    let mut connection = Connection::open(&target, tls).await.expect("a connection");
    let answer = connection.send(method, path, headers, "").await;
    answer.expect("an answer").status
}

#[tokio::test]
async fn the_listener_of_accounts_lets_anybody_in_and_to_nothing_of_the_clients() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let port = safeguard_tests::clinic::free_port();
    let account = format!(
        "listen:\n  account:\n    address: 127.0.0.1:{port}\n    hosts: [sidecar.clinic.svc]\n"
    );
    let sidecar = Sidecar::start(Setup::new(&upstream.url()).extended(&account)).await;
    let bearer = format!("Bearer {}", sign(&physician("dr.account")));
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    for asked in [
        ("POST", "/mcp"),
        ("GET", "/mcp"),
        ("POST", "/auth/token"),
        ("POST", "/auth/logout"),
        ("GET", "/.well-known/oauth-protected-resource"),
        ("OPTIONS", "/mcp"),
        ("GET", "/metrics"),
    ] {
        assert_eq!(
            at_account(&sidecar, port, asked, &headers).await,
            404,
            "{asked:?}"
        );
    }
    let foreign = [("origin", "https://evil.example.com")];
    assert_eq!(
        at_account(&sidecar, port, ("GET", "/mcp"), &foreign).await,
        403
    );
    assert!(upstream.requests().is_empty(), "the server heard nothing");
    let two = sidecar
        .setup
        .authority
        .client_config(None, &[&rustls::version::TLS13]);
    let mut target = sidecar.target();
    let refused = Connection::open(&target, two.clone()).await;
    let answer = match refused {
        Ok(mut connection) => connection
            .send("POST", "/auth/logout", &headers, "")
            .await
            .map(|_| ()),
        Err(failure) => Err(failure),
    };
    assert!(
        answer.is_err(),
        "the listener of clients asks for a certificate"
    );
    target.address.set_port(port);
    let tls = safeguard_tests::client::open_tls(&target, two, &["h2", "http/1.1"]).await;
    let tls = tls.expect("a handshake");
    assert_eq!(
        tls.get_ref().1.alpn_protocol(),
        Some(&b"http/1.1"[..]),
        "one request at a time"
    );
}
