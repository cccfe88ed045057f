//! `docs/configuration.md` holds a table of each mapping, printed from the one table of keys. With `UPDATE_DOCS` in the
//! environment the test writes them; without, it holds the document against them.

use std::fmt::Write as _;

use super::*;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
/// What the tables begin with.
const WHOLE: &str = "## The whole document\n";

fn section(title: &str, keys: &'static [Key], variant: Option<&str>, out: &mut String) {
    let _ = write!(
        out,
        "\n{title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
    );
    for key in keys {
        let default = match (key.required, key.default) {
            (true, _) => "required".to_owned(),
            (false, Some(text)) => format!("`{text}`"),
            (false, None) => String::new(),
        };
        let kind = match variant.filter(|_| key.name == "type") {
            Some(name) => format!("`{name}`"),
            None => kind(&key.shape),
        };
        let about = about(key);
        let _ = writeln!(out, "| `{}` | {kind} | {default} | {about} |", key.name);
    }
}

/// The sections of the mappings below these keys, depth first.
fn below(path: &str, keys: &'static [Key], out: &mut String) {
    for key in keys {
        let inner = if path.is_empty() {
            key.name.to_owned()
        } else {
            format!("{path}.{}", key.name)
        };
        of(&inner, &key.shape, out);
    }
}

fn of(path: &str, shape: &'static Shape, out: &mut String) {
    match shape {
        Shape::Map(keys) => {
            section(&format!("## `{path}`"), keys, None, out);
            below(path, keys, out);
        }
        Shape::Named(inner) => of(&format!("{path}.NAME"), inner, out),
        Shape::List(inner) => of(&format!("{path}[]"), inner, out),
        Shape::Typed(variants) => {
            for (name, keys) in *variants {
                section(
                    &format!("## `{path} (type: {name})`"),
                    keys,
                    Some(name),
                    out,
                );
                below(path, keys, out);
            }
        }
        _ => {}
    }
}

/// A shape in words.
fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::Secret | Shape::Address => "text".to_owned(),
        Shape::Bool => r"`true` \| `false`".to_owned(),
        Shape::Integer(low, high) => format!("integer {} to {}", grouped(*low), grouped(*high)),
        Shape::Days(low, high) => format!(
            "days, {} to {}, or years as in `7y`",
            grouped(*low),
            grouped(*high)
        ),
        Shape::Word(choices) => words(choices),
        Shape::Date => "date".to_owned(),
        Shape::List(inner) => format!("list of {}", kind(inner)),
        Shape::Map(_) => "mapping".to_owned(),
        Shape::Named(Shape::Map(_)) => "mapping of names".to_owned(),
        Shape::Named(inner) => format!("mapping of names to {}", kind(inner)),
        Shape::Typed(_) => "mapping by `type`".to_owned(),
        Shape::WordOr(word, inner) => format!("`{word}` or {}", kind(inner)),
        Shape::TextOr(inner) => format!("text or {}", kind(inner)),
        Shape::Anything => "any".to_owned(),
    }
}

fn words(choices: &[Choice]) -> String {
    let (refused, taken): (Vec<_>, Vec<_>) = choices.iter().partition(|c| c.1 == Built::Restricts);
    let ticked = |list: &[&Choice]| {
        let words: Vec<String> = list.iter().map(|c| format!("`{}`", c.0)).collect();
        words.join(r" \| ")
    };
    let mut text = ticked(&taken);
    if !refused.is_empty() {
        let _ = write!(text, " ({} is reserved: refused)", ticked(&refused));
    }
    text
}

/// A number with a comma at every thousand.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn the_documents_tables_are_those_of_the_keys() {
    let written = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, _) = written.split_once(WHOLE).unwrap();
    let mut expected = before.trim_end().to_owned() + "\n";
    section(WHOLE.trim_end(), ROOT, None, &mut expected);
    below("", ROOT, &mut expected);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(DOCUMENT, &expected).unwrap();
    } else if let Some((is, ought)) = written
        .lines()
        .zip(expected.lines())
        .find(|(is, ought)| is != ought)
    {
        panic!(
            "docs/configuration.md has\n{is}\nand the keys say\n{ought}\nrun the test with UPDATE_DOCS=1"
        );
    } else {
        assert_eq!(
            written.len(),
            expected.len(),
            "run the test with UPDATE_DOCS=1"
        );
    }
}
