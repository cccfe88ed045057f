//! Tokens that are bound to a key or a certificate: what serves, and everything that doesn't.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::double::Signer;
use super::*;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const POST: Asked<'_> = Asked {
    method: "POST",
    path: "/mcp",
};

fn hash(bytes: impl AsRef<[u8]>) -> String {
    b64(digest(&SHA256, bytes.as_ref()))
}

/// The public key as a proof's header has it.
fn jwk(signer: &Signer) -> Value {
    let mut jwk = signer.jwk("k");
    for name in ["kid", "use", "alg"] {
        jwk.as_object_mut().unwrap().remove(name);
    }
    jwk
}

/// RFC 7638 §3: the members in the order of their names.
fn thumbprint(signer: &Signer) -> String {
    let jwk = jwk(signer);
    let sorted: std::collections::BTreeMap<_, _> = jwk.as_object().unwrap().iter().collect();
    hash(serde_json::to_string(&sorted).unwrap())
}

struct Lab {
    authenticator: Authenticator,
    signer: Signer,
    token: String,
}

impl Lab {
    fn new(signer: Signer) -> Self {
        Self::with(signer, BindingSettings::default())
    }

    fn with(signer: Signer, binding: BindingSettings) -> Self {
        let mut settings = settings(Some(local_settings()), None);
        settings.binding = binding;
        let token = token(&json!({"cnf": {"jkt": thumbprint(&signer)}}));
        Self {
            authenticator: Authenticator::new(settings).unwrap(),
            signer,
            token,
        }
    }

    fn claims(&self, jti: &str) -> Value {
        json!({"jti": jti, "htm": "POST", "htu": "https://agents.example.com/mcp", "iat": NOW,
               "ath": hash(&self.token)})
    }

    fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": self.signer.alg(), "jwk": jwk(&self.signer)})
    }

    fn proof(&self, header: &Value, claims: &Value) -> String {
        self.signer.sign(&header.to_string(), &claims.to_string())
    }

    async fn ask(&self, authorization: &str, proof: ProofHeader<'_>, now: i64) -> &'static str {
        let token = BearerToken::parse(authorization.as_bytes()).unwrap();
        let asked = self.authenticator.present(&token, proof, POST, now).await;
        asked.map_or_else(|error| error.code(), |_| "ok")
    }

    async fn proved(&self, proof: &str) -> &'static str {
        let authorization = format!("DPoP {}", self.token);
        self.ask(&authorization, ProofHeader::One(proof), NOW).await
    }

    async fn with_claims(&self, changes: Value) -> &'static str {
        let claims = with(&self.claims("changed"), &changes);
        self.proved(&self.proof(&self.header(), &claims)).await
    }

    async fn with_header(&self, changes: Value) -> &'static str {
        let header = with(&self.header(), &changes);
        let claims = self.claims("header");
        self.proved(&self.proof(&header, &claims)).await
    }
}

fn token(changes: &Value) -> String {
    let claims = with(
        &with(
            &user_claims(),
            &json!({"iss": "mcp-server-prod", "aud": "healthcare-agents", "roles": ["physician"]}),
        ),
        changes,
    );
    hs256(SECRET, HEADER, &claims.to_string())
}

#[tokio::test]
async fn a_bound_token_serves_with_a_proof_of_its_key_and_each_proof_once() {
    for signer in [Signer::ec(), Signer::ed(), Signer::rsa()] {
        let lab = Lab::new(signer);
        let proof = lab.proof(&lab.header(), &lab.claims("a"));
        assert_eq!(lab.proved(&proof).await, "ok", "{}", lab.signer.alg());
        assert_eq!(lab.proved(&proof).await, "proof_replayed");
        let next = lab.proof(&lab.header(), &lab.claims("b"));
        assert_eq!(lab.proved(&next).await, "ok");
    }
}

#[tokio::test]
async fn a_bound_token_is_no_bearer_token() {
    let lab = Lab::new(Signer::ec());
    let proof = lab.proof(&lab.header(), &lab.claims("a"));
    let bearer = format!("Bearer {}", lab.token);
    for header in [ProofHeader::Absent, ProofHeader::One(&proof)] {
        assert_eq!(lab.ask(&bearer, header, NOW).await, "proof_required");
    }
    let dpop = format!("DPoP {}", lab.token);
    let without = lab.ask(&dpop, ProofHeader::Absent, NOW).await;
    assert_eq!(without, "proof_required");
    let two = lab.ask(&dpop, ProofHeader::Bad, NOW).await;
    assert_eq!(two, "proof_malformed");
    // Where no request is, as at /auth/token, there is no proof.
    assert_eq!(
        code(&lab.authenticator, &lab.token, NOW).await,
        "proof_required"
    );
    // None of that used the proof up, and the token's part was remembered meanwhile.
    assert_eq!(lab.proved(&proof).await, "ok");
}

