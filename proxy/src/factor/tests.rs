//! The rules of the room, by clocks of the tests' own.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::key::Site;
use super::links::{For, Invitee, LIFE, LINKS_MAX, Links, PAGE_LIFE, TRIES_MAX};
use super::proofs::{Holder, Method, PROOFS_MAX, Proofs};
use super::record::{FAILURES_FREE, FAILURES_MAX, KEYS_MAX, LOCK_SECONDS, Record, Refused};
use super::seal::Seal;
use super::store::{PEOPLE_MAX, PersonId, Store, StoreError};
use super::totp::Secret;
use super::{FactorSettings, Factors, Invitation};
use crate::authn::Authenticated;

const NOW: i64 = 1_800_000_000;

fn seal(keys: &[(&str, u8)]) -> Seal {
    let keys: Vec<(&str, [u8; 32])> = keys.iter().map(|(id, byte)| (*id, [*byte; 32])).collect();
    Seal::derive(
        super::seal::FACTORS,
        keys.iter().map(|(id, key)| (*id, key)),
    )
    .unwrap()
}

fn person() -> PersonId {
    PersonId::new("issuer", "ann")
}

/// A record with one-time codes, enrolled at [`NOW`].
fn enrolled() -> (Record, Secret) {
    let mut record = Record::of("issuer".to_owned(), "ann".to_owned());
    let secret = Secret::generate().unwrap();
    let invitation = record.invite(NOW + 60).unwrap();
    let code = secret.code_at(NOW);
    record.enrol(&invitation, &secret, &code, NOW).unwrap();
    (record, secret)
}

fn holder(subject: &str, sid: &str, auth_time: i64) -> Holder {
    let who = Authenticated::for_tests(subject, Some(sid), Some(auth_time), NOW, NOW + 900);
    Holder {
        who: Arc::new(who),
        certificate: Some([1; 32]),
        name: Some("agent".to_owned()),
        source: std::net::Ipv4Addr::LOCALHOST.into(),
    }
}

#[test]
fn codes_are_those_of_the_standard() {
    // RFC 6238, appendix B, SHA-1, the last six digits.
    let secret = Secret::from_bytes(b"12345678901234567890").unwrap();
    for (time, code) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ] {
        assert_eq!(secret.code_at(time), code);
        let step = u64::try_from(time / 30).unwrap();
        for near in [time - 30, time, time + 30] {
            assert_eq!(secret.step_of(code, near), Some(step), "{near}");
        }
        assert_eq!(secret.step_of(code, time - 61), None);
        assert_eq!(secret.step_of(code, time + 61), None);
    }
    for odd in ["", "28708", "2870822", "28708a", "٢٨٧٠٨٢"] {
        assert_eq!(secret.step_of(odd, 59), None, "{odd}");
    }
    let uri = secret.uri("a.example.com", "dr: ann&x=1");
    assert!(uri.starts_with("otpauth://totp/a%2Eexample%2Ecom:dr%3A%20ann%26x%3D1?secret="));
}

#[test]
fn a_code_serves_once_and_so_does_the_one_that_enrolled() {
    let (mut record, secret) = enrolled();
    assert_eq!(
        record.prove(&secret.code_at(NOW), NOW),
        Err(Refused::Used),
        "it enrolled the app"
    );
    let later = NOW + 60;
    let code = secret.code_at(later);
    assert_eq!(record.prove(&code, later), Ok(Method::Totp));
    assert_eq!(record.prove(&code, later), Err(Refused::Used));
    let before = secret.code_at(later - 30);
    assert_eq!(
        record.prove(&before, later),
        Err(Refused::Used),
        "nor does one from before it"
    );
    let after = secret.code_at(later + 30);
    assert_eq!(record.prove(&after, later + 30), Ok(Method::Totp));
}

#[test]
fn wrong_codes_lock_the_person_out_and_a_right_one_forgives_them() {
    let (mut record, secret) = enrolled();
    let later = NOW + 600;
    let right = secret.code_at(later);
    let wrong = if right == "000000" {
        "000001"
    } else {
        "000000"
    };
    for _ in 1..FAILURES_FREE {
        assert_eq!(record.prove(wrong, later), Err(Refused::Wrong));
    }
    assert_eq!(record.prove(&right, later), Ok(Method::Totp), "forgiven");
    for _ in 0..FAILURES_FREE {
        assert_eq!(record.prove(wrong, later), Err(Refused::Wrong));
    }
    let after = secret.code_at(later + 60);
    assert_eq!(
        record.prove(&after, later + 60),
        Err(Refused::Locked(LOCK_SECONDS - 60)),
        "a right one is not even looked at"
    );
    let end = later + LOCK_SECONDS;
    assert_eq!(
        record.prove(&secret.code_at(end), end),
        Ok(Method::Totp),
        "the lock ends"
    );
}

