//! The sidecar's side of the control socket.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use log::LevelFilter;
use safeguard_audit::{Event, EventName, Outcome, Subject};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{
    ACCESS_DEADLINE, Answer, CONNECTIONS_MAX, LINE_BYTES_MAX, LINE_DEADLINE, Request, emergencies,
    factors, sessions, socket_in,
};
use crate::cli::process;
use crate::clock;
use crate::emergency::Review;
use crate::patients::shred::{Wish, shred};
use crate::sidecar::Sidecar;

/// The issuer of a subject that the kernel named.
const KERNEL: &str = "unix";
/// The user who may do everything.
const ROOT: u32 = 0;
/// Characters of a query's text that the event keeps.
const QUERY_CHARS_MAX: usize = 1024;

/// The control socket can't be opened.
#[derive(Debug, Error)]
#[error(
    "control socket {path}: {error} (its path may have 107 bytes: a shorter state.directory mends a longer one)"
)]
pub struct BindError {
    path: PathBuf,
    error: io::Error,
}

/// The open socket. Its file goes when this does.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        // A file that stays is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Control {
    /// Opens the socket. Call it only while the spool's lock is held: what lies there then is left by a process that is gone.
    ///
    /// # Errors
    /// The directory or the path doesn't serve.
    pub fn bind(state: &Path) -> Result<Self, BindError> {
        let path = socket_in(state);
        let opened = replace(&path).and_then(|()| {
            let listener = UnixListener::bind(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        match opened {
            Ok(listener) => Ok(Self { listener, path }),
            Err(error) => Err(BindError { path, error }),
        }
    }

    /// Answers until the sidecar stops. `drain` is told when somebody asks for the end.
    pub async fn serve(
        self,
        sidecar: Arc<Sidecar>,
        drain: Arc<Notify>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stopping.changed() => return,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (sidecar, drain) = (Arc::clone(&sidecar), Arc::clone(&drain));
            tokio::spawn(async move {
                converse(stream, &sidecar, &drain).await;
                drop(place);
            });
        }
    }
}

/// Takes away the socket of a process that is gone; anything else that lies there stays, and is an error.
fn replace(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something lies there that is no socket: move it away",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn converse(stream: UnixStream, sidecar: &Sidecar, drain: &Notify) {
    let own = rustix::process::geteuid().as_raw();
    let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else {
        return;
    };
    if uid != own && uid != ROOT {
        log::warn!("control: user {uid} was not heard");
        return;
    }
    let mut stream = BufReader::new(stream);
    let Some(request) = request(&mut stream).await else {
        answer(&mut stream, &Answer::refused("no valid request")).await;
        return;
    };
    let is_drain = matches!(request, Request::Drain {});
    let done = perform(request, uid, sidecar).await;
    let is_done = done.ok;
    answer(&mut stream, &done).await;
    if is_drain && is_done {
        log::info!("control: user {uid} asked for the end");
        drain.notify_one();
        // Whoever asked sees the end of the process as the end of this connection.
        std::future::pending::<()>().await;
    }
}

async fn request(stream: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = Zeroizing::new(Vec::new());
    let mut bounded = stream.take(LINE_BYTES_MAX);
    let reading = bounded.read_until(b'\n', &mut line);
    timeout(LINE_DEADLINE, reading).await.ok()?.ok()?;
    line.ends_with(b"\n")
        .then(|| serde_json::from_slice(&line).ok())
        .flatten()
}

async fn answer(stream: &mut BufReader<UnixStream>, answer: &Answer) {
    let Ok(mut line) = serde_json::to_vec(answer) else {
        return;
    };
    line.push(b'\n');
    // A peer that went away needs no answer.
    let _gone = timeout(LINE_DEADLINE, stream.get_mut().write_all(&line)).await;
}

async fn perform(request: Request, uid: u32, sidecar: &Sidecar) -> Answer {
    match request {
        Request::Drain {} => Answer::done(),
        Request::LogLevel { level } => {
            let Ok(level) = LevelFilter::from_str(&level) else {
                return Answer::refused("no such level: off, error, warn, info, debug, trace");
            };
            process::set_log_level(level);
            let event = by(uid, EventName::ConfigurationChange, "log_level_changed");
            let level = level.as_str().to_ascii_lowercase();
            sidecar.recorder.send(event.detail("level", level));
            Answer::done()
        }
        Request::Access { query, records } => access(query, records, uid, sidecar).await,
        Request::ListSessions {} => sessions::list(sidecar, subject(uid)).await,
        Request::EndSessions { which } => sessions::end(sidecar, &which, subject(uid)).await,
        Request::InviteFactor {
            whose,
            valid_seconds,
        } => factors::invite(sidecar, &whose, valid_seconds, subject(uid)).await,
        Request::ListFactors { subject: only } => factors::list(sidecar, only, subject(uid)).await,
        Request::RemoveFactors { whose } => factors::remove(sidecar, &whose, subject(uid)).await,
        Request::ListEmergencies { all } => emergencies::list(sidecar, all, subject(uid)),
        Request::ReviewEmergency {
            id,
            reviewer,
            verdict,
            note,
        } => {
            let review = Review {
                reviewer,
                verdict,
                note,
                at_unix: clock::now_unix(),
            };
            emergencies::review(sidecar, &id, review, subject(uid)).await
        }
        Request::Shred { patient, reason } => {
            let wish = Wish {
                patient: patient.0,
                reason,
                by: subject(uid),
            };
            destroy(&wish, sidecar).await
        }
    }
}

async fn access(query: String, records: u64, uid: u32, sidecar: &Sidecar) -> Answer {
    let query: String = query.chars().take(QUERY_CHARS_MAX).collect();
    let event = by(uid, EventName::AuditLogAccessed, "audit_query")
        .detail("query", query)
        .detail("records", i64::try_from(records).unwrap_or(i64::MAX));
    let durable = timeout(ACCESS_DEADLINE, sidecar.recorder.record(event).durable()).await;
    match durable {
        Ok(Ok(_)) => Answer::done(),
        _ => Answer::refused("the audit log can't record this access durably"),
    }
}

async fn destroy(wish: &Wish, sidecar: &Sidecar) -> Answer {
    let live = sidecar.live.load_full();
    let Some(patients) = &live.patients else {
        return Answer::refused("phi.patient_keys is not configured: no patient has a key");
    };
    if live.awaited.is_some() {
        return Answer::refused("the keys that wrap the patients' keys are awaited");
    }
    match shred(&sidecar.trail, patients, wish).await {
        Ok(receipt) => {
            log::info!("control: a patient's key was destroyed");
            Answer::with_text(receipt)
        }
        Err(error) => Answer::refused(error.to_string()),
    }
}

fn subject(uid: u32) -> Subject<'static> {
    Subject {
        sub: format!("uid:{uid}").into(),
        iss: KERNEL.into(),
        ..Subject::default()
    }
}

