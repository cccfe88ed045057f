//! Second factors that the sidecar enrols and verifies itself: there is no identity provider anywhere in these tests.

use safeguard_tests::browser::Browser;
use safeguard_tests::client::{Client, Connection};
use safeguard_tests::clinic::free_port;
use safeguard_tests::configuration::Setup;
use safeguard_tests::keycloak::one_time_code;
use safeguard_tests::sidecar::{Sidecar, path_text};
use safeguard_tests::tokens::{now, physician, sign, with};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use serde_json::{Value, json};

/// A sidecar with a page of its own, which people reach without a certificate.
struct House {
    sidecar: Sidecar,
    page: u16,
    upstream: Upstream,
}

/// One-time codes of a person, each given once.
struct App {
    secret: Vec<u8>,
    step: i64,
}

impl App {
    fn new(base32: &str) -> Self {
        Self {
            secret: decoded(base32),
            step: 0,
        }
    }

    /// The code of now, or the next one: the first that was not given yet.
    fn code(&mut self) -> String {
        self.step = (now() / 30).max(self.step + 1);
        assert!(self.step <= now() / 30 + 1, "codes come with time");
        one_time_code(&self.secret, self.step * 30)
    }
}

/// Base32 (RFC 4648 §6) without padding.
fn decoded(text: &str) -> Vec<u8> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = text.bytes().flat_map(|c| {
        let value = letters.iter().position(|l| *l == c).expect("base32");
        (0..5).rev().map(move |bit| (value >> bit) & 1 == 1)
    });
    let bits: Vec<bool> = bits.collect();
    let byte = |bits: &[bool]| {
        bits.iter()
            .fold(0, |byte, bit| (byte << 1) | u8::from(*bit))
    };
    bits.chunks_exact(8).map(byte).collect()
}

fn answers(request: &Recorded) -> Option<Reply> {
    let called = request.message()["method"] == "tools/call";
    called.then(|| Reply::Result(structured(&json!({"departments": ["cardiology"]}))))
}

impl House {
    async fn start() -> Self {
        Self::start_with(|setup| setup).await
    }