#[test]
fn far_too_many_wrong_codes_need_an_administrator() {
    let (mut record, secret) = enrolled();
    let mut at = NOW + 600;
    for _ in 0..FAILURES_MAX {
        let right = secret.code_at(at);
        let wrong = if right == "000000" {
            "000001"
        } else {
            "000000"
        };
        assert_eq!(record.prove(wrong, at), Err(Refused::Wrong));
        at += LOCK_SECONDS;
    }
    at += 1_000_000;
    assert_eq!(record.prove(&secret.code_at(at), at), Err(Refused::Blocked));
    record.invite(at + 60).unwrap();
    assert_eq!(record.prove(&secret.code_at(at), at), Ok(Method::Totp));
}

#[test]
fn one_key_more_than_a_person_may_have_takes_the_place_of_the_oldest() {
    let mut record = Record::of("issuer".to_owned(), "ann".to_owned());
    for number in 0..=i64::try_from(KEYS_MAX).unwrap() {
        let invitation = record.invite(NOW + 60).unwrap();
        let key = serde_json::json!({
            "id": "", "fixed": "", "moving": "", "transports": 0, "enrolled_at": number,
        });
        let key = serde_json::from_value(key).unwrap();
        assert_eq!(record.enrol_key(&invitation, key, NOW), Ok(()));
    }
    let kept: Vec<i64> = record.keys().iter().map(|key| key.enrolled_at).collect();
    assert_eq!(kept, [1, 2, 3, 4, 5]);
    assert_eq!(record.enrolled_at(), Some(5));
}

#[test]
fn an_invitation_serves_once_in_its_time_and_only_the_last_one() {
    let mut record = Record::of("issuer".to_owned(), "ann".to_owned());
    let (first, second) = (
        record.invite(NOW + 60).unwrap(),
        record.invite(NOW + 60).unwrap(),
    );
    assert_eq!(record.invited(&first, NOW), Err(Refused::NotInvited));
    assert_eq!(record.invited(&second, NOW + 60), Err(Refused::NotInvited));
    let secret = Secret::generate().unwrap();
    let (right, wrong) = (secret.code_at(NOW), secret.code_at(NOW + 3000));
    let enrolled = record.enrol(&second, &secret, &wrong, NOW);
    assert_eq!(enrolled, Err(Refused::Wrong), "the app does not have it");
    assert_eq!(record.enrol(&second, &secret, &right, NOW), Ok(()));
    let again = record.enrol(&second, &secret, &right, NOW);
    assert_eq!(again, Err(Refused::NotInvited));
}

#[test]
fn what_is_kept_is_sealed_private_and_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("factors");
    let store = Store::open(&directory, seal(&[("k1", 1)])).unwrap();
    let (mut made, secret) = enrolled();
    store
        .change(&person(), |record| std::mem::swap(record, &mut made))
        .unwrap();
    let file = directory.join(format!("{}.factor", person().name()));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&file) & 0o777, 0o600);
    assert_eq!(mode(&directory) & 0o777, 0o700);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("ann") && !text.contains(&*secret.text()));

    // A new key seals, the old one still opens.
    let store = Store::open(&directory, seal(&[("k1", 1), ("k2", 2)])).unwrap();
    let later = NOW + 60;
    let code = secret.code_at(later);
    let prove = |record: &mut Record| record.prove(&code, later);
    assert_eq!(store.change(&person(), prove).unwrap(), Ok(Method::Totp));
    let store = Store::open(&directory, seal(&[("k2", 2)])).unwrap();
    let again = store.change(&person(), prove).unwrap();
    assert_eq!(again, Err(Refused::Used), "the step was kept, sealed anew");

    let mut seen = Vec::new();
    store
        .look(|record| seen.push(record.subject.clone()))
        .unwrap();
    assert_eq!(seen, ["ann"]);
    assert!(store.change(&person(), Record::clear).unwrap());
    assert!(!file.exists(), "nothing is left of it");
}

#[test]
fn what_does_not_open_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("factors");
    let store = Store::open(&directory, seal(&[("k1", 1)])).unwrap();
    for subject in ["ann", "bob"] {
        let person = PersonId::new("issuer", subject);
        let invite = |record: &mut Record| record.invite(NOW).is_some();
        assert!(store.change(&person, invite).unwrap());
    }
    let file = |subject| {
        let name = PersonId::new("issuer", subject).name().to_owned();
        directory.join(format!("{name}.factor"))
    };
    std::fs::copy(file("bob"), file("ann")).unwrap();
    let refused = store.change(&person(), |_| ());
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "another's");
    let other = Store::open(&directory, seal(&[("k9", 9)])).unwrap();
    let refused = other.change(&PersonId::new("issuer", "bob"), |_| ());
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "no key");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&directory, open).unwrap();
    let refused = Store::open(&directory, seal(&[("k1", 1)]));
    assert!(matches!(refused, Err(StoreError::Permissions(_))));
}

