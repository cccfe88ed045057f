//! What needs no source: URLs, lives of tokens, words. The rest is held against sources in `tests/it/keysources.rs`.

use safeguard_policy::SourceKind;

use super::http::{encoded, encoded_path};
use super::login::{Life, RENEWAL_MARGIN, Token};
use super::*;

#[test]
fn no_name_of_a_secret_can_become_another_path_or_parameter() {
    assert_eq!(encoded("PHI_KEY-1.a~"), "PHI_KEY-1.a~");
    assert_eq!(
        encoded("a/../b?c=d&e f#ä%"),
        "a%2F..%2Fb%3Fc%3Dd%26e%20f%23%C3%A4%25"
    );
    assert_eq!(encoded_path("team a/transit"), "team%20a/transit");
}

#[test]
fn a_token_is_renewed_before_its_end_and_not_after_it() {
    let margin = RENEWAL_MARGIN.as_secs();
    assert_eq!(Token::new("t", margin * 2).life(), Life::Good);
    assert_eq!(Token::new("t", margin - 1).life(), Life::Ending);
    assert_eq!(Token::new("t", 0).life(), Life::Over);
    // A life that no clock can hold is over at once, and not endless.
    assert_eq!(Token::new("t", u64::MAX).life(), Life::Over);
}

#[test]
fn only_what_may_pass_by_itself_is_asked_for_again_at_once() {
    for error in [
        SourceError::Denied,
        SourceError::Missing,
        SourceError::Refused,
        SourceError::NotAKey,
        SourceError::Credential("none"),
    ] {
        assert!(!error.may_pass(), "{error}");
    }
    assert!(SourceError::Unavailable("down").may_pass());
}

#[test]
fn what_is_missing_is_named_by_ring_id_source_and_reason() {
    let why = Unresolved {
        ring: "phi",
        number: 0,
        id: "phi-2026-11".to_owned(),
        kind: SourceKind::AwsKms,
        error: SourceError::Unavailable("there is no connection to it"),
    };
    assert_eq!(
        why.to_string(),
        "keys.phi `phi-2026-11` from aws-kms: it is unavailable: there is no connection to it"
    );
    assert!(!why.is_lasting());
}

#[test]
fn a_tokens_file_is_read_without_its_line_end_and_never_empty() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(
        token_file(file.path()).err(),
        Some(SourceError::Credential("the token's file is empty"))
    );
    std::fs::write(file.path(), "a.b.c\n").unwrap();
    assert_eq!(token_file(file.path()).unwrap().as_str(), "a.b.c");
    assert!(token_file(std::path::Path::new("/nowhere/at/all")).is_err());
}
