//! Floats as Python's `repr` writes them: the shortest digits that read back, laid out by its own rule.
//!
//! The digits come from `zmij` (Rust's `{:e}` picks the other neighbour on some exact ties); the layout is that of
//! `float_repr_style = 'short'`: an exponent below -4 or from 16 on, with a sign and at least two digits, else a point
//! and at least one digit on each side of it.

/// Appends the text of a finite number.
pub(crate) fn write(value: f64, out: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(value);
    let unsigned = shortest.strip_prefix('-').unwrap_or(shortest);
    if unsigned.len() < shortest.len() {
        out.push(b'-');
    }
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = Digits::new();
    for byte in whole.bytes().chain(fraction.bytes()) {
        digits.push(byte);
    }
    let shift: i32 = exponent.parse().unwrap_or(0);
    let whole = i32::try_from(whole.len()).unwrap_or(0);
    digits.trim();
    layout(
        digits.significant(),
        whole + shift - digits.leading_zeros(),
        out,
    );
}

/// At most as many digits as `zmij` writes: 17 significant ones and the zeros that it pads with.
struct Digits {
    bytes: [u8; 40],
    start: usize,
    end: usize,
}

impl Digits {
    fn new() -> Self {
        Self {
            bytes: [b'0'; 40],
            start: 0,
            end: 0,
        }
    }

    fn push(&mut self, digit: u8) {
        if let Some(slot) = self.bytes.get_mut(self.end) {
            *slot = digit;
            self.end += 1;
        }
    }

    fn trim(&mut self) {
        let zeros = self
            .significant()
            .iter()
            .take_while(|digit| **digit == b'0')
            .count();
        self.start += zeros;
        let zeros = self
            .significant()
            .iter()
            .rev()
            .take_while(|digit| **digit == b'0')
            .count();
        self.end -= zeros;
    }

    fn leading_zeros(&self) -> i32 {
        i32::try_from(self.start).unwrap_or(0)
    }

    fn significant(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// Writes 0.`digits` × 10^`point`, without leading or trailing zeros in `digits`; no digits are zero.
fn layout(digits: &[u8], point: i32, out: &mut Vec<u8>) {
    let Some((first, others)) = digits.split_first() else {
        out.extend_from_slice(b"0.0");
        return;
    };
    if point <= -4 || point > 16 {
        out.push(*first);
        if !others.is_empty() {
            out.push(b'.');
            out.extend_from_slice(others);
        }
        let exponent = point - 1;
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
    } else if let Ok(whole) = usize::try_from(point)
        && whole > 0
    {
        let (front, back) = digits.split_at(whole.min(digits.len()));
        out.extend_from_slice(front);
        out.extend(std::iter::repeat_n(b'0', whole - front.len()));
        out.push(b'.');
        out.extend_from_slice(if back.is_empty() { b"0" } else { back });
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', point.unsigned_abs() as usize));
        out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    fn repr(value: f64) -> String {
        let mut out = Vec::new();
        super::write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_are_laid_out_as_python_does() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100_000.0, "100000.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1.234_567_890_123_456_8e17, "1.2345678901234568e+17"),
            (1e22, "1e+22"),
            (1e23, "1e+23"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (2.225_073_858_507_201_4e-308, "2.2250738585072014e-308"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::from_bits(0x4303_2764_128a_a74a), "673916914849001.2"),
            (123_456.789, "123456.789"),
        ] {
            assert_eq!(repr(value), text);
        }
    }

    #[test]
    fn every_text_reads_back_to_the_same_number() {
        let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..20_000 {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(
                    repr(value).parse::<f64>().unwrap().to_bits(),
                    value.to_bits()
                );
            }
        }
    }
}
