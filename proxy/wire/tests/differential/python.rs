//! A live CPython as judge: it gets each document with what we made of it and says where it differs.

use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};

use safeguard_wire::json::{Kind, Limits, Tree};

const REFERENCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/differential/reference.py"
);

/// The interpreter to compare with: `SAFEGUARD_PYTHON`, else `python3`. `None` only outside CI, on a machine without.
pub(crate) fn interpreter() -> Option<String> {
    let required =
        std::env::var_os("CI").is_some() || std::env::var_os("SAFEGUARD_REQUIRE_REAL").is_some();
    let python = std::env::var("SAFEGUARD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let works = Command::new(&python)
        .args(["-c", "import json"])
        .status()
        .is_ok_and(|status| status.success());
    assert!(works || !required, "`{python}` can't `import json`");
    if !works {
        eprintln!("not compared with python: `{python}` can't `import json`");
    }
    works.then_some(python)
}

/// What the judge prints.
pub(crate) fn judge(python: &str, documents: impl Iterator<Item = Vec<u8>>) -> String {
    let mut child = Command::new(python)
        .arg(REFERENCE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It prints only once it has read all: no thread is needed to keep both pipes moving.
    let mut stdin = BufWriter::with_capacity(1 << 16, child.stdin.take().unwrap());
    for text in documents {
        stdin.write_all(&told(&text)).unwrap();
    }
    stdin.flush().unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A document and what we made of it, as `reference.py` reads it.
fn told(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 3);
    put(text, &mut out);
    let Ok(tree) = Tree::parse(text, &Limits::default()) else {
        out.extend_from_slice(&u32::MAX.to_le_bytes());
        return out;
    };
    out.extend_from_slice(&u32::try_from(tree.node_count()).unwrap().to_le_bytes());
    for value in tree.root().descendants() {
        out.push(match value.kind() {
            Kind::Null => b'n',
            Kind::Bool => b'b',
            Kind::Number => b'd',
            Kind::String => b's',
            Kind::Array => b'[',
            Kind::Object => b'{',
        });
        let span = value.span();
        for at in [span.start, span.end, value.children().count()] {
            out.extend_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
        }
        maybe(value.key().as_deref(), &mut out);
        maybe(value.string().as_deref(), &mut out);
    }
    out
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
    out.extend_from_slice(bytes);
}

fn maybe(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => put(text.as_bytes(), out),
        None => out.extend_from_slice(&u32::MAX.to_le_bytes()),
    }
}
