//! Waiting for a condition, never for a time.

use std::future::Future;
use std::time::Duration;

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// How long a condition may take on a busy two-core machine before the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` yields a value.
///
/// # Panics
/// If it doesn't within [`PATIENCE`]: `what` says what was awaited.
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let mut ticks = tokio::time::interval(INTERVAL);
    let attempts = async {
        loop {
            ticks.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, attempts).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Waits for one future.
///
/// # Panics
/// If it isn't ready within [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}
