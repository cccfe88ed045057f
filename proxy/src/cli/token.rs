//! `token`: local tokens for development, and what a token says. The secret comes from the configuration alone.

use std::str::FromStr;

use clap::{Args, Subcommand};
use safeguard_certs::Suite;
use serde_json::{Map, Value};

use super::config::{ConfigArgs, Mode, load};
use super::{CliError, Exit, Terminal};
use crate::authn::{
    Authenticator, AuthnSettings, MintError, MintRequest, TOKEN_BYTES_MAX, inspect, mint,
};
use crate::{clock, settings};

/// Room for white space around a token on standard input, in bytes.
const AROUND_BYTES_MAX: u64 = 1024;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Print a local HS256 token, for development
    Mint(MintArgs),
    /// Say what a token on standard input says, and why it would be refused
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub(super) struct MintArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The subject
    #[arg(long, value_name = "S")]
    sub: String,
    /// A role
    #[arg(long = "role", value_name = "R", required = true)]
    roles: Vec<String>,
    /// How the subject proved who they are (RFC 8176): otp, hwk, …
    #[arg(long, value_name = "M")]
    amr: Vec<String>,
    /// The purpose of use: TREAT, HPAYMT, …
    #[arg(long, value_name = "P")]
    purpose: Option<String>,
    /// A further claim
    #[arg(long = "claim", value_name = "NAME=JSON")]
    claims: Vec<Claim>,
    /// The lifetime; at most and by default what the configuration says
    #[arg(long, value_name = "SECONDS")]
    expires: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// `NAME=JSON`
#[derive(Debug, Clone)]
struct Claim {
    name: String,
    value: Value,
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, json) = text
            .split_once('=')
            .ok_or("write NAME=JSON: department='\"cardiology\"'")?;
        let value = serde_json::from_str(json)
            .map_err(|_| "what stands behind `=` is no JSON; a text needs its quotes")?;
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

pub(super) fn token(command: &TokenCommand, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    match command {
        TokenCommand::Mint(arguments) => print(arguments, terminal),
        TokenCommand::Inspect(arguments) => show(arguments, terminal),
    }
}

fn authn(config: &ConfigArgs, terminal: &mut Terminal<'_>) -> Result<AuthnSettings, CliError> {
    let ready = load(&config.paths, Mode::Use)?.ready(terminal)?;
    settings::authn(&ready.configuration)
        .map_err(|error| CliError::Configuration(error.to_string()))
}

fn print(arguments: &MintArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let mut claims = Map::new();
    for claim in &arguments.claims {
        if claims
            .insert(claim.name.clone(), claim.value.clone())
            .is_some()
        {
            return Err(CliError::Usage(format!(
                "the claim {} is given twice",
                claim.name
            )));
        }
    }
    let local = authn(&arguments.config, terminal)?.local;
    let local = local.ok_or_else(|| {
        CliError::Configuration(
            "authentication.jwt.enabled is false: nobody would take a local token".to_owned(),
        )
    })?;
    let request = MintRequest {
        subject: arguments.sub.clone(),
        roles: arguments.roles.clone(),
        amr: arguments.amr.clone(),
        purpose: arguments.purpose.clone(),
        claims,
        expires_seconds: arguments.expires,
        now: clock::now_unix(),
    };
    let token = mint(&local, &request).map_err(|error| match error {
        MintError::Signing => CliError::Internal(error.to_string()),
        other => CliError::Usage(other.to_string()),
    })?;
    writeln!(terminal.out, "{}", token.as_str())?;
    Ok(Exit::Well)
}

fn show(arguments: &InspectArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let settings = authn(&arguments.config, terminal)?;
    safeguard_certs::install_provider(&Suite::ALL)
        .map_err(|error| CliError::Internal(error.to_string()))?;
    let authenticator =
        Authenticator::new(settings).map_err(|error| CliError::Configuration(error.to_string()))?;
    let bytes_max = u64::try_from(TOKEN_BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(AROUND_BYTES_MAX);
    let input = terminal.document(bytes_max)?;
    // What is no UTF-8 is no token either, and is told so.
    let token = std::str::from_utf8(&input).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| CliError::Internal(format!("no runtime: {error}")))?;
    let inspection = runtime.block_on(inspect(&authenticator, token, clock::now_unix()));
    write!(terminal.out, "{inspection}")?;
    Ok(if inspection.accepted() {
        Exit::Well
    } else {
        Exit::Finding
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::tests::example;
    use crate::cli::terminal::tests::run;

    #[test]
    fn a_minted_token_is_accepted_and_a_changed_one_is_not() {
        let folder = example();
        let path = folder.path().to_str().unwrap();
        let minted = run(
            &[
                "token",
                "mint",
                "--config",
                path,
                "--sub",
                "dr",
                "--role",
                "physician",
                "--amr",
                "otp",
                "--claim",
                "department=\"er\"",
            ],
            "",
        );
        assert_eq!(minted.exit, Exit::Well, "{}", minted.err);
        let good = run(&["token", "inspect", "--config", path], &minted.out);
        assert_eq!(good.exit, Exit::Well, "{}{}", good.out, good.err);
        assert!(good.out.contains("\"department\": \"er\"") && good.out.contains("accepted"));
        let token = minted.out.trim();
        let signature = token.rsplit('.').next().unwrap();
        assert!(!good.out.contains(signature), "the signature is not shown");
        let forged = format!(
            "{}.{}",
            token.rsplit_once('.').unwrap().0,
            signature.chars().rev().collect::<String>()
        );
        let bad = run(&["token", "inspect", "--config", path], &forged);
        assert_eq!(bad.exit, Exit::Finding, "{}", bad.out);
        assert!(bad.out.contains("refused"));
    }

    #[test]
    fn what_can_not_be_minted_is_a_wrong_usage() {
        let folder = example();
        let path = folder.path().to_str().unwrap();
        let mint = |more: &[&str]| {
            run(
                &[
                    &[
                        "token",
                        "mint",
                        "--config",
                        path,
                        "--sub",
                        "dr",
                        "--role",
                        "physician",
                    ],
                    more,
                ]
                .concat(),
                "",
            )
        };
        for more in [
            &["--expires", "3601"][..],
            &["--claim", "sub=\"x\""],
            &["--claim", "a=1", "--claim", "a=2"],
        ] {
            assert_eq!(mint(more).exit, Exit::Usage, "{more:?}");
        }
        assert!("department=cardiology".parse::<Claim>().is_err());
    }
}
