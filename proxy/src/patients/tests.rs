//! The directory of patients' keys: one key a patient whatever happens, none after its destruction.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use proptest::prelude::*;
use safeguard_audit::{AuditKey, AuditKeys};
use safeguard_vault::KeyMaterial;
use safeguard_vault::ring::{Entry as RingEntry, Kid, RingKey};

use super::receipt::{Disbelief, Order, Trust, public_key, sign, verify};
use super::store::{KEY, NEW, SHREDDED};
use super::*;

const NOW: i64 = 1_800_000_000;

fn ring_key(id: &str, from_unix: i64, byte: u8) -> RingKey {
    RingKey {
        id: id.into(),
        from_unix,
        key: KeyMaterial::from_raw(&[byte; 32]).unwrap(),
    }
}

fn old_ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(vec![ring_key("phi-1", 0, 1)]).unwrap())
}

/// The old key opens only, the new one seals.
fn new_ring() -> Arc<KeyRing> {
    let entries = vec![
        RingEntry::DecryptOnly(ring_key("phi-1", 0, 1)),
        RingEntry::Active(ring_key("phi-2", 10, 2)),
    ];
    Arc::new(KeyRing::with_states(entries).unwrap())
}

fn audit_keys() -> AuditKeys {
    AuditKeys::new(vec![AuditKey::new("audit-1", 0, [7; 32])]).unwrap()
}

fn who(patient: &str) -> Pseudonym {
    audit_keys().pseudonym(patient)
}

fn store(folder: &tempfile::TempDir) -> Store {
    let store = Store::new(&folder.path().join("keys"), old_ring(), "clinic");
    store.prepare().unwrap();
    store
}

fn id(stored: Stored) -> String {
    match stored {
        Stored::Key(key) => key.id().to_owned(),
        other => panic!("no key: {other:?}"),
    }
}

fn receipt(_: &Gone) -> Result<String, StoreError> {
    Ok("{\"receipt\":1}".to_owned())
}

/// The names in the directory, those that are being written too.
fn names(store: &Store) -> Vec<String> {
    let mut names = Vec::new();
    for directory in [store.directory().to_owned(), store.directory().join(NEW)] {
        for entry in fs::read_dir(directory).unwrap() {
            names.push(entry.unwrap().file_name().into_string().unwrap());
        }
    }
    names.retain(|name| name != NEW);
    names.sort();
    names
}

#[test]
fn a_patient_has_one_key_from_the_first_time_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    assert!(matches!(store.load(who("p-1")).unwrap(), Stored::Absent));
    let first = id(store.create(who("p-1"), NOW).unwrap());
    assert_eq!(id(store.create(who("p-1"), NOW).unwrap()), first);
    assert_eq!(id(store.load(who("p-1")).unwrap()), first);
    assert_ne!(id(store.create(who("p-2"), NOW).unwrap()), first);
}

#[test]
fn a_file_is_named_by_the_pseudonym_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let patient = "MRN-0041789";
    store.create(who(patient), NOW).unwrap();
    assert_eq!(names(&store), [format!("{}.key", who(patient))]);
    let path = store.path(who(patient), KEY);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(path).unwrap();
    assert!(!text.contains(patient), "no patient's id in it");
}

