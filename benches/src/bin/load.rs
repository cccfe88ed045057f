//! `load`: the side-by-side load bench. See `README.md`.

use std::process::ExitCode;

use clap::Parser as _;
use safeguard_benches::load::arguments::{Arguments, Role};
use safeguard_benches::load::{Failure, run, stock, upstream};

/// The sidecar's allocator: what stands beside it is built alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ended: Result<(), Failure> = match Arguments::parse().role {
        Role::Run(arguments) => run(&arguments),
        Role::Upstream(arguments) => upstream::serve(&arguments),
        Role::Stock(arguments) => stock::serve(&arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
