//! A Redis of one test: TLS, a user of its own who may touch the sidecars' names alone, kept on disk through a restart.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::clinic::free_port;
use crate::pki::{Authority, write_secret};
use crate::wait::eventually;

/// The password of the user `safeguard`.
pub const PASSWORD: &str = "redis-password-of-the-tests";

/// The server, stopped with this.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Redis {
    /// Starts one and waits until it listens.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new("redis");
        let server = authority.server(&["localhost"]);
        let write = |name: &str, text: &str| write_secret(&folder.path().join(name), text);
        write("cert.pem", &server.certificate_pem);
        write("key.pem", &server.key_pem);
        write("ca.pem", &authority.pem);
        write(
            "users.acl",
            &format!(
                "user default off\nuser safeguard on >{PASSWORD} ~safeguard:* +@read +@write +@scripting +@connection -@dangerous\n"
            ),
        );
        let port = free_port();
        let redis = Self {
            process: launch(folder.path(), port),
            folder,
            port,
        };
        redis.listens().await;
        redis
    }

    /// `sessions:` of a sidecar that keeps them here, beside `replicas`.
    #[must_use]
    pub fn sessions(&self, replicas: u32) -> String {
        format!(
            "sessions:\n  store: rediss://localhost:{}\n  username: safeguard\n  password: {PASSWORD}\n  ca_file: {}\n  replicas: {replicas}\n  when_down: refuse\n",
            self.port,
            self.folder.path().join("ca.pem").display()
        )
    }

    /// Kills it; what it was told stays on its disk.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("a process");
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        self.process = launch(self.folder.path(), self.port);
        self.listens().await;
    }

    /// All that it wrote to its disk.
    #[must_use]
    pub fn kept(&self) -> Vec<u8> {
        let mut kept = Vec::new();
        let folder = self.folder.path().join("appendonlydir");
        for entry in std::fs::read_dir(folder).expect("its folder") {
            let path = entry.expect("a file").path();
            kept.extend(std::fs::read(path).expect("a file"));
        }
        kept
    }

    async fn listens(&self) {
        let place = (Ipv4Addr::LOCALHOST, self.port);
        eventually("a Redis that listens", || async move {
            tokio::net::TcpStream::connect(place).await.ok()
        })
        .await;
    }
}

fn launch(folder: &Path, port: u16) -> Child {
    let log = File::create(folder.join("log")).expect("a log");
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "-::1", "--port", "0", "--tls-port"])
        .arg(port.to_string())
        .args(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"])
        .args(["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"])
        .args(["--aclfile", "users.acl", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .current_dir(folder)
        .stdout(Stdio::from(log))
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server: install it")
}