#[test]
fn replicas_that_make_one_patients_key_at_once_end_with_one() {
    let folder = tempfile::tempdir().unwrap();
    store(&folder);
    let (count, begin) = (8, Barrier::new(8));
    let ids: Vec<String> = std::thread::scope(|scope| {
        let replica = || {
            // Each its own, as in processes of their own.
            let store = Store::new(&folder.path().join("keys"), old_ring(), "clinic");
            begin.wait();
            id(store.create(who("p-1"), NOW).unwrap())
        };
        let all: Vec<_> = (0..count).map(|_| scope.spawn(replica)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(names(&store(&folder)).len(), 1, "nothing else is left");
}

#[test]
fn after_a_destruction_there_is_no_key_and_none_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.create(who("p-1"), NOW).unwrap();
    let other = id(store.create(who("p-2"), NOW).unwrap());
    let text = store.destroy(who("p-1"), receipt).unwrap();
    assert!(matches!(store.load(who("p-1")).unwrap(), Stored::Destroyed));
    let again = store.create(who("p-1"), NOW).unwrap();
    assert!(matches!(again, Stored::Destroyed));
    assert!(!store.path(who("p-1"), KEY).exists());
    // Asked again, the receipt is the one of the first time.
    let second = store.destroy(who("p-1"), |_| panic!("it is signed once"));
    assert_eq!(second.unwrap(), text);
    assert_eq!(id(store.load(who("p-2")).unwrap()), other);
    let none = store.destroy(who("p-3"), receipt);
    assert!(matches!(none, Err(StoreError::NoKey)), "{none:?}");
}

#[test]
fn a_destruction_that_was_begun_is_finished_by_whoever_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.create(who("p-1"), NOW).unwrap();
    let key = store.path(who("p-1"), KEY);
    // A second name that a process left which died while it made the key.
    let left = store
        .directory()
        .join(NEW)
        .join(format!("{}.left", who("p-1")));
    fs::hard_link(&key, &left).unwrap();
    let copy = fs::read(&key).unwrap();
    // It died behind the tombstone.
    fs::write(store.path(who("p-1"), SHREDDED), "{}").unwrap();
    assert!(matches!(store.load(who("p-1")).unwrap(), Stored::Destroyed));
    assert!(!key.exists() && !left.exists());
    // And a copy that comes back goes again.
    fs::write(&key, copy).unwrap();
    assert!(matches!(store.load(who("p-1")).unwrap(), Stored::Destroyed));
    assert!(!key.exists());
}

#[test]
fn a_file_that_is_not_whole_is_refused_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.create(who("p-1"), NOW).unwrap();
    store.create(who("p-2"), NOW).unwrap();
    let path = store.path(who("p-1"), KEY);
    let whole = fs::read(&path).unwrap();
    let other = fs::read(store.path(who("p-2"), KEY)).unwrap();
    let cut = whole[..whole.len() - 1].to_vec();
    let mut flipped = whole.clone();
    flipped[100] ^= 1;
    for bad in [Vec::new(), cut, flipped, other, b"\n".to_vec()] {
        fs::write(&path, &bad).unwrap();
        for had in [store.load(who("p-1")), store.create(who("p-1"), NOW)] {
            assert!(matches!(had, Err(StoreError::Damaged(_))), "{had:?}");
        }
        let destroyed = store.destroy(who("p-1"), receipt);
        assert!(matches!(destroyed, Err(StoreError::Damaged(_))));
        assert_eq!(fs::read(&path).unwrap(), bad, "it stays as it is");
    }
    fs::write(&path, whole).unwrap();
    id(store.load(who("p-1")).unwrap());
}

#[test]
fn a_directory_that_is_open_to_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let mode = |mode| fs::set_permissions(store.directory(), fs::Permissions::from_mode(mode));
    for open in [0o750, 0o701, 0o777] {
        mode(open).unwrap();
        let prepared = store.prepare();
        assert!(matches!(prepared, Err(StoreError::Permissions(_))));
    }
    mode(0o700).unwrap();
    store.prepare().unwrap();
}

#[test]
fn a_link_in_a_keys_place_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.create(who("p-1"), NOW).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(store.path(who("p-1"), KEY), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, store.path(who("p-1"), KEY)).unwrap();
    assert!(matches!(store.load(who("p-1")), Err(StoreError::Io { .. })));
}

#[test]
fn what_can_not_be_written_makes_no_key_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let kept = id(store.create(who("p-1"), NOW).unwrap());
    fs::remove_dir(store.directory().join(NEW)).unwrap();
    let refused = store.create(who("p-2"), NOW);
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    assert!(matches!(store.load(who("p-2")).unwrap(), Stored::Absent));
    assert_eq!(id(store.load(who("p-1")).unwrap()), kept);
}

