//! The messages that are measured: a `tools/call` of 1 KB with six PHI fields, its answer, and a long list of records.
//!
//! Names and values are made up. The PHI values are all different from one another and from everything else in a
//! message, so that a search for them in what the upstream received proves something.

use std::sync::Arc;

use safeguard_vault::canonical::canonicalize;
use safeguard_vault::mac::RecordMac;
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_vault::{Format, KeyMaterial, Opener, Sealer, Wrap};
use serde_json::{Value, json};

/// What the bench's policy calls its domain.
pub const DOMAIN: &str = "bench/ehr";
/// The id of the PHI key.
pub const PHI_KEY_ID: &str = "phi-bench";
/// `keys.phi`, base64. For benches only: it protects made-up values.
pub const PHI_KEY: &str = "cGhpLWtleS1vZi10aGUtYmVuY2gtMDEyMzQ1Njc4OWE=";
/// `keys.integrity`, base64.
pub const INTEGRITY_KEY: &str = "aW50ZWdyaXR5LWtleS1vZi10aGUtYmVuY2gtMDEyMzQ=";
/// `keys.audit`, base64.
pub const AUDIT_KEY: &str = "YXVkaXQta2V5LW9mLXRoZS1iZW5jaC0wMTIzNDU2Nzg=";
/// Any moment after the keys' dates, in seconds since 1970 (2026-11-22).
pub const NOW_UNIX: i64 = 1_795_305_600;

/// The PHI members of a record: the policy's name and the value as JSON. The shapes are the seed's: strings, a record
/// number, a list, a list of objects, an object.
pub const PHI: [(&str, &str); 6] = [
    ("ssn", r#""943-71-5820""#),
    ("date_of_birth", r#""1957-03-28""#),
    ("medical_record_number", r#""MRN-40718265""#),
    (
        "diagnosis",
        r#"["E11.65 type 2 diabetes","I10 hypertension"]"#,
    ),
    (
        "medications",
        r#"[{"name":"metformin","dose":"850 mg"},{"name":"lisinopril","dose":"10 mg"}]"#,
    ),
    (
        "test_results",
        r#"{"hba1c":8.4,"ldl":131,"egfr":"74 mL/min"}"#,
    ),
];

/// Texts that stand in the PHI values and nowhere else: what must never reach the upstream.
pub const SECRETS: [&str; 6] = [
    "943-71-5820",
    "1957-03-28",
    "MRN-40718265",
    "hypertension",
    "metformin",
    "mL/min",
];

/// Members of a record that are no PHI, so that the text has the length of a real one.
const PLAIN: &str = r#""department":"cardiology","status":"active","ward":"4 North","bed":12,"admitted":"2026-11-20T08:15:00","attending":"practitioner-0417","plan":"plan-7f3a","allergies_reviewed":true,"schema":"clinic.record.v3","tags":["follow-up","telemetry","diet"],"links":{"chart":"chart://p-000123/2026","images":"img://p-000123/7"}"#;

/// What else an agent sends along.
const CONTEXT: &str = r#"{"conversation":"c-51d0a3f2","turn":7,"agent":"chart-web 4.2","locale":"en-US","requested":"2026-11-22T09:30:00","why":"morning round of the ward, prepared list","limits":{"records":1,"history_days":90}}"#;

/// The names that a policy must list as no PHI for these messages to pass whole. The integrity members are among them
/// for the answers of [`UPDATE`], whose rule knows a record in the arguments only.
pub const NOT_PHI: [&str; 20] = [
    "patient_id",
    "department",
    "status",
    "ward",
    "bed",
    "admitted",
    "attending",
    "plan",
    "allergies_reviewed",
    "schema",
    "tags",
    "links",
    "chart",
    "images",
    "reason",
    "stored",
    "integrity_hash",
    "created_at",
    "created_by",
    "version",
];

/// The tool whose calls carry a record up: it gets its hash.
pub const UPDATE: &str = "update_record";
/// The tool whose answers carry a record down: it is verified.
pub const READ: &str = "read_record";

fn data(phi: &[(&str, String)]) -> String {
    let phi: Vec<String> = phi
        .iter()
        .map(|(name, json)| format!("\"{name}\":{json}"))
        .collect();
    format!("{{{},{PLAIN}}}", phi.join(","))
}

fn clear() -> Vec<(&'static str, String)> {
    PHI.iter()
        .map(|(name, json)| (*name, (*json).to_owned()))
        .collect()
}

/// A record's `data` in clear: what the hash covers.
#[must_use]
pub fn record_data() -> String {
    data(&clear())
}

/// A call of [`UPDATE`] with a record of six PHI fields: 1 KB.
#[must_use]
pub fn update_call() -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{UPDATE}","arguments":{{"patient_id":"p-000123","record":{{"patient_id":"p-000123","data":{},"version":2}},"context":{CONTEXT}}}}}}}"#,
        record_data()
    )
}

/// A call of [`READ`] that names what it looks for by six PHI fields: 1 KB.
#[must_use]
pub fn read_call() -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{READ}","arguments":{{"patient_id":"p-000123","reason":"ward round","match":{},"context":{CONTEXT}}}}}}}"#,
        record_data()
    )
}

