//! Refresh tokens by an injected clock, and what a local token carries of its login.

use std::sync::Arc;

use serde_json::json;

use super::carried::Carried;
use super::refresh::SuccessorKeys;
use super::*;

const NOW: i64 = 1_800_000_000;
const CERTIFICATE: [u8; 32] = [1; 32];
const OTHER: [u8; 32] = [2; 32];

fn keys() -> SuccessorKeys {
    SuccessorKeys::derive([&b"a local secret of 32 bytes or so"[..]].into_iter())
}

fn family(session: &str, token: &RefreshToken) -> Family {
    Family {
        session: session.into(),
        carried: Carried(json!({"sub": "dr-lee"}).as_object().unwrap().clone())
            .to_bytes()
            .into(),
        certificate: Some(CERTIFICATE),
        current: token.hash(),
        previous: None,
        turned_at: NOW,
        ends_at: NOW + 900,
    }
}

async fn begun(session: &str) -> (Families, RefreshToken) {
    let families = Families::default();
    let token = another(&families, session).await;
    (families, token)
}

async fn another(families: &Families, session: &str) -> RefreshToken {
    let token = RefreshToken::first().unwrap();
    let begun = families.begin(&token, family(session, &token), NOW).await;
    begun.unwrap();
    token
}

async fn turn_as(
    families: &Families,
    token: &RefreshToken,
    certificate: Option<&[u8; 32]>,
    now: i64,
) -> Result<RefreshToken, Unusable> {
    let keys = keys();
    let shown = Shown {
        certificate,
        now,
        keys: &keys,
    };
    families.turn(token, shown).await.map(|turned| turned.next)
}

async fn turn(
    families: &Families,
    token: &RefreshToken,
    now: i64,
) -> Result<RefreshToken, Unusable> {
    turn_as(families, token, Some(&CERTIFICATE), now).await
}

fn is_reuse<T>(turned: Result<T, Unusable>) -> bool {
    matches!(turned, Err(Unusable::Reused(family)) if &*family.session == "s")
}

#[tokio::test]
async fn each_use_turns_a_family_and_only_the_newest_token_is_good() {
    let (families, first) = begun("s").await;
    let second = turn(&families, &first, NOW + 60).await.unwrap();
    let third = turn(&families, &second, NOW + 120).await.unwrap();
    assert!(first.text() != second.text() && second.text() != third.text());
    assert!(turn(&families, &third, NOW + 180).await.is_ok());
}

#[tokio::test]
async fn a_token_that_was_used_before_ends_its_family() {
    let (families, first) = begun("s").await;
    let second = turn(&families, &first, NOW).await.unwrap();
    assert!(is_reuse(
        turn(&families, &first, NOW + GRACE_SECONDS + 1).await
    ));
    let over = turn(&families, &second, NOW + 20).await.unwrap_err();
    assert_eq!(over, Unusable::Unknown);
}

#[tokio::test]
async fn a_lost_answer_is_answered_again_with_the_same_token_for_a_moment_and_until_that_is_used() {
    let (families, first) = begun("s").await;
    let second = turn(&families, &first, NOW).await.unwrap();
    let again = turn(&families, &first, NOW + GRACE_SECONDS).await.unwrap();
    assert_eq!(again.text(), second.text());
    turn(&families, &again, NOW + GRACE_SECONDS).await.unwrap();
    let late = turn(&families, &first, NOW + GRACE_SECONDS).await;
    assert!(is_reuse(late), "its successor was used");
}

#[tokio::test]
async fn without_a_certificate_nothing_is_answered_twice() {
    let families = Families::default();
    let token = RefreshToken::first().unwrap();
    let unbound = Family {
        certificate: None,
        ..family("s", &token)
    };
    families.begin(&token, unbound, NOW).await.unwrap();
    assert!(turn_as(&families, &token, None, NOW).await.is_ok());
    assert!(is_reuse(turn_as(&families, &token, None, NOW).await));
}

