//! Canonical forms: never a panic; a form is its own form; whatever `serde_json` takes and is in bounds is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_vault::canonical::{CanonicalError, canonicalize};
use safeguard_vault::python::dumps;

fuzz_target!(|data: &[u8]| {
    match canonicalize(data) {
        Ok(form) => {
            assert!(form.is_ascii());
            assert_eq!(canonicalize(&form).as_deref(), Ok(form.as_slice()));
            let unsorted = dumps(data).expect("both forms exist or none does");
            assert_eq!(canonicalize(&unsorted).as_deref(), Ok(form.as_slice()));
        }
        Err(CanonicalError::NotUtf8 { .. } | CanonicalError::Syntax { .. } | CanonicalError::LoneSurrogate { .. }) => {
            assert!(serde_json::from_slice::<serde_json::Value>(data).is_err());
        }
        Err(_) => {}
    }
});
