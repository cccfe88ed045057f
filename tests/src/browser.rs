//! A real browser: Debian's Chromium, driven through its own WebDriver, with a profile of its own that ends with it.
//!
//! It believes only the authorities that it is given (in the certificate store of its profile); nothing is told to ignore a
//! bad certificate. One browser runs at a time, for each takes a core and 300 MB: [`Browser::start`] waits for its turn.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::wait::{eventually, within};

static TURN: Semaphore = Semaphore::const_new(1);

/// A browser that runs.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    driver: Child,
    chromium: Option<u64>,
    _profile: tempfile::TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Browser {
    /// Starts one that believes the authorities in these PEM files.
    ///
    /// # Panics
    /// If Chromium, its driver or `certutil` are not there: `tests/run` installs them.
    pub async fn start(authorities: &[PathBuf]) -> Self {
        let turn = TURN.acquire().await.expect("the semaphore is never closed");
        let profile = tempfile::tempdir().expect("a folder");
        trust(profile.path(), authorities).await;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver: run the integration tests by tests/run, which installs it");
        let port = port_of(&mut driver).await;
        let mut builder = ClientBuilder::new(HttpConnector::new());
        if let Value::Object(capabilities) = capabilities(profile.path()) {
            builder.capabilities(capabilities);
        }
        let client = within(
            "a session of WebDriver",
            builder.connect(&format!("http://127.0.0.1:{port}")),
        )
        .await
        .expect("a session of WebDriver");
        let chromium = client
            .capabilities()
            .and_then(|said| said.get("goog:processID"))
            .and_then(Value::as_u64);
        Self {
            client,
            driver,
            chromium,
            _profile: profile,
            _turn: turn,
        }
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        within("a page", self.client.goto(url))
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Where the browser is.
    pub async fn url(&self) -> String {
        self.client.current_url().await.expect("a URL").to_string()
    }

    /// What a person reads on the page; empty while there is none.
    pub async fn text(&self) -> String {
        match self.client.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Whether the page has an element now.
    pub async fn has(&self, css: &str) -> bool {
        self.client.find(Locator::Css(css)).await.is_ok()
    }

    /// Waits for an element and types into it.
    pub async fn fill(&self, css: &str, text: &str) {
        eventually(css, || async {
            let element = self.client.find(Locator::Css(css)).await.ok()?;
            element.clear().await.ok()?;
            element.send_keys(text).await.ok()
        })
        .await;
    }

    /// Waits for an element and clicks it.
    pub async fn press(&self, css: &str) {
        eventually(css, || async {
            self.client
                .find(Locator::Css(css))
                .await
                .ok()?
                .click()
                .await
                .ok()
        })
        .await;
    }

    /// Clicks an element and waits until its page is gone: nothing is done twice on one page.
    pub async fn press_and_leave(&self, css: &str) {
        self.script("window.stillHere = true").await;
        self.press(css).await;
        eventually("the next page", || async {
            let here = self.client.execute("return window.stillHere", Vec::new());
            // While pages change, and while a dialog is open, there is nothing to ask.
            (here.await.ok()? != Value::Bool(true)).then_some(())
        })
        .await;
    }

    /// Waits until the browser is at a URL that begins so; the whole URL.
    pub async fn at(&self, beginning: &str) -> String {
        eventually(beginning, || async {
            let url = self.client.current_url().await.ok()?.to_string();
            url.starts_with(beginning).then_some(url)
        })
        .await
    }

    /// Runs a script in the page; what it returns.
    pub async fn script(&self, script: &str) -> Value {
        self.client
            .execute(script, Vec::new())
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Forgets who was signed in, and where: all cookies.
    pub async fn forget(&self) {
        let clear = json!({"cmd": "Network.clearBrowserCookies", "params": {}});
        self.client
            .issue_cmd(Extension("goog/cdp/execute".to_owned(), Some(clear)))
            .await
            .expect("no cookie left");
    }

    /// Plugs in a security key that is always touched by its owner, who it has verified (WebAuthn level 2, §11).
    pub async fn plug_in_key(&self) -> String {
        let key = json!({
            "protocol": "ctap2", "transport": "usb", "hasResidentKey": true, "hasUserVerification": true,
            "isUserConsenting": true, "isUserVerified": true,
        });
        let added = self
            .client
            .issue_cmd(Extension("webauthn/authenticator".to_owned(), Some(key)))
            .await
            .expect("a virtual authenticator");
        added.as_str().expect("an identifier").to_owned()
    }

    /// Unplugs a security key, with what it holds.
    pub async fn unplug_key(&self, key: &str) {
        self.client
            .issue_cmd(Extension(format!("webauthn/authenticator/{key}"), None))
            .await
            .expect("an authenticator that was there");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver's group first, so that it begins no other browser; the browser may have left that group.
        let group = self.driver.id().map(|id| format!("-{id}"));
        for target in group
            .into_iter()
            .chain(self.chromium.map(|id| id.to_string()))
        {
            // It may have ended already.
            let _gone = std::process::Command::new("kill")
                .args(["-KILL", "--", &target])
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// A command that the crate does not know: a path below the session, and a body to post; without one it deletes.
#[derive(Debug)]
struct Extension(String, Option<Value>);

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.0
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        match &self.1 {
            Some(body) => (http::Method::POST, Some(body.to_string())),
            None => (http::Method::DELETE, None),
        }
    }
}

fn capabilities(profile: &Path) -> Value {
    let arguments = [
        "--headless=new".to_owned(),
        // The tests run as root, which Chromium's sandbox refuses; it opens nothing but pages of the tests' own parts.
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--disable-background-networking".to_owned(),
        "--no-first-run".to_owned(),
        format!("--user-data-dir={}", profile.join("chromium").display()),
    ];
    json!({"browserName": "chrome", "unhandledPromptBehavior": "accept", "goog:chromeOptions": {"args": arguments}})
}

/// Puts the authorities into the store that Chromium reads beside its own list.
async fn trust(home: &Path, authorities: &[PathBuf]) {
    let store = home.join(".pki/nssdb");
    std::fs::create_dir_all(&store).expect("a folder");
    let store = format!("sql:{}", store.display());
    certutil(&["-N", "-d", &store, "--empty-password"]).await;
    for (number, authority) in authorities.iter().enumerate() {
        let (name, file) = (format!("tests {number}"), authority.display().to_string());
        certutil(&["-A", "-d", &store, "-t", "C,,", "-n", &name, "-i", &file]).await;
    }
}

async fn certutil(arguments: &[&str]) {
    let status = Command::new("certutil")
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .await
        .expect("certutil: run the integration tests by tests/run, which installs it");
    assert!(status.success(), "certutil {arguments:?}: {status}");
}

/// The port that the driver picked: it says so on a line of its own.
async fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
    let said = async {
        loop {
            let line = lines
                .next_line()
                .await
                .expect("text")
                .expect("chromedriver ended at once");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                return port.trim_end_matches('.').parse().expect("a port");
            }
        }
    };
    let port = within("chromedriver's port", said).await;
    // It goes on writing, and must find a reader.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    port
}
