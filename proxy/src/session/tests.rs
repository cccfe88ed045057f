//! Login and MCP sessions by an explicit clock: the wall clock is an argument, the monotonic one is paused.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::advance;

use super::mcp::{McpLimits, McpSessionError, McpSessions, Owner, PendingError};
use super::table::Memory;
use super::*;
use crate::authn::Authenticated;

const T0: i64 = 1_800_000_000;

fn limits() -> SessionLimits {
    SessionLimits {
        absolute: Duration::from_secs(900),
        idle: Duration::from_secs(300),
        per_user: 1,
        refuses_new: false,
        table_max: 8,
    }
}

fn table() -> Memory {
    Memory::new(limits(), T0)
}

/// A login at `at` whose token lives an hour.
fn login(subject: &str, sid: &str, at: i64) -> Arc<Authenticated> {
    Arc::new(Authenticated::for_tests(
        subject,
        Some(sid),
        Some(at),
        at,
        at + 3600,
    ))
}

/// A login whose token doesn't tell when it was.
fn login_without_time(subject: &str, sid: &str, issued_at: i64) -> Arc<Authenticated> {
    Arc::new(Authenticated::for_tests(
        subject,
        Some(sid),
        None,
        issued_at,
        issued_at + 3600,
    ))
}

async fn pass(seconds: u64) {
    advance(Duration::from_secs(seconds)).await;
}

