//! A real Redis.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server of its own for one test, stopped at its end.
pub(crate) struct Server {
    process: Child,
    /// Where it is.
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl Server {
    /// None where `redis-server` is not installed.
    pub(crate) async fn start() -> Option<Self> {
        let version = Command::new("redis-server").arg("--version").output();
        if version.is_err() {
            assert!(
                std::env::var_os("SAFEGUARD_REQUIRE_REAL").is_none(),
                "no redis-server: install it"
            );
            println!("skipped: no redis-server");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string())
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn();
        let server = Self {
            process: process.unwrap(),
            url: format!("redis://127.0.0.1:{port}"),
            _folder: folder,
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..1_000 {
            ticks.tick().await;
            let there = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            if there.is_ok() {
                return Some(server);
            }
        }
        panic!("redis-server does not listen");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