#[tokio::test]
async fn another_certificate_gets_nothing_and_changes_nothing() {
    let (families, first) = begun("s").await;
    for certificate in [Some(&OTHER), None] {
        let refused = turn_as(&families, &first, certificate, NOW).await;
        assert_eq!(refused.unwrap_err(), Unusable::Foreign);
    }
    let second = turn(&families, &first, NOW).await.unwrap();
    let refused = turn_as(&families, &first, Some(&OTHER), NOW).await;
    assert_eq!(refused.unwrap_err(), Unusable::Foreign, "nor by the grace");
    turn(&families, &second, NOW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_refresh_at_once_one_turns_the_family_and_all_get_what_he_got() {
    let (families, first) = begun("s").await;
    let (families, first) = (Arc::new(families), Arc::new(first));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (families, first) = (Arc::clone(&families), Arc::clone(&first));
            tokio::spawn(async move { turn(&families, &first, NOW).await.unwrap().text() })
        })
        .collect();
    let mut texts = Vec::new();
    for task in tasks {
        texts.push(task.await.unwrap());
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
    let next = RefreshToken::parse(&texts[0]).unwrap();
    turn(&families, &next, NOW + 1).await.unwrap();
}

#[tokio::test]
async fn a_look_uses_nothing() {
    let (families, first) = begun("s").await;
    let keys = keys();
    let shown = Shown {
        certificate: Some(&CERTIFICATE),
        now: NOW,
        keys: &keys,
    };
    let looked = families.look(&first, shown).await.unwrap();
    assert_eq!(families.look(&first, shown).await.unwrap(), looked);
    turn(&families, &first, NOW).await.unwrap();
}

#[tokio::test]
async fn a_family_ends_at_its_time_and_with_its_session() {
    let (families, first) = begun("s").await;
    let late = turn(&families, &first, NOW + 900).await.unwrap_err();
    assert_eq!(late, Unusable::Expired);
    let (here, there) = (another(&families, "s").await, another(&families, "t").await);
    families.end_session("s").await;
    let ended = turn(&families, &here, NOW).await.unwrap_err();
    assert_eq!(ended, Unusable::Unknown);
    assert!(turn(&families, &there, NOW).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_goes_back_ends_no_honest_client() {
    let (families, first) = begun("s").await;
    let second = turn(&families, &first, NOW + 100).await.unwrap();
    let again = turn(&families, &first, NOW - 100).await.unwrap();
    assert_eq!(again.text(), second.text());
}

#[tokio::test]
async fn a_session_has_so_many_families_and_the_oldest_makes_room() {
    let (families, oldest) = begun("s").await;
    let mut second = None;
    for _ in 0..FAMILIES_PER_SESSION_MAX {
        let token = another(&families, "s").await;
        second.get_or_insert(token);
    }
    let gone = turn(&families, &oldest, NOW).await.unwrap_err();
    assert_eq!(gone, Unusable::Unknown);
    assert!(turn(&families, &second.unwrap(), NOW).await.is_ok());
}

#[tokio::test]
async fn what_families_carry_together_is_bounded_and_what_is_over_is_forgotten() {
    let store = MemoryStore::default();
    let put = async |bytes: usize, session: &str, now: i64| {
        let token = RefreshToken::first().unwrap();
        let large = Family {
            carried: vec![b' '; bytes].into(),
            ..family(session, &token)
        };
        store.put(*token.family(), large, now).await
    };
    put(FAMILIES_BYTES_MAX, "s", NOW).await.unwrap();
    assert_eq!(put(1, "t", NOW).await, Err(NotKept::Full));
    store.remove_session("s").await.unwrap();
    put(1, "t", NOW).await.unwrap();
    assert_eq!(store.len(), 1);
    store.sweep(NOW + 901);
    assert!(store.is_empty());
    put(FAMILIES_BYTES_MAX, "u", NOW + 901).await.unwrap();
    put(1, "v", NOW + 1000).await.unwrap();
}

#[tokio::test]
async fn as_many_families_as_the_bound_says_and_not_one_more() {
    let store = MemoryStore::default();
    let token = RefreshToken::first().unwrap();
    let mut id = FamilyId::default();
    for number in 0..=FAMILIES_MAX {
        id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        let put = store
            .put(id, family(&number.to_string(), &token), NOW)
            .await;
        assert_eq!(put.is_ok(), number < FAMILIES_MAX, "{number}");
    }
}

#[tokio::test]
async fn a_rotated_secret_breaks_no_family_and_no_retry() {
    let (families, first) = begun("s").await;
    let old = turn(&families, &first, NOW).await.unwrap();
    let secrets = [
        &b"another secret of 32 bytes or so"[..],
        b"a local secret of 32 bytes or so",
    ];
    let rotated = SuccessorKeys::derive(secrets.into_iter());
    let shown = Shown {
        certificate: Some(&CERTIFICATE),
        now: NOW + 1,
        keys: &rotated,
    };
    let again = families.turn(&first, shown).await.unwrap();
    assert_eq!(again.next.text(), old.text());
    families.turn(&old, shown).await.unwrap();
}

#[test]
fn what_is_no_refresh_token_is_none() {
    let token = RefreshToken::first().unwrap().text();
    assert!(RefreshToken::parse(&token).is_some());
    let mut shorter = token.to_string();
    shorter.pop();
    let (longer, headless) = (format!("{}AA", &*token), token.replacen('s', "", 1));
    for bad in ["", "sgr1.", &shorter, &longer, &headless] {
        assert!(RefreshToken::parse(bad).is_none(), "{bad}");
    }
    let shown = format!("{:?}", RefreshToken::parse(&token));
    assert_eq!(shown, "Some(RefreshToken(..))");
}

mod sealed {
    use super::super::seal::{SealingKeys, open, seal};
    use super::*;

    fn sealing(secrets: &[&[u8]]) -> SealingKeys {
        SealingKeys::derive(secrets.iter().copied())
    }

    fn sealed() -> (FamilyId, Family) {
        let token = RefreshToken::first().unwrap();
        let mut family = family("s", &token);
        let text = seal(&sealing(&[b"one"]), token.family(), &family).unwrap();
        family.carried = text.into();
        (*token.family(), family)
    }

    #[test]
    fn what_a_shared_store_keeps_opens_under_the_secret_and_the_one_before_it_alone() {
        let (id, family) = sealed();
        assert!(!String::from_utf8_lossy(&family.carried).contains("dr-lee"));
        let opened = open(&sealing(&[b"two", b"one"]), &id, &family).unwrap();
        assert!(String::from_utf8(opened).unwrap().contains("dr-lee"));
        assert!(open(&sealing(&[b"two"]), &id, &family).is_none());
    }

    #[test]
    fn whoever_writes_to_a_shared_store_can_neither_forge_nor_move_a_family() {
        let (id, family) = sealed();
        let keys = sealing(&[b"one"]);
        let mut forged = family.carried.to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let changed = [
            Family {
                carried: forged.into(),
                ..family.clone()
            },
            Family {
                carried: vec![0; 5].into(),
                ..family.clone()
            },
            Family {
                session: "t".into(),
                ..family.clone()
            },
            Family {
                certificate: Some(OTHER),
                ..family.clone()
            },
            Family {
                certificate: None,
                ..family.clone()
            },
            Family {
                ends_at: family.ends_at + 1,
                ..family.clone()
            },
        ];
        for family in changed {
            assert!(open(&keys, &id, &family).is_none(), "{family:?}");
        }
        assert!(open(&keys, &[0; 16], &family).is_none());
        assert!(open(&keys, &id, &family).is_some());
    }
}