fn kinds(events: &[SessionEvent]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

fn refusal(result: Result<Admitted, Refused>) -> (&'static str, Vec<EventKind>) {
    let refused = result.unwrap_err();
    (refused.refusal.code(), kinds(&refused.events))
}

#[tokio::test(start_paused = true)]
async fn the_first_request_is_the_login_and_the_next_one_is_not() {
    let table = table();
    let who = login("ann", "s1", T0);
    let first = table.admit(&who, None, T0).unwrap();
    assert_eq!(kinds(&first.events), [EventKind::Login]);
    assert_eq!(first.session.until(), T0 + 900);
    let second = table.admit(&who, None, T0 + 1).unwrap();
    assert!(second.events.is_empty());
    assert_eq!(first.session.hashed_id(), second.session.hashed_id());
    assert_eq!(first.session.hashed_id().len(), 64);
    assert_eq!(table.active(), 1);
}

#[tokio::test(start_paused = true)]
async fn until_is_the_tokens_end_when_that_comes_first() {
    let who = Arc::new(Authenticated::for_tests(
        "ann",
        Some("s"),
        Some(T0),
        T0,
        T0 + 60,
    ));
    let admitted = table().admit(&who, None, T0).unwrap();
    assert_eq!(admitted.session.until(), T0 + 60);
    assert_eq!(admitted.session.ended().await, EndReason::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_refused_and_stays_refused() {
    let table = table();
    let who = login("ann", "s1", T0);
    table.admit(&who, None, T0).unwrap();
    pass(299).await;
    table.admit(&who, None, T0 + 299).unwrap();
    pass(300).await;
    let (code, events) = refusal(table.admit(&who, None, T0 + 599));
    assert_eq!(code, "idle");
    assert_eq!(events, [EventKind::Ended(EndReason::Idle)]);
    let (code, events) = refusal(table.admit(&who, None, T0 + 600));
    assert_eq!((code, events.len()), ("idle", 0));
}

#[tokio::test(start_paused = true)]
async fn the_absolute_limit_counts_from_the_login_not_from_the_first_request() {
    let table = table();
    let who = login("ann", "s1", T0 - 800);
    let admitted = table.admit(&who, None, T0).unwrap();
    assert_eq!(admitted.session.until(), T0 + 100);
    pass(100).await;
    let (code, events) = refusal(table.admit(&who, None, T0 + 100));
    assert_eq!(code, "absolute_limit");
    assert_eq!(events, [EventKind::Ended(EndReason::AbsoluteLimit)]);
    let late = login("bob", "s2", T0 - 800);
    let (code, events) = refusal(table.admit(&late, None, T0 + 100));
    assert_eq!((code, events.len()), ("absolute_limit", 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_login_time_refreshed_tokens_do_not_stretch_a_session() {
    let table = table();
    for minute in 0..15 {
        let who = login_without_time("ann", "s1", T0 + minute * 60);
        table.admit(&who, None, T0 + minute * 60).unwrap();
        pass(60).await;
    }
    let refreshed = login_without_time("ann", "s1", T0 + 900);
    assert_eq!(
        refusal(table.admit(&refreshed, None, T0 + 900)).0,
        "absolute_limit"
    );
    pass(1).await;
    let again = login_without_time("ann", "s1", T0 + 901);
    assert_eq!(
        refusal(table.admit(&again, None, T0 + 901)).0,
        "absolute_limit"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fresh_login_in_the_same_provider_session_starts_the_limit_anew() {
    let table = table();
    table.admit(&login("ann", "s1", T0), None, T0).unwrap();
    pass(200).await;
    let stepped_up = login("ann", "s1", T0 + 200);
    let admitted = table.admit(&stepped_up, None, T0 + 200).unwrap();
    assert!(admitted.events.is_empty());
    assert_eq!(admitted.session.until(), T0 + 1100);
}

#[tokio::test(start_paused = true)]
async fn the_newest_login_displaces_the_oldest_which_never_comes_back() {
    let table = table();
    let old = login("ann", "s1", T0);
    let new = login("ann", "s2", T0 + 10);
    let stream = table.admit(&old, None, T0).unwrap().session;
    let events = table.admit(&new, None, T0 + 10).unwrap().events;
    assert_eq!(
        kinds(&events),
        [EventKind::Ended(EndReason::Displaced), EventKind::Login]
    );
    assert_eq!(events[0].who.sid(), Some("s1"));
    assert_eq!(stream.ended().await, EndReason::Displaced);
    assert_eq!(
        refusal(table.admit(&old, None, T0 + 11)),
        ("displaced", vec![])
    );
    let refreshed = Arc::new(Authenticated::for_tests(
        "ann",
        Some("s1"),
        Some(T0),
        T0 + 60,
        T0 + 3700,
    ));
    assert_eq!(
        refusal(table.admit(&refreshed, None, T0 + 60)).0,
        "displaced"
    );
    assert!(table.admit(&new, None, T0 + 61).is_ok());
    let other = login("bob", "s3", T0);
    assert!(
        table.admit(&other, None, T0 + 61).is_ok(),
        "users do not displace each other"
    );
    assert_eq!(table.active(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_the_oldest_wins_a_new_login_waits_until_a_session_is_over() {
    let limits = SessionLimits {
        refuses_new: true,
        ..limits()
    };
    let table = Memory::new(limits, T0);
    let old = login("ann", "s1", T0);
    let new = login("ann", "s2", T0 + 10);
    let stream = table.admit(&old, None, T0).unwrap().session;
    assert_eq!(
        refusal(table.admit(&new, None, T0 + 10)),
        ("too_many_sessions", vec![])
    );
    let other = login("bob", "s1", T0 + 10);
    assert!(table.admit(&other, None, T0 + 10).is_ok(), "another user");
    assert!(table.admit(&old, None, T0 + 11).is_ok(), "it goes on");
    let ended = tokio::time::timeout(Duration::ZERO, stream.ended()).await;
    assert!(ended.is_err(), "its stream is open");
    table.end(&old, EndReason::Logout, T0 + 12);
    let events = table.admit(&new, None, T0 + 12).unwrap().events;
    assert_eq!(kinds(&events), [EventKind::Login]);
}

#[tokio::test(start_paused = true)]
async fn several_sessions_a_user_displace_in_the_order_of_their_logins() {
    let table = Memory::new(
        SessionLimits {
            per_user: 2,
            ..limits()
        },
        T0,
    );
    let logins: Vec<_> = (0..3).map(|n| login("ann", &format!("s{n}"), T0)).collect();
    for who in &logins {
        table.admit(who, None, T0).unwrap();
    }
    assert_eq!(refusal(table.admit(&logins[0], None, T0)).0, "displaced");
    assert!(table.admit(&logins[1], None, T0).is_ok());
    assert!(table.admit(&logins[2], None, T0).is_ok());
}

#[tokio::test(start_paused = true)]
async fn only_a_login_after_the_end_opens_a_session_again() {
    let table = table();
    let who = login("ann", "s1", T0 + 3);
    table.admit(&who, None, T0).unwrap();
    let events = table.end(&who, EndReason::Logout, T0 + 1);
    assert_eq!(kinds(&events), [EventKind::Ended(EndReason::Logout)]);
    let code = refusal(table.admit(&who, None, T0 + 2)).0;
    assert_eq!(
        code, "logout",
        "a login that the issuer dates ahead must not outlive its logout"
    );
    let again = login("ann", "s1", T0 + 20);
    let admitted = table.admit(&again, None, T0 + 20).unwrap();
    assert_eq!(kinds(&admitted.events), [EventKind::Login]);
    assert!(
        table
            .end(&login("eve", "s9", T0), EndReason::Logout, T0)
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_login_after_the_last_request_reopens_an_idle_session() {
    let table = table();
    table.admit(&login("ann", "s1", T0), None, T0).unwrap();
    pass(400).await;
    let again = login("ann", "s1", T0 + 399);
    let events = table.admit(&again, None, T0 + 400).unwrap().events;
    assert_eq!(
        kinds(&events),
        [EventKind::Ended(EndReason::Idle), EventKind::Login]
    );
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_goes_back_revives_nothing() {
    let table = table();
    let who = login("ann", "s1", T0);
    table.admit(&who, None, T0).unwrap();
    pass(301).await;
    assert_eq!(refusal(table.admit(&who, None, T0 - 5000)).0, "idle");
    pass(4000).await;
    table.sweep(T0 - 5000);
    assert_eq!(table.slot_count(), 0);
    assert_eq!(
        refusal(table.admit(&who, None, T0 - 5000)).0,
        "token_expired"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_ahead_for_a_moment_forgets_no_ended_session() {
    let table = table();
    let who = login("ann", "s1", T0);
    table.admit(&who, None, T0).unwrap();
    let events = table.sweep(T0 + 86_400);
    assert_eq!(events.len(), 1);
    assert_eq!(table.slot_count(), 1);
    assert!(table.admit(&who, None, T0 + 1).is_err());
    let later = login("bob", "s2", T0 + 1);
    assert!(table.admit(&later, None, T0 + 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_table_refuses_newcomers_and_spares_the_living() {
    let table = Memory::new(
        SessionLimits {
            table_max: 2,
            ..limits()
        },
        T0,
    );
    let ann = login("ann", "a", T0);
    table.admit(&ann, None, T0).unwrap();
    table.admit(&login("bob", "b", T0), None, T0).unwrap();
    let carl = login("carl", "c", T0);
    assert_eq!(
        refusal(table.admit(&carl, None, T0)),
        ("session_table_full", vec![])
    );
    assert!(table.admit(&ann, None, T0 + 1).is_ok());
    let newer = login("ann", "a2", T0 + 1);
    assert_eq!(
        refusal(table.admit(&newer, None, T0 + 1)),
        ("session_table_full", vec![])
    );
    assert!(
        table.admit(&ann, None, T0 + 2).is_ok(),
        "a login that found no room displaced nobody"
    );
}

#[tokio::test(start_paused = true)]
async fn the_sweep_tells_each_end_once_and_frees_what_cannot_return() {
    let table = table();
    let stream = table
        .admit(&login("ann", "s1", T0), None, T0)
        .unwrap()
        .session;
    pass(300).await;
    let events = table.sweep(T0 + 300);
    assert_eq!(kinds(&events), [EventKind::Ended(EndReason::Idle)]);
    assert!(table.sweep(T0 + 301).is_empty());
    assert_eq!(stream.is_over(), Some(EndReason::Idle));
    assert_eq!((table.active(), table.slot_count()), (0, 1));
    pass(3300).await;
    table.sweep(T0 + 3600);
    assert_eq!(table.slot_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_lives_on_with_its_sessions_requests_and_ends_with_its_idleness() {
    let table = Arc::new(table());
    let who = login("ann", "s1", T0);
    let stream = table.admit(&who, None, T0).unwrap().session;
    let waiting = tokio::spawn(async move { (stream.ended().await, tokio::time::Instant::now()) });
    let start = tokio::time::Instant::now();
    pass(200).await;
    table.admit(&who, None, T0 + 200).unwrap();
    let (reason, at) = waiting.await.unwrap();
    assert_eq!(reason, EndReason::Idle);
    assert_eq!((at - start).as_secs(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_users_or_a_providers_sessions_end_at_once() {
    let table = Memory::new(
        SessionLimits {
            per_user: 3,
            ..limits()
        },
        T0,
    );
    let (one, two) = (login("ann", "s1", T0), login("ann", "s2", T0));
    let stream = table.admit(&one, None, T0).unwrap().session;
    table.admit(&two, None, T0).unwrap();
    assert_eq!(
        table
            .end_sid("issuer", "s1", EndReason::Logout, T0 + 1)
            .len(),
        1
    );
    assert_eq!(stream.ended().await, EndReason::Logout);
    assert!(
        table
            .end_sid("other", "s2", EndReason::Logout, T0 + 1)
            .is_empty()
    );
    assert_eq!(
        table
            .end_user("issuer", "ann", EndReason::Terminated, T0 + 1)
            .len(),
        1
    );
    assert_eq!(refusal(table.admit(&two, None, T0 + 2)).0, "terminated");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_no_request_has_shown_is_ended_too() {
    let table = table();
    assert!(
        table
            .end_sid("issuer", "s1", EndReason::Logout, T0 + 1)
            .is_empty()
    );
    let who = login("ann", "s1", T0);
    assert_eq!(refusal(table.admit(&who, None, T0 + 2)).0, "logout");
    assert!(table.admit(&login("ann", "s2", T0), None, T0 + 2).is_ok());
    table.end_user("issuer", "bob", EndReason::Terminated, T0 + 3);
    let bob = login("bob", "b1", T0 + 3);
    assert_eq!(refusal(table.admit(&bob, None, T0 + 4)).0, "terminated");
    let again = login("bob", "b2", T0 + 4);
    assert!(table.admit(&again, None, T0 + 4).is_ok());
    pass(900).await;
    table.sweep(T0 + 903);
    let expired = refusal(table.admit(&who, None, T0 + 903)).0;
    assert_eq!(expired, "absolute_limit", "nothing is left to bar");
}

#[tokio::test(start_paused = true)]
async fn what_was_told_late_ends_no_login_that_came_after_it() {
    let table = table();
    let older = login("ann", "s1", T0);
    table.admit(&older, None, T0 + 1).unwrap();
    let told = |upto, now| table.end_logins("issuer", "ann", upto, EndReason::ByProvider, now);
    assert_eq!(told(T0 - 1, T0 + 20).len(), 0, "it was before this login");
    let younger = login("ann", "s2", T0 + 11);
    assert_eq!(told(T0 + 10, T0 + 20).len(), 1);
    assert!(table.admit(&younger, None, T0 + 21).is_ok());
    let unseen = login("ann", "s0", T0 + 9);
    assert_eq!(
        refusal(table.admit(&unseen, None, T0 + 21)).0,
        "identity_provider"
    );
    told(T0 + 2, T0 + 22);
    assert_eq!(
        refusal(table.admit(&unseen, None, T0 + 23)).0,
        "identity_provider",
        "an older word takes back no younger one"
    );
}

#[tokio::test(start_paused = true)]
async fn an_administrator_ends_one_session_or_everybodys() {
    let table = table();
    let (ann, bob) = (login("ann", "s1", T0), login("bob", "s2", T0));
    let stream = table.admit(&ann, None, T0).unwrap().session;
    table.admit(&bob, None, T0 + 5).unwrap();
    let listed = table.list(T0 + 7);
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].silent, listed[0].left), (7, 893));
    assert_eq!(&*listed[0].id, stream.hashed_id());
    let ended = table.end_id(stream.hashed_id(), EndReason::Terminated, T0 + 7);
    assert_eq!(kinds(&ended), [EventKind::Ended(EndReason::Terminated)]);
    assert_eq!(stream.ended().await, EndReason::Terminated);
    let ended = table.end_all(EndReason::Terminated, T0 + 8);
    assert_eq!((ended.len(), table.active()), (1, 0));
    let unseen = login("carl", "s3", T0 + 8);
    assert_eq!(refusal(table.admit(&unseen, None, T0 + 9)).0, "terminated");
    let later = login("carl", "s4", T0 + 9);
    assert!(table.admit(&later, None, T0 + 9).is_ok());
}

#[tokio::test(start_paused = true)]
async fn logouts_without_room_bar_everybody_and_are_never_forgotten() {
    let limits = SessionLimits {
        table_max: 2,
        ..limits()
    };
    let table = Memory::new(limits, T0);
    for sid in ["a", "b", "c"] {
        table.end_sid("issuer", sid, EndReason::Logout, T0 + 1);
    }
    for sid in ["a", "b", "c"] {
        let who = login("ann", sid, T0);
        assert_eq!(
            refusal(table.admit(&who, None, T0 + 2)).0,
            "logout",
            "{sid}"
        );
    }
    assert!(
        table
            .admit(&login("ann", "d", T0 + 2), None, T0 + 2)
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_bound_token_is_taken_only_with_its_certificate() {
    let table = table();
    let who = Authenticated::for_tests("ann", Some("s"), Some(T0), T0, T0 + 60).bound_to([1; 32]);
    let who = Arc::new(who);
    for other in [None, Some(&[2; 32])] {
        assert_eq!(
            refusal(table.admit(&who, other, T0)).0,
            "certificate_mismatch"
        );
    }
    assert!(table.admit(&who, Some(&[1; 32]), T0).is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_sid_the_session_ends_with_its_token() {
    let table = table();
    let who = Arc::new(Authenticated::for_tests("ann", None, Some(T0), T0, T0 + 60));
    table.admit(&who, None, T0).unwrap();
    pass(60).await;
    assert_eq!(
        kinds(&table.sweep(T0 + 60)),
        [EventKind::Ended(EndReason::TokenExpired)]
    );
}

#[test]
fn debug_shows_no_subject_and_no_session_id() {
    let table = table();
    let who = login("canary-subject", "canary-sid", T0);
    let admitted = table.admit(&who, None, T0).unwrap();
    let text = format!("{table:?} {admitted:?} {who:?}");
    assert!(!text.contains("canary"), "{text}");
}

fn mcp(limits: McpLimits) -> McpSessions<u32> {
    McpSessions::new(limits)
}

#[tokio::test(start_paused = true)]
async fn an_mcp_session_is_found_by_its_owner_only() {
    let sessions = mcp(McpLimits::default());
    let ann = Owner::new("issuer", "ann", "chart-web");
    sessions.open("id-1", ann).unwrap();
    assert!(sessions.find("id-1", ann).is_ok());
    for other in [
        Owner::new("issuer", "bob", "chart-web"),
        Owner::new("other", "ann", "chart-web"),
        Owner::new("issuer", "ann", "care-agent"),
        Owner::new("issuer", "annchart-web", ""),
    ] {
        assert_eq!(
            sessions.find("id-1", other).unwrap_err(),
            McpSessionError::NotFound
        );
        assert_eq!(
            sessions.close("id-1", other).unwrap_err(),
            McpSessionError::NotFound
        );
        assert_eq!(
            sessions.open("id-1", other).unwrap_err(),
            McpSessionError::IdTaken
        );
    }
    assert_eq!(
        sessions.find("id-2", ann).unwrap_err(),
        McpSessionError::NotFound
    );
    sessions.close("id-1", ann).unwrap();
    assert_eq!(
        sessions.find("id-1", ann).unwrap_err(),
        McpSessionError::NotFound
    );
    assert!(sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_mcp_session_idles_out_unless_a_stream_holds_it() {
    let sessions = mcp(McpLimits {
        idle: Duration::from_secs(60),
        ..McpLimits::default()
    });
    let ann = Owner::new("issuer", "ann", "c");
    let held = sessions.open("held", ann).unwrap();
    sessions.open("left", ann).unwrap();
    pass(60).await;
    assert_eq!(
        sessions.find("left", ann).unwrap_err(),
        McpSessionError::NotFound
    );
    assert!(sessions.find("held", ann).is_ok());
    pass(60).await;
    assert_eq!(sessions.sweep(), 0);
    drop(held);
    assert_eq!(sessions.sweep(), 1);
}

#[test]
fn mcp_sessions_and_their_calls_are_bounded() {
    let sessions = mcp(McpLimits {
        sessions_max: 3,
        per_owner_max: 2,
        pending_max: 2,
        ..McpLimits::default()
    });
    let ann = Owner::new("issuer", "ann", "c");
    let session = sessions.open("1", ann).unwrap();
    sessions.open("2", ann).unwrap();
    assert_eq!(sessions.open("3", ann).unwrap_err(), McpSessionError::Full);
    sessions
        .open("4", Owner::new("issuer", "bob", "c"))
        .unwrap();
    let carl = Owner::new("issuer", "carl", "c");
    assert_eq!(sessions.open("5", carl).unwrap_err(), McpSessionError::Full);
    for id in ["", "a b", "caf\u{e9}", "x\n", &"y".repeat(257)] {
        assert_eq!(
            sessions.open(id, carl).unwrap_err(),
            McpSessionError::IdInvalid
        );
    }
    session.begin("n:1", 1).unwrap();
    assert_eq!(
        session.begin("n:1", 2).unwrap_err(),
        PendingError::Duplicate
    );
    session.begin("s:1", 3).unwrap();
    assert_eq!(session.begin("n:2", 4).unwrap_err(), PendingError::Full);
    assert_eq!(
        (session.get("n:1"), session.take("n:1"), session.take("n:1")),
        (Some(1), Some(1), None)
    );
    assert_eq!(session.pending(), 1);
}

#[tokio::test(start_paused = true)]
async fn questions_of_the_server_are_bounded_answered_once_and_expire() {
    use super::mcp::{QUESTION_LIFE, QUESTIONS_MAX};

    let sessions: McpSessions<usize> = McpSessions::new(McpLimits::default());
    let session = sessions.open("s", Owner::new("i", "a", "c")).unwrap();
    for number in 0..QUESTIONS_MAX {
        session.ask(&format!("n:{number}"), number).unwrap();
    }
    assert_eq!(session.ask("n:64", 64), Err(PendingError::Full));
    assert_eq!(session.ask("n:1", 7), Ok(()), "asked again");
    assert_eq!(session.answered("n:1"), Some(7));
    assert_eq!(session.answered("n:1"), None);
    session.begin("n:2", 2).unwrap();
    assert_eq!(session.take("n:2"), Some(2), "the client's ids are others");
    tokio::time::advance(QUESTION_LIFE).await;
    assert_eq!(session.answered("n:2"), None);
    assert_eq!(session.ask("n:64", 64), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_a_resumed_stream_may_bring_is_bounded_and_expires() {
    use super::mcp::{PARKED_LIFE, PARKED_MAX};

    let sessions: McpSessions<usize> = McpSessions::new(McpLimits::default());
    let session = sessions.open("s", Owner::new("i", "a", "c")).unwrap();
    for number in 0..=PARKED_MAX {
        session.park(&format!("n:{number}"), number);
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(session.parked("n:0"), None, "the oldest made room");
    assert_eq!(session.parked("n:1"), Some(1));
    assert_eq!(session.parked("n:1"), None);
    session.begin("n:2", 9).unwrap();
    assert_eq!(session.parked("n:2"), None, "the id means the new call");
    advance(PARKED_LIFE).await;
    assert_eq!(session.parked("n:3"), None);
}
