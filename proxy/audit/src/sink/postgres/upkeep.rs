//! What the table's owner runs from time to time: partitions made ahead, and whole partitions let go when their time is over and no legal hold covers them.
//!
//! Both are functions with the rights of who calls them, so nobody but the owner gets anything done by them. Holds and what was let go stand in tables of their own:
//! a hold is released and never deleted, and a partition that is gone has left a row.

use super::schema::{TableName, literal};

/// Months of partitions made ahead; what comes later goes to the default partition.
const MONTHS_AHEAD: u32 = 24;
/// Six years (45 CFR 164.316(b)(2)(i)), two leap days in them.
const KEPT_DAYS_MIN: u32 = 2192;

/// The SQL: functions, tables, and their first use. `kept_days` is the configuration's; where it is under six years, for the reason given there, that is the least.
pub(super) fn upkeep(table: &TableName, refuse: &str, kept_days: u32) -> String {
    let parent = literal(&table.to_string());
    let schema = table.schema_prefix();
    let prefix = literal(&format!("{}_", table.bare()));
    let refuse_name = literal(refuse);
    let least = kept_days.min(KEPT_DAYS_MIN);
    let [default, ahead, holds, release, retired, retire] = [
        "_default", "_ahead", "_holds", "_release", "_retired", "_retire",
    ]
    .map(|suffix| table.beside(suffix));
    format!(
        r#"
-- Makes a partition for this month and for those after it; a month whose rows went to the default partition stays there. Says how many it made.
CREATE OR REPLACE FUNCTION {ahead}(months integer DEFAULT {MONTHS_AHEAD}) RETURNS integer
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '10s' AS $$
DECLARE
  month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
  part text;
  made integer := 0;
BEGIN
  FOR n IN 0..months LOOP
    part := {schema} || quote_ident({prefix} || to_char(month, 'YYYY_MM'));
    IF to_regclass(part) IS NULL THEN
      BEGIN
        EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
          part, {parent}, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
        EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s()', part, {refuse_name});
        made := made + 1;
      EXCEPTION WHEN check_violation THEN
        RAISE NOTICE 'month % stays in the default partition', month;
      END;
    END IF;
    month := month + interval '1 month';
  END LOOP;
  RETURN made;
END $$;
REVOKE ALL ON FUNCTION {ahead}(integer) FROM PUBLIC;
DO $$ BEGIN PERFORM {ahead}(); END $$;
DROP TRIGGER IF EXISTS refuse_truncate ON {default};
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {default} FOR EACH STATEMENT EXECUTE FUNCTION {refuse}();

-- Legal holds: while one is not released, no partition goes that has an event it covers. Released by an UPDATE of release_reason, never deleted.
CREATE TABLE IF NOT EXISTS {holds} (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  since          timestamptz NOT NULL DEFAULT '-infinity',
  until          timestamptz NOT NULL DEFAULT 'infinity',
  patient        text,  -- a pseudonym; none: whosever
  sub            text,  -- a subject; none: whosever
  reason         text        NOT NULL CHECK (reason <> ''),
  placed_at      timestamptz NOT NULL DEFAULT now(),
  placed_by      text        NOT NULL DEFAULT session_user,
  released_at    timestamptz,
  released_by    text,
  release_reason text CHECK (release_reason <> ''),
  CHECK (since < until),
  CHECK ((released_at IS NULL) = (release_reason IS NULL))
);
CREATE OR REPLACE FUNCTION {release}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.released_at IS NOT NULL OR NEW.release_reason IS NULL
    OR (NEW.id, NEW.since, NEW.until, NEW.patient, NEW.sub, NEW.reason, NEW.placed_at, NEW.placed_by)
      IS DISTINCT FROM (OLD.id, OLD.since, OLD.until, OLD.patient, OLD.sub, OLD.reason, OLD.placed_at, OLD.placed_by) THEN
    RAISE EXCEPTION 'a legal hold is released once, by its release_reason, and not changed otherwise' USING ERRCODE = 'insufficient_privilege';
  END IF;
  NEW.released_at := now();
  NEW.released_by := session_user;
  RETURN NEW;
END $$;

-- Partitions that are gone.
CREATE TABLE IF NOT EXISTS {retired} (
  partition_name text        NOT NULL,
  since          timestamptz NOT NULL,
  until          timestamptz NOT NULL,
  events         bigint      NOT NULL,
  kept_days      integer     NOT NULL,
  retired_at     timestamptz NOT NULL DEFAULT now(),
  retired_by     text        NOT NULL DEFAULT session_user
);
DROP TRIGGER IF EXISTS release ON {holds};
CREATE TRIGGER release BEFORE UPDATE ON {holds} FOR EACH ROW EXECUTE FUNCTION {release}();
DROP TRIGGER IF EXISTS refuse_change ON {holds};
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON {holds} FOR EACH STATEMENT EXECUTE FUNCTION {refuse}();
DROP TRIGGER IF EXISTS refuse_change ON {retired};
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {retired} FOR EACH STATEMENT EXECUTE FUNCTION {refuse}();
REVOKE ALL ON {holds}, {retired} FROM PUBLIC, audit_writer, audit_reader;
GRANT SELECT ON {holds}, {retired} TO audit_reader;

-- Lets whole partitions go whose last event is older than so many days, unless a legal hold covers an event of them; says what became of each.
CREATE OR REPLACE FUNCTION {retire}(days integer DEFAULT {kept_days}) RETURNS TABLE (partition_name text, fate text)
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '10s' AS $$
#variable_conflict use_column
DECLARE
  part record;
  hold bigint;
  counted bigint;
BEGIN
  IF days IS NULL OR days < {least} THEN
    RAISE EXCEPTION 'audit records are kept for {least} days at least' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  LOCK TABLE {holds} IN SHARE MODE;
  FOR part IN
    SELECT c.oid::regclass::text AS name, m.month AT TIME ZONE 'UTC' AS since, (m.month + interval '1 month') AT TIME ZONE 'UTC' AS until
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      CROSS JOIN LATERAL (SELECT to_date(right(c.relname, 7), 'YYYY_MM')::timestamp AS month) m
    WHERE i.inhparent = {parent}::regclass AND right(c.relname, 8) ~ '^_[0-9][0-9][0-9][0-9]_[0-9][0-9]$'
    ORDER BY m.month
  LOOP
    EXIT WHEN part.until > now() - make_interval(days => days);
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', part.name);
    EXECUTE format('SELECT min(h.id) FROM {holds_in_format} h WHERE h.released_at IS NULL AND EXISTS (SELECT FROM %s e WHERE e.event_time >= h.since AND e.event_time < h.until'
      ' AND (h.patient IS NULL OR h.patient = ANY (e.patients)) AND (h.sub IS NULL OR h.sub = e.sub))', part.name) INTO hold;
    IF hold IS NOT NULL THEN
      RETURN QUERY SELECT part.name, format('kept: legal hold %s', hold);
      CONTINUE;
    END IF;
    EXECUTE format('SELECT count(*) FROM %s', part.name) INTO counted;
    INSERT INTO {retired} (partition_name, since, until, events, kept_days) VALUES (part.name, part.since, part.until, counted, days);
    EXECUTE format('DROP TABLE %s', part.name);
    RETURN QUERY SELECT part.name, format('retired: %s events', counted);
  END LOOP;
  SELECT count(*) INTO counted FROM {default} WHERE event_time < now() - make_interval(days => days);
  IF counted > 0 THEN
    RETURN QUERY SELECT {default_text}, format('kept: %s events are older, in the default partition', counted);
  END IF;
END $$;
REVOKE ALL ON FUNCTION {retire}(integer) FROM PUBLIC;
"#,
        holds_in_format = holds.replace('\'', "''").replace('%', "%%"),
        default_text = literal(&default),
    )
}
