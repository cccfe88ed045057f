//! Fifty ends without warning, under load: nothing that a client was answered is lost, nothing is there twice.

use safeguard_tests::configuration::Setup;
use safeguard_tests::database::Database;
use safeguard_tests::load::{Load, assert_recorded_once};
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::upstream::{Upstream, structured};
use serde_json::json;

use crate::audit::{delivered, verify};

/// How often the sidecar is killed.
const KILLS: usize = 50;
/// Clients that call at once.
const CLIENTS: usize = 4;
/// Answers between two kills, so that every life of the sidecar has done something.
const ANSWERS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_minus_nine_loses_and_doubles_nothing() {
    let database = Database::create().await;
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = Upstream::answering(structured(&patients)).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url()).with_database(&database)).await;
    let mut load = Load::start(&sidecar, CLIENTS);
    for _ in 0..KILLS {
        load.answers(ANSWERS).await;
        sidecar.kill().await;
        sidecar.launch_again();
        sidecar.ready().await;
    }
    let answered = load.stop().await;
    assert!(
        answered.len() >= KILLS * ANSWERS,
        "{} answers",
        answered.len()
    );

    delivered(&sidecar, &database).await;
    assert!(sidecar.stop().await.success(), "{}", sidecar.log());
    assert_recorded_once(&sidecar.events(), &answered);
    database.assert_holds_once(&sidecar.events()).await;
    let (code, words) = verify(&sidecar).await;
    assert_eq!(code, Some(0), "{words}");
}
