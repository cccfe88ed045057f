//! The threads that serve connections: one a core, each with a runtime of its own.
//!
//! A request stays on the worker that got its connection. Nothing is stolen and nothing is woken across threads, which
//! saves processor time under load (`docs/decisions/0010-a-worker-a-core.md`).

use std::cell::Cell;
use std::io;
use std::num::NonZero;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// How many workers this machine, or the limit of its container, has room for.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// The worker whose thread this is, from 0. A thread that is no worker counts as the first.
pub fn current() -> usize {
    CURRENT.get()
}

/// The workers. They end when this is dropped, and what runs on them with them.
#[derive(Debug)]
pub struct Workers {
    all: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Dropped to end the worker.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts as many as there is room for.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start() -> io::Result<Self> {
        let all = (0..count()).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { all })
    }

    /// The runtimes, one a worker.
    pub fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.all.iter().map(|worker| &worker.handle)
    }
}

impl Worker {
    fn start(place: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{place}"))
            .spawn(move || {
                CURRENT.set(place);
                // Whether it was told to end or forgotten is one and the same.
                let _ = runtime.block_on(stopped);
                // A disk that hangs holds a thread of its own, and not the end of the process.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}
