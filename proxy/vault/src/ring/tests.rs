use super::*;

fn key(id: &str, from_unix: i64) -> RingKey {
    RingKey {
        id: id.to_owned(),
        from_unix,
        key: KeyMaterial::from_raw(&[7; 32]).unwrap(),
    }
}

#[test]
fn the_newest_key_whose_date_is_reached_seals() {
    let ring = KeyRing::new(vec![key("b", 200), key("a", 100), key("c", 300)]).unwrap();
    let sealing = |now| ring.sealing(now).map(Held::id);
    assert_eq!(
        (sealing(99), sealing(100), sealing(299)),
        (None, Some("a"), Some("b"))
    );
    assert_eq!(sealing(i64::MAX), Some("c"));
    assert_eq!(
        ring.keys().map(Held::id).collect::<Vec<_>>(),
        ["c", "b", "a"]
    );
}

#[test]
fn of_two_keys_with_one_date_the_greater_id_seals_whatever_their_order() {
    for keys in [
        vec![key("a", 1), key("b", 1)],
        vec![key("b", 1), key("a", 1)],
    ] {
        assert_eq!(
            KeyRing::new(keys).unwrap().sealing(1).map(Held::id),
            Some("b")
        );
    }
}

#[test]
fn keys_that_cannot_be_told_apart_are_refused() {
    let refused = KeyRing::new(vec![key("same", 1), key("same", 2)]).err();
    assert_eq!(
        refused,
        Some(RingError::SameKid {
            first: "same".into(),
            second: "same".into()
        })
    );
    assert_eq!(KeyRing::new(Vec::new()).err(), Some(RingError::Empty));
    let many = (0..65).map(|i| key(&i.to_string(), 0)).collect();
    assert_eq!(
        KeyRing::new(many).err(),
        Some(RingError::TooMany { found: 65 })
    );
}

#[test]
fn a_kid_is_shown_in_hexadecimal() {
    assert_eq!(Kid::of("").to_string(), "e3b0c44298fc1c14");
}

#[test]
fn debug_of_a_ring_shows_no_key() {
    let ring = KeyRing::new(vec![key("a", 1)]).unwrap();
    let shown = format!("{ring:?}");
    assert!(
        shown.contains("KeyMaterial(..)")
            && shown.contains("FernetKey(..)")
            && !shown.contains("7, 7"),
        "{shown}"
    );
}

#[test]
fn a_decrypt_only_key_never_seals_and_a_destroyed_one_is_known_by_name_only() {
    let ring = KeyRing::with_states(vec![
        Entry::DecryptOnly(key("c", 300)),
        Entry::Active(key("b", 200)),
        Entry::Active(key("a", 100)),
        Entry::DecryptOnly(key("0", 50)),
        Entry::Destroyed { id: "gone".into() },
    ])
    .unwrap();
    assert_eq!(ring.sealing(1000).map(Held::id), Some("b"));
    assert_eq!(ring.first().map(Held::id), Some("a"));
    assert_eq!(
        ring.keys()
            .map(|held| (held.id(), held.state()))
            .collect::<Vec<_>>(),
        [
            ("c", KeyState::DecryptOnly),
            ("b", KeyState::Active),
            ("a", KeyState::Active),
            ("0", KeyState::DecryptOnly)
        ]
    );
    let gone = Kid::of("gone");
    assert!(ring.is_destroyed(gone) && !ring.is_destroyed(Kid::of("a")));
    assert_eq!(
        (ring.id_of(gone), ring.id_of(Kid::of("a"))),
        (Some("gone"), Some("a"))
    );
    assert_eq!(ring.id_of(Kid::of("other")), None);
    assert_eq!(
        ring.destroyed(),
        [Destroyed {
            id: "gone".into(),
            kid: gone
        }]
    );
    assert_eq!(ring.opening(&gone.0).err(), Some(OpenError::Destroyed));
    assert_eq!(
        ring.opening(&Kid::of("other").0).err(),
        Some(OpenError::Refused)
    );
}

#[test]
fn a_ring_without_an_active_key_opens_and_seals_nothing() {
    let ring = KeyRing::with_states(vec![Entry::DecryptOnly(key("a", 0))]).unwrap();
    assert!(ring.sealing(i64::MAX).is_none() && ring.first().is_none());
    assert!(ring.opening(&Kid::of("a").0).is_ok());
}

#[test]
fn a_ring_of_destroyed_keys_is_empty_and_a_destroyed_key_s_name_is_not_used_again() {
    let gone = || Entry::Destroyed { id: "a".into() };
    assert_eq!(
        KeyRing::with_states(vec![gone()]).err(),
        Some(RingError::Empty)
    );
    let same = RingError::SameKid {
        first: "a".into(),
        second: "a".into(),
    };
    for entries in [
        vec![gone(), Entry::Active(key("a", 0))],
        vec![Entry::Active(key("a", 0)), gone()],
        vec![gone(), gone()],
    ] {
        assert_eq!(KeyRing::with_states(entries).err(), Some(same.clone()));
    }
}

#[test]
fn operations_alert_far_below_what_the_standard_allows() {
    const _: () = assert!(OPERATIONS_ALERT * 16 <= 1 << 32);
    let operations = Operations::default();
    operations.count_sealed();
    operations.count_opened();
    operations.count_opened();
    assert_eq!(
        (operations.sealed(), operations.opened(), operations.total()),
        (1, 2, 3)
    );
    operations.set_sealed(OPERATIONS_ALERT - 1);
    assert!(!operations.alert());
    operations.count_sealed();
    assert!(operations.alert());
}

#[test]
fn a_kid_is_read_back_from_how_it_is_shown_and_from_nothing_else() {
    let kid = Kid::of("a");
    let shown = kid.to_string();
    assert_eq!(Kid::from_hex(&shown), Some(kid));
    for bad in [
        shown.to_uppercase(),
        format!("{shown}00"),
        format!(" {shown}"),
        shown.replace(|c: char| c.is_ascii_digit(), "g"),
        String::new(),
    ] {
        assert_eq!(Kid::from_hex(&bad), None, "{bad}");
    }
}

#[test]
fn a_state_s_words_are_the_configuration_s() {
    assert_eq!(
        KeyState::ALL.map(KeyState::word),
        ["active", "decrypt-only", "destroyed"]
    );
}

#[test]
fn a_ring_that_is_built_anew_counts_on() {
    let old = KeyRing::new(vec![key("a", 1), key("b", 2)]).unwrap();
    let operations = |ring: &KeyRing, id| ring.by_kid(&Kid::of(id).0).unwrap().counter().sealed();
    old.sealing(1).unwrap().operations().count_sealed();
    let new = KeyRing::new(vec![key("c", 3), key("a", 1)])
        .unwrap()
        .counting_on(&old);
    assert_eq!((operations(&new, "a"), operations(&new, "c")), (1, 0));
    // What still runs with the old ring counts in the new one.
    old.sealing(1).unwrap().operations().count_sealed();
    assert_eq!((operations(&new, "a"), operations(&old, "b")), (2, 0));
}
