//! What was found, wherever it was looked for, and whether what it was found in is as the sidecar left it.

use safeguard_audit::Record;
use safeguard_audit::query::{self, Answer, Query};
use safeguard_audit::sink::postgres::read::TableAnswer;
use safeguard_audit::sink::s3::read::BucketAnswer;
use safeguard_audit::verify::Report;

use super::{From, Log, ReaderArgs, bucket, judge, table, unreadable};
use crate::cli::{CliError, Terminal};

/// Records, and what they were found in.
pub(super) struct Found {
    /// The place in words.
    pub(super) place: String,
    answer: Answered,
}

enum Answered {
    Spool(Vec<Record>, Box<Report>),
    Table(Box<TableAnswer>),
    Bucket(Box<BucketAnswer>),
}

impl Found {
    /// Asks one place.
    pub(super) fn ask(
        from: From,
        log: &Log,
        reader: &ReaderArgs,
        asked: &Query,
    ) -> Result<Self, CliError> {
        let (answer, place) = match from {
            From::Spool => {
                let Answer { records, report } =
                    query::spool(&log.directory, &log.state, &log.keys, asked)
                        .map_err(|error| unreadable(log, &error))?;
                let place = format!("the spool {}", log.directory.display());
                (Answered::Spool(records, Box::new(report)), place)
            }
            From::Postgresql => {
                let (answer, place) = table::ask(log, reader, asked)?;
                (Answered::Table(Box::new(answer)), place)
            }
            From::S3 => {
                let (answer, place) = bucket::ask(log, asked)?;
                (Answered::Bucket(Box::new(answer)), place)
            }
        };
        Ok(Self { place, answer })
    }

    /// Each was verified before it was believed.
    pub(super) fn records(&self) -> &[Record] {
        match &self.answer {
            Answered::Spool(records, _) => records,
            Answered::Table(answer) => &answer.records,
            Answered::Bucket(answer) => &answer.records,
        }
    }

    /// Says what the records don't, to be asked once they are shown.
    pub(super) fn judge(&self, asked: &Query, terminal: &mut Terminal<'_>) -> Result<(), CliError> {
        match &self.answer {
            Answered::Spool(_, report) => judge(report),
            Answered::Table(answer) => {
                table::notices(answer, asked, terminal)?;
                table::judge(answer)
            }
            Answered::Bucket(answer) => {
                bucket::notices(&answer.report, terminal)?;
                bucket::judge(&answer.report)
            }
        }
    }
}