fn by(uid: u32, name: EventName, reason: &'static str) -> Event<'static> {
    let mut event = Event::new(name, Outcome::Success).reason(reason);
    event.subject = Some(subject(uid));
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_anything_else_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = socket_in(folder.path());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the kernel leaves the file");
        let control = Control::bind(folder.path()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(control);
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert!(Control::bind(folder.path()).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_request_is_one_of_the_table_and_nothing_more() {
        let read = |text: &str| serde_json::from_str::<Request>(text).ok();
        assert_eq!(read(r#"{"command":"drain"}"#), Some(Request::Drain {}));
        let level = Request::LogLevel {
            level: "debug".to_owned(),
        };
        assert_eq!(
            read(r#"{"command":"log-level","level":"debug"}"#),
            Some(level)
        );
        assert_eq!(read(r#"{"command":"drain","now":true}"#), None);
        let all = super::super::Which::All;
        assert_eq!(
            read(r#"{"command":"end-sessions","which":"all"}"#),
            Some(Request::EndSessions { which: all })
        );
        assert_eq!(read(r#"{"command":"end-sessions"}"#), None);
        let shred = read(r#"{"command":"shred","patient":"p-1","reason":"asked"}"#).unwrap();
        assert!(
            !format!("{shred:?}").contains("p-1"),
            "an id is never shown"
        );
        assert_eq!(read(r#"{"command":"run"}"#), None);
    }
}
