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

fn begun(session: &str) -> (Families, RefreshToken) {
    let families = Families::default();
    let token = another(&families, session);
    (families, token)
}

fn another(families: &Families, session: &str) -> RefreshToken {
    let token = RefreshToken::first().unwrap();
    families
        .begin(&token, family(session, &token), NOW)
        .unwrap();
    token
}

fn turn(families: &Families, token: &RefreshToken, now: i64) -> Result<RefreshToken, Unusable> {
    let turned = families.turn(token, Some(&CERTIFICATE), now, &keys());
    turned.map(|turned| turned.next)
}

#[test]
fn each_use_turns_a_family_and_only_the_newest_token_is_good() {
    let (families, first) = begun("s");
    let second = turn(&families, &first, NOW + 60).unwrap();
    let third = turn(&families, &second, NOW + 120).unwrap();
    assert!(first.text() != second.text() && second.text() != third.text());
    assert_eq!(turn(&families, &third, NOW + 180).map(drop), Ok(()));
}

#[test]
fn a_token_that_was_used_before_ends_its_family() {
    let (families, first) = begun("s");
    let second = turn(&families, &first, NOW).unwrap();
    let reused = turn(&families, &first, NOW + GRACE_SECONDS + 1).unwrap_err();
    assert!(matches!(&reused, Unusable::Reused(family) if &*family.session == "s"));
    assert_eq!(
        turn(&families, &second, NOW + 20).unwrap_err(),
        Unusable::Unknown
    );
    assert!(families.is_empty());
}

#[test]
fn a_lost_answer_is_answered_again_with_the_same_token_for_a_moment_and_until_that_is_used() {
    let (families, first) = begun("s");
    let second = turn(&families, &first, NOW).unwrap();
    let again = turn(&families, &first, NOW + GRACE_SECONDS).unwrap();
    assert_eq!(again.text(), second.text());
    turn(&families, &again, NOW + GRACE_SECONDS).unwrap();
    let late = turn(&families, &first, NOW + GRACE_SECONDS).unwrap_err();
    assert!(
        matches!(late, Unusable::Reused(_)),
        "its successor was used"
    );
}

#[test]
fn without_a_certificate_nothing_is_answered_twice() {
    let families = Families::default();
    let token = RefreshToken::first().unwrap();
    let unbound = Family {
        certificate: None,
        ..family("s", &token)
    };
    families.begin(&token, unbound, NOW).unwrap();
    let turn = || families.turn(&token, None, NOW, &keys()).map(drop);
    assert_eq!(turn(), Ok(()));
    assert!(matches!(turn(), Err(Unusable::Reused(_))));
}

#[test]
fn another_certificate_gets_nothing_and_changes_nothing() {
    let (families, first) = begun("s");
    for certificate in [Some(&OTHER), None] {
        let refused = families.turn(&first, certificate, NOW, &keys()).map(drop);
        assert_eq!(refused, Err(Unusable::Foreign));
    }
    let second = turn(&families, &first, NOW).unwrap();
    let refused = families.turn(&first, Some(&OTHER), NOW, &keys()).map(drop);
    assert_eq!(refused, Err(Unusable::Foreign), "nor by the grace");
    turn(&families, &second, NOW).unwrap();
}

#[test]
fn of_many_who_refresh_at_once_one_turns_the_family_and_all_get_what_he_got() {
    let (families, first) = begun("s");
    let (families, first) = (Arc::new(families), Arc::new(first));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (families, first) = (Arc::clone(&families), Arc::clone(&first));
            std::thread::spawn(move || turn(&families, &first, NOW).unwrap().text())
        })
        .collect();
    let texts: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(texts.iter().all(|text| *text == texts[0]));
    let next = RefreshToken::parse(&texts[0]).unwrap();
    turn(&families, &next, NOW + 1).unwrap();
}

#[test]
fn a_look_uses_nothing() {
    let (families, first) = begun("s");
    let look = |token| families.look(token, Some(&CERTIFICATE), NOW, &keys());
    assert_eq!(look(&first).unwrap(), look(&first).unwrap());
    turn(&families, &first, NOW).unwrap();
}

#[test]
fn a_family_ends_at_its_time_and_with_its_session() {
    let (families, first) = begun("s");
    assert_eq!(
        turn(&families, &first, NOW + 900).unwrap_err(),
        Unusable::Expired
    );
    let (here, there) = (another(&families, "s"), another(&families, "t"));
    families.end_session("s");
    assert_eq!(turn(&families, &here, NOW).unwrap_err(), Unusable::Unknown);
    assert_eq!(turn(&families, &there, NOW).map(drop), Ok(()));
    families.sweep(NOW + 901);
    assert!(families.is_empty());
}

#[test]
fn a_clock_that_goes_back_ends_no_honest_client() {
    let (families, first) = begun("s");
    let second = turn(&families, &first, NOW + 100).unwrap();
    let again = turn(&families, &first, NOW - 100).unwrap();
    assert_eq!(again.text(), second.text());
}

#[test]
fn a_session_has_so_many_families_and_the_oldest_makes_room() {
    let (families, oldest) = begun("s");
    for _ in 0..FAMILIES_PER_SESSION_MAX {
        another(&families, "s");
    }
    assert_eq!(families.len(), FAMILIES_PER_SESSION_MAX);
    assert_eq!(
        turn(&families, &oldest, NOW).unwrap_err(),
        Unusable::Unknown
    );
}

#[test]
fn what_families_carry_together_is_bounded() {
    let families = Families::default();
    let begin = |bytes: usize, session: &str| {
        let token = RefreshToken::first().unwrap();
        let large = Family {
            carried: vec![b' '; bytes].into(),
            ..family(session, &token)
        };
        families.begin(&token, large, NOW)
    };
    begin(FAMILIES_BYTES_MAX, "s").unwrap();
    assert_eq!(begin(1, "t"), Err(Full));
    families.end_session("s");
    begin(1, "t").unwrap();
}

#[test]
fn a_rotated_secret_breaks_no_family_and_no_retry() {
    let (families, first) = begun("s");
    let old = turn(&families, &first, NOW).unwrap();
    let secrets = [
        &b"another secret of 32 bytes or so"[..],
        b"a local secret of 32 bytes or so",
    ];
    let rotated = SuccessorKeys::derive(secrets.into_iter());
    let turn = |token| families.turn(token, Some(&CERTIFICATE), NOW + 1, &rotated);
    assert_eq!(turn(&first).unwrap().next.text(), old.text());
    turn(&old).unwrap();
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
