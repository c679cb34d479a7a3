//! Reads single TOML values into what the gateway works with.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Number, Value};
use time::Date;
use time::macros::format_description;
use toml::de::{DeTable, DeValue};

use super::problem::{Complaint, quote};

/// The text of a string.
pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Complaint> {
    value.as_str().ok_or_else(|| expected("a string", value, "put it in double quotes"))
}

/// The text of a string that says something.
pub(super) fn words(value: &DeValue<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(Complaint::new("is empty or holds a control character", "give one line of text"));
    }
    Ok(text.to_owned())
}

/// An identifier: 1 to 128 visible ASCII characters.
pub(super) fn identifier(value: &DeValue<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("{} is not an identifier", quote(text)),
        "give 1 to 128 visible ASCII characters without spaces",
    ))
}

/// One word of a closed vocabulary.
pub(super) fn one_of(value: &DeValue<'_>, words: &[&'static str]) -> Result<String, Complaint> {
    let text = text(value)?;
    if words.contains(&text) {
        return Ok(text.to_owned());
    }
    let fix = match super::nearest::nearest(text, words) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("choose one of {}", words.join(", ")),
    };
    Err(Complaint::new(format!("{} is not one of {}", quote(text), words.join(", ")), fix))
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Complaint> {
    value.as_bool().ok_or_else(|| expected("true or false", value, "write true or false without quotes"))
}

/// A whole number within bounds.
pub(super) fn count(value: &DeValue<'_>, bounds: RangeInclusive<usize>) -> Result<usize, Complaint> {
    let fix = format!("give a whole number from {} to {}", bounds.start(), bounds.end());
    let Some(integer) = value.as_integer() else {
        return Err(expected("a whole number", value, &fix));
    };
    usize::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| Complaint::new(format!("{integer} is out of bounds"), fix))
}

/// A time such as `"250ms"`, `"30s"`, `"5m"` or `"1h"`, within bounds.
pub(super) fn duration(value: &DeValue<'_>, bounds: RangeInclusive<Duration>) -> Result<Duration, Complaint> {
    let fix = format!("give a time from {} to {}, in ms, s, m or h", shown(*bounds.start()), shown(*bounds.end()));
    if value.is_integer() {
        return Err(expected("a time with its unit", value, &fix));
    }
    let text = text(value)?;
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "" => return Err(Complaint::new(format!("{} has no unit", quote(text)), fix)),
        _ => return Err(Complaint::new(format!("{} is not a time", quote(text)), fix)),
    };
    let duration = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).map(Duration::from_millis);
    match duration {
        Some(duration) if bounds.contains(&duration) => Ok(duration),
        Some(_) => Err(Complaint::new(format!("{} is out of bounds", quote(text)), fix)),
        None => Err(Complaint::new(format!("{} is not a time", quote(text)), fix)),
    }
}

/// Whole days such as `"400d"`, within bounds.
pub(super) fn days(value: &DeValue<'_>, bounds: RangeInclusive<u32>) -> Result<u32, Complaint> {
    let fix = format!("give days from {}d to {}d, such as \"400d\"", bounds.start(), bounds.end());
    if value.is_integer() {
        return Err(expected("days with their unit", value, &fix));
    }
    let text = text(value)?;
    let digits = text.strip_suffix('d').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    match digits.map(str::parse::<u32>) {
        Some(Ok(days)) if bounds.contains(&days) => Ok(days),
        Some(_) if digits != Some("") => Err(Complaint::new(format!("{} is out of bounds", quote(text)), fix)),
        _ => Err(Complaint::new(format!("{} is not a number of days", quote(text)), fix)),
    }
}

/// A time in the largest unit that shows it whole.
fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    match (millis % 1000, millis % 60_000, millis % 3_600_000) {
        (_, _, 0) if millis > 0 => format!("{}h", millis / 3_600_000),
        (_, 0, _) if millis > 0 => format!("{}m", millis / 60_000),
        (0, _, _) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// A calendar date, `YYYY-MM-DD`, quoted or as a TOML date.
pub(super) fn date(value: &DeValue<'_>) -> Result<String, Complaint> {
    let text = match value {
        DeValue::Datetime(datetime) => datetime.to_string(),
        _ => text(value)?.to_owned(),
    };
    match Date::parse(&text, format_description!("[year]-[month]-[day]")) {
        Ok(_) if text.len() == 10 => Ok(text),
        _ => {
            let what = format!("{} is not a date of the calendar", quote(&text));
            Err(Complaint::new(what, "write it as YYYY-MM-DD, such as 2026-11-21"))
        }
    }
}

/// An address to listen on, `IP:port`.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, Complaint> {
    text.parse().map_err(|_| {
        let what = format!("{} is not an address to listen on", quote(text));
        Complaint::new(what, "give IP:port, such as 0.0.0.0:8443 or [::]:8443")
    })
}