#[test]
fn a_rotation_wraps_every_key_anew_once_and_changes_none() {
    let folder = tempfile::tempdir().unwrap();
    let old = store(&folder);
    let patients = ["p-1", "p-2", "p-3", "p-4"].map(who);
    let ids = patients.map(|who| id(old.create(who, NOW).unwrap()));
    old.destroy(patients[3], receipt).unwrap();
    fs::write(old.path(patients[2], KEY), "torn").unwrap();
    let new = Store::new(old.directory(), new_ring(), "clinic");
    let first = new.rewrap(NOW).unwrap();
    assert_eq!((first.anew, first.already, first.refused), (2, 0, 1));
    assert_eq!(first.first_refused[0].pseudonym, patients[2]);
    let again = new.rewrap(NOW).unwrap();
    assert_eq!((again.anew, again.already, again.refused), (0, 2, 1));
    // The old key may go now.
    let alone = KeyRing::new(vec![ring_key("phi-2", 10, 2)]).unwrap();
    let after = Store::new(old.directory(), Arc::new(alone), "clinic");
    for number in [0, 1] {
        assert_eq!(id(after.load(patients[number]).unwrap()), ids[number]);
    }
    assert!(names(&new).iter().all(|name| name.contains('.')));
    assert_eq!(names(&new).len(), 4, "nothing else is left");
}

fn order() -> Order {
    Order {
        domain: "clinic".into(),
        pseudonym: who("p-1"),
        by: "uid:0".into(),
        reason: "the patient asked for it".into(),
        now_micros: NOW * 1_000_000,
    }
}

#[test]
fn a_receipt_holds_under_its_ring_and_its_public_key_and_not_when_a_word_is_changed() {
    let keys = audit_keys();
    let seed = keys.receipt_seed(NOW).unwrap();
    let gone = Gone {
        key_id: "patient-1".into(),
        wrapped_sha256: [9; 32],
    };
    let text = sign(&order(), &gone, &seed).unwrap();
    assert!(!text.contains("p-1\""), "a pseudonym, no id: {text}");
    let said = verify(text.as_bytes(), &Trust::Ring(&keys)).unwrap();
    assert_eq!((&*said.key_id, &*said.by), ("patient-1", "uid:0"));
    let public = public_key(&seed).unwrap();
    assert_eq!(verify(text.as_bytes(), &Trust::Key(public)), Ok(said));
    // Laid out anew it is the same.
    let laid_out: serde_json::Value = serde_json::from_str(&text).unwrap();
    let laid_out = serde_json::to_vec_pretty(&laid_out).unwrap();
    assert!(verify(&laid_out, &Trust::Key(public)).is_ok());
    let changed = text.replace("uid:0", "uid:1");
    let forged = verify(changed.as_bytes(), &Trust::Ring(&keys));
    assert_eq!(forged, Err(Disbelief::Forged));
    let other = AuditKeys::new(vec![AuditKey::new("audit-2", 0, [7; 32])]).unwrap();
    let unknown = verify(text.as_bytes(), &Trust::Ring(&other));
    assert_eq!(unknown, Err(Disbelief::UnknownKey));
    let same_name = AuditKeys::new(vec![AuditKey::new("audit-1", 0, [8; 32])]).unwrap();
    let forged = verify(text.as_bytes(), &Trust::Ring(&same_name));
    assert_eq!(forged, Err(Disbelief::Forged));
    let none = verify(b"{}", &Trust::Key(public));
    assert_eq!(none, Err(Disbelief::NoReceipt));
}

fn service(folder: &tempfile::TempDir, cached: usize) -> PatientKeys {
    let settings = policy::PatientKeys {
        directory: folder.path().join("keys"),
        cached,
    };
    let keys = PatientKeys::new(&settings, old_ring(), "clinic");
    keys.store().prepare().unwrap();
    keys
}

