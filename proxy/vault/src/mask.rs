//! Masks: what remains of a value that a role sees in part. A mask can't be turned back into the value.

/// Every letter and digit but the last four becomes `*`; the rest stays: `123-45-6789` → `***-**-6789`.
///
/// A text of four letters and digits or fewer is therefore shown whole: it is for identifiers that are longer.
pub fn last4(text: &str) -> String {
    const SHOWN: usize = 4;
    let hidden = text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .count()
        .saturating_sub(SHOWN);
    let mut seen = 0;
    text.chars()
        .map(|c| {
            let counts = c.is_alphanumeric();
            seen += usize::from(counts);
            if counts && seen <= hidden { '*' } else { c }
        })
        .collect()
}

/// The four digits of a date's year: `1971-02-03`, `1971-02`, `1971`, `19710203`, `03.02.1971`, `2/3/1971`,
/// `02/1971`, each with a time behind it or not. `None` when there is no unambiguous year (two-digit years, words, anything else).
pub fn year(text: &str) -> Option<String> {
    let text = text.trim_ascii();
    let end = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (date, time) = text.split_at_checked(end)?;
    if !is_time(time) {
        return None;
    }
    let separator = date.chars().find(|c| !c.is_ascii_digit());
    let parts: Vec<&str> = match separator {
        None => vec![date],
        Some(c @ ('-' | '/' | '.')) => date.split(c).collect(),
        Some(_) => return None,
    };
    let found = match parts.as_slice() {
        [whole] if whole.len() == 8 => compact(whole)?,
        [year] => year,
        [year, month] | [month, year] if is_month(month) => year,
        // Behind a year comes the month; in front of one stand day and month in either order.
        [year, month, day] if year.len() == 4 && is_month(month) && is_day(day) => year,
        [a, b, year] if is_day(a) && is_day(b) && (is_month(a) || is_month(b)) => year,
        _ => return None,
    };
    (found.len() == 4 && number(found).is_some()).then(|| found.to_owned())
}

/// The year of `YYYYMMDD`. The range keeps `DDMMYYYY` from being read as one.
fn compact(digits: &str) -> Option<&str> {
    let (year, rest) = digits.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    let plausible = number(year).is_some_and(|year| (1800..2200).contains(&year));
    (plausible && is_month(month) && is_day(day)).then_some(year)
}

fn is_time(text: &str) -> bool {
    let mut rest = text.chars().skip(1);
    text.is_empty()
        || (rest.next().is_some_and(|c| c.is_ascii_digit())
            && rest.all(|c| {
                c.is_ascii_digit() || matches!(c, ':' | '.' | ',' | '+' | '-' | 'Z' | 'z')
            }))
}

fn is_month(text: &str) -> bool {
    text.len() <= 2 && number(text).is_some_and(|month| (1..=12).contains(&month))
}

fn is_day(text: &str) -> bool {
    text.len() <= 2 && number(text).is_some_and(|day| (1..=31).contains(&day))
}

fn number(digits: &str) -> Option<u32> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last4_keeps_the_last_four_letters_and_digits_and_all_punctuation() {
        for (text, masked) in [
            ("123-45-6789", "***-**-6789"),
            ("MRN-0012345", "***-***2345"),
            ("(555) 010-1234", "(***) ***-1234"),
            ("ab12", "ab12"),
            ("", ""),
            ("---", "---"),
            ("Ünïcödé 💉!", "***cödé 💉!"),
        ] {
            assert_eq!(last4(text), masked);
        }
    }

    #[test]
    fn the_year_of_a_date_is_found() {
        for text in [
            "1971-02-03",
            "1971-02",
            "1971",
            "19710203",
            "02/1971",
            "03.02.1971",
            "2/3/1971",
            "1971/02/03",
            " 1971-02-03 ",
            "1971-02-03T04:05:06Z",
            "1971-02-03 04:05:06.789+01:00",
            "31-12-1971",
            "12/31/1971",
        ] {
            assert_eq!(year(text).as_deref(), Some("1971"), "{text}");
        }
    }

    #[test]
    fn no_year_is_made_up() {
        for text in [
            "",
            "71-02-03",
            "02/03/71",
            "Feb 3 1971",
            "1971-13-01",
            "1971-02-32",
            "03021971",
            "197",
            "19711",
            "1971-02-03x",
            "1971-02-03 Smith",
            "1971-02/03",
            "1971-",
            "-1971",
            "1971-02-03-04",
            "1971 02 03x",
            "١٩٧١",
            "32/32/1971",
            "13/1971",
            "13/13/1971",
            "0000000",
            "00000000",
        ] {
            assert_eq!(year(text), None, "{text}");
        }
    }
}
