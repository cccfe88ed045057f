//! The sink against a shelf that knows the rules of S3 and fails as it is told. What a real store does with the same questions is held in `tests/it/store.rs`.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Mutex;

use super::read::{Range, walk};
use super::*;
use crate::event::{
    canonical,
    tests::{full, place},
};
use crate::keys::AuditKey;
use crate::query::Query;

/// What a shelf answers in place of the truth: a status, a code, and whether the question is obeyed all the same.
type Fault = (u16, &'static str, bool);

type Objects = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct Shelf {
    objects: Mutex<Objects>,
    asked: Mutex<Vec<Ask>>,
    faults: Mutex<VecDeque<Fault>>,
    is_silent: bool,
    is_unlocked: bool,
    is_closed_to_looks: bool,
    bytes_max: Option<usize>,
}

fn answer(status: u16, code: &str) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: format!("<Error><Code>{code}</Code><Message>secret</Message></Error>").into_bytes(),
    }
}

impl Shelf {
    fn failing(faults: &[Fault]) -> Self {
        Self {
            faults: Mutex::new(faults.iter().copied().collect()),
            ..Self::default()
        }
    }

    fn well(&self, body: &[u8]) -> Answer {
        let mut headers = Vec::new();
        if !self.is_silent {
            headers.push((
                "x-amz-server-side-encryption".to_owned(),
                "AES256".to_owned(),
            ));
        }
        Answer {
            status: 200,
            headers,
            body: body.to_vec(),
        }
    }

    fn put(&self, ask: &Ask, name: &str) -> Answer {
        let mut objects = self.objects.lock().unwrap();
        if self.bytes_max.is_some_and(|max| ask.body.len() > max) {
            return answer(400, "EntityTooLarge");
        }
        if objects.contains_key(name) {
            return answer(412, "PreconditionFailed");
        }
        objects.insert(name.to_owned(), ask.body.to_vec());
        self.well(b"")
    }

    fn obey(&self, ask: &Ask) -> Answer {
        let question = ask.query.first().map(|(name, _)| *name);
        match (ask.method, &ask.name) {
            ("PUT", Some(name)) => self.put(ask, name),
            ("HEAD", _) if self.is_closed_to_looks => answer(403, ""),
            ("HEAD", Some(_)) => self.well(b""),
            ("GET", Some(name)) => match self.objects.lock().unwrap().get(name) {
                Some(bytes) => self.well(bytes),
                None => answer(404, "NoSuchKey"),
            },
            ("GET", None) if question == Some("versions") => {
                let objects = self.objects.lock().unwrap();
                let marker = ask.query.iter().find(|(name, _)| *name == "key-marker");
                let marker = marker.map_or("", |(_, marker)| marker.as_str());
                let after = objects.iter().filter(|(name, _)| name.as_str() > marker);
                let versions = after.map(|(name, bytes)| {
                    format!("<Version><Key>{name}</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><Size>{}</Size></Version>", bytes.len())
                });
                let list = format!(
                    "<ListVersionsResult>{}</ListVersionsResult>",
                    versions.collect::<String>()
                );
                self.well(list.as_bytes())
            }
            ("GET", None) if self.is_unlocked => {
                answer(404, "ObjectLockConfigurationNotFoundError")
            }
            _ => self.well(b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"),
        }
    }

    fn names(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }
}

impl Store for &Shelf {
    async fn ask(&self, ask: Ask) -> Result<Answer, SinkError> {
        self.asked.lock().unwrap().push(ask.clone());
        let fault = match ask.method {
            "PUT" => self.faults.lock().unwrap().pop_front(),
            _ => None,
        };
        match fault {
            Some((status, code, is_obeyed)) => {
                if is_obeyed {
                    self.obey(&ask);
                }
                match status {
                    0 => Err(SinkError {
                        code: "unreachable".to_owned(),
                        what: "the store: its answer broke off".to_owned(),
                    }),
                    status => Ok(answer(status, code)),
                }
            }
            None => Ok(self.obey(&ask)),
        }
    }
}

fn keys() -> Arc<AuditKeys> {
    Arc::new(AuditKeys::new(vec![AuditKey::new("a", 0, [1; 32])]).unwrap())
}

fn settings() -> S3Settings {
    S3Settings {
        prefix: "audit/".to_owned(),
        encrypted: true,
        encryption: Encryption::Aes256,
        lock: Some(LockMode::Compliance),
        keep_days: 2555,
        object_bytes_max: 1 << 20,
    }
}

fn sink<'s>(shelf: &'s Shelf, state: &Path, settings: S3Settings) -> S3<&'s Shelf> {
    S3 {
        store: shelf,
        settings,
        keys: keys(),
        file: PlanFile::new(state),
        is_checked: false,
    }
}

