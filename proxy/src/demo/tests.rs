use super::*;

/// A workshop without cryptography: enough for whatever does not talk to a sidecar.
pub(super) struct Bench;

impl Workshop for Bench {
    fn key(&self) -> Result<String, String> {
        Ok("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=".to_owned())
    }

    fn mint(&self, _: &str, wanted: &TokenRequest) -> Result<String, String> {
        Ok(format!("token-of-{}", wanted.subject))
    }
}

fn options(program: &str) -> DemoOptions {
    DemoOptions {
        json: false,
        keep: false,
        program: program.into(),
    }
}

#[tokio::test]
async fn a_program_that_is_no_clinic_is_an_internal_error_that_says_so() {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = demo(options("/bin/false"), &Bench, &mut out, &mut err).await;
    assert_eq!(code, ExitCode::from(EXIT_INTERNAL));
    assert!(out.is_empty());
    let said = String::from_utf8(err).unwrap();
    assert!(said.contains("the clinic"), "{said}");
}
