//! One test a sentence of the era guard.

use http::HeaderMap;
use safeguard_wire::json::{Limits, Tree};
use safeguard_wire::jsonrpc::Message;

use super::*;
use crate::refuse::Refusal;

const LIMITS: Limits = Limits {
    depth_max: 32,
    nodes_max: 1024,
};

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn configured(revisions: &[&str]) -> Vec<String> {
    revisions.iter().map(|one| (*one).to_owned()).collect()
}

/// The era of one message under these headers.
fn era(
    spoken: Spoken<'_>,
    pairs: &[(&'static str, &'static str)],
    body: &str,
) -> Result<Era, Refusal> {
    let tree = Tree::parse(body.as_bytes(), &LIMITS).unwrap();
    let message = Message::parse(tree.root()).unwrap();
    let headers = headers(pairs);
    let claim = claim(&headers, spoken)?;
    let era = of(&claim, &message, spoken)?;
    if era == Era::Modern {
        check(&mirrored(&headers), &message, None)?;
    }
    Ok(era)
}

const VERSION: (&str, &str) = ("mcp-protocol-version", MODERN);
const MODERN_LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
const PROBE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
const LEGACY_LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn legacy(learnt: &Learnt) -> Spoken<'_> {
    Spoken::new(None, learnt)
}

#[test]
fn a_modern_request_never_reaches_a_legacy_upstream() {
    let learnt = Learnt::default();
    let spoken = legacy(&learnt);
    let with_header = &[VERSION, ("mcp-method", "tools/list")];
    assert_eq!(
        era(spoken, with_header, MODERN_LIST),
        Err(Refusal::Revision)
    );
    assert_eq!(
        era(spoken, &[], MODERN_LIST),
        Err(Refusal::Revision),
        "told by its body alone"
    );
    assert_eq!(era(spoken, &[], PROBE), Err(Refusal::Revision));
    let bare = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#;
    assert_eq!(
        era(spoken, &[], bare),
        Err(Refusal::Revision),
        "told by its method alone"
    );
}

#[test]
fn a_legacy_request_is_legacy_whatever_else_is_spoken() {
    let learnt = Learnt::default();
    let both = configured(&["2025-11-25", MODERN]);
    for spoken in [legacy(&learnt), Spoken::new(Some(&both), &learnt)] {
        for pairs in [&[][..], &[("mcp-protocol-version", "2025-11-25")]] {
            assert_eq!(era(spoken, pairs, LEGACY_LIST), Ok(Era::Legacy));
        }
    }
}

#[test]
fn header_and_body_must_name_one_revision() {
    let learnt = Learnt::default();
    let both = configured(&["2025-11-25", MODERN]);
    let spoken = Spoken::new(Some(&both), &learnt);
    let method = ("mcp-method", "tools/list");
    assert_eq!(
        era(spoken, &[VERSION, method], MODERN_LIST),
        Ok(Era::Modern)
    );
    for pairs in [
        &[method][..],
        &[method, ("mcp-protocol-version", "2025-11-25")],
        &[method, ("mcp-protocol-version", "2030-01-01")],
        &[VERSION],
        &[VERSION, ("mcp-method", "prompts/list")],
        &[VERSION, method, ("mcp-param-x", "1")],
    ] {
        let refused = era(spoken, pairs, MODERN_LIST);
        assert!(
            matches!(refused, Err(Refusal::HeaderMismatch(_))),
            "{pairs:?}: {refused:?}"
        );
    }
}

#[test]
fn a_modern_client_is_told_what_is_spoken() {
    let learnt = Learnt::default();
    let both = configured(&["2025-11-25", MODERN]);
    let spoken = Spoken::new(Some(&both), &learnt);
    let future = MODERN_LIST.replace(MODERN, "2030-01-01");
    let refused = era(spoken, &[("mcp-protocol-version", "2030-01-01")], &future);
    let supported = configured(&["2025-11-25", MODERN]);
    let requested = "2030-01-01".to_owned();
    assert_eq!(
        refused,
        Err(Refusal::UnsupportedRevision {
            supported,
            requested
        })
    );
}

#[test]
fn the_modern_revision_is_learnt_from_the_upstreams_own_word_alone() {
    let learnt = Learnt::default();
    let answer = |text: &str| {
        let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
        learnt.from_error(&tree)
    };
    assert!(!answer(
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"x"}}"#
    ));
    assert!(!answer(
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["2025-11-25"]}}}"#
    ));
    assert!(!legacy(&learnt).modern());
    let says = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["2026-07-28"]}}}"#;
    assert!(answer(says), "news");
    assert!(!answer(says), "no news");
    assert!(legacy(&learnt).modern());
    let old = configured(&["2025-11-25"]);
    assert!(
        !Spoken::new(Some(&old), &learnt).modern(),
        "the configuration wins"
    );
}

#[test]
fn no_modern_client_posts_an_answer() {
    let learnt = Learnt::default();
    let both = configured(&[MODERN]);
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let refused = era(Spoken::new(Some(&both), &learnt), &[VERSION], answer);
    assert!(matches!(refused, Err(Refusal::InvalidRequest(_))));
}

#[test]
fn a_parameter_that_no_list_has_shown_must_be_the_one_argument_of_its_value() {
    let learnt = Learnt::default();
    let modern = configured(&[MODERN]);
    let spoken = Spoken::new(Some(&modern), &learnt);
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
        )
    };
    let pairs = &[
        VERSION,
        ("mcp-method", "tools/call"),
        ("mcp-name", "t"),
        ("mcp-param-region", "west"),
    ];
    assert_eq!(
        era(spoken, pairs, &call(r#"{"region":"west"}"#)),
        Ok(Era::Modern)
    );
    for unclear in [
        r#"{"region":"east"}"#,
        r#"{"region":"west","other":"west"}"#,
        "{}",
    ] {
        let refused = era(spoken, pairs, &call(unclear));
        assert!(
            matches!(refused, Err(Refusal::HeaderMismatch(_))),
            "{unclear}"
        );
    }
}

#[test]
fn what_goes_up_is_mirrored_anew() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"ssn":"hs1.sealed"}}}"#;
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let message = Message::parse(tree.root()).unwrap();
    let schema = r#"{"type":"object","properties":{"ssn":{"type":"string","x-mcp-header":"Ssn"}}}"#;
    let schema = Tree::parse(schema.as_bytes(), &LIMITS).unwrap();
    let annotations = safeguard_wire::mirror::Annotations::of_schema(schema.root()).unwrap();
    let came = headers(&[
        ("accept", "text/event-stream"),
        ("mcp-session-id", "s"),
        ("last-event-id", "1"),
    ]);
    let up = up(&came, &message, &annotations).unwrap();
    assert_eq!(up["mcp-param-ssn"], "hs1.sealed");
    assert_eq!(up["mcp-name"], "t");
    assert_eq!(up["mcp-method"], "tools/call");
    assert!(!up.contains_key("mcp-session-id") && !up.contains_key("last-event-id"));
    assert!(
        !format!("{up:?}").contains("hs1.sealed"),
        "not even a debug print shows it"
    );
}
