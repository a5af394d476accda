//! Points in time, as they are written, and the days that they belong to.

pub(crate) mod point;
mod zone;

use std::str::FromStr;

use jiff::civil::Date;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{Offset, TimeZone};

pub(crate) use self::point::Timestamp;
pub use self::zone::{Day, Zone};
use crate::error::{Error, Result};

/// What a written time stands for: a day, or one millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first millisecond of the span.
    pub from: Timestamp,
    /// The first millisecond after it.
    pub before: Timestamp,
}

/// Reads a time as it is written (RFC 3339, RFC 9557). A date alone is that day in UTC, a date with
/// a zone in brackets the day there. Nothing is guessed, for erases depend on it: a time of day
/// needs an offset or a zone, an offset and a zone must agree, a time that a zone skips or has
/// twice needs an offset, and a day that a zone left out is none.
///
/// # Errors
/// `Invalid` for anything else, with how to write it.
///
/// ```
/// let day = keyfall::time::parse("2026-03-01")?;
/// assert_eq!(day.before.0 - day.from.0, 86_400_000);
/// let instant = keyfall::time::parse("2026-03-01T09:30:00+01:00")?;
/// assert_eq!(instant.from.to_string(), "2026-03-01T08:30:00Z");
/// assert!(keyfall::time::parse("2026-03-01T09:30:00").is_err());
/// # Ok::<(), keyfall::Error>(())
/// ```
pub fn parse(text: &str) -> Result<Span> {
    let (date, rest) = text.split_at_checked(10).unwrap_or(("", text));
    if !matches_shape(date, "dddd-dd-dd") || text.contains(char::is_control) {
        return Err(Error::invalid(format!(
            "not a time: {text:?}; write a day in UTC (2026-03-01) or a time with its offset \
             (2026-03-01T09:30:00+01:00)"
        )));
    }
    if rest.is_empty() || rest.starts_with('[') {
        return day(text);
    }
    let odd = || {
        Error::invalid(format!(
            "not a time: {text:?}; a time of day is written as in {date}T09:30:00Z"
        ))
    };
    let of_day = rest.strip_prefix(['T', 't', ' ']).ok_or_else(odd)?;
    let (clock, zone) = of_day.split_at(time_of_day(of_day).ok_or_else(odd)?);
    if zone.is_empty() {
        return Err(Error::invalid(format!(
            "{text:?} has no offset, so it is another time in each zone; write {date}T{clock}Z for \
             UTC, {date}T{clock}+01:00 or {date}T{clock}[Europe/Berlin]"
        )));
    }
    if !zone.starts_with(['Z', 'z', '+', '-', '[']) {
        return Err(odd());
    }
    if clock.get(6..8) == Some("60") {
        return Err(Error::invalid(format!(
            "{text:?} is a leap second, which has no number of its own; write the second before or after it"
        )));
    }
    let from = stamp(instant(text)?, text)?;
    Ok(Span { from, before: Timestamp(from.0 + 1) })
}

fn bad(text: &str, e: &jiff::Error) -> Error {
    Error::invalid(format!("not a time: {text:?} ({e})"))
}

/// A day in UTC, or in the zone that is written beside it.
fn day(text: &str) -> Result<Span> {
    let bad = |e: jiff::Error| bad(text, &e);
    let pieces = Pieces::parse(text).map_err(bad)?;
    let zone =
        pieces.to_time_zone().map_err(bad)?.map_or(Ok(TimeZone::UTC), |zone| known(zone, text))?;
    let start = |date: Date| date.to_zoned(zone.clone());
    let from = start(pieces.date()).map_err(bad)?;
    let before = pieces.date().tomorrow().and_then(start).map_err(bad)?;
    if from.date() != pieces.date() {
        return Err(Error::invalid(format!(
            "{text:?} is a day that this zone left out; write the day before or after it"
        )));
    }
    Ok(Span { from: stamp(from.timestamp(), text)?, before: stamp(before.timestamp(), text)? })
}