    async fn start_with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let upstream = Upstream::start(tools_of_the_policy(), answers).await;
        let setup = change(Setup::new(&upstream.url()));
        let (page, factors) = (free_port(), setup.folder.path().join("factors"));
        let more = format!(
            "authentication:\n  mfa:\n    enrolment:\n      directory: {}\n\
             listen:\n  account:\n    address: 127.0.0.1:{page}\n    hosts: [localhost]\n",
            factors.display()
        );
        Self {
            sidecar: Sidecar::start(setup.extended(&more)).await,
            page,
            upstream,
        }
    }

    /// The link of a new invitation.
    async fn invite(&self, subject: &str) -> String {
        let text = self.factor(&["invite", "--subject", subject]).await;
        text.expect("an invitation").trim().to_owned()
    }

    /// `safeguard factor`: what it says, or its complaint.
    async fn factor(&self, arguments: &[&str]) -> Result<String, String> {
        let config = self.sidecar.setup.config();
        let line = [&["factor"], arguments, &["--config", path_text(&config)]].concat();
        let ended = self.sidecar.command(&line).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match ended.status.success() {
            true => Ok(text(&ended.stdout)),
            false => Err(text(&ended.stderr)),
        }
    }

    /// A request of somebody's browser: status, head by name, page.
    async fn ask(&self, (method, path): (&str, &str), body: &str) -> (u16, String) {
        let origin = format!("https://localhost:{}", self.page);
        self.ask_from(&origin, (method, path), body).await
    }

    async fn ask_from(
        &self,
        origin: &str,
        (method, path): (&str, &str),
        body: &str,
    ) -> (u16, String) {
        let mut target = self.sidecar.target();
        target.address.set_port(self.page);
        target.host = format!("localhost:{}", self.page);
        let tls = self
            .sidecar
            .setup
            .authority
            .client_config(None, &[&rustls::version::TLS13]);
        let mut connection = Connection::open(&target, tls).await.expect("a connection");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let headers = [form, ("origin", origin)];
        let headers = if method == "POST" { &headers[..] } else { &[] };
        let sent = connection.send(method, path, headers, body.to_owned());
        let answer = sent.await.expect("an answer");
        assert_eq!(answer.header("cache-control"), "no-store");
        let status = answer.status;
        (
            status,
            String::from_utf8_lossy(&answer.bytes().await).into_owned(),
        )
    }

    /// Opens a link.
    async fn open(&self, url: &str) -> (u16, String) {
        let (_, path) = url.split_once("/auth/").expect("a link");
        self.ask(("GET", &format!("/auth/{path}")), "").await
    }

    /// Sends the code of a page that was opened.
    async fn send(&self, page: &str, code: &str) -> (u16, String) {
        let ticket = between(page, "name=\"t\" value=\"", "\"");
        let body = format!("t={ticket}&code={code}");
        self.ask(("POST", "/auth/factor"), &body).await
    }

    /// Enrols an app for somebody.
    async fn enrol(&self, subject: &str) -> App {
        let link = self.invite(subject).await;
        let (status, page) = self.open(&link).await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("<svg"), "a QR code");
        let mut app = App::new(between(&page, "<code id=\"secret\">", "</code>"));
        let (status, page) = self.send(&page, &app.code()).await;
        assert_eq!(
            (status, page.contains("is enrolled")),
            (200, true),
            "{page}"
        );
        let (status, _) = self.open(&link).await;
        assert_eq!(status, 404, "an invitation serves once");
        app
    }

    /// A client with a token that says nothing of a second factor.
    async fn client(&self, claims: &Value) -> Client {
        self.client_as(&self.sidecar.web, claims).await
    }

    async fn client_as(&self, identity: &safeguard_tests::pki::Identity, claims: &Value) -> Client {
        let tls = self.sidecar.tls(identity);
        let connection = Connection::open(&self.sidecar.target(), tls).await;
        Client::new(connection.expect("a connection"), &sign(claims))
    }

    /// The link that a client is given in the challenge.
    async fn link(&self, client: &mut Client) -> String {
        let ping = client.request_message("ping", &json!({}));
        let answer = client.post(&ping).await.expect_status(401).await;
        let challenge = answer.header("www-authenticate").to_owned();
        answer.bytes().await;
        assert!(
            challenge.contains("error=\"insufficient_user_authentication\""),
            "{challenge}"
        );
        between(&challenge, "error_uri=\"", "\"").to_owned()
    }

    /// Proves a client's second factor.
    async fn prove(&self, client: &mut Client, app: &mut App) {
        let link = self.link(client).await;
        let (status, page) = self.open(&link).await;
        assert_eq!(status, 200, "{page}");
        let (status, page) = self.send(&page, &app.code()).await;
        assert_eq!((status, page.contains("is proved")), (200, true), "{page}");
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let found = text
        .split_once(before)
        .and_then(|(_, rest)| rest.split_once(after));
    found.unwrap_or_else(|| panic!("{before} in {text}")).0
}

/// Claims with one factor.
fn one_factor(subject: &str) -> Value {
    with(physician(subject), &json!({"amr": ["pwd"]}))
}

async fn is_let_in(client: &mut Client) -> bool {
    let ping = client.request_message("ping", &json!({}));
    client.post(&ping).await.status == 200
}

