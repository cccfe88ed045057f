//! What one run showed, the verdict on it, and its JSON form.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cast::{self, PATIENT, PHI_FIELDS};
use super::script::{Play, Refusal};
use super::search;

/// Everything that the demo collected.
pub(crate) struct Outcome {
    pub(crate) play: Play,
    /// The messages that the upstream received, and their text.
    pub(crate) upstream_saw: Vec<Value>,
    pub(crate) upstream_stored: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) verified: bool,
    /// How many PHI values the demo's input has.
    pub(crate) searched: usize,
    /// Those of them that the upstream got to see.
    pub(crate) leaked: BTreeSet<String>,
}

/// One line of the verdict.
pub(crate) struct Verdict {
    pub(crate) good: bool,
    pub(crate) text: String,
}

impl Outcome {
    /// Judges what was collected: `recording` and `stores` are the clinic's files as text.
    pub(crate) fn new(
        play: Play,
        recording: &str,
        stores: &[&str],
        events: Vec<Value>,
        verified: bool,
    ) -> Outcome {
        let mut values = search::phi_values(&cast::first_record());
        values.extend(search::phi_values(&cast::second_record()));
        let texts = stores.iter().copied().chain([recording]);
        let leaked = texts
            .flat_map(|text| search::found_in(&values, text))
            .collect();
        let records: Value = serde_json::from_str(&play.store_text).unwrap_or_default();
        let records = records.as_object().cloned().unwrap_or_default();
        Outcome {
            play,
            upstream_saw: json_lines(recording),
            upstream_stored: records.into_iter().map(|(_, record)| record).collect(),
            events,
            verified,
            searched: values.len(),
            leaked,
        }
    }

    /// The data of the record that a reader was shown; none if the call was refused.
    pub(crate) fn shown(answer: &Value) -> Option<&Value> {
        answer.pointer("/result/structuredContent/record/data")
    }

    /// The arguments that the upstream received with the first `store_record`.
    pub(crate) fn received(&self) -> Option<&Value> {
        let mut calls = self.upstream_saw.iter();
        calls
            .find(|m| {
                m.pointer("/params/name")
                    .is_some_and(|name| name == "store_record")
            })
            .and_then(|message| message.pointer("/params/arguments/record"))
    }

    /// The record that the upstream holds for the demo's patient.
    pub(crate) fn kept(&self) -> Option<&Value> {
        let mut records = self.upstream_stored.iter();
        records.find(|record| record.get("patient_id").is_some_and(|id| id == PATIENT))
    }

    /// The physician read what the physician had stored, every PHI field of it.
    fn read_back(&self) -> bool {
        let sent = self.play.sent.pointer("/record/data");
        let read = self
            .play
            .read
            .first()
            .and_then(|(_, answer)| Outcome::shown(answer));
        match (sent, read) {
            (Some(sent), Some(read)) => PHI_FIELDS.iter().all(|f| sent.get(*f) == read.get(*f)),
            _ => false,
        }
    }

    /// Every denied call was answered as a denial, and the clinic saw none of them.
    fn refused_unseen(&self) -> bool {
        let denied = &self.play.denied;
        let calls = |name: &str| {
            let named = self.upstream_saw.iter();
            named
                .filter(|message| message.pointer("/params/name").is_some_and(|n| n == name))
                .count()
        };
        let permitted = |name: &str| {
            if name == "store_record" {
                self.play.stores
            } else {
                0
            }
        };
        !denied.is_empty()
            && denied
                .iter()
                .all(|refusal| refusal.holds() && calls(refusal.what) == permitted(refusal.what))
    }

    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let tampered = self.play.tampered.as_ref().is_some_and(Refusal::holds);
        let denied = self.refused_unseen();
        let received = !self.upstream_saw.is_empty() && !self.upstream_stored.is_empty();
        let line = |good: bool, well: String, ill: &str| Verdict {
            good,
            text: if good { well } else { ill.to_owned() },
        };
        let clean = format!(
            "none of the {} PHI values is in the {} messages the clinic received, or in its store",
            self.searched,
            self.upstream_saw.len()
        );
        vec![
            line(
                received && self.leaked.is_empty(),
                clean,
                "PHI REACHED THE CLINIC, or nothing reached it at all",
            ),
            line(
                self.read_back(),
                "the physician read back exactly what was stored".to_owned(),
                "the physician did not read back what was stored",
            ),
            line(
                denied,
                "what the policy does not permit was refused, and never reached the clinic"
                    .to_owned(),
                "A CALL THAT THE POLICY DENIES WAS NOT REFUSED AS SUCH",
            ),
            line(
                tampered,
                "the record that was tampered with was refused".to_owned(),
                "THE TAMPERED RECORD WAS NOT REFUSED",
            ),
            line(
                self.verified,
                format!("the audit log of {} events verifies", self.events.len()),
                "THE AUDIT LOG DOES NOT VERIFY",
            ),
        ]
    }

    pub(crate) fn good(&self) -> bool {
        self.verdicts().iter().all(|verdict| verdict.good)
    }

    /// The contract's form of `demo --json`.
    pub(crate) fn to_json(&self) -> Value {
        let refused = self.play.tampered.as_ref().is_some_and(Refusal::holds);
        json!({
            "agent_saw": self.play.agent_saw,
            "upstream_saw": self.upstream_saw,
            "upstream_stored": self.upstream_stored,
            "audit": {"events": self.events, "verified": self.verified},
            "integrity": {"tampered_record": if refused { "refused" } else { "released" }},
        })
    }
}

