//! Logins as an MCP client has them: the authorization-code flow with PKCE, a person in a real browser at Keycloak's own pages.

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::browser::Browser;
use crate::keycloak;
use crate::real;
use crate::wait::{eventually, within};

/// The public client of the shipped realm.
pub const CLIENT: &str = "mcp-client";

/// The password of every person of the imported realm.
const PASSWORD: &str = "test-only-password";

/// A person of the imported realm.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// The user's name.
    pub name: &'static str,
    /// The secret of the one-time codes, if the person has one.
    pub secret: Option<&'static str>,
}

/// What a client asks beyond the usual.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// `acr_values`.
    pub acr_values: Option<&'a str>,
    /// `max_age`, in seconds.
    pub max_age: Option<&'a str>,
    /// The scopes; `openid` where there are none.
    pub scope: Option<&'a str>,
}

/// What the client has in the end.
#[expect(missing_debug_implementations, reason = "it holds tokens")]
pub struct Login {
    /// The access token.
    pub token: String,
    /// The pages at which the person had to do something, in order: `password`, `code`, `key`, `new key`.
    pub asked: Vec<&'static str>,
}

impl Login {
    /// The claims of the access token.
    ///
    /// # Panics
    /// If it's no JWT.
    #[must_use]
    pub fn claims(&self) -> Value {
        let payload = self.token.split('.').nth(1).expect("a payload");
        let bytes = URL_SAFE_NO_PAD.decode_to_vec(payload).expect("base64url");
        serde_json::from_slice(&bytes).expect("claims")
    }
}

impl Person {
    /// Signs in for an MCP client; what it gets for its code.
    pub async fn sign_in(&self, browser: &Browser, ask: Ask<'_>) -> Login {
        let back = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let redirect = format!(
            "http://127.0.0.1:{}/callback",
            back.local_addr().expect("an address").port()
        );
        let verifier = uuid::Uuid::new_v4().simple().to_string().repeat(2);
        let challenge = URL_SAFE_NO_PAD.encode_to_string(Sha256::digest(&verifier));
        let state = uuid::Uuid::new_v4().simple().to_string();
        let mut url = url::Url::parse(&format!(
            "{}/realms/healthcare/protocol/openid-connect/auth",
            real::variable("SAFEGUARD_KEYCLOAK_URL")
        ))
        .expect("a URL");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", CLIENT)
            .append_pair("redirect_uri", &redirect)
            .append_pair("scope", ask.scope.unwrap_or("openid"))
            .append_pair("state", &state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        for (name, value) in [("acr_values", ask.acr_values), ("max_age", ask.max_age)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let (answer, asked) = self.follow(browser, url.as_str(), back).await;
        let code = parameter(&answer, "code").unwrap_or_else(|| panic!("no code: {answer}"));
        assert_eq!(
            parameter(&answer, "state"),
            Some(state),
            "the answer is this client's"
        );
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("client_id", CLIENT)
            .append_pair("redirect_uri", &redirect)
            .append_pair("code", &code)
            .append_pair("code_verifier", &verifier)
            .finish();
        let path = "/realms/healthcare/protocol/openid-connect/token";
        let (status, answer) = keycloak::post_form(path, &form).await;
        assert_eq!(status, 200, "{answer}");
        Login {
            token: answer["access_token"].as_str().expect("a token").to_owned(),
            asked,
        }
    }

    /// Follows an authorization request to where it ends; the target of the request that the client gets back, and what was asked.
    pub async fn follow(
        &self,
        browser: &Browser,
        url: &str,
        back: TcpListener,
    ) -> (String, Vec<&'static str>) {
        let end = format!("http://{}/", back.local_addr().expect("an address"));
        let coming_back = tokio::spawn(one_visit(back));
        browser.open(url).await;
        let asked = self.at_the_pages(browser, &end).await;
        let target = within("the way back", coming_back)
            .await
            .expect("a visit of the browser");
        (target, asked)
    }

    /// Does what Keycloak's pages ask until the browser is sent to `end`; what they asked.
    pub async fn at_the_pages(&self, browser: &Browser, end: &str) -> Vec<&'static str> {
        let mut asked = Vec::new();
        loop {
            let (page, button) = self.page(browser, end).await;
            if page == END {
                return asked;
            }
            match page {
                "password" => {
                    if browser.has("#username:not([type=hidden])").await {
                        browser.fill("#username", self.name).await;
                    }
                    browser.fill("#password", PASSWORD).await;
                }
                "code" => {
                    let secret = self.secret.expect("a person with one-time codes");
                    let code = eventually("a fresh code", || async {
                        keycloak::fresh_code(self.name, secret)
                    });
                    browser.fill("#otp", &code.await).await;
                }
                _ => {}
            }
            asked.push(page);
            browser.press_and_leave(button).await;
        }
    }

    /// What stands before the person, and the button that goes on.
    async fn page(&self, browser: &Browser, end: &str) -> (&'static str, &'static str) {
        const PAGES: [(&str, &str, &str); 4] = [
            ("password", "#password", "#kc-login"),
            ("code", "#otp", "#kc-login"),
            (
                "key",
                "#authenticateWebAuthnButton",
                "#authenticateWebAuthnButton",
            ),
            ("new key", "#registerWebAuthn", "#registerWebAuthn"),
        ];
        let waited = tokio::time::timeout(crate::wait::PATIENCE, async {
            loop {
                if browser.url().await.starts_with(end) {
                    return (END, END);
                }
                for (page, sign, button) in PAGES {
                    if browser.has(sign).await {
                        return (page, button);
                    }
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        match waited {
            Ok(page) => page,
            Err(_) => panic!(
                "{} is at no page that is known: {}\n{}",
                self.name,
                browser.url().await,
                browser.text().await
            ),
        }
    }
}

const END: &str = "end";

/// A parameter of the target of a request.
#[must_use]
pub fn parameter(target: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(&format!("http://127.0.0.1{target}")).ok()?;
    let (_, value) = url.query_pairs().find(|(key, _)| key == name)?;
    Some(value.into_owned())
}

/// Answers one visit of the browser to the callback; the target that it asked for.
async fn one_visit(back: TcpListener) -> String {
    loop {
        let (mut socket, _) = back.accept().await.expect("a connection");
        let mut line = String::new();
        let read = BufReader::new(&mut socket).read_line(&mut line).await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone";
        // Chromium may open a connection that it doesn't use.
        let written = socket.write_all(answer.as_bytes()).await;
        if let (Ok(_), Ok(()), Some(target)) = (read, written, line.split(' ').nth(1))
            && target.starts_with("/callback?")
        {
            return target.to_owned();
        }
    }
}