#[tokio::test]
async fn a_proof_for_anything_else_is_refused_with_its_reason() {
    let lab = Lab::new(Signer::ec());
    for (changes, reason) in [
        (json!({"htm": "GET"}), "proof_other_request"),
        (json!({"htm": "post"}), "proof_other_request"),
        (json!({"htm": null}), "proof_malformed"),
        (
            json!({"htu": "https://agents.example.com/other"}),
            "proof_other_request",
        ),
        (
            json!({"htu": "https://agents.example.com:8443/mcp"}),
            "proof_other_request",
        ),
        (
            json!({"htu": "https://agents.example.com.evil/mcp"}),
            "proof_other_request",
        ),
        (
            json!({"htu": "https://agents.example.com@evil/mcp"}),
            "proof_other_request",
        ),
        (
            json!({"htu": "https://x@agents.example.com/mcp"}),
            "proof_other_request",
        ),
        (
            json!({"htu": "http://agents.example.com/mcp"}),
            "proof_other_request",
        ),
        (json!({"htu": "/mcp"}), "proof_other_request"),
        (json!({"htu": "not a url"}), "proof_other_request"),
        (json!({"htu": 7}), "proof_malformed"),
        (json!({"ath": hash("another token")}), "proof_other_token"),
        (json!({"ath": "AAAA"}), "proof_other_token"),
        (json!({"ath": null}), "proof_malformed"),
        (json!({"iat": NOW - 61}), "proof_stale"),
        (json!({"iat": NOW + 6}), "proof_stale"),
        (json!({"iat": null}), "proof_malformed"),
        (json!({"iat": "1800000000"}), "proof_malformed"),
        (json!({"iat": -1}), "proof_malformed"),
        (json!({"iat": 1e300}), "proof_malformed"),
        (json!({"jti": null}), "proof_malformed"),
        (json!({"jti": ""}), "proof_malformed"),
        (json!({"jti": "x".repeat(4096)}), "proof_malformed"),
        (json!({"jti": "a\u{0}b"}), "proof_malformed"),
    ] {
        assert_eq!(lab.with_claims(changes.clone()).await, reason, "{changes}");
    }
    for (jti, htu) in [
        ("query", "https://agents.example.com/mcp?x=1#y"),
        ("port", "https://agents.example.com:443/mcp"),
        ("case", "HTTPS://AGENTS.example.com/mcp"),
    ] {
        let changes = json!({"htu": htu, "jti": jti});
        assert_eq!(lab.with_claims(changes).await, "ok", "{htu}");
    }
}

#[tokio::test]
async fn a_proof_with_another_header_is_refused_with_its_reason() {
    let lab = Lab::new(Signer::ec());
    let private = with(&jwk(&lab.signer), &json!({"d": "AAAA"}));
    let padded = with(&jwk(&lab.signer), &json!({"x": "AAA="}));
    for (changes, reason) in [
        (json!({"typ": "JWT"}), "proof_malformed"),
        (json!({"typ": null}), "proof_malformed"),
        (json!({"crit": ["b64"]}), "proof_malformed"),
        (json!({"b64": false}), "proof_malformed"),
        (json!({"x5c": []}), "proof_malformed"),
        (json!({"alg": "none"}), "proof_algorithm_refused"),
        (json!({"alg": "HS256"}), "proof_algorithm_refused"),
        (json!({"alg": "ES384"}), "proof_algorithm_refused"),
        (json!({"alg": "RS256"}), "proof_key_refused"),
        (json!({"alg": "EdDSA"}), "proof_key_refused"),
        (json!({"jwk": null}), "proof_key_refused"),
        (json!({"jwk": {}}), "proof_key_refused"),
        (json!({"jwk": private}), "proof_key_refused"),
        (json!({"jwk": padded}), "proof_key_refused"),
        (
            json!({"jwk": {"kty": "oct", "k": "AAAA"}}),
            "proof_key_refused",
        ),
        (json!({"jwk": jwk(&Signer::ec())}), "proof_bad_signature"),
    ] {
        assert_eq!(lab.with_header(changes.clone()).await, reason, "{changes}");
    }
    let stranger = Lab::new(Signer::ec());
    let claims = lab.claims("stranger");
    let proof = stranger.proof(&stranger.header(), &claims);
    assert_eq!(lab.proved(&proof).await, "proof_other_key");
    let long = "a".repeat(PROOF_BYTES_MAX + 1);
    for text in ["", "a.b", "a.b.c", "....", &long] {
        assert_eq!(lab.proved(text).await, "proof_malformed");
    }
}