#[test]
fn an_invitation_of_nobody_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("f").as_path(), seal(&[("k1", 1)])).unwrap();
    let nobody = PersonId::named(person().name()).unwrap();
    let judged = store.change(&nobody, |record| {
        record.handle();
        record.invite(NOW).is_some()
    });
    assert!(judged.unwrap());
    let mut count = 0;
    store.look(|_| count += 1).unwrap();
    assert_eq!(count, 0);
    for odd in ["", "..", "../../x", &"A".repeat(64), &"a".repeat(63)] {
        assert!(PersonId::named(odd).is_none(), "{odd}");
        assert!(Invitation::parse(&format!("{odd}.x")).is_none());
    }
    assert!(Invitation::parse(person().name()).is_none());
}

#[test]
fn a_link_is_opened_in_time_used_once_and_ended_by_wrong_answers() {
    let (links, now) = (Links::default(), Instant::now());
    let ticket = links.offer(holder("ann", "s", NOW), now).unwrap();
    let again = links.offer(holder("ann", "s", NOW), now).unwrap();
    assert_eq!(*ticket, *again, "a caller is given the one that it has");
    let other = links.offer(holder("ann", "other", NOW), now).unwrap();
    assert_ne!(*ticket, *other);
    assert!(links.open(&other, now + LIFE).is_none(), "too late");
    assert!(links.open("x", now).is_none());

    assert!(links.open(&ticket, now).is_some());
    let on_page = now + LIFE;
    assert!(links.open(&ticket, on_page).is_some(), "the page serves");
    assert!(links.open(&ticket, now + PAGE_LIFE).is_none());
    assert!(links.take(&ticket, on_page).is_some());
    assert!(links.take(&ticket, on_page).is_none(), "once");
    assert!(links.open(&ticket, on_page).is_none());

    let ticket = links.offer(holder("bob", "s", NOW), now).unwrap();
    let link = links.open(&ticket, now).unwrap();
    for _ in 1..TRIES_MAX {
        assert!(link.failed());
    }
    assert!(!link.failed());
    assert!(links.open(&ticket, now).is_none());
    assert!(links.take(&ticket, now).is_none());
}

#[test]
fn links_are_bounded_and_make_room_when_they_are_over() {
    let (links, now) = (Links::default(), Instant::now());
    for number in 0..LINKS_MAX {
        let one = holder("ann", &number.to_string(), NOW);
        assert!(links.offer(one, now).is_some());
    }
    assert!(links.offer(holder("ann", "more", NOW), now).is_none());
    let later = now + LIFE;
    assert!(links.offer(holder("ann", "more", NOW), later).is_some());
}

#[test]
fn a_person_has_one_page_of_enrolment() {
    let (links, now) = (Links::default(), Instant::now());
    let invitee = || Invitee {
        person: person(),
        subject: "ann".to_owned(),
        invitation: Arc::default(),
    };
    let first = links.enrol(invitee(), now).unwrap();
    let second = links.enrol(invitee(), now).unwrap();
    assert!(links.open(&first, now).is_none());
    let link = links.open(&second, now).unwrap();
    assert!(matches!(link.whose(), For::Enrolment(_)));
    let secret = link.secret().unwrap();
    assert_eq!(*secret.text(), *link.secret().unwrap().text());
}

#[test]
fn a_proof_is_of_one_session_one_certificate_and_one_login() {
    let (proofs, now) = (Proofs::new(Duration::from_secs(900)), Instant::now());
    let ann = holder("ann", "s", NOW);
    assert!(proofs.note(&ann, Method::Copied, now, NOW + 5));
    let certificate = Some(&[1; 32]);
    let proved = proofs.of(&ann.who, certificate, now).unwrap();
    assert_eq!(proved.second_factor().unwrap(), ["swk"]);
    assert_eq!(proved.last_proved_at(), Some(NOW + 5));
    assert_eq!(
        proved.authenticated_at(),
        Some(NOW),
        "the session is as old as it was"
    );

    assert!(proofs.of(&ann.who, None, now).is_none());
    assert!(proofs.of(&ann.who, Some(&[2; 32]), now).is_none());
    let other = holder("ann", "other", NOW);
    assert!(proofs.of(&other.who, certificate, now).is_none());
    let again = holder("ann", "s", NOW + 1);
    assert!(
        proofs.of(&again.who, certificate, now).is_none(),
        "a later login"
    );
    let late = now + Duration::from_secs(900);
    assert!(proofs.of(&ann.who, certificate, late).is_none(), "too old");
    proofs.forget("issuer", "ann");
    assert!(proofs.of(&ann.who, certificate, now).is_none());
}

