//! `selfcheck`: a probe for an image without a shell: is the sidecar of this configuration ready?

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::config::{Mode, load};
use super::terminal::printable;
use super::{CliError, Exit, Terminal};

/// Until the connection stands, and again until each part of the answer is there.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

#[derive(Debug, Args)]
pub(super) struct SelfcheckArgs {
    /// The configuration of the sidecar, which names admin.address
    #[arg(long = "config", value_name = "PATH", num_args = 1.., action = ArgAction::Append, required_unless_present = "address")]
    config: Vec<PathBuf>,
    /// Its admin address, in place of the configuration
    #[arg(long, value_name = "IP:PORT", conflicts_with = "config")]
    address: Option<SocketAddr>,
    /// Only ask whether the process serves (/livez), not whether it is ready (/readyz)
    #[arg(long)]
    live: bool,
}

/// Exit 0 if it is ready, 1 if it says that it is not, 69 if nobody answers.
pub(super) fn selfcheck(
    arguments: &SelfcheckArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let address = match arguments.address {
        Some(address) => address,
        None => {
            load(&arguments.config, Mode::Check)?
                .ready(terminal)?
                .configuration
                .admin
                .address
        }
    };
    let address = reachable(address);
    let path = if arguments.live {
        "/livez"
    } else {
        "/readyz?verbose"
    };
    let answer = get(address, path).map_err(|error| {
        CliError::Unavailable(format!(
            "no sidecar answers at {address} (admin.address): {error}"
        ))
    })?;
    let (is_well, body) = judged(&answer).ok_or_else(|| {
        CliError::Unavailable(format!("what answers at {address} speaks no HTTP"))
    })?;
    for line in body.lines() {
        writeln!(terminal.out, "{}", printable(line))?;
    }
    Ok(if is_well { Exit::Well } else { Exit::Finding })
}

/// Where a listener on every address is reached from the same machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

fn get(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_DEADLINE)?;
    stream.set_read_timeout(Some(PROBE_DEADLINE))?;
    stream.set_write_timeout(Some(PROBE_DEADLINE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Whether the status is 200, and the body.
fn judged(answer: &[u8]) -> Option<(bool, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    Some((status == "200", body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::tests::run;
    use std::net::TcpListener;

    fn probed(answer: &'static str) -> (Exit, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let ended = run(&["selfcheck", "--address", &address], "");
        assert!(
            server
                .join()
                .unwrap()
                .starts_with("GET /readyz?verbose HTTP/1.1\r\n")
        );
        (ended.exit, ended.out + &ended.err)
    }

    #[test]
    fn the_exit_code_is_the_probes_answer() {
        let (exit, words) = probed("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n");
        assert_eq!((exit, words.as_str()), (Exit::Well, "ok\n"));
        let (exit, words) =
            probed("HTTP/1.1 503 Service Unavailable\r\n\r\naudit: failed\u{1b}[2J\n");
        assert_eq!(
            (exit, words.as_str()),
            (Exit::Finding, "audit: failed·[2J\n")
        );
        assert_eq!(probed("SSH-2.0-x\r\n").0, Exit::Unavailable);
    }

    #[test]
    fn where_nobody_listens_the_sidecar_is_unavailable() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let ended = run(&["selfcheck", "--live", "--address", &address], "");
        assert_eq!(ended.exit, Exit::Unavailable, "{}", ended.err);
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9"), "127.0.0.1:9");
        assert_eq!(at("[::]:9"), "[::1]:9");
        assert_eq!(at("10.0.0.1:9"), "10.0.0.1:9");
    }
}
