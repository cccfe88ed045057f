//! The audit events in a few lines: like ones counted together, no values.

use serde_json::Value;

use super::paint::{Ink, Page, cell};

/// Lines of events that the screen has room for.
const LINES_MAX: usize = 12;
/// The intent before each outcome: left to the closing line, the outcome tells the same and more.
const INTENT: &str = "phi_access_granted";

struct Line {
    time: String,
    event: String,
    who: String,
    tool: String,
    fields: String,
    count: usize,
}

/// The events of the run, in order of their first appearance.
pub(crate) fn draw(page: &mut Page, events: &[Value]) {
    page.blank();
    page.line(
        format!(" audit log: {} events, hash-chained", events.len()),
        Ink::Bold,
    );
    let mut lines: Vec<Line> = Vec::new();
    for event in events.iter().filter(|event| name(event) != INTENT) {
        let next = line(event);
        let like = lines.iter_mut().find(|known| {
            (&known.event, &known.who, &known.tool, &known.fields)
                == (&next.event, &next.who, &next.tool, &next.fields)
        });
        match like {
            Some(known) => known.count += 1,
            None => lines.push(next),
        }
    }
    for line in lines.iter().take(LINES_MAX) {
        put(page, line);
    }
    let intents = events.iter().filter(|event| name(event) == INTENT).count();
    let hidden = lines.len().saturating_sub(LINES_MAX);
    let more = if hidden == 0 {
        String::new()
    } else {
        format!("and {hidden} kinds more; ")
    };
    let rest = format!("   {more}{intents} × {INTENT}, each durable before its call went on");
    page.line(rest, Ink::Dim);
}

fn put(page: &mut Page, line: &Line) {
    let urgent = matches!(
        line.event.as_str(),
        "integrity_violation" | "phi_access_denied"
    );
    let ink = if urgent { Ink::Bad } else { Ink::Plain };
    let event = match line.count {
        1 => line.event.clone(),
        count => format!("{} ×{count}", line.event),
    };
    page.row(&[
        (cell(format!("   {}", line.time), Ink::Dim), 13),
        (cell(event, ink), 25),
        (cell(line.who.clone(), Ink::Plain), 17),
        (cell(line.tool.clone(), Ink::Plain), 18),
        (
            cell(line.fields.clone(), Ink::Dim),
            page.width.saturating_sub(73),
        ),
    ]);
}

fn line(event: &Value) -> Line {
    let time = text(event, &["/time"]);
    let clock = time
        .split_once('T')
        .map_or(time.as_str(), |(_, clock)| clock);
    let clock: String = clock.chars().take("00:00:00".len()).collect();
    Line {
        time: clock,
        event: name(event).to_owned(),
        who: text(
            event,
            &["/subject/sub", "/sub", "/subject/mtls_name", "/mtls_name"],
        ),
        tool: text(event, &["/mcp/tool", "/tool", "/mcp/method", "/method"]),
        fields: fields(event),
        count: 1,
    }
}

fn name(event: &Value) -> &str {
    event
        .get("event")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The first of the places that holds a text.
fn text(event: &Value, places: &[&str]) -> String {
    let mut found = places
        .iter()
        .filter_map(|place| event.pointer(place)?.as_str());
    found.next().unwrap_or_default().to_owned()
}

/// What became of the fields: `sealed ssn diagnosis; masked …`.
fn fields(event: &Value) -> String {
    let touched = event.get("fields").and_then(Value::as_array);
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for field in touched.into_iter().flatten() {
        let action = field
            .get("action")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = field
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match groups.iter_mut().find(|(known, _)| *known == action) {
            Some((_, names)) => names.push(name),
            None => groups.push((action, vec![name])),
        }
    }
    let groups = groups
        .iter()
        .map(|(action, names)| format!("{action} {}", names.join(" ")));
    groups.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn like_events_are_counted_and_intents_summed_up() {
        let read = json!({"time": "2026-11-22T22:50:01.123456Z", "event": "phi_read", "subject": {"sub": "dr.osei"},
            "mcp": {"tool": "read_record"}, "fields": [{"name": "ssn", "action": "masked"},
            {"name": "diagnosis", "action": "withheld"}, {"name": "mrn", "action": "masked"}]});
        let intent = json!({"event": INTENT});
        let mut page = Page {
            colour: false,
            width: 140,
            text: String::new(),
        };
        draw(&mut page, &[intent, read.clone(), read]);
        let lines: Vec<&str> = page.text.lines().collect();
        assert_eq!(lines.len(), 4, "{}", page.text);
        assert!(lines[2].contains("22:50:01  phi_read ×2"));
        assert!(
            lines[2].contains("dr.osei") && lines[2].contains("masked ssn mrn; withheld diagnosis")
        );
        assert!(lines[3].contains("1 × phi_access_granted"));
    }
}
