//! The wall clock, read in one place, and its rendering as a civil date.

use std::time::{SystemTime, UNIX_EPOCH};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Microseconds since the Unix epoch; a clock before it reads as zero.
pub fn now_micros() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Seconds since the Unix epoch.
pub fn now_unix() -> i64 {
    now_micros().div_euclid(1_000_000)
}

/// Year, month, day.
type Date = (i64, i64, i64);
/// Hour, minute, second, microsecond.
type Time = (i64, i64, i64, i64);

/// The UTC date and time of a moment.
///
/// Days to date by Howard Hinnant's `civil_from_days`, exact for every day that an `i64` of microseconds can name.
pub fn civil(micros: i64) -> (Date, Time) {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let seconds = of_day / 1_000_000;
    (
        date(days),
        (
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            of_day % 1_000_000,
        ),
    )
}

fn date(days: i64) -> Date {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_are_those_of_the_calendar() {
        assert_eq!(civil(0), ((1970, 1, 1), (0, 0, 0, 0)));
        assert_eq!(civil(1_709_164_800_000_000), ((2024, 2, 29), (0, 0, 0, 0)));
        assert_eq!(
            civil(1_795_564_799_999_999),
            ((2026, 11, 24), (23, 59, 59, 999_999))
        );
        assert_eq!(civil(-1), ((1969, 12, 31), (23, 59, 59, 999_999)));
    }
}
