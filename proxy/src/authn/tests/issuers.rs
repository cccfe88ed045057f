//! Several identity providers at once: each one's tokens by its own keys, roles and shapes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::double::{Mood, Provider, Signer};
use super::*;
use crate::authn::Authenticator;

struct Lab {
    home: Arc<Provider>,
    partner: Arc<Provider>,
    home_key: Signer,
    partner_key: Signer,
    authenticator: Authenticator,
}

impl Lab {
    /// Both publish a key of the same name; the partner may grant one role.
    async fn start() -> Self {
        let (home_key, partner_key) = (Signer::ed(), Signer::ed());
        let home = Provider::start(&[home_key.jwk("k")]).await;
        let partner = Provider::start(&[partner_key.jwk("k")]).await;
        let mut further = partner.settings();
        further.roles = Some(vec!["radiologist".to_owned()]);
        further.roles_from = vec!["roles".to_owned()];
        further.by_rfc9068 = true;
        let mut settings = settings(None, Some(home.settings()));
        settings.providers.push(further);
        Self {
            authenticator: Authenticator::new(settings).unwrap(),
            home,
            partner,
            home_key,
            partner_key,
        }
    }

    fn claims(issuer: &str, changes: &Value) -> Value {
        let own = json!({"iss": issuer, "aud": "https://agents.example.com/mcp", "typ": "Bearer",
            "realm_access": {"roles": ["physician"]}, "roles": ["radiologist", "physician"]});
        with(&with(&user_claims(), &own), changes)
    }

    fn of_partner(&self, header: &Value, changes: &Value) -> String {
        let claims = Self::claims(&self.partner.issuer(), changes);
        self.partner_key
            .sign(&header.to_string(), &claims.to_string())
    }
}

#[tokio::test]
async fn a_further_issuer_grants_the_roles_that_it_may_and_no_other() {
    let lab = Lab::start().await;
    let token = lab
        .partner_key
        .token("k", &Lab::claims(&lab.partner.issuer(), &json!({})));
    let who = ask(&lab.authenticator, &token, NOW).await.unwrap();
    assert_eq!(who.roles(), ["radiologist"]);
    assert_eq!(who.issuer(), lab.partner.issuer());
    let token = lab
        .home_key
        .token("k", &Lab::claims(&lab.home.issuer(), &json!({})));
    let who = ask(&lab.authenticator, &token, NOW).await.unwrap();
    assert_eq!(who.roles(), ["physician"]);
}

#[tokio::test]
async fn no_issuer_can_speak_for_another() {
    let lab = Lab::start().await;
    for (signer, issuer) in [
        (&lab.partner_key, lab.home.issuer()),
        (&lab.home_key, lab.partner.issuer()),
    ] {
        let token = signer.token("k", &Lab::claims(&issuer, &json!({})));
        let refused = code(&lab.authenticator, &token, NOW).await;
        assert_eq!(refused, "bad_signature", "{issuer}");
    }
}

#[tokio::test]
async fn an_access_token_by_rfc_9068_is_taken_of_a_further_issuer_and_no_other_token_of_it() {
    let lab = Lab::start().await;
    let by_header = |typ: &str| json!({"alg": lab.partner_key.alg(), "typ": typ, "kid": "k"});
    for (typ, payload_typ, expected) in [
        ("at+jwt", json!(null), "ok"),
        ("JWT", json!(null), "token_type_refused"),
        ("at+jwt", json!("ID"), "token_type_refused"),
        ("logout+jwt", json!(null), "token_type_refused"),
    ] {
        let token = lab.of_partner(&by_header(typ), &json!({"typ": payload_typ}));
        let judged = code(&lab.authenticator, &token, NOW).await;
        assert_eq!(judged, expected, "{typ} {payload_typ}");
    }
}

#[tokio::test]
async fn while_one_provider_is_away_the_other_serves() {
    let lab = Lab::start().await;
    lab.partner.feel(Mood::Down);
    let home = lab
        .home_key
        .token("k", &Lab::claims(&lab.home.issuer(), &json!({})));
    let partner = lab
        .partner_key
        .token("k", &Lab::claims(&lab.partner.issuer(), &json!({})));
    assert_eq!(code(&lab.authenticator, &home, NOW).await, "ok");
    assert_eq!(
        code(&lab.authenticator, &partner, NOW).await,
        "keys_unavailable"
    );
    let standing = lab.authenticator.providers();
    let standing: Vec<_> = standing.map(|one| (one.issuer, one.has_keys)).collect();
    let (home, partner) = (lab.home.issuer(), lab.partner.issuer());
    assert_eq!(standing, [(&*home, true), (&*partner, false)]);
}

#[tokio::test]
async fn one_issuer_named_twice_is_refused() {
    let provider = Provider::start(&[]).await;
    let mut settings = settings(None, Some(provider.settings()));
    settings.providers.push(provider.settings());
    let refused = Authenticator::new(settings).unwrap_err().to_string();
    assert!(refused.contains("one issuer"), "{refused}");
}
