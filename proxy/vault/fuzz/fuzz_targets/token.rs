//! Tokens of agents: none redeems that was not issued, and an issued one redeems under its very binding only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_vault::KeyMaterial;
use safeguard_vault::carry::{Binding, Carrier, RedeemError};
use safeguard_vault::ring::{KeyRing, RingKey};
use std::sync::{Arc, LazyLock};

static CARRIER: LazyLock<Carrier> = LazyLock::new(|| {
    let key = KeyMaterial::from_raw(&[7; 32]).expect("32 bytes");
    let ring = KeyRing::new(vec![RingKey { id: "k".to_owned(), from_unix: 0, key }]).expect("one key");
    Carrier::new(Arc::new(ring), "d")
});

/// The parts of a binding, and what is behind them: a byte of flags, a length of the patient, a length of the session.
fn binding(data: &[u8]) -> (Binding<'_>, &[u8]) {
    let Some(([flags, patient, session], rest)) = data.split_first_chunk() else {
        return (Binding::default(), data);
    };
    let (patient, rest) = rest.split_at(usize::from(*patient).min(rest.len()));
    let (session, rest) = rest.split_at(usize::from(*session).min(rest.len()));
    let patient = std::str::from_utf8(patient).ok().filter(|_| flags & 1 != 0);
    (Binding { patient, session: Some(session).filter(|_| flags & 2 != 0) }, rest)
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        for token in [text.to_owned(), format!("sgt1.{text}")] {
            let redeemed = CARRIER.redeem(&token, "f", Binding::default(), 0, None);
            assert_eq!(redeemed.err(), Some(RedeemError::Forged));
        }
    }
    let (issued, rest) = binding(data);
    let (other, value) = binding(rest);
    if let Ok(token) = CARRIER.issue("f", issued, value, 5) {
        let redeemed = CARRIER.redeem(&token, "f", issued, 5, Some(0)).expect("what was issued redeems");
        assert_eq!(redeemed.value.expose().as_bytes(), value);
        assert_eq!(CARRIER.redeem(&token, "f", other, 5, None).is_ok(), issued == other);
        assert_eq!(CARRIER.redeem(&token, "f", issued, 6, Some(0)).err(), Some(RedeemError::Expired));
    }
});
