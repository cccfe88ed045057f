//! The queue's bound, its file, and who may review; the tools in a list.

use zeroize::Zeroizing;

use super::queue::Queue;
use super::*;
use crate::rewrite::tests::World;

fn seal() -> Seal {
    Seal::derive(SEALED, [("k", &[7; 32])].into_iter()).unwrap()
}

fn record(number: usize) -> Record {
    Record {
        id: number.to_string(),
        subject: "Ann".to_owned(),
        issuer: "i".to_owned(),
        client: String::new(),
        session: "s".to_owned(),
        patient: Zeroizing::new("p-1".to_owned()),
        reason: Zeroizing::new("collapsed".to_owned()),
        began_unix: 0,
        until_unix: 10,
        review_by_unix: 100,
        ended: Some((10, End::Expired)),
        alerted: false,
        review: None,
    }
}

fn review(reviewer: &str) -> Review {
    Review {
        reviewer: reviewer.to_owned(),
        verdict: Verdict::Justified,
        note: String::new(),
        at_unix: 20,
    }
}

#[test]
fn a_full_queue_takes_no_more_until_one_is_reviewed_and_the_oldest_reviewed_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(folder.path(), seal()).unwrap();
    let all: Vec<Record> = (0..QUEUE_MAX).map(record).collect();
    queue.change(|records| records.extend(all)).unwrap();
    let full = queue.change(|records| records.push(record(QUEUE_MAX)));
    assert!(matches!(full, Err(QueueError::Full)));
    assert_eq!(queue.records().len(), QUEUE_MAX);
    for number in [7, 3] {
        let done = queue.change(|records| records[number].review(review("eve")));
        done.unwrap().unwrap();
    }
    queue
        .change(|records| records.push(record(QUEUE_MAX)))
        .unwrap();
    let ids: Vec<&str> = queue.records().iter().map(|one| one.id.as_str()).collect();
    assert!(!ids.contains(&"3") && ids.contains(&"7") && ids.contains(&"1000"));
}

#[test]
fn what_is_kept_is_read_again_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("emergencies.sealed");
    let mut open = record(1);
    open.ended = None;
    let mut queue = Queue::open(folder.path(), seal()).unwrap();
    assert!(!file.exists(), "nothing is written for nothing");
    queue.change(|records| records.push(open)).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("Ann") && !text.contains("p-1"));

    let mut again = Queue::open(folder.path(), seal()).unwrap();
    let ended = again.take_left_open();
    assert_eq!(ended.len(), 1);
    assert!(matches!(ended[0].ended, Some((_, End::Restart))));
    assert!(again.take_left_open().is_empty(), "told once");
    let third = Queue::open(folder.path(), seal()).unwrap();
    assert!(matches!(third.records()[0].ended, Some((_, End::Restart))));

    let other = Seal::derive(SEALED, [("k", &[8; 32])].into_iter()).unwrap();
    let factors =
        Seal::derive(crate::factor::seal::FACTORS, [("k", &[7; 32])].into_iter()).unwrap();
    for wrong in [other, factors] {
        let opened = Queue::open(folder.path(), wrong);
        assert!(matches!(opened, Err(QueueError::Damaged(_))));
    }
}

#[test]
fn nobody_reviews_their_own_nor_what_goes_on_nor_twice() {
    let mut one = record(1);
    for own in ["Ann", " ann ", "ANN"] {
        assert!(one.review(review(own)).is_err(), "{own}");
    }
    one.ended = None;
    assert!(one.review(review("eve")).is_err(), "it goes on");
    one.end(End::Stopped, 5);
    one.end(End::Expired, 6);
    assert_eq!(one.ended, Some((5, End::Stopped)), "it ends once");
    assert!(one.is_overdue(100) && !one.is_overdue(99));
    assert!(one.review(review("eve")).is_ok());
    assert!(one.review(review("eve")).is_err(), "twice");
    assert!(!one.is_overdue(1_000));
}

const SECTION: &str =
    "emergency: { roles: [nurse], grants: { view: physician, tools: [read_record] } }\n";

#[test]
fn the_own_tools_stand_behind_the_servers_on_the_last_page() {
    let world = World::with(|text| format!("{text}\n{SECTION}"));
    let policy = &world.workshop.policy;
    let whole = |text: &str| {
        let listed = tools::listed(text.as_bytes(), policy)?;
        let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        let tools = listed["result"]["tools"].as_array().unwrap().clone();
        Some(
            tools
                .iter()
                .map(|tool| tool["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let (start, stop) = ("safeguard_emergency_start", "safeguard_emergency_stop");
    let own = |text| whole(text).unwrap();
    assert_eq!(own(r#"{"result":{"tools":[ ]}}"#), [start, stop]);
    let other = r#"{"result":{"tools":[{"name":"a"}],"nextCursor":null}}"#;
    assert_eq!(own(other), ["a", start, stop]);
    for none in [
        r#"{"result":{"tools":[],"nextCursor":"2"}}"#,
        r#"{"result":{"tools":{}}}"#,
        r#"{"error":{"code":1,"message":"x"}}"#,
    ] {
        assert_eq!(whole(none), None, "{none}");
    }
}