/// Records that follow one another, from number 0.
fn records(count: u64) -> Vec<Record> {
    let mut prev = [0; 32];
    (0..count)
        .map(|seq| {
            let record = Record::parse(&canonical(&full(), &place(seq, &prev))).unwrap();
            prev = record.hash();
            record
        })
        .collect()
}

/// What the shelf gives back: numbers, and what reading found.
async fn read_back(shelf: &Shelf) -> (Vec<u64>, read::BucketReport) {
    let mut numbers = Vec::new();
    let range = Range {
        is_every_event: true,
        ..Range::default()
    };
    let (settings, keys) = (settings(), keys());
    let report = walk(&shelf, &settings, &keys, &range, |record| {
        numbers.push(record.seq());
    });
    let report = report.await.unwrap();
    (numbers, report)
}

#[tokio::test]
async fn a_put_says_how_it_is_locked_encrypted_and_checked() {
    let (shelf, state) = (Shelf::default(), tempfile::tempdir().unwrap());
    let mut sink = sink(&shelf, state.path(), settings());
    let taken = sink.take(&records(3)).await.unwrap();
    assert_eq!((taken.new, taken.duplicates), (3, 0));
    let asked = shelf.asked.lock().unwrap();
    let put = asked.iter().find(|ask| ask.method == "PUT").unwrap();
    let header = |name: &str| {
        let mut headers = put.headers.iter();
        headers
            .find(|(header, _)| *header == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(header("if-none-match"), Some("*"));
    assert_eq!(header("x-amz-server-side-encryption"), Some("AES256"));
    assert_eq!(header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    assert!(
        header("x-amz-object-lock-retain-until-date")
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(header("x-amz-checksum-sha256").unwrap().len(), 44);
    let epoch = SystemTime::UNIX_EPOCH;
    assert_eq!(retain_until(epoch, 2555), "1976-12-30T00:00:00Z");
}

#[tokio::test]
async fn a_longer_batch_after_a_lost_answer_makes_no_second_object() {
    for lost in 0..3 {
        let (shelf, state) = (
            Shelf::failing(&vec![(0, "", true); lost]),
            tempfile::tempdir().unwrap(),
        );
        let all = records(12);
        for reached in 0..lost {
            // Each time the process is a new one, and more has come meanwhile.
            let mut sink = sink(&shelf, state.path(), settings());
            let batch = &all[..3 + reached * 2];
            assert_eq!(sink.take(batch).await.unwrap_err().code, "unreachable");
        }
        let taken = sink(&shelf, state.path(), settings())
            .take(&all)
            .await
            .unwrap();
        assert_eq!(taken.new + taken.duplicates, 12);
        let (numbers, report) = read_back(&shelf).await;
        assert_eq!(numbers, (0..12).collect::<Vec<_>>(), "{:?}", shelf.names());
        assert_eq!((report.duplicates, report.problems), (0, 0), "{report:?}");
    }
}

#[tokio::test]
async fn a_lost_or_forged_plan_costs_a_repetition_and_never_an_event() {
    for forged in [
        None,
        Some("{}"),
        Some("{\"first\":\"00\",\"key\":null,\"cuts\":[]}"),
    ] {
        let (shelf, state) = (
            Shelf::failing(&[(0, "", true)]),
            tempfile::tempdir().unwrap(),
        );
        let all = records(6);
        let failed = sink(&shelf, state.path(), settings()).take(&all[..3]).await;
        assert_eq!(failed.unwrap_err().code, "unreachable");
        let plan = state.path().join("s3.plan");
        match forged {
            Some(text) => std::fs::write(plan, text).unwrap(),
            None => std::fs::remove_file(plan).unwrap(),
        }
        sink(&shelf, state.path(), settings())
            .take(&all)
            .await
            .unwrap();
        let (_, report) = read_back(&shelf).await;
        assert_eq!(
            (report.events, report.duplicates, report.problems),
            (6, 3, 0),
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn what_the_store_says_against_it_moves_nothing_and_names_no_more_than_a_code() {
    for (status, code) in [
        (503, "SlowDown"),
        (500, "InternalError"),
        (403, "RequestTimeTooSkewed"),
        (403, "AccessDenied"),
        (400, "InvalidRequest"),
        (409, "ConditionalRequestConflict"),
        (502, "not a code: <>"),
    ] {
        let (shelf, state) = (
            Shelf::failing(&[(status, code, false)]),
            tempfile::tempdir().unwrap(),
        );
        let mut sink = sink(&shelf, state.path(), settings());
        let error = sink.take(&records(3)).await.unwrap_err();
        let known = code.chars().all(|c| c.is_ascii_alphanumeric());
        assert_eq!(
            error.code,
            if known {
                code.to_owned()
            } else {
                status.to_string()
            }
        );
        assert!(!error.what.contains("secret"), "{error}");
        assert_eq!(sink.take(&records(3)).await.unwrap().new, 3);
    }
}

#[tokio::test]
async fn a_store_that_says_nothing_of_encryption_is_refused_now_and_when_it_comes_again() {
    let state = tempfile::tempdir().unwrap();
    let shelf = Shelf {
        is_silent: true,
        ..Shelf::default()
    };
    let mut sink = sink(&shelf, state.path(), settings());
    for _ in 0..2 {
        let error = sink.take(&records(3)).await.unwrap_err();
        assert_eq!(error.code, "not_encrypted");
    }
}

#[tokio::test]
async fn a_bucket_without_object_lock_gets_no_event_unless_that_is_allowed() {
    let state = tempfile::tempdir().unwrap();
    let shelf = Shelf {
        is_unlocked: true,
        ..Shelf::default()
    };
    let error = sink(&shelf, state.path(), settings())
        .take(&records(1))
        .await;
    assert_eq!(error.unwrap_err().code, bucket::NO_OBJECT_LOCK);
    assert!(shelf.names().is_empty());
    let unlocked = S3Settings {
        lock: None,
        ..settings()
    };
    let taken = sink(&shelf, state.path(), unlocked).take(&records(1)).await;
    assert_eq!(taken.unwrap().new, 1);
    let asked = shelf.asked.lock().unwrap();
    let put = asked.iter().rfind(|ask| ask.method == "PUT").unwrap();
    assert!(put.headers.iter().all(|(name, _)| !name.contains("lock")));
}

#[tokio::test]
async fn who_may_not_look_believes_the_name_of_a_sealed_object_only() {
    for (encrypted, expected) in [(true, Ok(3)), (false, Err("403".to_owned()))] {
        let state = tempfile::tempdir().unwrap();
        let shelf = Shelf {
            is_closed_to_looks: true,
            ..Shelf::failing(&[(0, "", true)])
        };
        let settings = S3Settings {
            encrypted,
            ..settings()
        };
        let mut sink = sink(&shelf, state.path(), settings);
        sink.take(&records(3)).await.unwrap_err();
        let again = sink.take(&records(3)).await;
        assert_eq!(
            again
                .map(|taken| taken.duplicates)
                .map_err(|error| error.code),
            expected
        );
    }
}

#[tokio::test]
async fn an_object_that_is_too_large_is_halved_and_only_one_event_ever_set_aside() {
    let state = tempfile::tempdir().unwrap();
    let all = records(8);
    // Each alone has room, and two together have not.
    let of_one = |record| Object::of(std::slice::from_ref(record), keys().sealing(0).ok());
    let one = all.iter().map(|record| of_one(record).unwrap().bytes.len());
    let shelf = Shelf {
        bytes_max: one.max(),
        ..Shelf::default()
    };
    let taken = sink(&shelf, state.path(), settings())
        .take(&all)
        .await
        .unwrap();
    assert_eq!(taken.new + taken.refused.len() as u64, 8);
    assert!(shelf.names().len() > 1);
    let shelf = Shelf {
        bytes_max: Some(1),
        ..Shelf::default()
    };
    let taken = sink(&shelf, state.path(), settings())
        .take(&all[..2])
        .await
        .unwrap();
    let code = "EntityTooLarge".to_owned();
    assert_eq!(taken.refused, [(0, code.clone()), (1, code)]);
}

#[tokio::test]
async fn objects_are_cut_at_their_bound_and_at_the_end_of_a_run() {
    let (shelf, state) = (Shelf::default(), tempfile::tempdir().unwrap());
    let all = records(10);
    let bound = S3Settings {
        object_bytes_max: all[0].bytes().len() * 3 + 10,
        ..settings()
    };
    let taken = sink(&shelf, state.path(), bound).take(&all).await.unwrap();
    assert_eq!((taken.new, shelf.names().len()), (10, 4));
    let (numbers, report) = read_back(&shelf).await;
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!((report.links, report.chains, report.objects), (9, 1, 4));
}

#[tokio::test]
async fn an_object_holds_one_day_and_a_range_reads_no_other() {
    let (shelf, state) = (Shelf::default(), tempfile::tempdir().unwrap());
    let day = 86_400_000_000;
    let mut prev = [0; 32];
    let mut all = Vec::new();
    for seq in 0..6 {
        let mut place = place(seq, &prev);
        place.stamp.micros += i64::try_from(seq).unwrap() / 2 * day;
        let record = Record::parse(&canonical(&full(), &place)).unwrap();
        prev = record.hash();
        all.push(record);
    }
    sink(&shelf, state.path(), settings())
        .take(&all)
        .await
        .unwrap();
    assert_eq!(shelf.names().len(), 3);
    let second = object::day(&all[2]).to_owned();
    let (settings, keys) = (settings(), keys());
    let asked = Query {
        since: Some(second.clone()),
        until: Some(object::day(&all[4]).to_owned()),
        ..Query::default()
    };
    shelf.asked.lock().unwrap().clear();
    let answer = read::query(&&shelf, &settings, &keys, &asked)
        .await
        .unwrap();
    assert_eq!(answer.records, all[2..4]);
    let asked = shelf.asked.lock().unwrap();
    let fetched: Vec<_> = asked.iter().filter_map(|ask| ask.name.clone()).collect();
    assert!(
        fetched.len() == 1 && fetched[0].contains(&second),
        "{fetched:?}"
    );
}

#[tokio::test]
async fn what_is_changed_moved_or_missing_on_the_shelf_is_named() {
    let (shelf, state) = (Shelf::default(), tempfile::tempdir().unwrap());
    let all = records(9);
    for part in all.chunks(3) {
        sink(&shelf, state.path(), settings())
            .take(part)
            .await
            .unwrap();
    }
    let names = shelf.names();
    type Case<'c> = (&'c str, Box<dyn Fn(&mut Objects) + 'c>);
    let cases: [Case<'_>; 4] = [
        (
            "missing: numbers 3 to 5",
            Box::new(|objects| drop(objects.remove(&names[1]))),
        ),
        (
            "it was changed",
            Box::new(|objects| objects.get_mut(&names[1]).unwrap()[30] ^= 1),
        ),
        (
            "it was changed",
            Box::new(|objects| {
                let moved = objects[&names[0]].clone();
                objects.insert(names[1].clone(), moved);
            }),
        ),
        (
            "it was changed or moved",
            Box::new(|objects| {
                // The digest of the name fits the bytes, its numbers do not.
                let moved = objects.remove(&names[1]).unwrap();
                objects.insert(names[1].replace("00000000003-", "00000000009-"), moved);
            }),
        ),
    ];
    for (expected, case) in cases {
        let before = shelf.objects.lock().unwrap().clone();
        case(&mut shelf.objects.lock().unwrap());
        let (_, report) = read_back(&shelf).await;
        let words = report.problem_words.join("\n");
        assert!(
            report.problems > 0 && words.contains(expected),
            "{expected}: {report:?}"
        );
        *shelf.objects.lock().unwrap() = before;
    }
    assert_eq!(read_back(&shelf).await.1.problems, 0);
}
