//! What happens for every PHI field, and for every content block, allocates nothing once the lists have grown.

#![expect(clippy::unwrap_used, reason = "a test: its helpers may fail")]

use allocation_counter::measure;
use safeguard_wire::json::{Limits, Splice, Tree};
use safeguard_wire::mcp;

/// How much more the larger message has.
const TIMES: usize = 1024;
/// Lists double: from one message's worth to the other's, each of at most four lists grows this often.
const GROWTHS: u64 = 4 * TIMES.ilog2() as u64;

fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

fn records(count: usize) -> String {
    let record = r#"{"ssn":"943-71-5820","date_of_birth":"1957-03-28","diagnosis":["E11.65"],"department":"cardiology"}"#;
    format!("[{}]", vec![record; count].join(","))
}

fn rewritten(text: &str) -> usize {
    let tree = Tree::parse(text.as_bytes(), &Limits::default()).unwrap();
    let mut splice = Splice::new(&tree);
    for value in tree.root().descendants() {
        if value.is_named("ssn") {
            splice.replace(value, "\"hs1.AAAA\"");
        } else if value.key().is_some_and(|name| name == "diagnosis") {
            splice
                .replace_with(value, |out| {
                    out.extend_from_slice(b"null");
                    Ok::<_, ()>(())
                })
                .unwrap();
        } else if value.is_named("date_of_birth") {
            splice.remove(value);
        }
    }
    splice.apply().len()
}

#[test]
fn rewriting_a_field_allocates_nothing() {
    let (one, many) = (records(1), records(TIMES));
    let few = allocations(|| assert!(rewritten(&one) > 0));
    let more = allocations(|| assert!(rewritten(&many) > 0));
    assert!(more <= few + GROWTHS, "{few}, then {more}");
}

#[test]
fn finding_a_place_allocates_nothing() {
    let result = |count: usize| {
        let block = r#"{"type":"resource","resource":{"uri":"ehr://p/1","mimeType":"application/fhir+json","text":"{}"}}"#;
        format!(
            r#"{{"content":[{}],"structuredContent":{{}}}}"#,
            vec![block; count].join(",")
        )
    };
    let found = |text: &str| {
        let tree = Tree::parse(text.as_bytes(), &Limits::default()).unwrap();
        mcp::tool_result(tree.root()).unwrap().len()
    };
    let (one, many) = (result(1), result(TIMES));
    let few = allocations(|| assert_eq!(found(&one), 5));
    let more = allocations(|| assert_eq!(found(&many), 4 * TIMES + 1));
    assert!(more <= few + GROWTHS, "{few}, then {more}");
}
