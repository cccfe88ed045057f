use super::*;
use crate::canonical::canonicalize;
use crate::envelope::{Format, Opener, Sealer, Wrap, sealed_with};
use crate::ring::Entry;

fn ring_key(id: &str, byte: u8) -> RingKey {
    RingKey {
        id: id.into(),
        from_unix: 0,
        key: KeyMaterial::from_raw(&[byte; 32]).unwrap(),
    }
}

fn wrapper() -> Wrapper {
    let ring = KeyRing::new(vec![ring_key("kek", 1)]).unwrap();
    Wrapper::new(Arc::new(ring), "clinic")
}

#[test]
fn a_patient_s_values_open_under_the_unwrapped_key_that_they_name() {
    let wrapper = wrapper();
    let key = PatientKey::generate("clinic", "ps-1").unwrap();
    let (id, kid) = (key.id().to_owned(), key.kid());
    let wrapped = wrapper.wrap("ps-1", &key, 0).unwrap();
    assert!(wrapped.starts_with("hsk1."));
    assert_eq!(wrapped_with(&wrapped), Some(Kid::of("kek")));
    let mut out = Vec::new();
    Sealer::new(
        &key.into_ring().unwrap(),
        "clinic",
        Format::Native,
        Wrap::String,
        0,
    )
    .unwrap()
    .seal("ssn", None, b"\"x\"", &mut out)
    .unwrap();
    let token = String::from_utf8(out).unwrap().replace('"', "");
    assert_eq!(sealed_with(&token), Some(kid));
    let unwrapped = wrapper.unwrap("ps-1", &wrapped).unwrap();
    assert_eq!(unwrapped.id(), id);
    let opener = Opener::new(Arc::new(unwrapped.into_ring().unwrap()), "clinic");
    assert_eq!(opener.open(&token, "ssn", None).unwrap().expose(), "\"x\"");
    // Without the patient's key the ring's own opens nothing.
    let ring = Arc::new(KeyRing::new(vec![ring_key("kek", 1)]).unwrap());
    assert!(
        Opener::new(ring, "clinic")
            .open(&token, "ssn", None)
            .is_err()
    );
}

#[test]
fn a_shredded_key_s_values_say_that_it_is_gone() {
    let key = PatientKey::generate("clinic", "ps-1").unwrap();
    let id = key.id().to_owned();
    let mut out = Vec::new();
    let ring = key.into_ring().unwrap();
    Sealer::new(&ring, "clinic", Format::Native, Wrap::String, 0)
        .unwrap()
        .seal("ssn", None, b"1", &mut out)
        .unwrap();
    let token = String::from_utf8(out).unwrap().replace('"', "");
    let after = PatientKey::generate("clinic", "ps-1").unwrap();
    assert_ne!(after.id(), id);
    let ring = KeyRing::with_states(vec![
        Entry::Destroyed { id },
        Entry::Active(ring_key(after.id(), 9)),
    ]);
    let opener = Opener::new(Arc::new(ring.unwrap()), "clinic");
    assert_eq!(
        opener.open(&token, "ssn", None).err(),
        Some(OpenError::Destroyed)
    );
}

#[test]
fn a_wrapped_key_is_its_patient_s_and_its_domain_s_only() {
    let wrapper = wrapper();
    let key = PatientKey::generate("clinic", "ps-1").unwrap();
    let wrapped = wrapper.wrap("ps-1", &key, 0).unwrap();
    assert!(wrapper.unwrap("ps-2", &wrapped).is_err());
    assert!(wrapper.unwrap("", &wrapped).is_err());
    let kek = |byte| Arc::new(KeyRing::new(vec![ring_key("kek", byte)]).unwrap());
    assert!(
        Wrapper::new(kek(1), "other")
            .unwrap("ps-1", &wrapped)
            .is_err()
    );
    assert!(
        Wrapper::new(kek(2), "clinic")
            .unwrap("ps-1", &wrapped)
            .is_err()
    );
    let raw = base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(wrapped.strip_prefix("hsk1.").unwrap())
        .unwrap();
    for bit in 0..raw.len() * 8 {
        let mut changed = raw.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let text = base64_simd::URL_SAFE_NO_PAD.encode_to_string(changed);
        assert!(wrapper.unwrap("ps-1", &format!("hsk1.{text}")).is_err());
    }
    for prefix in ["hs1.", "sgt1.", ""] {
        let text = wrapped.replacen("hsk1.", prefix, 1);
        assert!(wrapper.unwrap("ps-1", &text).is_err());
    }
}

#[test]
fn an_envelope_that_holds_32_bytes_is_no_wrapped_key() {
    let ring = Arc::new(KeyRing::new(vec![ring_key("kek", 1)]).unwrap());
    let mut out = Vec::new();
    let json = format!("\"{}\"", "a".repeat(30));
    Sealer::new(&ring, "clinic", Format::Native, Wrap::String, 0)
        .unwrap()
        .seal("ps-1", None, json.as_bytes(), &mut out)
        .unwrap();
    let envelope = String::from_utf8(out).unwrap().replace('"', "");
    let text = envelope.replacen("hs1.", "hsk1.", 1);
    assert!(wrapper().unwrap("ps-1", &text).is_err());
}

#[test]
fn a_key_s_id_depends_on_key_domain_and_pseudonym() {
    let named = |byte, domain, pseudonym| {
        let key = KeyMaterial::from_raw(&[byte; 32]).unwrap();
        PatientKey::named(key, domain, pseudonym).unwrap().id
    };
    let id = named(1, "d", "p");
    assert_eq!(id.len(), "patient-".len() + 32);
    assert_eq!(named(1, "d", "p"), id);
    for other in [
        named(2, "d", "p"),
        named(1, "e", "p"),
        named(1, "d", "q"),
        named(1, "dp", ""),
    ] {
        assert_ne!(other, id);
    }
    let long = "p".repeat(crate::CONTEXT_BYTES_MAX + 1);
    assert_eq!(
        PatientKey::generate("d", &long).err(),
        Some(NewKeyError::TooLong)
    );
}

#[test]
fn a_receipt_is_in_canonical_form_and_says_all_it_covers() {
    let receipt = ShredReceipt {
        domain: "clinic",
        pseudonym: "ps-\"1\"",
        key_id: "patient-00",
        wrapped_sha256: [0xab; 32],
        shredded_unix_micros: -5,
        by: "dr-é",
        reason: "asked for\nby the patient",
    };
    let bytes = receipt.canonical();
    assert_eq!(canonicalize(&bytes).unwrap(), bytes);
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["receipt"], ShredReceipt::FORM);
    assert_eq!(value["pseudonym"], "ps-\"1\"");
    assert_eq!(value["kid"], Kid::of("patient-00").to_string());
    assert_eq!(value["wrapped_sha256"], "ab".repeat(32));
    assert_eq!(value["shredded_unix_micros"], -5);
    assert_eq!(
        (&value["by"], &value["reason"]),
        (&"dr-é".into(), &"asked for\nby the patient".into())
    );
    assert_eq!(value.as_object().unwrap().len(), 9);
}

#[test]
fn debug_shows_a_key_s_name_only() {
    let key = KeyMaterial::from_raw(&[0x41; 32]).unwrap();
    let key = PatientKey::named(key, "d", "p").unwrap();
    let shown = format!("{key:?} {:?}", wrapper());
    assert!(shown.contains("patient-") && !shown.contains("65, 65") && !shown.contains("AAAA"));
}
