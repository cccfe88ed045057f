//! A realm of one test in the real Keycloak, reached through a relay that can be cut: its issuer is the relay's address.

use serde_json::{Value, json};

use crate::client::plain_request;
use crate::configuration::Setup;
use crate::keycloak::{CLIENT_SECRET, one_time_code};
use crate::real;
use crate::relay::Relay;
use crate::wait::eventually;

/// The password of every person of a realm.
const PASSWORD: &str = "test-only-password";
/// The one-time secret of every person who is made here.
const OTP_SECRET: &str = "secret-for-totp-of-a-test";

/// A realm with the shape of the fixture's.
#[derive(Debug)]
pub struct Realm {
    /// Its name.
    pub name: String,
    /// Between whoever reads `keycloak.server_url` and Keycloak.
    pub relay: Relay,
}

impl Realm {
    /// Makes one whose client `mcp-server` may read events, as it is shipped.
    pub async fn create() -> Self {
        let url = real::variable("SAFEGUARD_KEYCLOAK_URL");
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
        let relay = Relay::start(port.expect("a port")).await;
        let document = std::fs::read_to_string(real::variable("SAFEGUARD_REALM"));
        let document = filled(&document.expect("the realm of the tests"));
        let mut document: Value = serde_json::from_str(&document).expect("JSON");
        let name = format!("realm-{}", relay.port);
        document["realm"] = json!(name);
        document["attributes"]["frontendUrl"] = json!(format!("https://localhost:{}", relay.port));
        let realm = Self { name, relay };
        realm.admin("POST", "/admin/realms", Some(document)).await;
        realm
    }

    /// Makes one whose client may not.
    pub async fn without_role() -> Self {
        let realm = Self::create().await;
        let path = |rest: &str| format!("/admin/realms/{}/{rest}", realm.name);
        let client = path("clients?clientId=mcp-server");
        let client = realm.admin("GET", &client, None).await[0]["id"].clone();
        let account = path(&format!("clients/{}/service-account-user", text(&client)));
        let account = realm.admin("GET", &account, None).await["id"].clone();
        let owner = path("clients?clientId=realm-management");
        let owner = realm.admin("GET", &owner, None).await[0]["id"].clone();
        let mapping = path(&format!(
            "users/{}/role-mappings/clients/{}",
            text(&account),
            text(&owner)
        ));
        let roles = realm.admin("GET", &mapping, None).await;
        realm.admin("DELETE", &mapping, Some(roles)).await;
        realm
    }

    /// A sidecar's configuration for it.
    #[must_use]
    pub fn setup(&self, upstream: &str, more: &str) -> Setup {
        let mut setup = Setup::new(upstream).with_keycloak();
        let url = real::variable("SAFEGUARD_KEYCLOAK_URL");
        let relay = format!("https://localhost:{}", self.relay.port);
        setup.replace("keycloak.yaml", &url, &relay);
        setup.replace(
            "keycloak.yaml",
            "realm: healthcare",
            &format!("realm: {}", self.name),
        );
        setup.extended(more)
    }

    /// What an administrator of the master realm asks.
    ///
    /// # Panics
    /// If Keycloak says no.
    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin";
        let path_of_token = "/realms/master/protocol/openid-connect/token";
        let (_, token) = ask("POST", path_of_token, None, FORM, form.into()).await;
        let bearer = format!("Bearer {}", text(&token["access_token"]));
        let body = body.map(|body| body.to_string().into_bytes());
        let media = "application/json";
        let (status, answer) =
            ask(method, path, Some(&bearer), media, body.unwrap_or_default()).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// The same below this realm.
    pub async fn change(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("/admin/realms/{}/{path}", self.name);
        self.admin(method, &path, Some(body)).await
    }

