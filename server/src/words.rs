//! How values are written in JSON and read from it.

use std::time::Duration;

use keyfall::{Class, InteractionId, Timestamp, time};

use crate::problem::{Answer, Problem};

/// The number of a hold, a grant or a plan: 16 hexadecimal digits, since JSON's numbers are
/// shorter.
pub(crate) fn number(number: u64) -> String {
    format!("{number:016x}")
}

/// Reads such a number.
pub(crate) fn read_number(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// Reads a point in time; a day stands for its beginning.
///
/// # Errors
/// 400.
pub(crate) fn point(text: &str) -> Answer<Timestamp> {
    Ok(time::parse(text)?.from)
}

/// Reads a point in time at which something is to end.
///
/// # Errors
/// 400, also for one that has passed.
pub(crate) fn point_to_come(text: &str) -> Answer<Timestamp> {
    let at = point(text)?;
    match at > now() {
        true => Ok(at),
        false => Err(Problem::invalid("until has passed; name a time that is to come")),
    }
}

/// Reads a length of time: `30d`, `12h`, `15min`, or ISO 8601.
///
/// # Errors
/// 400.
pub(crate) fn span(text: &str) -> Answer<Duration> {
    let wrong =
        || Problem::invalid("that is not a length of time; write 30d, 12h, 15min, 2w or 1d12h");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(Problem::invalid("months and years differ in length; write days: 180d, 365d"));
    }
    let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

/// Reads the name of a class, where there is one.
///
/// # Errors
/// 400.
pub(crate) fn class(text: Option<&str>) -> Answer<Option<Class>> {
    Ok(text.map(Class::new).transpose()?)
}

/// Reads the id of an interaction, where there is one.
///
/// # Errors
/// 400.
pub(crate) fn interaction(text: Option<&str>) -> Answer<Option<InteractionId>> {
    Ok(text.map(str::parse).transpose()?)
}

/// Now, by the clock of this machine: for dates that callers asked for as a length of time.
#[expect(clippy::disallowed_methods, reason = "what a caller's length of time is counted from")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
