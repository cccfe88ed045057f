//! Tokens of the real Keycloak, obtained as a person does: with a password and a one-time code.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::client::plain_request;
use crate::proof::Holder;
use crate::real;
use crate::wait::eventually;

/// `keycloak.client_secret` of the imported realm.
pub const CLIENT_SECRET: &str = "test-only-client-secret";

/// The audience that the realm's mapper writes into tokens of the client `mcp-server`.
pub const AUDIENCE: &str = "https://agents.healthcare.example.com/mcp";

/// One step of a one-time code, in seconds (RFC 6238 §4).
const STEP: i64 = 30;

/// The step of the code that a user gave last: a code is good once, and a wrong one counts towards a lock.
static LAST_STEPS: Mutex<BTreeMap<String, i64>> = Mutex::new(BTreeMap::new());

/// The access token of `user` of the imported realm, who has the one-time secret `secret`, for the client `mcp-server`.
///
/// Two calls for the same user within one step are answered at once, a third waits for the next step.
pub async fn token(user: &str, secret: Option<&str>) -> String {
    token_for("mcp-server", user, secret).await
}

/// The same for another client of the realm.
pub async fn token_for(client: &str, user: &str, secret: Option<&str>) -> String {
    eventually("a token from Keycloak", || async {
        let code = match secret {
            Some(secret) => format!("&totp={}", one_time_code(secret, fresh_step(user)? * STEP)),
            None => String::new(),
        };
        let form = format!(
            "grant_type=password&client_id={client}&client_secret={CLIENT_SECRET}&username={user}&password=test-only-password{code}"
        );
        let (status, answer) = post_form("/realms/healthcare/protocol/openid-connect/token", &form).await;
        (status == 200).then(|| text(&answer, "access_token"))
    })
    .await
}

/// The user's next code, once there is one that was not given yet.
#[must_use]
pub fn fresh_code(user: &str, secret: &str) -> Option<String> {
    Some(one_time_code(secret, fresh_step(user)? * STEP))
}

/// The current step, or the next one, which the realm takes too: the first that this user has not used yet.
fn fresh_step(user: &str) -> Option<i64> {
    let now = crate::tokens::now() / STEP;
    let mut last = LAST_STEPS.lock().expect("no test panicked here");
    let used = last.get(user).copied().unwrap_or_default();
    let step = now.max(used + 1);
    (step <= now + 1).then(|| last.insert(user.to_owned(), step))?;
    Some(step)
}

/// The token of the client itself: software without a person.
pub async fn service_token() -> String {
    let form =
        format!("grant_type=client_credentials&client_id=mcp-server&client_secret={CLIENT_SECRET}");
    let (_, answer) = post_form("/realms/healthcare/protocol/openid-connect/token", &form).await;
    text(&answer, "access_token")
}

/// A token of the server's administrator.
pub async fn administrator() -> String {
    let (_, answer) = post_form(
        "/realms/master/protocol/openid-connect/token",
        "grant_type=password&client_id=admin-cli&username=admin&password=admin",
    )
    .await;
    text(&answer, "access_token")
}

/// A request to the administration of the server, below `/admin/realms`; status and answer.
pub async fn administer(method: &str, path: &str, body: &Value) -> (u16, Value) {
    let administrator = format!("Bearer {}", administrator().await);
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let path = format!("/admin/realms{path}");
    request(
        method,
        &path,
        Some(&administrator),
        "application/json",
        body,
    )
    .await
}

/// Adds a signing key of higher priority to the realm: tokens are signed with it from now on.
pub async fn rotate_keys() {
    let (_, realm) = administer("GET", "/healthcare", &Value::Null).await;
    let priority = crate::tokens::now().to_string();
    let key = json!({
        "name": format!("rotated-{priority}"), "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm["id"],
        "config": {"priority": [priority], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"], "keySize": ["2048"]},
    });
    let (status, _) = administer("POST", "/healthcare/components", &key).await;
    assert_eq!(status, 201, "Keycloak takes a new key");
}

/// The code of RFC 6238 (SHA-1, 6 digits) at a time in seconds since the epoch.
#[must_use]
pub fn one_time_code(secret: impl AsRef<[u8]>, at: i64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_ref()).expect("a key of any length");
    mac.update(&(at / STEP).to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest[19] & 0x0f);
    let word = u32::from_be_bytes([
        digest[offset] & 0x7f,
        digest[offset + 1],
        digest[offset + 2],
        digest[offset + 3],
    ]);
    format!("{:06}", word % 1_000_000)
}

/// The token of `user`, bound to the key of `holder` (RFC 9449 §5).
///
/// # Panics
/// If Keycloak gives none.
pub async fn bound_token(user: &str, secret: &str, holder: &Holder) -> String {
    const PATH: &str = "/realms/healthcare/protocol/openid-connect/token";
    let url = format!("{}{PATH}", real::variable("SAFEGUARD_KEYCLOAK_PLAIN_URL"));
    eventually("a token from Keycloak", || async {
        let code = fresh_code(user, secret)?;
        let form = format!(
            "grant_type=password&client_id=mcp-server&client_secret={CLIENT_SECRET}&username={user}&password=test-only-password&totp={code}"
        );
        let proof = holder.proof("POST", &url, None);
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("dpop", proof.as_str()),
        ];
        let base = real::variable("SAFEGUARD_KEYCLOAK_PLAIN_URL");
        let authority = base.strip_prefix("http://").expect("a plain URL");
        let (status, body) = plain_request(authority, "POST", PATH, &headers, form.into_bytes()).await;
        let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        assert!(status == 200 || answer["error"] == "invalid_grant", "{answer}");
        (status == 200).then(|| {
            assert_eq!(answer["token_type"], "DPoP", "{answer}");
            text(&answer, "access_token")
        })
    })
    .await
}

/// Posts a form to Keycloak; status and answer.
pub async fn post_form(path: &str, form: &str) -> (u16, Value) {
    request(
        "POST",
        path,
        None,
        "application/x-www-form-urlencoded",
        form.as_bytes().to_vec(),
    )
    .await
}

async fn request(
    method: &str,
    path: &str,
    authorization: Option<&str>,
    content_type: &str,
    body: Vec<u8>,
) -> (u16, Value) {
    let base = real::variable("SAFEGUARD_KEYCLOAK_PLAIN_URL");
    let authority = base.strip_prefix("http://").expect("a plain URL");
    let mut headers = vec![("content-type", content_type)];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let (status, body) = plain_request(authority, method, path, &headers, body).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn text(answer: &Value, member: &str) -> String {
    answer[member]
        .as_str()
        .unwrap_or_else(|| {
            panic!(
                "Keycloak answered without {member}: {}",
                answer["error_description"]
            )
        })
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::one_time_code;

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        // The appendix gives eight digits; six are their last.
        let secret = "12345678901234567890";
        for (at, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(one_time_code(secret, at), code);
        }
    }
}
