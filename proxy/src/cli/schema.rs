//! `schema`: the JSON Schema of the configuration.

use super::{CliError, Exit, Terminal};

pub(super) fn schema(terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    writeln!(terminal.out, "{:#}", safeguard_policy::schema())?;
    Ok(Exit::Well)
}

#[cfg(test)]
mod tests {
    use crate::cli::terminal::tests::run;

    #[test]
    fn it_is_a_json_schema() {
        let schema: serde_json::Value = serde_json::from_str(&run(&["schema"], "").out).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
    }
}