fn kid(found: &Found) -> Kid {
    match found {
        Found::Held(ring) => ring.kid(),
        other => panic!("no key: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_kept_in_memory_is_bounded_and_forgotten_at_a_destruction() {
    let folder = tempfile::tempdir().unwrap();
    let keys = service(&folder, 2);
    assert!(matches!(keys.find(who("p-0")).await, Found::Absent));
    for number in 0..10 {
        keys.find_or_create(who(&format!("p-{number}"))).await;
    }
    assert!((1..=2).contains(&keys.cached()), "{}", keys.cached());
    let first = kid(&keys.find(who("p-0")).await);
    assert_eq!(kid(&keys.find(who("p-0")).await), first, "from memory");
    keys.shred(who("p-0"), receipt).await.unwrap();
    assert!(matches!(keys.find(who("p-0")).await, Found::Destroyed));
    let again = keys.find_or_create(who("p-0")).await;
    assert!(matches!(again, Found::Destroyed));
    kid(&keys.find(who("p-1")).await);
}

#[tokio::test]
async fn a_key_in_memory_that_another_replica_destroyed_is_seen_when_it_is_asked_for_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (service(&folder, 8), service(&folder, 8));
    let made = one.find_or_create(who("p-1")).await;
    assert_eq!(kid(&other.find(who("p-1")).await), kid(&made));
    one.shred(who("p-1"), receipt).await.unwrap();
    other.age(who("p-1"));
    assert!(matches!(other.find(who("p-1")).await, Found::Destroyed));
}

#[tokio::test]
async fn a_store_that_can_not_be_read_gives_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys = service(&folder, 8);
    keys.find_or_create(who("p-1")).await;
    keys.age(who("p-1"));
    fs::rename(folder.path().join("keys"), folder.path().join("gone")).unwrap();
    fs::write(folder.path().join("keys"), "").unwrap();
    let found = keys.find(who("p-1")).await;
    assert!(matches!(found, Found::Unavailable), "{found:?}");
    let made = keys.find_or_create(who("p-2")).await;
    assert!(matches!(made, Found::Unavailable), "{made:?}");
}

impl PatientKeys {
    /// Makes a key in memory look as old as it may be.
    fn age(&self, who: Pseudonym) {
        if let Some(entry) = self.cache.get(&who) {
            let asked = entry.asked.checked_sub(FRESH).unwrap();
            self.cache.insert(who, Entry { asked, ..entry });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done in whatever order, a patient has the first key or, after a destruction, none.
    #[test]
    fn a_patient_never_gets_a_second_key(steps in proptest::collection::vec((0_u8..4, 0_u8..3), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let old = store(&folder);
        let new = Store::new(old.directory(), new_ring(), "clinic");
        let mut known: [Option<Option<String>>; 3] = [None, None, None];
        for (step, patient) in steps {
            let (who, known) = (who(&format!("p-{patient}")), &mut known[usize::from(patient)]);
            let had = match step {
                0 => new.create(who, NOW).unwrap(),
                1 => new.load(who).unwrap(),
                2 => {
                    new.rewrap(NOW).unwrap();
                    new.load(who).unwrap()
                }
                _ => {
                    let destroyed = old.destroy(who, receipt);
                    let new_ring_only = new.destroy(who, receipt);
                    if destroyed.is_ok() || new_ring_only.is_ok() {
                        *known = Some(None);
                    }
                    new.load(who).unwrap()
                }
            };
            match (had, &known) {
                (Stored::Absent, None) | (Stored::Destroyed, Some(None)) => {}
                (Stored::Key(key), None) if step == 0 => *known = Some(Some(key.id().to_owned())),
                (Stored::Key(key), Some(Some(id))) => prop_assert_eq!(key.id(), id),
                (had, known) => prop_assert!(false, "{:?} where {:?} was known", had, known),
            }
        }
    }
}
