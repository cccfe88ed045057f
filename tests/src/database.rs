//! The audit trail's PostgreSQL: the cluster that `tests/run` started, with the table and the roles that
//! `safeguard audit schema` prints for its owner.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use crate::real;

/// The password that the tests give the role which may only insert.
const PASSWORD: &str = "test-only-database-password";

/// One database of the cluster, made by one test.
#[derive(Debug, Clone)]
pub struct Database {
    name: String,
}

/// Roles belong to the whole cluster, so the statements of two tests must not meet.
static MAKING: OnceCell<tokio::sync::Mutex<()>> = OnceCell::const_new();

impl Database {
    /// A new one with the table in it, as its owner makes it.
    ///
    /// # Panics
    /// If the SQL doesn't run.
    pub async fn create() -> Self {
        let making = MAKING
            .get_or_init(|| async { tokio::sync::Mutex::new(()) })
            .await
            .lock()
            .await;
        let database = Self {
            name: format!("test_{}", uuid::Uuid::new_v4().simple()),
        };
        let cluster = owner("postgres").await;
        cluster
            .batch_execute(&format!("CREATE DATABASE {}", database.name))
            .await
            .expect("a new database");
        let sql = crate::sidecar::filter(&["audit", "schema"], "")
            .await
            .expect("the SQL for the owner");
        let owner = database.owner().await;
        owner
            .batch_execute(&sql)
            .await
            .unwrap_or_else(|error| panic!("`audit schema` runs: {error:?}"));
        owner
            .batch_execute(&format!("ALTER ROLE {WRITER} LOGIN PASSWORD '{PASSWORD}'"))
            .await
            .expect("the writer's password");
        drop(making);
        database
    }

    /// The standard variables by which the sidecar finds it.
    pub fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("PGHOST", "localhost".to_owned()),
            ("PGPORT", real::variable("SAFEGUARD_POSTGRES_PORT")),
            ("PGDATABASE", self.name.clone()),
            ("PGUSER", WRITER.to_owned()),
            ("PGPASSWORD", PASSWORD.to_owned()),
            ("PGSSLROOTCERT", real::ca().display().to_string()),
        ]
    }

    /// The same for a new role that may only read.
    ///
    /// # Panics
    /// If it can't be made.
    pub async fn reader(&self) -> [(&'static str, String); 6] {
        let role = format!("auditor_{}", uuid::Uuid::new_v4().simple());
        let make = format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE audit_reader");
        let owner = self.owner().await;
        owner.batch_execute(&make).await.expect("a reader");
        self.environment().map(|(name, value)| match name {
            "PGUSER" => (name, role.clone()),
            _ => (name, value),
        })
    }

    /// The port of the cluster.
    #[must_use]
    pub fn port(&self) -> u16 {
        real::variable("SAFEGUARD_POSTGRES_PORT")
            .parse()
            .expect("a port")
    }

    /// A connection as the owner of everything.
    pub async fn owner(&self) -> Client {
        owner(&self.name).await
    }

    /// A connection as the role that the sidecar has.
    pub async fn writer(&self) -> Client {
        let cluster = owner(&self.name).await;
        cluster
            .batch_execute(&format!("SET SESSION AUTHORIZATION {WRITER}"))
            .await
            .expect("the writer's role");
        cluster
    }

    /// Asserts that every outcome and intent among the spool's events is a row here, exactly once, with the same place in its chain.
    ///
    /// # Panics
    /// If not.
    pub async fn assert_holds_once(&self, spooled: &[Value]) {
        let place = |event: &Value| {
            ["uid", "chain", "seq", "event"]
                .map(|member| event[member].to_string())
                .join(" ")
        };
        let mut rows = BTreeMap::new();
        for row in self.rows().await {
            *rows.entry(place(&row)).or_insert(0) += 1;
        }
        assert!(
            rows.values().all(|count| *count == 1),
            "no event is there twice"
        );
        for event in spooled.iter().filter(|event| {
            ["phi_access_granted", "phi_read"]
                .map(Some)
                .contains(&event["event"].as_str())
        }) {
            assert!(
                rows.contains_key(&place(event)),
                "not in PostgreSQL: {event}"
            );
        }
    }

    /// All rows of `audit_logs`, whole, in the order of their chain.
    pub async fn rows(&self) -> Vec<Value> {
        let rows = self
            .owner()
            .await
            .query(
                "SELECT to_jsonb(a) FROM audit_logs a ORDER BY chain, seq",
                &[],
            )
            .await
            .expect("the table");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many rows hold an event.
    pub async fn count(&self, event: &str) -> i64 {
        let rows = self
            .owner()
            .await
            .query_one(
                "SELECT count(*) FROM audit_logs WHERE event = $1",
                &[&event],
            )
            .await;
        rows.expect("the table").get(0)
    }
}

/// The role that `audit schema` makes for the sidecar.
const WRITER: &str = "audit_writer";

async fn owner(database: &str) -> Client {
    let configuration = format!(
        "host={} port={} user=postgres dbname={database}",
        real::variable("SAFEGUARD_POSTGRES_SOCKET"),
        real::variable("SAFEGUARD_POSTGRES_PORT")
    );
    let (client, connection) = tokio_postgres::connect(&configuration, NoTls)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL: {error}"));
    tokio::spawn(connection);
    client
}