#[tokio::test]
async fn required_accepted_and_ignored_mean_what_they_say() {
    let plain = format!("Bearer {}", token(&json!({})));
    let certified = token(&json!({"cnf": {"x5t#S256": b64([7; 32])}}));
    let certified = format!("Bearer {certified}");
    let with = |dpop, certificate| {
        let nonce = false;
        let binding = BindingSettings {
            dpop,
            certificate,
            nonce,
        };
        Lab::with(Signer::ec(), binding)
    };
    let accepted = with(Demand::Accepted, Demand::Accepted);
    assert_eq!(accepted.ask(&plain, ProofHeader::Absent, NOW).await, "ok");
    let dpop = plain.replace("Bearer", "DPoP");
    let unbound = accepted.ask(&dpop, ProofHeader::Absent, NOW).await;
    assert_eq!(unbound, "proof_unbound");
    let key = with(Demand::Required, Demand::Accepted);
    for text in [&plain, &certified, &dpop] {
        assert_eq!(
            key.ask(text, ProofHeader::Absent, NOW).await,
            "proof_unbound"
        );
    }
    let proof = key.proof(&key.header(), &key.claims("a"));
    assert_eq!(key.proved(&proof).await, "ok");
    let certificate = with(Demand::Accepted, Demand::Required);
    let refused = certificate.ask(&plain, ProofHeader::Absent, NOW).await;
    assert_eq!(refused, "certificate_unbound");
    assert_eq!(
        certificate.ask(&certified, ProofHeader::Absent, NOW).await,
        "ok"
    );
    let ignored = with(Demand::Ignored, Demand::Ignored);
    let bearer = format!("Bearer {}", ignored.token);
    assert_eq!(ignored.ask(&bearer, ProofHeader::Absent, NOW).await, "ok");
}

#[tokio::test]
async fn a_nonce_is_asked_for_and_then_serves() {
    let binding = BindingSettings {
        nonce: true,
        ..BindingSettings::default()
    };
    let lab = Lab::with(Signer::ec(), binding);
    assert_eq!(lab.with_claims(json!({})).await, "proof_nonce");
    assert_eq!(
        lab.with_claims(json!({"nonce": "made up"})).await,
        "proof_nonce"
    );
    let nonce = lab.authenticator.proof_nonce(NOW).unwrap();
    assert_eq!(lab.with_claims(json!({"nonce": nonce})).await, "ok");
    assert!(
        Lab::new(Signer::ec())
            .authenticator
            .proof_nonce(NOW)
            .is_none()
    );
    let challenges = Challenges::new("https://agents.example.com/mcp", &[], &[]).unwrap();
    let refused = AuthnError::Proof(ProofError::Nonce);
    let (status, challenge) = challenges.answer(&refused, &StepUp::default());
    assert_eq!(status, 401);
    let challenge = challenge.unwrap();
    let text = challenge.to_str().unwrap();
    assert!(text.starts_with("Bearer resource_metadata="), "{text}");
    assert!(
        text.contains(r#"DPoP error="use_dpop_nonce", algs="ES256 EdDSA PS256 RS256""#),
        "{text}"
    );
}

#[tokio::test]
async fn a_binding_that_is_not_known_is_refused() {
    let lab = Lab::new(Signer::ec());
    for cnf in [
        json!({}),
        json!({"kid": "k"}),
        json!({"jwk": {}}),
        json!({"jkt": 7}),
        json!({"jkt": "AAAA"}),
        json!([]),
    ] {
        let text = format!("Bearer {}", token(&json!({"cnf": cnf})));
        assert_eq!(
            lab.ask(&text, ProofHeader::Absent, NOW).await,
            "claim_invalid",
            "{cnf}"
        );
    }
}

#[tokio::test]
async fn software_without_a_person_needs_a_token_bound_to_a_certificate() {
    let lab = Lab::new(Signer::ec());
    let nobody = json!({"sid": null, "auth_time": null, "amr": null});
    let text = format!("Bearer {}", token(&nobody));
    assert_eq!(lab.ask(&text, ProofHeader::Absent, NOW).await, "no_person");
    let cnf = json!({"x5t#S256": b64([7; 32])});
    let bound = token(&json!({"sid": null, "auth_time": null, "amr": null, "cnf": cnf}));
    let text = format!("Bearer {bound}");
    let presented = BearerToken::parse(text.as_bytes()).unwrap();
    let asked = lab
        .authenticator
        .present(&presented, ProofHeader::Absent, POST, NOW);
    let who = asked.await.unwrap();
    assert!(who.is_service() && who.second_factor().is_none());
    assert_eq!(who.confirmed_by(), Some("certificate"));
    // Where a person's token is exchanged, it is nobody's.
    assert_eq!(code(&lab.authenticator, &bound, NOW).await, "no_person");
}
