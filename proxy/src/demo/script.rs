//! What happens on the stage: the calls of each principal, the tampering, and what was seen where.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Workshop;
use super::cast::{self, AGENT, BILLING, NURSE, PATIENT, PHYSICIAN, Persona, READERS, TAMPERED};
use super::client::{Client, ClientError, Endpoint};
use super::stage::{SERVER_NAME, Stage, StageError, tamper};

/// Why the calls could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("{subject}: {source}")]
    Client {
        subject: &'static str,
        source: ClientError,
    },
    #[error("can't use the clinic's files: {0}")]
    Files(#[from] io::Error),
}

/// A call that has to be refused.
pub(crate) struct Refusal {
    pub(crate) who: Persona,
    pub(crate) what: &'static str,
    pub(crate) expected: i64,
    pub(crate) answer: Value,
}

impl Refusal {
    /// The JSON-RPC error code of the answer.
    pub(crate) fn code(&self) -> Option<i64> {
        self.answer.pointer("/error/code").and_then(Value::as_i64)
    }

    pub(crate) fn holds(&self) -> bool {
        self.code() == Some(self.expected)
    }
}

/// What was said and seen while the sidecar ran.
#[derive(Default)]
pub(crate) struct Play {
    /// The arguments of the physician's first `store_record`.
    pub(crate) sent: Value,
    /// How many permitted `store_record` calls were made.
    pub(crate) stores: usize,
    /// The response to `read_record`, reader by reader, in the order of [`READERS`].
    pub(crate) read: Vec<(Persona, Value)>,
    /// How many tools each reader is shown.
    pub(crate) tools: Vec<usize>,
    pub(crate) denied: Vec<Refusal>,
    pub(crate) tampered: Option<Refusal>,
    pub(crate) agent_saw: Vec<Value>,
    /// The clinic's file of records before the tampering.
    pub(crate) store_text: String,
}

/// The files of the clinic.
pub(crate) struct ClinicFiles {
    pub(crate) store: PathBuf,
    pub(crate) recording: PathBuf,
}

struct Company<'a> {
    stage: &'a Stage,
    workshop: &'a dyn Workshop,
    clients: BTreeMap<&'static str, Client>,
}

/// The JSON-RPC code of a denial, and of a record that failed its hash.
pub(crate) const DENIED: i64 = -32050;
pub(crate) const NOT_INTACT: i64 = -32051;

/// Plays the whole script against the sidecar.
pub(crate) async fn play(
    stage: &Stage,
    workshop: &dyn Workshop,
    files: &ClinicFiles,
) -> Result<Play, ScriptError> {
    let clients = BTreeMap::new();
    let mut company = Company {
        stage,
        workshop,
        clients,
    };
    let mut play = Play::default();
    store(&mut company, &mut play).await?;
    read(&mut company, &mut play).await?;
    denied(&mut company, &mut play).await?;
    play.store_text = std::fs::read_to_string(&files.store)?;
    tampered(&mut company, &mut play, &files.store).await?;
    play.agent_saw = company
        .clients
        .into_values()
        .flat_map(Client::into_seen)
        .collect();
    Ok(play)
}

impl Company<'_> {
    /// The persona's client; connected and initialized at its first line.
    async fn client(&mut self, who: &Persona) -> Result<&mut Client, ScriptError> {
        let named = |source| ScriptError::Client {
            subject: who.subject,
            source,
        };
        if !self.clients.contains_key(who.subject) {
            let token = self.stage.token(self.workshop, who)?;
            let (certificate, key) = self.stage.certificate(who.certificate);
            let (ca, _) = self.stage.certificate("ca");
            let endpoint = Endpoint {
                address: self.stage.listen,
                name: SERVER_NAME,
                ca: &ca,
            };
            let connected = Client::connect(endpoint, &certificate, &key, &token).await;
            let mut client = connected.map_err(named)?;
            client.initialize().await.map_err(named)?;
            self.clients.insert(who.subject, client);
        }
        let client = self.clients.get_mut(who.subject);
        client.ok_or_else(|| named(ClientError::Answer))
    }

    async fn tool(
        &mut self,
        who: &Persona,
        name: &str,
        arguments: Value,
    ) -> Result<Value, ScriptError> {
        let client = self.client(who).await?;
        let answer = client.tool(name, arguments).await;
        answer.map_err(|source| ScriptError::Client {
            subject: who.subject,
            source,
        })
    }

    async fn request(
        &mut self,
        who: &Persona,
        method: &str,
        params: Value,
    ) -> Result<Value, ScriptError> {
        let client = self.client(who).await?;
        let answer = client.request(method, params).await;
        answer.map_err(|source| ScriptError::Client {
            subject: who.subject,
            source,
        })
    }
}

async fn store(company: &mut Company<'_>, play: &mut Play) -> Result<(), ScriptError> {
    play.sent = cast::first_record();
    for arguments in [cast::first_record(), cast::second_record()] {
        company.tool(&PHYSICIAN, "store_record", arguments).await?;
        play.stores += 1;
    }
    Ok(())
}

async fn read(company: &mut Company<'_>, play: &mut Play) -> Result<(), ScriptError> {
    for who in READERS {
        let listed = company.request(&who, "tools/list", json!({})).await?;
        let tools = listed.pointer("/result/tools").and_then(Value::as_array);
        play.tools.push(tools.map_or(0, Vec::len));
        let answer = company
            .tool(&who, "read_record", json!({"patient_id": PATIENT}))
            .await?;
        play.read.push((who, answer));
    }
    let of_department = json!({"department": cast::DEPARTMENT});
    company
        .tool(&BILLING, "find_patient", of_department.clone())
        .await?;
    company
        .tool(&PHYSICIAN, "export_records", of_department)
        .await?;
    let summary = json!({"uri": format!("patient://{PATIENT}/summary")});
    company.request(&NURSE, "resources/read", summary).await?;
    Ok(())
}

async fn denied(company: &mut Company<'_>, play: &mut Play) -> Result<(), ScriptError> {
    let of_patient = json!({"patient_id": PATIENT});
    let lines = [
        (NURSE, "store_record", cast::first_record()),
        (BILLING, "delete_record", of_patient.clone()),
        (AGENT, "run_sql", of_patient),
    ];
    for (who, what, arguments) in lines {
        let answer = company.tool(&who, what, arguments).await?;
        play.denied.push(Refusal {
            who,
            what,
            expected: DENIED,
            answer,
        });
    }
    Ok(())
}

async fn tampered(
    company: &mut Company<'_>,
    play: &mut Play,
    store: &Path,
) -> Result<(), ScriptError> {
    tamper(store, TAMPERED)?;
    let answer = company
        .tool(&PHYSICIAN, "read_record", json!({"patient_id": TAMPERED}))
        .await?;
    play.tampered = Some(Refusal {
        who: PHYSICIAN,
        what: "read_record",
        expected: NOT_INTACT,
        answer,
    });
    Ok(())
}