/// An address to listen on that only this machine reaches.
pub(super) fn loopback_address(text: &str) -> Result<SocketAddr, Complaint> {
    let address = listen_address(text)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Complaint::new(
        format!("{address} is reachable from outside, and this listener speaks plain HTTP without authentication"),
        "listen on a loopback address, such as 127.0.0.1:8080",
    ))
}

/// A table of free-form facts as JSON, without the keys in `except`.
pub(super) fn facts(table: &DeTable<'_>, except: &[&str]) -> Result<Map<String, Value>, (usize, Complaint)> {
    let mut facts = Map::new();
    for (key, value) in table {
        if !except.contains(&&**key.get_ref()) {
            let json = json(value.get_ref()).map_err(|complaint| (value.span().start, complaint))?;
            facts.insert(key.get_ref().to_string(), json);
        }
    }
    Ok(facts)
}

/// A TOML value as JSON: types kept, dates and times as text. JSON has no infinity, and we read no wider integers.
fn json(value: &DeValue<'_>) -> Result<Value, Complaint> {
    let number = || Complaint::new("is a number that JSON cannot carry", "give a finite number of at most 64 bits");
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(integer) => {
            Value::from(i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| number())?)
        }
        DeValue::Float(float) => {
            let float: f64 = float.as_str().parse().map_err(|_| number())?;
            Value::Number(Number::from_f64(float).ok_or_else(number)?)
        }
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Datetime(datetime) => Value::from(datetime.to_string()),
        DeValue::Array(array) => array.iter().map(|item| json(item.get_ref())).collect::<Result<_, _>>()?,
        DeValue::Table(table) => Value::Object(facts(table, &[]).map_err(|(_, complaint)| complaint)?),
    })
}

fn expected(what: &str, found: &DeValue<'_>, fix: &str) -> Complaint {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    Complaint::new(format!("expected {what}, found {found}"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(source: &str, read: impl Fn(&DeValue<'_>) -> Result<T, Complaint>) -> Result<T, String> {
        let value = DeValue::parse(source).expect("TOML");
        read(value.get_ref()).map_err(|complaint| complaint.what)
    }

    #[test]
    fn times_have_a_unit_and_bounds() {
        let bounds = Duration::from_millis(1)..=Duration::from_secs(3600);
        let read = |source: &str| with(source, |value| duration(value, bounds.clone()));
        assert_eq!(read("'250ms'"), Ok(Duration::from_millis(250)));
        assert_eq!(read("'5m'"), Ok(Duration::from_secs(300)));
        assert_eq!(read("'1h'"), Ok(Duration::from_secs(3600)));
        for bad in ["'5'", "5", "'2h'", "'0s'", "'1.5s'", "'-1s'", "'s'", "'5 m'", "'99999999999999999999s'", "'5d'"] {
            assert!(read(bad).is_err(), "{bad} is taken");
        }
        assert_eq!(shown(Duration::from_secs(90)), "90s");
        assert_eq!(shown(Duration::from_secs(600)), "10m");
    }

    #[test]
    fn dates_are_of_the_calendar() {
        assert_eq!(with("'2026-02-28'", date).as_deref(), Ok("2026-02-28"));
        assert_eq!(with("2026-02-28", date).as_deref(), Ok("2026-02-28"));
        for bad in ["'2026-02-30'", "'26-02-01'", "'2026-2-1'", "2026-02-28T00:00:00Z", "20260228", "'+2026-02-28'"] {
            assert!(with(bad, date).is_err(), "{bad} is taken");
        }
    }

    #[test]
    fn facts_keep_their_types() {
        let table = DeTable::parse("a = 1_000\nb = 0x10\nc = 0.25\nd = true\ne = 2026-01-01\nf = ['x', {g = -1}]\n")
            .expect("TOML");
        let facts = facts(table.get_ref(), &["d"]).expect("facts");
        let expected = serde_json::json!({"a": 1000, "b": 16, "c": 0.25, "e": "2026-01-01", "f": ["x", {"g": -1}]});
        assert_eq!(Value::Object(facts), expected);
        for bad in ["inf", "nan", "99999999999999999999"] {
            assert!(with(bad, json).is_err(), "{bad} is taken");
        }
    }
}