/// The instant of a date with a time of day and an offset, a zone, or both.
fn instant(text: &str) -> Result<jiff::Timestamp> {
    let bad = |e: jiff::Error| bad(text, &e);
    let pieces = Pieces::parse(text).map_err(bad)?;
    let civil = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    let zone = pieces.to_time_zone().map_err(bad)?.map(|zone| known(zone, text)).transpose()?;
    Ok(match (pieces.offset(), zone) {
        (None, None) => {
            return Err(Error::invalid(format!("not a time: {text:?}; it has no offset")));
        }
        (None, Some(zone)) => zone.to_ambiguous_timestamp(civil).unambiguous().map_err(bad)?,
        (Some(offset), zone) => {
            let at = in_use(offset.to_numeric_offset(), text)?.to_timestamp(civil).map_err(bad)?;
            // Z and -00:00 say which instant it is, and nothing of the zone.
            let of_place = match offset {
                PiecesOffset::Numeric(offset)
                    if !(offset.offset().is_zero() && offset.is_negative()) =>
                {
                    Some(offset.offset())
                }
                _ => None,
            };
            if let (Some(offset), Some(zone)) = (of_place, zone)
                && zone.to_offset(at) != offset
            {
                return Err(Error::invalid(format!(
                    "{text:?}: the zone has another offset then, {}; leave one of the two out",
                    zone.to_offset(at)
                )));
            }
            at
        }
    })
}

/// Reads a moment as [`parse`] does; a day alone is none.
impl FromStr for Timestamp {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let span = parse(text)?;
        if span.before.0 - span.from.0 > 1 {
            return Err(Error::invalid(format!(
                "{text:?} is a day, and a moment is needed; write a time with its offset \
                 ({text}T00:00:00Z)"
            )));
        }
        Ok(span.from)
    }
}

/// Most seconds between a zone's time and UTC: no place was ever so far from it.
const OFFSET_MAX: i32 = 18 * 3600;

fn in_use(offset: Offset, text: &str) -> Result<Offset> {
    if offset.seconds().abs() > OFFSET_MAX {
        return Err(Error::invalid(format!(
            "{text:?}: no zone is more than 18 hours from UTC; correct the offset"
        )));
    }
    Ok(offset)
}

/// A zone in brackets, if it is one: a name that stands for none is not UTC.
fn known(zone: TimeZone, text: &str) -> Result<TimeZone> {
    if zone.is_unknown() {
        return Err(Error::invalid(format!(
            "{text:?}: Etc/Unknown is not a zone; write one, as in [Europe/Berlin]"
        )));
    }
    if let Ok(offset) = zone.to_fixed_offset() {
        in_use(offset, text)?;
    }
    Ok(zone)
}

fn stamp(at: jiff::Timestamp, text: &str) -> Result<Timestamp> {
    let ms = at.as_nanosecond().div_euclid(1_000_000);
    let before =
        || Error::invalid(format!("{text:?} is before 1970, where the times of this store begin"));
    u64::try_from(ms).map(Timestamp).map_err(|_| before())
}

/// Whether a text has the characters of `shape`, in which `d` is any digit.
fn matches_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text
            .bytes()
            .zip(shape.bytes())
            .all(|(c, s)| if s == b'd' { c.is_ascii_digit() } else { c == s })
}

/// The length of the time of day that a text begins with: hours and minutes, seconds, a fraction of
/// one.
fn time_of_day(text: &str) -> Option<usize> {
    let digits = |from: usize| text.bytes().skip(from).take_while(u8::is_ascii_digit).count();
    if !matches_shape(text.get(..5)?, "dd:dd") {
        return None;
    }
    if !text.get(5..8).is_some_and(|seconds| matches_shape(seconds, ":dd")) {
        return Some(5);
    }
    Some(match text.as_bytes().get(8) {
        Some(b'.') => 9 + digits(9),
        _ => 8,
    })
}
