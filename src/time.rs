//! Points in time, and how they are written.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::Date;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{Offset, TimeZone};

use crate::error::{Error, Result};

/// Milliseconds since 1970-01-01T00:00:00Z.
///
/// ```
/// use std::time::Duration;
///
/// use keyfall::Timestamp;
///
/// let began: Timestamp = "2026-03-01T09:30:00+01:00".parse()?;
/// assert_eq!(began, Timestamp::from_millis(1_772_353_800_000));
/// assert_eq!((began + Duration::from_secs(90)).to_string(), "2026-03-01T08:31:30Z");
/// assert!(began < Timestamp::now());
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time of day by this machine's clock, for what a caller names: a range of a query, when a record was made.
    /// An engine takes its time from the environment that it was opened with, and nothing else of this crate calls
    /// this, so that a seed replays a run.
    #[expect(clippy::disallowed_methods, reason = "for callers; clippy.toml keeps the crate itself from calling it")]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// So many milliseconds after the beginning of 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Timestamp(millis)
    }

    /// Milliseconds since the beginning of 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// `None` beyond what a number holds.
    pub fn checked_add(self, span: Duration) -> Option<Self> {
        self.0.checked_add(u64::try_from(span.as_millis()).ok()?).map(Timestamp)
    }

    /// `None` before 1970.
    pub fn checked_sub(self, span: Duration) -> Option<Self> {
        self.0.checked_sub(u64::try_from(span.as_millis()).ok()?).map(Timestamp)
    }

    /// Whether this looks like seconds that were taken for milliseconds: those of 2000 to 2100 lie within the first
    /// weeks of 1970.
    pub(crate) fn looks_like_seconds(self) -> bool {
        const FIRST: u64 = 946_684_800;
        const LAST: u64 = 4_102_444_800;
        (FIRST..LAST).contains(&self.0)
    }

    /// The start of its minute: what may be told of when something happened.
    #[must_use]
    pub fn minute(self) -> Self {
        Timestamp(self.0 - self.0 % 60_000)
    }
}

/// So much later; at most the last moment that a number holds.
impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Duration) -> Self {
        self.checked_add(span).unwrap_or(Timestamp(u64::MAX))
    }
}

/// So much earlier; at least the beginning of 1970.
impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Duration) -> Self {
        self.checked_sub(span).unwrap_or(Timestamp(0))
    }
}

/// What is before 1970 becomes its beginning.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// Reads a moment as [`parse`] does; a day alone is none.
impl FromStr for Timestamp {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let span = parse(text)?;
        if span.before.0 - span.from.0 > 1 {
            return Err(Error::invalid(format!(
                "{text:?} is a day, and a moment is needed; write a time with its offset ({text}T00:00:00Z)"
            )));
        }
        Ok(span.from)
    }
}

/// RFC 3339, in UTC; beyond the year 9999 the number of milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(time) => time.fmt(f),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// What a written time stands for: a day, or one millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Its first millisecond.
    pub from: Timestamp,
    /// The first millisecond after it.
    pub before: Timestamp,
}

/// Reads a time as it is written (RFC 3339, RFC 9557). A date alone is that day in UTC, a date with a zone in brackets the
/// day there. Nothing is guessed, for erases depend on it: a time of day needs an offset or a zone, an offset and a zone
/// must agree, a time that a zone skips or has twice needs an offset, and a day that a zone left out is none.
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
            "not a time: {text:?}; write a day in UTC (2026-03-01) or a time with its offset (2026-03-01T09:30:00+01:00)"
        )));
    }
    let bad = |e: jiff::Error| Error::invalid(format!("not a time: {text:?} ({e})"));
    if rest.is_empty() || rest.starts_with('[') {
        let pieces = Pieces::parse(text).map_err(bad)?;
        let zone = pieces.to_time_zone().map_err(bad)?.map_or(Ok(TimeZone::UTC), |zone| known(zone, text))?;
        let start = |date: Date| date.to_zoned(zone.clone());
        let (from, before) =
            (start(pieces.date()).map_err(bad)?, pieces.date().tomorrow().and_then(start).map_err(bad)?);
        if from.date() != pieces.date() {
            return Err(Error::invalid(format!("{text:?} is a day that this zone left out; write a day beside it")));
        }
        return Ok(Span { from: stamp(from.timestamp(), text)?, before: stamp(before.timestamp(), text)? });
    }
    let odd = || Error::invalid(format!("not a time: {text:?}; a time of day is written as in {date}T09:30:00Z"));
    let of_day = rest.strip_prefix(['T', 't', ' ']).ok_or_else(odd)?;
    let (clock, zone) = of_day.split_at(time_of_day(of_day).ok_or_else(odd)?);
    if zone.is_empty() {
        return Err(Error::invalid(format!(
            "{text:?} has no offset, so it is another time in each zone; write {date}T{clock}Z for UTC, {date}T{clock}+01:00 or {date}T{clock}[Europe/Berlin]"
        )));
    }
    if !zone.starts_with(['Z', 'z', '+', '-', '[']) {
        return Err(odd());
    }
    if clock.get(6..8) == Some("60") {
        return Err(Error::invalid(format!(
            "{text:?} is a leap second, which has no number of its own; write a second beside it"
        )));
    }
    let pieces = Pieces::parse(text).map_err(bad)?;
    let civil = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    let zone = pieces.to_time_zone().map_err(bad)?.map(|zone| known(zone, text)).transpose()?;
    let at = match (pieces.offset(), zone) {
        (None, None) => return Err(Error::invalid(format!("not a time: {text:?}; it has no offset"))),
        (None, Some(zone)) => zone.to_ambiguous_timestamp(civil).unambiguous().map_err(bad)?,
        (Some(offset), zone) => {
            let at = in_use(offset.to_numeric_offset(), text)?.to_timestamp(civil).map_err(bad)?;
            // Z and -00:00 say which instant it is, and nothing of the zone.
            let of_place = match offset {
                PiecesOffset::Numeric(offset) if !(offset.offset().is_zero() && offset.is_negative()) => {
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
    };
    let from = stamp(at, text)?;
    Ok(Span { from, before: Timestamp(from.0 + 1) })
}

/// Most seconds between a zone's time and UTC: no place was ever so far from it.
const OFFSET_MAX: i32 = 18 * 3600;

fn in_use(offset: Offset, text: &str) -> Result<Offset> {
    if offset.seconds().abs() > OFFSET_MAX {
        return Err(Error::invalid(format!("{text:?}: no zone is more than 18 hours from UTC; correct the offset")));
    }
    Ok(offset)
}

/// A zone in brackets, if it is one: a name that stands for none is not UTC.
fn known(zone: TimeZone, text: &str) -> Result<TimeZone> {
    if zone.is_unknown() {
        return Err(Error::invalid(format!("{text:?}: Etc/Unknown is no zone; write one, as in [Europe/Berlin]")));
    }
    if let Ok(offset) = zone.to_fixed_offset() {
        in_use(offset, text)?;
    }
    Ok(zone)
}

fn stamp(at: jiff::Timestamp, text: &str) -> Result<Timestamp> {
    let ms = at.as_nanosecond().div_euclid(1_000_000);
    let before = || Error::invalid(format!("{text:?} is before 1970, where the times of this store begin"));
    u64::try_from(ms).map(Timestamp).map_err(|_| before())
}

/// Whether a text has the characters of `shape`, in which `d` is any digit.
fn matches_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(c, s)| if s == b'd' { c.is_ascii_digit() } else { c == s })
}

/// The length of the time of day that a text begins with: hours and minutes, seconds, a fraction of one.
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
