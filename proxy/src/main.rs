//! The binary `safeguard`: what must be set up before anything else, then the command line.

use std::process::ExitCode;

use safeguard::cli::{self, CliError, DemoArgs, DemoUpstreamArgs, Exit, Hooks, Start, process};
use safeguard::run::StartError;
use safeguard::{demo, run, workbench};
use tokio::runtime::Runtime;

/// Half the cost of a body is its buffers; see `benches/README.md` for what this one takes off.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::quiet_panics();
    process::start_log();
    if let Err(words) = process::forbid_core_dumps() {
        log::warn!("{words}");
    }
    cli::main(&Hooks { run: serve, demo: play, demo_upstream: serve_clinic }).into()
}

fn serve(start: Start) -> Result<Exit, CliError> {
    let served = runtime()?.block_on(run::run(start.configuration, start.files, start.reload));
    served.map(|()| Exit::Well).map_err(|error| match error {
        StartError::Settings(_) | StartError::Authn(_) | StartError::Tls(_) | StartError::AuditKeys(_) => {
            CliError::Configuration(error.to_string())
        }
        StartError::Spool { .. } | StartError::Sink(_) | StartError::Bind { .. } => CliError::Unavailable(error.to_string()),
        StartError::Provider(_) | StartError::System(_) => CliError::Internal(error.to_string()),
    })
}

fn play(arguments: DemoArgs) -> Result<Exit, CliError> {
    let program = std::env::current_exe().map_err(|error| CliError::Internal(error.to_string()))?;
    let options = demo::DemoOptions { json: arguments.json, keep: arguments.keep, program };
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    Ok(runtime()?.block_on(demo::demo(options, &workbench::Workbench, &mut out, &mut err)))
}

fn serve_clinic(arguments: DemoUpstreamArgs) -> Result<Exit, CliError> {
    let options =
        demo::ClinicOptions { address: arguments.address, store: arguments.store, record: arguments.record };
    let served = runtime()?.block_on(demo::clinic(options, &mut std::io::stdout()));
    served.map(|()| Exit::Well).map_err(|error| CliError::Internal(error.to_string()))
}

fn runtime() -> Result<Runtime, CliError> {
    Runtime::new().map_err(|error| CliError::Internal(format!("no runtime: {error}")))
}
