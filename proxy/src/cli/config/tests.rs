//! Which files are read, and what becomes of them.

use super::*;
use crate::cli::{Exit, terminal::tests::run};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/config");
const KEY: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=";

/// The example with its secrets in files, since a test can't set variables of its own process.
pub(in crate::cli) fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, name) in [
        "JWT_SECRET",
        "KEYCLOAK_CLIENT_SECRET",
        "PHI_KEY",
        "INTEGRITY_KEY",
        "AUDIT_KEY",
    ]
    .iter()
    .enumerate()
    {
        // Rings don't share a key, so one letter of it differs.
        let key = KEY.replacen('q', ["q", "r", "s", "t", "u"][number], 1);
        fs::write(folder.path().join(name), key + "\n").unwrap();
    }
    for file in ["auth", "keycloak", "audit", "tls", "policy"] {
        let mut text = fs::read_to_string(format!("{EXAMPLE}/{file}.yaml")).unwrap();
        for name in [
            "JWT_SECRET",
            "KEYCLOAK_CLIENT_SECRET",
            "PHI_KEY",
            "INTEGRITY_KEY",
            "AUDIT_KEY",
        ] {
            text = text.replace(
                &format!("${{{name}}}"),
                &format!("${{file:{}/{name}}}", folder.path().display()),
            );
        }
        fs::write(folder.path().join(format!("{file}.yaml")), text).unwrap();
    }
    folder
}

fn names(files: &[PathBuf]) -> Vec<String> {
    files
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_directory_gives_its_yaml_files_sorted_and_nothing_hidden() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.yaml", "a.yml", ".hidden.yaml", "notes.txt", "c.yaml~"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    fs::create_dir(folder.path().join("..data")).unwrap();
    fs::write(folder.path().join("..data/z.yaml"), "").unwrap();
    fs::create_dir(folder.path().join("sub.yaml")).unwrap();
    assert_eq!(
        names(&files(&[folder.path().to_owned()]).unwrap()),
        ["a.yml", "b.yaml"]
    );
}

#[test]
fn a_volume_of_kubernetes_is_read_through_its_links() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("..2026")).unwrap();
    fs::write(folder.path().join("..2026/a.yaml"), "version: 1\n").unwrap();
    std::os::unix::fs::symlink("..2026", folder.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
    assert_eq!(
        names(&files(&[folder.path().to_owned()]).unwrap()),
        ["a.yaml"]
    );
}

#[test]
fn files_keep_the_order_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["z.conf", "a.yaml"].map(|name| folder.path().join(name));
    paths.iter().for_each(|path| fs::write(path, "").unwrap());
    assert_eq!(names(&files(&paths).unwrap()), ["z.conf", "a.yaml"]);
}

#[test]
fn what_can_not_be_read_is_a_bad_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: PathBuf| load(&[path], Mode::Check).unwrap_err();
    assert_eq!(
        refused(folder.path().join("none.yaml")).exit(),
        Exit::Configuration
    );
    assert!(
        refused(folder.path().to_owned())
            .to_string()
            .contains("no *.yaml")
    );
    let large = folder.path().join("large.yaml");
    fs::write(&large, vec![b'#'; SOURCE_BYTES_MAX + 1]).unwrap();
    assert!(refused(large).to_string().contains("more than"));
    let binary = folder.path().join("binary.yaml");
    fs::write(&binary, b"a: \xff").unwrap();
    assert!(refused(binary).to_string().contains("UTF-8 at byte 3"));
}

#[test]
fn the_files_of_secrets_are_read_in_use_and_left_alone_in_check() {
    let folder = example();
    let paths = [folder.path().to_owned()];
    let used = load(&paths, Mode::Use).unwrap();
    let keys = &used.configuration.as_ref().unwrap().keys;
    assert!(keys.phi[0].key.is_some());
    assert!(
        used.files.contains(&folder.path().join("PHI_KEY"))
            && used.files.contains(&folder.path().join("policy.yaml"))
    );

    fs::remove_file(folder.path().join("PHI_KEY")).unwrap();
    let checked = load(&paths, Mode::Check).unwrap();
    assert!(checked.configuration.unwrap().keys.phi[0].key.is_none());
    assert_eq!(checked.files.len(), 5);
    assert!(
        load(&paths, Mode::Use).unwrap().configuration.is_none(),
        "a missing secret is an error in use"
    );
}

#[test]
fn a_value_given_in_two_files_is_refused() {
    let folder = example();
    fs::write(
        folder.path().join("more.yaml"),
        "upstream: { url: \"http://127.0.0.1:1/mcp\" }\n",
    )
    .unwrap();
    let chosen = load(&[folder.path().to_owned()], Mode::Check).unwrap();
    assert!(chosen.configuration.is_none());
    assert!(
        chosen
            .findings
            .iter()
            .any(|finding| finding.code == codes::GIVEN_TWICE)
    );
}

#[test]
fn a_sink_without_its_credential_is_a_warning_until_it_runs() {
    if std::env::var_os("PGUSER").is_some() {
        return;
    }
    let folder = example();
    let paths = [folder.path().to_owned()];
    assert!(load(&paths, Mode::Use).unwrap().configuration.is_some());
    let run_mode = load(&paths, Mode::Run).unwrap();
    assert!(run_mode.configuration.is_none());
    let words = render(&run_mode.findings, Colour::Off);
    assert!(words.contains("error[sink_credential]"), "{words}");
    let ended = run(&["run", "--config", folder.path().to_str().unwrap()], "");
    assert_eq!(ended.exit, Exit::Configuration);
    assert!(
        ended.err.contains("sink_credential") && !ended.err.contains("qqqqqqqq"),
        "{}",
        ended.err
    );
}
