//! Coarser values: a date becomes its week, an age its band. A value that cannot be read is emptied, never kept.

use time::{Date, Month};

/// How one value is made coarser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coarsen {
    /// An age in years becomes a band of so many years: `37` becomes `30-39` for 10.
    Age {
        /// Years in a band, at least 2.
        band: u32,
    },
    /// A date, or a date and time, becomes a day, an ISO week (ISO 8601, section 4.1.4) or a month.
    Date(Unit),
    /// A day's number becomes the seven days it falls in: `30` becomes `28-34`.
    Day,
}

/// The unit to which a date is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// `2020-03-17`: the time of day goes.
    Day,
    /// `2020-W12`.
    IsoWeek,
    /// `2020-03`.
    Month,
}

/// Ages and day numbers from here on are not believed.
const MOST: f64 = 1_000_000.0;

impl Coarsen {
    /// Replaces what `out` holds by the coarser form of `value`; false, and `out` empty, when `value` cannot be read.
    pub(super) fn apply(self, value: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let Ok(text) = std::str::from_utf8(value) else { return false };
        let coarse = match self {
            Self::Age { band } => number(text).filter(|&age| age >= 0).map(|age| bucket(age, i64::from(band))),
            Self::Day => number(text).map(|day| bucket(day, 7)),
            Self::Date(unit) => date(text).map(|date| unit.cut(date)),
        };
        coarse.is_some_and(|coarse| {
            out.extend_from_slice(coarse.as_bytes());
            true
        })
    }

    /// In the record's words.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Age { band } => format!("age to bands of {band} years"),
            Self::Date(Unit::Day) => "date to day".into(),
            Self::Date(Unit::IsoWeek) => "date to ISO week".into(),
            Self::Date(Unit::Month) => "date to month".into(),
            Self::Day => "day number to 7 days".into(),
        }
    }
}

impl Unit {
    fn cut(self, date: Date) -> String {
        match self {
            Self::Day => format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()),
            Self::Month => format!("{:04}-{:02}", date.year(), u8::from(date.month())),
            Self::IsoWeek => {
                let (year, week, _) = date.to_iso_week_date();
                format!("{year:04}-W{week:02}")
            }
        }
    }
}

/// The bucket of `width` in which `value` falls: first and last whole number.
fn bucket(value: i64, width: i64) -> String {
    let first = value.div_euclid(width) * width;
    format!("{first}-{}", first + width - 1)
}

/// A decimal number, cut to a whole one downwards.
fn number(text: &str) -> Option<i64> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
    if text.is_empty() || text.len() > 32 || !text.bytes().all(plain) {
        return None;
    }
    let value = text.parse::<f64>().ok()?.floor();
    // The bound makes the cast exact.
    (value.abs() < MOST).then_some(value as i64)
}

/// `YYYY-MM-DD`, alone or followed by a time. The date is taken as written, in whatever zone it was written.
fn date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    if bytes.get(10).is_some_and(|b| !matches!(b, b'T' | b't' | b' ')) {
        return None;
    }
    let digits = |range: std::ops::Range<usize>| -> Option<u16> {
        bytes[range].iter().try_fold(0u16, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u16::from(b - b'0')))
    };
    let month = Month::try_from(u8::try_from(digits(5..7)?).ok()?).ok()?;
    Date::from_calendar_date(i32::from(digits(0..4)?), month, u8::try_from(digits(8..10)?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(coarsen: Coarsen, value: &str, expected: Option<&str>) {
        let mut out = b"left over".to_vec();
        let read = coarsen.apply(value.as_bytes(), &mut out);
        assert_eq!(
            read.then(|| String::from_utf8(out.clone()).unwrap()).as_deref(),
            expected,
            "{coarsen:?} of {value:?}"
        );
        assert!(read || out.is_empty());
    }

    #[test]
    fn values_become_coarser_or_empty() {
        let age = Coarsen::Age { band: 10 };
        check(age, "37", Some("30-39"));
        check(age, "0.8", Some("0-9"));
        check(age, "1e2", Some("100-109"));
        for bad in ["-1", "unknown", "", "NaN", "inf", "1e400", "37 ", "0x10", "1000000"] {
            check(age, bad, None);
        }
        check(Coarsen::Day, "30", Some("28-34"));
        check(Coarsen::Day, "0", Some("0-6"));
        check(Coarsen::Day, "-1", Some("-7--1"));
        let week = Coarsen::Date(Unit::IsoWeek);
        check(week, "2020-03-17", Some("2020-W12"));
        check(week, "2021-01-03T23:59:59+09:00", Some("2020-W53"));
        check(Coarsen::Date(Unit::Month), "2020-03-17 10:00", Some("2020-03"));
        check(Coarsen::Date(Unit::Day), "2020-03-17T10:00:00Z", Some("2020-03-17"));
        for bad in ["2020-02-30", "2020-3-17", "20200317", "2020-03-17x", "17/03/2020", "2020-03-1関", ""] {
            check(week, bad, None);
        }
    }
}
