//! Documents as texts, by the hundred thousand: what people and printers write, what nobody should, and both with a
//! few bytes changed. Everything follows from a seed.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and every seed is a good one.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const BLANKS: [&str; 8] = ["", "", "", "", " ", "\n\t", "\r\n", "  "];
const WORDS: [&str; 6] = ["null", "true", "false", "[]", "{}", "\"\""];
const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "0.0",
    "1E5",
    "2e-0",
    "1e999",
    "-1e-999",
    "9007199254740993",
    "123456789012345678901234567890",
    "0.1",
    "37.20",
    "1.7976931348623157e308",
    "1.7976931348623159e308",
    "5e-324",
    "-1.50E+10",
    "10.00",
];
const NAMES: [&str; 10] = [
    "\"ssn\"",
    "\"\\u0073sn\"",
    "\"mrn\"",
    "\"\"",
    "\"a\"",
    "\"Straße\"",
    "\"😀\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"date_of_birth\"",
];
const PIECES: [&str; 30] = [
    "a",
    "Jane",
    " ",
    "0",
    "é",
    "\u{2028}",
    "😀",
    "\u{7f}",
    "\u{80}",
    "\u{ffff}",
    "/",
    "'",
    "{",
    "]",
    ",",
    ":",
    "\\n",
    "\\\"",
    "\\\\",
    "\\/",
    "\\b\\f\\r\\t",
    "\\u0041",
    "\\u00e9",
    "\\u0000",
    "\\uD83D\\uDE00",
    "\\ud800",
    "\\udfff",
    "\\ud83d\\n",
    "\\uFFFF",
    "longer text without anything special in it",
];
/// What a mutation puts in: grammar, and what is none.
const BYTES: &[u8] =
    b"{}[]:,\"\\ 0123456789.eE+-utfnalrsNI\n\t\r/\0\x1f\x7f\x80\xc3\xa9\xed\xf0\xff";

/// A valid document.
pub(crate) fn document(random: &mut Random) -> String {
    let mut out = String::new();
    out.push_str(random.pick(&BLANKS));
    let depth = random.below(5);
    value(random, depth, &mut out);
    out.push_str(random.pick(&BLANKS));
    out
}

fn value(random: &mut Random, depth: usize, out: &mut String) {
    match random.below(if depth == 0 { 3 } else { 7 }) {
        0 => out.push_str(random.pick(&WORDS)),
        1 => number(random, out),
        2 => string(random, out),
        3 | 4 => container(random, depth, ['[', ']'], out),
        _ => container(random, depth, ['{', '}'], out),
    }
}

fn container(random: &mut Random, depth: usize, [open, close]: [char; 2], out: &mut String) {
    out.push(open);
    for position in 0..random.below(5) {
        if position > 0 {
            out.push(',');
        }
        out.push_str(random.pick(&BLANKS));
        if open == '{' {
            match random.below(2) {
                0 => out.push_str(random.pick(&NAMES)),
                _ => string(random, out),
            }
            out.push_str(random.pick(&BLANKS));
            out.push(':');
            out.push_str(random.pick(&BLANKS));
        }
        value(random, depth - 1, out);
        out.push_str(random.pick(&BLANKS));
    }
    out.push(close);
}

fn string(random: &mut Random, out: &mut String) {
    out.push('"');
    for _ in 0..random.below(6) {
        out.push_str(random.pick(&PIECES));
    }
    out.push('"');
}

fn number(random: &mut Random, out: &mut String) {
    if random.below(2) == 0 {
        out.push_str(random.pick(&NUMBERS));
        return;
    }
    let sign = random.pick(&["", "-"]);
    let whole = random.below(1_000_000);
    let fraction = match random.below(3) {
        0 => String::new(),
        digits => format!(".{:0width$}", random.below(1000), width = digits * 3),
    };
    let exponent = match random.below(4) {
        0 => format!(
            "{}{}{}",
            random.pick(&["e", "E"]),
            random.pick(&["", "+", "-"]),
            random.below(330)
        ),
        _ => String::new(),
    };
    out.push_str(&format!("{sign}{whole}{fraction}{exponent}"));
}

/// Changes a few bytes; what comes out need be no JSON, nor UTF-8.
pub(crate) fn mutate(random: &mut Random, text: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(text.len() + 1);
        let end = (at + 1 + random.below(4)).min(text.len());
        match random.below(5) {
            0 if at < text.len() => text[at] = BYTES[random.below(BYTES.len())],
            1 => text.insert(at, BYTES[random.below(BYTES.len())]),
            2 => drop(text.drain(at.min(end)..end)),
            3 => text.truncate(at),
            _ => {
                let again = text[at.min(end)..end].to_vec();
                text.splice(at..at, again);
            }
        }
    }
}

/// The documents of a seed: half of them as written, half changed.
pub(crate) fn documents(seed: u64, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random::new(seed);
    (0..count).map(move |position| {
        let mut text = document(&mut random).into_bytes();
        if position % 2 == 1 {
            mutate(&mut random, &mut text);
        }
        text
    })
}