#[test]
fn proofs_are_bounded_and_the_one_that_is_there_may_be_renewed() {
    let (proofs, now) = (Proofs::new(Duration::from_secs(900)), Instant::now());
    for number in 0..PROOFS_MAX {
        let one = holder("ann", &number.to_string(), NOW);
        assert!(proofs.note(&one, Method::Totp, now, NOW));
    }
    let more = holder("ann", "more", NOW);
    assert!(!proofs.note(&more, Method::Totp, now, NOW));
    assert!(proofs.note(&holder("ann", "0", NOW), Method::Totp, now, NOW));
    let later = now + Duration::from_secs(900);
    assert!(proofs.note(&more, Method::Totp, later, NOW));
}

#[test]
fn a_ceremony_is_told_to_the_browser_and_only_its_answer_counts() {
    let site = Site {
        origin: "https://agents.example.com:8444".to_owned(),
        host: "agents.example.com".to_owned(),
    };
    let (ceremony, told) = site.create("ann", [7; 16], &[]).unwrap();
    let options: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(options.pointer("/rp/id").unwrap(), "agents.example.com");
    assert_eq!(options.pointer("/user/name").unwrap(), "ann");
    assert!(site.created(ceremony, b"{}", NOW).is_none());
    assert!(site.get(&[]).is_none(), "no key, no question");
    let (odd, _) = site.create("\u{0}\u{202e}", [7; 16], &[]).unwrap();
    assert!(site.got(odd, b"{}", [7; 16], &mut []).is_none());
}

#[tokio::test]
async fn the_room_gives_links_that_its_page_opens() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FactorSettings {
        directory: folder.path().join("factors"),
        site: Site {
            origin: "https://a.example.com".to_owned(),
            host: "a.example.com".to_owned(),
        },
        totp: true,
        webauthn: true,
        session: Duration::from_secs(900),
    };
    let factors = Factors::open(settings, seal(&[("k1", 1)])).unwrap();
    let now = Instant::now();
    let ann = holder("ann", "s", NOW);
    let url = factors.link(ann.clone(), now).unwrap();
    let ticket = url
        .strip_prefix("https://a.example.com/auth/factor?t=")
        .unwrap();
    assert!(factors.opened(ticket, now).is_some());
    assert!(factors.proof(&ann.who, Some(&[1; 32]), now).is_none());
    assert!(factors.proved(ticket, Method::Totp, now, NOW));
    assert!(!factors.proved(ticket, Method::Totp, now, NOW), "once");
    assert!(factors.proof(&ann.who, Some(&[1; 32]), now).is_some());

    let invited = factors.with_record(person(), |record| record.invite(NOW));
    let secret = invited.await.unwrap().unwrap();
    let url = factors.invitation_url(&person(), &secret);
    let (_, text) = url.split_once("?i=").unwrap();
    let invitation = Invitation::parse(text).unwrap();
    assert_eq!(invitation.person().name(), person().name());
    assert_eq!(**invitation.secret(), *secret);
    for shown in [format!("{factors:?}"), format!("{invitation:?}")] {
        assert!(!shown.contains(&*secret) && !shown.contains(ticket));
    }
}

#[test]
fn people_are_bounded_and_who_is_enrolled_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("factors");
    let store = Store::open(&directory, seal(&[("k1", 1)])).unwrap();
    store
        .change(&person(), |record| record.invite(NOW))
        .unwrap()
        .unwrap();
    for number in 1..PEOPLE_MAX {
        std::fs::File::create(directory.join(format!("{number}.factor"))).unwrap();
    }
    let another = PersonId::new("issuer", "bob");
    let refused = store.change(&another, |record| record.invite(NOW).is_some());
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    let again = store.change(&person(), |record| record.invite(NOW).is_some());
    assert!(again.unwrap());
}

#[test]
fn a_directory_that_another_process_holds_is_waited_for_and_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("factors");
    let store = Store::open(&directory, seal(&[("k1", 1)])).unwrap();
    let lock = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = store.change(&person(), |record| record.invite(NOW).is_some());
    assert!(matches!(refused, Err(StoreError::Locked(_))), "{refused:?}");
    drop(lock);
    let done = store.change(&person(), |record| record.invite(NOW).is_some());
    assert!(done.unwrap());
}
