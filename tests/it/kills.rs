//! Fifty ends without warning at random moments, with every output away for an hour's events, a full disk and a restored snapshot:
//! nothing that a client was answered is lost, nothing is there twice.

use safeguard_tests::endings::{Trial, endure};

/// How often the sidecar is killed.
const KILLS: usize = 50;
/// What comes in an hour where every second has an event.
const HOUR_EVENTS: usize = 3600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_over_kills_outages_a_full_disk_and_a_restored_snapshot() {
    let outcome = endure(Trial::of(KILLS, HOUR_EVENTS)).await;
    println!("{outcome}");
    assert!(outcome.events > 3 * HOUR_EVENTS, "{outcome}");
}
