//! Stored records taken through today's keys: what changes, what stays, and what stops the pass.

use safeguard_vault::ring::{Entry, Kid};

use super::super::reseal::{About, Resealed, reseal};
use super::super::{HeldKey, PATIENT_KEY_ABSENT, PATIENT_KEY_DESTROYED};
use super::shredding::{domain, kid, of, patient_ring, world};
use super::*;

/// The world after a rotation: the key that it sealed with only opens.
fn rotated(mut world: World) -> World {
    let key = |id: &str, from_unix, byte| RingKey {
        id: id.to_owned(),
        from_unix,
        key: KeyMaterial::from_raw(&[byte; 32]).unwrap(),
    };
    let ring = KeyRing::with_states(vec![
        Entry::DecryptOnly(key("phi-2026-11", 0, 0xa1)),
        Entry::Active(key("phi-2026-12", 10, 0xa2)),
    ]);
    let policy = Arc::clone(&world.workshop.policy);
    let macs = RecordMacRing::new(Vec::new());
    world.workshop = Workshop::new(policy, Arc::new(ring.unwrap()), macs).unwrap();
    world
}

fn pass(
    world: &World,
    text: &str,
    holder: Holder<'_>,
    unbound: bool,
) -> Result<Resealed, RewriteError> {
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let about = About {
        holder,
        unbound,
        now_unix: NOW,
    };
    reseal(&tree, &world.workshop, about)
}

fn body(done: Resealed) -> String {
    String::from_utf8(done.body.unwrap()).unwrap()
}

#[test]
fn every_sealed_value_is_sealed_anew_in_its_own_shape_and_nothing_else_changes() {
    let before = World::new();
    let object = before.sealed("ssn", &json!(CANARY));
    let string = before.sealed_as(
        "date_of_birth",
        &json!("1980-02-29"),
        Format::Native,
        Wrap::String,
    );
    let fernet = before.sealed_as("diagnosis", &json!([1, null]), Format::Fernet, Wrap::Object);
    let inner =
        json!({ "mrn": before.sealed("medical_record_number", &json!("MRN-7")) }).to_string();
    let text = format!(
        r#"{{ "n": 1.50 , "data":{{"ssn":{object},"dob":{string},"diagnosis":{fernet},"status": "active"}}, "text":{} }}"#,
        json!(inner)
    );
    let after = rotated(before);
    let done = pass(&after, &text, HOLDER, false).unwrap();
    assert_eq!((done.anew, done.already), (4, 0));
    let resealed = body(done);
    assert!(
        resealed.starts_with(r#"{ "n": 1.50 , "data":{"ssn":{"_encrypted":true,"#),
        "{resealed}"
    );
    assert!(
        resealed.contains(r#""status": "active"}, "text":"#),
        "{resealed}"
    );
    let record: Value = serde_json::from_str(&resealed).unwrap();
    let data = &record["data"];
    assert_eq!(kid(&data["ssn"]), Some(Kid::of("phi-2026-12")));
    assert_eq!(after.opened("ssn", &data["ssn"]), CANARY);
    assert!(data["dob"].as_str().unwrap().starts_with("hs1."));
    assert_eq!(after.opened("date_of_birth", &data["dob"]), "1980-02-29");
    assert_eq!(
        kid(&data["diagnosis"]),
        Some(Kid::of("phi-2026-12")),
        "Fernet becomes hs1"
    );
    assert_eq!(
        after.opened("diagnosis", &data["diagnosis"]),
        json!([1, null])
    );
    let inner: Value = serde_json::from_str(record["text"].as_str().unwrap()).unwrap();
    assert_eq!(
        after.opened("medical_record_number", &inner["mrn"]),
        "MRN-7"
    );

    let again = pass(&after, &resealed, HOLDER, false).unwrap();
    assert_eq!((again.anew, again.already), (0, 4));
    assert!(again.body.is_none(), "not a byte changes the second time");
}

#[test]
fn a_searchable_value_is_found_under_the_key_that_searches_now() {
    let searchable =
        || World::with(|text| text.replace("also: [mrn]", "searchable: upper, also: [mrn]"));
    let before = searchable();
    let permit = before.tool("physician", "change");
    let stored = before.sent(&permit, &json!({ "mrn": "mrn-7" })).unwrap();
    let after = rotated(searchable());
    let resealed = body(pass(&after, &stored.to_string(), HOLDER, false).unwrap());
    let permit = after.tool("physician", "change");
    let searched = after.sent(&permit, &json!({ "mrn": "MRN 7" })).unwrap();
    assert_eq!(
        resealed,
        searched.to_string(),
        "equal values are equal again"
    );
}

#[test]
fn records_from_before_come_under_the_patients_key_and_are_bound_to_the_patient() {
    let world = world("");
    let stored = json!({ "ssn": world.sealed("ssn", &json!(CANARY)) }).to_string();
    let one = patient_ring(&world, "one");
    let held = of("p-1", HeldKey::Held(&one));
    let refused = pass(&world, &stored, held, false).map(|_| ());
    assert_eq!(
        refused,
        Err(RewriteError::Vault("opened")),
        "unbound, it was not asked for"
    );
    let absent = pass(&world, &stored, of("p-1", HeldKey::Absent), true).map(|_| ());
    assert_eq!(absent, Err(RewriteError::Vault(PATIENT_KEY_ABSENT)));
    let resealed = body(pass(&world, &stored, held, true).unwrap());
    let record: Value = serde_json::from_str(&resealed).unwrap();
    assert_eq!(kid(&record["ssn"]), Some(one.kid()));
    let again = pass(&world, &resealed, held, true).unwrap();
    assert_eq!((again.anew, again.already), (0, 1));
    let other = pass(&world, &resealed, of("p-2", HeldKey::Held(&one)), true).map(|_| ());
    assert_eq!(other, Err(RewriteError::Vault("opened")));
    let gone = pass(&world, &resealed, of("p-1", HeldKey::Destroyed), true).map(|_| ());
    assert_eq!(gone, Err(RewriteError::Vault(PATIENT_KEY_DESTROYED)));
    assert_eq!(domain(&world), "clinic-a/ehr");
}

#[test]
fn what_does_not_open_stops_its_record() {
    let world = World::new();
    let good = world.sealed("ssn", &json!(CANARY));
    // Another field's: it was moved.
    let moved = json!({ "ssn": good, "diagnosis": good }).to_string();
    let stopped = pass(&rotated(world), &moved, HOLDER, false).map(|_| ());
    assert_eq!(stopped, Err(RewriteError::Vault("opened")));
}