#[tokio::test]
async fn a_one_time_code_of_our_own_opens_the_session_that_it_was_asked_for() {
    let house = House::start().await;
    let mut app = house.enrol("dr.own").await;
    let claims = one_factor("dr.own");
    let mut client = house.client(&claims).await;
    let link = house.link(&mut client).await;
    let (_, page) = house.open(&link).await;
    assert!(page.contains("<b>dr.own</b>") && page.contains("web.healthcare.example.com"));
    let code = app.code();
    let (status, page_after) = house.send(&page, &code).await;
    assert_eq!(status, 200, "{page_after}");
    client.initialize().await;
    client.succeed("list_departments", &json!({})).await;
    let login = house
        .sidecar
        .event("user_login", |event| event["subject"]["sub"] == "dr.own");
    assert_eq!(login.await["subject"]["second_factor"], json!(["otp"]));
    let reason = |reason: &'static str| move |event: &Value| event["reason"] == reason;
    let challenges = house
        .sidecar
        .event("mfa_challenge", reason("second_factor_missing"));
    challenges.await;
    let proved = house
        .sidecar
        .event("mfa_challenge", reason("second_factor_proved"));
    assert_eq!(proved.await["outcome"], "success");
    for told in ["second_factor_invited", "second_factor_enrolled"] {
        house
            .sidecar
            .event("configuration_change", reason(told))
            .await;
    }

    let (status, _) = house.send(&page, &code).await;
    assert_eq!(status, 404, "a link serves once");
    let late = house
        .sidecar
        .event("failed_login_attempt", reason("invitation_refused"));
    late.await;
    let mut other = house.client(&one_factor("dr.own")).await;
    let (_, page) = house.open(&house.link(&mut other).await).await;
    let (status, page) = house.send(&page, &code).await;
    assert_eq!(
        (status, page.contains("used already")),
        (400, true),
        "{page}"
    );
    assert!(is_let_in(&mut client).await, "the first session goes on");

    let listed = house.factor(&["list"]).await.expect("a table");
    assert!(
        listed.contains("yes") && listed.contains("dr.own"),
        "{listed}"
    );
    house
        .factor(&["remove", "--subject", "dr.own"])
        .await
        .expect("removed");
    assert!(
        !is_let_in(&mut client).await,
        "what was proved went with it"
    );
    let kept = Setup::contents(&house.sidecar.setup.folder.path().join("factors"));
    assert_eq!(kept.trim(), "", "nothing of it is left");
}

#[tokio::test]
async fn a_proof_is_not_another_sessions_nor_another_certificates_nor_a_later_logins() {
    let house = House::start().await;
    let mut app = house.enrol("dr.mine").await;
    let claims = one_factor("dr.mine");
    let mut client = house.client(&claims).await;
    house.prove(&mut client, &mut app).await;
    assert!(is_let_in(&mut client).await);

    let sidecar = &house.sidecar;
    let same = house
        .client(&with(claims.clone(), &json!({"jti": "next"})))
        .await;
    assert!(
        is_let_in(&mut { same }).await,
        "the next token of the session"
    );
    let mut stolen = house.client_as(&sidecar.agent, &claims).await;
    assert!(!is_let_in(&mut stolen).await, "by another certificate");
    let mut other = house
        .client(&with(claims.clone(), &json!({"sid": "other"})))
        .await;
    assert!(!is_let_in(&mut other).await, "in another session");
    let later = json!({"auth_time": now() + 1, "iat": now() + 1});
    let mut again = house.client(&with(claims, &later)).await;
    assert!(!is_let_in(&mut again).await, "after another login");
    assert!(is_let_in(&mut client).await, "it still is this one's");
}

#[tokio::test]
async fn wrong_codes_lock_a_person_out_and_a_restart_forgets_neither_them_nor_the_app() {
    let mut house = House::start().await;
    let mut app = house.enrol("dr.clumsy").await;
    let claims = one_factor("dr.clumsy");
    let mut client = house.client(&claims).await;
    let (_, page) = house.open(&house.link(&mut client).await).await;
    for tries in 1..=5 {
        let (status, page) = house.send(&page, "12345a").await;
        assert_eq!(status, 400, "{page}");
        let over = page.contains("Too many wrong answers on this page");
        assert_eq!(over, tries == 5, "{page}");
    }
    let wrong = |event: &Value| event["reason"] == "second_factor_wrong";
    house.sidecar.event("failed_login_attempt", wrong).await;

    house.sidecar.stop().await;
    house.sidecar.launch_again();
    house.sidecar.ready().await;
    let mut client = house.client(&claims).await;
    let (status, page) = house.open(&house.link(&mut client).await).await;
    assert_eq!(
        (status, page.contains("Wait a few minutes")),
        (400, true),
        "{page}"
    );
    let code = app.code();
    let (status, page) = house.send(&page, &code).await;
    assert_eq!(
        (status, page.contains("Wait a few minutes")),
        (400, true),
        "{page}"
    );
    assert!(
        !is_let_in(&mut client).await,
        "the right code is not looked at"
    );

    // An invitation forgives, and the app goes on serving.
    house.invite("dr.clumsy").await;
    let (_, page) = house.open(&house.link(&mut client).await).await;
    let (status, page) = house.send(&page, &code).await;
    assert_eq!(status, 200, "{page}");
    assert!(is_let_in(&mut client).await);
}

