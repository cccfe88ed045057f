//! `schema`: the JSON Schema of the configuration, or of a file of cases.

use clap::Args;

use super::{CliError, Exit, Terminal};

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Instead of the configuration's, that of a file of cases for `test`
    #[arg(long)]
    cases: bool,
}

pub(super) fn schema(
    arguments: &SchemaArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let schema = match arguments.cases {
        true => safeguard_policy::schema::of_cases(),
        false => safeguard_policy::schema(),
    };
    writeln!(terminal.out, "{schema:#}")?;
    Ok(Exit::Well)
}

#[cfg(test)]
mod tests {
    use crate::cli::terminal::tests::run;

    #[test]
    fn it_is_a_json_schema() {
        for arguments in [&["schema"][..], &["schema", "--cases"]] {
            let schema: serde_json::Value = serde_json::from_str(&run(arguments, "").out).unwrap();
            assert_eq!(
                schema["$schema"],
                "https://json-schema.org/draft/2020-12/schema"
            );
        }
    }
}
