//! JSON and SARIF.

use serde_json::{Value, json};

use crate::finding::{Finding, Related};

/// `{"findings":[…],"errors":n,"warnings":n}`
#[must_use]
pub fn to_json(findings: &[Finding]) -> Value {
    let errors = findings.iter().filter(|f| f.is_error()).count();
    json!({
        "errors": errors,
        "warnings": findings.len() - errors,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(f: &Finding) -> Value {
    json!({
        "severity": f.severity.as_str(),
        "code": f.code,
        "file": f.file,
        "line": f.line,
        "column": f.column,
        "width": f.width,
        "message": f.message,
        "fix": f.fix,
        "related": f.related.iter().map(|r| json!({
            "file": r.file, "line": r.line, "column": r.column, "message": r.message,
        })).collect::<Vec<_>>(),
    })
}

/// A SARIF 2.1.0 log with one run.
#[must_use]
pub fn to_sarif(findings: &[Finding]) -> Value {
    let mut rules: Vec<&str> = findings.iter().map(|f| f.code).collect();
    rules.sort_unstable();
    rules.dedup();
    let rules: Vec<Value> = rules.iter().map(|id| json!({ "id": id })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "safeguard",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(f: &Finding) -> Value {
    let text = match &f.fix {
        Some(fix) => format!("{}: {fix}", f.message),
        None => f.message.clone(),
    };
    let mut result = json!({
        "ruleId": f.code,
        "level": f.severity.as_str(),
        "message": { "text": text },
    });
    if f.line > 0 {
        let mut at = location(&f.file, f.line, f.column);
        if let Some(region) = at.pointer_mut("/physicalLocation/region") {
            *region = json!({
                "startLine": f.line,
                "startColumn": f.column,
                "endColumn": f.column.saturating_add(f.width),
            });
        }
        insert(&mut result, "locations", json!([at]));
    }
    if !f.related.is_empty() {
        let related: Vec<Value> = f.related.iter().map(place).collect();
        insert(&mut result, "relatedLocations", Value::Array(related));
    }
    result
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

fn place(r: &Related) -> Value {
    let mut at = location(&r.file, r.line, r.column);
    insert(&mut at, "message", json!({ "text": r.message }));
    at
}

fn location(file: &str, line: u32, column: u32) -> Value {
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(file) },
        "region": { "startLine": line, "startColumn": column },
    }})
}

/// A path as a URI reference (RFC 3986): everything but unreserved characters and slashes percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
