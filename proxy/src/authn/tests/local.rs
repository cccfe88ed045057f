//! Local HS256 tokens: what is taken, and everything that isn't.

use serde_json::{Value, json};

use super::*;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn authenticator() -> Authenticator {
    Authenticator::new(settings(Some(local_settings()), None)).unwrap()
}

fn claims() -> Value {
    with(
        &user_claims(),
        &json!({"iss": "mcp-server-prod", "aud": "healthcare-agents", "roles": ["physician", "nurse"]}),
    )
}

async fn with_header(header: &str) -> &'static str {
    let token = hs256(SECRET, header, &claims().to_string());
    code(&authenticator(), &token, NOW).await
}

async fn with_claims(changes: Value) -> &'static str {
    let token = hs256(SECRET, HEADER, &with(&claims(), &changes).to_string());
    code(&authenticator(), &token, NOW).await
}

async fn with_payload(payload: &str) -> &'static str {
    code(&authenticator(), &hs256(SECRET, HEADER, payload), NOW).await
}

#[tokio::test]
async fn a_good_token_becomes_a_principal_with_all_its_facts() {
    let claims = with(
        &claims(),
        &json!({"purpose_of_use": "TREAT", "acr": "mfa", "azp": "chart", "department": "er", "nbf": NOW}),
    );
    let token = hs256(SECRET, HEADER, &claims.to_string());
    let who = ask(&authenticator(), &token, NOW).await.unwrap();
    assert_eq!(
        (who.kind(), who.issuer(), who.subject()),
        (Kind::Local, "mcp-server-prod", "dr-lee")
    );
    assert_eq!(who.roles(), ["physician", "nurse"]);
    assert_eq!(who.purpose(), Some("TREAT"));
    assert_eq!(who.amr(), ["pwd", "otp"]);
    assert_eq!(who.second_factor().unwrap(), ["otp", "acr=mfa"]);
    assert_eq!(who.authenticated_at(), Some(NOW - 20));
    assert_eq!((who.issued_at(), who.expires_at()), (NOW - 10, NOW + 600));
    assert_eq!(
        (who.sid(), who.jti(), who.acr()),
        (Some("s-1"), Some("j-1"), Some("mfa"))
    );
    assert_eq!(who.authorized_party(), Some("chart"));
    assert_eq!(who.claims()["department"], "er");
}

#[tokio::test]
async fn a_minted_token_is_taken_until_it_expires() {
    let request = MintRequest {
        subject: "dr-lee".to_owned(),
        roles: vec!["physician".to_owned()],
        amr: vec!["otp".to_owned()],
        purpose: Some("TREAT".to_owned()),
        claims: json!({"department": "er"}).as_object().unwrap().clone(),
        expires_seconds: Some(60),
        now: NOW,
    };
    let token = mint(&local_settings(), &request).unwrap();
    let authenticator = authenticator();
    let who = ask(&authenticator, &token, NOW).await.unwrap();
    assert_eq!(
        (who.purpose(), who.roles()),
        (Some("TREAT"), &["physician".to_owned()][..])
    );
    assert_eq!(who.authenticated_at(), Some(NOW));
    assert!(who.sid().is_some() && who.jti().is_some());
    assert_eq!(code(&authenticator, &token, NOW + 59).await, "ok");
    assert_eq!(
        code(&authenticator, &token, NOW + 60).await,
        "token_expired"
    );
}

#[test]
fn the_mint_refuses_what_would_not_be_taken() {
    let request = |change: fn(&mut MintRequest)| {
        let mut request = MintRequest {
            subject: "s".to_owned(),
            now: NOW,
            ..MintRequest::default()
        };
        change(&mut request);
        mint(&local_settings(), &request).map(|_| ()).unwrap_err()
    };
    assert_eq!(request(|r| r.subject.clear()), MintError::Subject);
    assert_eq!(
        request(|r| r.expires_seconds = Some(3601)),
        MintError::Lifetime(3600)
    );
    assert_eq!(
        request(|r| r.expires_seconds = Some(0)),
        MintError::Lifetime(3600)
    );
    let own = request(|r| {
        r.claims.insert("exp".to_owned(), json!(1));
    });
    assert_eq!(own, MintError::OwnClaim("exp".to_owned()));
    let large = request(|r| {
        r.claims.insert("x".to_owned(), json!("x".repeat(16_000)));
    });
    assert_eq!(large, MintError::TooLarge);
}

