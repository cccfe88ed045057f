//! The open streams of each login session, counted: one session can't take all that the sidecar can hold.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Open streams by login session. A session without one has no entry, so the table is no larger than the streams are.
#[derive(Debug, Default, Clone)]
pub struct Streams(Arc<Mutex<HashMap<String, usize>>>);

/// One open stream; dropping it gives its place back.
#[derive(Debug)]
pub struct OpenStream {
    streams: Streams,
    session: String,
}

impl Streams {
    /// Takes a place for a stream of this session; none where it has `max` already.
    pub fn open(&self, session: &str, max: usize) -> Option<OpenStream> {
        let mut table = self.0.lock();
        let open = table.get(session).copied().unwrap_or(0);
        if open >= max {
            return None;
        }
        table.insert(session.to_owned(), open + 1);
        Some(OpenStream {
            streams: self.clone(),
            session: session.to_owned(),
        })
    }

    /// All open streams.
    pub fn count(&self) -> usize {
        self.0.lock().values().sum()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut table = self.streams.0.lock();
        if let Some(open) = table.get_mut(&self.session) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                table.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_gets_no_more_streams_than_its_bound_and_gives_them_back() {
        let streams = Streams::default();
        let first = streams.open("a", 2).unwrap();
        let _second = streams.open("a", 2).unwrap();
        assert!(streams.open("a", 2).is_none());
        assert!(streams.open("b", 2).is_some());
        drop(first);
        assert!(streams.open("a", 2).is_some());
    }

    #[test]
    fn a_session_without_streams_leaves_nothing_behind() {
        let streams = Streams::default();
        drop(streams.open("a", 1));
        assert_eq!(streams.count(), 0);
        assert!(streams.0.lock().is_empty());
    }
}
