//! Tasks (MCP 2025-11-25 and its extension): whose a task id is, and which call made it.
//!
//! A server hands a task's id out in place of a call's result, and gives the result to whoever names the id. Here each id
//! is bound to the principal and the software that it was given to; to everybody else it is as if it did not exist.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::mcp::Owner;

/// The longest task id, in bytes.
pub const TASK_ID_BYTES_MAX: usize = 256;
/// Tasks, by default.
pub const TASKS_MAX: usize = 16_384;
/// Tasks of one owner, by default: the one that was asked for least recently makes room.
pub const TASKS_PER_OWNER_MAX: usize = 256;
/// How long a task is known without being asked for, by default.
pub const TASK_IDLE: Duration = Duration::from_secs(6 * 3600);

/// Why a task can't be kept: then its id must not be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The id isn't 1 to [`TASK_ID_BYTES_MAX`] bytes long.
    #[error("the upstream's task id is not valid")]
    IdInvalid,
    /// The upstream gave one id to two principals.
    #[error("the upstream gave the same task id to two principals")]
    IdTaken,
    /// There is no room for another principal's tasks.
    #[error("there is no room for another task")]
    Full,
}

/// The bounds of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskLimits {
    /// Tasks in the table.
    pub tasks_max: usize,
    /// Tasks of one owner.
    pub per_owner_max: usize,
    /// The longest time without being asked for.
    pub idle: Duration,
}

impl Default for TaskLimits {
    fn default() -> Self {
        Self {
            tasks_max: TASKS_MAX,
            per_owner_max: TASKS_PER_OWNER_MAX,
            idle: TASK_IDLE,
        }
    }
}

/// The table. `T` is what is remembered of the call that made a task.
pub struct Tasks<T> {
    limits: TaskLimits,
    table: Mutex<HashMap<String, Task<T>>>,
}

struct Task<T> {
    owner: Owner,
    used: Instant,
    call: T,
}

impl<T: Clone> Tasks<T> {
    /// An empty table.
    pub fn new(limits: TaskLimits) -> Self {
        Self {
            limits,
            table: Mutex::new(HashMap::new()),
        }
    }

    /// Binds an id that the upstream just gave out for a call. The same id for the same owner again is the newer call's.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn keep(&self, owner: Owner, id: &str, call: T) -> Result<(), TaskError> {
        if !(1..=TASK_ID_BYTES_MAX).contains(&id.len()) {
            return Err(TaskError::IdInvalid);
        }
        let mut table = self.table.lock();
        let idle = self.limits.idle;
        if table
            .get(id)
            .is_some_and(|task| task.owner != owner && task.used.elapsed() < idle)
        {
            return Err(TaskError::IdTaken);
        }
        if !table.contains_key(id) {
            self.make_room(&mut table, owner)?;
        }
        let used = Instant::now();
        table.insert(id.to_owned(), Task { owner, used, call });
        Ok(())
    }

    fn make_room(
        &self,
        table: &mut HashMap<String, Task<T>>,
        owner: Owner,
    ) -> Result<(), TaskError> {
        let own = || table.iter().filter(|(_, task)| task.owner == owner);
        if own().count() >= self.limits.per_owner_max {
            let oldest = own().min_by_key(|(_, task)| task.used);
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.and_then(|id| table.remove(&id));
        }
        if table.len() >= self.limits.tasks_max {
            drop_idle(table, self.limits.idle);
        }
        if table.len() >= self.limits.tasks_max {
            return Err(TaskError::Full);
        }
        Ok(())
    }

    /// The call that made the owner's task; its idle time starts anew. None for what is unknown, forgotten or another's.
    pub fn find(&self, owner: Owner, id: &str) -> Option<T> {
        let mut table = self.table.lock();
        let idle = self.limits.idle;
        let task = table
            .get_mut(id)
            .filter(|task| task.owner == owner && task.used.elapsed() < idle)?;
        task.used = Instant::now();
        Some(task.call.clone())
    }

    /// Whether an id is one of the owner's tasks.
    pub fn is_of(&self, owner: Owner, id: &str) -> bool {
        self.table
            .lock()
            .get(id)
            .is_some_and(|task| task.owner == owner && task.used.elapsed() < self.limits.idle)
    }

    /// Removes what idled out; says how many.
    pub fn sweep(&self) -> usize {
        drop_idle(&mut self.table.lock(), self.limits.idle)
    }

    /// Tasks in the table.
    pub fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn drop_idle<T>(table: &mut HashMap<String, Task<T>>, idle: Duration) -> usize {
    let before = table.len();
    table.retain(|_, task| task.used.elapsed() < idle);
    before - table.len()
}

impl<T> std::fmt::Debug for Tasks<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tasks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(subject: &str) -> Owner {
        Owner::new("issuer", subject, "client")
    }

    fn tasks(tasks_max: usize, per_owner_max: usize) -> Tasks<u8> {
        Tasks::new(TaskLimits {
            tasks_max,
            per_owner_max,
            idle: Duration::from_secs(60),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_its_owners_alone_and_forgotten_when_idle() {
        let tasks = tasks(8, 8);
        tasks.keep(owner("a"), "t", 1).unwrap();
        assert_eq!(tasks.find(owner("a"), "t"), Some(1));
        assert_eq!(tasks.find(owner("b"), "t"), None);
        assert_eq!(tasks.keep(owner("b"), "t", 2), Err(TaskError::IdTaken));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(tasks.find(owner("a"), "t"), Some(1));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(tasks.find(owner("a"), "t"), None);
        assert!(!tasks.is_of(owner("a"), "t"));
        assert_eq!(tasks.sweep(), 1);
        assert!(tasks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_nobody_makes_room_for_another() {
        let tasks = tasks(3, 2);
        tasks.keep(owner("a"), "1", 1).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        tasks.keep(owner("a"), "2", 2).unwrap();
        tasks.keep(owner("a"), "3", 3).unwrap();
        assert_eq!(tasks.find(owner("a"), "1"), None, "its own oldest went");
        tasks.keep(owner("b"), "4", 4).unwrap();
        assert_eq!(tasks.keep(owner("c"), "5", 5), Err(TaskError::Full));
        assert_eq!(tasks.find(owner("a"), "2"), Some(2));
        let long = "x".repeat(TASK_ID_BYTES_MAX + 1);
        assert_eq!(tasks.keep(owner("b"), &long, 4), Err(TaskError::IdInvalid));
        assert_eq!(tasks.keep(owner("b"), "", 4), Err(TaskError::IdInvalid));
    }
}