#[tokio::test]
async fn headers_that_try_to_choose_the_rules_are_refused() {
    for (header, expected) in [
        (r#"{"alg":"none","typ":"JWT"}"#, "algorithm_refused"),
        (r#"{"alg":"None","typ":"JWT"}"#, "algorithm_refused"),
        (r#"{"alg":"hs256","typ":"JWT"}"#, "algorithm_refused"),
        (r#"{"alg":"HS512","typ":"JWT"}"#, "algorithm_refused"),
        (r#"{"alg":"RS256","typ":"JWT"}"#, "algorithm_refused"),
        (r#"{"alg":["HS256"],"typ":"JWT"}"#, "algorithm_refused"),
        (r#"{"typ":"JWT"}"#, "algorithm_refused"),
        (
            r#"{"alg":"HS256","typ":"JWT","crit":["exp"]}"#,
            "extension_refused",
        ),
        (
            r#"{"alg":"HS256","typ":"JWT","crit":[]}"#,
            "extension_refused",
        ),
        (
            r#"{"alg":"HS256","typ":"JWT","b64":false}"#,
            "extension_refused",
        ),
        (
            r#"{"alg":"HS256","typ":"JWT","zip":"DEF"}"#,
            "extension_refused",
        ),
        (r#"{"alg":"HS256","cty":"JWT"}"#, "extension_refused"),
        (
            r#"{"alg":"HS256","typ":"JWT","jwk":{"kty":"oct","k":"AA"}}"#,
            "embedded_key",
        ),
        (
            r#"{"alg":"HS256","typ":"JWT","jku":"https://x"}"#,
            "embedded_key",
        ),
        (
            r#"{"alg":"HS256","typ":"JWT","x5u":"https://x"}"#,
            "embedded_key",
        ),
        (r#"{"alg":"HS256","typ":"JWT","x5c":[]}"#, "embedded_key"),
        (
            r#"{"alg":"none","alg":"HS256","typ":"JWT"}"#,
            "duplicate_member",
        ),
        (r#"{"alg":"HS256","\u0061lg":"HS256"}"#, "duplicate_member"),
        (
            r#"{"alg":"HS256","typ":"logout+jwt"}"#,
            "token_type_refused",
        ),
        (r#"{"alg":"HS256","typ":"JWE"}"#, "token_type_refused"),
        (r#"{"alg":"HS256","typ":7}"#, "token_type_refused"),
        (r#"{"alg":"HS256","typ":"JWT","kid":7}"#, "unknown_key"),
        ("[]", "not_a_token"),
        ("{", "not_a_token"),
        ("", "not_a_token"),
    ] {
        assert_eq!(with_header(header).await, expected, "{header}");
    }
    for header in [
        HEADER,
        r#"{"alg":"HS256"}"#,
        r#"{"typ":"at+jwt","alg":"HS256"}"#,
        r#"{"typ":"application/AT+JWT","alg":"HS256","kid":"../../etc/passwd"}"#,
    ] {
        assert_eq!(with_header(header).await, "ok", "{header}");
    }
}

#[tokio::test]
async fn claims_that_are_wrong_are_refused_each_for_its_reason() {
    for (changes, expected) in [
        (json!({"iss": null}), "claim_missing"),
        (json!({"iss": "mcp-server-prod "}), "unknown_issuer"),
        (json!({"iss": "mcp-\u{455}erver-prod"}), "unknown_issuer"),
        (json!({"iss": ["mcp-server-prod"]}), "claim_invalid"),
        (json!({"aud": null}), "claim_missing"),
        (json!({"aud": "other"}), "wrong_audience"),
        (json!({"aud": []}), "wrong_audience"),
        (json!({"aud": ["healthcare-agents", 1]}), "claim_invalid"),
        (json!({"aud": "healthcare-agents/"}), "wrong_audience"),
        (json!({"sub": null}), "claim_missing"),
        (json!({"sub": ""}), "claim_invalid"),
        (json!({"sub": " "}), "claim_invalid"),
        (json!({"sub": "a\nb"}), "claim_invalid"),
        (json!({"sub": 7}), "claim_invalid"),
        (json!({"sub": "x".repeat(256)}), "claim_invalid"),
        (json!({"exp": null}), "claim_missing"),
        (json!({"exp": NOW}), "token_expired"),
        (json!({"exp": NOW - 1}), "token_expired"),
        (json!({"exp": "1900000000"}), "claim_invalid"),
        (json!({"exp": -1}), "claim_invalid"),
        (json!({"exp": 1e300}), "claim_invalid"),
        (json!({"exp": u64::MAX}), "claim_invalid"),
        (json!({"exp": NOW + 3591}), "lifetime_too_long"),
        (json!({"iat": null, "auth_time": null}), "claim_missing"),
        (json!({"iat": NOW + 6}), "token_from_the_future"),
        (json!({"auth_time": NOW + 6}), "token_from_the_future"),
        (json!({"iat": true}), "claim_invalid"),
        (json!({"nbf": NOW + 6}), "token_not_yet_valid"),
        (json!({"nbf": "soon"}), "claim_invalid"),
        (json!({"typ": "ID"}), "token_type_refused"),
        (json!({"typ": "Refresh"}), "token_type_refused"),
        (json!({"roles": "physician"}), "claim_invalid"),
        (json!({"roles": [7]}), "claim_invalid"),
        (json!({"amr": "otp"}), "claim_invalid"),
        (json!({"sid": 7}), "claim_invalid"),
        (json!({"jti": ""}), "claim_invalid"),
        (json!({"purpose_of_use": ["TREAT"]}), "claim_invalid"),
        (json!({"cnf": {"jkt": "x"}}), "claim_invalid"),
        (json!({"cnf": {"jkt": "A".repeat(43)}}), "proof_required"),
        (json!({"cnf": {"x5t#S256": "short"}}), "claim_invalid"),
        (json!({"cnf": "x"}), "claim_invalid"),
        (json!({"cnf": {"kc-x": 1}}), "claim_invalid"),
        (json!({"amr": null}), "second_factor_missing"),
        (json!({"amr": ["pwd"]}), "second_factor_missing"),
        (
            json!({"amr": null, "sid": null, "auth_time": null, "acr": "mfa"}),
            "no_person",
        ),
        (
            json!({"amr": null, "sid": null, "auth_time": 0}),
            "no_person",
        ),
    ] {
        assert_eq!(with_claims(changes.clone()).await, expected, "{changes}");
    }
    for changes in [
        json!({"aud": ["x", "healthcare-agents"]}),
        json!({"exp": NOW + 3590}),
        json!({"exp": 1_800_000_100.5}),
        json!({"nbf": NOW + 5, "iat": NOW + 5}),
        json!({"iat": null}),
        json!({"roles": null}),
        json!({"typ": "Bearer"}),
        json!({"jti": null, "sid": null}),
        json!({"amr": ["pwd"], "acr": "mfa"}),
        json!({"sub": "\u{430}\u{43d}\u{43d}\u{430}"}),
    ] {
        assert_eq!(with_claims(changes.clone()).await, "ok", "{changes}");
    }
}

#[tokio::test]
async fn payloads_that_can_be_read_in_two_ways_are_refused() {
    let text = claims().to_string();
    let doubled = text.replacen('{', r#"{"sub":"eve","#, 1);
    assert_eq!(with_payload(&doubled).await, "duplicate_member");
    let escaped = text.replacen('{', r#"{"\u0073ub":"eve","#, 1);
    assert_eq!(with_payload(&escaped).await, "duplicate_member");
    let nested = text.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1);
    assert_eq!(with_payload(&nested).await, "duplicate_member");
    let overflow = text.replacen('{', r#"{"x":1e999,"#, 1);
    assert_eq!(with_payload(&overflow).await, "not_a_token");
    let surrogate = text.replacen('{', r#"{"x":"\ud800","#, 1);
    assert_eq!(with_payload(&surrogate).await, "not_a_token");
    assert_eq!(with_payload(&format!("{text} ")).await, "ok");
    assert_eq!(with_payload(&format!("{text}{{}}")).await, "not_a_token");
    assert_eq!(with_payload("null").await, "not_a_token");
}

#[tokio::test]
async fn a_token_of_the_wrong_shape_is_refused() {
    let authenticator = authenticator();
    let good = hs256(SECRET, HEADER, &claims().to_string());
    for end in 0..good.len() {
        assert_ne!(
            code(&authenticator, good.get(..end).unwrap(), NOW).await,
            "ok",
            "cut at {end}"
        );
    }
    let unsigned = good.rsplit_once('.').unwrap().0;
    for shape in ["", ".", "..", "...", "a.b.c", "....."] {
        assert_ne!(code(&authenticator, shape, NOW).await, "ok", "{shape}");
    }
    assert_eq!(
        code(&authenticator, &format!("{unsigned}."), NOW).await,
        "bad_signature"
    );
    assert_eq!(
        code(&authenticator, &format!("{good}."), NOW).await,
        "not_a_token"
    );
    assert_eq!(
        code(&authenticator, &format!("{good}=="), NOW).await,
        "not_a_token"
    );
    assert_eq!(
        code(&authenticator, &good.replacen('.', "=.", 1), NOW).await,
        "not_a_token"
    );
    let five = format!("{good}.a.b");
    assert_eq!(code(&authenticator, &five, NOW).await, "not_a_token");
}

#[tokio::test]
async fn every_changed_character_of_a_token_is_noticed() {
    let authenticator = authenticator();
    let good = hs256(SECRET, HEADER, &claims().to_string());
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_ne!(code(&authenticator, &changed, NOW).await, "ok", "at {at}");
    }
}

#[tokio::test]
async fn another_secret_does_not_verify() {
    let token = hs256(
        b"another secret of 32 bytes or so",
        HEADER,
        &claims().to_string(),
    );
    assert_eq!(code(&authenticator(), &token, NOW).await, "bad_signature");
    let empty = hs256(b"", HEADER, &claims().to_string());
    assert_eq!(code(&authenticator(), &empty, NOW).await, "bad_signature");
}

#[tokio::test]
async fn a_cached_token_still_answers_to_the_clock() {
    let authenticator = authenticator();
    let token = hs256(
        SECRET,
        HEADER,
        &with(&claims(), &json!({"nbf": NOW})).to_string(),
    );
    let first = ask(&authenticator, &token, NOW).await.unwrap();
    let second = ask(&authenticator, &token, NOW + 1).await.unwrap();
    assert!(
        std::sync::Arc::ptr_eq(&first, &second),
        "the second answer comes from the cache"
    );
    assert_eq!(
        code(&authenticator, &token, NOW - 6).await,
        "token_not_yet_valid"
    );
    assert_eq!(
        code(&authenticator, &token, NOW + 600).await,
        "token_expired"
    );
    assert_eq!(
        code(&authenticator, &token, NOW + 601).await,
        "token_expired"
    );
}

#[tokio::test]
async fn a_cached_login_without_a_second_factor_is_refused_every_time() {
    let authenticator = authenticator();
    let token = hs256(
        SECRET,
        HEADER,
        &with(&claims(), &json!({"amr": ["pwd"]})).to_string(),
    );
    for _ in 0..3 {
        let refused = ask(&authenticator, &token, NOW).await.unwrap_err();
        assert_eq!(refused.code(), "second_factor_missing");
        assert_eq!(refused.principal().unwrap().subject(), "dr-lee");
    }
}

#[tokio::test]
async fn more_tokens_than_the_cache_holds_are_all_judged_rightly() {
    let authenticator = authenticator();
    for n in 0..500 {
        let claims = with(&claims(), &json!({"jti": format!("j-{n}")}));
        let token = hs256(SECRET, HEADER, &claims.to_string());
        assert_eq!(code(&authenticator, &token, NOW).await, "ok");
    }
}

#[tokio::test]
async fn inspection_shows_claims_and_the_reason_of_a_refusal() {
    let authenticator = authenticator();
    let token = hs256(SECRET, HEADER, &claims().to_string());
    let late = inspect(&authenticator, &format!("{token}\n"), NOW + 600).await;
    let text = late.to_string();
    assert!(
        text.contains("dr-lee") && text.contains("refused (token_expired)"),
        "{text}"
    );
    let junk = inspect(&authenticator, "junk", NOW).await;
    assert!(!junk.accepted() && junk.claims.is_none());
}

/// Settings after a rotation: the tests' secret is the one before.
fn rotated(until_unix: i64) -> LocalSettings {
    LocalSettings {
        secret: Secret::new(vec![b'n'; 32]),
        previous: Some(PreviousSecret {
            secret: Secret::new(SECRET.to_vec()),
            until_unix,
        }),
        ..local_settings()
    }
}

#[tokio::test]
async fn the_secret_before_a_rotation_serves_until_its_last_day_is_over() {
    let authenticator = authenticator();
    let old = hs256(SECRET, HEADER, &claims().to_string());
    assert_eq!(code(&authenticator, &old, NOW).await, "ok");
    assert!(authenticator.rotate_secret(rotated(NOW + 60)).unwrap());
    assert!(
        !authenticator.rotate_secret(rotated(NOW + 60)).unwrap(),
        "the same again"
    );
    let new = hs256(&[b'n'; 32], HEADER, &claims().to_string());
    for token in [&old, &new] {
        assert_eq!(code(&authenticator, token, NOW + 59).await, "ok");
    }
    assert_eq!(
        code(&authenticator, &old, NOW + 60).await,
        "bad_signature",
        "remembered or not"
    );
    assert_eq!(code(&authenticator, &new, NOW + 60).await, "ok");
}

#[tokio::test]
async fn a_refresh_token_is_told_apart_and_nothing_of_it_shown() {
    let token = crate::authn::tokens::RefreshToken::first().unwrap().text();
    assert_eq!(code(&authenticator(), &token, NOW).await, "not_a_token");
    let inspection = inspect(&authenticator(), &token, NOW).await;
    assert!(!inspection.accepted());
    let shown = inspection.to_string();
    assert!(
        shown.contains("/auth/token") && !shown.contains(&*token),
        "{shown}"
    );
}

#[tokio::test]
async fn a_secret_that_is_taken_away_verifies_nothing_from_then_on() {
    let authenticator = authenticator();
    let old = hs256(SECRET, HEADER, &claims().to_string());
    assert_eq!(code(&authenticator, &old, NOW).await, "ok");
    let alone = LocalSettings {
        previous: None,
        ..rotated(0)
    };
    authenticator.rotate_secret(alone).unwrap();
    assert_eq!(code(&authenticator, &old, NOW).await, "bad_signature");
    let short = LocalSettings {
        secret: Secret::new(vec![1; 31]),
        ..local_settings()
    };
    assert!(authenticator.rotate_secret(short).is_err());
}

#[tokio::test]
async fn a_token_had_for_a_login_is_in_that_logins_session() {
    let provider = "https://auth.example.com/realms/r";
    let login = json!({"login": {"iss": provider, "sid": "s-1", "since": NOW - 300}});
    let token = hs256(SECRET, HEADER, &with(&claims(), &login).to_string());
    let who = ask(&authenticator(), &token, NOW).await.unwrap();
    assert_eq!(
        (who.issuer(), who.login_issuer()),
        ("mcp-server-prod", provider)
    );
    assert_eq!(
        who.issued_at(),
        NOW - 300,
        "the session is no younger than its login"
    );
    let plain = hs256(SECRET, HEADER, &claims().to_string());
    let who = ask(&authenticator(), &plain, NOW).await.unwrap();
    assert_eq!(who.login_issuer(), "mcp-server-prod");
    for wrong in [
        json!({"login": {"iss": provider, "sid": "s-2", "since": NOW}}),
        json!({"login": {"iss": provider, "sid": "s-1"}}),
        json!({"login": {"sid": "s-1", "since": NOW}}),
        json!({"login": provider}),
        json!({"login": {"iss": provider, "sid": "s-1", "since": NOW}, "sid": null}),
    ] {
        assert_eq!(with_claims(wrong).await, "claim_invalid");
    }
}

#[tokio::test]
async fn a_token_is_made_of_a_login_with_all_that_a_policy_asks_and_no_more() {
    use crate::authn::tokens::{NotCarried, carried};
    let mut login =
        Authenticated::for_tests("dr-lee", Some("s-1"), Some(NOW - 20), NOW - 10, NOW + 50);
    let local = carried(&login, None, None).unwrap_err();
    assert_eq!(local, NotCarried::Local);
    login.kind = Kind::Keycloak;
    login.roles = vec!["physician".to_owned()];
    login.claims = json!({"aud": "x", "typ": "Bearer", "nonce": "n", "exp": 1, "scope": "openid phi",
        "department": "er", "cnf": {"jkt": "thumb"}, "realm_access": {"roles": ["a"]}});
    let wide = carried(&login, None, Some("openid admin")).unwrap_err();
    assert_eq!(wide, NotCarried::Scope);
    let carried = carried(&login, Some(&[7; 32]), Some("openid")).unwrap();
    let factors = SecondFactorSettings {
        required: false,
        ..second_factor()
    };
    let bearer = AuthnSettings {
        second_factor: factors,
        ..settings(Some(local_settings()), None)
    };
    let authenticator = Authenticator::new(bearer).unwrap();
    let mut plain = carried.clone();
    plain.0.remove("cnf");
    let issued = authenticator.issue(&plain, NOW + 900, NOW).await.unwrap();
    let who = issued.who;
    assert_eq!(
        (who.subject(), who.sid(), who.login_issuer()),
        ("dr-lee", Some("s-1"), "issuer")
    );
    assert_eq!(
        (who.roles(), who.authenticated_at()),
        (&["physician".to_owned()][..], Some(NOW - 20))
    );
    assert_eq!((who.issued_at(), who.expires_at()), (NOW - 10, NOW + 900));
    let claims = who.claims();
    assert_eq!(
        (&claims["scope"], &claims["department"]),
        (&json!("openid"), &json!("er"))
    );
    assert_eq!(claims["realm_access"]["roles"][0], "a");
    assert!(claims.get("nonce").is_none() && claims.get("typ").is_none());
    let confirmation = &carried.0["cnf"];
    assert_eq!(confirmation["jkt"], "thumb");
    assert_eq!(confirmation["x5t#S256"], b64([7; 32]));
    let long = authenticator
        .issue(&plain, NOW + 100_000, NOW)
        .await
        .unwrap();
    assert_eq!(long.who.expires_at(), NOW + 3600, "never above expiration");
    assert!(
        authenticator.issue(&plain, NOW, NOW).await.is_err(),
        "a session that is over"
    );
}