    /// Makes a physician with password and one-time code; the id.
    pub async fn person(&self, name: &str) -> String {
        let person = json!({
            "username": name, "enabled": true, "email": format!("{name}@clinic.example"), "firstName": "Given", "lastName": "Family",
            "credentials": [
                {"type": "password", "value": PASSWORD, "temporary": false},
                {"type": "otp", "secretData": json!({"value": OTP_SECRET}).to_string(),
                 "credentialData": json!({"subType": "totp", "digits": 6, "counter": 0, "period": 30, "algorithm": "HmacSHA1"}).to_string()},
            ],
        });
        self.change("POST", "users", person).await;
        let path = format!(
            "/admin/realms/{}/users?exact=true&username={name}",
            self.name
        );
        let id = text(&self.admin("GET", &path, None).await[0]["id"]).to_owned();
        let role = format!("/admin/realms/{}/roles/physician", self.name);
        let role = self.admin("GET", &role, None).await;
        let mapping = format!("users/{id}/role-mappings/realm");
        self.change("POST", &mapping, json!([role])).await;
        id
    }

    /// An attempt to log in with a password and the person's one-time code: the status, and the token.
    pub async fn log_in(&self, name: &str, password: &str) -> (u16, String) {
        let code = one_time_code(OTP_SECRET, crate::tokens::now());
        let form = format!(
            "grant_type=password&client_id=mcp-server&client_secret={CLIENT_SECRET}&username={name}&password={password}&totp={code}&scope=openid"
        );
        let path = format!("/realms/{}/protocol/openid-connect/token", self.name);
        let (status, answer) = ask("POST", &path, None, FORM, form.into_bytes()).await;
        (
            status,
            answer["access_token"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }

    /// A person's token. A one-time code is good once in its step: a second call waits for the next.
    pub async fn token(&self, name: &str) -> String {
        eventually("a token", || async {
            let (status, token) = self.log_in(name, PASSWORD).await;
            (status == 200).then_some(token)
        })
        .await
    }

    /// Ends a person's logins, as an administrator does in the console: clients hear of it by back-channel logout.
    pub async fn log_out(&self, id: &str) {
        self.change("POST", &format!("users/{id}/logout"), json!({}))
            .await;
    }

    /// Where logouts are told to (OpenID Connect Back-Channel Logout 1.0 §2.2).
    pub async fn tells_logouts_to(&self, url: &str) {
        let path = format!("/admin/realms/{}/clients?clientId=mcp-server", self.name);
        let mut client = self.admin("GET", &path, None).await[0].clone();
        client["attributes"]["backchannel.logout.url"] = json!(url);
        let path = format!("clients/{}", text(&client["id"]));
        self.change("PUT", &path, client).await;
    }

    /// Takes a token back (RFC 7009).
    ///
    /// # Panics
    /// If Keycloak says no.
    pub async fn revoke(&self, token: &str) {
        let form = format!("client_id=mcp-server&client_secret={CLIENT_SECRET}&token={token}");
        let path = format!("/realms/{}/protocol/openid-connect/revoke", self.name);
        let (status, answer) = ask("POST", &path, None, FORM, form.into_bytes()).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Adds a signing key of higher priority.
    pub async fn rotate_keys(&self) {
        let path = format!("/admin/realms/{}", self.name);
        let realm = self.admin("GET", &path, None).await;
        let key = json!({
            "name": "rotated", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm["id"],
            "config": {"priority": ["1000"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"], "keySize": ["2048"]},
        });
        self.change("POST", "components", key).await;
    }
}

/// What an import fills in from the environment, a request has to say: the secret, and the defaults of the rest.
fn filled(document: &str) -> String {
    const VARIABLE: &str = "${SAFEGUARD_";
    let mut text = document.replace("${KEYCLOAK_CLIENT_SECRET}", CLIENT_SECRET);
    while let Some(start) = text.find(VARIABLE) {
        let end = start + text[start..].find('}').expect("its end");
        let (_, default) = text[start..end].split_once(':').expect("its default");
        let default = default.to_owned();
        text.replace_range(start..=end, &default);
    }
    text
}

const FORM: &str = "application/x-www-form-urlencoded";

async fn ask(
    method: &str,
    path: &str,
    authorization: Option<&str>,
    media: &str,
    body: Vec<u8>,
) -> (u16, Value) {
    let base = real::variable("SAFEGUARD_KEYCLOAK_PLAIN_URL");
    let authority = base.strip_prefix("http://").expect("a plain URL");
    let mut headers = vec![("content-type", media)];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let (status, body) = plain_request(authority, method, path, &headers, body).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text of Keycloak's")
}
