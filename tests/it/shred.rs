//! A key for each patient: one, whatever happens; none after its destruction, and a signed word of that.

use std::path::{Path, PathBuf};

use safeguard_tests::client::Client;
use safeguard_tests::clinic::Clinic;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::{Sidecar, command, filter, filter_in, path_text};
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::wait::{eventually, within};
use serde_json::{Value, json};

use crate::audit::verify;
use crate::patients::{assert_no_value, data, to_store};

/// PHI can't be opened or sealed.
const NOT_OPENED: i64 = -32052;
/// A patient's id that must not be seen anywhere but in messages.
const PATIENT: &str = "MRN-CANARY-0041789";

/// The example with a key for each patient; every tool knows its patient before the call.
fn setup(url: &str) -> Setup {
    let setup = Setup::new(url);
    let keys = setup.folder.path().join("patient-keys");
    with_keys(setup, &keys)
}

/// The same with the keys in a directory that may be another sidecar's, too.
fn with_keys(mut setup: Setup, keys: &Path) -> Setup {
    for path in [
        "result.patients[*].patient_id",
        "result.records[*].patient_id",
    ] {
        setup.replace("policy.yaml", path, "args.patient_id");
    }
    let yaml = format!(
        "phi:\n  bind: [patient]\n  patient_keys: {{ directory: {}, cached: 8 }}\n",
        keys.display()
    );
    setup.extended(&yaml)
}

fn keys_of(setup: &Setup) -> PathBuf {
    setup.folder.path().join("patient-keys")
}

/// The files of a directory with this ending.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    paths
}

async fn store(client: &mut Client, patient: &str) {
    let stored = client.succeed("store_record", &to_store(patient)).await;
    assert_ne!(stored["isError"], true, "{stored}");
}

async fn read(client: &mut Client, patient: &str) -> Value {
    let read = client
        .succeed("read_record", &json!({"patient_id": patient}))
        .await;
    read["structuredContent"]["record"]["data"].clone()
}

async fn refused(client: &mut Client, patient: &str) -> i64 {
    client
        .refused("read_record", &json!({"patient_id": patient}))
        .await
}

/// Destroys a patient's key; the receipt, or what it says instead.
async fn shred(setup: &Setup, patient: &str) -> Result<String, String> {
    let file = setup.folder.path().join("patient");
    std::fs::write(&file, format!("{patient}\n")).expect("a file");
    let config = setup.config();
    let arguments = [
        "keys",
        "shred",
        "--config",
        path_text(&config),
        "--patient-file",
        path_text(&file),
        "--reason",
        "the patient asked for it",
    ];
    let output = command(setup, &arguments).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        _ => Err(text(&output.stderr)),
    }
}

