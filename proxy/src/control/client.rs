//! The commands' side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use super::{ACCESS_DEADLINE, Answer, LINE_BYTES_MAX, LINE_DEADLINE, Request};

/// Why a request was not done.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no sidecar listens on its control socket: {0}")]
    Nobody(io::Error),
    /// The connection broke, or took too long.
    #[error("the sidecar's control socket: {0}")]
    Broken(#[from] io::Error),
    /// The answer is none.
    #[error("the sidecar's control socket gave no valid answer: is it another version?")]
    NoAnswer,
    /// The sidecar said no.
    #[error("the sidecar refused: {0}")]
    Refused(String),
}

/// Asks and waits for the answer.
///
/// # Errors
/// There is no sidecar, or it did not do what it was asked for.
pub fn ask(socket: &Path, request: &Request) -> Result<(), ClientError> {
    connect(socket, request).map(drop)
}

/// Asks for a text.
///
/// # Errors
/// There is no sidecar, or it gave none.
pub fn ask_for_text(socket: &Path, request: &Request) -> Result<String, ClientError> {
    let (_, answer) = converse(socket, request)?;
    answer.text.ok_or(ClientError::NoAnswer)
}

/// Asks, and waits until the sidecar has ended, for at most `timeout` more.
///
/// # Errors
/// There is no sidecar, it refused, or it has not ended in time.
pub fn ask_until_the_end(
    socket: &Path,
    request: &Request,
    timeout: Duration,
) -> Result<(), ClientError> {
    let mut connection = connect(socket, request)?;
    connection.get_ref().set_read_timeout(Some(timeout))?;
    // Nothing more is said: the end of the stream is the end of the process.
    match connection.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(ClientError::NoAnswer),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn connect(socket: &Path, request: &Request) -> Result<BufReader<UnixStream>, ClientError> {
    converse(socket, request).map(|(reader, _)| reader)
}

fn converse(
    socket: &Path,
    request: &Request,
) -> Result<(BufReader<UnixStream>, Answer), ClientError> {
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        // Neither a socket nor anybody behind it; whatever else stands in the way may hide a sidecar.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::Nobody(error),
        _ => ClientError::Broken(error),
    })?;
    stream.set_write_timeout(Some(LINE_DEADLINE))?;
    stream.set_read_timeout(Some(LINE_DEADLINE.saturating_add(ACCESS_DEADLINE)))?;
    let mut line = Zeroizing::new(serde_json::to_vec(request).map_err(|_| ClientError::NoAnswer)?);
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut reader)
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)?;
    let answer: Answer = serde_json::from_slice(&line).map_err(|_| ClientError::NoAnswer)?;
    match answer {
        Answer { ok: true, .. } => Ok((reader, answer)),
        Answer { error, .. } => Err(ClientError::Refused(error.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_where_nobody_can_listen_there_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("left.sock");
        drop(UnixListener::bind(&left).unwrap());
        for nobody in [folder.path().join("none.sock"), left] {
            let asked = ask(&nobody, &Request::Drain {});
            assert!(matches!(asked, Err(ClientError::Nobody(_))), "{asked:?}");
        }
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let asked = ask(&file.join("control.sock"), &Request::Drain {});
        assert!(matches!(asked, Err(ClientError::Broken(_))), "{asked:?}");
    }
}
