//! The sidecar's own two tools, as clients see them. They are in `tools/list` for whom the policy lets break the glass; nothing of
//! them goes to the server behind.

use safeguard_policy::Policy;
use safeguard_policy::emergency::{START_TOOL, STOP_TOOL};
use safeguard_wire::json::{Kind, Tree, Value};
use serde_json::json;
use zeroize::Zeroizing;

use super::Wish;
use crate::rewrite::LIMITS;

/// The shortest and the longest reason, in characters: a word is none, and nobody writes an essay in an emergency.
const REASON_CHARS: std::ops::RangeInclusive<usize> = 8..=500;
/// The longest id of a patient, in bytes.
const PATIENT_BYTES_MAX: usize = 256;

/// The two definitions, as `tools/list` has them.
fn definitions(policy: &Policy) -> Option<[serde_json::Value; 2]> {
    let emergency = policy.emergency()?;
    let minutes = emergency.lasts_seconds().div_ceil(60);
    let tools = emergency.tools().join(", ");
    let start = json!({
        "name": START_TOOL,
        "description": format!("Break the glass: begin emergency access to one patient's records, for {minutes} min at most. Only for a real emergency of this patient, and only after the person whom you act for said so: it alerts at once, everything is recorded, and somebody else reviews it. Then call again: {tools}."),
        "inputSchema": {
            "type": "object",
            "properties": {
                "patient": { "type": "string", "minLength": 1, "maxLength": PATIENT_BYTES_MAX, "description": "the patient's id, exactly as the other tools take it" },
                "reason": { "type": "string", "minLength": REASON_CHARS.start(), "maxLength": REASON_CHARS.end(), "description": "what happened, for whoever reviews it; in the person's own words" },
            },
            "required": ["patient", "reason"],
            "additionalProperties": false,
        },
    });
    let stop = json!({
        "name": STOP_TOOL,
        "description": "End the emergency access that was begun before its time is over. Do so as soon as it is not needed any more.",
        "inputSchema": { "type": "object", "properties": {}, "additionalProperties": false },
    });
    Some([start, stop])
}

/// The answer to `tools/list` with the sidecar's own tools behind the server's, on its last page. None where they have no place.
pub fn listed(text: &[u8], policy: &Policy) -> Option<Vec<u8>> {
    let tree = Tree::parse(text, &LIMITS).ok()?;
    let result = tree.root().get("result").ok()??;
    let is_last = match result.get("nextCursor").ok()? {
        None => true,
        Some(cursor) => cursor.kind() == Kind::Null,
    };
    let tools = result.get("tools").ok()??;
    if !is_last || tools.kind() != Kind::Array {
        return None;
    }
    let own = definitions(policy)?.map(|tool| tool.to_string()).join(",");
    let end = tools.span().end.checked_sub(1)?;
    let comma = if tools.children().next().is_some() {
        ","
    } else {
        ""
    };
    let (before, behind) = text.split_at_checked(end)?;
    Some([before, comma.as_bytes(), own.as_bytes(), behind].concat())
}

/// Reads what `safeguard_emergency_start` is called with.
///
/// # Errors
/// What is wrong, for the caller.
pub fn wish(arguments: Option<Value<'_>>, policy: &Policy) -> Result<Wish, &'static str> {
    let emergency = policy.emergency().ok_or("there is no emergency access")?;
    let arguments = arguments.ok_or("give patient and reason")?;
    let known = |child: Value<'_>| matches!(child.key().as_deref(), Some("patient" | "reason"));
    if !arguments.children().all(known) {
        return Err("give patient and reason, and nothing else");
    }
    let text = |name| {
        let member = arguments.get(name).map_err(|_| "a member stands twice")?;
        let text = member
            .and_then(Value::string)
            .ok_or("give patient and reason as texts")?;
        Ok::<_, &str>(Zeroizing::new(text.into_owned()))
    };
    let (patient, reason) = (text("patient")?, text("reason")?);
    if patient.is_empty() || patient.len() > PATIENT_BYTES_MAX {
        return Err("patient has 1 to 256 bytes");
    }
    if !REASON_CHARS.contains(&reason.trim().chars().count()) {
        return Err("reason has 8 to 500 characters: say what happened");
    }
    Ok(Wish {
        patient,
        reason,
        lasts_seconds: emergency.lasts_seconds(),
        review_within_seconds: emergency.review_within_seconds(),
    })
}

/// A tool's answer to the request with this id; `is_error` for what the caller can mend.
pub fn answer(id: &[u8], words: &str, is_error: bool, is_modern: bool) -> Vec<u8> {
    let mut result = json!({ "content": [{ "type": "text", "text": words }], "isError": is_error });
    if let (true, Some(result)) = (is_modern, result.as_object_mut()) {
        result.insert("resultType".to_owned(), json!("complete"));
    }
    let result = result.to_string();
    [
        br#"{"jsonrpc":"2.0","id":"#,
        id,
        br#","result":"#,
        result.as_bytes(),
        b"}",
    ]
    .concat()
}