#[tokio::test]
async fn a_client_that_opens_pages_is_asked_to_at_its_first_message_and_at_a_step_up() {
    let house = House::start().await;
    let mut app = house.enrol("dr.pages").await;
    let old = json!({"auth_time": now() - 400});
    let claims = with(one_factor("dr.pages"), &old);
    let mut client = house.client(&claims).await;
    let first = json!({"jsonrpc": "2.0", "id": "one", "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {"form": {}, "url": {}}},
        "clientInfo": {"name": "tests", "version": "1"}}});
    let answer = client.post(&first).await.expect_status(200).await;
    assert_eq!(answer.header("www-authenticate"), "");
    let answer = answer.json().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!("one"), &json!(-32042))
    );
    let asked = &answer["error"]["data"]["elicitations"][0];
    assert_eq!(asked["mode"], "url");
    assert!(asked["elicitationId"].is_string() && asked["message"].is_string());
    let (_, page) = house.open(asked["url"].as_str().expect("a URL")).await;
    let (status, _) = house.send(&page, &app.code()).await;
    assert_eq!(status, 200);

    let answer = client.post(&first).await.expect_status(200).await;
    client.session = Some(answer.header("mcp-session-id").to_owned());
    assert!(answer.message(&mut client.others).await["result"].is_object());
    let arguments = json!({"patient_id": "p-1"});
    client.succeed("delete_record", &arguments).await;
    house
        .factor(&["remove", "--subject", "dr.pages"])
        .await
        .expect("removed");
    let refused = client.call("delete_record", &arguments).await;
    assert_eq!(
        refused["error"]["code"], -32042,
        "by its MCP session: {refused}"
    );
}

#[tokio::test]
async fn a_client_of_the_modern_revision_is_asked_in_a_result_and_comes_again() {
    let both = "upstream:\n  protocol_versions: [\"2025-11-25\", \"2026-07-28\"]\n";
    let house = House::start_with(|setup| setup.with_policy("upstream:\n", both)).await;
    let mut app = house.enrol("dr.modern").await;
    let mut client = house.client(&one_factor("dr.modern")).await;
    let bearer = format!("Bearer {}", client.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "list_departments"),
    ];
    let mut call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": "list_departments", "arguments": {},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}}}}});
    let sent = client
        .connection
        .send("POST", "/mcp", &headers, call.to_string());
    let answer = sent.await.expect("an answer").expect_status(200).await;
    let answer = answer.json().await;
    assert_eq!(
        (&answer["id"], &answer["result"]["resultType"]),
        (&json!(7), &json!("input_required"))
    );
    let asked = &answer["result"]["inputRequests"]["safeguard_second_factor"];
    assert_eq!(asked["method"], "elicitation/create");
    let url = asked["params"]["url"].as_str().expect("a URL");
    let (_, page) = house.open(url).await;
    let (status, page) = house.send(&page, &app.code()).await;
    assert_eq!(status, 200, "{page}");

    call["params"]["inputResponses"] = json!({"safeguard_second_factor": {"action": "accept"}});
    let sent = client
        .connection
        .send("POST", "/mcp", &headers, call.to_string());
    let answer = sent.await.expect("an answer").expect_status(200).await;
    let answer = answer.message(&mut Vec::new()).await;
    assert!(
        answer["result"]["structuredContent"].is_object(),
        "{answer}"
    );
    let called = house.upstream.messages("tools/call");
    assert_eq!(called.len(), 1, "nothing unproved went up");
    assert!(
        called[0]["params"].get("inputResponses").is_none(),
        "what was for us"
    );
}

