//! The primitives as they are called here, against the cases of Project Wycheproof: edge cases of GCM's counter and
//! hash, modified tags, keys around a block's length, and JWEs that are wrong in some way or somebody else's.

use crate::envelope::{Opener, looks_sealed};
use crate::key::{KeyMaterial, decode_hex};
use crate::mac::keyed;
use crate::ring::{KeyRing, RingKey};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use hmac::Mac;
use serde_json::Value;
use sha2::Sha256;
use std::sync::Arc;

struct Case(Value);

impl Case {
    fn all(kind: &str) -> Vec<Self> {
        let lines = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/vectors/wycheproof.jsonl"
        ));
        let cases = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let cases: Vec<Self> = cases
            .filter(|case: &Value| case["kind"] == kind)
            .map(Self)
            .collect();
        assert!(cases.len() > 40, "{kind}");
        cases
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        decode_hex(self.text(name)).unwrap().to_vec()
    }

    fn fixed<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }

    fn is_valid(&self) -> bool {
        self.text("result") == "valid"
    }
}

#[test]
fn aes_256_gcm_seals_and_opens_as_wycheproof_says() {
    for case in Case::all("aes_gcm") {
        let cipher = Aes256Gcm::new((&case.fixed::<32>("key")).into());
        let (nonce, aad) = (Nonce::from(case.fixed::<12>("iv")), case.bytes("aad"));
        let (mut body, tag) = (case.bytes("ct"), Tag::from(case.fixed::<16>("tag")));
        let opened = cipher.decrypt_inout_detached(&nonce, &aad, body.as_mut_slice().into(), &tag);
        assert_eq!(opened.is_ok(), case.is_valid(), "{}", case.0);
        if !case.is_valid() {
            // What does not authenticate is not decrypted.
            assert_eq!(body, case.bytes("ct"), "{}", case.0);
            continue;
        }
        assert_eq!(body, case.bytes("msg"), "{}", case.0);
        let sealed = cipher
            .encrypt_inout_detached(&nonce, &aad, body.as_mut_slice().into())
            .unwrap();
        assert_eq!((body, sealed), (case.bytes("ct"), tag), "{}", case.0);
    }
}

#[test]
fn hmac_sha_256_verifies_as_wycheproof_says() {
    for case in Case::all("hmac_sha256") {
        let mac = keyed(&case.bytes("key")).chain_update(case.bytes("msg"));
        let verified = mac.verify_slice(&case.bytes("tag"));
        assert_eq!(verified.is_ok(), case.is_valid(), "{}", case.0);
    }
}

#[test]
fn hkdf_sha_256_derives_as_wycheproof_says() {
    for case in Case::all("hkdf_sha256") {
        let hkdf = Hkdf::<Sha256>::new(Some(&case.bytes("salt")), &case.bytes("ikm"));
        let length = usize::try_from(case.0["size"].as_u64().unwrap()).unwrap();
        let mut okm = vec![0; length];
        let derived = hkdf.expand_multi_info(&[&case.bytes("info")], &mut okm);
        assert_eq!(derived.is_ok(), case.is_valid(), "{}", case.0);
        if case.is_valid() {
            assert_eq!(okm, case.bytes("okm"), "{}", case.0);
        }
    }
}

#[test]
fn no_jwe_of_wycheproof_opens_or_looks_like_one_of_ours() {
    for case in Case::all("json_web_encryption") {
        let key = KeyMaterial::from_base64(case.text("key"));
        let key = key.unwrap_or_else(|_| KeyMaterial::from_raw(&[1; 32]).unwrap());
        let ring = KeyRing::new(vec![RingKey {
            id: "kid-aes-encrypt".into(),
            from_unix: 0,
            key,
        }]);
        let opener = Opener::new(Arc::new(ring.unwrap()), "");
        let jwe = case.text("jwe");
        assert!(opener.open(jwe, "", None).is_err(), "{}", case.0);
        assert!(
            !looks_sealed(jwe) && !opener.is_well_formed(jwe),
            "{}",
            case.0
        );
    }
}
