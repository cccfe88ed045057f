//! The table: its SQL for the owner, the statement for the writer, and names that can't break out of either.

use std::fmt;

use super::upkeep::upkeep;

/// Bytes of a PostgreSQL name; the server would cut a longer one, silently.
const NAME_BYTES_MAX: usize = 63;
/// The longest suffix that names of partitions and triggers put behind the table's.
const SUFFIX_BYTES: usize = 10;

/// A table's name, with its schema or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    schema: Option<String>,
    table: String,
}

/// No name of a table.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error(
    "not a table's name: give `table` or `schema.table`, each of 1 to 53 bytes without control characters"
)]
pub struct TableNameError;

impl TableName {
    /// Reads `table` or `schema.table`.
    ///
    /// # Errors
    /// Empty or too long parts, more than two, control characters.
    pub fn parse(text: &str) -> Result<Self, TableNameError> {
        let parts: Vec<&str> = text.split('.').collect();
        let valid = |part: &&str| {
            (1..=NAME_BYTES_MAX - SUFFIX_BYTES).contains(&part.len())
                && !part.chars().any(char::is_control)
        };
        match parts.as_slice() {
            [table] if valid(table) => Ok(Self {
                schema: None,
                table: (*table).to_owned(),
            }),
            [schema, table] if valid(schema) && valid(table) => Ok(Self {
                schema: Some((*schema).to_owned()),
                table: (*table).to_owned(),
            }),
            _ => Err(TableNameError),
        }
    }

    /// Its schema as a prefix of names, as an SQL literal.
    pub(super) fn schema_prefix(&self) -> String {
        self.schema.as_ref().map_or_else(
            || "''".to_owned(),
            |schema| literal(&format!("{}.", quote(schema))),
        )
    }

    /// Its name alone, not quoted.
    pub(super) fn bare(&self) -> &str {
        &self.table
    }

    /// The name of something beside the table, quoted.
    pub(super) fn beside(&self, suffix: &str) -> String {
        let table = quote(&format!("{}{suffix}", self.table));
        self.schema.as_ref().map_or_else(
            || table.clone(),
            |schema| format!("{}.{table}", quote(schema)),
        )
    }
}

/// Quoted for SQL.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.beside(""))
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as an SQL literal, safe under any `standard_conforming_strings`.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The writer's one statement: an array a column, any number of rows.
pub(crate) fn insert(table: &TableName) -> String {
    format!(
        "INSERT INTO {table} (event_time, chain, seq, uid, event, outcome, severity, sub, client, tool, patients, purpose, configuration_hash, prev_hash, hash, payload, key_id) \
         SELECT r.event_time, r.chain, r.seq, r.uid, r.event, r.outcome, r.severity, r.sub, r.client, r.tool, string_to_array(r.patients, ' '), r.purpose, r.configuration_hash, r.prev_hash, r.hash, r.payload, r.key_id \
         FROM UNNEST($1::timestamptz[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[], $16::bytea[], $17::text[]) \
         AS r (event_time, chain, seq, uid, event, outcome, severity, sub, client, tool, patients, purpose, configuration_hash, prev_hash, hash, payload, key_id) \
         ON CONFLICT DO NOTHING"
    )
}

/// The SQL for the table's owner; running it again changes nothing, and makes the partitions of further months. `kept_days`: how long events are kept, in days.
#[must_use]
pub fn schema(table: &TableName, kept_days: u32) -> String {
    let default = table.beside("_default");
    let refuse = table.beside("_refuse");
    let upkeep = upkeep(table, &refuse, kept_days);
    format!(
        r#"-- Safeguard's audit table. Run it as the table's owner, who is nobody's login for daily work; run it again to make further partitions.
BEGIN;

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'audit_writer') THEN CREATE ROLE audit_writer LOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'audit_reader') THEN CREATE ROLE audit_reader NOLOGIN; END IF;
END $$;

CREATE TABLE IF NOT EXISTS {table} (
  event_time         timestamptz NOT NULL,
  chain              text        NOT NULL,
  seq                bigint      NOT NULL,
  uid                uuid        NOT NULL,
  event              text        NOT NULL,
  outcome            text        NOT NULL,
  severity           text        NOT NULL,
  sub                text,
  client             text,
  tool               text,
  patients           text[]      NOT NULL,  -- keyed pseudonyms, hexadecimal
  purpose            text,
  configuration_hash text,
  prev_hash          bytea       NOT NULL,
  hash               bytea       NOT NULL,  -- SHA-256 of 0x00 and the event's canonical JSON
  payload            bytea       NOT NULL,  -- the event: sealed where key_id is set, else its canonical JSON
  key_id             text,
  PRIMARY KEY (event_time, uid),
  UNIQUE (event_time, chain, seq)
) PARTITION BY RANGE (event_time);

CREATE TABLE IF NOT EXISTS {default} PARTITION OF {table} DEFAULT;

CREATE INDEX IF NOT EXISTS {time_index} ON {table} USING brin (event_time);
CREATE INDEX IF NOT EXISTS {patients_index} ON {table} USING gin (patients);
CREATE INDEX IF NOT EXISTS {sub_index} ON {table} (sub, event_time);

CREATE OR REPLACE FUNCTION {refuse}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit records are neither changed nor deleted' USING ERRCODE = 'insufficient_privilege';
END $$;

DROP TRIGGER IF EXISTS refuse_change ON {table};
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {refuse}();
DROP TRIGGER IF EXISTS refuse_truncate ON {table};
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {refuse}();
{upkeep}
REVOKE ALL ON {table} FROM PUBLIC, audit_writer, audit_reader;
GRANT INSERT ON {table} TO audit_writer;
GRANT SELECT ON {table} TO audit_reader;

COMMIT;
"#,
        time_index = quote(&format!("{}_time", table.table)),
        patients_index = quote(&format!("{}_patients", table.table)),
        sub_index = quote(&format!("{}_sub", table.table)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_out_are_quoted_or_refused() {
        let shown = |text: &str| TableName::parse(text).map(|name| name.to_string());
        assert_eq!(shown("audit_logs").as_deref(), Ok("\"audit_logs\""));
        assert_eq!(
            shown("phi.audit_logs").as_deref(),
            Ok("\"phi\".\"audit_logs\"")
        );
        assert_eq!(
            shown("a\"; DROP TABLE x; --").as_deref(),
            Ok("\"a\"\"; DROP TABLE x; --\"")
        );
        for bad in ["", ".", "a.", "a.b.c", "a\nb", &"x".repeat(54)] {
            assert_eq!(shown(bad), Err(TableNameError), "{bad:?}");
        }
    }

    #[test]
    fn the_insert_names_as_many_columns_as_it_has_arrays() {
        let statement = insert(&TableName::parse("t").unwrap());
        assert!(statement.contains("$17") && !statement.contains("$18"));
        assert!(statement.ends_with("ON CONFLICT DO NOTHING"));
    }
}
