use super::*;
use crate::key::KeyMaterial;
use crate::ring::RingKey;

fn ring() -> Arc<KeyRing> {
    let key = KeyMaterial::from_raw(&[1; 32]).unwrap();
    Arc::new(
        KeyRing::new(vec![RingKey {
            id: "k".into(),
            from_unix: 0,
            key,
        }])
        .unwrap(),
    )
}

#[test]
fn only_values_that_commit_to_a_key_enter_the_cache() {
    let (ring, mut token) = (ring(), Vec::new());
    let open = OpenContext::new(&ENVELOPE, Arc::clone(&ring), "d", 8);
    let held = ring.sealing(0).unwrap();
    for salt in 0..5 {
        let forged = [head(held.kid(), &[salt; SALT_BYTES]).as_slice(), &[0; 60]].concat();
        let text = format!(
            "hs1.{}",
            base64_simd::URL_SAFE_NO_PAD.encode_to_string(forged)
        );
        assert!(open.parses(&text) && open.open(&text, Bound::new("f", None)).is_err());
    }
    assert_eq!(open.cache.len(), 0);
    SealContext::new(&ENVELOPE, held, "d")
        .unwrap()
        .seal(Bound::new("f", None), &[b"1"], &mut token)
        .unwrap();
    let token = String::from_utf8(token).unwrap();
    let bound = Bound::new("f", None);
    assert!(open.open(&token, bound).is_ok() && open.open(&token, bound).is_ok());
    assert_eq!(open.cache.len(), 1);
}

#[test]
fn schemes_derive_different_keys_from_one_key_and_salt() {
    let ring = ring();
    let held = ring.sealing(0).unwrap();
    let derive = |scheme, salt| {
        let derived = Derived::new(scheme, held, salt);
        derived.unwrap().commit
    };
    assert_ne!(derive(&ENVELOPE, &[0; 24]), derive(&TOKEN, &[0; 24]));
    assert_ne!(derive(&ENVELOPE, &[0; 24]), derive(&ENVELOPE, &[1; 24]));
}

#[test]
fn debug_shows_nothing_of_derived_keys() {
    let ring = ring();
    let context = SealContext::new(&ENVELOPE, ring.sealing(0).unwrap(), "d").unwrap();
    assert_eq!(
        format!("{context:?} {:?}", context.derived),
        "SealContext(..) Derived(..)"
    );
}
