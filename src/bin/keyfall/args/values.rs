//! Values that are typed: times, lengths of time, numbers.

use std::time::Duration;

use keyfall::Timestamp;

/// Reads a point in time; a date is the beginning of its day in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    keyfall::time::parse(text).map(|span| span.from).map_err(|e| e.to_string())
}

/// Reads a key and its value.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is no KEY=VALUE; write room=kitchen"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads a length of time. It decides what is erased and when: whatever can be read in two ways is
/// refused.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let unit = |wanted: &[&str]| {
        let is_wanted = |unit: &str| wanted.iter().any(|wanted| unit.eq_ignore_ascii_case(wanted));
        text.split(|c: char| !c.is_alphabetic()).any(is_wanted)
    };
    // In ISO 8601 an M stands for months before the T, and for minutes after it.
    let is_iso = text.trim_start_matches(['+', '-']).starts_with(['P', 'p']);
    if !is_iso && unit(&["m"]) {
        return Err(format!(
            "{text:?} is ambiguous: m may mean min (minutes) or mo (months); write 6min, or days \
             for months: 180d"
        ));
    }
    let span = text.parse::<jiff::Span>().ok();
    if span.is_some_and(|span| span.get_months() != 0 || span.get_years() != 0) {
        return Err(format!("{text:?}: months and years differ in length; write days: 180d, 365d"));
    }
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let span = span.and_then(|span| span.to_duration(days).ok());
    span.and_then(|span| Duration::try_from(span).ok()).ok_or_else(|| {
        format!("{text:?} is not a length of time; write 30d, 12h, 15min, 2w or 1d12h")
    })
}

/// Reads how long to wait; a bare number is seconds.
pub(super) fn patience(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    span(text).map_err(|e| format!("{e}; to wait for ten seconds, write 10s, or 10"))
}

/// Reads the number of a hold, a plan or a grant.
pub(super) fn number(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| {
        format!(
            "{text:?} is not the number of a hold, a plan or a grant; `hold list`, `plan list` and \
             `grant list` print them"
        )
    })
}
