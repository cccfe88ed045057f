//! The loader held against the example files and against documents that are wrong.

use std::collections::BTreeMap;

use super::*;
use crate::finding::Severity;

/// Variables and files of a test; files are opened only if there are any.
#[derive(Default)]
pub(crate) struct Fake {
    pub vars: BTreeMap<String, String>,
    pub files: Option<BTreeMap<String, String>>,
}

impl Environment for Fake {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }

    fn file(&self, path: &str) -> Result<Option<String>, String> {
        match &self.files {
            None => Ok(None),
            Some(files) => files
                .get(path)
                .cloned()
                .map(Some)
                .ok_or("no such file".to_owned()),
        }
    }
}

pub(crate) const CANARY: &str = "canary-0123456789-0123456789-0123456789";

/// What the example files need.
pub(crate) fn example_env() -> Fake {
    let key = |c: &str| format!("hex:{}", c.repeat(64));
    let vars = [
        ("JWT_SECRET", CANARY.to_owned()),
        ("KEYCLOAK_CLIENT_SECRET", CANARY.to_owned()),
        ("PHI_KEY", key("a")),
        ("INTEGRITY_KEY", key("b")),
        ("AUDIT_KEY", key("c")),
        ("PGUSER", "safeguard".to_owned()),
        ("PGPASSWORD", CANARY.to_owned()),
    ];
    Fake {
        vars: vars.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        files: None,
    }
}

/// The example files as they are in the repository.
pub(crate) fn example() -> Vec<Source> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/config");
    ["auth", "keycloak", "audit", "tls", "policy"]
        .map(|name| Source {
            name: format!("{name}.yaml"),
            text: std::fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap(),
        })
        .to_vec()
}

#[test]
fn the_example_files_load_unchanged() {
    let loaded = load(&example(), &example_env());
    let lines: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    assert!(
        loaded
            .findings
            .iter()
            .all(|f| f.severity == Severity::Warning),
        "{lines:#?}"
    );
    let codes: Vec<&str> = loaded.findings.iter().map(|f| f.code).collect();
    assert_eq!(
        codes,
        [
            codes::SINK_NOT_BUILT,
            codes::WEAK_TRANSPORT,
            codes::SINK_NOT_BUILT
        ],
        "{lines:#?}"
    );
    let c = loaded.configuration.unwrap();
    assert_eq!(c.listen.path, "/mcp");
    assert_eq!(
        c.state.directory.to_str(),
        Some("/var/lib/safeguard/spool-state")
    );
    assert_eq!(c.keys.phi[0].from_unix, 1_793_491_200);
    assert_eq!(c.policy.tools().len(), 6);
}
