//! Doubles of the servers that keys come from, written from their public API documentation: Infisical and the transit
//! engine of OpenBao and Vault. Both keep what was asked of them. And SoftHSM, which is real: a token with a key that wraps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clinic::free_port;
use crate::upstream::{Recorded, Reply, Upstream};

/// What a double keeps from its clients: the name or wrapped text of each key.
type Kept = Arc<Mutex<BTreeMap<String, String>>>;

fn json_reply(status: u16, body: &Value) -> Option<Reply> {
    let text = body.to_string().into_bytes();
    Some(Reply::Body(status, "application/json", text))
}

/// The transit engine of OpenBao or Vault at the mount `transit`, with the key `phi`.
#[derive(Debug)]
pub struct Transit {
    port: u16,
    keys: Kept,
    server: Option<Upstream>,
}

impl Transit {
    /// The token that it accepts, and that its logins give.
    pub const TOKEN: &str = "hvs.kestrel-of-transit-0123456789";
    /// The AppRole that may log in.
    pub const SECRET_ID: &str = "kestrel-secret-id-of-transit-0123";

    /// One that is not there yet.
    #[must_use]
    pub fn down() -> Self {
        Self {
            port: free_port(),
            keys: Kept::default(),
            server: None,
        }
    }

    /// One that answers.
    pub async fn start() -> Self {
        let mut transit = Self::down();
        transit.up().await;
        transit
    }

    /// Starts it, where it was said to be.
    pub async fn up(&mut self) {
        let keys = Arc::clone(&self.keys);
        let handler = move |request: &Recorded| transit_answer(request, &keys);
        self.server = Some(Upstream::start_at(self.port, json!([]), handler).await);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// A key of base64, wrapped.
    #[must_use]
    pub fn wrap(&self, key: &str) -> String {
        wrap(key, &self.keys)
    }

    /// `key_sources` with a token.
    #[must_use]
    pub fn section(&self) -> String {
        self.section_with("token: \"${TRANSIT_TOKEN}\"")
    }

    /// `key_sources` with a login.
    #[must_use]
    pub fn section_with(&self, login: &str) -> String {
        format!(
            "key_sources:\n  timeout_seconds: 10\n  transit: {{ url: \"http://127.0.0.1:{}\", key: phi, {login} }}\n",
            self.port
        )
    }

    /// The paths that were asked for.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        paths(self.server.as_ref())
    }
}

fn paths(server: Option<&Upstream>) -> Vec<String> {
    let requests = server.map(Upstream::requests).unwrap_or_default();
    requests.into_iter().map(|request| request.path).collect()
}

fn wrap(key: &str, keys: &Kept) -> String {
    let number = keys.lock().expect("no panic holds it").len();
    let sealed = base64_simd::STANDARD.encode_to_string(format!("wrapped key {number}"));
    let ciphertext = format!("vault:v1:{sealed}");
    keys.lock()
        .expect("no panic holds it")
        .insert(ciphertext.clone(), key.to_owned());
    ciphertext
}

fn transit_answer(request: &Recorded, keys: &Kept) -> Option<Reply> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let refused = |status| json_reply(status, &json!({"errors": ["kestrel words of the server"]}));
    let login = json!({"auth": {"client_token": Transit::TOKEN, "lease_duration": 3600, "renewable": true}});
    match request.path.as_str() {
        "/v1/auth/approle/login" if body["secret_id"] == Transit::SECRET_ID => {
            return json_reply(200, &login);
        }
        "/v1/auth/approle/login" => return refused(400),
        "/v1/auth/kubernetes/login" if body["jwt"] == Infisical::POD_TOKEN => {
            return json_reply(200, &login);
        }
        "/v1/auth/kubernetes/login" => return refused(403),
        _ => {}
    }
    if request.header("x-vault-token") != Some(Transit::TOKEN) {
        return refused(403);
    }
    match request.path.as_str() {
        "/v1/transit/decrypt/phi" => {
            let keys = keys.lock().expect("no panic holds it");
            match keys.get(body["ciphertext"].as_str().unwrap_or_default()) {
                Some(key) => json_reply(200, &json!({"data": {"plaintext": key}})),
                None => refused(400),
            }
        }
        "/v1/transit/datakey/wrapped/phi" if body["bits"] == 256 => {
            let key = base64_simd::STANDARD.encode_to_string(uuid_bytes());
            json_reply(
                200,
                &json!({"data": {"ciphertext": wrap(&key, keys), "key_version": 1}}),
            )
        }
        _ => refused(404),
    }
}

/// 32 random bytes.
fn uuid_bytes() -> Vec<u8> {
    let two = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    two.iter().flat_map(|id| *id.as_bytes()).collect()
}

/// Infisical with one project.
#[derive(Debug)]
pub struct Infisical {
    secrets: Kept,
    server: Upstream,
}

impl Infisical {
    /// The secret of the machine identity `clinic`.
    pub const CLIENT_SECRET: &str = "kestrel-client-secret-of-infisical";
    /// What its logins give, with a number behind it.
    pub const ACCESS: &str = "kestrel-access-token-of-infisical";
    /// The service account token of the pod.
    pub const POD_TOKEN: &str = "kestrel.pod-token.of-kubernetes";

    /// Starts one whose access tokens live for some seconds.
    pub async fn start(seconds: u64) -> Self {
        Self::of(seconds, "/api/v4/secrets/", "projectId").await
    }

