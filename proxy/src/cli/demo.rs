//! The arguments of `demo` and of the sample MCP server that it starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// The arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Print what happened as one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
    /// Leave everything running, and say how to point an MCP client at it
    #[arg(long)]
    pub keep: bool,
}

/// The arguments of `demo-upstream`.
#[derive(Debug, Clone, Args)]
pub struct DemoUpstreamArgs {
    /// Where to listen, on loopback; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub address: SocketAddr,
    /// The file that holds the records
    #[arg(long, value_name = "FILE")]
    pub store: PathBuf,
    /// The file that each received message is appended to
    #[arg(long, value_name = "FILE")]
    pub record: PathBuf,
}