/// The answer to both in clear, the record with its hash under `integrity_key`.
#[must_use]
pub fn clear_answer(integrity: &RecordMac) -> String {
    answer(&record_data(), integrity)
}

/// `count` answers to both as an upstream that stores sealed values gives them, each sealed with a salt of its own, as
/// records are that were written one by one.
///
/// # Panics
/// If the vault can't seal.
#[must_use]
pub fn sealed_answers(count: usize, ring: &KeyRing, integrity: &RecordMac) -> Vec<String> {
    (0..count)
        .map(|_| answer(&data(&sealed(ring)), integrity))
        .collect()
}

fn sealed(ring: &KeyRing) -> Vec<(&'static str, String)> {
    let mut sealer = Sealer::new(ring, DOMAIN, Format::Native, Wrap::Object, NOW_UNIX)
        .expect("a key that seals now");
    let mut seal = |name: &str, json: &str| {
        let mut out = Vec::new();
        sealer
            .seal(name, None, json.as_bytes(), &mut out)
            .expect("a value that can be sealed");
        String::from_utf8(out).expect("JSON text")
    };
    PHI.iter()
        .map(|(name, json)| (*name, seal(name, json)))
        .collect()
}

fn answer(data: &str, integrity: &RecordMac) -> String {
    let canonical = canonicalize(record_data().as_bytes()).expect("a canonical form");
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"one record"}}],"structuredContent":{{"record":{{"patient_id":"p-000123","data":{data},"integrity_hash":"{}","created_at":"2026-11-20T08:15:00.000001","created_by":"dr-0417","version":3}}}},"isError":false}}}}"#,
        integrity.hex(&canonical)
    )
}

/// An answer with records until it is at least `bytes` long.
#[must_use]
pub fn long_answer(bytes: usize) -> String {
    let record = record_data();
    let count = bytes.div_ceil(record.len() + 1);
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[],"structuredContent":{{"records":[{}]}},"isError":false}}}}"#,
        vec![record; count].join(",")
    )
}

/// The bench's PHI ring.
///
/// # Panics
/// Never: the key is a constant.
#[must_use]
pub fn ring() -> Arc<KeyRing> {
    let key = KeyMaterial::from_base64(PHI_KEY).expect("32 bytes");
    let key = RingKey {
        id: PHI_KEY_ID.to_owned(),
        from_unix: 0,
        key,
    };
    Arc::new(KeyRing::new(vec![key]).expect("one key"))
}

/// The bench's record MAC.
///
/// # Panics
/// Never: the key is a constant.
#[must_use]
pub fn integrity() -> RecordMac {
    let key = KeyMaterial::from_base64(INTEGRITY_KEY).expect("32 bytes");
    RecordMac::new(key.expose())
}

/// Whether the PHI of a sealed answer opens to the values that were sealed: what the bench asserts of itself.
///
/// # Panics
/// If the text is no answer of this module's.
#[must_use]
pub fn opens(sealed_answer: &str, opener: &Opener) -> bool {
    let answer: Value = serde_json::from_str(sealed_answer).expect("JSON");
    let data = &answer["result"]["structuredContent"]["record"]["data"];
    PHI.iter().all(|(name, json)| {
        let token = data[*name]["_value"].as_str().expect("an envelope");
        opener
            .open(token, name, None)
            .is_ok_and(|plain| plain.expose() == *json)
    })
}

/// A physician of cardiology with a second factor, as the bench's issuer says it.
#[must_use]
pub fn claims(issuer: &str, audience: &str, now_unix: i64, lifetime_seconds: i64) -> Value {
    json!({
        "exp": now_unix + lifetime_seconds, "iat": now_unix, "auth_time": now_unix, "jti": format!("bench-{now_unix}"),
        "iss": issuer, "aud": [audience, "account"], "sub": "2f6f1b6e-8b57-4f3c-9d53-4f0b2a9d7c11", "typ": "Bearer",
        "azp": "chart-web", "sid": format!("9f7c2a54-0000-4000-8000-{now_unix:012}"), "acr": "mfa", "amr": ["pwd", "otp"],
        "realm_access": {"roles": ["physician", "offline_access", "uma_authorization"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid profile email", "email_verified": true, "name": "Dana Reyes",
        "preferred_username": "dreyes", "given_name": "Dana", "family_name": "Reyes",
        "department": "cardiology", "purpose_of_use": "TREAT",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_one_kilobyte_with_six_secrets() {
        for call in [update_call(), read_call()] {
            assert!((900..1100).contains(&call.len()), "{}", call.len());
            assert!(serde_json::from_str::<Value>(&call).is_ok());
            assert!(
                SECRETS
                    .iter()
                    .all(|secret| call.matches(secret).count() == 1)
            );
        }
    }

    #[test]
    fn sealed_answers_hold_no_secret_and_open() {
        let ring = ring();
        let answers = sealed_answers(3, &ring, &integrity());
        let opener = Opener::new(Arc::clone(&ring), DOMAIN);
        for answer in &answers {
            assert!(!SECRETS.iter().any(|secret| answer.contains(secret)));
            assert!(opens(answer, &opener));
        }
        assert_ne!(answers.first(), answers.last());
    }
}
