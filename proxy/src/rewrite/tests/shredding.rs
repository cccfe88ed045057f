//! A patient's values under the patient's own key: what opens, what is gone with it, what went before it.

use safeguard_vault::patient_keys::PatientKey;
use safeguard_vault::ring::{Entry, Kid};
use safeguard_vault::sealed_with;

use super::super::{
    HeldKey, PATIENT_KEY_ABSENT, PATIENT_KEY_DESTROYED, PATIENT_KEY_UNAVAILABLE, PatientRing,
};
use super::*;

/// The example with a key for each patient, and without the tools that know no patient before their answer.
pub(super) fn world(more: &str) -> World {
    World::with(|text| {
        let keys = "bind: [patient]\n  patient_keys: { directory: /keys }";
        text.replace("phi:\n  domain", &format!("phi:\n  {keys}\n  {more}domain"))
            .replace(
                "patient: result.patients[*].patient_id",
                "patient: args.patient_id",
            )
            .replace(
                "patient: result.records[*].patient_id",
                "patient: args.patient_id",
            )
    })
}

pub(super) fn domain(world: &World) -> &str {
    &world.workshop.policy.phi().domain
}

pub(super) fn patient_ring(world: &World, pseudonym: &str) -> PatientRing {
    let key = PatientKey::generate(domain(world), pseudonym).unwrap();
    PatientRing::new(key, domain(world)).unwrap()
}

pub(super) fn of<'a>(patient: &'a str, key: HeldKey<'a>) -> Holder<'a> {
    Holder {
        patient: Some(patient),
        key,
        ..HOLDER
    }
}

fn sent(world: &World, arguments: &Value, holder: Holder<'_>) -> Result<Value, RewriteError> {
    let permit = world.tool("physician", "change");
    let text = call(arguments).to_string();
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let stamp = Stamp {
        created_by: "subject-1",
        now_micros: NOW * 1_000_000,
    };
    let path = ["params", "arguments"];
    let rewritten = request(&tree, &path, &permit, &world.workshop, holder, stamp, false)?;
    let body = rewritten.body.unwrap_or_else(|| text.clone().into_bytes());
    let body: Value = serde_json::from_slice(&body).unwrap();
    Ok(body["params"]["arguments"].clone())
}

fn seen(world: &World, record: &Value, holder: Holder<'_>) -> Result<Value, RewriteError> {
    let permit = world.tool("physician", "look");
    let text =
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "structuredContent": record } }).to_string();
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let about = Call {
        method: Method::Tool,
        permit: &permit,
        holder,
        uri: None,
        absence: Absence::Anything,
        now_unix: NOW,
    };
    let rewritten = answer(&tree, &about, &world.workshop)?;
    let body = rewritten.body.unwrap_or_else(|| text.clone().into_bytes());
    let body: Value = serde_json::from_slice(&body).unwrap();
    Ok(body["result"]["structuredContent"].clone())
}

pub(super) fn kid(sealed: &Value) -> Option<Kid> {
    sealed_with(sealed["_value"].as_str().unwrap())
}

#[test]
fn a_patients_values_are_sealed_under_the_patients_key_and_open_under_no_other() {
    let world = world("");
    let (one, other) = (patient_ring(&world, "one"), patient_ring(&world, "other"));
    let clear = json!({ "ssn": CANARY, "diagnosis": ["a", 1, null] });
    let stored = sent(&world, &clear, of("p-1", HeldKey::Held(&one))).unwrap();
    assert_eq!(kid(&stored["ssn"]), Some(one.kid()));
    let back = seen(&world, &stored, of("p-1", HeldKey::Held(&one))).unwrap();
    assert_eq!(back, clear);
    let refused = Err(RewriteError::Vault("opened"));
    for foreign in [
        of("p-1", HeldKey::Held(&other)),
        of("p-1", HeldKey::Absent),
        of("p-2", HeldKey::Held(&one)),
        of("p-2", HeldKey::Held(&other)),
    ] {
        assert_eq!(seen(&world, &stored, foreign), refused);
    }
}

