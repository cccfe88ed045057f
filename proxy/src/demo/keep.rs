//! `demo --keep`: how to point an MCP client at what runs.

use std::io::Write;
use std::path::Path;

use super::Workshop;
use super::cast::{CARE_AGENT, CHART_WEB, PATIENT, PHYSICIAN};
use super::stage::{Stage, StageError};

/// Writes a token and the keys to files of the owner, and on `out` what to do with them.
pub(crate) fn explain(
    stage: &Stage,
    workshop: &dyn Workshop,
    program: &Path,
    out: &mut dyn Write,
) -> Result<(), StageError> {
    let token = stage.token(workshop, &PHYSICIAN)?;
    let token = stage.write_secret("token", &token)?;
    let exports: String = stage
        .environment()
        .iter()
        .map(|(name, value)| format!("export {name}='{value}'\n"))
        .collect();
    let keys = stage.write_secret("env.sh", &exports)?;
    let (ca, _) = stage.certificate("ca");
    let (certificate, key) = stage.certificate(CHART_WEB);
    let (agent, _) = stage.certificate(CARE_AGENT);
    let url = stage.public_url();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"me","version":"1"}}}"#;
    let config = stage.path("config");
    write!(
        out,
        "
 Still running, until Ctrl-C. Point an MCP client (Streamable HTTP) at it:

   URL          {url}
   CA           {ca}
   certificate  {certificate}      (or, as an agent: {agent})
   key          {key}
   token        {token}      ({sub}, {role}; sent as `Authorization: Bearer …`)

   curl --cacert {ca} --cert {certificate} --key {key} \\
     -H \"Authorization: Bearer $(cat {token})\" -H 'Content-Type: application/json' \\
     -H 'Accept: application/json, text/event-stream' -i {url} -d '{body}'

   Then tools/call read_record {{\"patient_id\":\"{PATIENT}\"}} with the Mcp-Session-Id of the answer.
   A session ends after 5 idle minutes; another token, and the audit log:

   . {keys}
   {program} token mint --config {config} --sub {sub} --role {role} --amr otp --purpose {purpose} --claim 'department=\"cardiology\"'
   {program} audit query --config {config}
   metrics      http://{admin}/metrics
",
        ca = ca.display(),
        certificate = certificate.display(),
        agent = agent.display(),
        key = key.display(),
        token = token.display(),
        keys = keys.display(),
        program = program.display(),
        config = config.display(),
        admin = stage.admin,
        sub = PHYSICIAN.subject,
        role = PHYSICIAN.role,
        purpose = PHYSICIAN.purpose,
    )?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bench;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_client_is_told_where_everything_is_and_no_secret_is_printed() {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::set(dir.path().to_owned(), &Bench).unwrap();
        let mut said = Vec::new();
        explain(&stage, &Bench, Path::new("safeguard"), &mut said).unwrap();
        let said = String::from_utf8(said).unwrap();
        for part in [
            &stage.public_url(),
            "ca.pem",
            "web.healthcare.example.com.key",
            "curl",
            "env.sh",
        ] {
            assert!(said.contains(part), "{part}");
        }
        for (_, key) in stage.environment() {
            assert!(!said.contains(&key));
        }
        for name in ["token", "env.sh"] {
            let mode = std::fs::metadata(stage.path(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
