//! A clock that never goes back.

use tokio::time::{Duration, Instant};

/// Unix seconds that advance with the monotonic clock from where the process began, or with the wall clock
/// where that is ahead. A wall clock that is set back therefore revives nothing, and one that jumps
/// ahead and returns does no lasting harm.
pub(super) struct Clock {
    base_unix: i64,
    base: Instant,
}

impl Clock {
    pub(super) fn starting_at(now_unix: i64) -> Self {
        Self {
            base_unix: now_unix,
            base: Instant::now(),
        }
    }

    /// Seconds by the monotonic clock alone.
    pub(super) fn steady(&self) -> i64 {
        let elapsed = i64::try_from(self.base.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.base_unix.saturating_add(elapsed)
    }

    /// The later of the wall clock's and the monotonic clock's now.
    pub(super) fn now(&self, wall_unix: i64) -> i64 {
        wall_unix.max(self.steady())
    }

    /// When the monotonic clock shows `unix`; `None` if it already does.
    pub(super) fn instant_of(&self, unix: i64) -> Option<Instant> {
        let ahead = u64::try_from(unix.saturating_sub(self.base_unix)).unwrap_or(0);
        let at = self.base.checked_add(Duration::from_secs(ahead))?;
        (at > Instant::now()).then_some(at)
    }
}