#[test]
fn after_the_destruction_nothing_of_the_patient_is_sealed_or_opened() {
    let world = world("");
    let one = patient_ring(&world, "one");
    let clear = json!({ "ssn": CANARY });
    let stored = sent(&world, &clear, of("p-1", HeldKey::Held(&one))).unwrap();
    let before = sent(&world, &clear, of("p-1", HeldKey::Held(&one))).unwrap();
    let gone = of("p-1", HeldKey::Destroyed);
    let destroyed = Err(RewriteError::Vault(PATIENT_KEY_DESTROYED));
    assert_eq!(seen(&world, &stored, gone), destroyed);
    assert_eq!(seen(&world, &before, gone), destroyed);
    assert_eq!(sent(&world, &clear, gone), destroyed);
    // What holds nothing of the patient's goes on: the record may be deleted.
    let plain = json!({ "patient_id": "p-1", "status": "active" });
    assert_eq!(sent(&world, &plain, gone).unwrap(), plain);
}

#[test]
fn a_key_that_was_not_looked_up_is_not_guessed() {
    let world = world("");
    let one = patient_ring(&world, "one");
    let clear = json!({ "ssn": CANARY });
    let stored = sent(&world, &clear, of("p-1", HeldKey::Held(&one))).unwrap();
    let unknown = Err(RewriteError::Vault(PATIENT_KEY_UNAVAILABLE));
    assert_eq!(seen(&world, &stored, HOLDER), unknown);
    assert_eq!(sent(&world, &clear, HOLDER), unknown);
    let absent = sent(&world, &clear, of("p-1", HeldKey::Absent));
    assert_eq!(absent, Err(RewriteError::Vault(PATIENT_KEY_ABSENT)));
}

#[test]
fn a_value_from_before_the_patients_key_opens_and_is_written_back_under_it() {
    let world = world("");
    let one = patient_ring(&world, "one");
    let mut sealer = Sealer::new(
        &world.workshop.ring,
        domain(&world),
        Format::Native,
        Wrap::Object,
        NOW,
    )
    .unwrap();
    let mut out = Vec::new();
    sealer
        .seal("ssn", Some("p-1"), b"\"123-45-6789\"", &mut out)
        .unwrap();
    let stored = json!({ "ssn": serde_json::from_slice::<Value>(&out).unwrap() });
    let holder = of("p-1", HeldKey::Held(&one));
    for before in [holder, of("p-1", HeldKey::Absent)] {
        assert_eq!(seen(&world, &stored, before).unwrap()["ssn"], CANARY);
    }
    let back = seen(&world, &stored, holder).unwrap();
    let written = sent(&world, &back, holder).unwrap();
    assert_eq!(kid(&written["ssn"]), Some(one.kid()));
    // And with the patient's key it goes, too: nobody asks under which key it was.
    let gone = of("p-1", HeldKey::Destroyed);
    let destroyed = Err(RewriteError::Vault(PATIENT_KEY_DESTROYED));
    assert_eq!(seen(&world, &stored, gone), destroyed);
}

#[test]
fn fernet_and_jwe_are_sealed_under_the_patients_key_too() {
    for format in ["fernet", "jwe"] {
        let world = World::with(|text| {
            let keys = "bind: [patient]\n  patient_keys: { directory: /keys }";
            text.replace("phi:\n  domain", &format!("phi:\n  {keys}\n  domain"))
                .replace("format: native", &format!("format: {format}"))
                .replace(
                    "patient: result.patients[*].patient_id",
                    "patient: args.patient_id",
                )
                .replace(
                    "patient: result.records[*].patient_id",
                    "patient: args.patient_id",
                )
        });
        let (one, other) = (patient_ring(&world, "one"), patient_ring(&world, "other"));
        let clear = json!({ "ssn": CANARY });
        let stored = sent(&world, &clear, of("p-1", HeldKey::Held(&one))).unwrap();
        let back = seen(&world, &stored, of("p-1", HeldKey::Held(&one)));
        assert_eq!(back.unwrap(), clear, "{format}");
        let foreign = seen(&world, &stored, of("p-1", HeldKey::Held(&other)));
        assert_eq!(foreign, Err(RewriteError::Vault("opened")), "{format}");
    }
}