#[tokio::test]
async fn a_second_factor_that_a_token_shows_is_made_fresh_on_the_page() {
    let house = House::start().await;
    let mut app = house.enrol("dr.stale").await;
    let claims = with(physician("dr.stale"), &json!({"auth_time": now() - 400}));
    let mut client = house.client(&claims).await;
    client.initialize().await;
    let arguments = json!({"name": "delete_record", "arguments": {"patient_id": "p-1"}});
    let call = client.request_message("tools/call", &arguments);
    let answer = client.post(&call).await.expect_status(401).await;
    let challenge = answer.header("www-authenticate").to_owned();
    answer.bytes().await;
    assert!(challenge.contains("max_age=\"300\""), "{challenge}");
    let (_, page) = house.open(between(&challenge, "error_uri=\"", "\"")).await;
    let (status, page) = house.send(&page, &app.code()).await;
    assert_eq!(status, 200, "{page}");
    client
        .succeed("delete_record", &arguments["arguments"])
        .await;
}

#[tokio::test]
async fn the_page_is_hardened_and_opens_for_nobody_without_a_link() {
    let house = House::start().await;
    for path in [
        "/auth/factor",
        "/auth/factor?t=x",
        "/auth/factor?i=x",
        "/auth/factor?i=x.y",
    ] {
        let (status, page) = house.ask(("GET", path), "").await;
        assert_eq!((status, page.contains("<form")), (404, false), "{path}");
    }
    let (status, _) = house.ask(("POST", "/auth/factor"), "t=x&code=123456").await;
    assert_eq!(status, 404);
    let foreign = "https://evil.example.com";
    let (status, _) = house
        .ask_from(foreign, ("POST", "/auth/factor"), "t=x&code=1")
        .await;
    assert_eq!(status, 403);
    let mut target = house.sidecar.target();
    target.address.set_port(house.page);
    let tls = house
        .sidecar
        .setup
        .authority
        .client_config(None, &[&rustls::version::TLS13]);
    let mut connection = Connection::open(&target, tls).await.expect("a connection");
    let answer = connection
        .send("GET", "/auth/factor", &[], "")
        .await
        .expect("an answer");
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src https://localhost:"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(answer.header("x-frame-options"), "DENY");
    answer.bytes().await;
    let who = house
        .factor(&["invite", "--subject", "x", "--issuer", "https://evil"])
        .await;
    assert!(
        who.expect_err("no issuer of ours")
            .contains("mcp-server-prod")
    );
}

#[tokio::test]
async fn a_security_key_is_enrolled_and_used_in_a_real_browser() {
    let house = House::start().await;
    let authority = house.sidecar.setup.folder.path().join("tls/ca.pem");
    let browser = Browser::start(&[authority]).await;
    let key = browser.plug_in_key().await;
    browser.open(&house.invite("dr.key").await).await;
    browser.press_and_leave("#use-key").await;
    let done = browser.text().await;
    assert!(done.contains("is enrolled"), "{done}");

    let mut client = house.client(&one_factor("dr.key")).await;
    browser.open(&house.link(&mut client).await).await;
    assert!(!browser.has("#code").await, "no app is enrolled");
    browser.press_and_leave("#use-key").await;
    let done = browser.text().await;
    assert!(done.contains("is proved"), "{done}");
    client.initialize().await;
    client.succeed("list_departments", &json!({})).await;
    let login = house
        .sidecar
        .event("user_login", |event| event["subject"]["sub"] == "dr.key");
    assert_eq!(login.await["subject"]["second_factor"], json!(["hwk"]));

    // Another key answers nothing.
    browser.unplug_key(&key).await;
    browser.plug_in_key().await;
    let mut other = house.client(&one_factor("dr.key")).await;
    browser.open(&house.link(&mut other).await).await;
    browser.press("#use-key").await;
    assert!(!is_let_in(&mut other).await);
}