/// The lines of a text that are JSON.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::cast::{PHYSICIAN, READERS};
    use super::super::script::{DENIED, NOT_INTACT};
    use super::*;

    /// A run as it should be, made without a sidecar.
    pub(crate) fn good_outcome() -> Outcome {
        let sealed = json!({"_encrypted": true, "_value": "hs1.AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMk"});
        let sent = cast::first_record();
        let mut upstream = sent.clone();
        for field in PHI_FIELDS {
            upstream["record"]["data"][field] = sealed.clone();
        }
        upstream["record"]["integrity_hash"] = "5d41402abc4b2a76b9719d911017c592aa".into();
        upstream["record"]["version"] = 1.into();
        upstream["record"]["created_by"] = "dr.osei".into();
        let answer = |data: &Value| json!({"id": 2, "result": {"structuredContent": {"record": {"data": data}}}});
        let error = |code: i64| json!({"id": 3, "error": {"code": code, "message": "refused"}});
        let refusal = |expected| Refusal {
            who: PHYSICIAN,
            what: if expected == DENIED {
                "delete_record"
            } else {
                "read_record"
            },
            expected,
            answer: error(expected),
        };
        let mut data = sent["record"]["data"].clone();
        let first = answer(&data);
        data["ssn"] = "***-**-4320".into();
        data["medical_record_number"] = "sgt1.c2VhbGVk".into();
        data["diagnosis"] = Value::Null;
        let mut read = vec![(PHYSICIAN, first)];
        read.extend(READERS.iter().skip(1).map(|who| (*who, answer(&data))));
        let play = Play {
            sent,
            stores: 1,
            agent_saw: read.iter().map(|(_, message)| message.clone()).collect(),
            read,
            tools: vec![6, 3, 3, 3],
            denied: vec![refusal(DENIED)],
            tampered: Some(refusal(NOT_INTACT)),
            store_text: json!({PATIENT: upstream["record"]}).to_string(),
        };
        let call = json!({"method": "tools/call", "params": {"name": "store_record", "arguments": upstream}});
        let event = json!({"time": "2026-11-22T22:50:01.123456Z", "event": "phi_create",
            "subject": {"sub": "dr.osei"}, "mcp": {"tool": "store_record"},
            "fields": [{"name": "ssn", "action": "sealed"}, {"name": "diagnosis", "action": "sealed"}]});
        let store = play.store_text.clone();
        Outcome::new(play, &call.to_string(), &[&store], vec![event], true)
    }

    #[test]
    fn a_good_run_is_judged_good() {
        let outcome = good_outcome();
        let ill: Vec<String> = outcome
            .verdicts()
            .into_iter()
            .filter(|v| !v.good)
            .map(|v| v.text)
            .collect();
        assert!(outcome.good(), "{ill:?}");
    }

    #[test]
    fn each_thing_that_goes_wrong_spoils_the_verdict() {
        let spoil: [fn(&mut Outcome); 7] = [
            |o| {
                let call = json!({"params": {"name": "delete_record"}});
                o.upstream_saw.push(call);
            },
            |o| o.verified = false,
            |o| o.leaked = BTreeSet::from(["x".to_owned()]),
            |o| o.play.tampered = None,
            |o| o.play.denied[0].answer = json!({"result": {}}),
            |o| o.play.read[0].1 = json!({"error": {"code": -32052}}),
            |o| o.upstream_saw.clear(),
        ];
        for (number, spoil) in spoil.into_iter().enumerate() {
            let mut outcome = good_outcome();
            spoil(&mut outcome);
            assert!(!outcome.good(), "{number}");
        }
    }

    #[test]
    fn a_value_in_the_recording_or_the_store_is_a_leak() {
        for (recording, store) in [
            ("{\"x\":\"987-65-4320\"}", "{}"),
            ("{}", "{\"y\":\"mrn-2210-7756\"}"),
        ] {
            let outcome = Outcome::new(good_outcome().play, recording, &[store], Vec::new(), true);
            assert_eq!(outcome.leaked.len(), 1);
        }
    }

    #[test]
    fn the_json_form_is_the_contracts() {
        let form = good_outcome().to_json();
        let names: Vec<&String> = form.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 5);
        assert!(form["agent_saw"].is_array() && form["upstream_saw"].is_array());
        assert_eq!(form["upstream_stored"][0]["patient_id"], PATIENT);
        assert_eq!(form["audit"]["verified"], true);
        assert!(form["audit"]["events"].is_array());
        assert_eq!(form["integrity"]["tampered_record"], "refused");
    }

    #[test]
    fn a_released_tampered_record_is_said_so() {
        let mut outcome = good_outcome();
        outcome.play.tampered = None;
        assert_eq!(
            outcome.to_json()["integrity"]["tampered_record"],
            "released"
        );
    }
}
