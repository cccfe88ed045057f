//! PostgreSQL as a sink: insert-only, TLS 1.3 with `verify-full`, one statement a batch.
//!
//! The role that writes can insert and nothing else, not even read: so no `RETURNING` and no `ON CONFLICT (columns)`, but the bare
//! `ON CONFLICT DO NOTHING` works, and makes a repeated batch harmless. The table is made by its owner from [`schema::schema`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::seal::{BatchSealer, OVERHEAD_BYTES};
use super::tls::{Material, TlsMaterialError, client_config};
use super::{Sink, SinkError, Taken};
use crate::keys::AuditKeys;
use crate::record::Record;
use crate::trail::now_micros;

pub mod read;
pub mod schema;
mod upkeep;

pub use schema::{TableName, TableNameError};

/// Until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Until a batch is committed; the server gives up a little earlier.
const BATCH_MAX: Duration = Duration::from_secs(40);
/// Payloads that are sealed before others get their turn: some 100 µs.
const SEALED_AT_ONCE: usize = 64;
const SERVER_OPTIONS: &str =
    "-c statement_timeout=30s -c synchronous_commit=on -c application_name=safeguard-audit";

/// Where the table is and who writes it.
pub struct PostgresSettings {
    /// The host's name: the server's certificate must be for it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role that may insert.
    pub user: String,
    /// Its password, if it has one.
    pub password: Option<Zeroizing<String>>,
    /// Whether the password is for SCRAM with channel binding alone (RFC 5802 §6, `tls-server-end-point` of RFC 5929 §4);
    /// else with it where the server offers it. With a client certificate the handshake itself binds.
    pub channel_binding: bool,
    /// The authorities that the server's certificate may come from, PEM.
    pub ca_pem: Vec<u8>,
    /// The client certificate chain and key, PEM, if the server asks for one.
    pub client_pem: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// The table.
    pub table: TableName,
    /// Seal the whole event; otherwise it stands in the payload column in clear.
    pub encrypted: bool,
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// How a server is reached, with `options` of its own for the session.
fn config(settings: &PostgresSettings, options: &str) -> Config {
    let mut config = Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .dbname(&settings.database)
        .user(&settings.user)
        .ssl_mode(SslMode::Require)
        .connect_timeout(CONNECT_MAX)
        .tcp_user_timeout(BATCH_MAX)
        .options(options);
    if let Some(password) = &settings.password {
        config.password(password.as_bytes());
        if settings.channel_binding && settings.client_pem.is_none() {
            config.channel_binding(ChannelBinding::Require);
        }
    }
    config
}

/// The settings can't work.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// TLS material that can't work.
    #[error("the PostgreSQL sink: {0}")]
    Material(#[from] TlsMaterialError),
    /// A path of a socket in place of a host: it could not be verified.
    #[error("the PostgreSQL sink needs a host name with TLS, not a socket's path")]
    Socket,
}

/// The sink. Connects when it has something to send.
pub struct Postgres {
    config: Config,
    tls: MakeRustlsConnect,
    renewed: Option<Material>,
    table: TableName,
    encrypted: bool,
    keys: Arc<AuditKeys>,
    session: Option<Session>,
}

struct Session {
    client: Client,
    insert: Statement,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("table", &self.table)
            .field("connected", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// The sink, not connected yet. Needs rustls's process default provider.
    ///
    /// # Errors
    /// TLS material that can't work.
    pub fn new(settings: PostgresSettings, trail: &crate::Trail) -> Result<Self, PostgresError> {
        if settings.host.is_empty() || settings.host.starts_with('/') {
            return Err(PostgresError::Socket);
        }
        let tls = MakeRustlsConnect::new(client_config(
            &settings.ca_pem,
            settings.client_pem.as_ref(),
        )?);
        let config = config(&settings, SERVER_OPTIONS);
        let keys = Arc::clone(trail.keys());
        Ok(Self {
            config,
            tls,
            renewed: None,
            table: settings.table,
            encrypted: settings.encrypted,
            keys,
            session: None,
        })
    }

    /// With TLS material that is asked for at each connection, so that renewed certificates need no restart.
    #[must_use]
    pub fn renewed_by(mut self, material: Material) -> Self {
        self.renewed = Some(material);
        self
    }

    /// TLS as its files are now.
    async fn tls(&self) -> Result<MakeRustlsConnect, SinkError> {
        let Some(source) = self.renewed.clone() else {
            return Ok(self.tls.clone());
        };
        let reading = tokio::task::spawn_blocking(move || {
            let material = source()?;
            let config = client_config(&material.ca_pem, material.client_pem.as_ref());
            config.map_err(|error| error.to_string())
        });
        let config = reading.await.map_err(|error| error.to_string()).flatten();
        config
            .map(MakeRustlsConnect::new)
            .map_err(|what| SinkError {
                code: "tls_material".to_owned(),
                what,
            })
    }

    async fn session(&mut self) -> Result<&Session, SinkError> {
        if self
            .session
            .as_ref()
            .is_none_or(|session| session.client.is_closed())
        {
            self.session = None;
            let connecting = tokio::time::timeout(CONNECT_MAX, self.connect());
            self.session = Some(connecting.await.map_err(|_| timed_out("connecting"))??);
        }
        self.session.as_ref().ok_or_else(|| timed_out("connecting"))
    }

    async fn connect(&self) -> Result<Session, SinkError> {
        let (client, connection) = self
            .config
            .connect(self.tls().await?)
            .await
            .map_err(|error| sink_error(&error))?;
        // Ends when the client is dropped; its error reaches the client's next call.
        tokio::spawn(async move { drop(connection.await) });
        let insert = client
            .prepare(&schema::insert(&self.table))
            .await
            .map_err(|error| sink_error(&error))?;
        Ok(Session { client, insert })
    }

    /// Inserts rows in one statement and one transaction; the count of those that were new.
    async fn insert(&mut self, rows: &[Row<'_>]) -> Result<u64, tokio_postgres::Error> {
        let columns = Columns::of(rows);
        let Some(session) = &self.session else {
            return Ok(0);
        };
        session
            .client
            .execute(&session.insert, &columns.parameters())
            .await
    }

    /// Inserts rows; where the data is refused, halves until the rows that are to blame stand alone.
    async fn insert_or_halve(&mut self, rows: &[Row<'_>]) -> Result<Taken, SinkError> {
        let mut taken = Taken::default();
        let mut open = vec![(0, rows)];
        while let Some((place, rows)) = open.pop() {
            let inserting = tokio::time::timeout(BATCH_MAX, self.insert(rows));
            match inserting.await.map_err(|_| timed_out("inserting"))? {
                Ok(new) => {
                    taken.new += new;
                    taken.duplicates += (rows.len() as u64).saturating_sub(new);
                }
                Err(error) => match data_refused(&error) {
                    None => return Err(sink_error(&error)),
                    Some(code) if rows.len() == 1 => taken.refused.push((place, code)),
                    Some(_) => {
                        let (left, right) = rows.split_at(rows.len() / 2);
                        open.push((place + left.len(), right));
                        open.push((place, left));
                    }
                },
            }
        }
        Ok(taken)
    }

    /// The payloads of a batch, one behind the other, each with where it ends. Between some of them others get their turn: sealing takes the processor, not the network.
    async fn payloads(&self, batch: &[Record]) -> Result<Payloads, SinkError> {
        let unsealed = || SinkError {
            code: "seal".to_owned(),
            what: "an audit payload can't be sealed".to_owned(),
        };
        let key = self
            .keys
            .sealing(now_micros() / 1_000_000)
            .map_err(|_| unsealed())?;
        let sealer = BatchSealer::new(key).map_err(|_| unsealed())?;
        let bytes = batch.iter().map(|record| record.bytes().len());
        let mut payloads = Payloads {
            bytes: Vec::with_capacity(bytes.map(|bytes| bytes + OVERHEAD_BYTES).sum()),
            ends: Vec::with_capacity(batch.len()),
            key_id: key.id.clone(),
        };
        for some in batch.chunks(SEALED_AT_ONCE) {
            for record in some {
                sealer
                    .seal(record, &mut payloads.bytes)
                    .map_err(|_| unsealed())?;
                payloads.ends.push(payloads.bytes.len());
            }
            tokio::task::yield_now().await;
        }
        Ok(payloads)
    }
}

/// Sealed payloads of a batch.
struct Payloads {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    key_id: String,
}

impl Payloads {
    fn rows<'a>(&'a self, batch: &'a [Record]) -> Vec<Row<'a>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let places = starts.zip(&self.ends);
        batch
            .iter()
            .zip(places)
            .map(|(record, (start, end))| {
                let payload = self.bytes.get(start..*end).unwrap_or_default();
                Row::of(record, payload, Some(&self.key_id))
            })
            .collect()
    }
}

impl Sink for Postgres {
    fn name(&self) -> &str {
        "postgresql"
    }

    async fn take(&mut self, batch: &[Record]) -> Result<Taken, SinkError> {
        self.session().await?;
        let payloads = match self.encrypted {
            true => Some(self.payloads(batch).await?),
            false => None,
        };
        let rows = match &payloads {
            Some(payloads) => payloads.rows(batch),
            None => batch
                .iter()
                .map(|record| Row::of(record, record.bytes(), None))
                .collect(),
        };
        let outcome = self.insert_or_halve(&rows).await;
        if outcome.is_err() {
            // After an error nobody knows what the connection is worth.
            self.session = None;
        }
        outcome
    }
}

/// One row, with all that it can borrowed from its record.
#[derive(PartialEq)]
struct Row<'a> {
    time: SystemTime,
    chain: &'a str,
    seq: i64,
    uid: Uuid,
    event: &'a str,
    outcome: &'a str,
    severity: &'a str,
    sub: Option<&'a str>,
    client: Option<&'a str>,
    tool: Option<&'a str>,
    patients: Cow<'a, str>,
    purpose: Option<&'a str>,
    configuration: Option<&'a str>,
    prev: &'a [u8],
    hash: &'a [u8],
    payload: &'a [u8],
    key_id: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(record: &'a Record, payload: &'a [u8], key_id: Option<&'a str>) -> Self {
        let micros = Duration::from_micros(record.micros().unsigned_abs());
        Self {
            time: if record.micros() < 0 {
                UNIX_EPOCH - micros
            } else {
                UNIX_EPOCH + micros
            },
            chain: record.chain(),
            seq: i64::try_from(record.seq()).unwrap_or(i64::MAX),
            uid: record.uid(),
            event: record.name().as_str(),
            outcome: record.text(&["outcome"]).unwrap_or_default(),
            severity: record.text(&["severity"]).unwrap_or_default(),
            sub: record.text(&["subject", "sub"]),
            client: record.text(&["subject", "client"]),
            tool: record.text(&["mcp", "tool"]),
            patients: record.patients_text(),
            purpose: record.text(&["purpose"]),
            configuration: record.text(&["configuration"]),
            prev: record.prev(),
            hash: record.hash_bytes(),
            payload,
            key_id,
        }
    }
}

type Parameter<'a> = &'a (dyn tokio_postgres::types::ToSql + Sync);

macro_rules! columns {
    ($($column:ident: $type:ty),+ $(,)?) => {
        /// Rows turned into one array a column, as `UNNEST` takes them.
        struct Columns<'a> { $($column: Vec<$type>),+ }

        impl<'a> Columns<'a> {
            fn of(rows: &'a [Row<'a>]) -> Self {
                Self { $($column: rows.iter().map(|row| row.$column.clone()).collect()),+ }
            }

            fn parameters(&self) -> Vec<Parameter<'_>> {
                vec![$(&self.$column as Parameter<'_>),+]
            }
        }
    };
}
columns! {
    time: SystemTime, chain: &'a str, seq: i64, uid: Uuid, event: &'a str, outcome: &'a str, severity: &'a str,
    sub: Option<&'a str>, client: Option<&'a str>, tool: Option<&'a str>, patients: Cow<'a, str>, purpose: Option<&'a str>,
    configuration: Option<&'a str>, prev: &'a [u8], hash: &'a [u8], payload: &'a [u8], key_id: Option<&'a str>,
}

/// The SQLSTATE if it was the rows' content that was refused: data exceptions, constraints, limits. Such a row will never be taken.
fn data_refused(error: &tokio_postgres::Error) -> Option<String> {
    let database = error.as_db_error()?;
    let code = database.code().code();
    let class = code.get(..2)?;
    // A row without a partition is a check violation without a constraint: the table is at fault, not the row.
    let no_partition = code == "23514" && database.constraint().is_none();
    (matches!(class, "22" | "23" | "54") && !no_partition).then(|| code.to_owned())
}

/// Without the server's detail texts, which may quote a row.
fn sink_error(error: &tokio_postgres::Error) -> SinkError {
    match error.as_db_error() {
        Some(database) => SinkError {
            code: database.code().code().to_owned(),
            what: headline(database),
        },
        None => SinkError {
            code: "unreachable".to_owned(),
            what: causes(error),
        },
    }
}

/// A server's message names columns, tables and roles; its DETAIL, which names values, stays away.
fn headline(database: &DbError) -> String {
    format!("PostgreSQL refused: {}", database.message())
}

fn causes(error: &tokio_postgres::Error) -> String {
    let mut what = format!("PostgreSQL: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        what.push_str(": ");
        what.push_str(&cause.to_string());
        source = cause.source();
    }
    what
}

fn timed_out(doing: &str) -> SinkError {
    SinkError {
        code: "unreachable".to_owned(),
        what: format!("PostgreSQL: {doing} took too long"),
    }
}