    /// An older one, which knows the older address of secrets only.
    pub async fn old() -> Self {
        Self::of(7200, "/api/v3/secrets/raw/", "workspaceId").await
    }

    async fn of(seconds: u64, address: &'static str, project: &'static str) -> Self {
        let secrets = Kept::default();
        let kept = Arc::clone(&secrets);
        let issued = Mutex::new(0);
        let handler = move |request: &Recorded| {
            let name = |path: &str| {
                let tail =
                    format!("?{project}=p-1&environment=prod&secretPath=%2Fclinic%20a&type=shared");
                let name = path.strip_prefix(address)?.strip_suffix(&tail)?;
                Some(name.to_owned())
            };
            infisical_answer(request, &kept, &issued, seconds, name)
        };
        Self {
            secrets,
            server: Upstream::start(json!([]), handler).await,
        }
    }

    /// Stores a secret.
    pub fn set(&self, name: &str, value: &str) {
        let mut secrets = self.secrets.lock().expect("no panic holds it");
        secrets.insert(name.to_owned(), value.to_owned());
    }

    /// `key_sources` with a login.
    #[must_use]
    pub fn section(&self, login: &str) -> String {
        format!(
            "key_sources:\n  infisical: {{ url: \"http://{}\", project: p-1, environment: prod, path: /clinic a, {login} }}\n",
            self.server.address
        )
    }

    /// The paths that were asked for.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        paths(Some(&self.server))
    }
}

fn infisical_answer(
    request: &Recorded,
    secrets: &Kept,
    issued: &Mutex<u32>,
    seconds: u64,
    name_of: impl Fn(&str) -> Option<String>,
) -> Option<Reply> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let refused = |status| json_reply(status, &json!({"message": "kestrel words of the server"}));
    let mut issued = issued.lock().expect("no panic holds it");
    let current = |number: u32| format!("{}-{number}", Infisical::ACCESS);
    let may_have = match request.path.as_str() {
        "/api/v1/auth/universal-auth/login" => {
            body["clientId"] == "clinic" && body["clientSecret"] == Infisical::CLIENT_SECRET
        }
        "/api/v1/auth/kubernetes-auth/login" => {
            body["identityId"] == "pod" && body["jwt"] == Infisical::POD_TOKEN
        }
        "/api/v1/auth/token/renew" => body["accessToken"] == current(*issued),
        path => {
            let bearer = format!("Bearer {}", current(*issued));
            if request.header("authorization") != Some(&bearer) {
                return refused(401);
            }
            let Some(name) = name_of(path) else {
                return refused(404);
            };
            let secrets = secrets.lock().expect("no panic holds it");
            return match secrets.get(&name) {
                Some(value) => json_reply(
                    200,
                    &json!({"secret": {"secretKey": name, "secretValue": value}}),
                ),
                None => refused(404),
            };
        }
    };
    if !may_have {
        return refused(401);
    }
    *issued += 1;
    json_reply(
        200,
        &json!({"accessToken": current(*issued), "expiresIn": seconds, "accessTokenMaxTTL": 7200, "tokenType": "Bearer"}),
    )
}

/// A token of SoftHSM in a folder of its own, with the AES key `kek`.
#[derive(Debug)]
pub struct SoftHsm {
    folder: TempDir,
}

impl SoftHsm {
    /// The user's PIN.
    pub const PIN: &str = "kestrel-pin-2468";
    const LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";

    /// Makes one.
    ///
    /// # Panics
    /// If SoftHSM (Debian's softhsm2) is not there.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = folder.path().join("tokens");
        std::fs::create_dir(&tokens).expect("a folder");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        std::fs::write(folder.path().join("softhsm2.conf"), text).expect("a file");
        let hsm = Self { folder };
        let pins = ["--pin", Self::PIN, "--so-pin", "13572468"];
        hsm.util(&[&["--init-token", "--free", "--label", "clinic"], &pins[..]].concat());
        let kek = hsm.folder.path().join("kek");
        // softhsm2-util reads the file as a text: 32 printable bytes.
        let bytes = uuid::Uuid::new_v4().simple().to_string();
        std::fs::write(&kek, bytes).expect("a file");
        let kek = kek.to_str().expect("UTF-8");
        let rest = [
            "--token",
            "clinic",
            "--label",
            "kek",
            "--id",
            "01",
            "--pin",
            Self::PIN,
        ];
        hsm.util(&[&["--import", kek, "--aes"], &rest[..]].concat());
        std::fs::remove_file(kek).expect("its file");
        hsm
    }

    fn util(&self, arguments: &[&str]) {
        let ended = Command::new("softhsm2-util")
            .args(arguments)
            .env("SOFTHSM2_CONF", self.configuration())
            .output()
            .expect("softhsm2-util: tests/run installs it");
        assert!(ended.status.success(), "{ended:?}");
    }

    /// What `SOFTHSM2_CONF` names.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    /// `key_sources`.
    #[must_use]
    pub fn section(&self) -> String {
        format!(
            "key_sources:\n  pkcs11: {{ module: {}, token: clinic, pin: \"${{PIN}}\", key: kek }}\n",
            Self::LIBRARY
        )
    }

    /// Where the tokens are.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        Path::join(self.folder.path(), "tokens")
    }
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}