#[test]
fn a_searched_value_goes_with_its_patient_where_the_call_is_about_the_patient() {
    let world = World::with(|text| {
        let keys = "bind: [patient]\n  patient_keys: { directory: /keys }";
        text.replace("phi:\n  domain", &format!("phi:\n  {keys}\n  domain"))
            .replace("also: [mrn]", "searchable: upper, also: [mrn]")
            .replace(
                "patient: result.patients[*].patient_id",
                "patient: args.patient_id",
            )
            .replace(
                "patient: result.records[*].patient_id",
                "patient: args.patient_id",
            )
    });
    let one = patient_ring(&world, "one");
    let clear = json!({ "medical_record_number": "MRN7" });
    let stored = sent(&world, &clear, of("p-1", HeldKey::Held(&one))).unwrap();
    let back = seen(&world, &stored, of("p-1", HeldKey::Held(&one))).unwrap();
    assert_eq!(back, clear);
    let gone = of("p-1", HeldKey::Destroyed);
    let destroyed = Err(RewriteError::Vault(PATIENT_KEY_DESTROYED));
    assert_eq!(seen(&world, &stored, gone), destroyed);
    assert_eq!(sent(&world, &clear, gone), destroyed);
}

#[test]
fn the_synthetic_patient_has_a_key_of_its_own_and_passes() {
    let world = world("");
    assert_eq!(crate::canary::run(&world.workshop, NOW), Ok(()));
}

/// Without keys of patients: a value that was opened under a key that only opens is written under the one that seals.
#[test]
fn a_value_is_sealed_anew_when_it_is_written_back_after_a_rotation() {
    let before = World::new();
    let permit = before.tool("physician", "change");
    let stored = before.sent(&permit, &json!({ "ssn": CANARY })).unwrap();
    assert_eq!(kid(&stored["ssn"]), Some(Kid::of("phi-2026-11")));
    let mut after = World::new();
    let key = |id: &str, from_unix, byte| RingKey {
        id: id.to_owned(),
        from_unix,
        key: KeyMaterial::from_raw(&[byte; 32]).unwrap(),
    };
    let rotated = KeyRing::with_states(vec![
        Entry::DecryptOnly(key("phi-2026-11", 0, 0xa1)),
        Entry::Active(key("phi-2026-12", 10, 0xa2)),
    ]);
    let macs = RecordMacRing::new(Vec::new());
    let policy = Arc::clone(&after.workshop.policy);
    after.workshop = Workshop::new(policy, Arc::new(rotated.unwrap()), macs).unwrap();
    let permit = after.tool("physician", "look");
    let read = after.structured(&permit, &stored).unwrap();
    assert_eq!(read["ssn"], CANARY);
    let permit = after.tool("physician", "change");
    let written = after.sent(&permit, &read).unwrap();
    assert_eq!(kid(&written["ssn"]), Some(Kid::of("phi-2026-12")));
}

mod generated {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// What is sealed opens to the same value under the patient's key, and to nothing under any other, or none.
        #[test]
        fn open_after_seal_and_nothing_after_the_destruction(values in proptest::collection::vec("\\PC{0,20}", 1..5), patient in "[a-z0-9-]{1,12}") {
            let world = world("");
            let (one, other) = (patient_ring(&world, "one"), patient_ring(&world, "other"));
            let clear = json!({ "patient_id": patient, "ssn": values[0], "diagnosis": values });
            let held = of(&patient, HeldKey::Held(&one));
            let stored = sent(&world, &clear, held).unwrap();
            prop_assert_eq!(&seen(&world, &stored, held).unwrap(), &clear);
            for gone in [HeldKey::Destroyed, HeldKey::Unavailable, HeldKey::Absent, HeldKey::Held(&other)] {
                prop_assert!(seen(&world, &stored, of(&patient, gone)).is_err());
            }
        }
    }
}
