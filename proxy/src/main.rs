//! The binary `safeguard`: the process set up, the arguments taken, the parts of the product put behind their commands.

use std::io;
use std::panic::catch_unwind;
use std::process::ExitCode;

use mimalloc::MiMalloc;
use safeguard::authn::{LocalSettings, MintRequest, Secret, mint};
use safeguard::cli::{self, CliError, DemoArgs, DemoUpstreamArgs, Exit, Hooks, Start, process};
use safeguard::clock;
use safeguard::demo::{self, ClinicOptions, DemoOptions, TokenRequest};
use safeguard::run::{self, StartError};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long a token of the demo lives, in seconds.
const DEMO_TOKEN_SECONDS: u32 = 3600;

fn main() -> ExitCode {
    process::quiet_panics();
    process::start_log();
    if let Err(why) = process::forbid_core_dumps() {
        log::warn!("{why}");
    }
    let hooks = Hooks {
        run: sidecar,
        demo: play,
        demo_upstream: clinic,
    };
    catch_unwind(|| cli::main(&hooks)).unwrap_or_else(|_| Exit::Internal.into())
}

fn runtime() -> Result<Runtime, CliError> {
    let built = Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| CliError::Internal(format!("the runtime can't be started: {error}")))
}

fn sidecar(start: Start) -> Result<Exit, CliError> {
    let runtime = runtime()?;
    let served = runtime.block_on(run::run(start.configuration, start.files, start.reload));
    // What waits for a disk that hangs is not waited for: the trail is closed.
    runtime.shutdown_background();
    served.map(|()| Exit::Well).map_err(|error| match error {
        StartError::Bind { .. } | StartError::Spool { .. } | StartError::Control(_) => {
            CliError::Unavailable(error.to_string())
        }
        StartError::System(_) => CliError::Internal(error.to_string()),
        _ => CliError::Configuration(error.to_string()),
    })
}

fn play(arguments: DemoArgs) -> ExitCode {
    let (Ok(runtime), Ok(program)) = (runtime(), std::env::current_exe()) else {
        return Exit::Internal.into();
    };
    let options = DemoOptions {
        json: arguments.json,
        keep: arguments.keep,
        program,
    };
    runtime.block_on(demo::demo(
        options,
        &Workshop,
        &mut io::stdout(),
        &mut io::stderr(),
    ))
}

fn clinic(arguments: DemoUpstreamArgs) -> Result<Exit, CliError> {
    let options = ClinicOptions {
        address: arguments.address,
        store: arguments.store,
        record: arguments.record,
    };
    let served = runtime()?.block_on(demo::clinic(options, &mut io::stdout()));
    served
        .map(|()| Exit::Well)
        .map_err(|error| CliError::Unavailable(format!("the sample clinic: {error}")))
}

/// What the demo borrows: keys and tokens as the product makes them.
struct Workshop;

impl demo::Workshop for Workshop {
    fn key(&self) -> Result<String, String> {
        let key = safeguard_vault::random_key().map_err(|error| error.to_string())?;
        Ok(key.to_base64().as_str().to_owned())
    }

    fn mint(&self, secret: &str, wanted: &TokenRequest) -> Result<String, String> {
        let settings = LocalSettings {
            secret: Secret::new(secret.as_bytes().to_vec()),
            previous: None,
            issuer: wanted.issuer.to_owned(),
            audience: wanted.audience.to_owned(),
            expiration_max: DEMO_TOKEN_SECONDS,
            once: false,
        };
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let request = MintRequest {
            subject: wanted.subject.to_owned(),
            roles: owned(&wanted.roles),
            amr: owned(&wanted.amr),
            purpose: Some(wanted.purpose.to_owned()),
            claims: wanted
                .claims
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).into()))
                .collect(),
            expires_seconds: None,
            now: clock::now_unix(),
        };
        let token = mint(&settings, &request).map_err(|error| error.to_string())?;
        Ok(token.as_str().to_owned())
    }
}