#[tokio::test]
async fn after_its_destruction_a_patients_record_opens_no_more_and_others_do() {
    let clinic = Clinic::start().await;
    let mut sidecar = Sidecar::start(setup(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.shred"))).await;
    for patient in [PATIENT, "p-2"] {
        store(&mut client, patient).await;
        assert_eq!(read(&mut client, patient).await, data());
    }
    let keys = keys_of(&sidecar.setup);
    assert_eq!(files(&keys, "key").len(), 2, "a key for each");

    let receipt = shred(&sidecar.setup, PATIENT).await.expect("a receipt");
    assert_eq!(refused(&mut client, PATIENT).await, NOT_OPENED);
    let stored = client.refused("store_record", &to_store(PATIENT)).await;
    assert_eq!(stored, NOT_OPENED, "and nothing is written for it again");
    assert_eq!(read(&mut client, "p-2").await, data());
    assert_eq!(files(&keys, "key").len(), 1);
    assert_eq!(files(&keys, "shredded").len(), 1);

    let reason = |reason: &'static str| move |event: &Value| event["reason"] == reason;
    let refusal = sidecar
        .event("decrypt_failure", reason("patient_key_destroyed"))
        .await;
    for step in ["patient_key_destruction_begins", "patient_key_destroyed"] {
        let event = sidecar.event("key_rotated", reason(step)).await;
        assert_eq!(event["patients"], refusal["patients"], "by pseudonym");
    }
    let said: Value = serde_json::from_str(&receipt).expect("JSON");
    assert_eq!(said["receipt"]["pseudonym"], refusal["patients"][0]);

    assert_eq!(
        shred(&sidecar.setup, PATIENT).await,
        Ok(receipt.clone()),
        "asked again, it is the same"
    );
    let unknown = shred(&sidecar.setup, "p-unknown").await;
    assert!(unknown.is_err_and(|why| why.contains("has no key")));
    let lookups = "safeguard_patient_key_lookups_total";
    assert!(sidecar.metric(lookups, &["destroyed"]).await >= 2.0);
    let metrics = sidecar.metrics().await;

    // A new process knows it as well.
    assert!(sidecar.stop().await.success(), "{}", sidecar.log());
    sidecar.launch_again();
    sidecar.ready().await;
    let mut client = sidecar.client(&sign(&physician("dr.again"))).await;
    assert_eq!(refused(&mut client, PATIENT).await, NOT_OPENED);
    assert_eq!(read(&mut client, "p-2").await, data());

    let names: Vec<_> = files(&keys, "shredded");
    for (what, text) in [
        ("the directory of keys", Setup::contents(&keys)),
        ("its names", format!("{names:?}")),
        ("the receipt", receipt),
        ("the log", sidecar.log()),
        ("the metrics", metrics),
        ("the spool", Setup::contents(&sidecar.setup.spool())),
    ] {
        assert!(!text.contains(PATIENT), "{what} holds a patient's id");
        assert_no_value(&text, what);
    }
}

#[tokio::test]
async fn a_receipt_is_believed_by_its_ring_and_by_the_public_key_and_not_when_a_word_is_changed() {
    let clinic = Clinic::start().await;
    let sidecar = Sidecar::start(setup(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.receipt"))).await;
    store(&mut client, "p-1").await;
    let receipt = shred(&sidecar.setup, "p-1").await.expect("a receipt");
    let said: Value = serde_json::from_str(&receipt).expect("JSON");
    let public = said["signature"]["public_key"].as_str().expect("a key");
    let arguments = ["keys", "verify-receipt", "--public-key", public];
    let words = filter(&arguments, &receipt).await.expect("it holds");
    assert!(words.contains("the patient asked for it"), "{words}");
    let changed = receipt.replace("asked", "begged");
    let forged = filter(&arguments, &changed).await;
    assert!(forged.is_err_and(|why| why.contains("signature does not hold")));
}

#[tokio::test]
async fn without_a_sidecar_the_key_is_destroyed_all_the_same_and_the_trail_says_so() {
    let clinic = Clinic::start().await;
    let mut sidecar = Sidecar::start(setup(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.offline"))).await;
    store(&mut client, "p-1").await;
    assert!(sidecar.stop().await.success(), "{}", sidecar.log());
    shred(&sidecar.setup, "p-1").await.expect("a receipt");
    sidecar.launch_again();
    sidecar.ready().await;
    let mut client = sidecar.client(&sign(&physician("dr.online"))).await;
    assert_eq!(refused(&mut client, "p-1").await, NOT_OPENED);
    sidecar
        .event("key_rotated", |event| {
            event["reason"] == "patient_key_destroyed"
        })
        .await;
    let (code, words) = verify(&sidecar).await;
    assert_eq!(code, Some(0), "{words}");
}

#[tokio::test]
async fn two_sidecars_share_one_key_a_patient_and_its_destruction() {
    let clinic = Clinic::start().await;
    let url = clinic.server.url();
    let one = Sidecar::start(setup(&url)).await;
    let keys = keys_of(&one.setup);
    let other = Sidecar::start(with_keys(Setup::new(&url), &keys)).await;
    let mut first = one.client(&sign(&physician("dr.one"))).await;
    let mut second = other.client(&sign(&physician("dr.other"))).await;
    let patients: Vec<String> = (0..12).map(|number| format!("p-{number}")).collect();
    for patient in &patients {
        // Both for the first time, at once.
        tokio::join!(store(&mut first, patient), store(&mut second, patient));
    }
    assert_eq!(files(&keys, "key").len(), patients.len(), "one a patient");
    for patient in &patients {
        assert_eq!(read(&mut first, patient).await, data());
        assert_eq!(read(&mut second, patient).await, data());
    }
    shred(&one.setup, "p-0").await.expect("a receipt");
    assert_eq!(refused(&mut first, "p-0").await, NOT_OPENED);
    let arguments = json!({"patient_id": "p-0"});
    eventually("the other sidecar's refusal", || async {
        let gone = other.metric("safeguard_patient_key_lookups_total", &["destroyed"]);
        let mut again = other.another(&second).await;
        let answer = again.call("read_record", &arguments).await;
        (gone.await > 0.0 && answer["error"]["code"] == NOT_OPENED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn kill_minus_nine_leaves_whole_keys_and_no_value_that_was_answered_is_lost() {
    let clinic = Clinic::start().await;
    let mut sidecar = Sidecar::start(setup(&clinic.server.url())).await;
    let token = sign(&physician("dr.kill"));
    let mut answered = Vec::new();
    for life in 0..8 {
        let mut client = sidecar.client(&token).await;
        for number in 0..4 {
            let patient = format!("p-{life}-{number}");
            store(&mut client, &patient).await;
            answered.push(patient);
        }
        // In the middle of more.
        let unanswered = tokio::spawn(async move {
            for number in 0..1000 {
                let patient = format!("q-{life}-{number}");
                let call = json!({"name": "store_record", "arguments": to_store(&patient)});
                let message = client.request_message("tools/call", &call);
                let body = message.to_string().into();
                if client.exchange("POST", body).await.is_err() {
                    return;
                }
            }
        });
        let keys = keys_of(&sidecar.setup);
        let before = files(&keys, "key").len();
        eventually("keys being made", || async {
            (files(&keys, "key").len() > before + life).then_some(())
        })
        .await;
        sidecar.kill().await;
        within("the client's end", unanswered)
            .await
            .expect("no panic");
        sidecar.launch_again();
        sidecar.ready().await;
    }
    let mut client = sidecar.client(&token).await;
    for patient in &answered {
        assert_eq!(read(&mut client, patient).await, data(), "{patient}");
    }
    let stored = clinic.stored();
    for patient in stored.as_object().expect("an object").keys() {
        assert_eq!(read(&mut client, patient).await, data(), "{patient}");
    }
    for path in files(&keys_of(&sidecar.setup), "key") {
        let text = std::fs::read_to_string(&path).expect("a text");
        assert!(text.starts_with("safeguard patient key 1\nhsk1.") && text.ends_with('\n'));
    }
}

#[tokio::test]
async fn a_key_that_is_torn_or_can_not_be_written_refuses_its_patient_alone_and_loses_nothing() {
    let clinic = Clinic::start().await;
    let mut sidecar = Sidecar::start(setup(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.torn"))).await;
    store(&mut client, "p-1").await;
    let keys = keys_of(&sidecar.setup);
    let torn = files(&keys, "key").remove(0);
    store(&mut client, "p-2").await;
    let whole = std::fs::read(&torn).expect("a key");
    std::fs::write(&torn, &whole[..40]).expect("a file");
    // What was in memory goes with the process.
    assert!(sidecar.stop().await.success());
    sidecar.launch_again();
    sidecar.ready().await;
    let mut client = sidecar.client(&sign(&physician("dr.torn.again"))).await;
    assert_eq!(refused(&mut client, "p-1").await, NOT_OPENED);
    let stored = client.refused("store_record", &to_store("p-1")).await;
    assert_eq!(stored, NOT_OPENED);
    assert_eq!(
        std::fs::read(&torn).expect("a key"),
        whole[..40],
        "not overwritten"
    );
    assert_eq!(read(&mut client, "p-2").await, data());
    sidecar
        .event("decrypt_failure", |event| {
            event["reason"] == "patient_key_unavailable"
        })
        .await;
    assert!(
        sidecar.log().contains("is not a whole key"),
        "{}",
        sidecar.log()
    );
    std::fs::write(&torn, whole).expect("a file");
    assert_eq!(
        read(&mut client, "p-1").await,
        data(),
        "brought back, it opens"
    );

    let (new, aside) = (keys.join("new"), keys.join("aside"));
    std::fs::rename(&new, &aside).expect("a directory");
    let stored = client.refused("store_record", &to_store("p-3")).await;
    assert_eq!(stored, NOT_OPENED, "no key can be made");
    assert!(!clinic.stored_text().contains("p-3"), "nothing went up");
    assert_eq!(
        read(&mut client, "p-2").await,
        data(),
        "known keys serve on"
    );
    std::fs::rename(&aside, &new).expect("a directory");
    store(&mut client, "p-3").await;
    assert_eq!(read(&mut client, "p-3").await, data());
}

#[tokio::test]
async fn after_a_rotation_and_a_pass_over_the_keys_the_old_key_may_be_destroyed() {
    let clinic = Clinic::start().await;
    let mut sidecar = Sidecar::start(setup(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.rotate"))).await;
    for patient in ["p-1", "p-2"] {
        store(&mut client, patient).await;
    }
    let opens_only = "source: \"${PHI_KEY}\", state: decrypt-only";
    second_key(&mut sidecar.setup, opens_only);
    sidecar.setup.write();
    assert!(sidecar.stop().await.success());
    sidecar.launch_again();
    sidecar.ready().await;

    let config = sidecar.setup.config();
    let arguments = ["keys", "rotate", "--reseal", "--config", path_text(&config)];
    for words in [
        "2 keys wrapped anew, 0 were already, 0 refused\n",
        "0 keys wrapped anew, 2 were already, 0 refused\n",
    ] {
        let output = sidecar.command(&arguments).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), words, "{output:?}");
        assert!(output.status.success());
    }
    sidecar
        .setup
        .replace("policy.yaml", opens_only, "state: destroyed");
    sidecar.setup.write();
    assert!(sidecar.stop().await.success());
    sidecar.launch_again();
    sidecar.ready().await;
    let mut client = sidecar.client(&sign(&physician("dr.rotated"))).await;
    for patient in ["p-1", "p-2"] {
        assert_eq!(read(&mut client, patient).await, data());
    }
}

/// The ring with a second key that seals, and what becomes of the first.
fn second_key(setup: &mut Setup, first: &str) {
    let one = "{ id: phi-2026-11, from: 2026-11-01, source: \"${PHI_KEY}\" }";
    let two = format!(
        "{{ id: phi-2026-11, from: 2026-11-01, {first} }}, {{ id: phi-2026-12, from: 2026-11-02, source: \"${{PHI_KEY_2}}\" }}"
    );
    setup.set("PHI_KEY_2", "c2Vjb25kLXBoaS1rZXktb2YtdGhlLXRlc3RzLTAxMjM=");
    setup.replace("policy.yaml", one, &two);
}

/// Takes what a clinic stores through `phi reseal`, a record a line, and puts it back.
async fn reseal(clinic: &Clinic, setup: &Setup, more: &[&str]) {
    let stored = clinic.stored();
    let entries = stored.as_object().expect("an object");
    let lines: String = entries.values().map(|entry| format!("{entry}\n")).collect();
    let config = setup.config();
    let arguments = ["phi", "reseal", "--lines", "--config", path_text(&config)];
    let arguments = [&arguments, more].concat();
    let resealed = filter_in(&setup.environment, &arguments, &lines).await;
    let resealed = resealed.expect("every record");
    assert_eq!(resealed.lines().count(), entries.len());
    let again = filter_in(&setup.environment, &arguments, &resealed).await;
    assert_eq!(
        again.as_deref(),
        Ok(&*resealed),
        "a second pass changes nothing"
    );
    clinic.tamper(|stored| {
        let entries = stored.as_object_mut().expect("an object");
        for (entry, line) in entries.values_mut().zip(resealed.lines()) {
            *entry = serde_json::from_str(line).expect("JSON");
        }
    });
}

#[tokio::test]
async fn after_records_were_sealed_anew_the_old_key_may_be_destroyed() {
    let clinic = Clinic::start().await;
    let mut sidecar = Sidecar::start(Setup::new(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.reseal"))).await;
    for patient in ["p-1", "p-2"] {
        store(&mut client, patient).await;
    }
    assert!(sidecar.stop().await.success());
    let opens_only = "source: \"${PHI_KEY}\", state: decrypt-only";
    second_key(&mut sidecar.setup, opens_only);
    sidecar.setup.write();
    reseal(&clinic, &sidecar.setup, &[]).await;
    sidecar
        .setup
        .replace("policy.yaml", opens_only, "state: destroyed");
    sidecar.setup.write();
    sidecar.launch_again();
    sidecar.ready().await;
    let mut client = sidecar.client(&sign(&physician("dr.resealed"))).await;
    for patient in ["p-1", "p-2"] {
        assert_eq!(read(&mut client, patient).await, data());
    }
}

#[tokio::test]
async fn records_from_before_come_under_their_patients_keys_and_can_then_be_destroyed() {
    let clinic = Clinic::start().await;
    let mut sidecar = Sidecar::start(Setup::new(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.before"))).await;
    for patient in ["p-1", "p-2"] {
        store(&mut client, patient).await;
    }
    assert!(sidecar.stop().await.success());
    let later = setup(&clinic.server.url());
    later.write();
    reseal(
        &clinic,
        &later,
        &["--patient-at", "record.patient_id", "--unbound"],
    )
    .await;
    assert_eq!(files(&keys_of(&later), "key").len(), 2);
    let sidecar = Sidecar::start(later).await;
    let mut client = sidecar.client(&sign(&physician("dr.after"))).await;
    for patient in ["p-1", "p-2"] {
        assert_eq!(read(&mut client, patient).await, data());
    }
    shred(&sidecar.setup, "p-1").await.expect("a receipt");
    assert_eq!(refused(&mut client, "p-1").await, NOT_OPENED);
    assert_eq!(read(&mut client, "p-2").await, data());
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_its_own_patient_and_no_other() {
    let clinic = Clinic::start().await;
    let mut sidecar = Sidecar::start(setup(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.hang"))).await;
    store(&mut client, "p-1").await;
    let key = files(&keys_of(&sidecar.setup), "key").remove(0);
    store(&mut client, "p-2").await;
    assert!(sidecar.stop().await.success());
    std::fs::rename(&key, key.with_extension("aside")).expect("a file");
    let made = std::process::Command::new("mkfifo").arg(&key).status();
    assert!(made.expect("mkfifo").success());
    sidecar.launch_again();
    sidecar.ready().await;
    let mut client = sidecar.client(&sign(&physician("dr.hang.again"))).await;
    let mut other = sidecar.another(&client).await;
    let (held, served) = tokio::join!(refused(&mut client, "p-1"), read(&mut other, "p-2"));
    assert_eq!((held, served), (NOT_OPENED, data()));
    let limits = "safeguard_limits_reached_total";
    assert!(sidecar.metric(limits, &["patient_keys_wait"]).await >= 1.0);
    assert!(
        sidecar.stop().await.success(),
        "and not the end: {}",
        sidecar.log()
    );
}

#[tokio::test]
async fn an_id_never_stands_on_the_command_line_and_a_directory_open_to_others_is_refused() {
    let setup = setup("http://127.0.0.1:1/mcp");
    let config = setup.write();
    let arguments = [
        "keys",
        "shred",
        "--config",
        path_text(&config),
        "--patient",
        "p-1",
    ];
    let output = command(&setup, &arguments).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let keys = keys_of(&setup);
    std::fs::create_dir(&keys).expect("a directory");
    let output = command(&setup, &["run", "--config", path_text(&config)]).await;
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("chmod 700"), "{words}");
}
